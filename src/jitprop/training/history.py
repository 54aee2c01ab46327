"""The history of training: what `Trainer.fit` returns, and how a fit writes it."""

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
"""Names of numbers that are computed on the validation data begin with this."""

VALIDATION_LOSS = VALIDATION + "loss"

FEW_EPOCHS = 16
"""Room in a history that begins to grow by one epoch at a time."""

ALWAYS = "loss", "learning_rate", "seconds"
"""The columns that every history has."""


@dataclass(frozen=True, eq=False)
class History:
    """
    The history of one `Trainer.fit`, or of all of them: arrays with one entry for each epoch.

    The arrays are the trainer's own memory, so they are read-only. ``loss.copy()`` gives you a
    copy that you can change.

    Attributes
    ----------
    loss : (epochs,) float64 array
        The training loss of each epoch: the mean or the sum over all samples, as ``reduction``
        says. The loss of a batch is computed before the batch's own update. So with full batches
        ``loss[0]`` is the loss of the initial parameters. With a second-order method, such as
        `LevenbergMarquardt`, it is the loss after the epoch's step.
    validation_loss : (epochs,) float64 array
        The loss on the validation data after each epoch. It is nan in epochs of fits without
        validation data.
    metrics : dict of (epochs,) float64 arrays
        Each metric after each epoch. ``name`` is the metric on the training data, and
        ``"validation_" + name`` is the metric on the validation data. A metric is nan in epochs of
        fits that did not compute it. A second-order method has its own numbers here, such as
        "damping".
    learning_rate : (epochs,) float64 array
        The learning rate of each epoch; with an `EachUpdate`, that of each epoch's first update.
    seconds : (epochs,) float64 array
        The time of each epoch, with validation and metrics, but without callbacks. Without metrics
        and callbacks of your own, epochs are trained in blocks, and each epoch has an equal
        share of the block's time.
    ended : str
        Why a second-order method has ended by itself, in the last epoch or before the next one. It
        is "" if it has not, and for all other optimizers.
    """

    loss: Numbers
    validation_loss: Numbers
    metrics: Mapping[str, Numbers]
    learning_rate: Numbers
    seconds: Numbers
    ended: str = ""

    def __post_init__(self) -> None:
        for name in (*ALWAYS, VALIDATION_LOSS):
            object.__setattr__(self, name, read_only(getattr(self, name)))
        metrics = {name: read_only(column) for name, column in self.metrics.items()}
        object.__setattr__(self, "metrics", metrics)

    @property
    def columns(self) -> dict[str, Numbers]:
        """All columns by name. The validation loss is left out if no epoch has one."""
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
        Return the history as a table, with a row for each epoch and a column for each number.

        Returns
        -------
        pandas.DataFrame
            Its index is named "epoch" and counts from 0.

        Raises
        ------
        ImportError
            If pandas cannot be imported.
        """
        return frame(self.columns, "epoch")

    def plot(self, ax: Axes | None = None) -> Axes:
        """
        Draw the losses with `jitprop.plot.loss_curves`.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            The axes to draw on. With None a new figure is made.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        ValueError
            If the history has no epoch.
        ImportError
            If matplotlib cannot be imported.
        """
        from jitprop.plot import curves  # it needs matplotlib, which most fits do not

        return curves.loss_curves(self, ax)

    def __repr__(self) -> str:
        n = len(self.loss)
        course = f", loss {self.loss[0]:.6g} -> {self.loss[-1]:.6g}" if n else ""
        ended = f", ended: {self.ended}" if self.ended else ""
        return f"History({n} epochs{course}{ended})"


def frame(columns: Mapping[str, Any], rows: str | None = None) -> pd.DataFrame:
    """Return a data frame of these columns. Its index counts from 0 and is named ``rows``."""
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError("to_frame needs pandas: pip install 'jitprop[frame]'") from error
    made = pd.DataFrame(columns)
    made.index.name = rows
    return made


def read_only(column: Numbers) -> Numbers:
    """Return a read-only view."""
    view = column[:]
    view.flags.writeable = False
    return view


def missing(n: int) -> Numbers:
    """Return a column of n nan, for numbers that were not computed."""
    return np.broadcast_to(np.nan, n)  # it takes no memory


class Record:
    """
    The history of one fit, while the fit writes it.

    Parameters
    ----------
    columns : dict of (epochs,) float64 arrays
        The fit writes to these arrays. There is one for each name in `ALWAYS`, and one for each
        number that is watched or that the optimizer tells.

    Attributes
    ----------
    loss, learning_rate, seconds : (epochs,) float64 arrays
    watched : dict of (epochs,) float64 arrays
        The validation loss, the metrics and what the optimizer tells, if the fit has them.
    done : int
        The number of epochs that are trained and kept, with all their numbers.
    ended : str
        Why a second-order method has ended: see `History`.
    """

    ended = ""

    def __init__(self, columns: Mapping[str, Numbers]) -> None:
        self.watched = dict(columns)
        self.loss, self.learning_rate, self.seconds = (self.watched.pop(n) for n in ALWAYS)
        self.done = 0

    def logs(self, epoch: int) -> dict[str, float]:
        """Return the numbers of one epoch, by name."""
        columns = {
            "loss": self.loss,
            **self.watched,
            "learning_rate": self.learning_rate,
            "seconds": self.seconds,
        }
        return {name: float(column[epoch]) for name, column in columns.items()}

    def history(self, epochs: int | None = None) -> History:
        """Return the history of the first ``epochs`` epochs, or of all that are done."""
        n = self.done if epochs is None else epochs
        watched = {name: column[:n] for name, column in self.watched.items()}
        validation_loss = watched.pop(VALIDATION_LOSS, missing(n))
        rates, seconds = self.learning_rate[:n], self.seconds[:n]
        return History(self.loss[:n], validation_loss, watched, rates, seconds, self.ended)


class Written(NamedTuple):
    """
    The columns of a `Course`, and which part of them is written.

    Attributes
    ----------
    columns : dict of (room,) float64 arrays
    start, stop : int
        ``columns[name][start:stop]`` has the epochs of the fits that have ended.
    written : (1,) int64 array
        ``stop``. An array, so that a kernel can count in the same moment in which it writes.
    record : Record or None
        The record of the current fit. Its arrays are views of the columns, from ``stop`` on.
    before : Written or None
        The columns as they were before the current fit.
    """

    columns: Mapping[str, Numbers]
    start: int
    written: npt.NDArray[np.int64]
    record: Record | None = None
    before: Written | None = None

    @property
    def stop(self) -> int:
        """See above."""
        return int(self.written[0])


class Room(NamedTuple):
    """
    Where a kernel writes the next epoch.

    Attributes
    ----------
    losses, rates, seconds : (room,) float64 arrays
        The columns of the history.
    written : (1,) int64 array
        How many epochs stand in them.
    place : int
        Where the next one is written.
    """

    losses: Numbers
    rates: Numbers
    seconds: Numbers
    written: npt.NDArray[np.int64]
    place: int

    def history(self) -> History:
        """Return the history of the one epoch that was written here."""
        one = slice(self.place, self.place + 1)
        return History(self.losses[one], missing(1), {}, self.rates[one], self.seconds[one])


class Course:
    """
    The history of all fits of a trainer.

    The columns have room for later epochs at their end. When it is used up, they grow to at least
    twice the kept epochs. So adding an epoch takes no longer after a million epochs than after a
    few, and neither does reading the last one. Numbers that were written never change, so a history
    can be a view of them.

    Parameters
    ----------
    limit : int or None
        How many of the last epochs are kept. None keeps all.
    history : History, optional
        The history to begin with.
    """

    def __init__(self, limit: int | None = None, history: History | None = None) -> None:
        self.limit = limit
        if history is None:
            history = Record({name: np.empty(0) for name in ALWAYS}).history()
        columns, n = _columns(history), len(history.loss)
        # This is one assignment, so that another thread sees either the old or the new state.
        self._now = Written(columns, self._first(0, n), np.array([n]))

    def begin(self, epochs: int, watched: Iterable[str]) -> Record:
        """
        Make room for a fit, and return the record that the fit writes to.

        Raises
        ------
        ValueError
            If there is not enough memory.
        """
        columns, start, *_ = before = self._now
        stop = before.stop
        names = list(dict.fromkeys([*columns, *watched]))
        if len(columns["loss"]) - stop < epochs or len(names) > len(columns):
            columns = self._grown(names, epochs)
            start, stop = 0, stop - start
        parts = {name: columns[name][stop : stop + epochs] for name in names}
        written = {*ALWAYS, *watched}
        for name in names:
            if name not in written:
                parts.pop(name)[:] = np.nan
        record = Record(parts)
        self._now = Written(columns, start, np.array([stop]), record, before)
        return record

    def _grown(self, names: Iterable[str], epochs: int) -> dict[str, Numbers]:
        """Return columns of these names with room for more epochs, and at least for twice."""
        columns, start, *_ = self._now
        stop = self._now.stop
        done = stop - start
        room = done + max(epochs, done)
        made = {name: cast.zeros("epochs", (room,), np.float64) for name in names}
        for name, column in made.items():
            column[:done] = columns[name][start:stop] if name in columns else np.nan
        return made

    def room(self) -> Room | None:
        """
        Return where a kernel may write one epoch.

        None if the history has columns that a kernel does not write, or during a fit.
        """
        now = self._now
        if now.record is not None or len(now.columns) != len(ALWAYS):
            return None
        if now.written[0] == len(now.columns["loss"]):
            now = now._replace(start=self._first(now.start, now.stop))
            self._now = now
            done = now.stop - now.start
            self._now = now = Written(self._grown(ALWAYS, FEW_EPOCHS), 0, np.array([done]))
        columns = now.columns
        loss, rate, seconds = (columns[name] for name in ALWAYS)
        return Room(loss, rate, seconds, now.written, now.stop)

    def end(self, done: int | None = None) -> None:
        """End the current fit. Keep the epochs that are done, or the first ``done`` of them."""
        columns, start, _, record, before = self._now
        if record is None or before is None:
            return
        stop = self._now.stop
        n = record.done if done is None else done
        if n == 0:
            columns, start, *_ = before
            stop = before.stop
        stop += n
        start = self._first(start, stop)
        if len(columns["loss"]) > 2 * (stop - start):
            columns = {name: column[start:stop].copy() for name, column in columns.items()}
            start, stop = 0, stop - start
        elif n < len(record.loss):
            # A history may be a view of the later epochs too, so these are not overwritten.
            columns = {name: column[:stop] for name, column in columns.items()}
        self._now = Written(columns, start, np.array([stop]))

    def history(self, done: int | None = None) -> History:
        """Return all fits. Of the current fit it has the epochs done, or the first ``done``."""
        now = self._now
        columns, start, _, record, _ = now
        stop = now.stop
        if record is not None:
            stop += record.done if done is None else done
        kept = slice(self._first(start, stop), stop)
        parts = {name: column[kept] for name, column in columns.items()}
        always: dict[str, Any] = {name: parts.pop(name) for name in ALWAYS}
        validation_loss = parts.pop(VALIDATION_LOSS, missing(len(always["loss"])))
        return History(**always, validation_loss=validation_loss, metrics=parts)

    def _first(self, start: int, stop: int) -> int:
        """Return the index of the first epoch that is kept."""
        return start if self.limit is None else max(start, stop - self.limit)

    def __getstate__(self) -> dict[str, Any]:
        # A history has views of the kept epochs alone, so a pickle does not have the empty room.
        return {"limit": self.limit, "history": self.history()}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


def _columns(history: History) -> dict[str, Numbers]:
    """Return the columns of a history, without the validation loss if no epoch has one."""
    columns = {name: getattr(history, name) for name in ALWAYS} | dict(history.metrics)
    if not np.isnan(history.validation_loss).all():
        columns[VALIDATION_LOSS] = history.validation_loss
    return columns
