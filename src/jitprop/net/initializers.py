"""Initial weights and biases, by name or as arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from jitprop import checks

Numbers = npt.NDArray[np.float64]
Scale = Callable[[Numbers, int, int], Numbers]


def _uniform(limit: Callable[[int, int], float]) -> tuple[bool, Scale]:
    def scale(u: Numbers, n_in: int, n_out: int) -> Numbers:
        bound = limit(n_in, n_out)
        return -bound + (bound + bound) * u  # to the bits of Generator.uniform

    return False, scale


def _normal(deviation: Callable[[int, int], float]) -> tuple[bool, Scale]:
    return True, lambda z, n_in, n_out: deviation(n_in, n_out) * z


WEIGHTS: dict[str, tuple[bool, Scale]] = {
    "glorot_uniform": _uniform(lambda n_in, n_out: (6.0 / (n_in + n_out)) ** 0.5),
    "glorot_normal": _normal(lambda n_in, n_out: (2.0 / (n_in + n_out)) ** 0.5),
    "he_uniform": _uniform(lambda n_in, n_out: (6.0 / n_in) ** 0.5),
    "he_normal": _normal(lambda n_in, n_out: (2.0 / n_in) ** 0.5),
    "lecun_normal": _normal(lambda n_in, n_out: (1.0 / n_in) ** 0.5),
    "uniform": (False, lambda u, n_in, n_out: u),
}
"""
Whether W is drawn from the standard normal distribution, or else from [0, 1), and what is made of
these numbers. glorot: Glorot and Bengio, AISTATS 2010; he: He et al.,
arXiv:1502.01852; lecun: LeCun et al., *Efficient BackProp*, 1998. The normals are not truncated
(PyTorch's form; Keras truncates).
"""


LATER: Any = object()
"""Instead of ``init``: parameters stay 0 and take no memory, until loading a file sets them."""


def named(init: Any) -> str | None:
    """The name that ``init`` is; None for arrays, (weights, biases), which are not looked at."""
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
    Weights, (K, n_in, n_out), and biases, (K, n_out), of all layers of a net for each generator.

    In float64. Biases are 0, save with "uniform", which draws weights and biases from [0, 1), layer
    by layer, as the teaching notebooks do with ``np.random.rand``.
    """
    normal, scale = WEIGHTS[name]
    own_biases = name == "uniform"
    n = sum((n_in + own_biases) * n_out for n_in, n_out in shapes)
    # All of a net in one call: a call takes longer than what it draws.
    drawn = np.array([rng.standard_normal(n) if normal else rng.random(n) for rng in generators])
    weights, biases, at = [], [], 0
    for n_in, n_out in shapes:
        raw = drawn[:, at : at + n_in * n_out].reshape(-1, n_in, n_out)
        weights.append(scale(raw, n_in, n_out))
        at += n_in * n_out
        biases.append(drawn[:, at : at + n_out] if own_biases else np.zeros((len(drawn), n_out)))
        at += n_out if own_biases else 0
    return weights, biases
