"""
Where threads that run one kernel wait for one another.

A parallel region of numba costs about 10 us and a compile of 5 s, and its layers die of a fork or
of two callers at once. Here plain Python threads run the same kernel side by side, without the
GIL, and meet twice a step at a gate that costs less than 1 us.
"""

from __future__ import annotations

import sys
from typing import Any

from llvmlite import ir
from numba import types

from jitprop_kernels._jit import INTERPRETED, intrinsic, jit
from jitprop_kernels._types import Indices
from jitprop_kernels.arrays import pointer
from jitprop_kernels.llvm_terms import declare
from jitprop_kernels.sizes import AGREED, COUNT, HALT, LEFT, ROUND, TAKEN

SPINS = 20_000
"""Looks at the gate, about 20 us of them, before the processor is offered to other threads."""

GIVE_WAY = "SwitchToThread" if sys.platform == "win32" else "sched_yield"
"""The operating system's function for that."""


@intrinsic
def atomic_add(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
    """array[index] += value, in one piece; returns what was there."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        at = pointer(context, builder, signature.args[0], args[0], args[1])
        return builder.atomic_rmw("add", at, args[2], "seq_cst")

    return types.int64(array, types.int64, types.int64), codegen


def _add(array: Indices, index: int, value: int) -> int:
    before = int(array[index])
    array[index] += value
    return before


if INTERPRETED:  # in one thread
    atomic_add = _add


@intrinsic
def atomic_load(typing_context: Any, array: Any, index: Any) -> Any:
    """array[index], as other threads wrote it."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        at = pointer(context, builder, signature.args[0], args[0], args[1])
        return builder.load_atomic(at, "seq_cst", 8)

    return types.int64(array, types.int64), codegen


def _load(array: Indices, index: int) -> int:
    return int(array[index])


if INTERPRETED:
    atomic_load = _load


@intrinsic
def give_way(typing_context: Any) -> Any:
    """Offer the processor to another thread."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.IntType(32), [])
        function = declare(builder.module, kind, GIVE_WAY)
        builder.call(function, [])
        return context.get_dummy_value()

    return types.void(), codegen


@jit()
def meet(gate: Indices, ranks: int) -> None:
    """
    Wait until all ``ranks`` threads have come here; the last one opens the gate for all.

    Nobody can come to the next meeting before that: the count is 0 again when the gate opens.
    """
    if ranks == 1:
        return
    this_round = atomic_load(gate, ROUND)
    if atomic_add(gate, COUNT, 1) == ranks - 1:
        atomic_add(gate, COUNT, -ranks)
        atomic_add(gate, ROUND, 1)
    else:
        spins = 0
        while atomic_load(gate, ROUND) == this_round:
            spins += 1
            if spins > SPINS:
                give_way()


@jit()
def asked(gate: Indices) -> bool:
    """
    Whether Python has asked the threads to leave. Threads may see different things.

    A thread that sees it may cut its work short; at the next `agree` all will leave.
    """
    return bool(atomic_load(gate, HALT) != 0)


@jit()
def halted(gate: Indices) -> bool:
    """
    Whether Python has asked the threads to leave, by ``gate[HALT]``; notes that one left.

    A thread that leaves does so in the middle of its work. The state is of no use then: see
    `agree`.
    """
    if atomic_load(gate, HALT) == 0:
        return False
    atomic_add(gate, LEFT, 1)
    return True


@jit()
def agree(gate: Indices, rank: int) -> None:
    """
    Before a meeting: let all threads see the same, behind it, of whether they were asked to leave.

    In ``gate[AGREED]``. Threads that saw different things would wait for each other for ever. At
    most one of two meetings may be such a one: rank 0 must not write what another has yet to read.
    """
    if rank == 0:
        gate[AGREED] = atomic_load(gate, HALT)


@jit()
def take(gate: Indices) -> int:
    """The next piece of work that nobody has taken, counted from 0."""
    taken: int = atomic_add(gate, TAKEN, 1)
    return taken
