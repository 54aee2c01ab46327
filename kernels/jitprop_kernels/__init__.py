"""Every compiled function of jitprop: arrays and numbers in, arrays and numbers out."""

from jitprop_kernels._jit import INTERPRETED
from jitprop_kernels._types import BLOCKS, LANES, NARROW, WIDE, Route, Width
from jitprop_kernels.blocks import DEPTH, REACH, TILE
from jitprop_kernels.custom import Loop, compile_loop
from jitprop_kernels.fleets import evaluate_members, predict_members, train_members
from jitprop_kernels.groups import N_SUMS
from jitprop_kernels.meeting import AGREED, GATE_SIZE, HALT, LEFT, RUNNING
from jitprop_kernels.members import SAMPLES
from jitprop_kernels.network import evaluate, gradient, predict
from jitprop_kernels.optimizers import SQUARES_PIECE
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
from jitprop_kernels.simd import NARROW_BYTES, VECTOR_BYTES, WIDE_BYTES
from jitprop_kernels.training import train

__all__ = [
    "AGREED",
    "BLOCKS",
    "DEPTH",
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
    "compile_loop",
    "evaluate",
    "evaluate_members",
    "gradient",
    "predict",
    "predict_members",
    "train",
    "train_members",
]
