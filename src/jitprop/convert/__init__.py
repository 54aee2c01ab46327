"""
Nets of other libraries become trainers, and trainers become nets of other libraries.

The functions that begin with ``from_`` take over the layers and what is known of the training, with
the state of the optimizer. Training then goes on where it stopped. Given a list, they return a
`Fleet`. What jitprop does not have is refused by name.

Each function imports the other library when it is called.
"""

from jitprop.convert.fann import from_fann
from jitprop.convert.keras import from_keras, to_keras_weights
from jitprop.convert.onnx import from_onnx
from jitprop.convert.pytorch import from_torch, to_torch
from jitprop.convert.scikit_learn import from_sklearn, to_sklearn

__all__ = [
    "from_fann",
    "from_keras",
    "from_onnx",
    "from_sklearn",
    "from_torch",
    "to_keras_weights",
    "to_sklearn",
    "to_torch",
]
