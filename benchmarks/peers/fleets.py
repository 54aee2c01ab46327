"""
Time fleets of nets in jitprop and in other systems, in one run.

W7 and W8: first every system trains the same nets for a few epochs with the same initial weights,
and all must reach the same parameters. Then they are timed in turns, and the best time of each
counts. W9: joblib runs scikit-learn's MLPClassifier in several processes. Its nets have other
initial weights, so the accuracies are printed.
"""

import argparse
import math
import sys
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np

from run import epochs_in, say, timed

RATE = float(np.float32(0.1))


@dataclass(frozen=True)
class Fleets:
    """K sigmoid nets: half squared error, plain SGD, float32, batches in the order of the rows."""

    name: str
    sizes: tuple[int, ...]
    members: int
    batch_size: int
    n_batches: int

    def __str__(self):
        """Describe the work, such as: 2,048 nets 3-4-1, batch 4."""
        sizes = "-".join(map(str, self.sizes))
        return f"{self.members:,} nets {sizes}, batch {self.batch_size}"

    def data(self):
        """Return X and y, which all members share."""
        if self.sizes == (3, 4, 1):
            X = np.array([[0, 0, 1], [1, 0, 1], [0, 1, 1], [1, 1, 1]], np.float32)
            return X, np.array([[0], [1], [1], [0]], np.float32)
        rng = np.random.default_rng(0)
        n = self.batch_size * self.n_batches
        return (rng.random((n, width), np.float32) for width in (self.sizes[0], self.sizes[-1]))

    def start(self):
        """Return the initial weights (K, n_in, n_out) and biases (K, n_out) of each layer."""
        rng, k = np.random.default_rng(1), self.members
        weights = [rng.normal(0, a**-0.5, (k, a, b)) for a, b in pairwise(self.sizes)]
        biases = [rng.normal(0, 0.1, (k, b)) for b in self.sizes[1:]]
        return [[array.astype(np.float32) for array in arrays] for arrays in (weights, biases)]

    def flops(self):
        """Return the operations of one update of one net, counted as in `Work.flops`."""
        weights = [a * b for a, b in pairwise(self.sizes)]
        return 2 * self.batch_size * (3 * sum(weights) - weights[0])


WORKS = (
    Fleets("W7", (3, 4, 1), 2048, 4, 1),
    Fleets("W8", (16, 32, 32, 1), 64, 32, 32),
)


def with_jitprop(work):
    """Train by one call of Fleet.fit."""
    from jitprop import Fleet

    (X, y), start = work.data(), work.start()

    def train(epochs):
        fleet = Fleet(
            work.sizes, members=work.members, init=start, learning_rate=RATE,
            batch_size=work.batch_size, shuffle=False, dtype="float32",
        )  # fmt: skip
        fleet.fit(X, y, epochs)
        return [*fleet.weights, *fleet.biases]

    return train


def with_trainers(work):
    """Train by a loop over Trainer.fit."""
    from jitprop import Trainer

    X, y = work.data()

    def train(epochs):
        trainers = []
        for i in range(work.members):
            init = [[array[i] for array in arrays] for arrays in work.start_once]
            trainer = Trainer(
                work.sizes, init=init, learning_rate=RATE, batch_size=work.batch_size,
                shuffle=False, dtype="float32",
            )  # fmt: skip
            trainer.fit(X, y, epochs)
            trainers.append(trainer)
        layers = range(len(work.sizes) - 1)
        return [np.stack([t.weights[l] for t in trainers]) for l in layers] + [
            np.stack([t.biases[l] for t in trainers]) for l in layers
        ]

    return train


def with_jax(work):
    """Train by one compiled call: a vmap over members of a scan over epochs and batches."""
    import jax
    import jax.numpy as jnp

    X, y = (jnp.asarray(array) for array in work.data())
    start = jax.tree.map(jnp.asarray, work.start())
    batches = [array.reshape(work.n_batches, work.batch_size, -1) for array in (X, y)]

    def loss(params, x, t):
        for W, b in zip(*params, strict=True):
            x = jax.nn.sigmoid(x @ W + b)
        return 0.5 / work.batch_size * jnp.sum((x - t) ** 2)

    def step(params, batch):
        value, gradient = jax.value_and_grad(loss)(params, *batch)
        return jax.tree.map(lambda p, g: p - RATE * g, params, gradient), value

    def epoch(params, _):
        if work.n_batches == 1:
            return step(params, (X, y))
        params, losses = jax.lax.scan(step, params, batches)
        return params, losses.mean()

    def fit(params, epochs):
        return jax.lax.scan(epoch, params, length=epochs)

    compiled = jax.jit(jax.vmap(fit, in_axes=(0, None)), static_argnums=1)

    def train(epochs):
        (weights, biases), losses = compiled(start, epochs)
        losses.block_until_ready()
        return [*map(np.asarray, weights), *map(np.asarray, biases)]

    return train


def with_torch(work):
    """Train by batched products (baddbmm) and autograd."""
    import torch

    X, y = map(torch.from_numpy, work.data())
    start = work.start()
    shape = work.members, -1, -1
    batches = [
        (x.expand(*shape), t.expand(*shape))
        for x, t in zip(X.split(work.batch_size), y.split(work.batch_size), strict=True)
    ]

    def train(epochs):
        weights, biases = ([torch.from_numpy(a.copy()) for a in part] for part in start)
        params = [p.requires_grad_() for p in (*weights, *biases)]
        for _ in range(epochs):
            for x, t in batches:
                for W, b in zip(weights, biases, strict=True):
                    x = torch.sigmoid(torch.baddbmm(b[:, None], x, W))
                losses = 0.5 / work.batch_size * ((x - t) ** 2).sum((1, 2))
                gradients = torch.autograd.grad(losses.sum(), params)
                losses.detach().numpy()
                with torch.no_grad():
                    for p, g in zip(params, gradients, strict=True):
                        p -= RATE * g
        return [p.detach().numpy() for p in params]

    return train


SYSTEMS = {
    "jitprop Fleet": with_jitprop,
    "loop over Trainer": with_trainers,
    "JAX vmap": with_jax,
    "PyTorch baddbmm": with_torch,
}


def main():
    """Check the parameters, time the fits and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="does it run?")
    quick = parser.parse_args().quick
    rows = [["", "fleet", *SYSTEMS, "JAX / jitprop"]]
    rows.append(["---"] * len(rows[0]))
    for work in WORKS:
        object.__setattr__(work, "start_once", work.start())
        ready = {}
        for system, prepare in SYSTEMS.items():
            try:
                ready[system] = prepare(work)
            except ImportError as error:
                say(f"{work.name} {system}: skipped, {error}")
        say(f"{work.name} {work}: do all reach the same parameters?")
        check(work, ready)
        times = measure(work, ready, *((1, 0.05) if quick else (8, 0.5)))
        cells = [f"{times[s] * 1e9:,.1f}" if s in times else "-" for s in SYSTEMS]
        jax = times.get("JAX vmap", math.nan) / times["jitprop Fleet"]
        rows.append([work.name, str(work), *cells, f"{jax:.2f}"])
    print("Nanoseconds per net and update:\n")
    print("\n".join(f"| {' | '.join(row)} |" for row in rows))
    print(f"\n{digits(quick)}")


def check(work, ready):
    """Exit with an error unless all systems reach the same parameters to 1e-4."""
    found = {system: train(5) for system, train in ready.items()}
    ref = found["jitprop Fleet"]
    for system, arrays in found.items():
        off = max(np.abs(a - b).max() for a, b in zip(arrays, ref, strict=True))
        begun = chain(*work.start())
        moved = max(np.abs(a - b).max() for a, b in zip(ref, begun, strict=True))
        if not off < min(1e-4, 0.01 * moved):
            sys.exit(f"{work.name} {system}: parameters off by {off:.2g}")


def measure(work, ready, n_rounds, seconds):
    """
    Return the best seconds per net and update of each system.

    A system trains as many epochs as fit in ``seconds``, but at most as many as JAX. Each epoch's
    losses are stored, so more epochs would also time the allocation of more memory.
    """
    epochs = {system: epochs_in(seconds, train, 5) for system, train in ready.items()}
    most = epochs.get("JAX vmap", math.inf)
    epochs = {system: min(n, most) for system, n in epochs.items()}
    best = dict.fromkeys(ready, math.inf)
    for _ in range(n_rounds):
        for system, train in ready.items():
            took = timed(train, epochs[system])
            best[system] = min(
                best[system], took / (epochs[system] * work.n_batches * work.members)
            )
    return best


def digits(quick):
    """Compare W9: 16 classifiers of the digits, 64-100-10, Adam, batch 200, with scikit-learn."""
    from joblib import Parallel, delayed
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    from sklearn.neural_network import MLPClassifier

    from jitprop import Fleet

    X, y = load_digits(return_X_y=True)
    X, held_out, y, truth = train_test_split(X / 16, y, random_state=0)
    epochs, k = (5, 2) if quick else (100, 16)
    nets = [
        MLPClassifier(random_state=i, max_iter=epochs, n_iter_no_change=epochs, tol=0)
        for i in range(k)
    ]
    accuracy, best = {}, {}

    def theirs(_):
        with Parallel(n_jobs=-1) as pool:
            fitted = pool(delayed(fitted_quietly)(net, X, y) for net in nets)
        accuracy["scikit-learn"] = np.mean([net.score(held_out, truth) for net in fitted])

    def ours(dtype):
        def train(_):
            fleet = Fleet(
                [64, 100, 10], members=k, activation="relu", output_activation="softmax",
                loss="cross_entropy", optimizer="adam", learning_rate=1e-3, batch_size=200,
                weight_decay=1e-4 / 200, dtype=dtype, seed=0, init="glorot_uniform",
            )  # fmt: skip
            fleet.fit(X, y, epochs)
            correct = fleet.predict(held_out).argmax(axis=2) == truth
            accuracy[f"jitprop {dtype}"] = correct.mean()

        return train

    runs = {
        "scikit-learn": theirs,
        "jitprop float64": ours("float64"),
        "jitprop float32": ours("float32"),
    }
    for _ in range(1 if quick else 3):
        for system, train in runs.items():
            best[system] = min(best.get(system, math.inf), timed(train, 0))
    return "; ".join(
        [
            f"W9, {k} nets 64-100-10 softmax on the digits, Adam, batch 200, {epochs} epochs: "
            f"scikit-learn by joblib {best['scikit-learn']:.2f} s",
            *(
                f"{system} {best[system]:.2f} s "
                f"({best['scikit-learn'] / best[system]:.1f} times as fast)"
                for system in list(runs)[1:]
            ),
            "mean accuracies " + ", ".join(f"{a:.3f}" for a in accuracy.values()),
        ]
    )


def fitted_quietly(net, X, y):
    """Fit without the warning that training has not converged."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return net.fit(X, y)


if __name__ == "__main__":
    main()
