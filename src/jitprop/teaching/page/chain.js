// The gradient of one parameter, written out by the chain rule with the numbers of this step, down
// to the update, and the finite difference beside it.

"use strict";

// Make an element of HTML.
function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const Chain = (() => {
  const { text } = Data;

  // A number as a factor: negative ones in parentheses.
  const factor = (v) => (v < 0 ? `(${shown(v)})` : shown(v));

  // A line: a formula, the same with numbers, and the result.
  function line(formula, numbers, result) {
    const row = make("div", { class: "line" }, make("div", { class: "formula" }, formula));
    if (numbers !== null || result !== null) {
      const values = make("div", { class: "numbers" });
      if (numbers) values.append(`= ${numbers} `);
      if (result !== null) values.append("= ", make("b", {}, shown(result)));
      row.append(values);
    }
    return row;
  }

  const SLOPES = {
    sigmoid: "a (1 \u2212 a)",
    tanh: "1 \u2212 a\u00b2",
    relu: "1 if z > 0, else 0",
    leaky_relu: "1 if z > 0, else {negative_slope}",
    elu: "1 if z > 0, else {alpha} exp(z)",
    selu: "1.0507 if z > 0, else 1.7581 exp(z)",
    softplus: "sigmoid({beta} z)",
    gelu: "\u03a6(z) + z \u03c6(z)",
    gelu_tanh: "s + z s\u2032, with s = sigmoid(1.5958 (z + 0.044715 z\u00b3))",
    silu: "s + z s (1 \u2212 s), with s = sigmoid(z)",
    mish: "t + z (1 \u2212 t\u00b2) sigmoid(z), with t = tanh(softplus(z))",
    softsign: "1 / (1 + |z|)\u00b2",
    hard_sigmoid: "1/6 if \u22123 < z < 3, else 0",
    exp: "exp(z)",
    identity: "1",
  };
  const DEFAULTS = { negative_slope: 0.01, alpha: 1, beta: 1 };

  function slopeFormula(f) {
    const found = SLOPES[f.name];
    return found && found.replace(/\{(\w+)\}/g, (_, name) => f[name] ?? DEFAULTS[name]);
  }

  // The slope of an activation, with numbers where they are short.
  function slopeLine(net, step, l, j) {
    const f = net.activations[l];
    const value = step.a[l + 1][0][j];
    const slope = step.slopes[l][0][j];
    const name = `\u2202a[${l + 1}][${j}]/\u2202z[${l}][${j}] = f\u2032(z[${l}][${j}])`;
    const formula = slopeFormula(f);
    const dropped = step.masks && step.masks[l] ? ` \u00d7 ${text("mask")}` : "";
    let numbers = null;
    if (!dropped && f.name === "sigmoid")
      numbers = `${factor(value)} \u00d7 (1 \u2212 ${factor(value)})`;
    if (!dropped && f.name === "tanh") numbers = `1 \u2212 ${factor(value)}\u00b2`;
    return line(formula ? `${name} = ${formula}${dropped}` : name, numbers, slope);
  }

  function forwardLines(net, params, step, { l, j }) {
    const { weights, biases, n_in, n_out } = Engine.offsets(net.sizes)[l];
    const inputs = step.a[l][0];
    const terms = Array.from(
      { length: n_in },
      (_, k) => `${factor(inputs[k])} \u00d7 ${factor(params[weights + k * n_out + j])}`,
    );
    const z = step.z[l][0];
    const name = net.activations[l].name;
    const ofZ = name === "softmax" ? `softmax(z[${l}])[${j}]` : `${name}(z[${l}][${j}])`;
    return [
      line(
        `z[${l}][${j}] = \u03a3\u1d62 a[${l}][i] W[${l}][i,${j}] + b[${l}][${j}]`,
        `${terms.join(" + ")} + ${factor(params[biases + j])}`,
        z[j],
      ),
      line(`a[${l + 1}][${j}] = ${ofZ}`, `${name}(${shown(z[j])})`, step.a[l + 1][0][j]),
    ];
  }

  // For each loss, the formulas of E and of its derivative for output j. The derivative is by a, or
  // by z for the losses of Engine.BY_Z.
  function lossFormulas(net, a, z, j) {
    const { loss } = net;
    const y = `y[${j}]`;
    const n = net.n_targets;
    const k = j % n;
    const s = `z[${net.activations.length - 1}][${n + k}]`;
    const mean = `z[${net.activations.length - 1}][${k}]`;
    const ofNLL =
      j < n
        ? `(${mean} \u2212 y[${k}]) exp(\u2212${s})`
        : `(1 \u2212 (y[${k}] \u2212 ${mean})\u00b2 exp(\u2212${s})) / 2`;
    const formulas = {
      half_squared_error: ["\u03a3 \u00bd (a \u2212 y)\u00b2", `${a} \u2212 ${y}`],
      squared_error: ["\u03a3 (a \u2212 y)\u00b2", `2 (${a} \u2212 ${y})`],
      absolute_error: ["\u03a3 |a \u2212 y|", `sign(${a} \u2212 ${y})`],
      huber: [
        `\u03a3 \u00bd (a \u2212 y)\u00b2 if |a \u2212 y| \u2264 ${loss.delta}, else ${loss.delta} (|a \u2212 y| \u2212 ${loss.delta / 2})`,
        `clip(${a} \u2212 ${y}, \u2212${loss.delta}, ${loss.delta})`,
      ],
      quantile: [
        `\u03a3 ${loss.q} (y \u2212 a) if y > a, else ${1 - loss.q} (a \u2212 y)`,
        `\u2212${loss.q} if ${y} > ${a}, else ${1 - loss.q}`,
      ],
      poisson: ["\u03a3 exp(z) \u2212 y z", `exp(${z}) \u2212 ${y}`],
      binary_cross_entropy: [
        "\u2212\u03a3 y log a + (1 \u2212 y) log(1 \u2212 a)",
        `${a} \u2212 ${y}`,
      ],
      cross_entropy: ["\u2212\u03a3 y log a", `${a} \u2212 ${y}`],
      gaussian_nll: ["\u03a3 \u00bd (s + (y \u2212 mean)\u00b2 exp(\u2212s))", ofNLL],
    };
    return formulas[loss.name] ?? [`\u03a3 ${loss.name}(a, y)`, `${loss.name}\u2032(${a}, ${y})`];
  }

  // The derivative's formula with numbers, for the losses where it is a difference.
  function lossNumbers(net, a, z, y) {
    const difference = `${factor(a)} \u2212 ${factor(y)}`;
    const numbers = {
      half_squared_error: difference,
      squared_error: `2 \u00d7 (${difference})`,
      binary_cross_entropy: difference,
      cross_entropy: difference,
      poisson: `exp(${shown(z)}) \u2212 ${factor(y)}`,
    };
    return numbers[net.loss.name] ?? null;
  }

  function lossLine(net, step) {
    const last = net.activations.length;
    const [value] = lossFormulas(net, `a[${last}]`, `z[${last - 1}]`, 0);
    const [a, y] = [step.a[last][0], step.y[0]];
    const squares = { half_squared_error: "\u00bd ", squared_error: "" };
    const front = a.length === 1 ? squares[net.loss.name] : undefined;
    const numbers =
      front === undefined ? null : `${front}(${shown(a[0])} \u2212 ${factor(y[0])})\u00b2`;
    return line(
      `E = ${front === undefined ? value : value.replace("\u03a3 ", "")}`,
      numbers,
      step.losses[0],
    );
  }

  // delta of output j: the derivative of the loss, times the slope.
  function outputDelta(net, step, j) {
    const l = net.activations.length - 1;
    const byZ = Engine.BY_Z.includes(net.loss.name);
    const [a, z] = [`a[${l + 1}][${j}]`, `z[${l}][${j}]`];
    const [, derivative] = lossFormulas(net, a, z, j);
    const d = step.derivatives[0][j];
    const y = step.y[0][j % net.n_targets];
    const numbers = lossNumbers(net, step.a[l + 1][0][j], step.z[l][0][j], y);
    const share = (step.w ? step.w[0] : 1) / step.over;
    const weight = share === 1 ? "" : ` \u00d7 ${text("weight_of_sample")}`;
    const ofShare = share === 1 ? "" : ` \u00d7 ${shown(share)}`;
    const delta = step.delta[l][0][j];
    if (byZ) {
      const name = `delta[${l}][${j}] = \u2202E/\u2202${z} = ${derivative}`;
      const lines = [line(`${name}${weight}`, numbers && numbers + ofShare, delta)];
      if (net.loss.name !== "gaussian_nll" && net.activations[l].name !== "identity")
        lines.push(make("p", { class: "hint" }, text("slope_cancels")));
      return lines;
    }
    const slope = step.slopes[l][0][j];
    return [
      line(
        `delta[${l}][${j}] = \u2202E/\u2202${z} = \u2202E/\u2202${a} \u00d7 \u2202${a}/\u2202${z}${weight}`,
        `${factor(d)} \u00d7 ${factor(slope)}${ofShare}`,
        delta,
      ),
      line(`\u2202E/\u2202${a} = ${derivative}`, numbers, d),
      slopeLine(net, step, l, j),
    ];
  }

  // delta of a hidden unit: the deltas behind it, carried back through the weights.
  function hiddenDelta(net, params, step, l, j) {
    const { weights, n_out } = Engine.offsets(net.sizes)[l + 1];
    const behind = step.delta[l + 1][0];
    const ofJ = Array.from({ length: n_out }, (_, k) => params[weights + j * n_out + k]);
    const terms = ofJ.map((w, k) => `${factor(behind[k])} \u00d7 ${factor(w)}`);
    const sum = ofJ.reduce((total, w, k) => total + w * behind[k], 0);
    const slope = step.slopes[l][0][j];
    const ofA = `\u2202E/\u2202a[${l + 1}][${j}]`;
    return [
      line(
        `delta[${l}][${j}] = \u2202E/\u2202z[${l}][${j}] = ${ofA} \u00d7 \u2202a[${l + 1}][${j}]/\u2202z[${l}][${j}]`,
        `${factor(sum)} \u00d7 ${factor(slope)}`,
        step.delta[l][0][j],
      ),
      line(
        `${ofA} = \u03a3\u2096 delta[${l + 1}][k] \u00d7 W[${l + 1}][${j},k]`,
        terms.join(" + "),
        sum,
      ),
      slopeLine(net, step, l, j),
    ];
  }

  // All deltas that the gradient of a parameter needs, from the one beside it to the outputs.
  function backwardLines(net, params, step, { l, j }) {
    const L = net.activations.length;
    const of = (m, k) =>
      m + 1 === L ? outputDelta(net, step, k) : hiddenDelta(net, params, step, m, k);
    const lines = of(l, j);
    for (let m = l + 1; m < L; m++)
      for (let k = 0; k < net.sizes[m + 1]; k++) lines.push(...of(m, k));
    return lines;
  }

  // The gradient as a sum over samples.
  function sumTable(step, { l, i, j }) {
    const head = make("tr");
    const input = i < 0 ? "1" : `a[${l}][${i}]`;
    for (const name of [text("sample"), input, `delta[${l}][${j}]`, text("product")])
      head.append(make("th", { scope: "col" }, name));
    const body = step.rows.map((sample, r) => {
      const a = i < 0 ? 1 : step.a[l][r][i];
      const d = step.delta[l][r][j];
      const cells = [String(sample), shown(a, 5), shown(d, 5), shown(a * d, 5)];
      return make("tr", {}, ...cells.map((cell) => make("td", {}, cell)));
    });
    return make(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": text("sum_over_samples") },
      make("table", {}, make("thead", {}, head), make("tbody", {}, ...body)),
    );
  }

  // The lines of an optimizer's update of one parameter. Slots are those before and after it.
  function updateLines(net, snapshot, step, place) {
    const value = snapshot.params[place];
    const change = step.change === null ? null : step.change[place];
    const lines = [];
    const [, , rate, decay] = Engine.groups(net, snapshot.rate).find(
      ([from, to]) => from <= place && place < to,
    );
    if (change === null) return [make("p", { class: "hint" }, text("update_of_all"))];
    const end = line(text("new_value"), `${shown(value)} + ${factor(change)}`, value + change);
    if (snapshot.update) return [line(text("update_recorded"), null, change), end];
    const { norm, factor: clip } = Engine.clipping(net, step.gradient);
    const adamw = net.optimizer.name === "adamw";
    let g = step.gradient[place];
    if (clip !== 1) {
      const formula = `g = ${text("gradient")} \u00d7 ${net.clip_norm} / norm`;
      lines.push(line(formula, `${factor(g)} \u00d7 ${net.clip_norm} / ${shown(norm)}`, g * clip));
      g *= clip;
    }
    if (decay > 0 && !adamw) {
      const numbers = `${shown(g)} + ${decay} \u00d7 ${factor(value)}`;
      lines.push(
        line(
          `g = ${text("gradient")} + ${text("weight_decay")} \u00d7 w`,
          numbers,
          g + decay * value,
        ),
      );
      g += decay * value;
    }
    const before = snapshot.slots.map((slot) => slot[place]);
    const after = step.kept.map((slot) => slot[place]);
    const kinds = { sgd: ofSGD, rmsprop: ofRMSprop, adam: ofAdam, adamw: ofAdam, rprop: ofRprop };
    const context = { o: net.optimizer, g, rate, before, after, change, t: step.t, decay, value };
    if (rate === 0) return [line(`${text("change")} = 0`, null, 0), end];
    return [...lines, ...kinds[net.optimizer.name](context), end];
  }

  function ofSGD({ o, g, rate, before, after, change }) {
    const name = text("change");
    if (o.momentum === 0)
      return [
        line(
          `${name} = \u2212 ${text("rate")} \u00d7 g`,
          `\u2212 ${factor(rate)} \u00d7 ${factor(g)}`,
          change,
        ),
      ];
    const inside = o.rate_in_velocity ?? true;
    const velocity = inside
      ? line(
          `v = ${o.momentum} v \u2212 ${text("rate")} \u00d7 g`,
          `${o.momentum} \u00d7 ${factor(before[0])} \u2212 ${factor(rate)} \u00d7 ${factor(g)}`,
          after[0],
        )
      : line(
          `v = ${o.momentum} v + g`,
          `${o.momentum} \u00d7 ${factor(before[0])} + ${factor(g)}`,
          after[0],
        );
    const plain = inside ? "v" : `\u2212 ${text("rate")} \u00d7 v`;
    const ahead = inside
      ? `${o.momentum} v \u2212 ${text("rate")} \u00d7 g`
      : `\u2212 ${text("rate")} \u00d7 (g + ${o.momentum} v)`;
    return [velocity, line(`${name} = ${o.nesterov ? ahead : plain}`, null, change)];
  }

  function ofRMSprop({ o, g, rate, before, after, change }) {
    const root = o.epsilon_in_root ? `\u221a(v + ${o.epsilon})` : `(\u221av + ${o.epsilon})`;
    const mean = line(
      `v = ${o.rho} v + (1 \u2212 ${o.rho}) g\u00b2`,
      `${o.rho} \u00d7 ${factor(before[0])} + ${shown(1 - o.rho)} \u00d7 ${factor(g)}\u00b2`,
      after[0],
    );
    const name = text("change");
    if (o.momentum === 0)
      return [mean, line(`${name} = \u2212 ${text("rate")} \u00d7 g / ${root}`, null, change)];
    const inside = o.rate_in_velocity ?? true;
    const u = inside
      ? `u = ${o.momentum} u \u2212 ${text("rate")} \u00d7 g / ${root}`
      : `u = ${o.momentum} u + g / ${root}`;
    const last = inside ? "u" : `\u2212 ${text("rate")} \u00d7 u`;
    return [mean, line(u, null, after[1]), line(`${name} = ${last}`, null, change)];
  }

  function ofAdam({ o, g, rate, before, after, change, t, decay, value }) {
    const lines = [
      line(
        `m = ${o.beta_1} m + (1 \u2212 ${o.beta_1}) g`,
        `${o.beta_1} \u00d7 ${factor(before[0])} + ${shown(1 - o.beta_1)} \u00d7 ${factor(g)}`,
        after[0],
      ),
      line(
        `v = ${o.beta_2} v + (1 \u2212 ${o.beta_2}) g\u00b2`,
        `${o.beta_2} \u00d7 ${factor(before[1])} + ${shown(1 - o.beta_2)} \u00d7 ${factor(g)}\u00b2`,
        after[1],
      ),
    ];
    const [ofMean, ofSquare] = [1 - o.beta_1 ** t, 1 - o.beta_2 ** t];
    const decayed = o.name === "adamw" && decay > 0;
    const own = decayed ? `\u2212 ${text("rate")} \u00d7 ${decay} \u00d7 w ` : "";
    const ownNumbers = decayed
      ? `\u2212 ${factor(rate)} \u00d7 ${decay} \u00d7 ${factor(value)} `
      : "";
    if (o.epsilon_hat ?? true) {
      lines.push(
        line(
          `c = \u221a(1 \u2212 ${o.beta_2}^${t}) / (1 \u2212 ${o.beta_1}^${t})`,
          null,
          Math.sqrt(ofSquare) / ofMean,
        ),
      );
      const formula = `${own}\u2212 ${text("rate")} \u00d7 c \u00d7 m / (\u221av + ${o.epsilon})`;
      lines.push(line(`${text("change")} = ${formula}`, null, change));
      return lines;
    }
    const [mean, square] = [after[0] / ofMean, after[1] / ofSquare];
    lines.push(line(`m\u0302 = m / (1 \u2212 ${o.beta_1}^${t})`, null, mean));
    lines.push(line(`v\u0302 = v / (1 \u2212 ${o.beta_2}^${t})`, null, square));
    lines.push(
      line(
        `${text("change")} = ${own}\u2212 ${text("rate")} \u00d7 m\u0302 / (\u221av\u0302 + ${o.epsilon})`,
        `${ownNumbers}\u2212 ${factor(rate)} \u00d7 ${factor(mean)} / (${shown(Math.sqrt(square))} + ${o.epsilon})`,
        change,
      ),
    );
    return lines;
  }

  function ofRprop({ o, g, before, after, change, t }) {
    const first = t === 1 ? text("rate") : "d";
    const sign = `s = ${text("sign_rule")}`;
    const grow = `d = clip(${first} \u00d7 (${o.eta_plus}, 1, ${o.eta_minus}), ${o.step_min}, ${o.step_max})`;
    return [
      line(`${text("signs")}: g, s`, `${shown(Math.sign(g))}, ${shown(before[1])}`, null),
      line(grow, null, after[0]),
      line(sign, null, after[1]),
      line(`${text("change")} = \u2212 s \u00d7 d`, null, change),
    ];
  }

  // The finite difference: move the parameter a little up and down, and look at the loss.
  function difference(net, params, step, place) {
    const value = params[place];
    const h = 6.055454452393343e-6 * Math.max(1, Math.abs(value));
    const at = (moved) => {
      const copy = Float64Array.from(params);
      copy[place] = moved;
      return Engine.loss(net, copy, step.X, step.y, step.w, step.masks);
    };
    const [above, below] = [at(value + h), at(value - h)];
    return { h, above, below, slope: (above - below) / (value + h - (value - h)) };
  }

  function differenceLines(net, snapshot, step, place) {
    if (snapshot.recorded) return [make("p", { class: "hint" }, text("difference_unknown"))];
    const { h, above, below, slope } = difference(net, snapshot.params, step, place);
    const g = step.gradient[place];
    const digits = (v) => shown(v, 12);
    return [
      line(
        "(E(w + h) \u2212 E(w \u2212 h)) / 2h",
        `(${digits(above)} \u2212 ${digits(below)}) / (2 \u00d7 ${shown(h)})`,
        slope,
      ),
      make("p", { class: "hint" }, text("difference_beside", { g: shown(g), d: shown(slope) })),
    ];
  }

  // Everything about one parameter, as elements of the page.
  function explain(net, snapshot, step, which) {
    const { params } = snapshot;
    const { l, i, j } = which;
    const place = placeOf(net.sizes, which);
    const g = step.gradient[place];
    const one = step.rows.length === 1;
    const section = (key, ...children) =>
      make("section", { class: key }, make("h3", {}, text(`heading_${key}`)), ...children);
    const values = { name: nameOf(which), value: shown(params[place]), i, j, l, before: l - 1 };
    const role = i < 0 ? "about_bias" : l === 0 ? "about_first_weight" : "about_weight";
    const about = make("p", { class: "about" }, text(role, values));
    const result = `\u2202E/\u2202${nameOf(which)}`;
    const input = i < 0 ? "" : `a[${l}][${i}] \u00d7 `;
    const parts = [about];
    const beside = snapshot.recorded
      ? []
      : [line(text("difference"), null, difference(net, params, step, place).slope)];
    const note = make("p", { class: "hint" }, text(i < 0 ? "delta_note_bias" : "delta_note"));
    const boxed = (gradient) => make("div", { class: "result" }, gradient, ...beside, note);
    if (one) {
      const a = i < 0 ? "" : `${factor(step.a[l][0][i])} \u00d7 `;
      const d = step.delta[l][0][j];
      parts.push(
        section("forward", ...forwardLines(net, params, step, which), lossLine(net, step)),
        section(
          "backward",
          boxed(
            line(`${result} = ${input}delta[${l}][${j}]`, i < 0 ? null : `${a}${factor(d)}`, g),
          ),
          ...backwardLines(net, params, step, which),
        ),
      );
    } else {
      const formula = `${result} = \u03a3 ${input}delta[${l}][${j}]`;
      parts.push(
        section(
          "backward",
          boxed(line(formula, null, g)),
          sumTable(step, which),
          make("p", { class: "hint" }, text("choose_a_sample")),
        ),
      );
    }
    const { n } = Data.samples;
    const size = net.batch_size === null ? n : Math.min(net.batch_size, n);
    const alone =
      one && size > 1 ? [make("p", { class: "hint" }, text("update_of_one", { size }))] : [];
    parts.push(
      section("update", ...updateLines(net, snapshot, step, place), ...alone),
      section("difference", ...differenceLines(net, snapshot, step, place)),
    );
    return parts;
  }

  // The table of z, a and delta of every unit. For several samples: means of z and a, sum of delta.
  function unitRows(net, step, chosen) {
    const n = step.rows.length;
    const mean = (values, j) => values.reduce((sum, row) => sum + row[j], 0) / n;
    return net.activations.flatMap((f, l) =>
      Array.from({ length: net.sizes[l + 1] }, (_, j) => {
        const here = chosen.l === l && chosen.j === j;
        const row = make("tr", here ? { class: "chosen" } : {});
        row.append(make("th", { scope: "row" }, `${l}, ${j}`));
        const values = [
          mean(step.z[l], j),
          mean(step.a[l + 1], j),
          step.delta[l].reduce((sum, d) => sum + d[j], 0),
        ];
        row.append(...values.map((v) => make("td", {}, shown(v, 5))));
        return row;
      }),
    );
  }

  return { difference, explain, unitRows };
})();
