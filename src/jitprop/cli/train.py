"""``jitprop train``: from a table to a model file, a table of scores and a picture."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from jitprop.cli import files, pictures, report, tables, telling, terminal, training
from jitprop.cli.models import Model
from jitprop.cli.reading import ASKED, Reading
from jitprop.cli.refused import RefusedError
from jitprop.cli.tables import Say
from jitprop.cli.training import Options, Problem
from jitprop.interrupts import Interrupts

NUMBERS_PER_EPOCH = 8
"""In the history of a model file, at most."""

BYTES_PER_NUMBER = 25

MOST_NUMBERS = 100_000
"""More are kept outside the header of the file."""


def run(
    table: Path,
    target: str,
    task: str | None,
    out: Path,
    plot: Path | None,
    no_plot: bool,
    quiet: bool,
    **settings: Any,
) -> None:
    """Train as the command's options of these names say."""
    asked = {name: settings.pop(name) for name in ("drop", *ASKED)}
    options = Options(**settings)
    files.check("--out", out, table)
    picture = None if no_plot else plot or out.with_suffix(".png")
    if picture is not None:
        pictures.check(picture)
        files.check("--plot", picture, table, out)
    say = terminal.say_nothing if quiet else terminal.say
    kept = "no model was written"
    try:
        model, problem = _prepare(table, target, task, asked, options, say)
        files.rehearse("--out", out, lambda path: _rehearse(model, options, path))
        console, trainer = report.console(quiet), model.trainer
        troubles = [_trouble(lambda: report.begin(console, table, problem, trainer))]
        # From the last epoch until the model is saved, Ctrl-C waits.
        with Interrupts() as interrupts:
            interrupted = False
            try:
                with interrupts.heard():
                    training.fit(trainer, problem, options, progress=not quiet and _is_watched())
            except KeyboardInterrupt:
                interrupted = trainer.epochs_trained > 0
                if not interrupted:
                    raise
            try:
                model = replace(model, scores=training.score(trainer, problem))
            finally:
                files.keep(out, model.save)
            kept = f"what was learned in {trainer.epochs_trained} epochs is in {out}"
            if interrupted:
                raise KeyboardInterrupt
        if picture is not None:
            troubles += [_trouble(lambda: pictures.draw(picture, problem, trainer))]
            picture = None if troubles[-1] else picture
        troubles += [_trouble(lambda: report.end(console, problem, model, out, picture))]
    except KeyboardInterrupt as error:
        raise terminal.Interrupted(f"interrupted; {kept}") from error
    for trouble in filter(None, troubles):
        raise RefusedError(f"{trouble}; the model is in {out}") from trouble


def _prepare(
    table: Path, target: str, task: str | None, asked: Any, options: Options, say: Say
) -> tuple[Model, Problem]:
    """A model that has learned nothing yet, and what it shall learn."""
    read = tables.read(table, say)
    for option in ("drop", "text", "number", "keep"):
        asked[option] = tables.names(read.frame, asked[option])
    read = tables.drop(read, asked.pop("drop"))
    told = telling.tell(read, target, Reading(**asked), say)
    problem = training.prepare(told, target, task, options, say)
    trainer = training.trainer_for(problem, options)
    return Model(trainer, problem.columns, problem.target, told.reading, {}), problem


def _rehearse(model: Model, options: Options, path: Path) -> None:
    """Write the model as large as it may get."""
    numbers = min(MOST_NUMBERS, NUMBERS_PER_EPOCH * options.epochs)
    try:
        model.save(path, spare=4096 + BYTES_PER_NUMBER * numbers)
    except ValueError as error:
        raise RefusedError(
            f"a model file cannot hold what has to be known of {len(model.columns):,} columns and "
            f"their categories: leave some out with --drop ({error})"
        ) from error


def _trouble(work: Any) -> RefusedError | None:
    """Do what comes beside the model, which is kept whether this succeeds or not."""
    try:
        work()
    except RefusedError as error:
        return error
    return None


def _is_watched() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()
