"""Numbers that kernels and those who call them agree on. Python reads them without numba."""

from __future__ import annotations

VECTOR_BYTES = 32
"""4 lanes of float64, 8 of float32: a register of AVX2, which most nets this small fill once."""

WIDE_BYTES = 64
"""8 lanes of float64, 16 of float32: one register of AVX-512, or two of AVX2."""

NARROW_BYTES = 16
"""2 lanes of float64, 4 of float32. Four of them are one register of AVX-512."""

TILE = 32
"""Samples of a batch, and rows of weights, that are not divided among threads: a multiple of
`_microkernel.block_columns`."""

DEPTH = 256
"""Samples of whose deltas a gradient is computed at a time: they stay in the cache."""

REACH = 64
"""Samples that go through all layers together, their numbers still in the cache."""

SAMPLES = 4
"""Samples in a block of a fleet's member: so many sums fit into the registers, beside the numbers
that they are made of."""

SQUARES_PIECE = 4096
"""Squares of a gradient that are added up by one thread: 2 us of work."""

DESCENT_VECTORS, DESCENT_NUMBERS = 3, 2
"""Vectors of P numbers, and numbers, that methods which need gradients alone share: see
`second_order.objective`."""

INVERTED = 4
"""Rows of an inverse that are computed together, so that they read the factor once."""

N_SUMS = 6
"""Vectors that a group of a fleet's members has in ``Scratch.sums``: see `groups`."""

COUNT, ROUND, TAKEN, HALT, LEFT, AGREED, RUNNING, REFUSED, GATE_SIZE = 0, 8, 16, *range(24, 30)
"""Places in the gate where threads meet, a cache line apart save those that are written at most
once; and the gate's size."""

LOOK_AT_NOTHING, LOOK_AT_INPUTS, LOOK_AT_ALL = range(3)
"""What a kernel looks at, to refuse samples: see `Plan.look`."""

ENDED_EARLY, ENDED_BY_OVERFLOW = 1, 2
"""Why a watched training ended: see `Watch.ended`."""
