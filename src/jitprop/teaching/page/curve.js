// The curve of the loss, on log scales where all losses are above 0. Its marker can be dragged.

"use strict";

class CurveView {
  constructor(svg, goToEpoch) {
    this.svg = svg;
    const drag = (event) => {
      const box = svg.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * this.width;
      goToEpoch(this.epochAt(x));
    };
    svg.addEventListener("pointerdown", (event) => {
      svg.setPointerCapture(event.pointerId);
      drag(event);
    });
    svg.addEventListener("pointermove", (event) => {
      if (svg.hasPointerCapture(event.pointerId)) drag(event);
    });
  }

  epochAt(x) {
    const share = Math.min(Math.max((x - this.left) / (this.right - this.left), 0), 1);
    return Math.expm1(share * Math.log1p(this.last));
  }

  // Draw the curve of a run again; of another run, the recorded curve stays behind it.
  build(run, recorded) {
    const box = this.svg.getBoundingClientRect();
    this.width = Math.max(box.width, 240);
    this.height = Math.max(box.height, 140);
    [this.left, this.right, this.top, this.bottom] = [58, this.width - 30, 10, this.height - 34];
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
    this.last = Math.max(run.snapshots.at(-1).epoch, 1);
    const runs = run === recorded ? [run] : [recorded, run];
    const all = runs
      .flatMap((each) => each.points.map((point) => point[1]))
      .filter(Number.isFinite);
    const above = all.filter((v) => v > 0);
    this.log = above.length === all.length && all.length > 0;
    const scale = (v) => (this.log ? Math.log10(v) : v);
    this.low = all.length ? scale(Math.min(...all)) : 0;
    this.high = all.length ? scale(Math.max(...all)) : 1;
    const room = 0.05 * (this.high - this.low) || 0.5;
    this.low -= room;
    this.high += room;
    this.x = (epoch) =>
      this.left + ((this.right - this.left) * Math.log1p(epoch)) / Math.log1p(this.last);
    this.y = (loss) => {
      const share = (scale(loss) - this.low) / (this.high - this.low);
      return this.bottom - Math.min(Math.max(share, -0.05), 1.05) * (this.bottom - this.top);
    };
    this.svg.replaceChildren(...this.axes());
    for (const each of runs) {
      const points = each.points.filter(([epoch, v]) => epoch <= this.last && Number.isFinite(v));
      const path = points.map(
        ([epoch, v]) => `${this.x(epoch).toFixed(1)},${this.y(v).toFixed(1)}`,
      );
      this.svg.append(
        draw("polyline", { points: path.join(" "), class: each === run ? "curve" : "curve old" }),
      );
    }
    this.marker = draw("line", { y1: this.top, y2: this.bottom, class: "marker" });
    this.point = draw("circle", { r: 7, class: "marker" });
    this.svg.append(this.marker, this.point);
  }

  axes() {
    const parts = [];
    const { left, right, top, bottom } = this;
    const epochs = [0, 1, 10, 100, 1000, 10000, 100000, 1000000].filter((e) => e <= this.last);
    for (const epoch of epochs) {
      const x = this.x(epoch);
      parts.push(draw("line", { x1: x, x2: x, y1: top, y2: bottom, class: "grid" }));
      const label = epoch.toLocaleString("en");
      parts.push(draw("text", { x, y: bottom + 14, class: "tick middle" }, label));
    }
    for (const value of this.levels()) {
      const y = this.y(value);
      parts.push(draw("line", { x1: left, x2: right, y1: y, y2: y, class: "grid" }));
      parts.push(draw("text", { x: left - 6, y: y + 4, class: "tick end" }, shown(value, 3)));
    }
    const middle = (left + right) / 2;
    const text = Data.text("curve_x");
    parts.push(draw("text", { x: middle, y: this.height - 4, class: "tick middle" }, text));
    return parts;
  }

  // Round numbers for the axis of the loss: powers of ten, or their parts if there are few.
  levels() {
    const found = [];
    if (!this.log) {
      const step = (this.high - this.low) / 4;
      for (let k = 0; k < 5; k++) found.push(this.low + k * step);
      return found.map((v) => Number(v.toPrecision(2)));
    }
    const decades = this.high - this.low;
    const parts = decades > 3 ? [1] : decades > 1.2 ? [1, 3] : decades > 0.5 ? [1, 2, 5] : [];
    const from = 10 ** this.low;
    const to = 10 ** this.high;
    for (let e = Math.floor(this.low); e <= this.high; e++)
      for (const part of parts) found.push(part * 10 ** e);
    if (!parts.length) for (let k = 0; k < 4; k++) found.push(from + ((k + 0.5) * (to - from)) / 4);
    const every = Math.ceil(found.length / 8);
    return found
      .map((v) => Number(v.toPrecision(3)))
      .filter((v, k) => v >= from && v <= to && (decades <= 8 || k % every === 0));
  }

  show(epoch, loss) {
    const x = this.x(epoch);
    const y = Number.isFinite(loss) && (loss > 0 || !this.log) ? this.y(loss) : this.top;
    this.marker.setAttribute("x1", x);
    this.marker.setAttribute("x2", x);
    this.point.setAttribute("cx", x);
    this.point.setAttribute("cy", y);
  }
}
