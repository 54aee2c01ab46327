// The outputs: a surface over two inputs with the samples on it, and a table of the samples.

"use strict";

const CELLS = 48;

class SurfaceView {
  constructor(figure, canvas, outputs, note, body, choose) {
    this.figure = figure;
    this.note = note;
    this.canvas = canvas;
    this.body = body;
    this.choose = choose;
    this.output = 0;
    const n = Data.lesson.net.n_targets;
    outputs.parentElement.hidden = n < 2;
    outputs.append(...Array.from({ length: n }, (_, j) => new Option(j, j)));
    outputs.addEventListener("change", () => {
      this.output = Number(outputs.value);
      this.paint();
    });
    canvas.addEventListener("click", (event) => this.click(event));
  }

  // Find the two inputs that the surface is drawn over: the only ones that vary.
  axes() {
    const { X } = Data.samples;
    const all = Array.from(X[0], (_, k) => k);
    const varying = all.filter((k) => X.some((x) => x[k] !== X[0][k]));
    if (varying.length === 2) return varying;
    return X[0].length === 2 ? [0, 1] : null;
  }

  build(net) {
    this.net = net;
    const recorded = Data.lesson.recorded.activations.includes(true);
    this.over = recorded ? null : this.axes();
    this.figure.hidden = this.over === null;
    if (this.over) this.ranges = this.over.map((k) => this.range(k));
    const { y } = Data.samples;
    const flat = y.flatMap((row) => Array.from(row));
    this.low = Math.min(0, ...flat);
    this.high = Math.max(1, ...flat);
    if (this.over) {
      const [x, y] = this.over.map((k) => Data.lesson.inputs[k]);
      const [low, high] = [this.low, this.high].map((v) => shown(v, 3));
      this.note.textContent = Data.text("surface_note", { x, y, low, high });
    }
    if (this.rows) return;
    this.rows = Data.samples.X.map((x, i) => this.row(x, i));
    this.body.replaceChildren(this.row(null, -1).element, ...this.rows.map((row) => row.element));
    this.whole.element.hidden = Data.samples.n === 1;
  }

  range(k) {
    const values = Data.samples.X.map((x) => x[k]);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const room = 0.25 * (high - low) || 1;
    return [low - room, high + room];
  }

  // A row of the table; sample -1 stands for all.
  row(x, i) {
    const radio = document.createElement("input");
    radio.type = "radio";
    radio.name = "sample";
    radio.value = i;
    radio.addEventListener("change", () => this.choose(i));
    const label = document.createElement("label");
    label.append(radio, i < 0 ? Data.text("all_samples", { n: Data.samples.n }) : String(i));
    const element = document.createElement("tr");
    const cell = (...children) => {
      const made = document.createElement("td");
      made.append(...children);
      element.append(made);
      return made;
    };
    cell(label);
    cell(x ? Array.from(Data.samples.y[i], (v) => shown(v, 3)).join(", ") : "");
    const output = cell();
    const loss = cell();
    element.addEventListener("click", (event) => {
      if (event.target.tagName === "TD") radio.click();
    });
    const inputs = x ? `(${Array.from(x, (v) => shown(v, 3)).join(", ")})` : "";
    cell(inputs);
    if (i < 0) this.whole = { element, radio, output, loss };
    return { element, radio, output, loss };
  }

  // The numbers of all samples, from a pass over all.
  show(params, all, sample) {
    this.params = params;
    this.sample = sample;
    const last = all.a.length - 1;
    this.rows.forEach(({ element, radio, output, loss }, i) => {
      const a = all.a[last][i];
      output.textContent = Array.from(a, (v) => shown(v, a.length > 1 ? 3 : 4)).join(", ");
      loss.textContent = shown(all.losses[i], 3);
      element.classList.toggle("chosen", i === sample);
      radio.checked = i === sample;
    });
    this.whole.radio.checked = sample < 0;
    this.whole.loss.textContent = shown(all.loss, 3);
    if (this.over) this.paint();
  }

  // What the colour shows: one output, or one target.
  value(a) {
    return a[this.output];
  }

  colour(value) {
    const share = Math.min(Math.max((value - this.low) / (this.high - this.low), 0), 1);
    const style = getComputedStyle(document.documentElement);
    const parts = (name) => style.getPropertyValue(name).split(",").map(Number);
    this.palette ??= [parts("--surface-low"), parts("--surface-middle"), parts("--surface-high")];
    const [low, middle, high] = this.palette;
    const [from, to, t] = share < 0.5 ? [low, middle, 2 * share] : [middle, high, 2 * share - 1];
    return from.map((v, k) => Math.round(v + t * (to[k] - v)));
  }

  paint() {
    const { canvas } = this;
    const size = Math.round(canvas.clientWidth * (window.devicePixelRatio || 1)) || 300;
    if (canvas.width !== size) canvas.width = canvas.height = size;
    const context = canvas.getContext("2d");
    const [first, second] = this.ranges;
    const at = ([low, high], share) => low + share * (high - low);
    const X = [];
    for (let r = 0; r < CELLS; r++)
      for (let c = 0; c < CELLS; c++) {
        const x = Float64Array.from(Data.samples.X[0]);
        x[this.over[0]] = at(first, (c + 0.5) / CELLS);
        x[this.over[1]] = at(second, 1 - (r + 0.5) / CELLS);
        X.push(x);
      }
    const outputs = Engine.forward(this.net, this.params, X).a.at(-1);
    const cell = size / CELLS;
    outputs.forEach((a, k) => {
      context.fillStyle = `rgb(${this.colour(this.value(a)).join(",")})`;
      const [r, c] = [Math.floor(k / CELLS), k % CELLS];
      context.fillRect(c * cell, r * cell, cell + 1, cell + 1);
    });
    this.places = Data.samples.X.map((x) => this.place(x, size));
    this.places.forEach(([x, y], i) => {
      const target = Data.samples.y[i];
      context.beginPath();
      context.arc(x, y, (i === this.sample ? 0.036 : 0.024) * size, 0, 2 * Math.PI);
      context.fillStyle = `rgb(${this.colour(this.value(target)).join(",")})`;
      context.fill();
      context.lineWidth = 0.012 * size;
      context.strokeStyle = "#fff";
      context.stroke();
      context.lineWidth = 0.006 * size;
      context.strokeStyle = "#000";
      context.stroke();
    });
  }

  place(x, size) {
    const share = ([low, high], v) => (v - low) / (high - low);
    return [
      share(this.ranges[0], x[this.over[0]]) * size,
      (1 - share(this.ranges[1], x[this.over[1]])) * size,
    ];
  }

  click(event) {
    const box = this.canvas.getBoundingClientRect();
    const scale = this.canvas.width / box.width;
    const [x, y] = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
    const distances = this.places.map(([px, py]) => Math.hypot(px - x, py - y));
    const nearest = distances.indexOf(Math.min(...distances));
    this.choose(distances[nearest] < 0.08 * this.canvas.width ? nearest : -1);
  }
}
