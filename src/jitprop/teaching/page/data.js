// What Python wrote into the page, as arrays of numbers. A run is a training: the recorded one, or
// one that the page made. It has snapshots, and the curve of the loss.

"use strict";

const Data = (() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const lesson = read("data");
  const texts = read("texts");

  // A text of texts.json; {name} in it is replaced by values.name.
  function text(key, values = {}) {
    return texts[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
  }

  function unpacked(packed) {
    const bytes = Uint8Array.from(atob(packed), (c) => c.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    return Float64Array.from({ length: bytes.length / 8 }, (_, i) => view.getFloat64(8 * i, true));
  }

  function rowsOf(flat, n) {
    const width = flat.length / n;
    return Array.from({ length: n }, (_, i) => flat.slice(i * width, (i + 1) * width));
  }

  const { n, X, y, w } = lesson.samples;
  const samples = {
    n,
    X: rowsOf(unpacked(X), n),
    y: rowsOf(unpacked(y), n),
    w: w === null ? null : unpacked(w),
  };

  // What Python recorded of snapshot s, because the page cannot compute it; null if nothing.
  function recordedAt(s) {
    const { values, activations, loss } = lesson.recorded;
    if (!loss && !activations.includes(true)) return null;
    const rows = (name) => rowsOf(unpacked(values[name][s]), n);
    return {
      activations: activations.map((custom, l) =>
        custom ? { a: rows(`a${l}`), slope: rows(`slope${l}`) } : null,
      ),
      E: loss ? unpacked(values.E[s]) : null,
      d: loss ? rows("d") : null,
    };
  }

  function recordedRun() {
    const { run, recorded, net } = lesson;
    const params = rowsOf(unpacked(run.params), run.epochs.length);
    const P = params[0].length;
    const snapshots = run.epochs.map((epoch, s) => ({
      epoch,
      updates: run.updates[s],
      rate: run.rates[s],
      params: params[s],
      slots: run.slots ? rowsOf(unpacked(run.slots[s]), unpacked(run.slots[s]).length / P) : [],
      recorded: recordedAt(s),
      update: recorded.updates ? unpacked(recorded.values.updates[s]) : null,
    }));
    const losses = unpacked(run.losses);
    const points = run.shown.map((epoch, i) => [epoch, losses[i]]);
    return { net, snapshots, points, own: false };
  }

  return { lesson, texts, text, samples, recorded: recordedRun() };
})();
