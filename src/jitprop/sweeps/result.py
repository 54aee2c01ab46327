"""What `sweep` returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from jitprop.sweeps.settings import Setting
from jitprop.trainer import Trainer
from jitprop.training.history import frame

if TYPE_CHECKING:
    import pandas as pd

Column = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class SweepResult:
    """
    What came of each of S settings in each of F folds.

    Attributes
    ----------
    settings : list of S dicts
        What was varied.
    measured : dict of (S, F) arrays
        "training_loss" and "validation_loss", on the samples trained on and on those held out,
        after training; ``"validation_"`` + name of each metric; "epochs_trained", those of the
        parameters that were measured; "diverged". Where that is True the other numbers are nan.
    monitor : str
        The number by which settings are compared.
    ranks : (S,) int64 array
        1 is the best setting by the mean of ``monitor`` over the folds; of equals the first. Those
        for which it is not finite, as where they diverged in a fold, come last.
    trainer : Trainer or None
        The best setting trained anew on all samples, where that was asked for.
    """

    settings: list[Setting]
    measured: dict[str, npt.NDArray[Any]]
    monitor: str
    ranks: npt.NDArray[np.int64]
    trainer: Trainer | None

    @property
    def best_index(self) -> int | None:
        """Number of the best setting; None if in some fold of each ``monitor`` is not finite."""
        i = int(np.argmin(self.ranks))
        return i if np.isfinite(self.measured[self.monitor][i]).all() else None

    @property
    def best(self) -> Setting | None:
        """The best setting."""
        return None if self.best_index is None else self.settings[self.best_index]

    @property
    def columns(self) -> dict[str, Column]:
        """
        The table with a row for each setting and fold, S F of them, by column.

        "setting" and "fold", counted from 0, what was varied, and `measured`.
        """
        s, f = self.measured[self.monitor].shape
        numbers = np.repeat(np.arange(s), f)
        varied = {name: column[numbers] for name, column in self._varied().items()}
        measured = {name: found.reshape(-1) for name, found in self.measured.items()}
        return {"setting": numbers, "fold": np.tile(np.arange(f), s), **varied, **measured}

    @property
    def summary(self) -> dict[str, Column]:
        """
        The table with a row for each setting, S of them, by column.

        What was varied; of all that was measured the mean and the standard deviation over the
        folds (divided by F), under its name and "_mean" or "_std"; "diverged", in how many folds;
        "rank".
        """
        found: dict[str, Column] = self._varied()
        for name, values in self.measured.items():
            if name == "diverged":
                found[name] = values.sum(axis=1)
            else:
                found[name + "_mean"] = values.mean(axis=1)
                found[name + "_std"] = values.std(axis=1)
        return {**found, "rank": self.ranks}

    def to_frame(self, summary: bool = False) -> pd.DataFrame:
        """
        `columns` as a data frame, or `summary`.

        Parameters
        ----------
        summary : bool, default False

        Returns
        -------
        pandas.DataFrame
            A row for each setting and fold; or for each setting, its index "setting".

        Raises
        ------
        ImportError
            Without pandas.
        """
        return frame(self.summary, "setting") if summary else frame(self.columns)

    def __repr__(self) -> str:
        s, f = self.measured[self.monitor].shape
        i = self.best_index
        if i is None:
            return f"SweepResult({s} settings, {f} folds, none with a finite {self.monitor})"
        values = self.measured[self.monitor][i]
        return (
            f"SweepResult({s} settings, {f} folds, best {self.settings[i]}: "
            f"{self.monitor} {values.mean():.6g} +- {values.std():.2g})"
        )

    def _varied(self) -> dict[str, Column]:
        names = dict.fromkeys(name for setting in self.settings for name in setting)
        return {name: _column([s.get(name) for s in self.settings]) for name in names}


def ranks(values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Of each setting by its value, 1 the lowest; the first of equals, and nan comes last."""
    made = np.empty(len(values), np.int64)
    order = np.argsort(np.where(np.isfinite(values), values, np.inf), kind="stable")
    made[order] = 1 + np.arange(len(values))
    return made


def _column(values: list[Any]) -> Column:
    """Numbers as such; what is none, as objects."""
    kinds = {type(value) for value in values}
    if kinds <= {int, float} and all(abs(v) < 2**53 for v in values):
        return np.array(values)
    made = np.empty(len(values), object)
    made[:] = values
    return made
