"""
Learning rates: one for all epochs, or a schedule with one for each epoch.

Epochs are counted from 0 over all calls of `Trainer.fit`. So a resumed fit resumes its schedule.
A schedule gives the same bits on every machine; a function of your own may call what does not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from jitprop import checks, elementary
from jitprop.hints import hinting_class

Rates: TypeAlias = npt.NDArray[np.float64]

EPOCHS_AT_ONCE = 4096
"""So many rates are computed at a time, so that temporary arrays stay in the cache."""


@dataclass(frozen=True)
class Schedule:
    """The base of all schedules: a learning rate for each epoch, counted from 0."""

    def __call__(self, epoch: float) -> float:
        """Return the learning rate of one epoch. Inside an epoch, ``epoch`` is a fraction."""
        return float(self._rates(np.array([epoch], np.float64))[0])

    def rates(self, start: int, stop: int) -> Rates:
        """Return the rates of epochs ``start`` to ``stop - 1``: (stop - start,) float64."""
        return self._rates(np.arange(start, stop, dtype=np.float64))

    def _rates(self, epochs: Rates) -> Rates:
        # `fill` reports an overflow, since it can name the epoch.
        with np.errstate(over="ignore", under="ignore"):
            return self._at(epochs)

    def _at(self, epochs: Rates) -> Rates:
        raise NotImplementedError

    def _check(self, name: str, **bounds: float) -> None:
        object.__setattr__(self, name, checks.number(name, getattr(self, name), **bounds))

    def _check_integer(self, name: str, *, low: int, high: int = checks.MOST) -> None:
        checked = checks.integer(name, getattr(self, name), low=low, high=high)
        object.__setattr__(self, name, checked)


@hinting_class
@dataclass(frozen=True)
class Step(Schedule):
    """
    A rate that changes by a factor every few epochs: initial factor**floor(epoch / every).

    Parameters
    ----------
    initial : float
        The first rate, above 0.
    every : int
        The number of epochs with the same rate, at least 1.
    factor : float, default 0.1
        Above 0.

    Raises
    ------
    TypeError, ValueError
        For any other value, naming the argument.

    References
    ----------
    PyTorch's StepLR, where ``every`` is called step_size and ``factor`` gamma.

    Examples
    --------
    >>> from jitprop import Step, Trainer
    >>> schedule = Step(0.5, every=2)
    >>> [schedule(epoch) for epoch in range(4)]
    [0.5, 0.5, 0.05, 0.05]
    >>> trainer = Trainer([2, 3, 1], learning_rate=schedule)
    """

    initial: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        self._check("initial", above=0.0)
        self._check_integer("every", low=1)
        self._check("factor", above=0.0)

    def _at(self, epochs: Rates) -> Rates:
        factors: Rates = elementary.power(self.factor, epochs // self.every)
        return self.initial * factors


@hinting_class
@dataclass(frozen=True)
class Exponential(Schedule):
    """
    A rate that changes by the same factor after each epoch: initial factor**epoch.

    Parameters
    ----------
    initial : float
        The first rate, above 0.
    factor : float
        Above 0.

    Raises
    ------
    TypeError, ValueError
        For any other value, naming the argument.

    References
    ----------
    PyTorch's ExponentialLR, where ``factor`` is called gamma.

    Examples
    --------
    >>> from jitprop import Exponential
    >>> schedule = Exponential(0.5, factor=0.5)
    >>> [schedule(epoch) for epoch in range(3)]
    [0.5, 0.25, 0.125]
    """

    initial: float
    factor: float

    def __post_init__(self) -> None:
        self._check("initial", above=0.0)
        self._check("factor", above=0.0)

    def _at(self, epochs: Rates) -> Rates:
        factors: Rates = elementary.power(self.factor, epochs)
        return self.initial * factors


@hinting_class
@dataclass(frozen=True)
class InverseScaling(Schedule):
    """
    A rate that falls with a power of the epoch: initial / (epoch + 1)**power.

    Parameters
    ----------
    initial : float
        The first rate, above 0.
    power : float, default 0.5
        Above 0.

    Raises
    ------
    TypeError, ValueError
        For any other value, naming the argument.

    References
    ----------
    scikit-learn's ``learning_rate="invscaling"``, which counts samples instead of epochs. Powers
    from 1/2 to 1 are the classical choice for stochastic gradients: Bottou, Curtis and Nocedal,
    *Optimization Methods for Large-Scale Machine Learning*, SIAM Review 60, 2018.

    Examples
    --------
    >>> from jitprop import InverseScaling
    >>> schedule = InverseScaling(0.5, power=1)
    >>> [schedule(epoch) for epoch in (0, 1, 4)]
    [0.5, 0.25, 0.1]
    """

    initial: float
    power: float = 0.5

    def __post_init__(self) -> None:
        self._check("initial", above=0.0)
        self._check("power", above=0.0)

    def _at(self, epochs: Rates) -> Rates:
        divisors: Rates = elementary.power(epochs + 1, self.power)
        return self.initial / divisors


def _half_wave(start: float, end: float, share: Rates) -> Rates:
    """Go from ``start`` to ``end`` along half a cosine wave, as ``share`` goes from 0 to 1."""
    cosines: Rates = elementary.cos_pi(share)
    return end + (start - end) / 2 * (1 + cosines)


@hinting_class
@dataclass(frozen=True)
class Cosine(Schedule):
    """
    A rate that falls from ``peak`` to ``final`` along half a cosine wave, after a linear warm-up.

    With n epochs, w of which are the warm-up, epoch e has the rate

    - peak (e + 1) / (w + 1) where e < w: no epoch has rate 0, and epoch w is the first at the peak;
    - final + (peak - final) (1 + cos(pi (e - w) / (n - w))) / 2 where w <= e < n;
    - final where e >= n.

    Parameters
    ----------
    peak : float
        The largest rate, above 0.
    epochs : int
        The number of epochs, warm-up included. Above ``warmup``.
    final : float, default 0.0
        The last rate, at least 0.
    warmup : int, default 0
        The number of epochs of the warm-up, at least 0.

    Raises
    ------
    TypeError, ValueError
        For any other value, naming the argument.

    References
    ----------
    Loshchilov and Hutter, *SGDR: Stochastic Gradient Descent with Warm Restarts*,
    arXiv:1608.03983, equation 5, without restarts. PyTorch's CosineAnnealingLR is the same until
    epoch n, and rises again after it. The warm-up is that of Goyal et al., *Accurate, Large
    Minibatch SGD*, arXiv:1706.02677, section 2.2.

    Examples
    --------
    >>> from jitprop import Cosine
    >>> schedule = Cosine(0.5, epochs=5, warmup=1)
    >>> [round(schedule(epoch), 3) for epoch in range(6)]
    [0.25, 0.5, 0.427, 0.25, 0.073, 0.0]
    """

    peak: float
    epochs: int
    final: float = 0.0
    warmup: int = 0

    def __post_init__(self) -> None:
        self._check("peak", above=0.0)
        self._check_integer("warmup", low=0)
        self._check_integer("epochs", low=self.warmup + 1)
        self._check("final", low=0.0)

    def _at(self, epochs: Rates) -> Rates:
        share = (epochs - self.warmup) / (self.epochs - self.warmup)
        falling = _half_wave(self.peak, self.final, np.clip(share, 0, 1))
        rising = self.peak * (epochs + 1) / (self.warmup + 1)
        return np.where(epochs < self.warmup, rising, falling)


@hinting_class
@dataclass(frozen=True)
class OneCycle(Schedule):
    """
    A rate that rises to ``peak`` and falls to almost 0, both along half a cosine wave.

    The rate begins at peak / initial_divisor in epoch 0 and reaches ``peak`` in epoch
    ``rise * epochs - 1``. Where that is 0 or less, it begins at ``peak``. It then falls to
    peak / initial_divisor / final_divisor in epoch ``epochs - 1``, and stays there.

    Parameters
    ----------
    peak : float
        The largest rate, above 0.
    epochs : int
        The number of epochs, at least 2.
    rise : float, default 0.3
        The share of the epochs in which the rate rises, above 0 and below 1.
    initial_divisor : float, default 25.0
        Above 0.
    final_divisor : float, default 1e4
        Above 0.

    Raises
    ------
    TypeError, ValueError
        For any other value, naming the argument.

    References
    ----------
    Smith and Topin, *Super-Convergence: Very Fast Training of Neural Networks Using Large Learning
    Rates*, arXiv:1708.07120, in the form of PyTorch's OneCycleLR with one step an epoch. PyTorch
    calls ``rise`` pct_start and the divisors div_factor and final_div_factor.

    Examples
    --------
    >>> from jitprop import OneCycle
    >>> schedule = OneCycle(0.5, epochs=10)
    >>> [round(schedule(epoch), 3) for epoch in range(10)]
    [0.02, 0.26, 0.5, 0.475, 0.406, 0.306, 0.194, 0.094, 0.025, 0.0]
    """

    peak: float
    epochs: int
    rise: float = 0.3
    initial_divisor: float = 25.0
    final_divisor: float = 1e4

    def __post_init__(self) -> None:
        self._check("peak", above=0.0)
        self._check_integer("epochs", low=2)
        self._check("rise", above=0.0, below=1.0)
        self._check("initial_divisor", above=0.0)
        self._check("final_divisor", above=0.0)

    def _at(self, epochs: Rates) -> Rates:
        initial = self.peak / self.initial_divisor
        top, last = max(0.0, self.rise * self.epochs - 1), self.epochs - 1
        falling = np.clip((epochs - top) / (last - top), 0, 1)
        rates = _half_wave(self.peak, initial / self.final_divisor, falling)
        rising = epochs < top
        rates[rising] = _half_wave(initial, self.peak, epochs[rising] / top)
        return rates


@hinting_class
@dataclass(frozen=True)
class CosineLog(Schedule):
    """
    A rate that rises and falls in cosine waves, each of which takes longer than the one before.

    With n epochs and c cycles, epoch e has the rate

    - initial (1 - cos(2 pi log2(1 + (2**c - 1) t))) / 2, where t = e / n;
    - 0 where e >= n.

    Each wave begins and ends at 0, and has ``initial`` in its middle. It takes twice as long as the
    one before. The first rate is 0. So use it as ``EachUpdate(CosineLog(...))``: then only the
    first update has this rate, and not the whole first epoch.

    Parameters
    ----------
    initial : float
        The largest rate, above 0.
    epochs : int
        The number of epochs, at least 1.
    cycles : int, default 4
        The number of waves, from 1 to 50.

    Raises
    ------
    TypeError, ValueError
        For any other value, naming the argument.

    References
    ----------
    Holzmueller, Grinsztajn and Steinwart, *Better by Default: Strong Pre-Tuned MLPs and Boosted
    Trees on Tabular Data*, NeurIPS 2024, arXiv:2407.04491, which calls it coslog4.

    Examples
    --------
    >>> from jitprop import CosineLog
    >>> schedule = CosineLog(0.5, epochs=6, cycles=2)
    >>> [round(schedule(epoch), 3) for epoch in range(7)]
    [0.0, 0.465, 0.0, 0.359, 0.465, 0.162, 0.0]
    """

    initial: float
    epochs: int
    cycles: int = 4

    def __post_init__(self) -> None:
        self._check("initial", above=0.0)
        self._check_integer("epochs", low=1)
        self._check_integer("cycles", low=1, high=50)

    def _at(self, epochs: Rates) -> Rates:
        share = np.minimum(epochs / self.epochs, 1)
        waves = elementary.log(1 + (2**self.cycles - 1) * share) / elementary.log(2.0)
        cosines: Rates = elementary.cos_pi(2 * waves)
        return np.where(share < 1, self.initial / 2 * (1 - cosines), 0.0)


@hinting_class
@dataclass(frozen=True)
class EachUpdate(Schedule):
    """
    A schedule that is asked before each update, and not once for each epoch.

    The rate of batch b of an epoch, both counted from 0, is ``schedule(epoch + b / n_batches)``.

    In `History.learning_rate` and in the ``logs`` of callbacks, each epoch has the rate of its
    first update. The number of batches must be known: a fit from batches that come one by one
    refuses this schedule.

    Parameters
    ----------
    schedule : schedule or callable
        A `Step`, `Exponential`, `InverseScaling`, `Cosine`, `OneCycle` or `CosineLog`. Or a
        function that takes the epoch as a float, with its fraction, and returns a rate of at least
        0. It is called once for each update, before the epoch is trained.

    Raises
    ------
    TypeError
        For anything else, and for a `ReduceOnPlateau`, which looks at the loss of whole epochs.

    Examples
    --------
    >>> from jitprop import Cosine, EachUpdate, Trainer
    >>> trainer = Trainer(
    ...     [1, 1], learning_rate=EachUpdate(Cosine(0.5, epochs=2)), batch_size=1, seed=0
    ... )
    >>> history = trainer.fit([[0.0], [1.0]], [0.0, 1.0], epochs=2)  # rates 0.5, 0.43, 0.25, 0.07
    >>> history.learning_rate.tolist()
    [0.5, 0.25]
    """

    schedule: Schedule | Callable[[float], float]

    def __post_init__(self) -> None:
        given: Any = self.schedule
        if isinstance(given, ReduceOnPlateau):
            raise TypeError(
                "schedule cannot be a ReduceOnPlateau: it looks at the loss after each epoch, so "
                "its rate cannot change at each update"
            )
        if isinstance(given, EachUpdate | type) or not callable(given):
            hint = ": write the class with its settings" if isinstance(given, type) else ""
            raise TypeError(
                "schedule must be a schedule such as Cosine(0.1, epochs=100), or a function of the "
                f"epoch; got {checks.shown(given)}{hint}"
            )

    def _at(self, epochs: Rates) -> Rates:
        if isinstance(self.schedule, Schedule):
            return self.schedule._at(epochs)
        asked = ((epoch, self.schedule(epoch)) for epoch in epochs.tolist())
        return np.array([_rate(epoch, value) for epoch, value in asked], np.float64)


Plateau: TypeAlias = tuple[float | None, ...]
"""
The state of `ReduceOnPlateau`: the rate, the best loss (None before the first finite one), and the
number of epochs waited since. Empty before the first epoch.
"""


@hinting_class
@dataclass(frozen=True)
class ReduceOnPlateau:
    """
    A rate that falls whenever the loss has not improved for some epochs.

    The rate of an epoch depends on the loss of the one before. The schedule's state is part of the
    trainer's: `Trainer.fit` resumes it and `Trainer.save` saves it. Setting a new ``learning_rate``
    resets it.

    Parameters
    ----------
    initial : float
        The first rate, above 0.
    factor : float, default 0.1
        The rate is multiplied by this factor, above 0 and below 1.
    patience : int, default 10
        The rate falls after so many epochs in a row without an improvement, at least 1. Then the
        count begins again. A loss that is nan or infinite is never an improvement. If the rate
        falls for the first time and the loss was never finite, a RuntimeWarning names ``monitor``.
    min_delta : float, default 1e-4
        A loss improves on the best one if it is lower by more than this, at least 0.
    minimum : float, default 0.0
        The rate does not fall below this number, at least 0.
    monitor : {"validation_loss", "loss"}, default "validation_loss"
        The loss that is watched.

    Raises
    ------
    TypeError, ValueError
        For any other value, naming the argument. `Trainer.fit` raises one too if ``monitor`` is
        "validation_loss" and there are no validation data.

    References
    ----------
    Keras' ReduceLROnPlateau without its cooldown.

    Examples
    --------
    >>> from jitprop import ReduceOnPlateau, Trainer
    >>> schedule = ReduceOnPlateau(2.0, factor=0.5, patience=1, monitor="loss", minimum=1e-3)
    >>> trainer = Trainer([1, 1], init=([[[0.0]]], [[0.0]]), learning_rate=schedule)
    >>> history = trainer.fit([[0.0]], [0.5], epochs=4)  # right already: no epoch is better
    >>> history.learning_rate.tolist()
    [2.0, 2.0, 1.0, 0.5]
    """

    initial: float
    factor: float = 0.1
    patience: int = 10
    min_delta: float = 1e-4
    minimum: float = 0.0
    monitor: str = "validation_loss"

    def __post_init__(self) -> None:
        number = checks.number
        checked = {
            "initial": number("initial", self.initial, above=0.0),
            "factor": number("factor", self.factor, above=0.0, below=1.0),
            "patience": checks.integer("patience", self.patience, low=1),
            "min_delta": number("min_delta", self.min_delta, low=0.0),
            "minimum": number("minimum", self.minimum, low=0.0),
            "monitor": checks.choice("monitor", self.monitor, ("validation_loss", "loss")),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def rate(self, plateau: Plateau) -> float:
        """Return the learning rate of the next epoch."""
        return self.initial if not plateau else float(plateau[0] or 0.0)

    def after(self, plateau: Plateau, loss: float) -> Plateau:
        """Return the schedule's state after an epoch with this loss."""
        rate, (_, best, waited) = self.rate(plateau), plateau or (None, None, 0)
        if math.isfinite(loss) and (best is None or loss < best - self.min_delta):
            return rate, loss, 0
        waited = (waited or 0) + 1
        if waited < self.patience:
            return rate, best, waited
        return max(rate * self.factor, min(rate, self.minimum)), best, 0


def check_plateau(plateau: Plateau, learning_rate: Any) -> None:
    """
    Check a schedule's state that was read from a file.

    Raises
    ------
    ValueError
        For a state that `ReduceOnPlateau.after` cannot have returned.
    """
    if not plateau:
        return
    if not isinstance(learning_rate, ReduceOnPlateau):
        raise ValueError(
            "its plateau must be empty, as its learning_rate is not a ReduceOnPlateau; "
            f"got {checks.shown(plateau)}"
        )
    rate, best, waited = plateau if len(plateau) == 3 else (None, None, None)
    if not (
        type(rate) is float
        and 0 <= rate <= learning_rate.initial
        and (best is None or type(best) is float)
        and type(waited) is int
        and 0 <= waited < learning_rate.patience
    ):
        raise ValueError(
            f"its plateau must be a rate of at most {learning_rate.initial:g}, the best loss or "
            f"null, and fewer than {learning_rate.patience} epochs waited; "
            f"got {checks.shown(plateau)}"
        )


LearningRate: TypeAlias = float | Schedule | ReduceOnPlateau | Callable[[int], float]


def resolve(value: Any) -> LearningRate:
    """
    Check `Trainer`'s ``learning_rate``: a number above 0, a schedule or a function of the epoch.

    Raises
    ------
    TypeError, ValueError
        For anything else.
    """
    if isinstance(value, ReduceOnPlateau) or (callable(value) and not isinstance(value, type)):
        return value
    try:
        return checks.number("learning_rate", value, above=0.0)
    except TypeError:
        schedule = isinstance(value, type) and issubclass(value, Schedule | ReduceOnPlateau)
        hint = f": write {value.__name__}(...)" if schedule else ""
        raise TypeError(
            "learning_rate must be a finite number above 0, a schedule or a function of the epoch; "
            f"got {checks.shown(value)}{hint}"
        ) from None


def is_known(learning_rate: LearningRate) -> bool:
    """Return whether it is a number or a schedule, and calls no function of the user's own."""
    if isinstance(learning_rate, EachUpdate):
        return isinstance(learning_rate.schedule, Schedule)
    return isinstance(learning_rate, float | Schedule)


def fill(rates: Rates, learning_rate: LearningRate, start: int, plateau: Plateau = ()) -> None:
    """
    Write the learning rates of the epochs from ``start`` on, one into each element of ``rates``.

    Epochs are counted over all fits. ``plateau`` is the state of `ReduceOnPlateau`, which gives
    the same rate for all of them.

    Raises
    ------
    TypeError, ValueError
        For a rate that is not a finite number of at least 0; the message names the epoch.
    """
    if isinstance(learning_rate, Schedule):
        _fill_scheduled(rates, learning_rate, start, 1)
    elif callable(learning_rate):
        for i in range(len(rates)):
            rates[i] = _rate(start + i, learning_rate(start + i))
    elif isinstance(learning_rate, ReduceOnPlateau):
        rates[:] = learning_rate.rate(plateau)
    else:
        rates[:] = learning_rate


def of_updates(
    rates: Rates,
    learning_rate: LearningRate,
    start: int,
    n_batches: int | None,
    plateau: Plateau = (),
) -> Rates:
    """
    Write the rates of some epochs as `fill` does, and return what a backend takes.

    That is ``rates``; or, for an `EachUpdate`, the (epochs * n_batches,) rates of all updates.
    ``rates`` then becomes those of each epoch's first update.

    Raises
    ------
    TypeError, ValueError
        As from `fill`; and for an `EachUpdate` if ``n_batches`` is None, because it is not known.
    """
    if not isinstance(learning_rate, EachUpdate):
        fill(rates, learning_rate, start, plateau)
        return rates
    if n_batches is None:
        raise ValueError(
            "learning_rate cannot be an EachUpdate in a fit from batches: how many batches an "
            "epoch has is not known before its end. Pass "
            f"{checks.shown(learning_rate.schedule)} itself, which is asked once for each epoch, "
            "or the data as arrays"
        )
    made = np.empty(len(rates) * n_batches)
    _fill_scheduled(made, learning_rate, start, n_batches)
    rates[:] = made[::n_batches]
    return made


def _fill_scheduled(rates: Rates, schedule: Schedule, start: int, n_batches: int) -> None:
    """Write the rates of updates, ``n_batches`` in each epoch, from the beginning of one on."""
    for first in range(0, len(rates), EPOCHS_AT_ONCE):
        some = rates[first : first + EPOCHS_AT_ONCE]
        updates = np.arange(first, first + len(some))
        at = start + updates // n_batches + updates % n_batches / n_batches
        some[:] = schedule._rates(at)
        for i in np.flatnonzero(~np.isfinite(some))[:1]:
            checks.number(f"learning_rate({at[i]:.15g})", some[i])


def _rate(epoch: float, value: Any) -> float:
    return checks.number(f"learning_rate({epoch:.15g})", value, low=0.0)
