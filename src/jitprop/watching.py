"""What is looked at after each epoch of a fit: the validation loss, metrics; and who is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from jitprop import checks, kept
from jitprop._types import Array
from jitprop.backends import Backend
from jitprop.callbacks import Callback
from jitprop.evaluation import Evaluation
from jitprop.history import VALIDATION, VALIDATION_LOSS
from jitprop.kept import Kept
from jitprop.mapped import Rows
from jitprop.metrics import Metric
from jitprop.samples import Samples
from jitprop.spec import Spec

if TYPE_CHECKING:
    from jitprop.trainer import Trainer


class Watch:
    """
    The watching of one fit.

    Parameters
    ----------
    trainer : Trainer
    backend : Backend
    spec : Spec
    training : Samples or None
        None where they pass by once.
    validation : Samples or None
    metrics : dict of functions
    callbacks : list of Callback
    before : list of Kept
        What callbacks of the fit before kept, where this one resumes it.

    Raises
    ------
    ValueError
        Where a callback wants a number that there is not, and for metrics without samples.
    """

    def __init__(
        self,
        trainer: Trainer,
        backend: Backend,
        spec: Spec,
        training: Samples | None,
        validation: Samples | None,
        metrics: Mapping[str, Metric],
        callbacks: list[Callback],
        before: Sequence[Kept],
    ) -> None:
        self.trainer, self.callbacks, self.metrics = trainer, callbacks, metrics
        self.before, self.begun = list(before), 0
        self.told = [trainer.epochs_trained] * len(callbacks)
        self.measured = [
            (begin, Evaluation(backend, spec, samples.X), samples, shown(samples.y))
            for begin, samples in (("", training), (VALIDATION, validation))
            if samples is not None and (metrics or begin)
        ]
        if metrics and not self.measured:
            raise ValueError("metrics of a fit from batches need validation_data")
        names = [VALIDATION_LOSS] if validation is not None else []
        self.names = names + [begin + name for begin, *_ in self.measured for name in metrics]
        self.known = ["loss", *self.names, "learning_rate", "seconds"]
        check_monitors(callbacks, self.known)

    def __bool__(self) -> bool:
        """Whether there is anything to do after each epoch."""
        return bool(self.names or self.callbacks)

    def begin(self) -> None:
        """Tell the callbacks that the fit begins, and bring them to where they were."""
        for callback in self.callbacks:
            self.begun += 1
            callback.on_fit_begin(self.trainer)
        for i, callback in enumerate(self.callbacks):
            self._resume(i, callback)
        kept.encoded(self.states())  # what cannot be saved is refused now

    def _resume(self, i: int, callback: Callback) -> None:
        name = type(callback).__qualname__
        found = next((state for state in self.before if state.name == name), None)
        if found is None:
            return
        self.before = [state for state in self.before if state is not found]
        callback.set_state(self.trainer, found.state)
        history = self.trainer.history
        if found.told == self.trainer.epochs_trained - 1 and len(history.loss):
            # Saved or interrupted after this epoch, but before this callback's turn.
            columns = history.columns
            logs = {name: float(columns[name][-1]) for name in self.known if name in columns}
            callback.on_epoch_end(self.trainer, found.told, logs)
        self.told[i] = self.trainer.epochs_trained

    def states(self) -> list[Kept]:
        """What the callbacks keep, as of now."""
        made = []
        for callback, told in zip(self.callbacks, self.told, strict=True):
            state = callback.get_state()
            if state is not None:
                made.append(Kept(type(callback).__qualname__, told, state))
        return made

    def measure(self, params: Array) -> dict[str, float]:
        """The validation loss and the metrics, of the parameters as they are."""
        found = {}
        for begin, net, samples, y in self.measured:
            if begin:
                found[VALIDATION_LOSS] = net.loss(params, samples)
            if self.metrics:
                prediction = read_only(net.predict(params, samples.X))
                with np.errstate(over="ignore", invalid="ignore"):  # divergence is told by the loss
                    for name, metric in self.metrics.items():
                        found[begin + name] = as_number(name, metric(y, prediction))
        return found

    def tell(self, epoch: int, logs: dict[str, float]) -> None:
        """Tell the callbacks of an epoch."""
        for i, callback in enumerate(self.callbacks):
            callback.on_epoch_end(self.trainer, epoch, logs)
            self.told[i] = epoch + 1

    def end(self) -> None:
        """Tell the callbacks that the fit ends."""
        for callback in self.callbacks:
            callback.on_fit_end(self.trainer)

    def fail(self, error: BaseException) -> None:
        """Tell all callbacks that began of an exception, even if one of them raises another."""
        with ExitStack() as stack:
            for callback in reversed(self.callbacks[: self.begun]):
                stack.callback(callback.on_fit_error, self.trainer, error)


def check_monitors(callbacks: Sequence[Callback], known: Sequence[str]) -> None:
    """Refuse callbacks that want a number which a fit does not have."""
    for callback in callbacks:
        monitor = getattr(callback, "monitor", None)
        if isinstance(monitor, str):
            check_monitor(type(callback).__name__, monitor, known)


def check_monitor(who: str, monitor: str, known: Sequence[str]) -> None:
    """Raise a ValueError where somebody wants a number that is not among those known."""
    if monitor not in known:
        needed = "; it needs validation data" if monitor.startswith(VALIDATION) else ""
        raise ValueError(
            f"{who} monitors {monitor!r}, which this fit does not have{needed}; "
            f"it has {', '.join(known)}"
        )


def read_only(array: Array) -> Array:
    """The array, made so that no metric can change what the next one gets."""
    array.flags.writeable = False
    return array


def shown(y: Rows) -> Array:
    """Targets as metrics get them: labels are ints, and nothing can be written to."""
    return read_only(y[:].astype(np.int64) if y.ndim == 1 else y[:])


def as_number(name: str, value: Any) -> float:
    """What a metric returned: a real number, or an array of one."""
    came = checks.shown(value)
    try:
        if isinstance(value, np.ndarray):
            came = f"an array of shape {value.shape}"
            value = value.item()
        if not isinstance(value, str | bytes):  # float would read text
            return float(value)
    except (TypeError, ValueError):
        pass
    raise TypeError(f"metric {name!r} must return a number; got {came}")
