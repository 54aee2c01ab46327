"""
Pictures of training and of trained nets, by matplotlib: ``pip install 'jitprop[plot]'``.

Each function draws into one Axes, a new one or the one that it is given, and returns it. None
shows or saves a picture. Marks or places tell apart what colours do, and the colours are those
that colour-blind people tell apart too.
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
