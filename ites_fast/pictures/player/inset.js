// The 2D keypoints of the same frame, in the image's pixels.

class Inset {
  constructor(scene) {
    this.scene = scene;
    this.figure = document.getElementById("inset");
    this.canvas = document.getElementById("keypoints");
    this.exists = scene.view !== null;
    this.shown = this.exists;
  }

  // A third of the stage at most, in the shape of the image; returns the height that is taken.
  layOut(stage) {
    this.figure.hidden = !this.shown;
    if (!this.shown) return 0;
    const [x0, y0, x1, y1] = this.scene.view;
    const scale = Math.min((0.24 * stage.width) / (x1 - x0), (0.34 * stage.height) / (y1 - y0));
    this.width = Math.max(48, Math.round((x1 - x0) * scale));
    this.height = Math.max(48, Math.round((y1 - y0) * scale));
    this.context = fitCanvas(this.canvas, this.width, this.height);
    return this.figure.offsetHeight;
  }

  draw(colours, people, frame) {
    if (!this.shown) return;
    const { context } = this;
    context.clearRect(0, 0, this.width, this.height);
    for (const person of people) {
      const row = person.rowAt(frame);
      if (row >= 0 && person.keypoints) this.drawPerson(colours, person, row);
    }
  }

  // Where a keypoint is in the inset, null where it was not seen.
  place(person, row, joint) {
    const [x, y] = [0, 1].map((k) => person.keypoints[(row * person.joints + joint) * 2 + k]);
    if (x === NOT_SEEN) return null;
    const [x0, y0, x1, y1] = this.scene.view;
    return [
      ((x * person.keypointStep - x0) / (x1 - x0)) * this.width,
      ((y * person.keypointStep - y0) / (y1 - y0)) * this.height,
    ];
  }

  drawPerson(colours, person, row) {
    const { context } = this;
    const { parents, sides } = this.scene.skeleton;
    const places = parents.map((_, joint) => this.place(person, row, joint));
    context.lineCap = "round";
    context.lineWidth = 2;
    places.forEach((place, joint) => {
      const parent = places[parents[joint]];
      if (!place || !parent) return;
      context.strokeStyle = css(colourOf(colours, sides[joint], person));
      context.beginPath();
      context.moveTo(...place);
      context.lineTo(...parent);
      context.stroke();
    });
    places.forEach((place, joint) => {
      if (!place) return;
      context.fillStyle = css(shade(colourOf(colours, sides[joint], person), 0.8));
      context.beginPath();
      context.arc(...place, 2.2, 0, 2 * Math.PI);
      context.fill();
    });
  }
}

// Gives a canvas a size in CSS pixels and as many real pixels as the screen has there; returns its context.
function fitCanvas(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}
