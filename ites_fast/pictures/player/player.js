// The player: what is shown, from where, and when.

const ICONS = { play: "M4 2.5v11l9-5.5z", pause: "M4 2.5h3v11H4zM9 2.5h3v11H9z" };
const TURN_SECONDS = 0.35; // from one view to another

class Player {
  constructor(scene) {
    this.scene = scene;
    this.moment = firstSeen(scene); // frames, with a fraction while it plays
    this.playing = false;
    this.speed = 1;
    this.looping = true;
    this.followed = -1;
    this.camera = new OrbitCamera();
    this.canvas = byId("view");
    this.timeline = new Timeline(scene, (frame) => this.seek(frame));
    this.panel = new Panel(scene, () => this.redraw());
    this.inset = new Inset(scene);
    this.hover = new Hover(this.canvas, scene, () => this.redraw());
    this.turning = null;
    this.waiting = false;
    this.last = 0;
  }

  start() {
    showFacts(this.scene);
    this.readTheme();
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.readTheme());
    this.connect();
    listenToPointers(this.canvas, this);
    listenToKeys(this);
    const stage = byId("stage").getBoundingClientRect();
    this.camera.resize(stage.width, stage.height);
    this.setFollowed(followedAtFirst(this.scene));
    this.fit();
    new ResizeObserver(() => this.layOut()).observe(document.body);
    this.layOut();
    const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.setPlaying(!still && this.scene.frames > 1);
  }

  connect() {
    byId("play").disabled = byId("back").disabled = byId("forward").disabled = this.scene.frames < 2;
    byId("play").addEventListener("click", () => this.playOrPause());
    byId("back").addEventListener("click", () => this.step(-1));
    byId("forward").addEventListener("click", () => this.step(1));
    byId("loop").addEventListener("click", (event) => {
      this.looping = !this.looping;
      event.currentTarget.setAttribute("aria-pressed", String(this.looping));
    });
    byId("speed").addEventListener("change", (event) => (this.speed = Number(event.target.value)));
    byId("follow").addEventListener("change", (event) => this.setFollowed(Number(event.target.value)));
    byId("names").addEventListener("change", () => this.redraw());
    byId("show-inset").addEventListener("change", (event) => {
      this.inset.shown = this.inset.exists && event.target.checked;
      this.layOut();
    });
    byId("help-button").addEventListener("click", () => byId("help").showModal());
    for (const button of document.querySelectorAll("[data-view]")) {
      button.addEventListener("click", () => this.look(button.dataset.view));
    }
  }

  get frame() {
    return Math.floor(this.moment);
  }

  readTheme() {
    this.colours = readColours();
    this.blob = makeBlob(this.colours.shadow);
    this.panel.paint(this.colours);
    if (this.context) this.layOut();
  }

  layOut() {
    const stage = byId("stage").getBoundingClientRect();
    this.camera.resize(stage.width, stage.height);
    this.context = fitCanvas(this.canvas, stage.width, stage.height);
    this.timeline.layOut(byId("timeline").clientWidth, this.colours);
    this.panel.layOut(stage.height - this.inset.layOut(stage));
    this.redraw();
  }

  // Playing

  seek(frame) {
    this.moment = clamp(Math.round(frame), 0, this.scene.frames - 1);
    this.redraw();
  }

  step(frames) {
    this.setPlaying(false);
    this.seek(this.frame + frames);
  }

  playOrPause() {
    this.setPlaying(!this.playing);
  }

  setPlaying(playing) {
    if (playing && this.frame >= this.scene.frames - 1) this.moment = 0;
    if (!playing) this.moment = this.frame; // exactly the pose of a frame
    this.playing = playing && this.scene.frames > 1;
    this.last = performance.now();
    byId("play").setAttribute("aria-label", this.playing ? "Pause" : "Play");
    byId("play")
      .querySelector("path")
      .setAttribute("d", this.playing ? ICONS.pause : ICONS.play);
    this.redraw();
  }

  changeSpeed(sign) {
    const select = byId("speed");
    select.selectedIndex = clamp(select.selectedIndex + sign, 0, select.options.length - 1);
    this.speed = Number(select.value);
  }

  advance(seconds) {
    const end = this.scene.frames - 1;
    this.moment += seconds * this.scene.fps * this.speed;
    if (this.moment <= end) return;
    // the last frame is shown for as long as any other
    if (this.looping) this.moment = this.moment < end + 1 ? this.moment : (this.moment - end - 1) % (end + 1);
    else {
      this.moment = end;
      this.setPlaying(false);
    }
  }

  // Looking

  orbit(dx, dy) {
    this.turning = null;
    this.camera.orbit(dx, dy);
    this.redraw();
  }

  drag(dx, dy) {
    this.camera.drag(dx, dy);
    this.redraw();
  }

  zoom(factor) {
    this.camera.zoom(factor, 0.3 * this.scene.size, 400 * this.scene.size);
    this.redraw();
  }

  look(name) {
    if (name === "reset") {
      const { yaw, pitch, distance, pan } = this.camera;
      this.fit();
      const { distance: goal, pan: place } = this.camera;
      Object.assign(this.camera, { yaw, pitch, distance, pan });
      this.turnTo({ ...FIRST_VIEW, distance: goal, pan: place });
    } else {
      this.turnTo({ ...VIEWS[name], distance: this.camera.distance, pan: this.camera.pan });
    }
  }

  turnTo(goal) {
    const { yaw, pitch, distance, pan } = this.camera;
    // the short way round
    const start = {
      yaw: goal.yaw + Math.atan2(Math.sin(yaw - goal.yaw), Math.cos(yaw - goal.yaw)),
      pitch,
      distance,
      pan,
    };
    this.turning = { start, goal, begun: performance.now() };
    this.redraw();
  }

  turn(now) {
    const { start, goal, begun } = this.turning;
    const part = clamp((now - begun) / 1000 / TURN_SECONDS, 0, 1);
    const eased = part * part * (3 - 2 * part);
    const between = (a, b) => a + eased * (b - a);
    for (const key of ["yaw", "pitch", "distance"]) this.camera[key] = between(start[key], goal[key]);
    this.camera.pan = start.pan.map((value, k) => between(value, goal.pan[k]));
    if (part === 1) this.turning = null;
  }

  setFollowed(index) {
    this.followed = index;
    byId("follow").value = index;
    const { camera } = this;
    const before = camera.anchor;
    this.anchor();
    if (index >= 0) {
      // from where the view is now to the person
      camera.pan = camera.pan.map((value, k) => value + before[k] - camera.anchor[k]);
      this.turnTo({ ...camera, pan: [0, 0, camera.pan[2]] });
    }
    this.redraw();
  }

  followNext() {
    this.setFollowed(this.followed + 2 > this.scene.people.length ? -1 : this.followed + 1);
  }

  anchor() {
    const person = this.scene.people[this.followed];
    if (person && person.frame.length) this.camera.anchor = [...person.placeAround(this.moment, this.scene.fps), 0];
    this.camera.update();
  }

  fit() {
    this.turning = null;
    Object.assign(this.camera, FIRST_VIEW);
    this.camera.update();
    this.camera.fit(boundingBox(this.scene, this.followed, this.camera.anchor));
  }

  // Drawing

  redraw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame((now) => this.draw(now));
  }

  draw(now) {
    this.waiting = false;
    if (!this.context) return;
    if (this.playing) this.advance(clamp((now - this.last) / 1000, 0, 0.25));
    this.last = now;
    if (this.turning) this.turn(now);
    this.anchor();
    this.drawScene();
    this.timeline.draw(this.colours, this.frame);
    this.inset.draw(
      this.colours,
      this.scene.people.filter((person) => person.shown),
      this.frame,
    );
    this.panel.draw(this.frame);
    this.showClock();
    if (this.playing || this.turning) this.redraw();
  }

  drawScene() {
    const { context, camera, scene, colours } = this;
    const bodies = this.bodies();
    drawBackground(context, camera, colours);
    drawGround(context, camera, scene, colours);
    drawShadows(context, camera, scene, this.blob, bodies);
    drawFootRings(context, camera, scene, colours, bodies);
    drawBodies(context, camera, scene, colours, bodies);
    if (byId("names").checked) drawNames(context, camera, colours, bodies);
    this.hover.draw(context, camera, colours, bodies);
    byId("nobody").hidden = bodies.length > 0 || this.scene.people.some((person) => !person.shown);
  }

  bodies() {
    const people = this.scene.people.filter((person) => person.shown);
    const bodies = people.map((person) => ({
      person,
      pose: person.poseAt(this.moment),
      row: person.rowAt(this.frame),
    }));
    return bodies.filter(({ pose }) => pose !== null);
  }

  showClock() {
    const { frame, scene } = this;
    const last = Math.max(0, scene.frames - 1);
    const text = `${clock(frame / scene.fps)} / ${clock(last / scene.fps)}  frame ${frame} of ${last}`;
    byId("clock").textContent = text;
    byId("slider").setAttribute("aria-valuetext", text);
  }
}

function clock(seconds) {
  const minutes = Math.floor(seconds / 60);
  return `${minutes}:${(seconds - 60 * minutes).toFixed(2).padStart(5, "0")}`;
}

// For the console: player.seek(10), player.camera, player.scene.people[0].poseAt(10).
window.player = new Player(readScene());
window.player.start();
