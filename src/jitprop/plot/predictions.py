"""Predictions beside what is true."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from jitprop.plot import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
        if k * max(map(len, names)) > 30:  # side by side they might touch
            ax.tick_params("x", rotation=45)
            for text in ax.get_xticklabels():
                text.set(ha="right", rotation_mode="anchor")
        ax.tick_params(labelsize=min(10, 160 / k))
        ax.set_yticks(range(k), names)
    ax.set_xlabel("predicted class")
    ax.set_ylabel("true class")
    return ax
