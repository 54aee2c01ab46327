"""Names for what kernels take."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
"""A flat, C-contiguous vector of float32 or float64."""

Indices: TypeAlias = npt.NDArray[np.int64]

Scalar: TypeAlias = Any
"""One float32 or float64 number, or a vector of them (`simd`). Kernels keep to the type that
comes: ``T = type(x)``."""

Route: TypeAlias = tuple[int, ...]
"""One of these, by whose length numba leaves out the other route's code while compiling."""

LANES: Route = ()
BLOCKS: Route = (1,)

MANY: Route = ()
FEW: Route = (1,)
"""The same of a fleet's members, who have narrow vectors where they are few."""
