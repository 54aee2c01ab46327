"""An activation or a loss of the user's own: two plain functions of numbers, checked when given."""

from __future__ import annotations

import itertools
import math
import numbers
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from jitprop import checks
from jitprop._types import Array
from jitprop.checks import quoted
from jitprop.interrupts import from_a_handler
from jitprop.net.losses import Loss

SIZES = (0.0137, 0.11, 0.37, 0.73, 1.31, 1.93, 2.71, 3.77, 5.13, 7.39, 11.3)
NUMBERS = (0.0, *SIZES, *(-size for size in SIZES))
"""Where derivatives are checked: none but 0 is round, as the kinks of most functions are."""

UNDEFINED = (ArithmeticError, ValueError)
"""What a function raises where it is not defined, as ``math.log(-1)`` does."""

STEP = float(np.finfo(np.float64).eps ** (1 / 3))
TOLERANCE = 1e-5


@dataclass(frozen=True, repr=False)
class CustomActivation:
    """
    An activation a = value(z) of your own.

    Parameters
    ----------
    value : callable
        Takes a number z, returns a number. Numba must be able to compile it: numbers, ``if``,
        loops, functions of ``math`` and NumPy. NumPy's overflow to inf where ``math``'s raise.
    derivative : callable
        Takes z, returns da/dz. At a kink, anything between the slopes of its sides.
    name : str, optional
        What it is called where the trainer is shown and saved; ``value``'s own name if left out.

    Raises
    ------
    TypeError, ValueError
        For what is no such function; and where ``derivative`` is not the derivative of ``value``,
        by central differences at some points from -11.3 to 11.3, 0 among them.

    Notes
    -----
    On the numba backend the first use compiles the two functions, in about a second for each
    dtype, and nothing else. The NumPy backend calls them as they are, number by number.

    Where a function raises an error during training, its value is nan in both backends. Training
    then ends in a `DivergenceError` that names the function; a `Fleet` names it in its warning.

    Compiled functions use the global variables and the variables of an enclosing function as they
    were when the call of `fit` or `predict` began. The NumPy backend sees a change at once. Of
    arrays and other objects compiling freezes what is in them: make a new object after a change.

    Machine code is never freed, 2 MB for each of these objects and dtypes. Objects of functions
    with the same code, which use the same numbers, texts and functions, share one: a function
    that makes a loss of a number k compiles it once for each k.

    Examples
    --------
    >>> from jitprop import CustomActivation, Trainer
    >>> def softsign(z):
    ...     return z / (1 + abs(z))
    >>> def slope(z):
    ...     return 1 / (1 + abs(z)) ** 2
    >>> trainer = Trainer([2, 4, 1], activation=CustomActivation(softsign, slope), seed=0)
    """

    value: Callable[[float], float]
    derivative: Callable[[float], float]
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", _name(self.value, self.derivative, self.name))
        _check_derivative(self.value, self.derivative, ("z",), ((z,) for z in NUMBERS))

    def __repr__(self) -> str:
        return _called(self)

    def __str__(self) -> str:
        return self.name

    def on_arrays(self, z: Array) -> tuple[Array, Array]:
        """The value and the derivative, uncompiled, at each number of an array."""
        return _each(self.value, z), _each(self.derivative, z)


@dataclass(frozen=True, repr=False)
class CustomLoss(Loss):
    """
    A loss of your own: E = sum value(a, y) over a sample's outputs a and targets y.

    Parameters
    ----------
    value : callable
        Takes two numbers, a and y, returns a number; as that of `CustomActivation`.
    derivative : callable
        Takes a and y, returns the derivative of ``value`` by a.
    name : str, optional
        What it is called where the trainer is shown and saved; ``value``'s own name if left out.

    Raises
    ------
    TypeError, ValueError
        As of `CustomActivation`. Points at which ``value`` is not finite, or raises an arithmetic
        error or a ValueError as ``math.log(-1)`` does, are passed over.

    Notes
    -----
    It goes with any output activation but softmax, and with targets of any size.

    Examples
    --------
    >>> import math
    >>> from jitprop import CustomLoss, Trainer
    >>> def log_cosh(a, y):
    ...     return math.log(math.cosh(a - y))
    >>> def slope(a, y):
    ...     return math.tanh(a - y)
    >>> trainer = Trainer([2, 4, 1], loss=CustomLoss(log_cosh, slope), seed=0)
    """

    value: Callable[[float, float], float]
    derivative: Callable[[float, float], float]
    name: str = ""  # type: ignore[misc]

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", _name(self.value, self.derivative, self.name))
        points = itertools.product(NUMBERS, (0.0, 1.0, 0.29, -0.61, 2.3))
        same = ((a, a) for a in NUMBERS)
        _check_derivative(self.value, self.derivative, ("a", "y"), [*points, *same])

    def __repr__(self) -> str:
        return _called(self)

    def on_arrays(self, a: Array, y: Array) -> tuple[Array, Array]:
        """Each sample's loss, and the derivative by each output, uncompiled."""
        return _each(self.value, a, y).sum(axis=1), _each(self.derivative, a, y)


def _called(own: CustomActivation | CustomLoss) -> str:
    functions = f"{checks.plain(own.value)}, {checks.plain(own.derivative)}"
    return f"{type(own).__name__}({functions}, name={own.name!r})"


def _name(value: Any, derivative: Any, name: Any) -> str:
    for argument, function in (("value", value), ("derivative", derivative)):
        if not callable(function):
            raise TypeError(f"{argument} must be a function; got {checks.shown(function)}")
    if not isinstance(name, str):
        raise TypeError(f"name must be text; got {checks.shown(name)}")
    return name or checks.name_of(value)


def _each(function: Callable[..., float], *arrays: Array) -> Array:
    """
    The function at each number, nan where it is not defined.

    It gets numbers of the arrays' dtype, as compiled ones do.
    """

    def defined(*point: float) -> float:
        try:
            return function(*point)
        except Exception as error:
            if from_a_handler(error):
                raise
            return math.nan

    flat = (array.ravel() for array in arrays)
    found = np.fromiter(map(defined, *flat), arrays[0].dtype, arrays[0].size)
    return found.reshape(arrays[0].shape)


def _number(argument: str, function: Callable[..., float], point: tuple[float, ...]) -> float:
    """What a function gives, as a float; nan where it is not defined."""
    try:
        found = function(*point)
    except Exception as error:
        if from_a_handler(error):
            raise
        if isinstance(error, UNDEFINED):
            return math.nan
        raise TypeError(
            f"{argument} must be a function of {len(point)} number{'s'[: len(point) - 1]}; "
            f"at {point} it raises {quoted(error)}"
        ) from error
    if not isinstance(found, numbers.Real):
        raise TypeError(
            f"{argument} must return a number; at {point} it gives {checks.shown(found)}"
        )
    return float(found)


def _check_derivative(
    value: Callable[..., float],
    derivative: Callable[..., float],
    names: tuple[str, ...],
    points: Iterable[tuple[float, ...]],
) -> None:
    """
    Compare with differences by the first argument, where the value is finite around a point.

    The derivative may lie anywhere between the differences to both sides, for the point may be a
    kink; and beyond by the errors of differences: of rounding, and of the step, which shows in
    what half the step gives.
    """
    checked = 0
    with np.errstate(all="ignore"):
        for x, *others in points:
            h = STEP * max(1.0, abs(x))
            at = [x - h, x - h / 2, x, x + h / 2, x + h]
            f = [_number("value", value, (x_i, *others)) for x_i in at]
            if not all(map(math.isfinite, f)):
                continue
            checked += 1
            central, half = (f[4] - f[0]) / (at[4] - at[0]), (f[3] - f[1]) / (at[3] - at[1])
            sides = (f[2] - f[0]) / (x - at[0]), (f[4] - f[2]) / (at[4] - x)
            given = _number("derivative", derivative, (x, *others))
            error = TOLERANCE * max(abs(given), abs(central)) + 2 * abs(central - half)
            error += STEP**2 * 100 * max(map(abs, f))
            if not min(sides) - error <= given <= max(sides) + error:
                where = ", ".join(f"{n} = {p:g}" for n, p in zip(names, (x, *others), strict=True))
                raise ValueError(
                    f"derivative must be that of value: at {where} it gives {given:.9g}, "
                    f"where differences of value give {central:.9g}"
                )
    if not checked:
        raise ValueError("value must be finite somewhere; it is at none of the points tried")
