"""
Time the same training in jitprop and in other systems, in one run.

First every system trains each net for a few epochs with the same initial weights, and all must
reach the same parameters. Then they are timed in turns, and the best time of each counts. See
README.md.
"""

import argparse
import importlib
import math
import sys
import time
from collections import defaultdict
from itertools import chain

import numpy as np

import report
import with_numpy
from limits import Machine
from work import WORKS, CannotError

THREADS = [{"n_threads": 1}, {"n_threads": None}]
# column: (module, options of its `prepare`); the best of several options counts
SYSTEMS = {
    "jitprop": ("with_jitprop", [{}]),
    "NumPy": ("with_numpy", THREADS),
    "scikit-learn": ("with_sklearn", THREADS),
    "PyTorch": ("with_torch", THREADS),
    "JAX": ("with_jax", [{}]),
    "C -O3": ("with_c", [{"optimize": "-O3"}]),
    "C -O2": ("with_c", [{"optimize": "-O2"}]),
    "FANN": ("with_fann", [{}]),
}
TOLERANCES = {np.float32: 1e-4, np.float64: 1e-9}


def main():
    """Check the parameters, time the fits and print the table."""
    args = arguments()
    args.systems = [system for system in SYSTEMS if system in args.systems]
    if args.only == ["calls"]:
        return
    works = [work for work in WORKS if work.name in args.only]
    modules, cannot = load(args.systems, args.only)
    ready = {work: prepare(work, modules, cannot) for work in works}
    faults = []
    for work in works:
        say(f"{work.name} {work}: do all reach the same parameters?")
        faults += check(work, ready[work])
    if faults:
        sys.exit("\n".join(["These systems did not do the same work:", *faults]))

    machine, times = Machine(), {}
    for work in works:
        say(f"{work.name} {work}: timing")
        machine.measure()
        times[work] = measure(work, ready[work], *((2, 0.03) if args.quick else (8, 0.3)))
    machine.measure()
    print(report.table(args.systems, times, machine))
    print(report.notes(cannot, modules.values(), machine))


def arguments():
    """Parse the command line of this script and of calls.py."""
    names = [*(work.name for work in WORKS), "calls"]
    systems = [*SYSTEMS, "onnxruntime"]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few and short rounds: does it run?")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="W1")
    parser.add_argument("--systems", nargs="+", choices=systems, default=systems, metavar="JAX")
    return parser.parse_args()


def load(systems, names):
    """
    Import the modules of the systems.

    Returns
    -------
    modules : {system: module}
    cannot : {(system, reason): names of works}
        The systems that are not installed.
    """
    modules, cannot = {}, defaultdict(list)
    for system in systems:
        try:
            modules[system] = importlib.import_module(SYSTEMS[system][0])
        except ImportError as error:
            cannot[system, str(error)] = names
    return modules, cannot


def prepare(work, modules, cannot):
    """Return a list of (column, function that trains); add systems that cannot to ``cannot``."""
    ready = []
    for system, module in modules.items():
        try:
            ready += [(system, module.prepare(work, **options)) for options in SYSTEMS[system][1]]
        except CannotError as error:
            cannot[system, str(error)].append(work.name)
    return ready


def check(work, ready):
    """
    Yield a text for each system whose parameters or losses differ from NumPy's in float64.

    Each array may differ by the dtype's tolerance, but by at most a hundredth of the distance that
    training has moved it. Otherwise an array that was not trained might pass.
    """
    weights, biases, ref_losses = with_numpy.prepare(work.as_float64())(work.check_epochs)
    ref = [*weights, *biases]
    tolerances = [
        min(TOLERANCES[work.dtype], 0.01 * np.abs(after - before).max())
        for after, before in zip(ref, chain(*work.start()), strict=True)
    ]
    for system, train in ready:
        weights, biases, losses = train(work.check_epochs)
        errors = [
            np.abs(a - b).max() / tolerance
            for a, b, tolerance in zip([*weights, *biases], ref, tolerances, strict=True)
        ]
        if not np.max(errors) <= 1:
            yield f"{work.name} {system}: parameters off by {np.max(errors):.2g} x the tolerance"
        # FANN and float32 keep seven digits of a loss.
        if not np.allclose(losses, ref_losses, rtol=1e-5, atol=0):
            yield f"{work.name} {system}: losses differ"


def measure(work, ready, n_rounds, seconds):
    """Return the best seconds per update of each system: {column: seconds}."""
    epochs = [epochs_in(seconds, train, work.check_epochs) for _, train in ready]
    best, spent = {}, [0.0] * len(ready)
    for _ in range(n_rounds):
        for i, (system, train) in enumerate(ready):
            if spent[i] < n_rounds * seconds:  # slow systems run in the first rounds only
                took = timed(train, epochs[i])
                spent[i] += took
                update = took / (epochs[i] * work.n_batches)
                best[system] = min(update, best.get(system, math.inf))
    return best


def epochs_in(seconds, train, epochs):
    """
    Return how many epochs, at least ``epochs``, take about so many seconds.

    Each number of epochs is trained once before it is timed, since JAX compiles for each number.
    """
    while (took := timed(train, epochs)) < seconds / 4:
        epochs = math.ceil(epochs * min(100, seconds / took))
        train(epochs)
    return epochs


def timed(train, epochs):
    """Return the seconds of one call."""
    began = time.perf_counter()
    train(epochs)
    return time.perf_counter() - began


def say(text):
    """Print progress to stderr; the table goes to stdout."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
