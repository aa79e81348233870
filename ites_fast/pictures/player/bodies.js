// Bones as shaded, tapered capsules, drawn from far to near.

const LIGHT = normalized([-0.45, 0.8, -0.62]); // towards the light, in the camera's frame (x right, y up, z forward)
const AMBIENT = 0.66;
const DIFFUSE = 0.56;
const ACROSS = [-1, -0.55, 0, 0.55, 1]; // where across a bone its shade is computed

function normalized(v) {
  const length = Math.hypot(...v) || 1;
  return v.map((value) => value / length);
}

function cross(a, b) {
  return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
}

const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];

// 0 for a joint that was filled in, up to 1 for one that was seen clearly.
function solidity(person, row, joint) {
  const confidence = person.confidence[row * person.joints + joint] / 255;
  return confidence === 0 ? 0 : 0.4 + 0.6 * Math.min(1, confidence / 0.5);
}

// A ball: position in the camera's frame, and radius in the scene's units.
function ball(scene, camera, person, pose, joint, radius) {
  const [x, y, z] = pose.subarray(joint * 3, joint * 3 + 3);
  return { at: camera.toCamera(x, y, z), radius: radius * person.size, joint };
}

// The head is drawn round its middle: its two joints are at the chin and at the crown.
function headBalls(from, to) {
  const along = (part) => from.at.map((value, k) => value + part * (to.at[k] - value));
  const length = Math.hypot(...to.at.map((value, k) => value - from.at[k]));
  const radius = Math.min(to.radius, 0.7 * length);
  return [
    { at: along(0.3), radius: radius * 0.86, joint: from.joint },
    { at: along(1 - (0.75 * radius) / (length || 1)), radius, joint: to.joint },
  ];
}

function capsulesOf(scene, camera, colours, person, pose, row) {
  const { parents, radius, sides, head } = scene.skeleton;
  const capsules = [];
  for (let joint = 0; joint < parents.length; joint++) {
    const parent = parents[joint];
    if (parent < 0) continue;
    let from = ball(scene, camera, person, pose, parent, radius[parent]);
    let to = ball(scene, camera, person, pose, joint, radius[joint]);
    const solid = Math.min(solidity(person, row, parent), solidity(person, row, joint));
    // what was hardly seen is pale
    const colour = mix(colours.pale, colourOf(colours, sides[joint], person), solid || 1);
    if (joint === head) {
      // the neck goes on inside of the head
      [from, to] = headBalls(from, to);
    } else {
      // shoulders and hips do not bulge out of the trunk, and a limb is not much thicker than its end
      const outwards = sides[parent] === 0 && sides[joint] !== 0;
      from.radius = Math.min(from.radius, (outwards ? 0.9 : 1.6) * to.radius);
    }
    if (Math.min(from.at[2], to.at[2]) < camera.nearest) continue;
    capsules.push({ from, to, colour, solid, depth: (from.at[2] + to.at[2]) / 2 });
  }
  return capsules;
}

// Shade of the surface across a bone, t from -1 to 1 along the side vector.
function shadesAcross(from, to) {
  const axis = normalized(to.at.map((value, k) => value - from.at[k]));
  const side = normalized([-axis[1], axis[0], 0]);
  let front = cross(side, axis);
  if (front[2] > 0) front = front.map((value) => -value);
  return ACROSS.map((t) => {
    const depth = Math.sqrt(1 - t * t);
    const lambert = Math.max(0, t * dot(side, LIGHT) + depth * dot(front, LIGHT));
    return AMBIENT + DIFFUSE * lambert;
  });
}

// The outline of two circles and their outer tangents; one circle where the other lies inside of it.
function outline(context, a, b) {
  const distance = Math.hypot(b.x - a.x, b.y - a.y);
  context.beginPath();
  if (distance <= Math.abs(a.r - b.r) + 1e-6) {
    const [x, y, r] = a.r > b.r ? [a.x, a.y, a.r] : [b.x, b.y, b.r];
    context.arc(x, y, r, 0, 2 * Math.PI);
    return;
  }
  const along = Math.atan2(b.y - a.y, b.x - a.x);
  const tangent = Math.acos((a.r - b.r) / distance);
  context.arc(a.x, a.y, a.r, along + tangent, along - tangent);
  context.arc(b.x, b.y, b.r, along - tangent, along + tangent);
  context.closePath();
}

function drawCapsule(context, camera, colours, { from, to, colour, solid }) {
  const [a, b] = [from, to].map(({ at, radius }) => {
    const [x, y] = camera.toScreen(at);
    return { x, y, r: Math.max(0.8, (camera.focal * radius) / at[2]) };
  });
  outline(context, a, b);
  if (solid === 0) {
    context.fillStyle = css(colour, 0.16);
    context.fill();
    context.setLineDash([4, 3]);
    context.lineWidth = 1.2;
    context.strokeStyle = css(colour, 0.85);
    context.stroke();
    context.setLineDash([]);
    return;
  }
  context.fillStyle = acrossGradient(context, a, b, from, to, colour);
  context.fill();
  context.lineWidth = 1;
  context.strokeStyle = css(shade(colour, 0.45), 0.55);
  context.stroke();
}

function acrossGradient(context, a, b, from, to, colour) {
  const [dx, dy] = [b.x - a.x, b.y - a.y];
  const length = Math.hypot(dx, dy);
  const [x, y, r] = [(a.x + b.x) / 2, (a.y + b.y) / 2, Math.max(a.r, b.r)];
  if (length < 0.5) return ballGradient(context, x, y, r, colour);
  // the side vector on the screen, where y points down
  const [sx, sy] = [(dy / length) * r, (-dx / length) * r];
  const gradient = context.createLinearGradient(x - sx, y - sy, x + sx, y + sy);
  const shades = shadesAcross(from, to);
  ACROSS.forEach((t, k) => gradient.addColorStop((t + 1) / 2, css(shade(colour, shades[k]))));
  return gradient;
}

function ballGradient(context, x, y, r, colour) {
  const gradient = context.createRadialGradient(x + LIGHT[0] * r * 0.5, y - LIGHT[1] * r * 0.5, 0, x, y, r);
  gradient.addColorStop(0, css(shade(colour, AMBIENT + DIFFUSE)));
  gradient.addColorStop(1, css(shade(colour, AMBIENT)));
  return gradient;
}

// A ring for each joint that was filled in.
function drawFilledIn(context, camera, scene, person, pose, row, colours) {
  scene.skeleton.parents.forEach((_, joint) => {
    if (solidity(person, row, joint) > 0) return;
    const { at, radius } = ball(scene, camera, person, pose, joint, scene.skeleton.radius[joint]);
    if (at[2] < camera.nearest) return;
    const [x, y] = camera.toScreen(at);
    context.beginPath();
    context.arc(x, y, Math.max(2.5, (camera.focal * radius * 0.55) / at[2]), 0, 2 * Math.PI);
    context.fillStyle = colours.halo;
    context.fill();
    context.lineWidth = 1.6;
    context.strokeStyle = css(colourOf(colours, scene.skeleton.sides[joint], person));
    context.stroke();
  });
}

function drawBodies(context, camera, scene, colours, bodies) {
  const capsules = bodies.flatMap(({ person, pose, row }) => capsulesOf(scene, camera, colours, person, pose, row));
  capsules.sort((a, b) => b.depth - a.depth);
  for (const capsule of capsules) drawCapsule(context, camera, colours, capsule);
  for (const { person, pose, row } of bodies) drawFilledIn(context, camera, scene, person, pose, row, colours);
}

// Above whatever of a body is highest on the screen.
function drawNames(context, camera, colours, bodies) {
  context.font = "600 13px system-ui, sans-serif";
  context.textAlign = "center";
  context.lineWidth = 4;
  context.lineJoin = "round";
  for (const { person, pose } of bodies) {
    const places = screenPlaces(camera, person, pose);
    if (places.length === 0) continue;
    const u = places.reduce((sum, [x]) => sum + x, 0) / places.length;
    const v = Math.min(...places.map(([, y]) => y)) - 18;
    context.strokeStyle = colours.halo;
    context.strokeText(person.name, u, v);
    context.fillStyle = css(colours.person(person.index));
    context.fillText(person.name, u, v);
  }
}

// Of the joints that are in front of the camera, with the highest edge of their balls for y.
function screenPlaces(camera, person, pose) {
  const places = [];
  for (let joint = 0; joint < person.joints; joint++) {
    const at = camera.toCamera(...pose.subarray(joint * 3, joint * 3 + 3));
    if (at[2] < camera.nearest) continue;
    const [x, y] = camera.toScreen(at);
    places.push([x, y - (0.1 * person.size * camera.focal) / at[2]]);
  }
  return places;
}
