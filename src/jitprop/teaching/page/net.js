// The picture of the net. Weights are lines and biases are the rings of the units: their colour and
// dashes show the sign, their width the size. Each can be chosen with the mouse or the keyboard.

"use strict";

const SVG = "http://www.w3.org/2000/svg";

// Make an element of SVG.
function draw(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// A number for people: some significant digits, without trailing zeros.
function shown(value, digits = 6) {
  if (value === 0) return "0";
  if (!Number.isFinite(value)) return String(value);
  let [number, exponent] = value.toPrecision(digits).split("e");
  if (number.includes(".")) number = number.replace(/\.?0+$/, "");
  if (!exponent && Math.abs(value) < 1e-4) {
    [number, exponent] = value.toExponential(digits - 1).split("e");
    number = number.replace(/\.?0+$/, "");
  }
  return (number + (exponent ? `e${Number(exponent)}` : "")).replaceAll("-", "\u2212");
}

// The name of a parameter; i is -1 for a bias.
function nameOf({ l, i, j }) {
  return i < 0 ? `b[${l}][${j}]` : `W[${l}][${i},${j}]`;
}

// The position of a parameter in the flat array.
function placeOf(sizes, { l, i, j }) {
  const { weights, biases, n_out } = Engine.offsets(sizes)[l];
  return i < 0 ? biases + j : weights + i * n_out + j;
}

// What a class of CSS says of a sign.
const signOf = (value) => (value < 0 ? "negative" : "positive");

class NetView {
  constructor(svg, choose) {
    this.svg = svg;
    this.choose = choose;
    svg.addEventListener("keydown", (event) => this.key(event));
  }

  // Draw another net.
  build(net) {
    const { sizes } = net;
    this.net = net;
    this.svg.replaceChildren();
    const box = this.svg.getBoundingClientRect();
    const [width, height] = [Math.max(box.width, 300), Math.max(box.height, 200)];
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const most = Math.max(...sizes);
    const bottom = height - 40;
    const gap = bottom / most;
    this.radius = Math.min(24, 0.42 * gap);
    this.widest = Math.min(Math.max(22 / most, 1.5), 5);
    const inputs = Data.lesson.inputs.map((name) =>
      draw("text", {}, name.length > 9 ? `${name.slice(0, 8)}…` : name),
    );
    const names = draw("g", { class: "name", "text-anchor": "end" }, ...inputs);
    this.svg.append(names);
    const side = Math.min(88, 0.17 * width);
    const left = Math.max(side, this.radius + 10 + names.getBBox().width);
    const x = (l) => left + (l * (width - left - side)) / (sizes.length - 1);
    const y = (l, j) =>
      bottom / 2 + (j - (sizes[l] - 1) / 2) * Math.min(gap * (most / sizes[l]), 92);
    this.parts = []; // of every parameter: {which, group, line, title}
    const edges = draw("g");
    const units = draw("g");
    for (let l = 0; l + 1 < sizes.length; l++)
      for (let i = 0; i < sizes[l]; i++)
        for (let j = 0; j < sizes[l + 1]; j++) {
          const ends = { x1: x(l), y1: y(l, i), x2: x(l + 1), y2: y(l + 1, j) };
          const line = draw("line", { ...ends, class: "weight" });
          const group = draw("g", {}, draw("line", { ...ends, class: "reach" }), line);
          edges.append(this.part({ l, i, j }, group, line));
        }
    this.units = sizes.map((n, l) =>
      Array.from({ length: n }, (_, j) => {
        const circle = draw("circle", { cx: x(l), cy: y(l, j), r: this.radius, class: "unit" });
        const label = draw("text", { x: x(l), y: y(l, j), class: "value" });
        const group = draw("g", {}, circle, label);
        if (l > 0) this.part({ l: l - 1, i: -1, j }, group, circle);
        units.append(group);
        return { circle, label };
      }),
    );
    inputs.forEach((label, j) => {
      label.setAttribute("x", x(0) - this.radius - 8);
      label.setAttribute("y", y(0, j));
    });
    const place = { x: x(sizes.length - 1) + this.radius + 8 };
    this.targets = Array.from({ length: sizes.at(-1) }, (_, j) =>
      draw("text", { ...place, y: y(sizes.length - 1, j) }),
    );
    const targets = draw("g", { class: "name", "text-anchor": "start" }, ...this.targets);
    const captions = sizes.map((_, l) => {
      const f = l > 0 ? net.activations[l - 1].name : "";
      const key = l === 0 ? "inputs" : l + 1 < sizes.length ? "hidden_layer" : "output_layer";
      return draw(
        "text",
        { class: "caption" },
        draw("tspan", { x: x(l), y: height - 25 }, Data.text(key, { l: l - 1 })),
        draw("tspan", { x: x(l), y: height - 9 }, l === 0 ? "a[0]" : f),
      );
    });
    this.svg.append(edges, units, names, targets, ...captions);
    this.parts[0].group.setAttribute("tabindex", "0");
  }

  // Make the group of a parameter a button.
  part(which, group, line) {
    const title = draw("title");
    group.prepend(title);
    group.setAttribute("role", "button");
    group.setAttribute("tabindex", "-1");
    group.setAttribute("data-name", nameOf(which));
    group.classList.add("part");
    group.addEventListener("click", () => this.pick(which));
    this.parts.push({ which, group, line, title });
    return group;
  }

  pick(which) {
    this.focus(
      this.parts.findIndex((part) => nameOf(part.which) === nameOf(which)),
      false,
    );
    this.choose(which);
  }

  // Of all parts one can be reached by the tab key; arrows lead to the others.
  focus(index, really = true) {
    for (const part of this.parts) part.group.setAttribute("tabindex", "-1");
    const { group } = this.parts[index];
    group.setAttribute("tabindex", "0");
    if (really) group.focus();
  }

  key(event) {
    const index = this.parts.findIndex((part) => part.group === document.activeElement);
    if (index < 0) return;
    const { which } = this.parts[index];
    const layer = (l) => this.parts.findIndex((part) => part.which.l === l);
    const n = this.parts.length;
    const goals = {
      ArrowDown: (index + 1) % n,
      ArrowUp: (index + n - 1) % n,
      ArrowRight: layer(which.l + 1),
      ArrowLeft: layer(which.l - 1),
      Home: 0,
      End: n - 1,
    };
    if (event.key === "Enter" || event.key === " ") this.choose(which);
    else if (!(event.key in goals)) return;
    else if (goals[event.key] >= 0) this.focus(goals[event.key]);
    event.preventDefault();
  }

  // Show the parameters of a snapshot and the numbers of a step.
  show(params, step, chosen) {
    const { sizes } = this.net;
    const largest = Math.max(...params.map(Math.abs)) || 1;
    for (const { which, group, line, title } of this.parts) {
      const place = placeOf(sizes, which);
      const value = params[place];
      const bias = which.i < 0;
      const width = (bias ? 1 : 0.6) + (this.widest * Math.abs(value)) / largest;
      line.setAttribute("stroke-width", width.toFixed(2));
      line.setAttribute("stroke-dasharray", value < 0 ? (bias ? "4 3" : "7 5") : "none");
      group.classList.toggle("negative", value < 0);
      group.classList.toggle("chosen", nameOf(which) === nameOf(chosen));
      group.setAttribute("aria-pressed", nameOf(which) === nameOf(chosen));
      const values = { name: nameOf(which), value: shown(value), g: shown(step.gradient[place]) };
      const label = Data.text(bias ? "bias_label" : "weight_label", values);
      group.setAttribute("aria-label", label);
      title.textContent = label;
    }
    const n = step.rows.length;
    this.units.forEach((units, l) =>
      units.forEach(({ circle, label }, j) => {
        const mean = step.a[l].reduce((sum, a) => sum + a[j], 0) / n;
        label.textContent = this.radius < 12 ? "" : shown(mean, this.radius < 16 ? 2 : 3);
        circle.style.setProperty("--filled", Math.min(Math.abs(mean), 1).toFixed(3));
        circle.classList.toggle("below", mean < 0);
      }),
    );
    this.targets.forEach((label, j) => {
      label.textContent = n === 1 && j < step.y[0].length ? `y ${shown(step.y[0][j], 3)}` : "";
    });
  }
}
