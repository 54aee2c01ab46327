"""
Checks of settings at the border.

Each check returns the checked value, or raises a TypeError or ValueError that names the argument,
what was expected and what was passed. Arrays are checked in `jitprop.data.cast`.
"""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Sequence
from types import FunctionType
from typing import Any

import numpy as np

from jitprop import hints


def name_of(function: object) -> str:
    """The name of a function; for any other object the name of its class."""
    return str(getattr(function, "__name__", type(function).__name__))


LONGEST = 200
"""The number of characters of a text that an error message quotes."""


BRIEF = 60
"""Of one that stands among others."""


def plain(value: object) -> str:
    """The repr of a value; for a function or class its name, as an address would say nothing."""
    return value.__name__ if isinstance(value, FunctionType | type) else repr(value)


def printable(text: str, longest: int | None = LONGEST) -> str:
    r"""
    Make a text safe to quote in an error message: short and on one line.

    Control characters are written as escapes such as ``\x1b``. A terminal would obey them, move
    the cursor and perhaps hide other text. With ``longest=None`` the text is not shortened.
    """
    if longest is not None and len(text) > longest:
        text = text[: longest - 3] + "..."
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def quoted(text: object) -> str:
    """The repr of a name or another text, made safe by `printable`."""
    return printable(repr(text))


def shown(value: object) -> str:
    """A value as error messages show it: short, on one line, with its type."""
    text = plain(value)
    if "\n" in text:  # such as an array's repr; that of a text has no line breaks
        text = " ".join(text.split())
    return f"{printable(text, BRIEF)} ({type(value).__name__})"


def is_list(value: object) -> bool:
    """Whether this is a list, a tuple or an array of at least one dimension, and not text."""
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray)


def _scalar(value: Any) -> Any:
    """The number in an array without dimensions; anything else as it is."""
    return value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value


MOST = 2**62
"""The limit of integers that are computed with: it is well within int64."""


def integer(name: str, value: Any, *, low: int, high: int | None = None) -> int:
    """Check an integer from ``low`` to ``high``; it may be one of NumPy's, but not a bool."""
    value = _scalar(value)
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an integer of at least {low}; got {shown(value)}")
    n = int(value)
    if n < low:
        raise ValueError(f"{name} must be an integer of at least {low}; got {shown(n)}")
    if high is not None and n > high:
        raise ValueError(f"{name} must be an integer of at most {high}; got {shown(n)}")
    return n


def epochs(given: Any, total: Any, trained: Any) -> Any:
    """
    Return how many more epochs to train.

    Parameters
    ----------
    given : int or None
        The argument ``epochs``: how many more.
    total : int or None
        The argument ``epochs_total``: how many in all.
    trained : int or array of ints
        How many were trained before.

    Returns
    -------
    int, or array of ints
        For ``epochs_total`` of the shape of ``trained``.

    Raises
    ------
    TypeError, ValueError
        For bad input, both arguments, or none.
    """
    if total is not None and given is not None:
        raise ValueError(
            "epochs and epochs_total exclude each other: epochs is the number of epochs to train "
            "now, epochs_total the number in all"
        )
    if total is not None:
        # The limit is more than memory can hold: making the history then raises the error.
        return np.maximum(min(integer("epochs_total", total, low=1), MOST) - trained, 0)
    if given is None:
        raise TypeError(
            "epochs must be an integer of at least 1, as in fit(X, y, epochs=100); got None"
        )
    return integer("epochs", given, low=1)


def optional_integer(name: str, value: Any, *, low: int) -> int | None:
    """Check an integer of at least ``low``, or None."""
    return None if value is None else integer(name, value, low=low)


def number(
    name: str,
    value: Any,
    *,
    low: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> float:
    """Check a finite real number within the bounds; return it as a float."""
    bounds = [
        f"{word} {bound:g}"
        for word, bound in (("at least", low), ("above", above), ("below", below))
        if bound is not None
    ]
    expected = f"{name} must be a finite number {' and '.join(bounds)}".rstrip()
    value = _scalar(value)
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise TypeError(f"{expected}; got {shown(value)}")
    try:
        x = float(value)
    except OverflowError:
        x = math.inf
    if (
        not math.isfinite(x)
        or (low is not None and x < low)
        or (above is not None and x <= above)
        or (below is not None and x >= below)
    ):
        raise ValueError(f"{expected}; got {x!r}")
    return x


def path(name: str, value: Any) -> Any:
    """Return a path, if it is a str, bytes or path-like."""
    if not isinstance(value, str | bytes | os.PathLike):
        raise TypeError(f"{name} must be a str, bytes or path-like; got {shown(value)}")
    return value


def boolean(name: str, value: Any) -> bool:
    """Check True or False, which may be NumPy's."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False; got {shown(value)}")
    return bool(value)


def choice(name: str, value: Any, known: tuple[str, ...], words: str | None = None) -> str:
    """
    Check one of the known names. The error for any other suggests the name that was meant.

    ``words`` is the table of `hints.WORDS` to search for it, if that is not ``name``.
    """
    if not isinstance(value, str):
        meant = hints.word(name, "none") if value is None else ""
        raise TypeError(
            f"{name} must be a name, one of {', '.join(known)}; got {shown(value)}"
            + (f": {meant}" if meant else "")
        )
    if value not in known:
        word = value[:LONGEST].lower()
        from difflib import get_close_matches

        near = get_close_matches(word, known, n=2, cutoff=0.5)
        hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
        if meant := hints.word(words or name, word):
            hint = f"{meant}; "
        raise ValueError(f"{name} {quoted(value)} is unknown: {hint}known are {', '.join(known)}")
    return value
