"""
Trained nets for other programs: `to_onnx` for runtimes, `to_c` for microcontrollers.

Both take a `jitprop.Trainer`, and a fitted ``MLPClassifier`` or ``MLPRegressor``, jitprop's or
scikit-learn's own.
"""

from jitprop.export.c99 import to_c
from jitprop.export.onnx import to_onnx

__all__ = ["to_c", "to_onnx"]
