"""Warnings that name the line of the user's which called jitprop, however deep they arise."""

from __future__ import annotations

import sys
import warnings


def warn(message: str, category: type[Warning] = RuntimeWarning) -> None:
    """Warn; the warning's place is the innermost code outside jitprop."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("jitprop."):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
