"""
Where numba looks things up while it compiles: with a memory, and short of what no kernel uses.

These belong to the kernels alone; what else a process compiles meets numba's own.
"""

from __future__ import annotations

import operator
from functools import cache, cached_property
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.callconv import CPUCallConv, Status
from numba.core.cpu import CPUContext
from numba.core.runtime import rtsys
from numba.core.types.misc import unliteral
from numba.core.typing.context import Context
from numba.core.utils import OPERATORS_TO_BUILTINS

from jitprop_kernels._private.handing import room
from jitprop_kernels._private.intrinsic import TEMPLATES

# Numba types a power with a literal exponent in a way of its own.
OPERATORS = OPERATORS_TO_BUILTINS.keys() - {operator.pow, operator.ipow}


class TypingContext(Context):  # type: ignore[misc]
    """Numba's typing context, with a memory: what was typed once is not typed again."""

    def __init__(self, context: Context) -> None:
        context.refresh()
        self.__dict__.update(vars(context))  # the same registries: numba adds to them in place
        self._signatures_known: dict[Any, Any] = {}
        self._attributes_known: dict[Any, Any] = {}

    def refresh(self) -> None:
        """Learn of new functions of ours. What kernels use of numba was there at the beginning."""
        self.install_registry(TEMPLATES)

    def resolve_function_type(self, func: Any, args: Any, kws: Any) -> Any:
        """Signature of a builtin for types of arguments."""
        if isinstance(func, types.NamedTupleClass):
            # To numba a 0 in a call is a type of its own, and so would the record be that holds it.
            args = tuple(map(unliteral, args))
            kws = {name: unliteral(kind) for name, kind in kws.items()}
        if func is operator.getitem:
            # For a literal index of a tuple numba has code in Python, once a process has imported
            # it. Kernels index all tuples alike.
            args = tuple(map(unliteral, args))
        if kws or not isinstance(func, (types.Function, types.NumberClass)):
            return super().resolve_function_type(func, args, kws)
        if isinstance(func, types.Function) and func.typing_key in OPERATORS:
            args = tuple(a.literal_type if isinstance(a, types.IntegerLiteral) else a for a in args)
        key = func, args
        if key not in self._signatures_known:
            found = super().resolve_function_type(func, args, kws)
            if found is None:
                return None
            self._signatures_known[key] = found
        return self._signatures_known[key]

    def resolve_getattr(self, typ: Any, attr: str) -> Any:
        """Type of an attribute."""
        key = typ, attr
        if key not in self._attributes_known:
            found = super().resolve_getattr(typ, attr)
            if found is None:
                return None
            self._attributes_known[key] = found
        return self._attributes_known[key]


class CallConvention(CPUCallConv):  # type: ignore[misc]
    """Numba's, between functions that raise nothing: nobody looks for an exception."""

    def call_function(
        self, builder: Any, callee: Any, resty: Any, argtys: Any, args: Any, attrs: Any = None
    ) -> Any:
        """Call a kernel."""
        result = room(builder, self.get_return_type(resty).pointee)
        no_exception = ir.Constant(callee.args[1].type, None)
        handed = self._get_arg_packer(argtys).as_arguments(builder, args)
        code = builder.call(callee, [result, no_exception, *handed])
        yes, no = cgutils.true_bit, cgutils.false_bit
        status = Status(
            code=code,
            excinfoptr=ir.Constant(no_exception.type.pointee, None),
            is_ok=yes,
            is_none=no,
            is_error=no,
            is_stop_iteration=no,
            is_python_exc=no,
            is_user_exc=no,
        )
        return status, self.context.get_returned_value(builder, resty, builder.load(result))

    def return_status_propagate(self, builder: Any, status: Any) -> None:
        """Nothing: there is no exception."""


class TargetContext(CPUContext):  # type: ignore[misc]
    """
    Numba's context of lowering, with a memory: what was looked up once is not searched again.

    It knows what kernels use. Numba's own, before it compiles anything, imports all there is:
    0.45 s, half of them for scipy.linalg.
    """

    def __init__(self, context: CPUContext) -> None:
        self._numba = context
        self._implementations_known: dict[Any, Any] = {}
        self._sizes_known: dict[Any, int] = {}
        super().__init__(typing_context(context.typing_context))

    def init(self) -> None:
        """Make machine code where numba makes it."""
        rtsys.initialize(self._numba)
        self.is32bit = self._numba.is32bit
        self._internal_codegen = self._numba._internal_codegen

    def load_additional_registries(self) -> None:
        """Load the code of what kernels use."""
        from numba.cpython import builtins, mathimpl, numbers, rangeobj, tupleobj  # noqa: F401
        from numba.np import arrayobj, npyimpl  # noqa: F401

        self.install_registry(mathimpl.registry)
        self.install_registry(npyimpl.registry)

    @cached_property
    def call_conv(self) -> CallConvention:
        """How kernels call one another."""
        return CallConvention(self)

    def get_function(self, fn: Any, sig: Any, _firstcall: bool = True) -> Any:
        """
        Code of a function for types of arguments.

        It serves all kernels, whose contexts are copies of this one with the same options.
        """
        key = fn, sig
        if key not in self._implementations_known:
            found = super().get_function(fn, sig, _firstcall=_firstcall)
            self._implementations_known[key] = found
        return self._implementations_known[key]

    def get_abi_sizeof(self, ty: Any) -> int:
        """Bytes of a type of LLVM: numba asks for those of every variable."""
        if ty not in self._sizes_known:
            self._sizes_known[ty] = super().get_abi_sizeof(ty)
        return self._sizes_known[ty]


typing_context = cache(TypingContext)
target_context = cache(TargetContext)
