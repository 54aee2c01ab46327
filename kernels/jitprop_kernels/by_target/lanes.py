"""What the writers of functions share: vectors of one length, loaded and stored."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from jitprop_kernels.llvm_terms import BOOL, INT32, declare, integers, splat_value


class Lanes:
    """
    Vectors of so many lanes, in one function.

    Attributes
    ----------
    builder
        Writes into the function's first block.
    lanes, align : int
        The alignment is that of one number, in bytes.
    inside : vector of booleans or None
        The lanes that are loaded and stored, if not all are.
    """

    def __init__(self, function: Any, number: Any, lanes: int) -> None:
        self.builder = ir.IRBuilder(function.append_basic_block("entry"))
        self.number, self.lanes = number, lanes
        self.align = 8 if number == ir.DoubleType() else 4
        self.vector = ir.VectorType(number, lanes)
        self.zero = ir.Constant(self.vector, [0.0] * lanes)
        self.inside: Any = None

    def keep_first(self, n: Any) -> None:
        """From now on load and store the first n lanes alone; the others are read as 0."""
        lane = integers(list(range(self.lanes)), 64)
        self.inside = self.builder.icmp_signed("<", lane, splat_value(self.builder, n, self.lanes))

    def splat(self, value: Any) -> Any:
        """Return a vector with the number in each lane."""
        return splat_value(self.builder, value, self.lanes)

    def at(self, place: Any) -> Any:
        """Return the pointer to a number as one to a vector."""
        return self.builder.bitcast(place, self.vector.as_pointer())

    def load(self, place: Any) -> Any:
        """Load the vector that begins at the pointer."""
        if self.inside is None:
            return self.builder.load(self.at(place), align=self.align)
        flags = ir.VectorType(BOOL, self.lanes)
        arguments = [self.vector.as_pointer(), INT32, flags, self.vector]
        function = self._masked("load", ir.FunctionType(self.vector, arguments))
        given = [self.at(place), INT32(self.align), self.inside, self.zero]
        return self.builder.call(function, given)

    def store(self, value: Any, place: Any) -> None:
        """Store the vector at the pointer."""
        if self.inside is None:
            self.builder.store(value, self.at(place), align=self.align)
            return
        flags = ir.VectorType(BOOL, self.lanes)
        arguments = [self.vector, self.vector.as_pointer(), INT32, flags]
        function = self._masked("store", ir.FunctionType(ir.VoidType(), arguments))
        self.builder.call(function, [value, self.at(place), INT32(self.align), self.inside])

    def _masked(self, name: str, kind: Any) -> Any:
        suffix = f"v{self.lanes}f{8 * self.align}"
        return declare(self.builder.module, kind, f"llvm.masked.{name}.{suffix}.p0{suffix}")
