// Pointers and keys.

function listenToPointers(canvas, player) {
  const down = new Map(); // pointers on the canvas: where they were last
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    down.set(event.pointerId, [event.clientX, event.clientY]);
    canvas.focus({ preventScroll: true });
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!down.has(event.pointerId)) return;
    const before = new Map(down);
    down.set(event.pointerId, [event.clientX, event.clientY]);
    if (down.size === 2) moveTwo(player, [...before.values()], [...down.values()]);
    else if (down.size === 1) moveOne(player, before.get(event.pointerId), event);
  });
  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, (event) => down.delete(event.pointerId));
  }
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("dblclick", () => player.look("reset"));
  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const pixels = event.deltaY * [1, 16, 100][event.deltaMode];
      player.zoom(Math.exp(clamp(pixels, -200, 200) * 0.0016));
    },
    { passive: false },
  );
}

function moveOne(player, [x, y], event) {
  const [dx, dy] = [event.clientX - x, event.clientY - y];
  if (event.shiftKey || event.buttons & 6) player.drag(dx, dy);
  else player.orbit(dx, dy);
}

// Two fingers: their distance zooms, their middle pans.
function moveTwo(player, before, after) {
  const apart = ([a, b]) => Math.max(1, Math.hypot(a[0] - b[0], a[1] - b[1]));
  const middle = ([a, b]) => [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
  const [from, to] = [middle(before), middle(after)];
  player.drag(to[0] - from[0], to[1] - from[1]);
  player.zoom(apart(before) / apart(after));
}

function keyActions(player) {
  const press = (id) => () => byId(id).click();
  const step = (sign) => (event) =>
    player.step(sign * (event.shiftKey ? Math.max(1, Math.round(player.scene.fps)) : 1));
  return {
    " ": () => player.playOrPause(),
    ArrowLeft: step(-1),
    ArrowRight: step(1),
    ArrowUp: () => player.changeSpeed(1),
    ArrowDown: () => player.changeSpeed(-1),
    Home: () => player.seek(0),
    End: () => player.seek(player.scene.frames - 1),
    1: () => player.look("front"),
    2: () => player.look("side"),
    3: () => player.look("top"),
    0: () => player.look("reset"),
    "+": () => player.zoom(0.88),
    "=": () => player.zoom(0.88),
    "-": () => player.zoom(1 / 0.88),
    f: () => player.followNext(),
    l: press("loop"),
    n: press("names"),
    k: press("show-inset"),
    "?": press("help-button"),
  };
}

function listenToKeys(player) {
  const actions = keyActions(player);
  document.addEventListener("keydown", (event) => {
    const { target } = event;
    const own =
      target.closest("dialog, select, summary") ||
      (event.key === " " && target.closest("button, input[type=checkbox]"));
    if (own || event.ctrlKey || event.metaKey || event.altKey) return;
    const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    event.preventDefault();
    action(event);
  });
  // A button that was clicked with the mouse would otherwise take the next press of the space bar.
  document.addEventListener("click", (event) => {
    if (event.detail > 0) event.target.closest("button, input[type=checkbox]")?.blur();
  });
}
