"""The curves of a fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jitprop import checks
from jitprop._types import Array
from jitprop.plot import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

DRAWN = "loss", "validation_loss", "learning_rate"
"""What a history has, and nothing else does."""


def loss_curves(history: Any, ax: Axes | None = None) -> Axes:
    """
    Draw the training loss, and where there is one the validation loss, epoch by epoch.

    Epochs are counted from 0, as the places in `History`'s arrays are. The training loss of an
    epoch is taken while it trains, the validation loss after it. The axis of the loss is
    logarithmic where all losses are positive and span two powers of ten or more. A learning rate
    that changed is drawn too, against an axis on the right.

    Parameters
    ----------
    history : History
        At least one epoch.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure if None.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    TypeError, ValueError
        For a history that is none, or empty, or an ``ax`` that is none.
    ImportError
        Where matplotlib is missing.

    Examples
    --------
    >>> from jitprop import Trainer, plot
    >>> history = Trainer([1, 1], seed=0).fit([[0.0], [1.0]], [0.2, 0.7], epochs=10)
    >>> ax = plot.loss_curves(history)
    >>> ax.figure.savefig("loss.png")
    """
    if not all(hasattr(history, name) for name in DRAWN):
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
        right.legend(handles=drawn)  # on the upper of the two axes, or a curve would cross it
    elif len(drawn) > 1:
        ax.legend()
    return ax


def _curve(ax: Axes, values: Array, colour: str, style: str, label: str) -> Line2D:
    marker = "o" if len(values) == 1 else None  # one epoch: a line of no length
    (line,) = ax.plot(np.arange(len(values)), values, style, c=colour, marker=marker, label=label)
    return line
