"""What the course of a fit goes by: the optimizer, the order of samples, patience."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from jitprop._types import Array
from jitprop.files import encoding
from jitprop.net.optimizers import Optimizer
from jitprop.net.spec import Spec
from jitprop.net.state import writable


@dataclass
class Descent:
    """
    The optimizer and what it keeps: from one call of ``partial_fit`` to the next.

    So do its settings, as in scikit-learn: those of later calls do not count.
    """

    optimizer: Optimizer
    schedule: str
    learning_rate_init: float
    power_t: float
    learning_rate: float
    """Of the next epoch."""
    slots: Array
    updates: int = 0
    dropout_key: int = 0
    rows: npt.NDArray[np.int64] | None = None
    """The order of presentation, if the next ``fit`` is to go on from it."""

    def rates(self, epochs: int, t: int, n_samples: int) -> npt.NDArray[np.float64]:
        """The learning rates of the next epochs, after t samples were seen."""
        rates = np.full(epochs, self.learning_rate)
        if self.schedule == "invscaling":
            seen = t + n_samples * np.arange(1, epochs)
            rates[1:] = self.learning_rate_init / (seen + 1) ** self.power_t
        return rates

    def plain(self) -> dict[str, Any]:
        """
        Return numbers, texts and arrays alone, for pickles.

        Who opens a file with skops or MLflow then has to trust no class but the estimator's.
        """
        return vars(self) | {"optimizer": encoding.encoded("solver", self.optimizer)}

    @classmethod
    def from_plain(cls, state: dict[str, Any]) -> Descent:
        """Make a descent of what `plain` returned."""
        arrays = {k: writable(v) for k, v in state.items() if isinstance(v, np.ndarray)}
        return cls(**state | arrays | {"optimizer": encoding.decoded(state["optimizer"], {})})


def begin(model: Any, spec: Spec, dtype: np.dtype[Any]) -> Descent:
    """A descent that has not moved yet."""
    rate = float(model.learning_rate_init)
    return Descent(
        optimizer=spec.optimizer,
        schedule=model.learning_rate if model.solver == "sgd" else "constant",
        learning_rate_init=rate,
        power_t=float(model.power_t),
        learning_rate=rate,
        slots=np.zeros((spec.optimizer.n_slots, spec.n_parameters), dtype),
        # Drawn only where it is needed: scikit-learn's generator makes no such step.
        dropout_key=int(model._random_state.randint(2**62)) if any(spec.dropout) else 0,
    )


class Shuffles:
    """
    scikit-learn's orders of presentation: each epoch shuffles the order of the one before.

    Parameters
    ----------
    random : numpy.random.RandomState
    n_samples : int
    wanted : bool
        Whether the order matters to anyone.
    drawn : bool
        Whether the generator must be moved on all the same, since others will draw from it.
    rows : (n_samples,) array or None
        The order of the epoch before the first, instead of the samples' own.
    """

    def __init__(
        self,
        random: np.random.RandomState,
        n_samples: int,
        wanted: bool,
        drawn: bool,
        rows: npt.NDArray[np.int64] | None,
    ) -> None:
        self.random, self.wanted, self.drawn = random, wanted, wanted or drawn
        self.rows = rows if rows is not None and len(rows) == n_samples else np.arange(n_samples)

    def draw(self, epochs: int) -> npt.NDArray[np.int64] | None:
        """The order in each of the next epochs: (epochs, n_samples); or None."""
        order = np.empty((epochs if self.wanted else 0, len(self.rows)), np.int64)
        for epoch in range(epochs if self.drawn else 0):
            self.random.shuffle(self.rows)
            if self.wanted:
                order[epoch] = self.rows
        return order if self.wanted else None

    def mark(self) -> Callable[[], None]:
        """Return a function that comes back to this place."""
        if not self.drawn:
            return lambda: None
        state, rows = self.random.get_state(), self.rows.copy()

        def back() -> None:
            self.random.set_state(state)
            self.rows[:] = rows

        return back


@dataclass
class Patience:
    """How long a loss has not become better: `count` epochs in a row, up to the last told."""

    best: float
    count: int
    tol: float
    limit: float

    def told(self, told: npt.NDArray[np.float64]) -> int | None:
        """Take note of the losses of epochs; which of them is the first to exceed the limit."""
        bests = np.fmin.accumulate(np.concatenate([[self.best], told]))
        worse = told > bests[:-1] - self.tol
        epochs = np.arange(len(told))
        better = np.maximum.accumulate(np.where(worse, -1, epochs))
        counts = np.where(better < 0, self.count + epochs + 1, epochs - better)
        exceeding = np.flatnonzero(counts > self.limit)
        last = int(exceeding[0]) if exceeding.size else len(told) - 1
        self.best, self.count = float(bests[last + 1]), int(counts[last])
        return last if exceeding.size else None
