"""The plot of a training: the losses, and predicted against true values."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jitprop import History, plot
from jitprop.cli.extras import Extras
from jitprop.cli.models import AnyModel
from jitprop.cli.refused import RefusedError
from jitprop.cli.scores import BASELINE, BOOSTING, LOSSES, TRAINING, VALIDATION
from jitprop.cli.targets import Classes
from jitprop.cli.training import Problem
from jitprop.files.atomic import replacing
from jitprop.plot.canvas import unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = ".png", ".svg", ".pdf"

MAX_BARS = 12
"""The most columns whose importance is drawn."""


def check(path: Path) -> None:
    """
    Check that the file's name ends in a known format and that matplotlib can be imported.

    Raises
    ------
    RefusedError
        If the name has another ending, or matplotlib fails to load.
    ImportError
        If matplotlib is not installed.
    """
    if path.suffix.lower() not in FORMATS:
        raise RefusedError(f"--plot {path}: the name must end in {', '.join(FORMATS)}")
    try:
        import matplotlib.figure  # noqa: F401
    except ModuleNotFoundError:  # `jitprop.cli.main` says what to install
        raise
    except (ImportError, OSError, ValueError) as error:  # such as an unknown backend
        raise RefusedError(
            f"matplotlib, which draws the plot, cannot be loaded: {error}; "
            "--no-plot trains without a plot"
        ) from error


class Drawn(NamedTuple):
    """What is drawn: a problem, how it was learned, the model, and what was found besides."""

    problem: Problem
    history: History
    model: AnyModel
    extras: Extras


def draw(path: Path, drawn: Drawn) -> None:
    """
    Draw the losses, and beside them the predicted against the true values.

    The values are those of the validation rows; without any, those of the training rows. Below them
    are the scores beside those of the baselines, and the importances of the columns.
    """
    from matplotlib.figure import Figure

    rows = 1 + bool(drawn.model.scores)
    figure = Figure(figsize=(11, 4.8 * rows), layout="constrained")
    axes = figure.subplots(rows, 2, squeeze=False)
    plot.loss_curves(drawn.history, ax=axes[0, 0])
    _draw_predictions(axes[0, 1], drawn)
    if drawn.model.scores:
        _draw_scores(axes[1, 0], drawn)
        _draw_importances(axes[1, 1], drawn)
    try:
        with warnings.catch_warnings(), replacing(path) as file:
            # A character that the font lacks is drawn as a box, which needs no warning.
            warnings.filterwarnings("ignore", "Glyph")
            figure.savefig(file, format=path.suffix[1:].lower())
    except OSError as error:
        raise RefusedError(f"cannot write {path}: {error.strerror or error}") from error


def _draw_predictions(ax: Axes, drawn: Drawn) -> None:
    problem = drawn.problem
    rows, part = problem.training, "training"
    if len(problem.validation):
        rows, part = problem.validation, "validation"
    y, target = problem.y[rows], problem.target
    outputs = drawn.model.outputs(problem.X[rows])
    if isinstance(target, Classes):
        labels = [_shown(label) for label in target.labels]
        plot.confusion_matrix(y.astype(int), outputs, labels, ax=ax)
    else:
        plot.predicted_against_true(target.decode(y[:, None]), target.decode(outputs), ax=ax)
    ax.set_title(f"{_shown(target.name)}, {len(rows):,} {part} rows")


def _draw_scores(ax: Axes, drawn: Drawn) -> None:
    """Draw the loss of the net beside the losses of the baselines, on the same rows."""
    name = LOSSES[drawn.problem.target.task]
    row = dict(drawn.extras.beside(drawn.model.scores)[name])
    part = VALIDATION if VALIDATION in row else TRAINING
    bars = {"net": row[part], **{key: row[key] for key in (BOOSTING, BASELINE) if key in row}}
    scale = _draw_bars(ax, bars)
    ax.set_title(f"{part} rows: less is better")
    ax.set_xlabel(_in_units(name, scale))


def _draw_importances(ax: Axes, drawn: Drawn) -> None:
    """Draw how much the loss rises if a column is shuffled."""
    found = dict(list(drawn.extras.importances.items())[:MAX_BARS])
    if not found:
        ax.set_axis_off()
        return
    scale = _draw_bars(ax, {_shown(name): rise for name, rise in found.items()})
    ax.set_title("importance: what shuffling a column costs")
    ax.set_xlabel(_in_units(f"rise of the {LOSSES[drawn.problem.target.task]}", scale))


def _draw_bars(ax: Axes, bars: dict[str, float]) -> float:
    """Draw horizontal bars, the first one at the top; return the unit of their axis."""
    scale = unit(np.array(list(bars.values())))
    places = np.arange(len(bars))
    drawn = ax.barh(places, [value / scale for value in bars.values()], height=0.6)
    ax.bar_label(drawn, [f"{value:.4g}" for value in bars.values()], padding=3)
    ax.set_yticks(places, list(bars))
    ax.invert_yaxis()
    ax.margins(x=0.2)
    return scale


def _in_units(label: str, scale: float) -> str:
    return label if scale == 1 else f"{label} / {scale:g}"


def _shown(text: str) -> str:
    """Shorten a name for matplotlib, and escape dollars, which would begin a formula."""
    short = text if len(text) <= 24 else text[:23] + "\u2026"
    return "".join(c if c.isprintable() else " " for c in short).replace("$", r"\$")
