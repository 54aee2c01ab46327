"""``jitprop verify``: whether this machine computes the published bits, and how fast it is."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
import time

import numpy as np

import jitprop
from jitprop.cli import machine, warmup
from jitprop.proof import nets, published, speed
from jitprop.proof.nets import Net
from jitprop.proof.published import Published

DIFFERENT = 1
FAILED = 2

SHOWN = 10
"""So many names of nets that differ are printed."""


def main(n_threads: int | None = None, timed: bool = True) -> int:
    """
    Train the table of nets, and print which of them have the published bits.

    It needs numba or prebuilt kernels, and not the extra ``cli``.

    Parameters
    ----------
    n_threads : int or None, default None
        The number of threads for every net, in place of its own.
    timed : bool, default True
        Whether to compare the speed with that of NumPy.

    Returns
    -------
    int
        The exit code: 0 if all bits are the published ones, 1 if some differ, and 2 if the kernels
        cannot be used or nobody reads stdout to its end. An error is one line on stderr.
    """
    try:
        code = _main(n_threads, timed)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes at its end
        return FAILED
    return code


def _main(n_threads: int | None, timed: bool) -> int:
    try:
        warmup.check()
    except warmup.UNUSABLE as error:
        print(f"error: {error}: only the compiled kernels have published bits", file=sys.stderr)
        return FAILED
    machine.print_rows(_versions())
    expected = published.read()
    print("Training the nets. Kernels that are not compiled yet are compiled first.", flush=True)
    table = nets.table()
    equal = _compare(table, expected, "nets", n_threads)
    print(f"SHA-256 of the published {len(table)} nets: {expected.table}")
    if importlib.util.find_spec("sklearn") is None:
        print("The estimators were left out: scikit-learn is not installed.")
    else:
        equal &= _compare(nets.estimators(), expected, "estimators", n_threads)
    machine.print_rows([("kernels", machine.loaded())])
    if timed:
        _show_speed(expected)
    return 0 if equal else DIFFERENT


def _versions() -> list[tuple[str, str]]:
    """Return what this machine's bits might depend on, and do not."""
    versions = f"Python {platform.python_version()}, NumPy {np.__version__}"
    system = f"{platform.system()} {platform.machine()}, {versions}"
    return [("jitprop", jitprop.__version__), ("system", system), *machine.compiler()]


def _compare(chosen: list[Net], expected: Published, what: str, n_threads: int | None) -> bool:
    """Train nets, print the result, and return whether all have the published bits."""
    began = time.perf_counter()
    differ = [
        (net, found)
        for net, found in published.computed(chosen, n_threads)
        if found != expected.hashes[net.name]
    ]
    seconds = time.perf_counter() - began
    n_equal = len(chosen) - len(differ)
    print(f"{n_equal} of {len(chosen)} {what} gave the published bits, after {seconds:.1f} s.")
    if differ:
        names = ", ".join(net.name for net, _ in differ[:SHOWN])
        more = f" and {len(differ) - SHOWN} more" if len(differ) > SHOWN else ""
        print(f"Other bits: {names}{more}.")
        first, found = differ[0]
        print(f"The first one has the hash {found}, not {expected.hashes[first.name]}: {first}")
        print("docs/numbers.md says on which processors that is expected.")
    return not differ


def _show_speed(expected: Published) -> None:
    """Print how many times as fast as a NumPy loop jitprop is, here and where it was published."""
    print("Times as fast as a plain NumPy loop, on one core:")
    ratios = expected.speed["ratios"]
    width = max(len(str(race)) for race in speed.RACES)
    print(f"{'':{width}}  {'here':>7}  published")
    for race, ratio in speed.ratios():
        print(f"{race!s:{width}}  {ratio:7.1f}  {ratios[str(race)]:9.1f}", flush=True)
    print(f"Published: {expected.speed['date']}, {expected.speed['machine']}.")
