"""
Every compiled function of jitprop: arrays and numbers in, arrays and numbers out.

Importing this needs no numba. Numba is imported to compile a kernel for which there is no machine
code yet: see `entry`.
"""

from jitprop_kernels._types import BLOCKS, LANES, NARROW, WIDE, Route, Width
from jitprop_kernels.entry import (
    ENTRIES,
    INTERPRETED,
    Bound,
    check,
    evaluate,
    evaluate_members,
    gradient,
    predict,
    predict_members,
    train,
    train_members,
)
from jitprop_kernels.own import Loop, compile_loop
from jitprop_kernels.plan import Plan, SklearnRules
from jitprop_kernels.records import (
    FleetWork,
    MemberSamples,
    MemberSettings,
    Samples,
    Scratch,
    Seat,
    Work,
)
from jitprop_kernels.sizes import (
    AGREED,
    DEPTH,
    GATE_SIZE,
    HALT,
    LEFT,
    N_SUMS,
    NARROW_BYTES,
    REACH,
    RUNNING,
    SAMPLES,
    SQUARES_PIECE,
    TILE,
    VECTOR_BYTES,
    WIDE_BYTES,
)

__all__ = [
    "AGREED",
    "BLOCKS",
    "DEPTH",
    "ENTRIES",
    "GATE_SIZE",
    "HALT",
    "INTERPRETED",
    "LANES",
    "LEFT",
    "NARROW",
    "NARROW_BYTES",
    "N_SUMS",
    "REACH",
    "RUNNING",
    "SAMPLES",
    "SQUARES_PIECE",
    "TILE",
    "VECTOR_BYTES",
    "WIDE",
    "WIDE_BYTES",
    "Bound",
    "FleetWork",
    "Loop",
    "MemberSamples",
    "MemberSettings",
    "Plan",
    "Route",
    "Samples",
    "Scratch",
    "Seat",
    "SklearnRules",
    "Width",
    "Work",
    "check",
    "compile_loop",
    "evaluate",
    "evaluate_members",
    "gradient",
    "predict",
    "predict_members",
    "train",
    "train_members",
]
