// A perspective camera on an orbit. World: x right, y away from the first camera, z up.

const LENS = (32 * Math.PI) / 180; // vertical angle of view
const FIRST_VIEW = { yaw: -0.6, pitch: 0.24 };
const VIEWS = {
  front: { yaw: 0, pitch: 0.04 },
  side: { yaw: -Math.PI / 2, pitch: 0.04 },
  top: { yaw: 0, pitch: Math.PI / 2 },
};

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

class OrbitCamera {
  constructor() {
    this.yaw = FIRST_VIEW.yaw; // 0 looks along y
    this.pitch = FIRST_VIEW.pitch; // above the horizon
    this.distance = 4;
    this.anchor = [0, 0, 0]; // what is followed
    this.pan = [0, 0, 0]; // from the anchor to the middle of the picture
    this.nearest = 0.05;
    this.resize(1, 1);
  }

  resize(width, height) {
    this.width = width;
    this.height = height;
    this.update();
  }

  update() {
    const [sy, cy, sp, cp] = [Math.sin(this.yaw), Math.cos(this.yaw), Math.sin(this.pitch), Math.cos(this.pitch)];
    this.focal = (0.5 * this.height) / Math.tan(LENS / 2);
    this.right = [cy, sy, 0];
    this.forward = [-sy * cp, cy * cp, -sp];
    this.up = [-sy * sp, cy * sp, cp];
    this.eye = this.forward.map((f, k) => this.anchor[k] + this.pan[k] - f * this.distance);
  }

  // x right, y up, z forward from the eye.
  toCamera(x, y, z) {
    const [dx, dy, dz] = [x - this.eye[0], y - this.eye[1], z - this.eye[2]];
    return [
      dx * this.right[0] + dy * this.right[1],
      dx * this.up[0] + dy * this.up[1] + dz * this.up[2],
      dx * this.forward[0] + dy * this.forward[1] + dz * this.forward[2],
    ];
  }

  // Pixels (CSS) of a point in the camera's frame that is in front of it.
  toScreen([x, y, z]) {
    return [this.width / 2 + (this.focal * x) / z, this.height / 2 - (this.focal * y) / z];
  }

  orbit(dx, dy) {
    this.yaw -= dx * 0.008;
    this.pitch = clamp(this.pitch + dy * 0.008, -0.2, Math.PI / 2);
    this.update();
  }

  zoom(factor, smallest, largest) {
    this.distance = clamp(this.distance * factor, smallest, largest);
    this.update();
  }

  // Moves the picture by so many pixels.
  drag(dx, dy) {
    const scale = this.distance / this.focal;
    for (let k = 0; k < 3; k++) this.pan[k] += scale * (dy * this.up[k] - dx * this.right[k]);
    this.update();
  }

  // The distance at which a box around the anchor fills the picture, seen from where the camera is now.
  fit(box) {
    // beside the picture of a wide window stand the cards
    const fill = [this.width > 900 ? 0.6 : 0.88, 0.84];
    this.pan = [0, 1, 2].map((k) => (box.low[k] + box.high[k]) / 2);
    let [near, far] = [1e-3, 1e4];
    for (let step = 0; step < 40; step++) {
      this.distance = Math.sqrt(near * far);
      this.update();
      if (this.sees(box, fill)) far = this.distance;
      else near = this.distance;
    }
    this.distance = far;
    this.update();
  }

  sees(box, fill) {
    for (let corner = 0; corner < 8; corner++) {
      const [x, y, z] = [0, 1, 2].map((k) => this.anchor[k] + (corner & (1 << k) ? box.high[k] : box.low[k]));
      const seen = this.toCamera(x, y, z);
      if (seen[2] <= this.distance * 0.05) return false;
      const [u, v] = this.toScreen(seen);
      if (Math.abs(u / this.width - 0.5) > fill[0] / 2 || Math.abs(v / this.height - 0.5) > fill[1] / 2) return false;
    }
    return true;
  }
}
