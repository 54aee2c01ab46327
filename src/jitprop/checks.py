"""
Checks of settings at the border: each says the argument, what was expected and what came.

Arrays are checked in `jitprop.data.cast`.
"""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Sequence
from types import FunctionType
from typing import Any

import numpy as np

from jitprop import hints


def name_of(function: object) -> str:
    """What a function is called; of another callable object its class."""
    return str(getattr(function, "__name__", type(function).__name__))


LONGEST = 200
"""Characters of a text that an error quotes."""


def plain(value: object) -> str:
    """A value's repr; of a function or class its name, for an address tells nothing."""
    return value.__name__ if isinstance(value, FunctionType | type) else repr(value)


def printable(text: str, longest: int | None = LONGEST) -> str:
    r"""
    A text of others as errors quote it: cut, and on one line.

    A control character is written out, as ``\x1b``: in a terminal it might move the cursor or
    hide what stands before it. Without ``longest`` nothing is cut.
    """
    if longest is not None and len(text) > longest:
        text = text[: longest - 3] + "..."
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def quoted(text: object) -> str:
    """A name or another text in quotes, as errors quote it: see `printable`."""
    return printable(repr(text))


def shown(value: object) -> str:
    """A value as error messages show it: short, on one line, with its type."""
    text = plain(value)
    if "\n" in text:  # of an array; in a text it would be written out
        text = " ".join(text.split())
    return f"{printable(text, 60)} ({type(value).__name__})"


def is_list(value: object) -> bool:
    """A list, a tuple, an array of at least one dimension; text and bytes are no lists."""
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray)


def _scalar(value: Any) -> Any:
    """What an array of no dimensions holds; anything else as it is."""
    return value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value


MOST = 2**62
"""Of whole numbers that are computed with."""


def integer(name: str, value: Any, *, low: int, high: int | None = None) -> int:
    """An int of at least ``low`` and at most ``high``; NumPy's count, bools do not."""
    value = _scalar(value)
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an integer of at least {low}; got {shown(value)}")
    whole = int(value)
    if whole < low:
        raise ValueError(f"{name} must be an integer of at least {low}; got {shown(whole)}")
    if high is not None and whole > high:
        raise ValueError(f"{name} must be an integer of at most {high}; got {shown(whole)}")
    return whole


def epochs(given: Any, total: Any, trained: Any) -> Any:
    """How many epochs ``epochs`` or ``epochs_total`` ask for, after so many, or arrays of them."""
    if total is not None and given is not None:
        raise ValueError(
            "epochs and epochs_total exclude each other: epochs is how many more to train, "
            "epochs_total how many there are to be in all"
        )
    if total is not None:
        # More than memory has room for, which is told where the history is made.
        return np.maximum(min(integer("epochs_total", total, low=1), 1 << 62) - trained, 0)
    if given is None:
        raise TypeError(
            "epochs must be an integer of at least 1, as in fit(X, y, epochs=100); got None"
        )
    return integer("epochs", given, low=1)


def optional_integer(name: str, value: Any, *, low: int) -> int | None:
    """The same, or None."""
    return None if value is None else integer(name, value, low=low)


def number(
    name: str,
    value: Any,
    *,
    low: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> float:
    """A finite real number within the bounds."""
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


def boolean(name: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False; got {shown(value)}")
    return bool(value)


def choice(name: str, value: Any, known: tuple[str, ...], words: str | None = None) -> str:
    """
    One of the known names; a wrong one is answered with the one that was meant.

    ``words`` is the table of `hints.WORDS` to look in, if it is not ``name``.
    """
    if not isinstance(value, str):
        meant = hints.word(name, "none") if value is None else ""
        raise TypeError(
            f"{name} must be a name, one of {', '.join(known)}; got {shown(value)}"
            + (f": {meant}" if meant else "")
        )
    if value not in known:
        word = value[:LONGEST].lower()
        near = difflib.get_close_matches(word, known, n=2, cutoff=0.5)
        hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
        if meant := hints.word(words or name, word):
            hint = f"{meant}; "
        raise ValueError(f"{name} {quoted(value)} is unknown: {hint}known are {', '.join(known)}")
    return value
