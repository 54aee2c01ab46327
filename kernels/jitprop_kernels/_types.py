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

Settings: TypeAlias = tuple[float, float, float, float]
"""An optimizer's, by their places: see `optimizers.update`."""

Switch: TypeAlias = tuple[int, ...]
"""OFF or ON. Numba knows a tuple's length while it compiles, and leaves out the branch that is not
taken: ``if len(switch) > 0``."""

OFF: Switch = ()
ON: Switch = (1,)

Route: TypeAlias = Switch
"""How a net is computed: by `lanes` or, with the switch on, by `blocks`."""

LANES: Route = OFF
BLOCKS: Route = ON

Width: TypeAlias = Switch
"""How wide a fleet's vectors are. They are narrow where members are few."""

WIDE: Width = OFF
NARROW: Width = ON
