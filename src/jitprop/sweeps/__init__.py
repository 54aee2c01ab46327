"""Search for the best settings: many are tried on the same data, here or by an executor."""

from jitprop.sweeps.result import SweepResult
from jitprop.sweeps.search import sweep

__all__ = ["SweepResult", "sweep"]
