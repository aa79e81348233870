// What the first view shows.

const SAMPLES = 200; // poses of a person that are looked at

function firstSeen(scene) {
  const first = scene.people.filter((person) => person.frame.length).map((person) => person.frame[0]);
  return first.length ? Math.min(...first) : 0;
}

function sampledRows(person) {
  const stride = Math.max(1, Math.ceil(person.frame.length / SAMPLES));
  const rows = [];
  for (let row = 0; row < person.frame.length; row += stride) rows.push(row);
  return rows;
}

// All but the outermost hundredth on either side: one wild pose shall not make everybody tiny.
function usualRange(values) {
  values.sort((a, b) => a - b);
  const at = (part) => values[Math.round(part * (values.length - 1))];
  return [at(0.01), at(0.99)];
}

// A single person who goes far is followed: the whole way would make the person small.
function followedAtFirst(scene) {
  const [person, ...others] = scene.people;
  if (!person || others.length || person.frame.length === 0) return -1;
  const rows = sampledRows(person);
  const ways = [0, 1].map((k) => usualRange(rows.map((row) => person.root[row * 3 + k])));
  return ways.some(([low, high]) => high - low > 3 * person.size) ? 0 : -1;
}

// Around what is followed, or around everybody; corners are relative to the anchor.
function boundingBox(scene, followed, anchor) {
  const axes = [[], [], [scene.ground]];
  for (const person of followed < 0 ? scene.people : [scene.people[followed]]) {
    for (const row of sampledRows(person)) {
      const [x, y] = followed < 0 ? anchor : person.placeAround(person.frame[row], scene.fps);
      for (let joint = 0; joint < person.joints; joint++) {
        axes[0].push(person.coordinate(row, joint, 0) + person.shift - x);
        axes[1].push(person.coordinate(row, joint, 1) - y);
        axes[2].push(person.coordinate(row, joint, 2));
      }
    }
  }
  if (axes[0].length === 0) return { low: [-1, -1, 0], high: [1, 1, 2] };
  const ranges = axes.map(usualRange);
  const margin = 0.12 * scene.size;
  return { low: ranges.map(([low]) => low - margin), high: ranges.map(([, high]) => high + margin) };
}
