"""
Export of trained nets to other programs: `to_onnx` for runtimes, `to_c` for microcontrollers.

Both take a `jitprop.Trainer`, a `jitprop.Fleet`, or a fitted ``MLPClassifier`` or ``MLPRegressor``
of jitprop or scikit-learn. `register_skl2onnx` lets skl2onnx convert pipelines with jitprop's
estimators.
"""

from jitprop.export.c99 import to_c
from jitprop.export.onnx import to_onnx
from jitprop.export.pipelines import register_skl2onnx

__all__ = ["register_skl2onnx", "to_c", "to_onnx"]
