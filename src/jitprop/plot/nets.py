"""Pictures of a trained net."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from jitprop import checks
from jitprop.data import cast
from jitprop.plot import canvas
from jitprop.training.model import model_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from jitprop.trainer import Trainer


def decision_boundary(
    trainer: Trainer, X: npt.ArrayLike, y: npt.ArrayLike, ax: Axes | None = None
) -> Axes:
    """
    Draw the predictions of a net of two inputs in the plane, and the samples on top.

    For one sigmoid output, colours show its value, and a line shows where it is 0.5. For softmax
    outputs, colours show the class with the highest probability. The colour bar also has the marker
    of each class's samples.

    Parameters
    ----------
    trainer : Trainer
        It must have 2 inputs, and 1 sigmoid output or softmax outputs.
    X : (n_samples, 2) array-like
        The part of the plane around these samples is drawn.
    y : (n_samples,) class labels, or (n_samples, n_outputs) targets
        For several outputs the column of the highest target is the class. For one output a target
        above 0.5 is class 1.
    ax : matplotlib.axes.Axes, optional
        Where to draw. None makes a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    TypeError, ValueError
        For a net of another shape, or bad samples.
    ImportError
        Without matplotlib.

    Examples
    --------
    >>> from jitprop import Trainer, plot
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> trainer = Trainer([2, 8, 1], learning_rate=5.0, seed=0)
    >>> history = trainer.fit(X, y, epochs=1000)
    >>> ax = plot.decision_boundary(trainer, X, y)
    >>> ax.figure.savefig("boundary.png")
    """
    model = model_of(trainer)
    sizes, output = model.spec.layer_sizes, model.spec.activations[-1]
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
    answers = np.asarray(model.predict(plane), np.float64).reshape(n, n, -1)
    draw = canvas.probability if binary else canvas.regions
    colours, bar, positions = draw(ax, across, up, answers)
    for k in range(n_classes):
        rows = points[classes == k]
        for target, x, height in ((ax, rows[:, 0], rows[:, 1]), (bar, [0.5], [positions[k]])):
            target.scatter(
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
    Draw each weight of a layer as a cell: blue below 0, white at 0 and red above 0.

    Parameters
    ----------
    trainer : Trainer
    layer : int
        The layer's number. Layer 0 is next to the inputs: ``weights[0]`` is drawn, with a row for
        each input and a column for each output unit.
    ax : matplotlib.axes.Axes, optional
        Where to draw. None makes a new figure.
    image_shape : (height, width), optional
        The shape of an image whose pixels are the layer's inputs, row by row. The weights of each
        output unit are drawn as such an image. It is ``(8, 8)`` for images of 64 pixels.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    TypeError, ValueError
        For a layer that does not exist, or an ``image_shape`` of another number of pixels.
    ImportError
        Without matplotlib.

    Examples
    --------
    >>> from jitprop import Trainer, plot
    >>> ax = plot.weights(Trainer([16, 4, 1], seed=0), layer=0)
    >>> ax.figure.savefig("weights.png")
    """
    model = model_of(trainer)
    matrices, _ = model.spec.split(model.state.params)
    layer = checks.integer("layer", layer, low=0)
    n_layers = len(matrices)
    if layer >= n_layers:
        raise ValueError(f"layer must be an integer from 0 to {n_layers - 1}; got {layer}")
    W = np.array(matrices[layer], np.float64)
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
        positions, names = ticks
        ax.set_facecolor("0.6")
        ax.set_yticks(positions, names)
        ax.set_xticks([])
        ax.set_ylabel("first output unit of the row")
        ax.set_xlabel("one image of input weights for each output unit")
    return ax
