"""What `Trainer.fit` returns and `Trainer.history` holds, and how it is written during a fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from jitprop.data import cast

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

Numbers = npt.NDArray[np.float64]

VALIDATION = "validation_"
"""What the names of numbers begin with that are computed on the validation data."""

VALIDATION_LOSS = VALIDATION + "loss"

ALWAYS = "loss", "learning_rate", "seconds"
"""Columns that every history has."""


@dataclass(frozen=True, eq=False)
class History:
    """
    The course of one `Trainer.fit`, or of all of them: arrays with one entry an epoch.

    The arrays are read-only, since they are the trainer's own memory; ``loss.copy()`` is yours.

    Attributes
    ----------
    loss : (epochs,) float64 array
        The loss over all samples of each epoch, their mean or sum as ``reduction`` says. Each
        batch is taken before its own update, so with full batches ``loss[0]`` is that of the
        initial parameters.
    validation_loss : (epochs,) float64 array
        The loss on the validation data after each epoch; nan where there were none.
    metrics : dict of (epochs,) float64 arrays
        Each metric by its name, after each epoch, on the training data; and beside it
        ``"validation_" + name`` on the validation data. nan in epochs of fits without it.
    learning_rate : (epochs,) float64 array
    seconds : (epochs,) float64 array
        Of training, validation and metrics, not of callbacks. Epochs that were trained in one
        block, as all are where nothing is watched, share its time evenly.
    """

    loss: Numbers
    validation_loss: Numbers
    metrics: Mapping[str, Numbers]
    learning_rate: Numbers
    seconds: Numbers

    def __post_init__(self) -> None:
        for name in (*ALWAYS, VALIDATION_LOSS):
            object.__setattr__(self, name, read_only(getattr(self, name)))
        metrics = {name: read_only(column) for name, column in self.metrics.items()}
        object.__setattr__(self, "metrics", metrics)

    @property
    def columns(self) -> dict[str, Numbers]:
        """All of them by name, as callbacks get them; no validation loss where none was taken."""
        validated = (
            {} if np.isnan(self.validation_loss).all() else {VALIDATION_LOSS: self.validation_loss}
        )
        return {
            "loss": self.loss,
            **validated,
            **self.metrics,
            "learning_rate": self.learning_rate,
            "seconds": self.seconds,
        }

    def to_frame(self) -> pd.DataFrame:
        """
        The same as a table: a row for each epoch, a column for each number.

        Returns
        -------
        pandas.DataFrame
            Its index, "epoch", counts from 0.

        Raises
        ------
        ImportError
            Without pandas.
        """
        return frame(self.columns, "epoch")

    def plot(self, ax: Axes | None = None) -> Axes:
        """
        Draw it: `jitprop.plot.loss_curves`.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a new figure if None.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        ValueError
            Where there is no epoch.
        ImportError
            Without matplotlib.
        """
        from jitprop.plot import curves  # needs matplotlib, as most fits do not

        return curves.loss_curves(self, ax)

    def __repr__(self) -> str:
        n = len(self.loss)
        course = f", loss {self.loss[0]:.6g} -> {self.loss[-1]:.6g}" if n else ""
        return f"History({n} epochs{course})"


def frame(columns: Mapping[str, Any], rows: str | None = None) -> pd.DataFrame:
    """Columns as a data frame; its index, which counts from 0, has the name ``rows``."""
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError("to_frame needs pandas: pip install 'jitprop[frame]'") from error
    made = pd.DataFrame(columns)
    made.index.name = rows
    return made


def read_only(column: Numbers) -> Numbers:
    """A view that cannot be written through."""
    view = column[:]
    view.flags.writeable = False
    return view


def missing(n: int) -> Numbers:
    """A column of which there is nothing."""
    return np.broadcast_to(np.nan, n)  # takes no memory


class Record:
    """
    The history of one fit, while it is written.

    Parameters
    ----------
    columns : dict of (epochs,) float64 arrays
        To be written to: one for each name in `ALWAYS`, and one for each number that is watched.

    Attributes
    ----------
    loss, learning_rate, seconds : (epochs,) float64 arrays
    watched : dict of (epochs,) float64 arrays
        The validation loss and metrics, where the fit has them.
    done : int
        Epochs that are trained and kept, with all their numbers.
    """

    def __init__(self, columns: Mapping[str, Numbers]) -> None:
        self.watched = dict(columns)
        self.loss, self.learning_rate, self.seconds = (self.watched.pop(n) for n in ALWAYS)
        self.done = 0

    def logs(self, epoch: int) -> dict[str, float]:
        """The numbers of one epoch, by name."""
        columns = {
            "loss": self.loss,
            **self.watched,
            "learning_rate": self.learning_rate,
            "seconds": self.seconds,
        }
        return {name: float(column[epoch]) for name, column in columns.items()}

    def history(self, epochs: int | None = None) -> History:
        """The history of the first epochs; without a number, of those that are done."""
        n = self.done if epochs is None else epochs
        watched = {name: column[:n] for name, column in self.watched.items()}
        validation_loss = watched.pop(VALIDATION_LOSS, missing(n))
        return History(
            self.loss[:n], validation_loss, watched, self.learning_rate[:n], self.seconds[:n]
        )


class Written(NamedTuple):
    """
    Columns of which a part is written: epochs ``start`` to ``stop``, and after these a fit's.

    Attributes
    ----------
    columns : dict of (room,) float64 arrays
    start, stop : int
    record : Record or None
        Of the fit under way, whose arrays are views of the columns, from ``stop`` on.
    before : Written or None
        What there was before that fit.
    """

    columns: Mapping[str, Numbers]
    start: int
    stop: int
    record: Record | None = None
    before: Written | None = None


class Course:
    """
    The course of all fits of a trainer.

    The columns have room at their end for epochs to come, twice as much each time it is used up:
    to add an epoch, and to look at the last one, takes the same time after a million of them. What
    was written is never changed, so that a history may be a view of it.

    Parameters
    ----------
    limit : int or None
        How many of the last epochs are kept; None is all.
    history : History, optional
        To begin with.
    """

    def __init__(self, limit: int | None = None, history: History | None = None) -> None:
        self.limit = limit
        if history is None:
            history = Record({name: np.empty(0) for name in ALWAYS}).history()
        columns, n = _columns(history), len(history.loss)
        # One assignment: another thread sees the one or the other.
        self._now = Written(columns, self._first(0, n), n)

    def begin(self, epochs: int, watched: Iterable[str]) -> Record:
        """
        Make room for a fit.

        Raises
        ------
        ValueError
            Where there is not as much memory.
        """
        columns, start, stop, *_ = before = self._now
        names = list(dict.fromkeys([*columns, *watched]))
        room, done = len(columns["loss"]), stop - start
        if room - stop < epochs or len(names) > len(columns):
            room = done + max(epochs, done)
            made = {name: cast.zeros("epochs", (room,), np.float64) for name in names}
            for name, column in made.items():
                column[:done] = columns[name][start:stop] if name in columns else np.nan
            columns, start, stop = made, 0, done
        parts = {name: columns[name][stop : stop + epochs] for name in names}
        written = {*ALWAYS, *watched}
        for name in names:
            if name not in written:
                parts.pop(name)[:] = np.nan
        record = Record(parts)
        self._now = Written(columns, start, stop, record, before)
        return record

    def end(self, done: int | None = None) -> None:
        """Keep the epochs of the fit under way that are done, or the first ``done`` of them."""
        columns, start, stop, record, before = self._now
        if record is None or before is None:
            return
        n = record.done if done is None else done
        if n == 0:
            columns, start, stop, *_ = before
        stop += n
        start = self._first(start, stop)
        if len(columns["loss"]) > 2 * (stop - start):
            columns = {name: column[start:stop].copy() for name, column in columns.items()}
            start, stop = 0, stop - start
        elif n < len(record.loss):
            # Somebody may have seen what is written behind it, which is not to be written over.
            columns = {name: column[:stop] for name, column in columns.items()}
        self._now = Written(columns, start, stop)

    def history(self, done: int | None = None) -> History:
        """All fits; of one under way those epochs that are done, or the first ``done``."""
        columns, start, stop, record, _ = self._now
        if record is not None:
            stop += record.done if done is None else done
        kept = slice(self._first(start, stop), stop)
        parts = {name: column[kept] for name, column in columns.items()}
        always = {name: parts.pop(name) for name in ALWAYS}
        validation_loss = parts.pop(VALIDATION_LOSS, missing(len(always["loss"])))
        return History(**always, validation_loss=validation_loss, metrics=parts)

    def _first(self, start: int, stop: int) -> int:
        """Where that begins which is kept."""
        return start if self.limit is None else max(start, stop - self.limit)

    def __getstate__(self) -> dict[str, Any]:
        # Views are pickled and copied without what is behind them.
        return {"limit": self.limit, "history": self.history()}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


def _columns(history: History) -> dict[str, Numbers]:
    """As a `Course` has them: without a validation loss where none was taken."""
    columns = {name: getattr(history, name) for name in ALWAYS} | dict(history.metrics)
    if not np.isnan(history.validation_loss).all():
        columns[VALIDATION_LOSS] = history.validation_loss
    return columns
