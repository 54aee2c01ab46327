"""Pickles contain the version of jitprop that made them; another version then warns."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from jitprop._version import __version__

KEY = "_jitprop_version"


def stamped(state: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return the state for ``__getstate__``, with the version of jitprop added.

    Names are sorted, so that equal nets have equal pickles, in whatever order attributes were set.
    """
    return {**{name: state[name] for name in sorted(state)}, KEY: __version__}


def opened(name: str, state: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return the state for ``__setstate__``, with the version of jitprop removed.

    Parameters
    ----------
    name : str
        The name of the class, for the warning.
    state : mapping
        As `stamped` returned it, in this version or another.

    Warns
    -----
    UserWarning
        If another version made the pickle.
    """
    state = dict(state)
    made = state.pop(KEY, None)
    if made != __version__:
        by = f"jitprop {made}" if made else "an earlier jitprop"
        warnings.warn(
            f"this {name} was pickled by {by}, and this is jitprop {__version__}: it may fail, or "
            "give other numbers. Load it with the version that pickled it, or train it again",
            UserWarning,
            stacklevel=3,
        )
    return state
