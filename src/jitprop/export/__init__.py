"""
Export of trained nets to other programs: `to_onnx` for runtimes, `to_c` for microcontrollers.

Both take a `jitprop.Trainer`, or a fitted ``MLPClassifier`` or ``MLPRegressor`` of jitprop or
scikit-learn.
"""

from jitprop.export.c99 import to_c
from jitprop.export.onnx import to_onnx

__all__ = ["to_c", "to_onnx"]
