"""Pictures that compare predictions with true values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from jitprop.plot import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def predicted_against_true(y: npt.ArrayLike, p: npt.ArrayLike, ax: Axes | None = None) -> Axes:
    """
    Draw predicted values against true values. Exact predictions lie on the diagonal.

    A corner of the picture shows R2 = 1 - sum (y - p)**2 / sum (y - mean y)**2. It is 1 if all
    predictions are exact, and 0 if they are no better than the mean. If the largest absolute value
    is above 1e100 or below 1e-100, the unit of both axes is a power of ten, which their labels
    name.

    Parameters
    ----------
    y : (n_samples,) or (n_samples, 1) array-like
        True values.
    p : (n_samples,) or (n_samples, 1) array-like
        The predictions of `Trainer.predict`. Draw several outputs one at a time.
    ax : matplotlib.axes.Axes, optional
        Where to draw. None makes a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    TypeError, ValueError
        For values that are not finite numbers, and for ``y`` and ``p`` of different lengths.
    ImportError
        Without matplotlib.

    Examples
    --------
    >>> from jitprop import plot
    >>> ax = plot.predicted_against_true([1.0, 2.0, 3.0], [1.1, 1.9, 3.2])
    >>> ax.figure.savefig("predictions.png")
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
    Draw how many samples of each true class were predicted to be of each class.

    Parameters
    ----------
    y : (n_samples,) class labels 0, 1, ..., or (n_samples, n_classes) targets
        The true classes.
    p : (n_samples,) or (n_samples, n_classes) array-like
        The predictions of `Trainer.predict`, or predicted class labels. Of several probabilities
        the highest one is the class. A single probability above 0.5 is class 1.
    labels : list of str, optional
        The names of the classes, in the order of their numbers. None shows the numbers.
    ax : matplotlib.axes.Axes, optional
        Where to draw. None makes a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        It has a row for each true class and a column for each predicted one. With more than 16
        classes a colour bar takes the place of the numbers in the cells.

    Raises
    ------
    TypeError, ValueError
        For values that are no classes, for ``y`` and ``p`` of different lengths, and for a class
        without a label.
    ImportError
        Without matplotlib.

    Examples
    --------
    >>> from jitprop import plot
    >>> ax = plot.confusion_matrix([0, 0, 1, 1], [0, 1, 1, 1], labels=["cat", "dog"])
    >>> ax.figure.savefig("confusion.png")
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
        if k * max(map(len, names)) > 30:  # names so long would overlap side by side
            ax.tick_params("x", rotation=45)
            for text in ax.get_xticklabels():
                text.set(ha="right", rotation_mode="anchor")
        ax.tick_params(labelsize=min(10, 160 / k))
        ax.set_yticks(range(k), names)
    ax.set_xlabel("predicted class")
    ax.set_ylabel("true class")
    return ax
