"""For learning backpropagation: the numbers of a step, a check of gradients, and a lesson."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jitprop.teaching.lessons import Lesson, lesson

__all__ = ["Lesson", "lesson"]

if not TYPE_CHECKING:  # imported when first used: a trainer does without

    def __getattr__(name):
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module("jitprop.teaching.lessons"), name)
        globals()[name] = value
        return value
