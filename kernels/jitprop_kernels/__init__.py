"""Every compiled function of jitprop: arrays and numbers in, arrays and numbers out."""

from jitprop_kernels._jit import INTERPRETED
from jitprop_kernels.blas import TILE, gemm_address
from jitprop_kernels.lanes import LANES
from jitprop_kernels.meeting import GATE_SIZE
from jitprop_kernels.network import evaluate, gradient, predict
from jitprop_kernels.plan import Plan
from jitprop_kernels.training import train

__all__ = [
    "GATE_SIZE",
    "INTERPRETED",
    "LANES",
    "TILE",
    "Plan",
    "evaluate",
    "gemm_address",
    "gradient",
    "predict",
    "train",
]
