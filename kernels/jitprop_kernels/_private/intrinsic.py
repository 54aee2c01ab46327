"""Functions that say themselves what LLVM shall do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba.core import types
from numba.core.extending import _Intrinsic
from numba.core.imputils import Registry, builtin_registry
from numba.core.typing.templates import Registry as Templates
from numba.core.typing.templates import make_intrinsic_template

TEMPLATES = Templates()
"""Of what follows: modules of kernels are imported when they are needed, and add to it."""


class _Here:
    def _get_target_registry(self, reason: str) -> Registry:
        del reason
        return builtin_registry


def intrinsic(definition: Callable[..., Any]) -> Any:
    """
    Let kernels call ``definition``, as `numba.extending.intrinsic`.

    That one has numba's own context load all it knows: see `contexts.TargetContext`.
    """
    handle = _Intrinsic(definition.__name__, definition)
    numbas = make_intrinsic_template(handle, definition, definition.__name__)
    template = TEMPLATES.register(type(numbas)(numbas.__name__, (_Here, numbas), {}))
    TEMPLATES.register_global(handle, types.Function(template))
    return handle
