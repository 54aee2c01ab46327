"""The plot of a training: the losses, and predicted against true values."""

from __future__ import annotations

import warnings
from pathlib import Path

from jitprop import Trainer, plot
from jitprop.cli.refused import RefusedError
from jitprop.cli.targets import Classes
from jitprop.cli.training import Problem
from jitprop.files.atomic import replacing

FORMATS = ".png", ".svg", ".pdf"


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


def draw(path: Path, problem: Problem, trainer: Trainer) -> None:
    """
    Draw the losses, and beside them the predicted against the true values.

    The values are those of the validation rows; without any, those of the training rows.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    plot.loss_curves(trainer.history, ax=left)
    rows, part = problem.training, "training"
    if len(problem.validation):
        rows, part = problem.validation, "validation"
    y, outputs, target = problem.y[rows], trainer.predict(problem.X[rows]), problem.target
    if isinstance(target, Classes):
        labels = [_shown(label) for label in target.labels]
        plot.confusion_matrix(y.astype(int), outputs, labels, ax=right)
    else:
        plot.predicted_against_true(target.decode(y[:, None]), target.decode(outputs), ax=right)
    right.set_title(f"{_shown(target.name)}, {len(rows):,} {part} rows")
    try:
        with warnings.catch_warnings(), replacing(path) as file:
            # A character that the font lacks is drawn as a box, which needs no warning.
            warnings.filterwarnings("ignore", "Glyph")
            figure.savefig(file, format=path.suffix[1:].lower())
    except OSError as error:
        raise RefusedError(f"cannot write {path}: {error.strerror or error}") from error


def _shown(text: str) -> str:
    """Shorten a name for matplotlib, and escape dollars, which would begin a formula."""
    short = text if len(text) <= 24 else text[:23] + "\u2026"
    return "".join(c if c.isprintable() else " " for c in short).replace("$", r"\$")
