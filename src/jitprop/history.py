"""What `Trainer.fit` returns and `Trainer.history` holds, and how it is written during a fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from jitprop import cast

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

Numbers = npt.NDArray[np.float64]

VALIDATION = "validation_"
"""What the names of numbers begin with that are computed on the validation data."""

VALIDATION_LOSS = VALIDATION + "loss"

PARTS = 64
"""Histories of single fits that a trainer keeps as they are: joining two takes 20 us."""


@dataclass(frozen=True, eq=False)
class History:
    """
    The course of one `Trainer.fit`, or of all of them: arrays with one entry an epoch.

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
        from jitprop import plot

        return plot.loss_curves(self, ax)

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


def join(histories: Sequence[History]) -> History:
    """One history after the other; nan for what one of them lacks."""
    if len(histories) == 1:
        return histories[0]

    def joined(parts: Iterable[Numbers]) -> Numbers:
        return np.concatenate([np.empty(0), *parts])

    names = dict.fromkeys(name for history in histories for name in history.metrics)
    return History(
        joined(h.loss for h in histories),
        joined(h.validation_loss for h in histories),
        {
            name: joined(h.metrics.get(name, missing(len(h.loss))) for h in histories)
            for name in names
        },
        joined(h.learning_rate for h in histories),
        joined(h.seconds for h in histories),
    )


def keep(course: list[History | Record], history: History) -> None:
    """
    Append to the course of a trainer.

    Of many parts the last are joined, as far back as the joined part is not the shorter one: a
    million short fits leave few parts, and none was copied more than some ten times.
    """
    course.append(history)
    if len(course) <= PARTS:
        return
    first, epochs = len(course), 0
    while first > 0 and isinstance(part := course[first - 1], History):
        if first < len(course) and len(part.loss) > epochs:
            break
        first, epochs = first - 1, epochs + len(part.loss)
    course[first:] = [join([part for part in course[first:] if isinstance(part, History)])]


def missing(n: int) -> Numbers:
    """A column of which there is nothing."""
    return np.broadcast_to(np.nan, n)  # takes no memory


class Record:
    """
    A history while it is written: arrays for all epochs of a fit.

    Attributes
    ----------
    loss, learning_rate, seconds : (epochs,) float64 arrays
    watched : dict of (epochs,) float64 arrays
        The validation loss and metrics, where the fit has them.
    done : int
        Epochs that are trained and kept, with all their numbers.
    """

    def __init__(self, epochs: int, watched: Iterable[str]) -> None:
        self.loss = cast.zeros("epochs", (epochs,), np.float64)
        self.learning_rate = cast.zeros("epochs", (epochs,), np.float64)
        self.seconds = cast.zeros("epochs", (epochs,), np.float64)
        self.watched = {name: cast.zeros("epochs", (epochs,), np.float64) for name in watched}
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
