"""Many settings tried on the same data, in this process or in those of an executor."""

from jitprop.sweeps.result import SweepResult
from jitprop.sweeps.search import sweep

__all__ = ["SweepResult", "sweep"]
