// What is known of the joint under the pointer.

const NEAR = 14; // pixels

class Hover {
  constructor(canvas, scene, changed) {
    this.scene = scene;
    this.pointer = null;
    const point = (place) => {
      this.pointer = place;
      changed();
    };
    canvas.addEventListener("pointermove", (event) => {
      if (event.buttons === 0 && event.pointerType === "mouse") point([event.offsetX, event.offsetY]);
    });
    for (const name of ["pointerdown", "pointerleave"]) canvas.addEventListener(name, () => point(null));
  }

  // The joint in front among those near the pointer, null where there is none.
  find(camera, bodies) {
    let found = null;
    for (const body of bodies) {
      for (let joint = 0; joint < body.person.joints; joint++) {
        const at = camera.toCamera(...body.pose.subarray(joint * 3, joint * 3 + 3));
        if (at[2] < camera.nearest) continue;
        const place = camera.toScreen(at);
        const away = Math.hypot(place[0] - this.pointer[0], place[1] - this.pointer[1]);
        if (away < NEAR && (!found || at[2] < found.depth)) found = { ...body, joint, place, depth: at[2] };
      }
    }
    return found;
  }

  describe({ person, row, pose, joint }) {
    const confidence = person.confidence[row * person.joints + joint];
    const seen = confidence === 0 ? "not seen, filled in" : `confidence ${(confidence / 255).toFixed(2)}`;
    const place = [0, 1, 2].map((k) => (pose[joint * 3 + k] - (k === 0 ? person.shift : 0)).toFixed(2));
    const unit = this.scene.units === "metres" ? "m" : "body units";
    return [`${this.scene.skeleton.joints[joint].replaceAll("_", " ")}, ${seen}`, `at ${place.join(", ")} ${unit}`];
  }

  draw(context, camera, colours, bodies) {
    const found = this.pointer && this.find(camera, bodies);
    if (!found) return;
    const lines = this.describe(found);
    context.font = "12px system-ui, sans-serif";
    context.textAlign = "left";
    const width = Math.max(...lines.map((line) => context.measureText(line).width)) + 16;
    const [x, y] = [
      clamp(found.place[0] + 14, 4, camera.width - width - 4),
      clamp(found.place[1] - 46, 4, camera.height - 46),
    ];
    context.beginPath();
    context.arc(...found.place, 4, 0, 2 * Math.PI);
    context.roundRect(x, y, width, 40, 7);
    context.fillStyle = colours.halo;
    context.fill();
    context.lineWidth = 1;
    context.strokeStyle = colours.text;
    context.stroke();
    context.fillStyle = colours.text;
    lines.forEach((line, k) => context.fillText(line, x + 8, y + 16 + 16 * k));
  }
}
