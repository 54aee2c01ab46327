"""Initial weights and biases, by name or as arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from jitprop import checks

Draw = Callable[[np.random.Generator, int, int], npt.NDArray[np.float64]]


def _uniform(limit: Callable[[int, int], float]) -> Draw:
    def draw(rng: np.random.Generator, n_in: int, n_out: int) -> npt.NDArray[np.float64]:
        bound = limit(n_in, n_out)
        return rng.uniform(-bound, bound, (n_in, n_out))

    return draw


def _normal(deviation: Callable[[int, int], float]) -> Draw:
    def draw(rng: np.random.Generator, n_in: int, n_out: int) -> npt.NDArray[np.float64]:
        return rng.normal(0.0, deviation(n_in, n_out), (n_in, n_out))

    return draw


WEIGHTS: dict[str, Draw] = {
    "glorot_uniform": _uniform(lambda n_in, n_out: (6.0 / (n_in + n_out)) ** 0.5),
    "glorot_normal": _normal(lambda n_in, n_out: (2.0 / (n_in + n_out)) ** 0.5),
    "he_uniform": _uniform(lambda n_in, n_out: (6.0 / n_in) ** 0.5),
    "he_normal": _normal(lambda n_in, n_out: (2.0 / n_in) ** 0.5),
    "lecun_normal": _normal(lambda n_in, n_out: (1.0 / n_in) ** 0.5),
    "uniform": lambda rng, n_in, n_out: rng.random((n_in, n_out)),
}
"""
One W from the generator. glorot: Glorot and Bengio, AISTATS 2010; he: He et al.,
arXiv:1502.01852; lecun: LeCun et al., *Efficient BackProp*, 1998. The normals are not truncated
(PyTorch's form; Keras truncates).
"""


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
    name: str, shapes: list[tuple[int, int]], rng: np.random.Generator
) -> tuple[list[npt.NDArray[Any]], list[npt.NDArray[Any]]]:
    """
    Weights and biases of all layers, in float64.

    Biases are 0, save with "uniform", which draws weights and biases from [0, 1), layer by
    layer, as the teaching notebooks do with ``np.random.rand``.
    """
    weights, biases = [], []
    for n_in, n_out in shapes:
        weights.append(WEIGHTS[name](rng, n_in, n_out))
        biases.append(rng.random(n_out) if name == "uniform" else np.zeros(n_out))
    return weights, biases
