"""Entries for kernels that stand elsewhere, as in tests."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from jitprop_kernels.entry import Entry
from jitprop_kernels.layout import RecordKind

P = ParamSpec("P")
R = TypeVar("R")


class LocalEntry(Entry):
    """An entry for a function that stands elsewhere than in the kernels, as in tests."""

    def __init__(self, kernel: Any) -> None:
        super().__init__(kernel.__module__, kernel.__name__)
        self.kernel = kernel

    def function(self) -> Any:
        """Return the kernel."""
        return self.kernel

    def _give_up_own(self, error: Exception) -> None:
        """Raise it: the kernel's module cannot be imported once more for the other compiler."""
        raise error

    def key(self, kind: RecordKind) -> str:
        """Return the same with the kernel's own source."""
        return super().key(kind) + inspect.getsource(inspect.unwrap(self.kernel))


def entry(function: Callable[P, R]) -> Callable[P, R]:
    """Make a kernel that Python calls: see `jitprop_kernels.entry.Entry`."""
    from jitprop_kernels._jit import jit  # which one it is may change

    return cast(Callable[P, R], LocalEntry(jit()(function)))
