"""What the report and the picture show beside the scores: boosted trees, and the importances."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from jitprop.cli import boosting, importances
from jitprop.cli.importances import Importances
from jitprop.cli.models import AnyModel
from jitprop.cli.scores import BOOSTING, Scores
from jitprop.cli.training import Problem


class Extras(NamedTuple):
    """
    What is found out after the model is written. The model file does not hold it.

    Attributes
    ----------
    boosting : mapping of str to float
        The scores of boosted trees on the validation rows; empty if there are none.
    importances : mapping of str to float
        The importance of each column, the largest first; empty if they are not known.
    """

    boosting: Mapping[str, float] = MappingProxyType({})
    importances: Importances = MappingProxyType({})

    def beside(self, made: Scores) -> Scores:
        """Return the scores of a model with those of boosted trees."""
        return {
            name: {**row, **({BOOSTING: self.boosting[name]} if name in self.boosting else {})}
            for name, row in made.items()
        }


def find(model: AnyModel, problem: Problem, seed: int) -> Extras:
    """Train boosted trees to compare with, and measure the importance of each column."""
    return Extras(
        boosting.score(problem, seed) or {},
        importances.measure(model.outputs, model.trainer.parameters.size, problem, seed),
    )
