// The slider, and under it a strip: one lane a person, where the person is seen, and how ambiguous the poses are.

const LANES = 6; // at most; where there are more people, lanes are shared
const MARGIN = 8; // half a thumb of the slider, pixels

class Timeline {
  constructor(scene, seek) {
    this.scene = scene;
    this.slider = document.getElementById("slider");
    this.canvas = document.getElementById("strip");
    this.slider.max = scene.frames - 1;
    this.slider.disabled = scene.frames < 2;
    this.slider.addEventListener("input", () => seek(Number(this.slider.value)));
    const jump = (event) => event.buttons & 1 && seek(this.frameAt(event.offsetX));
    this.canvas.addEventListener("pointerdown", jump);
    this.canvas.addEventListener("pointermove", jump);
    this.painted = document.createElement("canvas");
  }

  get lanes() {
    return clamp(this.scene.people.length, 1, LANES);
  }

  frameAt(x) {
    const part = clamp((x - MARGIN) / (this.width - 2 * MARGIN), 0, 1);
    return Math.round(part * (this.scene.frames - 1));
  }

  xOf(frame) {
    return MARGIN + (frame / Math.max(1, this.scene.frames - 1)) * (this.width - 2 * MARGIN);
  }

  layOut(width, colours) {
    this.width = width;
    this.height = this.lanes * 7 + 3;
    this.context = fitCanvas(this.canvas, width, this.height);
    const context = fitCanvas(this.painted, width, this.height);
    for (const person of this.scene.people) this.paintLane(context, colours, person);
  }

  // Each column of pixels shows the most ambiguous of its poses.
  paintLane(context, colours, person) {
    const columns = new Float32Array(Math.ceil(this.width) + 1).fill(-1);
    person.frame.forEach((frame, row) => {
      const worst = person.ambiguity ? person.ambiguity[row] / 255 : 0;
      const from = Math.round(this.xOf(frame - 0.5));
      const to = Math.max(from + 1, Math.round(this.xOf(frame + 0.5)));
      for (let x = Math.max(from, MARGIN - 2); x < to && x < columns.length; x++)
        columns[x] = Math.max(columns[x], worst);
    });
    const y = 2 + (person.index % this.lanes) * 7;
    const plain = colours.person(person.index);
    context.fillStyle = css(plain);
    if (this.scene.people.length <= LANES) context.fillRect(0, y, 4, 5);
    columns.forEach((worst, x) => {
      if (worst < 0) return;
      context.fillStyle = css(person.ambiguity ? mix(colours.certain, colours.guess, worst) : plain, 0.9);
      context.fillRect(x, y, 1.02, 5);
    });
  }

  draw(colours, frame) {
    this.slider.value = frame;
    this.context.clearRect(0, 0, this.width, this.height);
    this.context.drawImage(this.painted, 0, 0, this.width, this.height);
    this.context.fillStyle = colours.text;
    this.context.fillRect(this.xOf(frame) - 0.75, 0, 1.5, this.height);
  }
}
