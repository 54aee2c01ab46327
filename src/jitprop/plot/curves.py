"""Curves of the loss and of the learning rate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jitprop import checks
from jitprop._types import Array
from jitprop.plot import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

COLUMNS = "loss", "validation_loss", "learning_rate"
"""What is drawn. An object that has all of these is taken for a history."""


def loss_curves(history: Any, ax: Axes | None = None) -> Axes:
    """
    Draw the training loss of each epoch, and the validation loss if there is one.

    Epochs are counted from 0, as in the arrays of `History`. The training loss is computed during
    an epoch, the validation loss after it. The axis of the loss is logarithmic if all losses are
    positive and span two powers of ten or more. If the learning rate changed, it is drawn too, on
    an axis on the right.

    Parameters
    ----------
    history : History
        It must have at least one epoch.
    ax : matplotlib.axes.Axes, optional
        Where to draw. None makes a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    TypeError, ValueError
        For a ``history`` that is no History, for an empty one, and for an ``ax`` that is no Axes.
    ImportError
        Without matplotlib.

    Examples
    --------
    >>> from jitprop import Trainer, plot
    >>> history = Trainer([1, 1], seed=0).fit([[0.0], [1.0]], [0.2, 0.7], epochs=10)
    >>> ax = plot.loss_curves(history)
    >>> ax.figure.savefig("loss.png")
    """
    if not all(hasattr(history, name) for name in COLUMNS):
        raise TypeError(f"history must be what fit returns; got {checks.shown(history)}")
    if len(history.loss) == 0:
        raise ValueError("history must have at least one epoch; got none")
    ax = canvas.axes(ax, square=False)
    validation, rate = history.validation_loss, history.learning_rate
    drawn = [_curve(ax, history.loss, canvas.COLOURS[0], "-", "training")]
    if np.isfinite(validation).any():
        drawn.append(_curve(ax, validation, canvas.COLOURS[1], "--", "validation"))
    if canvas.spans_decades(np.concatenate([np.asarray(line.get_ydata()) for line in drawn])):
        ax.set_yscale("log")
    canvas.whole_ticks(ax.xaxis)
    ax.set_xlabel("epoch, counted from 0")
    ax.set_ylabel("loss")

    if np.ptp(rate) > 0:
        right = ax.twinx()
        drawn.append(_curve(right, rate, "0.35", ":", "learning rate"))
        right.set_ylabel("learning rate")
        if canvas.spans_decades(np.asarray(rate)):
            right.set_yscale("log")
        right.legend(handles=drawn)  # these axes are on top, so no curve crosses the legend
    elif len(drawn) > 1:
        ax.legend()
    return ax


def _curve(ax: Axes, values: Array, colour: str, style: str, label: str) -> Line2D:
    marker = "o" if len(values) == 1 else None  # a line of one epoch has no length
    (line,) = ax.plot(np.arange(len(values)), values, style, c=colour, marker=marker, label=label)
    return line
