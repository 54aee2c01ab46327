"""Axes, colours, parts of pictures and checks of input for `jitprop.plot`."""

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
    """The colours of the classes, the Axes of the colour bar, and the positions of the classes'
    markers in the bar."""

DECADES = 2.0
"""An axis is logarithmic if its values span at least so many powers of ten."""

GRID = 300
"""Points along each side of a decision boundary's grid. The image is sharp on most screens."""

CLASSES_IN_FULL = 16
"""Up to so many classes, every count and every class number is written out and can be read."""

MAX_CLASSES = 1000
"""A label this large or larger is taken for a mistake: the picture would have a million cells."""

DARK = 0.45
"""Letters are white on cells darker than this, else black. Their contrast is at least 4.5."""

# Okabe and Ito, Color Universal Design, 2008, ordered so that neighbours differ clearly.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442", "#999999")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DIVERGING = "RdBu_r"
"""Blue below the centre, white, red above: told apart without green."""


# Parts of pictures.


def axes(ax: Any, *, square: bool = True) -> Axes:
    """
    Check the argument ``ax`` and return the Axes to draw into, of a new figure if it is None.

    Raises
    ------
    TypeError
        For anything but an Axes or None.
    ImportError
        Without matplotlib.
    """
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
    """Let an axis have ticks at whole numbers alone."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True))


def spans_decades(values: Array) -> bool:
    """Return whether positive values span `DECADES` powers of ten or more."""
    values = values[np.isfinite(values)]
    return bool(values.min() > 0 and np.log10(values.max() / values.min()) >= DECADES)


def unit(values: Array) -> float:
    """
    Return the power of ten that is the unit of an axis: 1, unless the values are extreme.

    Beyond 1e100 and below 1e-100 squares would overflow or vanish. matplotlib squares distances,
    and subtracts the ends of axes.
    """
    largest = float(np.abs(values).max())
    if largest == 0 or 1e-100 <= largest <= 1e100:
        return 1.0
    return float(f"1e{int(np.floor(np.log10(largest)))}")


def probability(ax: Axes, across: Array, up: Array, answers: Array) -> Drawn:
    """Draw the probability of class 1 in colours, and a line where it is 0.5."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    p = answers[..., 0]
    # Without the map's dark ends, on which markers would not stand out.
    pale = ListedColormap(colormaps[DIVERGING](np.linspace(0.3, 0.7, 256)))
    image = ax.pcolormesh(across, up, p, cmap=pale, vmin=0, vmax=1, rasterized=True)
    bar = ax.figure.colorbar(image, ax=ax, label="output: probability of class 1")
    bar.ax.axhline(0.5, color="black", linewidth=1.5)
    if p.min() < 0.5 < p.max():
        ax.contour(across, up, p, levels=[0.5], colors="black", linewidths=1.5)
    return [COLOURS[0], COLOURS[3]], bar.ax, [0.04, 0.96]


def regions(ax: Axes, across: Array, up: Array, answers: Array) -> Drawn:
    """Draw the region of each class, and lines between the regions."""
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
    """Return a colour map of paler colours, on which markers of these colours stand out."""
    from matplotlib.colors import ListedColormap, to_rgb

    return ListedColormap(1 - 0.5 * (1 - np.array([to_rgb(colour) for colour in colours])))


def mosaic(W: Array, shape: tuple[int, int]) -> tuple[Array, tuple[list[float], list[str]]]:
    """
    Arrange images in rows, with a gap of one pixel around each.

    Parameters
    ----------
    W : (n_pixels, n_units) float64 array
        The pixels of one image for each unit.
    shape : (height, width)

    Returns
    -------
    cells : 2-d float64 array
        nan in the gaps.
    ticks : (positions, labels)
        One for each row of images. The label is the number of the row's first unit.
    """
    height, width = (n + 1 for n in shape)
    n_units = W.shape[1]
    n_columns = int(np.ceil(np.sqrt(n_units)))
    n_rows = -(-n_units // n_columns)
    cells = np.full((n_rows * height + 1, n_columns * width + 1), np.nan)
    for unit in range(n_units):
        row, column = divmod(unit, n_columns)
        top, left = row * height + 1, column * width + 1
        cells[top : top + shape[0], left : left + shape[1]] = W[:, unit].reshape(shape)
    positions = [row * height + height / 2 for row in range(n_rows)]
    return cells, (positions, [str(row * n_columns) for row in range(n_rows)])


# Checks of input.


def image_shape(shape: Any, n_pixels: int) -> tuple[int, int]:
    """
    Check the argument ``image_shape`` and return (height, width).

    Raises
    ------
    TypeError, ValueError
        For anything but two ints whose product is ``n_pixels``.
    """
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
    """
    Check the argument ``labels`` and return it as a list of names.

    Raises
    ------
    TypeError
        For anything but a list of at least one str.
    """
    if not checks.is_list(labels) or len(labels) == 0:
        raise TypeError(f"labels must be a list of names; got {checks.shown(labels)}")
    if not all(isinstance(name, str) for name in labels):
        raise TypeError(f"labels must be a list of names; got {checks.shown(labels)}")
    return list(labels)


def column(name: str, values: Any) -> Array:
    """
    Check an argument that is one finite number for each sample.

    Returns
    -------
    (n_samples,) float64 array

    Raises
    ------
    TypeError, ValueError
    """
    array = cast.real(name, values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or len(array) == 0:
        raise ValueError(
            f"{name} must have shape (n_samples,) or (n_samples, 1); got shape {array.shape}"
        )
    return finite(name, array)


def finite(name: str, array: Array) -> Array:
    """
    Return the array in float64.

    Raises
    ------
    ValueError
        If a number in it is inf or nan.
    """
    if not np.isfinite(array).all():
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(f"{name} must be finite; {name}{list(index)} is {array[index]}")
    return array.astype(np.float64)


def classes(name: str, values: Any, n_classes: int | None) -> npt.NDArray[np.int64]:
    """
    Check class labels or probabilities, and return the class of each sample.

    Integers are labels. Of a row of several numbers the column of the highest one is the class. If
    there is one number for each sample, all are in [0, 1] and not all are whole, they are the
    probabilities of class 1: the class is 1 above 0.5.

    Returns
    -------
    (n_samples,) int64 array

    Raises
    ------
    TypeError, ValueError
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
        bad = ~whole | (array < 0) | (array >= MAX_CLASSES)
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
            f"{name} must hold classes from 0 to {n_classes - 1}; sample {i} has class {labels[i]}"
        )
    return labels
