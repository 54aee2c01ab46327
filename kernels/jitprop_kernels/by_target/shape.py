"""The block of C in registers, for one processor and one type of number."""

from __future__ import annotations

from typing import NamedTuple

from jitprop_kernels.registers import registers_of
from jitprop_kernels.target import Target

VECTORS = 2
"""Vectors to a row of the block."""

SHARING_ROWS, SHARING_COLUMNS = 16, 4
"""A block of its own for narrow matrices, whose rows share vectors: of 16 lanes, 4 rows of up to 4
numbers each. It computes the last layer of a net with few outputs in less than half the time."""


class Shape(NamedTuple):
    """
    The block, and what the processor can do with its vectors.

    Attributes
    ----------
    rows : int
        Of the largest block.
    lanes : int
        Numbers to a vector; a row has `VECTORS` of them.
    masks : bool
        Whether it can load and store some lanes alone. LLVM makes branches of such loads else, one
        for each lane.
    by_lane : bool
        Whether it multiplies by one lane of a vector. Others load one number into all lanes, which
        ARM's processors do at half the speed.
    """

    rows: int
    lanes: int
    masks: bool
    by_lane: bool

    @property
    def columns(self) -> int:
        """Of the largest block."""
        return VECTORS * self.lanes

    @property
    def heights(self) -> list[int]:
        """Rows of the blocks that there is code for, ascending."""
        return [rows for rows in (1, 2, 4, 8) if rows < self.rows] + [self.rows]

    @property
    def shares(self) -> bool:
        """Whether there is a block whose rows share vectors."""
        return self.lanes >= 2 * SHARING_COLUMNS


def shape_of(target: Target, bits: int) -> Shape:
    """
    Return the shape for numbers of so many bits.

    Rows x 2 vectors of accumulators, beside 2 vectors of B: all but a few of the registers.
    """
    size, n, _ = registers_of(target)
    return Shape(
        rows=12 if n == 32 else 6,
        lanes=size * 8 // bits,
        masks=size > 16,  # AVX has them, SSE and NEON have not
        by_lane=target.triple.startswith(("aarch64", "arm64")),
    )
