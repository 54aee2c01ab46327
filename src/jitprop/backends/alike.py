"""
Functions of the user's own that compile to the same machine code.

Numba never frees the machine code of a function, some 2 MB. A program that makes a loss anew for
each net, by the same lines, shall compile it once: so blocks are found by what goes into them, the
code of a function and the values it uses, rather than by the object.
"""

from __future__ import annotations

from collections.abc import Hashable
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

PLAIN = bool, int, float, complex, str, bytes, type(None)

MODULES = "math", "cmath", "numpy"
"""Whose contents nobody changes."""


def key(function: Any) -> Hashable | None:
    """
    Equal for functions of the same code that use the same values; None if nobody can tell.

    Values are those that the global variables and the variables of an enclosing function have now,
    as numba takes them when it compiles: numbers, texts, tuples of these, functions, and what is in
    `math` and NumPy. Of an array or another object nobody can tell whether it has changed.
    """
    try:
        return _key(function, [])
    except LookupError:
        return None


def _key(value: Any, seen: list[Any]) -> Hashable:
    if type(value) in PLAIN:
        return type(value), repr(value)  # 0.0 and -0.0 are equal, and so are 1 and True
    if isinstance(value, np.generic):
        return value.dtype.str, value.tobytes()
    if isinstance(value, tuple):
        return "tuple", *(_key(item, seen) for item in value)
    if isinstance(value, ModuleType) and value.__name__.partition(".")[0] in MODULES:
        return value
    if isinstance(value, type) and value.__module__ in (*MODULES, "builtins"):
        return value
    if isinstance(value, BuiltinFunctionType | np.ufunc):
        return value
    if _is_compiled(value):
        return "compiled", value
    if not isinstance(value, FunctionType):
        raise LookupError
    if any(value is other for other in seen):  # it calls itself
        return "seen", next(i for i, other in enumerate(seen) if other is value)
    seen.append(value)
    parts: list[Hashable] = [value.__code__]
    for cell in value.__closure__ or ():
        try:
            parts.append(_key(cell.cell_contents, seen))
        except ValueError:  # nothing is in it yet
            raise LookupError from None
    for name in _names(value.__code__):
        if name in value.__globals__:
            parts.append((name, _key(value.__globals__[name], seen)))
    parts.append(_key(value.__defaults__, seen))
    parts += [(name, _key(item, seen)) for name, item in (value.__kwdefaults__ or {}).items()]
    return tuple(parts)


def _is_compiled(value: Any) -> bool:
    """Whether numba made it, of a function: what it was compiled with does not change."""
    return type(value).__module__.startswith("numba.") and hasattr(value, "py_func")


def _names(code: CodeType) -> list[str]:
    """Names of global variables, and of attributes, in a function and in those inside it."""
    inner = [const for const in code.co_consts if isinstance(const, CodeType)]
    return [*code.co_names, *(name for each in inner for name in _names(each))]
