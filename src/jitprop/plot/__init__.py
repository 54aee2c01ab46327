"""
Pictures of training and of trained nets, by matplotlib: ``pip install 'jitprop[plot]'``.

Each function draws into one Axes, a new one or that given, and returns it; none shows or saves.
What colours tell apart, marks or places do too, and the colours are those that most eyes can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from jitprop import checks
from jitprop._types import Array
from jitprop.data import cast
from jitprop.plot import canvas
from jitprop.trainer import Trainer
from jitprop.training.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D


def loss_curves(history: History, ax: Axes | None = None) -> Axes:
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
    """
    if not isinstance(history, History):
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


def decision_boundary(
    trainer: Trainer, X: npt.ArrayLike, y: npt.ArrayLike, ax: Axes | None = None
) -> Axes:
    """
    Draw what a net of two inputs answers in the plane, and the samples on top.

    One sigmoid output: its value in colours, and the line where it is 0.5. Softmax outputs: the
    region of each class, the one of the highest probability. The bar beside has the mark of each
    class's samples in its place.

    Parameters
    ----------
    trainer : Trainer
        With 2 inputs; with 1 sigmoid output or with softmax outputs.
    X : (n_samples, 2) array-like
        The plane is drawn around them.
    y : (n_samples,) class labels, or (n_samples, n_outputs) targets
        Of a row of probabilities the highest is the class; of one, whether it is above 0.5.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure if None.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    TypeError, ValueError
        For another net, or bad samples.
    ImportError
        Where matplotlib is missing.
    """
    canvas.check_trainer(trainer)
    sizes, output = trainer.layer_sizes, trainer._spec.activations[-1]
    binary = sizes[-1] == 1 and output == "sigmoid"
    if sizes[0] != 2 or not (binary or output == "softmax"):
        raise ValueError(
            "decision_boundary needs a trainer with 2 inputs, and with 1 sigmoid output or softmax "
            f"outputs; got layer_sizes {list(sizes)}, output_activation {output!r}"
        )
    points = cast.inputs(X, 2, np.dtype(np.float64))[:]
    n_classes = max(2, sizes[-1])
    classes = canvas.classes("y", y, n_classes)
    if len(classes) != len(points):
        raise ValueError(
            f"y must have one row for each of the {len(points)} rows of X; got {len(classes)}"
        )
    ax = canvas.axes(ax)

    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.1 * np.where(high > low, high - low, 1.0)
    n = canvas.GRID
    across, up = np.linspace(low - margin, high + margin, n).T
    plane = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
    answers = np.asarray(trainer.predict(plane), np.float64).reshape(n, n, -1)
    draw = canvas.probability if binary else canvas.regions
    colours, bar, places = draw(ax, across, up, answers)
    for k in range(n_classes):
        rows = points[classes == k]
        for where, x, height in ((ax, rows[:, 0], rows[:, 1]), (bar, [0.5], [places[k]])):
            where.scatter(
                x, height, s=30, color=colours[k], marker=canvas.MARKERS[k % len(canvas.MARKERS)],
                edgecolors="black", linewidths=0.8, zorder=3,
            )  # fmt: skip
    ax.set_xlabel("input 0")
    ax.set_ylabel("input 1")
    ax.set_xlim(across[0], across[-1])
    ax.set_ylim(up[0], up[-1])
    return ax


def weights(
    trainer: Trainer,
    layer: int,
    ax: Axes | None = None,
    *,
    image_shape: tuple[int, int] | None = None,
) -> Axes:
    """
    Draw the weights of a layer: a cell each, blue below 0, white at 0, red above.

    Parameters
    ----------
    trainer : Trainer
    layer : int
        Which: 0 is that of the inputs, whose units are read row by row, as ``weights[0]`` is.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure if None.
    image_shape : (height, width), optional
        Where the inputs are the pixels of an image: draw for each output unit its weights as such
        an image. ``(8, 8)`` for images of 64 pixels.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    TypeError, ValueError
        For a layer that is not there, or an ``image_shape`` of another number of pixels.
    ImportError
        Where matplotlib is missing.
    """
    canvas.check_trainer(trainer)
    layer = checks.integer("layer", layer, low=0)
    n_layers = len(trainer.weights)
    if layer >= n_layers:
        raise ValueError(f"layer must be an integer from 0 to {n_layers - 1}; got {layer}")
    W = np.array(trainer.weights[layer], np.float64)
    limit = float(np.abs(W).max()) or 1.0  # a layer of zeros is white
    if image_shape is None:
        cells, ticks = W, None
    else:
        cells, ticks = canvas.mosaic(W, canvas.image_shape(image_shape, len(W)))
    ax = canvas.axes(ax)
    image = ax.imshow(
        cells, canvas.DIVERGING, vmin=-limit, vmax=limit, interpolation="nearest",
        aspect="auto" if ticks is None else "equal",
    )  # fmt: skip
    ax.figure.colorbar(image, ax=ax, label="weight")
    if ticks is None:
        ax.set_xlabel("output unit")
        ax.set_ylabel("input unit")
        for axis in (ax.xaxis, ax.yaxis):
            canvas.whole_ticks(axis)
    else:
        places, names = ticks
        ax.set_facecolor("0.6")
        ax.set_yticks(places, names)
        ax.set_xticks([])
        ax.set_ylabel("first output unit of the row")
        ax.set_xlabel("one image of input weights for each output unit")
    return ax


def predicted_against_true(y: npt.ArrayLike, p: npt.ArrayLike, ax: Axes | None = None) -> Axes:
    """
    Draw predictions over true values; right ones lie on the diagonal.

    In a corner stands R2 = 1 - sum (y - p)**2 / sum (y - mean y)**2: 1 where all are right, 0
    where they are no better than the mean. Where the largest value is above 1e100 or below 1e-100,
    both axes have a power of ten as their unit, and say so.

    Parameters
    ----------
    y : (n_samples,) or (n_samples, 1) array-like
        True values.
    p : (n_samples,) or (n_samples, 1) array-like
        What `Trainer.predict` says of them. Of several outputs, one at a time.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure if None.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    TypeError, ValueError
        For values that are no finite numbers, or not equally many.
    ImportError
        Where matplotlib is missing.
    """
    true, predicted = canvas.column("y", y), canvas.column("p", p)
    if len(true) != len(predicted):
        raise ValueError(f"p must have as many values as y, {len(true)}; got {len(predicted)}")
    ax = canvas.axes(ax)
    unit = canvas.unit(np.concatenate([true, predicted]))
    true, predicted = true / unit, predicted / unit
    both = np.concatenate([true, predicted])
    margin = 0.05 * (float(np.ptp(both)) or 1.0)
    limits = (both.min() - margin, both.max() + margin)
    ax.plot(limits, limits, "--", color="0.35", label="predicted = true", zorder=1)
    ax.scatter(true, predicted, s=16, color=canvas.COLOURS[0], alpha=0.6, linewidths=0)
    variation = float(((true - true.mean()) ** 2).sum())
    score = f"{1 - float(((true - predicted) ** 2).sum()) / variation:.3f}" if variation else "-"
    ax.text(0.04, 0.96, f"$R^2$ = {score}", transform=ax.transAxes, va="top")
    ax.set_xlim(limits)
    ax.set_ylim(limits)
    ax.set_aspect("equal")
    tail = "" if unit == 1 else f", in units of {unit:.0e}"
    ax.set_xlabel(f"true{tail}")
    ax.set_ylabel(f"predicted{tail}")
    ax.legend(loc="lower right")
    return ax


def confusion_matrix(
    y: npt.ArrayLike,
    p: npt.ArrayLike,
    labels: list[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """
    Draw how many samples of each class were given each class.

    Parameters
    ----------
    y : (n_samples,) class labels 0, 1, ..., or (n_samples, n_classes) targets
    p : the same, or what `Trainer.predict` returns
        Of a row of probabilities the highest is the class; of one, whether it is above 0.5.
    labels : list of str, optional
        The names of the classes, in their order; their numbers if None.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure if None.

    Returns
    -------
    matplotlib.axes.Axes
        A row for each true class, a column for each predicted one; with more than 16 classes the
        counts are a bar of colours instead of numbers.

    Raises
    ------
    TypeError, ValueError
        For classes that are none, not equally many, or more than there are labels.
    ImportError
        Where matplotlib is missing.
    """
    n_classes = None if labels is None else len(canvas.names(labels))
    true, predicted = canvas.classes("y", y, n_classes), canvas.classes("p", p, n_classes)
    if len(true) != len(predicted):
        raise ValueError(f"p must have as many rows as y, {len(true)}; got {len(predicted)}")
    columns = [np.shape(a)[1] for a in (y, p) if np.ndim(a) == 2]
    k = n_classes or max(2, 1 + int(true.max()), 1 + int(predicted.max()), *columns)
    counts = np.bincount(true * k + predicted, minlength=k * k).reshape(k, k)
    ax = canvas.axes(ax)
    image = ax.imshow(counts, "Blues", vmin=0, interpolation="nearest")
    if k <= canvas.CLASSES_IN_FULL:
        for i, j in np.ndindex(counts.shape):
            dark = np.dot(image.to_rgba(counts[i, j])[:3], (0.299, 0.587, 0.114)) < canvas.DARK
            ax.text(
                j, i, f"{counts[i, j]}", ha="center", va="center",
                color="white" if dark else "black", fontsize=min(10, 100 / k),
            )  # fmt: skip
    else:
        ax.figure.colorbar(image, ax=ax, label="samples")
    if k <= canvas.CLASSES_IN_FULL or labels is not None:
        names = list(map(str, range(k))) if labels is None else list(labels)
        ax.set_xticks(range(k), names)
        if k * max(map(len, names)) > 30:  # side by side they might touch
            ax.tick_params("x", rotation=45)
            for text in ax.get_xticklabels():
                text.set(ha="right", rotation_mode="anchor")
        ax.tick_params(labelsize=min(10, 160 / k))
        ax.set_yticks(range(k), names)
    ax.set_xlabel("predicted class")
    ax.set_ylabel("true class")
    return ax
