"""Initial weights and biases, by name or as arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from jitprop import checks, elementary

Numbers = npt.NDArray[np.float64]
Scale = Callable[[Numbers, int, int], Numbers]


def _uniform(limit: Callable[[int, int], float]) -> tuple[bool, Scale]:
    def scale(u: Numbers, n_in: int, n_out: int) -> Numbers:
        bound = limit(n_in, n_out)
        return -bound + (bound + bound) * u  # the same bits as from Generator.uniform

    return False, scale


def _normal(deviation: Callable[[int, int], float]) -> tuple[bool, Scale]:
    return True, lambda z, n_in, n_out: deviation(n_in, n_out) * z


WEIGHTS: dict[str, tuple[bool, Scale]] = {
    "glorot_uniform": _uniform(lambda n_in, n_out: math.sqrt(6.0 / (n_in + n_out))),
    "glorot_normal": _normal(lambda n_in, n_out: math.sqrt(2.0 / (n_in + n_out))),
    "he_uniform": _uniform(lambda n_in, n_out: math.sqrt(6.0 / n_in)),
    "he_normal": _normal(lambda n_in, n_out: math.sqrt(2.0 / n_in)),
    "lecun_normal": _normal(lambda n_in, n_out: math.sqrt(1.0 / n_in)),
    "uniform": (False, lambda u, n_in, n_out: u),
}
"""
For each name, two things: whether the numbers are drawn from the standard normal distribution
(True) or uniformly from [0, 1) (False), and the function that scales them to W.

- glorot: Glorot and Bengio, *Understanding the difficulty of training deep feedforward neural
  networks*, AISTATS 2010, equation 16.
- he: He et al., *Delving Deep into Rectifiers*, arXiv:1502.01852, equation 10.
- lecun: LeCun et al., *Efficient BackProp*, 1998, section 4.6.

Normal distributions are not truncated. That is PyTorch's form; Keras truncates them.

Normal numbers are made by `elementary.normal` of uniform ones. `numpy.random` would call log1p and
exp of the C library, and a seed would give other weights on another system.
"""


def named(init: Any) -> str | None:
    """
    Check ``init`` and return its name; None for (weights, biases), whose arrays are not checked.

    Raises
    ------
    TypeError, ValueError
        For anything else.
    """
    if isinstance(init, str):
        return checks.choice("init", init, tuple(WEIGHTS))
    if isinstance(init, tuple | list) and len(init) == 2:
        return None
    raise TypeError(
        f"init must be a name, one of {', '.join(WEIGHTS)}, or (weights, biases); "
        f"got {checks.shown(init)}"
    )


def draw(
    name: str, shapes: list[tuple[int, int]], generators: Iterable[np.random.Generator]
) -> tuple[list[Numbers], list[Numbers]]:
    """
    Draw the initial weights and biases of K nets, one from each of K generators.

    Biases are 0, except with "uniform". That draws weights and biases from [0, 1), layer by layer,
    as the teaching notebooks do with ``np.random.rand``.

    Returns
    -------
    weights : list of (K, n_in, n_out) float64 arrays, one for each layer
    biases : list of (K, n_out) float64 arrays
    """
    normal, scale = WEIGHTS[name]
    draws_biases = name == "uniform"
    n = sum((n_in + draws_biases) * n_out for n_in, n_out in shapes)
    # One call for a whole net: calling a generator takes longer than drawing the numbers.
    drawn = np.array([rng.random(n + n % 2 if normal else n) for rng in generators])
    if normal:
        drawn = elementary.normal(drawn)
    weights, biases, used = [], [], 0
    for n_in, n_out in shapes:
        raw = drawn[:, used : used + n_in * n_out].reshape(-1, n_in, n_out)
        weights.append(scale(raw, n_in, n_out))
        used += n_in * n_out
        if draws_biases:
            biases.append(drawn[:, used : used + n_out])
            used += n_out
        else:
            biases.append(np.zeros((len(drawn), n_out)))
    return weights, biases
