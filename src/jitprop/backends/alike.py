"""
Finds custom functions that compile to the same machine code.

The machine code of a function takes about 2 MB, and Numba never frees it. A program may make a new
loss for each net with the same lines. To compile it only once, machine code is looked up by what it
depends on, the code of a function and the values that it uses, and not by the function object.
"""

from __future__ import annotations

from collections.abc import Hashable
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

PLAIN = bool, int, float, complex, str, bytes, type(None)

MODULES = "math", "cmath", "numpy"
"""Modules whose contents do not change."""


def key(function: Any) -> Hashable | None:
    """
    Return a key that is equal for functions with the same code and the same values; or None.

    The values are those that global variables, and variables of an enclosing function, have now:
    numba uses these when it compiles. They can be numbers, text, tuples of these, functions, and
    anything in `math` and NumPy. An array or another object might be changed later without notice,
    so a function that uses one has no key.
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
    if any(value is other for other in seen):  # a recursive function
        return "seen", next(i for i, other in enumerate(seen) if other is value)
    seen.append(value)
    parts: list[Hashable] = [value.__code__]
    for cell in value.__closure__ or ():
        try:
            parts.append(_key(cell.cell_contents, seen))
        except ValueError:  # the variable has no value yet
            raise LookupError from None
    for name in _names(value.__code__):
        if name in value.__globals__:
            parts.append((name, _key(value.__globals__[name], seen)))
    parts.append(_key(value.__defaults__, seen))
    parts += [(name, _key(item, seen)) for name, item in (value.__kwdefaults__ or {}).items()]
    return tuple(parts)


def _is_compiled(value: Any) -> bool:
    """Whether numba compiled the value from a function: what it was compiled with cannot change."""
    return type(value).__module__.startswith("numba.") and hasattr(value, "py_func")


def _names(code: CodeType) -> list[str]:
    """The names of global variables and attributes in a function and its inner functions."""
    inner = [const for const in code.co_consts if isinstance(const, CodeType)]
    return [*code.co_names, *(name for each in inner for name in _names(each))]
