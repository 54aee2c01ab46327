"""Warnings that point to the user's line that called jitprop, however deep in it they arise."""

from __future__ import annotations

import sys
import warnings


def warn(message: str, category: type[Warning] = RuntimeWarning) -> None:
    """Issue a warning that points to the innermost line outside jitprop."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("jitprop."):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
