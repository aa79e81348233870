// Background, ground grid, and what bodies leave on the ground: soft shadows, and a ring under each foot.

const REACH = 12; // cells of the grid on each side of the middle
const STEPS = 8; // of the grid's fading

// Sky above the horizon, and below it a ground that comes out of the haze.
function drawBackground(context, camera, colours) {
  const { width, height } = camera;
  const horizon = clamp(height / 2 - camera.focal * Math.tan(camera.pitch), -2 * height, height);
  const gradient = context.createLinearGradient(0, -2 * height, 0, 2 * height);
  const at = (y) => clamp((y + 2 * height) / (4 * height), 0, 1);
  gradient.addColorStop(at(horizon - height), colours.sky);
  gradient.addColorStop(at(horizon), colours.horizon);
  gradient.addColorStop(at(horizon + 0.55 * height), colours.ground);
  context.fillStyle = gradient;
  context.fillRect(0, 0, width, height);
}

// The grid's lines, cut into cells that fade with their distance from the middle and are drawn one degree at a time.
function drawGround(context, camera, scene, colours) {
  const { cell, ground } = scene;
  const middle = [0, 1].map((k) => Math.round((camera.anchor[k] + camera.pan[k]) / cell));
  const paths = Array.from({ length: STEPS }, () => new Path2D());
  for (let line = -REACH; line <= REACH; line++) {
    for (let part = -REACH; part < REACH; part++) {
      const away = Math.hypot(line, part + 0.5) / REACH;
      if (away >= 1) continue;
      const path = paths[Math.floor((1 - away) * STEPS)];
      const [i, j] = [middle[0] + line, middle[1] + part];
      addSegment(path, camera, [i * cell, j * cell, ground], [i * cell, (j + 1) * cell, ground]);
      const [m, n] = [middle[0] + part, middle[1] + line];
      addSegment(path, camera, [m * cell, n * cell, ground], [(m + 1) * cell, n * cell, ground]);
    }
  }
  context.lineWidth = 1;
  paths.forEach((path, step) => {
    context.strokeStyle = css(colours.grid, (0.55 * (step + 1)) / STEPS);
    context.stroke(path);
  });
}

function addSegment(path, camera, from, to) {
  const [a, b] = [camera.toCamera(...from), camera.toCamera(...to)];
  if (a[2] < camera.nearest || b[2] < camera.nearest) return;
  path.moveTo(...camera.toScreen(a));
  path.lineTo(...camera.toScreen(b));
}

// A blurred dot, drawn once and then laid on the ground many times.
function makeBlob(colour) {
  const blob = document.createElement("canvas");
  blob.width = blob.height = 64;
  const context = blob.getContext("2d");
  const gradient = context.createRadialGradient(32, 32, 0, 32, 32, 32);
  for (let k = 0; k <= 8; k++) gradient.addColorStop(k / 8, css(colour, Math.exp((-4.5 * k * k) / 64) * (1 - k / 8)));
  context.fillStyle = gradient;
  context.fillRect(0, 0, 64, 64);
  return blob;
}

// The unit square of the ground round a point, as an affine map to the screen; null behind the eye.
function layOnGround(camera, x, y, z, radius) {
  const corners = [
    [x, y],
    [x + radius, y],
    [x, y + radius],
  ].map(([u, v]) => camera.toCamera(u, v, z));
  if (corners.some((corner) => corner[2] < camera.nearest)) return null;
  const [o, i, j] = corners.map((corner) => camera.toScreen(corner));
  return [i[0] - o[0], i[1] - o[1], j[0] - o[0], j[1] - o[1], o[0], o[1]];
}

// Bones throw a soft shadow straight down: sharper and darker the nearer they are to the ground.
function drawShadows(context, camera, scene, blob, bodies) {
  const { parents, radius } = scene.skeleton;
  for (const { person, pose, row } of bodies) {
    for (let joint = 0; joint < parents.length; joint++) {
      const parent = parents[joint];
      if (parent < 0) continue;
      const strength = Math.min(solidity(person, row, joint), solidity(person, row, parent)) || 0.3;
      for (let part = 0; part < 1; part += 0.25) {
        const [x, y, z] = [0, 1, 2].map(
          (k) => pose[joint * 3 + k] + part * (pose[parent * 3 + k] - pose[joint * 3 + k]),
        );
        const height = Math.max(0, z - scene.ground) / person.size;
        const size = person.size * (1.6 * radius[joint] + 0.05 + 0.09 * height);
        drawBlob(context, camera, blob, [x, y, scene.ground, size], (0.5 * strength) / (1 + 2.4 * height));
      }
    }
  }
  context.globalAlpha = 1;
}

function drawBlob(context, camera, blob, [x, y, z, size], alpha) {
  const lay = layOnGround(camera, x, y, z, size);
  if (!lay) return;
  context.save();
  context.transform(...lay);
  context.globalAlpha = alpha;
  context.drawImage(blob, -1, -1, 2, 2);
  context.restore();
}

// Rings under the feet, which fade as a foot is lifted: where a person touches the ground is seen at a glance.
function drawFootRings(context, camera, scene, colours, bodies) {
  for (const { person, pose } of bodies) {
    for (const joint of scene.skeleton.feet) {
      const [x, y, z] = pose.subarray(joint * 3, joint * 3 + 3);
      const height = (z - scene.ground) / person.size;
      const lay = layOnGround(camera, x, y, scene.ground, 0.13 * person.size);
      if (!lay || height > 0.5) continue;
      context.save();
      context.transform(...lay);
      context.beginPath();
      context.arc(0, 0, 1, 0, 2 * Math.PI);
      context.restore(); // the line keeps its width
      context.lineWidth = 1.5;
      const colour = colourOf(colours, scene.skeleton.sides[joint], person);
      context.strokeStyle = css(colour, 0.75 * (1 - Math.max(0, height) / 0.5));
      context.stroke();
    }
  }
}
