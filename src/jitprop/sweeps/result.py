"""The result of `sweep`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from jitprop import elementary
from jitprop.sweeps.settings import Setting
from jitprop.trainer import Trainer
from jitprop.training.history import frame

if TYPE_CHECKING:
    import pandas as pd

Column = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class SweepResult:
    """
    The results of S settings in F folds.

    Attributes
    ----------
    settings : list of S dicts
        The values that were tried, by name.
    measured : dict of (S, F) arrays
        What was measured after training, by name:

        - "training_loss", the loss on the samples trained on;
        - "validation_loss", the loss on the samples held out;
        - ``"validation_"`` + the name of each metric;
        - "epochs_trained", the number of epochs that the measured parameters were trained for;
        - "diverged", a bool. Where it is True, the other numbers are nan.
    monitor : str
        The number by which settings are compared.
    ranks : (S,) int64 array
        Rank 1 is the best setting, by the mean of ``monitor`` over the folds. Of equal settings the
        first is better. Settings whose mean is not finite, such as those that diverged in a fold,
        come last.
    trainer : Trainer or None
        The best setting, trained again on all samples; None with ``refit=False`` or without a best
        setting.
    """

    settings: list[Setting]
    measured: dict[str, npt.NDArray[Any]]
    monitor: str
    ranks: npt.NDArray[np.int64]
    trainer: Trainer | None

    @property
    def best_index(self) -> int | None:
        """The index of the best setting; None if none has a finite ``monitor`` in all folds."""
        i = int(np.argmin(self.ranks))
        return i if np.isfinite(self.measured[self.monitor][i]).all() else None

    @property
    def best(self) -> Setting | None:
        """The best setting; None as for `best_index`."""
        return None if self.best_index is None else self.settings[self.best_index]

    @property
    def columns(self) -> dict[str, Column]:
        """
        A table with a row for each setting and fold: arrays of S F numbers by name.

        Its columns are "setting" and "fold", both counted from 0, the values that were tried, and
        those of `measured`.
        """
        s, f = self.measured[self.monitor].shape
        numbers = np.repeat(np.arange(s), f)
        varied = {name: column[numbers] for name, column in self._varied().items()}
        measured = {name: found.reshape(-1) for name, found in self.measured.items()}
        return {"setting": numbers, "fold": np.tile(np.arange(f), s), **varied, **measured}

    @property
    def summary(self) -> dict[str, Column]:
        """
        A table with a row for each setting: arrays of S numbers by name.

        Its columns are

        - the values that were tried;
        - for everything that was measured the mean and the standard deviation over the folds, with
          "_mean" and "_std" added to its name. The variance is a sum divided by F, not F - 1;
        - "diverged", the number of folds in which the setting diverged;
        - "rank".
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
        Return `columns` or `summary` as a data frame.

        Parameters
        ----------
        summary : bool, default False
            False for `columns`, True for `summary`.

        Returns
        -------
        pandas.DataFrame
            With a row for each setting and fold; or with a row for each setting and the index
            "setting".

        Raises
        ------
        ImportError
            If pandas is not installed.
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
            f"{self.monitor} {elementary.mean(values):.6g} +- {elementary.deviation(values):.2g})"
        )

    def _varied(self) -> dict[str, Column]:
        names = dict.fromkeys(name for setting in self.settings for name in setting)
        return {name: _column([s.get(name) for s in self.settings]) for name in names}


def ranks(values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Rank settings by their values: 1 is the lowest. Inf and nan come last, equals in order."""
    made = np.empty(len(values), np.int64)
    order = np.argsort(np.where(np.isfinite(values), values, np.inf), kind="stable")
    made[order] = 1 + np.arange(len(values))
    return made


def _column(values: list[Any]) -> Column:
    """An array of numbers, or of objects if some values are not numbers."""
    kinds = {type(value) for value in values}
    if kinds <= {int, float} and all(abs(v) < 2**53 for v in values):
        return np.array(values)
    made = np.empty(len(values), object)
    made[:] = values
    return made
