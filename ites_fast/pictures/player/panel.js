// The list of people, what is known of them in this frame, the facts and the notes.

const byId = (id) => document.getElementById(id);

function element(tag, text = "", attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function plural(count, word, words = `${word}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? word : words}`;
}

function showFacts(scene) {
  const length = scene.units === "metres" ? "metres" : "body units (hip to head of an average body, about 0.72 m)";
  const place = scene.placed ? "people stand where they are" : "each person stands in place";
  byId("facts").textContent = [
    `${plural(scene.people.length, "person", "people")}, ${plural(scene.frames, "frame")} at ${scene.fps} fps`,
    `lengths in ${length}, ${place}`,
    `x right, y away from the camera, z up; grid ${scene.cell} ${scene.units === "metres" ? "m" : "body units"}`,
  ].join("\n");
  for (const note of scene.notes) byId("notes").querySelector("ul").append(element("li", note));
  byId("notes").hidden = scene.notes.length === 0;
}

class Panel {
  constructor(scene, changed) {
    this.scene = scene;
    this.rows = scene.people.map((person) => this.addPerson(person, changed));
    byId("scale").hidden = !scene.people.some((person) => person.ambiguity);
    byId("inset-row").hidden = scene.view === null;
    byId("names").checked = scene.people.length > 1;
    byId("fold").addEventListener("click", () => this.fold(!byId("folded").hidden));
    if (window.innerWidth < 640) this.fold(true);
  }

  // The inset stands below.
  layOut(height) {
    byId("panel").style.maxHeight = `${Math.max(80, height - 42)}px`;
  }

  fold(folded) {
    byId("folded").hidden = folded;
    byId("fold").setAttribute("aria-expanded", String(!folded));
  }

  addPerson(person, changed) {
    const row = element("li");
    const label = element("label", "", { class: "choice" });
    const box = element("input", "", { type: "checkbox" });
    box.checked = true;
    box.addEventListener("change", () => {
      person.shown = box.checked;
      changed();
    });
    const state = element("small");
    label.append(box, element("i", "", { class: "swatch" }), element("span", person.name, { class: "name" }));
    row.append(label, state);
    byId("people").append(row);
    byId("follow").append(element("option", person.name, { value: person.index }));
    return { row, state, swatch: label.querySelector("i") };
  }

  paint(colours) {
    this.rows.forEach(({ swatch }, index) => (swatch.style.background = css(colours.person(index))));
    const first = this.scene.people.length ? colours.person(0) : colours.grid;
    document.querySelector(".swatch.middle").style.background = css(first);
  }

  draw(frame) {
    this.scene.people.forEach((person, index) => {
      const row = person.rowAt(frame);
      const { row: line, state } = this.rows[index];
      const text = row < 0 ? "not in this frame" : this.describe(person, row);
      if (state.textContent === text) return;
      state.textContent = text;
      line.classList.toggle("absent", row < 0);
    });
  }

  describe(person, row) {
    const confidence = person.confidence.subarray(row * person.joints, (row + 1) * person.joints);
    const filled = confidence.filter((value) => value === 0).length;
    const parts = [filled ? `${filled} filled in` : "all seen"];
    if (person.ambiguity) parts.push(`ambiguity ${(person.ambiguity[row] / 255).toFixed(2)}`);
    return parts.join(", ");
  }
}
