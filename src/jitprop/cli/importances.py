"""
How much each column matters to a net: its permutation importance.

A column's values are shuffled among the rows, which cuts their tie to the target and leaves all
else as it is. The importance of the column is how much the loss rises (Breiman, Random Forests,
2001). Columns that tell the same share their importance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from jitprop import elementary
from jitprop._types import Array
from jitprop.cli import scores
from jitprop.cli.training import Problem
from jitprop.tabular.importances import falls

Importances: TypeAlias = Mapping[str, float]
"""For each column, how much the loss rises without it; the largest first."""

REPEATS = 5
"""How often each column is shuffled; the importance is the mean."""

FEW_ROWS = 50
"""From fewer rows, an importance would be chance."""

WORK = 1e11
"""
The most multiply-adds of all predictions, which take about 5 s. If all rows would take more, only
some of them are used.
"""


def measure(
    predict: Callable[[Array], Array], n_parameters: int, problem: Problem, seed: int
) -> Importances:
    """
    Return the importance of each column of a problem, on its validation rows.

    Without validation rows it is measured on the training rows.

    Parameters
    ----------
    predict : callable
        Returns the net's outputs for its inputs.
    n_parameters : int
        The number of multiply-adds that a row takes.
    problem : Problem
    seed : int

    Returns
    -------
    dict
        The rise of the log loss or of the root mean squared error by the name of the column, the
        largest first. It is empty if there is one column, or if that would take too long.
    """
    rng = np.random.default_rng(seed)
    rows = problem.validation if len(problem.validation) else problem.training
    affordable = int(WORK / (n_parameters * len(problem.columns) * REPEATS))
    if len(problem.columns) == 1 or affordable < min(FEW_ROWS, len(rows)):
        return {}
    if affordable < len(rows):
        rows = np.sort(rng.permutation(rows)[:affordable])
    X, y = problem.X[rows], problem.y[rows]
    name = scores.LOSSES[problem.target.task]

    def score(X: Array) -> float:
        return -scores.measure(problem.target, y, predict(X))[name]

    shuffles = [rng.permutation(len(rows)) for _ in range(REPEATS)]
    rises = falls(X, [*problem.blocks.values()], shuffles, score) / REPEATS
    found = {column: elementary.total(of) for column, of in zip(problem.blocks, rises, strict=True)}
    return dict(sorted(found.items(), key=lambda item: -item[1]))
