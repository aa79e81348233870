// What the page carries: a description in JSON, and for each person arrays of little-endian numbers in base64.

const ARRAYS = {
  frame: Int32Array,
  root: Float32Array,
  offset: Int16Array,
  confidence: Uint8Array,
  ambiguity: Uint8Array,
  keypoints: Int16Array,
};
const NOT_SEEN = -32768; // of keypoints

function decodeBase64(text) {
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  for (let i = 0; i < characters.length; i++) bytes[i] = characters.charCodeAt(i);
  return bytes.buffer;
}

// The element is removed, so that a long recording is not held twice.
function takeArray(index, field) {
  const block = document.getElementById(`data-${index}-${field}`);
  if (!block) return null;
  const array = new ARRAYS[field](decodeBase64(block.textContent));
  block.remove();
  return array;
}

class Person {
  constructor(scene, about, index) {
    this.index = index;
    this.name = about.name;
    this.size = about.size; // from hip to head
    this.shift = about.shift; // along x, for the eye only: people whose place is unknown stand side by side
    this.joints = scene.skeleton.joints.length;
    this.step = scene.step;
    this.keypointStep = scene.keypoint_step;
    this.shown = true;
    for (const field of Object.keys(ARRAYS)) this[field] = takeArray(index, field);
    this.pose = new Float32Array(this.joints * 3);
  }

  // The last row whose frame is not after this one, -1 before the first.
  lastRow(frame) {
    let low = -1;
    let high = this.frame.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.frame[middle] <= frame) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  // -1 where the person was not seen.
  rowAt(frame) {
    const row = this.lastRow(frame);
    return row >= 0 && this.frame[row] === frame ? row : -1;
  }

  // Coordinate k of joint j in a row, in the scene's units.
  coordinate(row, joint, k) {
    return this.root[row * 3 + k] + this.offset[(row * this.joints + joint) * 3 + k] * this.step;
  }

  // Joints (J * 3) at a moment between frames as they are drawn, null where the person was not seen.
  poseAt(moment) {
    const frame = Math.floor(moment);
    const row = this.rowAt(frame);
    if (row < 0) return null;
    const next = this.frame[row + 1] === frame + 1 ? row + 1 : row;
    const part = moment - frame;
    for (let joint = 0; joint < this.joints; joint++) {
      for (let k = 0; k < 3; k++) {
        const now = this.coordinate(row, joint, k);
        this.pose[joint * 3 + k] = now + part * (this.coordinate(next, joint, k) - now);
      }
      this.pose[joint * 3] += this.shift;
    }
    return this.pose;
  }

  // Where the root is around this moment (x, y): a mean over a second, so that a view that follows does not shake.
  placeAround(moment, fps) {
    const reach = Math.max(1, fps / 2);
    let x = 0;
    let y = 0;
    let total = 0;
    const first = Math.max(0, this.lastRow(moment - reach));
    for (let row = first; row < this.frame.length && this.frame[row] < moment + reach; row++) {
      const weight = 1 - Math.abs(this.frame[row] - moment) / reach;
      if (weight <= 0) continue;
      x += weight * this.root[row * 3];
      y += weight * this.root[row * 3 + 1];
      total += weight;
    }
    if (total === 0) {
      const nearest = Math.max(0, this.lastRow(moment));
      return [this.root[nearest * 3] + this.shift, this.root[nearest * 3 + 1]];
    }
    return [x / total + this.shift, y / total];
  }
}

function readScene() {
  const block = document.getElementById("scene");
  const scene = JSON.parse(block.textContent);
  scene.people = scene.people.map((about, index) => new Person(scene, about, index));
  return scene;
}
