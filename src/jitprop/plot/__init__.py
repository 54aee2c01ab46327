"""
Pictures of training and of trained nets, drawn by matplotlib (``pip install 'jitprop[plot]'``).

Each function draws into the given Axes, or into a new one, and returns it. It neither shows nor
saves the picture. What colours tell apart, markers or positions tell apart too. Colour-blind people
can tell the colours apart.
"""

from jitprop.plot.curves import loss_curves
from jitprop.plot.nets import decision_boundary, weights
from jitprop.plot.predictions import confusion_matrix, predicted_against_true

__all__ = [
    "confusion_matrix",
    "decision_boundary",
    "loss_curves",
    "predicted_against_true",
    "weights",
]
