"""
Time single calls of jitprop and of other systems, in one run.

First all systems that have a call must give the same numbers. Then the call is timed in turns,
and the best time of each system counts. See README.md.
"""

import importlib.util
import math
import os
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import report
from run import TOLERANCES, arguments, say
from work import BIG, SMALL, Net

SYSTEMS = {
    "jitprop": "with_jitprop",
    "NumPy": "with_numpy",
    "JAX": "with_jax",
    "PyTorch": "with_torch",
    "onnxruntime": "with_onnxruntime",
    "scikit-learn": "with_sklearn",
}
UNITS = {"us": 1e6, "ms": 1e3, "s": 1.0}
REST = 0.2
"""Seconds to wait before a long call, since the threads of the other systems spin for a while."""
CHECKED_ROWS = 1000

START = """
from importlib import import_module
from work import WORKS
weights, biases, losses = import_module("{module}").prepare(WORKS[0])(10_000)
print(losses[-1])
"""


@dataclass(frozen=True)
class Call:
    """A call of a net on some rows. ``name`` is its name in what `calls` of a module returns."""

    label: str
    name: str
    net: Net
    n_rows: int
    unit: str = "us"

    def arguments(self):
        """Return the arguments: X, and y if the call takes targets."""
        X, y = self.net.data(self.n_rows)
        return (X,) if "predict" in self.name else (X, y)


CALLS = (
    Call("`Trainer.predict`, 1 row", "predict", SMALL, 1),
    Call("`Trainer.partial_fit`, 4 rows", "partial_fit", SMALL, 4),
    Call("`Trainer.fit(X, y, 1)`, 4 rows", "fit", SMALL, 4),
    Call("`Trainer.evaluate`, 4 rows", "evaluate", SMALL, 4),
    Call("`Trainer.gradients`, 4 rows", "gradients", SMALL, 4),
)
ESTIMATORS = (
    Call("`MLPRegressor.predict`, 1 row", "regressor_predict", SMALL, 1),
    Call("`MLPClassifier.predict_proba`, 1 row", "classifier_predict", SMALL, 1),
    Call("`MLPRegressor.partial_fit`, 4 rows", "partial_fit", SMALL, 4),
)
BIG_CALLS = (
    Call(f"`predict`, 100,000 rows, {BIG}", "predict", BIG, 100_000, "ms"),
    Call(f"`evaluate`, 100,000 rows, {BIG}", "evaluate", BIG, 100_000, "ms"),
)


def main():
    """Check the results, time the calls and print the table."""
    args = arguments()
    if "calls" not in args.only:
        return
    systems = [system for system in SYSTEMS if system in args.systems]
    modules, skipped = load(systems)
    rows = []
    for call in CALLS + BIG_CALLS:
        say(f"{call.label}: do all give the same numbers?")
        found = {system: module.calls(call.net) for system, module in modules.items()}
        rows.append((call.label, call.unit, compared(call, found, args.quick)))
        if call is CALLS[-1]:
            rows += estimator_rows(modules, args.quick)
    if "jitprop" in modules:
        rows += watched_rows(args.quick)
    rows += start_rows(modules, args.quick)
    print(f"\nCalls; the net is {SMALL} where a row names no other:\n")
    print(table(systems, rows))
    print("\n" + "\n".join([*skipped, "; ".join(report.ran(modules.values())) + "."]), flush=True)


def load(systems):
    """Return the modules of the systems, and a line for each system that is not installed."""
    modules, skipped = {}, []
    for system in systems:
        try:
            modules[system] = importlib.import_module(SYSTEMS[system])
        except ImportError as error:
            skipped.append(f"{system} skipped: {error}.")
    return modules, skipped


def estimator_rows(modules, quick):
    """Yield the rows of jitprop's and scikit-learn's estimators."""
    if not {"jitprop", "scikit-learn"} <= modules.keys():
        return
    for call in ESTIMATORS:
        say(f"{call.label}: do both give the same numbers?")
        found = {
            "jitprop": estimators(importlib.import_module("jitprop.sklearn")),
            "scikit-learn": estimators(importlib.import_module("sklearn.neural_network")),
        }
        yield call.label, call.unit, compared(call, found, quick)


def estimators(module):
    """Return the calls of a module's estimators: {name: function}."""
    X, y = SMALL.data(4)
    settings = {"hidden_layer_sizes": (4,), "activation": "logistic", "random_state": 0}
    regressor = module.MLPRegressor(**settings).partial_fit(X, y[:, 0])
    classifier = module.MLPClassifier(**settings).partial_fit(X, [0, 1, 1, 0], classes=[0, 1])
    return {
        "regressor_predict": regressor.predict,
        "classifier_predict": classifier.predict_proba,
        "partial_fit": lambda X, y: regressor.partial_fit(X, y[:, 0]),
        "parameters": lambda: [*regressor.coefs_, *regressor.intercepts_],
    }


def compared(call, found, quick):
    """Return the best seconds of each system that has the call, after a check of its numbers."""
    found = {system: calls for system, calls in found.items() if call.name in calls}
    given = call.arguments()
    check(call, found, [array[:CHECKED_ROWS] for array in given])
    functions = {system: calls[call.name] for system, calls in found.items()}
    if call.unit == "us":
        return best_times(functions, given, *((2, 10) if quick else (40, 25)))
    return best_times(functions, given, 2 if quick else 12, 1, REST)


def check(call, found, given):
    """
    Exit with an error unless all systems give the numbers of NumPy in float64.

    Without NumPy they must give those of the first system.
    """
    if len(found) < 2:
        return
    results = {system: numbers(call, calls, given) for system, calls in found.items()}
    system, ref = next(iter(results.items()))
    if "NumPy" in results:
        system = "NumPy in float64"
        exact = importlib.import_module("with_numpy").calls(call.net.as_float64())
        ref = numbers(call, exact, [array.astype(np.float64) for array in given])
    for other, result in results.items():
        for a, b in zip(result, ref, strict=True):
            if not np.allclose(a, b, rtol=0, atol=TOLERANCES[call.net.dtype]):
                sys.exit(f"{call.label}: {other} and {system} differ by {np.abs(a - b).max():.2g}")


def numbers(call, calls, given):
    """Return what a call gives, as a list of arrays; after three updates, the parameters."""
    if call.name in ("partial_fit", "fit"):
        before = [array.copy() for array in calls["parameters"]()]
        for _ in range(3):
            calls[call.name](*given)
        after = calls["parameters"]()
        # All must have moved by far more than the tolerance.
        moved = min(np.abs(a - b).max() for a, b in zip(after, before, strict=True))
        if not moved > 100 * TOLERANCES[call.net.dtype]:
            sys.exit(f"{call.label}: an array of parameters was not trained")
        return after
    result = calls[call.name](*given)
    if call.name == "gradients":
        loss, weights, biases = result
        return [loss, *weights, *biases]
    # scikit-learn's predictions of one output have one dimension.
    return [np.reshape(result, (len(given[0]), -1)) if "predict" in call.name else result]


def best_times(functions, given, n_rounds, n_calls, rest=0.0):
    """Return the best seconds of a call of each function: {system: seconds}."""
    best = dict.fromkeys(functions, math.inf)
    for _ in range(n_rounds):
        for system, function in functions.items():
            time.sleep(rest)
            for _ in range(n_calls):
                began = time.perf_counter()
                function(*given)
                best[system] = min(best[system], time.perf_counter() - began)
    return best


def watched_rows(quick):
    """
    Yield how many times as long a fit takes with validation data and EarlyStopping.

    EarlyStopping never stops these fits, so both have 100 epochs.
    """
    from jitprop import EarlyStopping, Fleet, Trainer

    rng = np.random.default_rng(0)
    X, y, X_val, y_val = (rng.random(shape) for shape in ((1600, 20), 1600, (400, 20), 400))
    epochs = 10 if quick else 100
    models = {
        "Trainer": Trainer([20, 32, 1], batch_size=32, seed=0),
        "Fleet of 16": Fleet([20, 32, 1], members=16, batch_size=32, seed=0),
    }
    for name, model in models.items():
        say(f"{name}: fits with and without validation data")

        def alone(model=model):
            model.fit(X, y, epochs)

        def watched(model=model):
            stop = EarlyStopping(patience=epochs)
            model.fit(X, y, epochs, validation_data=(X_val, y_val), callbacks=stop)

        functions = {"alone": alone, "watched": watched}
        best_times(functions, (), 1, 1)  # compiles
        times = best_times(functions, (), 1 if quick else 10, 1)
        label = f"fit of a {name}, 100 epochs, 20-32-1, 1,600 rows: with validation to without"
        yield label, "ratio", {"jitprop": times["watched"] / times["alone"]}


def start_rows(modules, quick):
    """
    Yield the seconds from the start of a process to trained XOR, 10,000 epochs of W1.

    jitprop's packages are copied without what Python and jitprop have cached beside them, so the
    first process finds no kernels. Only jitprop has a cache of machine code, so the other systems'
    times are the same in both rows.
    """
    modules = {system: m.__name__ for system, m in modules.items() if hasattr(m, "prepare")}
    say("process start to trained XOR")
    times = defaultdict(list)
    with TemporaryDirectory() as home:
        for package in ("jitprop", "jitprop_kernels"):
            source = importlib.util.find_spec(package).submodule_search_locations[0]
            shutil.copytree(
                source, Path(home, package), ignore=shutil.ignore_patterns("__pycache__")
            )
        empty = started("with_jitprop", home, {}) if "jitprop" in modules else None
        losses = {}
        for _ in range(1 if quick else 8):
            for system, module in modules.items():
                if sum(times[system]) < 10:  # slow systems start in the first rounds only
                    times[system].append(started(module, home, losses))
    ref = next(iter(losses.values()), 0)
    for module, loss in losses.items():
        if not math.isclose(loss, ref, rel_tol=1e-5):
            sys.exit(f"process start: the last losses differ: {module} {loss}, {ref}")
    best = {system: min(seconds) for system, seconds in times.items()}
    label = "process start to trained XOR, 10,000 epochs"
    if empty is not None:
        yield f"{label}, no kernels in the cache", "s", {**best, "jitprop": empty}
    yield f"{label}, kernels in the cache", "s", best


def started(module, home, losses):
    """
    Train XOR in a new process, note its last loss, and return the seconds it takes.

    ``home`` holds the copy of jitprop and gets its kernels.
    """
    env = {**os.environ, "NUMBA_CACHE_DIR": home}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    if module == "with_jitprop":
        env |= dict.fromkeys(["PYTHONPATH", "HOME", "XDG_CACHE_HOME"], home)
    folder = Path(__file__).parent
    command = [sys.executable, "-c", START.format(module=module)]
    began = time.perf_counter()
    done = subprocess.run(command, env=env, cwd=folder, check=True, capture_output=True, text=True)
    took = time.perf_counter() - began
    losses[module] = float(done.stdout)
    return took


def table(systems, rows):
    """Return the table in Markdown, with a row for each call."""
    lines = [["call", "unit", *systems, "best peer", "jitprop / best peer"]]
    lines.append(["---"] * len(lines[0]))
    for label, unit, times in rows:
        peers = {system: t for system, t in times.items() if system != "jitprop"}
        best = min(peers, key=peers.get, default="-")
        scale = UNITS.get(unit, 1.0)
        cells = [report.three_digits(times[s] * scale) if s in times else "-" for s in systems]
        share = report.ratio(times.get("jitprop"), peers.get(best))
        lines.append([label, unit, *cells, best, share])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
