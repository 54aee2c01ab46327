"""Export of nets for tables, with the encoding of the columns inside, to ONNX and C."""

from jitprop.tabular.export.c99 import to_c
from jitprop.tabular.export.onnx import to_onnx

__all__ = ["to_c", "to_onnx"]
