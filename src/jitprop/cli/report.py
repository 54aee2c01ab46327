"""What a command prints of a table and a model."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jitprop import Trainer
from jitprop.checks import BRIEF, printable
from jitprop.cli import terminal
from jitprop.cli.extras import Extras
from jitprop.cli.importances import Importances
from jitprop.cli.models import AnyModel, TableModel
from jitprop.cli.scores import LOSSES, TRAINING, VALIDATION, Scores
from jitprop.cli.small import SmallTraining
from jitprop.cli.tables import some
from jitprop.cli.tabular import TableTraining
from jitprop.cli.targets import Target
from jitprop.cli.terminal import one_line
from jitprop.cli.training import Compared

MAX_IMPORTANCES = 10
"""The most columns whose importance is printed."""


class _Page(io.StringIO):
    """A buffer for stdout, which has stdout's encoding and is a terminal if stdout is one."""

    def isatty(self) -> bool:
        return sys.stdout is not None and sys.stdout.isatty()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(sys.stdout, "encoding", None) or "utf-8"


def console(quiet: bool = False) -> Console:
    """Return a console that prints to a buffer and shows names literally, without markup."""
    return Console(file=_Page(), quiet=quiet, markup=False, emoji=False, highlight=False)


@contextlib.contextmanager
def _written(console: Console) -> Iterator[None]:
    """Write to stdout what was printed: rich itself ends the process if a pipe is closed."""
    page = console.file
    yield
    text = page.getvalue() if isinstance(page, _Page) else ""
    console.file = _Page()
    terminal.write(text)


def begin(console: Console, table: Path, course: SmallTraining | TableTraining) -> None:
    """Print the table, the target and the net, before training."""
    pairs = [
        ("table", f"{table}, {len(course.problem.X):,} rows"),
        ("target", _target(course.problem.target)),
        ("columns", course.columns()),
        ("net", _layers(course.trainer)),
    ]
    with _written(console):
        _pairs(console, pairs)


def end(
    console: Console,
    course: SmallTraining | TableTraining,
    scores: Scores,
    extras: Extras,
    files: list[tuple[str, Path]],
) -> None:
    """Print the scores and the files, after training."""
    with _written(console):
        _end(console, course, scores, extras)
        _pairs(console, [(name, str(path)) for name, path in files])


def _compared(compared: Compared) -> str:
    """Say how the net of Levenberg-Marquardt compares with Adam's."""
    lm, adam = compared.loss_of_lm, compared.loss_of_adam
    change = abs(lm - adam) / adam if adam > 0 else 0.0
    wins = compared.trainer is compared.small
    return (
        "Levenberg-Marquardt was tried on small nets, too. The best one is "
        f"{_layers(compared.small)}.\nIts validation loss is {lm:.4g}, {100 * change:.3g} % "
        f"{'below' if lm < adam else 'above'} Adam's {adam:.4g}: "
        f"{'this net is the model' if wins else 'the model is the net of Adam'}"
    )


def _end(
    console: Console, course: SmallTraining | TableTraining, scores: Scores, extras: Extras
) -> None:
    problem = course.problem
    if course.compared is not None:
        console.print(f"\n{_compared(course.compared)}", soft_wrap=True)
    epochs = course.trainer.epochs_trained
    if len(problem.validation):
        console.print(
            f"\n{epochs:,} epochs; the model is the net after epoch {course.best_epoch + 1:,}, "
            "which had the lowest validation error"
        )
    else:
        console.print(f"\n{epochs:,} epochs on all rows")
    rows = {TRAINING: len(problem.training), VALIDATION: len(problem.validation)}
    _scores(console, extras.beside(scores), rows)
    _importances(console, extras.importances, problem.target)


def info(path: Path, trainer: Trainer, made: AnyModel | None) -> None:
    """Print the contents of a model file."""
    out = console()
    with _written(out):
        _info(out, path, trainer, made)


def _info(out: Console, path: Path, trainer: Trainer, made: AnyModel | None) -> None:
    epochs = made.epochs if isinstance(made, TableModel) else trainer.epochs_trained
    pairs = [
        ("model", str(path)),
        ("net", f"{_layers(trainer)}, {trainer.parameters.dtype}"),
    ]
    if epochs or made is not None:
        pairs += [("trained", f"{epochs:,} epochs")]
    if made is None:
        _pairs(out, [*pairs, ("columns", "unknown, since it was saved in Python")])
        return
    target = made.target
    pairs += [("target", _target(target))]
    if made.missing:
        pairs += [("missing", some(made.missing))]
    _pairs(out, pairs)
    table = Table("column", "kind", "inputs", "values", box=SIMPLE)
    for column in made.columns:
        name = printable(column.name, BRIEF)
        row = name, column.kind, str(column.n_inputs), column.describe()
        table.add_row(*map(Text, row))
    out.print(table)
    _scores(out, made.scores, {})


def _target(target: Target) -> str:
    return f"{printable(target.name, BRIEF)}: {target.task}, {target.describe()}"


def _layers(trainer: Trainer) -> str:
    sizes = "-".join(map(str, trainer.layer_sizes))
    return f"{sizes}, {trainer.parameters.size:,} parameters"


def _scores(console: Console, measured: Scores, n_rows: dict[str, int]) -> None:
    """Print the scores, with one column for each part of the table."""
    parts = list(dict.fromkeys(part for row in measured.values() for part in row))
    table = Table("", box=SIMPLE)
    for part in parts:
        rows = f"\n{n_rows[part]:,} rows" if part in n_rows else ""
        table.add_column(f"{part}{rows}", justify="right")
    for name, row in measured.items():
        table.add_row(name, *(f"{row[part]:.4g}" if part in row else "" for part in parts))
    console.print(table)


def _importances(console: Console, found: Importances, target: Target) -> None:
    """Print the columns that matter most."""
    if not found:
        return
    name = LOSSES[target.task]
    console.print(f"The {name} rises so much if a column's values are shuffled:", soft_wrap=True)
    table = Table("column", box=SIMPLE)
    table.add_column("rise", justify="right")
    for column, rise in list(found.items())[:MAX_IMPORTANCES]:
        table.add_row(Text(printable(column, BRIEF)), f"{rise:.4g}")
    console.print(table)
    if len(found) > MAX_IMPORTANCES:
        console.print(f"{len(found) - MAX_IMPORTANCES:,} more columns matter less\n")


def _pairs(console: Console, pairs: list[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        console.print(f"{name:<{width}}  {one_line(value)}", soft_wrap=True)
