"""What `jitprop.plot` draws with: Axes, colours, parts of pictures; and its checks of input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from jitprop import checks
from jitprop._types import Array
from jitprop.data import cast

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    Drawn: TypeAlias = tuple[list[Any], Axes, list[float]]
    """Colours of the classes, the Axes of the bar, and where in it the marks of the classes go."""

DECADES = 2.0
"""A loss that falls by so many powers of ten gets a logarithmic axis."""

GRID = 300
"""Points along each side of the grid of a decision boundary: an image sharp on most screens."""

CLASSES_IN_FULL = 16
"""Classes up to which every count and every number of a class can be read."""

MOST_CLASSES = 1000
"""A label above is a mistake, and would ask for a picture of a million cells."""

DARK = 0.45
"""Brightness up to which letters are white, above it black: the contrast is 4.5 and more."""

# Okabe and Ito, Color Universal Design, 2008, in an order that keeps neighbours far apart.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442", "#999999")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DIVERGING = "RdBu_r"
"""Blue below the centre, white, red above: told apart without green."""


# How it is drawn.


def axes(ax: Any, *, square: bool = True) -> Axes:
    """The Axes to draw into, checked; those of a new figure if None."""
    try:
        from matplotlib import pyplot as plt
        from matplotlib.axes import Axes
    except ImportError as error:
        raise ImportError(
            f"pictures need matplotlib: pip install 'jitprop[plot]' ({error})"
        ) from error
    if ax is None:
        ax = plt.subplots(figsize=(5.4, 4.6) if square else (6.4, 4.0), layout="constrained")[1]
    if not isinstance(ax, Axes):
        raise TypeError(f"ax must be a matplotlib Axes, or None; got {checks.shown(ax)}")
    return ax


def whole_ticks(axis: Any) -> None:
    """What an axis counts is whole."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True))


def spans_decades(values: Array) -> bool:
    """Whether a logarithmic axis shows more."""
    values = values[np.isfinite(values)]
    return bool(values.min() > 0 and np.log10(values.max() / values.min()) >= DECADES)


def unit(values: Array) -> float:
    """
    A power of ten to draw values in: 1, but where squares would overflow or vanish.

    matplotlib itself has trouble there: it subtracts ends of axes, and squares distances.
    """
    largest = float(np.abs(values).max())
    if largest == 0 or 1e-100 <= largest <= 1e100:
        return 1.0
    return float(f"1e{int(np.floor(np.log10(largest)))}")


def probability(ax: Axes, across: Array, up: Array, answers: Array) -> Drawn:
    """The probability of class 1 in colours, and the line where it is 0.5."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    p = answers[..., 0]
    # Not to the map's dark ends: marks must stand out.
    pale = ListedColormap(colormaps[DIVERGING](np.linspace(0.3, 0.7, 256)))
    image = ax.pcolormesh(across, up, p, cmap=pale, vmin=0, vmax=1, rasterized=True)
    bar = ax.figure.colorbar(image, ax=ax, label="output: probability of class 1")
    bar.ax.axhline(0.5, color="black", linewidth=1.5)
    if p.min() < 0.5 < p.max():
        ax.contour(across, up, p, levels=[0.5], colors="black", linewidths=1.5)
    return [COLOURS[0], COLOURS[3]], bar.ax, [0.04, 0.96]


def regions(ax: Axes, across: Array, up: Array, answers: Array) -> Drawn:
    """The region of each class, and lines between them."""
    from matplotlib import colormaps

    k = answers.shape[-1]
    colours: list[Any] = list(COLOURS[:k])
    if k > len(COLOURS):
        colours = list(colormaps["viridis"](np.linspace(0, 1, k)))
    regions = answers.argmax(axis=-1)
    image = ax.pcolormesh(
        across, up, regions, cmap=pale(colours), vmin=-0.5, vmax=k - 0.5, rasterized=True
    )
    bar = ax.figure.colorbar(image, ax=ax, label="class of the highest output")
    bar.set_ticks(range(k)) if k <= CLASSES_IN_FULL else whole_ticks(bar.ax.yaxis)
    bar.ax.tick_params(length=0)
    for c in np.unique(regions):
        lead = answers[..., c] - np.delete(answers, c, axis=-1).max(axis=-1)
        if lead.min() < 0 < lead.max():
            ax.contour(across, up, lead, levels=[0.0], colors="0.25", linewidths=0.8)
    return colours, bar.ax, list(range(k))


def pale(colours: Any) -> Any:
    """A colour map on which marks of these colours stand out."""
    from matplotlib.colors import ListedColormap, to_rgb

    return ListedColormap(1 - 0.5 * (1 - np.array([to_rgb(colour) for colour in colours])))


def mosaic(W: Array, shape: tuple[int, int]) -> tuple[Array, tuple[list[float], list[str]]]:
    """Images in rows, a gap of one pixel around each; and the ticks of the rows."""
    height, width = (n + 1 for n in shape)
    n_units = W.shape[1]
    n_columns = int(np.ceil(np.sqrt(n_units)))
    n_rows = -(-n_units // n_columns)
    cells = np.full((n_rows * height + 1, n_columns * width + 1), np.nan)
    for unit in range(n_units):
        row, column = divmod(unit, n_columns)
        top, left = row * height + 1, column * width + 1
        cells[top : top + shape[0], left : left + shape[1]] = W[:, unit].reshape(shape)
    places = [row * height + height / 2 for row in range(n_rows)]
    return cells, (places, [str(row * n_columns) for row in range(n_rows)])


# What is checked.


def image_shape(shape: Any, n_pixels: int) -> tuple[int, int]:
    """(height, width), of so many pixels."""
    if not checks.is_list(shape) or len(shape) != 2:
        raise TypeError(f"image_shape must be (height, width); got {checks.shown(shape)}")
    height, width = (checks.integer(f"image_shape[{i}]", n, low=1) for i, n in enumerate(shape))
    if height * width != n_pixels:
        raise ValueError(
            f"image_shape must have {n_pixels} pixels, one for each input of the layer; "
            f"got {height} x {width} = {height * width}"
        )
    return height, width


def names(labels: Any) -> list[str]:
    """At least one name."""
    if not checks.is_list(labels) or len(labels) == 0:
        raise TypeError(f"labels must be a list of names; got {checks.shown(labels)}")
    if not all(isinstance(name, str) for name in labels):
        raise TypeError(f"labels must be a list of names; got {checks.shown(labels)}")
    return list(labels)


def column(name: str, values: Any) -> Array:
    """One finite number for each sample, in float64."""
    array = cast.real(name, values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or len(array) == 0:
        raise ValueError(
            f"{name} must have shape (n_samples,) or (n_samples, 1); got shape {array.shape}"
        )
    return finite(name, array)


def finite(name: str, array: Array) -> Array:
    """In float64, if all is finite."""
    if not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(f"{name} must be finite; {name}{list(where)} is {array[where]}")
    return array.astype(np.float64)


def classes(name: str, values: Any, n_classes: int | None) -> npt.NDArray[np.int64]:
    """
    The class of each sample: labels as they are; of a row, the place of its highest number.

    One number a sample that is no whole one is the probability of class 1.
    """
    array = cast.real(name, values)
    if array.ndim not in (1, 2) or array.size == 0:
        raise ValueError(
            f"{name} must have shape (n_samples,) or (n_samples, n_classes); "
            f"got shape {array.shape}"
        )
    array = finite(name, array)
    if array.ndim == 2 and array.shape[1] > 1:
        labels: npt.NDArray[np.int64] = array.argmax(axis=1).astype(np.int64)
    else:
        array = array.reshape(-1)
        whole = array == np.floor(array)
        if not whole.all() and array.min() >= 0 and array.max() <= 1:
            array, whole = (array > 0.5).astype(np.float64), np.ones(len(array), bool)
        bad = ~whole | (array < 0) | (array >= MOST_CLASSES)
        if bad.any():
            i = int(np.argmax(bad))
            raise ValueError(
                f"{name} must hold class labels 0, 1, ..., or probabilities of class 1; "
                f"{name}[{i}] is {array[i]:g}"
            )
        labels = array.astype(np.int64)
    if n_classes is not None and labels.max() >= n_classes:
        i = int(np.argmax(labels))
        raise ValueError(
            f"{name} must hold classes from 0 to {n_classes - 1}; that of sample {i} is {labels[i]}"
        )
    return labels
