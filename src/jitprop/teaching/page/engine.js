// The numbers of the lesson: forward pass, loss, backward pass, update and training, in double
// precision. This file knows nothing of the page. Its equations are those of jitprop.reference.
//
// Layers are counted from 0. In layer l, z[l] = a[l] W[l] + b[l] and a[l + 1] = f(z[l]), and
// delta[l] is the derivative of the loss with respect to z[l]. The parameters are one flat array:
// W[0] row by row, b[0], W[1], and so on.

"use strict";

const Engine = (() => {
  // Activations take z and return [a, slope].

  function sigmoid(z) {
    const e = Math.exp(-Math.abs(z));
    return [(z < 0 ? e : 1) / (1 + e), e / ((1 + e) * (1 + e))];
  }

  function tanh(z) {
    const e = Math.exp(-2 * Math.abs(z));
    return [Math.tanh(z), (4 * e) / ((1 + e) * (1 + e))];
  }

  function softplus(z, beta) {
    const x = beta * z;
    return [(Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)))) / beta, sigmoid(x)[0]];
  }

  function elu(z, alpha) {
    return z > 0 ? [z, 1] : [alpha * Math.expm1(z), alpha * Math.exp(z)];
  }

  // 1 - erf(x): a series for small x, a continued fraction for large x.
  function erfc(x) {
    if (x < 0) return 2 - erfc(-x);
    if (x > 27) return 0;
    const scale = Math.exp(-x * x) / Math.sqrt(Math.PI);
    if (x < 2) {
      let term = 2 * x;
      let sum = term;
      for (let n = 1; term > 1e-18 * sum; n++) {
        term *= (2 * x * x) / (2 * n + 1);
        sum += term;
      }
      return 1 - scale * sum;
    }
    let fraction = x;
    for (let n = 120; n > 0; n--) fraction = x + n / 2 / fraction;
    return scale / fraction;
  }

  function gelu(z) {
    const x = Math.min(Math.max(z, -40), 40);
    const normal = 0.5 * erfc(-x * Math.SQRT1_2);
    const density = Math.exp(-0.5 * x * x) / Math.sqrt(2 * Math.PI);
    return [Math.max(z, x) * normal, normal + x * density];
  }

  function geluTanh(z) {
    const c = 2 * Math.sqrt(2 / Math.PI);
    const [s, slope] = sigmoid(c * (z + 0.044715 * z * z * z));
    return [z * s, s + z * slope * c * (1 + 3 * 0.044715 * z * z)];
  }

  function silu(z) {
    const [s, slope] = sigmoid(z);
    return [z * s, s + z * slope];
  }

  function selu(z) {
    const scale = 1.0507009873554805;
    const alpha = 1.6732632423543772;
    return z > 0
      ? [scale * z, scale]
      : [scale * alpha * Math.expm1(z), scale * alpha * Math.exp(z)];
  }

  function mish(z) {
    const x = Math.min(Math.max(z, -1e4), 1e4);
    const [s, slopeOfS] = softplus(x, 1);
    const [t, slopeOfT] = tanh(s);
    return [Math.max(z, x) * t, t + x * slopeOfT * slopeOfS];
  }

  function softsign(z) {
    const inverse = 1 / (1 + Math.abs(z));
    return [z * inverse, inverse * inverse];
  }

  function hardSigmoid(z) {
    return [Math.min(Math.max(z + 3, 0), 6) / 6, Math.abs(z) < 3 ? 1 / 6 : 0];
  }

  const ACTIVATIONS = {
    sigmoid: (z) => sigmoid(z),
    tanh: (z) => tanh(z),
    relu: (z) => (z > 0 ? [z, 1] : [0, 0]),
    leaky_relu: (z, f) => {
      const slope = z > 0 ? 1 : (f.negative_slope ?? 0.01);
      return [z * slope, slope];
    },
    elu: (z, f) => elu(z, f.alpha ?? 1),
    softplus: (z, f) => softplus(z, f.beta ?? 1),
    gelu: (z) => gelu(z),
    gelu_tanh: (z) => geluTanh(z),
    silu: (z) => silu(z),
    selu: (z) => selu(z),
    mish: (z) => mish(z),
    softsign: (z) => softsign(z),
    hard_sigmoid: (z) => hardSigmoid(z),
    exp: (z) => [Math.exp(z), Math.exp(z)],
    identity: (z) => [z, 1],
  };

  function softmax(z) {
    const largest = Math.max(...z);
    const e = Array.from(z, (v) => Math.exp(v - largest));
    const sum = e.reduce((s, v) => s + v, 0);
    return e.map((v) => v / sum);
  }

  // Losses of one sample. They return its loss E and, for each output, the derivative of E: by a,
  // or by z for the losses in BY_Z, where the slope of the activation cancels.

  const BY_Z = ["binary_cross_entropy", "cross_entropy", "poisson", "gaussian_nll"];

  function overOutputs(value, derivative) {
    return (a, z, y, settings) => {
      let E = 0;
      const d = new Float64Array(a.length);
      for (let j = 0; j < a.length; j++) {
        E += value(a[j], y[j], z[j], settings);
        d[j] = derivative(a[j], y[j], z[j], settings);
      }
      return { E, d };
    };
  }

  function huber(a, y, z, { delta }) {
    const size = Math.abs(a - y);
    return size <= delta ? 0.5 * size * size : delta * (size - 0.5 * delta);
  }

  function crossEntropy(a, z, y) {
    const largest = Math.max(...z);
    const log = Math.log(z.reduce((s, v) => s + Math.exp(v - largest), 0));
    let E = 0;
    for (let j = 0; j < y.length; j++) if (y[j] !== 0) E -= y[j] * (z[j] - largest - log);
    return { E, d: Float64Array.from(a, (v, j) => v - y[j]) };
  }

  function gaussianNLL(a, z, y) {
    const n = y.length;
    let E = 0;
    const d = new Float64Array(2 * n);
    for (let j = 0; j < n; j++) {
      const precision = Math.exp(-z[n + j]);
      const r = z[j] - y[j];
      E += 0.5 * (z[n + j] + r * r * precision);
      d[j] = r * precision;
      d[n + j] = 0.5 * (1 - r * r * precision);
    }
    return { E, d };
  }

  const LOSSES = {
    half_squared_error: overOutputs(
      (a, y) => 0.5 * (a - y) * (a - y),
      (a, y) => a - y,
    ),
    squared_error: overOutputs(
      (a, y) => (a - y) * (a - y),
      (a, y) => 2 * (a - y),
    ),
    absolute_error: overOutputs(
      (a, y) => Math.abs(a - y),
      (a, y) => Math.sign(a - y),
    ),
    huber: overOutputs(huber, (a, y, z, { delta }) => Math.min(Math.max(a - y, -delta), delta)),
    quantile: overOutputs(
      (a, y, z, { q }) => (y > a ? q * (y - a) : (1 - q) * (a - y)),
      (a, y, z, { q }) => (y > a ? -q : y < a ? 1 - q : 0),
    ),
    poisson: overOutputs(
      (a, y, z) => Math.exp(z) - y * z,
      (a, y, z) => Math.exp(z) - y,
    ),
    binary_cross_entropy: overOutputs(
      (a, y, z) => Math.max(z, 0) - y * z + Math.log1p(Math.exp(-Math.abs(z))),
      (a, y, z) => sigmoid(z)[0] - y,
    ),
    cross_entropy: crossEntropy,
    gaussian_nll: gaussianNLL,
  };

  // Positions in the flat array of parameters.

  function offsets(sizes) {
    const found = [];
    let begin = 0;
    for (let l = 0; l + 1 < sizes.length; l++) {
      const biases = begin + sizes[l] * sizes[l + 1];
      found.push({ weights: begin, biases, n_in: sizes[l], n_out: sizes[l + 1] });
      begin = biases + sizes[l + 1];
    }
    return found;
  }

  function countParameters(sizes) {
    return sizes.slice(1).reduce((sum, n, l) => sum + (sizes[l] + 1) * n, 0);
  }

  // Random numbers: splitmix64, by Steele, Lea and Flood, 2014. Number n of a seed's sequence.

  const MASK = (1n << 64n) - 1n;

  function splitmix64(seed, n) {
    let x = (seed + (n + 1n) * 0x9e3779b97f4a7c15n) & MASK;
    x = ((x ^ (x >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK;
    x = ((x ^ (x >> 27n)) * 0x94d049bb133111ebn) & MASK;
    return x ^ (x >> 31n);
  }

  const uniform = (bits) => Number(bits >> 11n) * 2 ** -53;

  // What dropout multiplies the activations of each hidden layer by in update number t.
  function dropoutMasks(net, t, m) {
    const ofUpdate = splitmix64(BigInt(net.dropout_key), BigInt(t));
    return net.dropout.map((p, l) => {
      if (p === 0) return null;
      const n = net.sizes[l + 1];
      const ofLayer = splitmix64(ofUpdate, BigInt(l));
      const factor = (i, j) =>
        uniform(splitmix64(ofLayer, BigInt(i * n + j))) < p ? 0 : 1 / (1 - p);
      return Array.from({ length: m }, (_, i) =>
        Float64Array.from({ length: n }, (_, j) => factor(i, j)),
      );
    });
  }

  // One sample or a batch.

  // Compute z and a of every layer for some samples. `recorded` has the values and slopes of
  // activations that only Python knows: recorded[l] is {a, slope}, with a row for each sample.
  function forward(net, params, X, masks, recorded) {
    const z = [];
    const a = [X];
    const slopes = [];
    offsets(net.sizes).forEach(({ weights, biases, n_in, n_out }, l) => {
      const f = net.activations[l];
      const known = recorded && recorded[l];
      const layer = X.map((_, i) => {
        const sums = new Float64Array(n_out);
        for (let k = 0; k < n_in; k++) {
          const value = a[l][i][k];
          for (let j = 0; j < n_out; j++) sums[j] += value * params[weights + k * n_out + j];
        }
        for (let j = 0; j < n_out; j++) sums[j] += params[biases + j];
        const values = new Float64Array(n_out);
        const slope = new Float64Array(n_out).fill(1);
        if (f.name === "softmax") values.set(softmax(sums));
        for (let j = 0; j < n_out && f.name !== "softmax"; j++) {
          [values[j], slope[j]] = known
            ? [known.a[i][j], known.slope[i][j]]
            : ACTIVATIONS[f.name](sums[j], f);
          const factor = masks && masks[l] ? masks[l][i][j] : 1;
          values[j] *= factor;
          slope[j] *= factor;
        }
        return { sums, values, slope };
      });
      z.push(layer.map((s) => s.sums));
      a.push(layer.map((s) => s.values));
      slopes.push(layer.map((s) => s.slope));
    });
    return { z, a, slopes };
  }

  // The number by which a summed loss is divided.
  function divisor(net, n, w) {
    if (net.reduction === "sum") return 1;
    return w ? w.reduce((sum, v) => sum + v, 0) : n;
  }

  function loss(net, params, X, y, w, masks) {
    const { z, a } = forward(net, params, X, masks);
    const last = z.length;
    const E = LOSSES[net.loss.name];
    let sum = 0;
    for (let i = 0; i < X.length; i++)
      sum += (w ? w[i] : 1) * E(a[last][i], z[last - 1][i], y[i], net.loss).E;
    return sum / divisor(net, X.length, w);
  }

  // Every quantity of a pass forward and backward, with the gradient in the parameters' order.
  // `recorded` may hold `activations` as in `forward`, and `E` and `d` of a custom loss.
  function pass(net, params, X, y, w, masks, recorded) {
    const { z, a, slopes } = forward(net, params, X, masks, recorded && recorded.activations);
    const L = z.length;
    const over = divisor(net, X.length, w);
    const byZ = BY_Z.includes(net.loss.name);
    const losses = new Float64Array(X.length);
    const derivatives = [];
    const delta = Array.from({ length: L }, () => []);
    let sum = 0;
    for (let i = 0; i < X.length; i++) {
      const { E, d } =
        recorded && recorded.E
          ? { E: recorded.E[i], d: recorded.d[i] }
          : LOSSES[net.loss.name](a[L][i], z[L - 1][i], y[i], net.loss);
      const weight = w ? w[i] : 1;
      losses[i] = E;
      sum += weight * E;
      derivatives.push(d);
      delta[L - 1].push(d.map((v, j) => (weight * (byZ ? v : v * slopes[L - 1][i][j])) / over));
    }
    const places = offsets(net.sizes);
    for (let l = L - 2; l >= 0; l--) {
      const { weights, n_in, n_out } = places[l + 1];
      for (let i = 0; i < X.length; i++) {
        const back = new Float64Array(n_in);
        for (let k = 0; k < n_in; k++) {
          for (let j = 0; j < n_out; j++)
            back[k] += delta[l + 1][i][j] * params[weights + k * n_out + j];
          back[k] *= slopes[l][i][k];
        }
        delta[l].push(back);
      }
    }
    const gradient = new Float64Array(params.length);
    places.forEach(({ weights, biases, n_in, n_out }, l) => {
      for (let i = 0; i < X.length; i++) {
        for (let j = 0; j < n_out; j++) {
          const d = delta[l][i][j];
          for (let k = 0; k < n_in; k++) gradient[weights + k * n_out + j] += a[l][i][k] * d;
          gradient[biases + j] += d;
        }
      }
    });
    return { z, a, slopes, delta, losses, derivatives, gradient, sum, over, loss: sum / over };
  }

  // Updates.

  // The factor by which clipping multiplies the gradient.
  function clipping(net, gradient) {
    if (net.clip_norm === null) return { norm: null, factor: 1 };
    const norm = Math.sqrt(gradient.reduce((sum, g) => sum + g * g, 0));
    return { norm, factor: norm <= net.clip_norm ? 1 : net.clip_norm / norm };
  }

  function objective(net, params, lossOfBatch) {
    let squares = 0;
    for (const { weights, biases, n_out } of offsets(net.sizes)) {
      const end = net.decay_biases ? biases + n_out : biases;
      for (let p = weights; p < end; p++) squares += params[p] * params[p];
    }
    return lossOfBatch + 0.5 * net.weight_decay * squares;
  }

  // The learning rate and the decay of every parameter, as [from, to, rate, decay].
  function groups(net, rate) {
    return offsets(net.sizes).flatMap(({ weights, biases, n_out }, l) => {
      const [ofWeights, ofBiases] = net.factors[l];
      const decay = net.decay_biases ? net.weight_decay : 0;
      return [
        [weights, biases, ofWeights * rate, net.weight_decay],
        [biases, biases + n_out, ofBiases * rate, decay],
      ];
    });
  }

  // Optimizers update one parameter: p is its value, g its gradient, `kept` what is kept for it,
  // which they change. They return its new value.

  function sgd(o, p, g, kept, rate, decay) {
    g += decay * p;
    if (o.momentum === 0) return p - rate * g;
    if (o.rate_in_velocity ?? true) {
      kept[0] = o.momentum * kept[0] - rate * g;
      return p + (o.nesterov ? o.momentum * kept[0] - rate * g : kept[0]);
    }
    kept[0] = o.momentum * kept[0] + g;
    return p - rate * (o.nesterov ? g + o.momentum * kept[0] : kept[0]);
  }

  function rmsprop(o, p, g, kept, rate, decay) {
    g += decay * p;
    kept[0] = o.rho * kept[0] + (1 - o.rho) * g * g;
    const root = o.epsilon_in_root
      ? Math.sqrt(kept[0] + o.epsilon)
      : Math.sqrt(kept[0]) + o.epsilon;
    if (o.momentum === 0) return p - (rate * g) / root;
    if (o.rate_in_velocity ?? true) {
      kept[1] = o.momentum * kept[1] - (rate * g) / root;
      return p + kept[1];
    }
    kept[1] = o.momentum * kept[1] + g / root;
    return p - rate * kept[1];
  }

  function adam(o, p, g, kept, rate, decay, t) {
    if (o.name === "adamw") p *= 1 - rate * decay;
    else g += decay * p;
    kept[0] = o.beta_1 * kept[0] + (1 - o.beta_1) * g;
    kept[1] = o.beta_2 * kept[1] + (1 - o.beta_2) * g * g;
    const first = 1 - o.beta_1 ** t;
    const second = Math.sqrt(1 - o.beta_2 ** t);
    if (o.epsilon_hat ?? true)
      return p - (((rate * second) / first) * kept[0]) / (Math.sqrt(kept[1]) + o.epsilon);
    return p - ((rate / first) * kept[0]) / (Math.sqrt(kept[1]) / second + o.epsilon);
  }

  function rprop(o, p, g, kept, rate, decay, t, rose) {
    if (t === 1) kept[0] = rate;
    const sign = Math.sign(g + decay * p);
    const turn = kept[1] * sign;
    const back = rose ? kept[1] * kept[0] : 0;
    if (turn > 0) kept[0] *= o.eta_plus;
    if (turn < 0) kept[0] *= o.eta_minus;
    kept[0] = Math.min(Math.max(kept[0], o.step_min), o.step_max);
    kept[1] = turn < 0 ? 0 : sign;
    return p + (turn < 0 ? back : -kept[1] * kept[0]);
  }

  const OPTIMIZERS = { sgd, rmsprop, adam, adamw: adam, rprop };

  // Make update number t from a pass. Params and slots are changed.
  function update(net, params, slots, { gradient, loss: lossOfBatch }, t, rate) {
    const { factor } = clipping(net, gradient);
    const optimizer = net.optimizer;
    let rose = false;
    if (optimizer.backtracking) {
      const before = slots[2][0];
      slots[2][0] = objective(net, params, lossOfBatch);
      rose = slots[2][0] > before;
    }
    const one = OPTIMIZERS[optimizer.name];
    const kept = [0, 0];
    const n = Math.min(slots.length, 2);
    for (const [from, to, own, decay] of groups(net, rate)) {
      if (own === 0) continue;
      for (let p = from; p < to; p++) {
        for (let s = 0; s < n; s++) kept[s] = slots[s][p];
        params[p] = one(optimizer, params[p], factor * gradient[p], kept, own, decay, t, rose);
        for (let s = 0; s < n; s++) slots[s][p] = kept[s];
      }
    }
  }

  // One step from a snapshot, on one sample, or on all of them if `which` is -1. The snapshot does
  // not change. `change` is what the update adds to the parameters; null if it is not known.
  function step(net, snapshot, { X, y, w }, which) {
    const rows = which < 0 ? X.map((_, i) => i) : [which];
    const take = (values) => values && rows.map((i) => values[i]);
    const known = snapshot.recorded;
    const recorded = known && {
      activations: known.activations.map((f) => f && { a: take(f.a), slope: take(f.slope) }),
      E: take(known.E),
      d: take(known.d),
    };
    const t = snapshot.updates + 1;
    const masks = net.dropout.some((p) => p > 0) ? dropoutMasks(net, t, rows.length) : null;
    const batch = { X: take(X), y: take(y), w: take(w) };
    const found = pass(net, snapshot.params, batch.X, batch.y, batch.w, masks, recorded);
    let change = which < 0 ? snapshot.update : null;
    let kept = null;
    if (!snapshot.update) {
      const params = Float64Array.from(snapshot.params);
      kept = snapshot.slots.map((slot) => Float64Array.from(slot));
      update(net, params, kept, found, t, snapshot.rate);
      change = params.map((p, i) => p - snapshot.params[i]);
    }
    return { ...found, ...batch, rows, masks, t, change, kept };
  }

  // Training.

  // Start a training. `start` is {params, slots, updates}; `order(epoch, n)` returns the numbers
  // of the samples, or null for 0, 1, 2, ...
  function training(net, start, { X, y, w }, rate, order) {
    const params = Float64Array.from(start.params);
    const slots = start.slots.map((slot) => Float64Array.from(slot));
    const size = net.batch_size === null ? X.length : Math.min(net.batch_size, X.length);
    const drops = net.dropout.some((p) => p > 0);
    const over = divisor(net, X.length, w);
    const run = { params, slots, updates: start.updates, epochs: 0 };
    run.epoch = () => {
      const rows = (order && order(run.epochs, X.length)) || X.map((_, i) => i);
      let sum = 0;
      for (let begin = 0; begin < rows.length; begin += size) {
        const batch = rows.slice(begin, begin + size);
        const take = (values) => batch.map((i) => values[i]);
        const masks = drops ? dropoutMasks(net, run.updates + 1, batch.length) : null;
        const found = pass(net, params, take(X), take(y), w ? take(w) : null, masks);
        sum += found.sum;
        if (!Number.isFinite(found.sum)) break;
        update(net, params, slots, found, ++run.updates, rate);
      }
      run.epochs++;
      return sum / over;
    };
    return run;
  }

  // Draw the initial parameters of a seed. These are other numbers than NumPy's.
  function initial(sizes, name, seed) {
    const params = new Float64Array(countParameters(sizes));
    let n = 0n;
    const next = () => uniform(splitmix64(BigInt(seed), n++));
    const normal = () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
    const symmetric = (limit) => limit * (2 * next() - 1);
    const draws = {
      glorot_uniform: (i, o) => symmetric(Math.sqrt(6 / (i + o))),
      glorot_normal: (i, o) => normal() * Math.sqrt(2 / (i + o)),
      he_uniform: (i) => symmetric(Math.sqrt(6 / i)),
      he_normal: (i) => normal() * Math.sqrt(2 / i),
      lecun_normal: (i) => normal() * Math.sqrt(1 / i),
      uniform: () => next(),
    };
    for (const { weights, biases, n_in, n_out } of offsets(sizes)) {
      const end = name === "uniform" ? biases + n_out : biases; // else biases are 0
      for (let p = weights; p < end; p++) params[p] = draws[name](n_in, n_out);
    }
    return params;
  }

  // Draw the order of the samples in an epoch (Fisher and Yates).
  function shuffled(n, seed, epoch) {
    const sequence = splitmix64(BigInt(seed), BigInt(epoch));
    const rows = Array.from({ length: n }, (_, i) => i);
    for (let i = n - 1; i > 0; i--) {
      const j = Math.floor(uniform(splitmix64(sequence, BigInt(i))) * (i + 1));
      [rows[i], rows[j]] = [rows[j], rows[i]];
    }
    return rows;
  }

  return {
    ACTIVATIONS,
    BY_Z,
    LOSSES,
    OPTIMIZERS,
    clipping,
    countParameters,
    dropoutMasks,
    forward,
    groups,
    initial,
    loss,
    objective,
    offsets,
    pass,
    shuffled,
    step,
    training,
    update,
  };
})();

if (typeof module !== "undefined") module.exports = Engine;
