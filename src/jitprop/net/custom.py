"""Custom activations and losses: two plain functions of numbers, checked when they are given."""

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
"""
The points at which derivatives are checked. Except for 0 they are not round, because most
functions have their kinks at round numbers.
"""

UNDEFINED = (ArithmeticError, ValueError)
"""The errors that a function raises where it is not defined, as ``math.log(-1)`` does."""

STEP = 6.055454452393343e-06
"""
The cube root of eps: the step of central differences that balances their error with rounding, for
x about 1.
"""

TOLERANCE = 1e-5
"""The relative error that a derivative may have."""


@dataclass(frozen=True, repr=False)
class CustomActivation:
    """
    An activation a = value(z) of your own.

    Parameters
    ----------
    value : callable
        Takes a number z and returns a number. Numba must be able to compile it: it may use
        numbers, ``if``, loops, and functions of ``math`` and NumPy. Where a result is too large,
        NumPy's functions return inf and those of ``math`` raise an error.
    derivative : callable
        Takes z and returns da/dz. At a kink it may return any number between the slopes on both
        sides.
    name : str, optional
        The name under which the trainer shows and saves it; by default the name of ``value``.

    Raises
    ------
    TypeError, ValueError
        If an argument is not such a function, or if ``derivative`` is not the derivative of
        ``value``. That is checked by central differences at 23 points from -11.3 to 11.3, one of
        which is 0.

    Notes
    -----
    On the numba backend the first use compiles the two functions and nothing else, in about a
    second for each dtype. The NumPy backend calls them as they are, number by number.

    Where a function raises an error during training, its value is nan in both backends. Training
    then ends in a `DivergenceError` that names the function; a `Fleet` names it in its warning.

    Compiled functions use global variables, and variables of an enclosing function, with the
    values that they had when the call of `fit` or `predict` began. The NumPy backend sees a change
    at once. Compiling freezes the contents of arrays and other objects: after changing them, make
    a new `CustomActivation`.

    Machine code takes about 2 MB for each `CustomActivation` and dtype, and is never freed.
    Objects whose functions have the same code, and use the same numbers, texts and functions,
    share their machine code. So a function that makes an activation from a number k compiles it
    once for each k.

    jitprop's own functions give the same bits on every processor with FMA. A function that calls
    ``exp``, ``log``, ``tanh``, a power or the like of ``math`` or NumPy may not: these call the C
    library, whose last digits differ between systems.

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
        return _repr(self)

    def __str__(self) -> str:
        return self.name

    def on_arrays(self, z: Array) -> tuple[Array, Array]:
        """Call the uncompiled functions: a and da/dz at each number of an array of any shape."""
        return _each(self.value, z), _each(self.derivative, z)


@dataclass(frozen=True, repr=False)
class CustomLoss(Loss):
    """
    A loss of your own: E = sum value(a, y) over a sample's outputs a and targets y.

    Parameters
    ----------
    value : callable
        Takes two numbers, a and y, and returns a number. It may use what the functions of
        `CustomActivation` may use.
    derivative : callable
        Takes a and y and returns the derivative of ``value`` with respect to a.
    name : str, optional
        The name under which the trainer shows and saves it; by default the name of ``value``.

    Raises
    ------
    TypeError, ValueError
        As for `CustomActivation`. The check skips points at which ``value`` is not finite, and
        those at which it raises an arithmetic error or a ValueError, as ``math.log(-1)`` does.

    Notes
    -----
    It can be used with any output activation except softmax. Targets may be any finite numbers.
    The notes of `CustomActivation` on compiling and on bits apply to it too.

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
        return _repr(self)

    def on_arrays(self, a: Array, y: Array) -> tuple[Array, Array]:
        """
        Call the uncompiled functions on outputs and targets, (n, n_outputs) each.

        Returns each sample's loss, (n,), and dE/da, (n, n_outputs).
        """
        return _each(self.value, a, y).sum(axis=1), _each(self.derivative, a, y)


def _repr(custom: CustomActivation | CustomLoss) -> str:
    functions = f"{checks.plain(custom.value)}, {checks.plain(custom.derivative)}"
    return f"{type(custom).__name__}({functions}, name={custom.name!r})"


def _name(value: Any, derivative: Any, name: Any) -> str:
    for argument, function in (("value", value), ("derivative", derivative)):
        if not callable(function):
            raise TypeError(f"{argument} must be a function; got {checks.shown(function)}")
    if not isinstance(name, str):
        raise TypeError(f"name must be text; got {checks.shown(name)}")
    return name or checks.name_of(value)


def _each(function: Callable[..., float], *arrays: Array) -> Array:
    """
    Call the function at each number; the result is nan where it raises an error.

    The function gets numbers of the arrays' dtype, like a compiled one.
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
    """Call the function at a point and return a float; nan where it is not defined."""
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
    Compare the derivative with differences of the value along the first argument.

    Points near which the value is not finite are skipped. A point may be a kink, so the derivative
    may lie anywhere between the differences to the left and to the right. It may also differ by
    the error of a difference, which has two sources: rounding, and the size of the step. The
    latter is estimated from the difference with half the step.
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
            error += STEP * STEP * 100 * max(map(abs, f))
            if not min(sides) - error <= given <= max(sides) + error:
                where = ", ".join(f"{n} = {p:g}" for n, p in zip(names, (x, *others), strict=True))
                raise ValueError(
                    f"derivative must be that of value: at {where} it gives {given:.9g}, "
                    f"where differences of value give {central:.9g}"
                )
    if not checked:
        raise ValueError("value must be finite somewhere; it is not, at any of the points tried")
