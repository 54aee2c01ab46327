// The page: what is shown now, and what the controls do.

"use strict";

const App = (() => {
  const { lesson, text, samples, recorded } = Data;
  const find = (id) => document.getElementById(id);

  const state = {
    run: recorded,
    at: 0, // the number of the snapshot
    sample: samples.n === 1 ? 0 : -1,
    chosen: { l: recorded.net.activations.length - 1, i: 0, j: 0 },
    timer: null, // while playing
    training: null, // while the page trains a net
  };

  const net = new NetView(find("net"), (which) => {
    state.chosen = which;
    show();
  });
  const curve = new CurveView(find("curve"), goToEpoch);
  const surface = new SurfaceView(
    find("surface-figure"),
    find("surface"),
    find("shown-output"),
    find("surface-note"),
    find("samples"),
    (sample) => {
      state.sample = sample;
      show();
    },
  );

  // What is shown.

  function show() {
    const { run, at, sample, chosen } = state;
    const snapshot = run.snapshots[at];
    const step = Engine.step(run.net, snapshot, samples, sample);
    const all = sample < 0 ? step : Engine.step(run.net, snapshot, samples, -1);
    state.step = step;
    net.show(snapshot.params, step, chosen);
    curve.show(snapshot.epoch, all.loss);
    surface.show(snapshot.params, all, sample);
    find("slider").value = at;
    const last = run.snapshots.at(-1).epoch;
    const values = {
      epoch: (lesson.run.start + snapshot.epoch).toLocaleString("en"),
      last: (lesson.run.start + last).toLocaleString("en"),
      loss: shown(all.loss, 5),
    };
    find("slider").setAttribute("aria-valuetext", text("slider_value", values));
    find("where").textContent = text("where", values);
    const of = sample < 0 ? text("of_all", { n: samples.n }) : text("of_sample", { sample });
    find("chain-of").textContent = find("units-of").textContent = of;
    find("units").replaceChildren(...Chain.unitRows(run.net, step, chosen));
    find("units-note").textContent = sample < 0 && samples.n > 1 ? text("units_of_all") : "";
    find("loss-of-step").textContent = text(
      step.rows.length === 1
        ? "loss_of_step"
        : run.net.reduction === "sum"
          ? "loss_sum"
          : "loss_mean",
      { loss: shown(step.loss) },
    );
    find("explanation").replaceChildren(...Chain.explain(run.net, snapshot, step, chosen));
    find("parameter").value = nameOf(chosen);
    find("first").disabled = find("back").disabled = at === 0;
    find("forth").disabled = find("last").disabled = at === run.snapshots.length - 1;
  }

  // Show another run from one of its snapshots.
  function showRun(run, at) {
    const other = run.net !== state.run.net;
    state.run = run;
    state.at = at;
    if (other || !net.net) {
      const { sizes } = run.net;
      const { l, i, j } = state.chosen;
      if (i >= sizes[l] || j >= sizes[l + 1]) state.chosen = { l, i: Math.min(i, 0), j: 0 };
      net.build(run.net);
      surface.build(run.net);
      const names = net.parts.map((part) => nameOf(part.which));
      find("parameter").replaceChildren(...names.map((name) => new Option(name, name)));
    }
    find("slider").max = run.snapshots.length - 1;
    curve.build(run, recorded);
    show();
  }

  // Moving through the epochs.

  function goTo(at) {
    state.at = Math.min(Math.max(at, 0), state.run.snapshots.length - 1);
    show();
  }

  function goToEpoch(epoch) {
    const distances = state.run.snapshots.map((s) =>
      Math.abs(Math.log1p(s.epoch) - Math.log1p(epoch)),
    );
    pause();
    goTo(distances.indexOf(Math.min(...distances)));
  }

  function pause() {
    clearTimeout(state.timer);
    state.timer = null;
    find("play").textContent = text("play");
  }

  function play() {
    if (state.at === state.run.snapshots.length - 1) goTo(0);
    find("play").textContent = text("pause");
    const next = () => {
      goTo(state.at + 1);
      if (state.at === state.run.snapshots.length - 1) pause();
      else state.timer = setTimeout(next, 1000 / Number(find("speed").value));
    };
    state.timer = setTimeout(next, 1000 / Number(find("speed").value));
  }

  find("play").addEventListener("click", () => (state.timer === null ? play() : pause()));
  for (const [id, target] of Object.entries({
    first: () => 0,
    back: () => state.at - 1,
    forth: () => state.at + 1,
    last: () => Infinity,
  }))
    find(id).addEventListener("click", () => {
      pause();
      goTo(target());
    });
  find("slider").addEventListener("input", (event) => {
    pause();
    goTo(Number(event.target.value));
  });
  find("parameter").addEventListener("change", (event) => {
    net.pick(net.parts.find((part) => nameOf(part.which) === event.target.value).which);
  });

  // Training in the page.

  const form = find("switches");
  const wrong = find("wrong-sign");

  // The net and the start that the switches ask for.
  function wanted() {
    const original = lesson.net;
    // Browsers take 1e-9 for an integer.
    const integer = (input) => Math.round(Number(input.value));
    const seed = integer(find("seed"));
    const widths = Array.from(form.querySelectorAll(".width"), integer);
    const sizes = [original.sizes[0], ...widths, original.sizes.at(-1)];
    const chosen = find("activation").value;
    const activations = original.activations.map((f, l) =>
      chosen === "" || l === original.activations.length - 1 ? f : { name: chosen },
    );
    const begin = recorded.snapshots[0];
    const same = sizes.join() === original.sizes.join();
    const own = seed !== 0 || !same;
    const P = Engine.countParameters(sizes);
    const start = own
      ? {
          params: Engine.initial(sizes, original.init, seed),
          slots: begin.slots.map(() => new Float64Array(P)),
          updates: 0,
        }
      : begin;
    const rate = Number(find("rate").value) * (wrong.checked ? -1 : 1);
    return { net: { ...original, sizes, activations }, start, rate, seed, own };
  }

  // Train for some epochs, at once. Tests call this, and `train` does so in pieces.
  function trainer({ net: settings, start, rate, seed }) {
    const { orders } = lesson.run;
    const order = (epoch, n) => orders && (orders[epoch] ?? Engine.shuffled(n, seed, epoch));
    return Engine.training(settings, start, samples, rate, order);
  }

  function snapshotOf(training, rate) {
    return {
      epoch: training.epochs,
      updates: training.updates,
      rate,
      params: Float64Array.from(training.params),
      slots: training.slots.map((slot) => Float64Array.from(slot)),
      recorded: null,
      update: null,
    };
  }

  function say(key, values) {
    find("status").textContent = text(key, values);
  }

  // Train the net that the switches ask for, in pieces, so that the page stays alive.
  function train() {
    pause();
    clearTimeout(state.training);
    const asked = wanted();
    const training = trainer(asked);
    const stops = new Set(recorded.snapshots.map((snapshot) => snapshot.epoch));
    const points = new Set(lesson.run.shown);
    const last = recorded.snapshots.at(-1).epoch;
    const run = {
      net: asked.net,
      snapshots: [snapshotOf(training, asked.rate)],
      points: [],
      own: true,
    };
    const piece = () => {
      const until = performance.now() + 30;
      while (training.epochs < last && performance.now() < until) {
        const epoch = training.epochs;
        const loss = training.epoch();
        if (!Number.isFinite(loss)) return finish("diverged", { epoch });
        if (points.has(epoch)) run.points.push([epoch, loss]);
        if (stops.has(training.epochs)) run.snapshots.push(snapshotOf(training, asked.rate));
      }
      if (training.epochs >= last) return finish(asked.own ? "trained_own" : "trained_same");
      say("under_way", { percent: Math.round((100 * training.epochs) / last) });
      state.training = setTimeout(piece);
    };
    const finish = (key, values = {}) => {
      state.training = null;
      find("recorded").disabled = false;
      showRun(run, run.snapshots.length - 1);
      say(key, { ...values, epochs: training.epochs.toLocaleString("en") });
    };
    find("recorded").disabled = false;
    piece();
  }

  function reset() {
    clearTimeout(state.training);
    state.training = null;
    form.reset();
    fill();
    find("recorded").disabled = true;
    say("recorded_run");
    showRun(recorded, Math.min(state.at, recorded.snapshots.length - 1));
  }

  function fill() {
    find("rate").value = recorded.snapshots[0].rate;
    find("seed").value = 0;
    form.querySelectorAll(".width").forEach((input, l) => (input.value = lesson.net.sizes[l + 1]));
  }

  function buildSwitches() {
    const hidden = lesson.net.sizes.slice(1, -1);
    find("widths").append(
      ...hidden.map((n, l) => {
        const input = make("input", {
          type: "number",
          min: 1,
          max: 12,
          step: 1,
          required: "",
          class: "width",
          id: `width-${l}`,
        });
        const key = hidden.length === 1 ? "units_one" : "units_of";
        return make("label", {}, text(key, { l }), input);
      }),
    );
    const names = Object.keys(Engine.ACTIVATIONS).filter((name) => name !== "exp");
    const given = lesson.net.activations.slice(0, -1).map((f) => f.name);
    const same = [...new Set(given)].join(", ");
    find("activation").append(new Option(text("as_recorded", { same }), ""));
    find("activation").append(...names.map((name) => new Option(name, name)));
    find("activation").parentElement.hidden = hidden.length === 0;
    wrong.parentElement.hidden = lesson.net.optimizer.name === "rprop";
    fill();
    if (lesson.fixed) {
      for (const element of form.elements) element.disabled = true;
      say(lesson.fixed);
      return;
    }
    say("recorded_run");
    find("recorded").disabled = true;
    form.addEventListener("change", () => form.reportValidity() && train());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (form.reportValidity()) train();
    });
    for (const [id, factor] of [
      ["halve", 0.5],
      ["double", 2],
    ])
      find(id).addEventListener("click", () => {
        find("rate").value = Number((Number(find("rate").value) * factor).toPrecision(6));
        if (form.reportValidity()) train();
      });
    find("next-seed").addEventListener("click", () => {
      find("seed").value = (Math.floor(Number(find("seed").value)) + 1) % 1e6;
      if (form.reportValidity()) train();
    });
    find("recorded").addEventListener("click", reset);
  }

  buildSwitches();
  showRun(recorded, 0);
  addEventListener("resize", () => {
    net.build(state.run.net);
    curve.build(state.run, recorded);
    show();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    surface.palette = undefined;
    show();
  });

  return { state, goTo, train, trainer, wanted };
})();
