"""Pickles carry the version of jitprop that made them, and another version says so."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from jitprop._version import __version__

KEY = "_jitprop_version"


def stamped(state: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return the state that ``__getstate__`` hands out, with this version in it.

    Without ``_warned``: a copy is another net, and a fit that is refused leaves a net as it was.
    Names are in their order, so that equal nets have equal pickles, whenever attributes were set.
    """
    kept = {name: state[name] for name in sorted(state) if name != "_warned"}
    return {**kept, KEY: __version__}


def opened(name: str, state: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return the state that ``__setstate__`` got, without the version.

    Parameters
    ----------
    name : str
        Of the class.
    state : mapping
        As `stamped` made it, in this version or in another.

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
            "give other numbers. Load it with the version that pickled it, or train it anew",
            UserWarning,
            stacklevel=3,
        )
    return state
