"""Samples that are not trained on: what is known of them after each epoch."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.metrics import check_scoring

from jitprop import checks
from jitprop._types import Array
from jitprop.data.samples import Samples
from jitprop.sklearn import losses, net
from jitprop.training.evaluation import Evaluation
from jitprop.training.watching import as_number


class Validation:
    """
    Held-out samples.

    Parameters
    ----------
    model : estimator
    X, y, weights : arrays
    """

    def __init__(self, model: Any, X: Array, y: Array, weights: Array | None) -> None:
        self.spec = replace(net.spec_of(model), even=False)
        self.samples, self.X = Samples(X, y, weights), X
        self.evaluation = Evaluation(net.backend(), self.spec, X)
        rest = losses.constants(self.spec, y)
        self.rest = 0.0 if rest is None else float(np.average(rest, weights=weights))
        self.scorer = None
        if model.scoring not in (None, "loss"):
            self.scorer = check_scoring(model, scoring=model.scoring)
            self.labels = model._classes_of(y)
        # Its weights are those of the moment, and it is not asked for names of features.
        self.scored = copy.copy(model)
        self.scored.__dict__.pop("feature_names_in_", None)

    def loss(self, params: Array) -> float:
        """Their loss, as scikit-learn tells losses, without the penalty."""
        loss = self.evaluation.loss(params, self.samples)
        return loss / net.told_share(self.spec) + self.rest

    def score(self, params: Array, loss: float) -> float:
        """Their score, of which more is better; ``loss`` is theirs too."""
        if self.scored.scoring == "loss":
            return -loss
        if self.scorer is None:
            outputs = self.evaluation.predict(params, self.X)
            return float(self.scored._score_of(outputs, self.samples.y, self.samples.weights))
        net.unpack(self.scored, self.spec, params)
        value = self.scorer(self.scored, self.X, self.labels)
        return as_number(name_of(self.scored.scoring), value, "scoring")


def name_of(scoring: Any) -> str:
    """What messages call an estimator's ``scoring``."""
    return checks.name_of(scoring) if callable(scoring) else str(scoring or "score")
