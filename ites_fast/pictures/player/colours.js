// Colours of the drawing come from the style sheet, which knows light and dark.

function readColours() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(`--${name}`).trim();
  const people = read("people").split(/\s+/).map(parseColour);
  return {
    sky: read("sky"),
    horizon: read("horizon"),
    ground: read("ground"),
    grid: parseColour(read("grid")),
    shadow: parseColour(read("shadow")),
    text: read("text"),
    halo: read("halo"),
    pale: parseColour(read("horizon")),
    left: parseColour(read("left")),
    right: parseColour(read("right")),
    certain: parseColour(read("certain")),
    guess: parseColour(read("guess")),
    person: (index) => people[index % people.length],
  };
}

// "#rrggbb" as three numbers.
function parseColour(text) {
  return [1, 3, 5].map((start) => parseInt(text.slice(start, start + 2), 16));
}

function css(colour, alpha = 1) {
  return `rgba(${colour.map(Math.round).join(",")},${alpha})`;
}

function mix(a, b, part) {
  return a.map((value, k) => value + part * (b[k] - value));
}

// light 1 is the colour itself, below it is darker, above it is towards white.
function shade(colour, light) {
  return light <= 1 ? colour.map((value) => value * light) : mix(colour, [255, 255, 255], Math.min(1, light - 1));
}

// Side 0 is the middle of the body, which has the colour of the person.
function colourOf(colours, side, person) {
  if (side === 1) return colours.left;
  return side === 2 ? colours.right : colours.person(person.index);
}
