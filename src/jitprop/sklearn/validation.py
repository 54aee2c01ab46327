"""Validation samples: their loss and their score after each epoch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sklearn.metrics import check_scoring

from jitprop import checks, elementary
from jitprop._types import Array
from jitprop.data.samples import Samples
from jitprop.sklearn import losses, net, parameters
from jitprop.training.evaluation import Evaluation
from jitprop.training.watching import as_number


class Validation:
    """
    The validation samples of one fit.

    Parameters
    ----------
    model : estimator
    X, y, weights : arrays
    """

    def __init__(self, model: Any, X: Array, y: Array, weights: Array | None) -> None:
        spec = net.spec_of(model)
        self.spec = replace(spec, sklearn=replace(spec.sklearn, batches_by_size=False))
        self.samples, self.X = Samples(X, y, weights), X
        self.evaluation = Evaluation(net.backend(), self.spec, X, model.n_threads)
        constants = losses.constants(self.spec, y)
        self.constant = 0.0 if constants is None else elementary.mean(constants, weights)
        self.scorer = None
        if model.scoring not in (None, "loss"):
            self.scorer = check_scoring(model, scoring=model.scoring)
            self.labels = model._classes_of(y)
        # The estimator that a scorer gets, with the weights of the present epoch. It has no feature
        # names, since X is an array by now and scikit-learn would warn.
        self.scored = parameters.with_attributes(model, model.__dict__)
        self.scored.__dict__.pop("feature_names_in_", None)

    def loss(self, params: Array) -> float:
        """Return their loss, without the penalty, as scikit-learn reports losses."""
        loss = self.evaluation.loss(params, self.samples)
        return loss / net.loss_divisor(self.spec) + self.constant

    def score(self, params: Array, loss: float) -> float:
        """Return their score; higher is better. ``loss`` is what `loss` returned."""
        if self.scored.scoring == "loss":
            return -loss
        if self.scorer is None:
            outputs = self.evaluation.predict(params, self.X)
            return float(self.scored._score_of(outputs, self.samples.y, self.samples.weights))
        net.unpack(self.scored, self.spec, params)
        value = self.scorer(self.scored, self.X, self.labels)
        return as_number(name_of(self.scored.scoring), value, "scoring")


def name_of(scoring: Any) -> str:
    """Return the name of an estimator's ``scoring`` for messages."""
    return checks.name_of(scoring) if callable(scoring) else str(scoring or "score")
