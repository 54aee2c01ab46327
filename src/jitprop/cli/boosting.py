"""
Scores of boosted trees on the same held-out rows, to compare the net with.

The trees are scikit-learn's `HistGradientBoostingClassifier` and `HistGradientBoostingRegressor`
with their own settings. They get the columns that the net learns from: numbers as they are, with
gaps, categories by number, and the features of dates and texts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from jitprop.cli import scores
from jitprop.cli.targets import Classes
from jitprop.cli.training import Problem

TREES = 100
LEAVES = 31
"""What scikit-learn's boosting has unless it is told otherwise."""

WORK = 4e6
"""
The most work that is done: trees, times the net's inputs, times the leaves and a thousandth of the
rows. On two cores this takes up to about 15 s.
"""


def score(problem: Problem, seed: int) -> dict[str, float] | None:
    """
    Train boosted trees on the training rows, and score them on the validation rows.

    Parameters
    ----------
    problem : Problem
    seed : int
        The seed of the trees, which use it for more than 10,000 rows.

    Returns
    -------
    dict or None
        The scores as `jitprop.cli.scores.measure` defines them. None without scikit-learn or
        validation rows, and if the work is above `WORK`.
    """
    classes, rows, held_out = _classes(problem), problem.training, problem.validation
    trees = TREES * (classes if classes > 2 else 1)
    work = trees * problem.X.shape[1] * (LEAVES + len(rows) / 1000)
    if not len(held_out) or work > WORK:
        return None
    try:
        from sklearn import ensemble
    except ImportError:
        return None
    X, are_categories = _inputs(problem)
    y = problem.y[rows]
    settings = {"categorical_features": are_categories, "random_state": seed}
    if not classes:
        model = ensemble.HistGradientBoostingRegressor(**settings).fit(X[rows], y)
        outputs = model.predict(X[held_out])[:, None]
    else:
        # Its own early stopping splits the rows by class, so each class needs two of them.
        if np.unique(y, return_counts=True)[1].min() < 2:
            settings["early_stopping"] = False
        outputs = _fitted_quietly(ensemble, settings, X[rows], y).predict_proba(X[held_out])
        outputs = outputs[:, 1:] if classes == 2 else outputs
    return scores.measure(problem.target, problem.y[held_out], outputs)


def _classes(problem: Problem) -> int:
    """Return the number of classes; 0 for regression."""
    return len(problem.target.labels) if isinstance(problem.target, Classes) else 0


def _fitted_quietly(ensemble: Any, settings: dict[str, Any], X: Any, y: Any) -> Any:
    """Fit a classifier; scikit-learn warns of classes of few rows, which the user knows."""
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The number of unique classes")
        return ensemble.HistGradientBoostingClassifier(**settings).fit(X, y)


def _inputs(problem: Problem) -> tuple[npt.NDArray[np.float64], list[bool]]:
    """Return the columns as numbers, (n_rows, n_columns), and which of them are categories."""
    parts, are_categories = [], []
    for column in problem.columns:
        part = column.plain(problem.frame[column.name])
        parts.append(part)
        are_categories += [column.categorical] * part.shape[1]
    return np.hstack(parts), are_categories
