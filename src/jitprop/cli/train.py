"""``jitprop train``: train on a table; write a model file, scores and a plot."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from jitprop.cli import column_types, files, pictures, report, tables, terminal, training
from jitprop.cli.extras import Extras
from jitprop.cli.extras import find as find_extras
from jitprop.cli.models import AnyModel
from jitprop.cli.reading import READING_OPTIONS, Reading
from jitprop.cli.refused import RefusedError
from jitprop.cli.small import SmallTraining
from jitprop.cli.tables import Say
from jitprop.cli.tabular import TableTraining
from jitprop.cli.training import Options
from jitprop.interrupts import Interrupts

NUMBERS_PER_EPOCH = 8
"""The most numbers that the history in a model file has for an epoch."""

BYTES_PER_NUMBER = 25
"""The most bytes of a number in the header."""

MAX_NUMBERS = 100_000
"""A longer history is stored outside the header of the file."""


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
    """Run the command; the parameters are its options."""
    requested = {name: settings.pop(name) for name in ("drop", *READING_OPTIONS)}
    options = Options.of(**settings)
    files.check("--out", out, table)
    picture = None if no_plot else plot or out.with_suffix(".png")
    if picture is not None:
        pictures.check(picture)
        files.check("--plot", picture, table, out)
    say = terminal.say_nothing if quiet else terminal.say
    saved = "no model was written"
    try:
        course = _begin(table, target, task, requested, options, say)
        files.rehearse("--out", out, lambda path: _rehearse(course.draft(), options, path))
        console, problem = report.console(quiet), course.problem
        errors = [_error_of(lambda: report.begin(console, table, course))]
        # Ctrl-C is held back from the last epoch until the model is saved.
        with Interrupts() as interrupts:
            interrupted = False
            try:
                with interrupts.heard():
                    course.train(progress=not quiet and _is_watched())
            except KeyboardInterrupt:
                interrupted = course.trainer.epochs_trained > 0
                if not interrupted:
                    raise
            model = course.model()
            try:
                model = replace(model, scores=training.score(model.outputs, problem))
            finally:
                files.keep(out, model.save)
            saved = f"the model after {course.trainer.epochs_trained} epochs is in {out}"
            if interrupted:
                raise KeyboardInterrupt
        extras = Extras()
        if picture is not None or not quiet:
            extras = find_extras(model, problem, options.seed)
        if picture is not None:
            drawn = pictures.Drawn(problem, course.history, model, extras)
            errors += [_error_of(lambda: pictures.draw(picture, drawn))]
            picture = None if errors[-1] else picture
        files_made = [("model", out), *([("picture", picture)] if picture else [])]
        errors += [_error_of(lambda: report.end(console, course, model.scores, extras, files_made))]
    except KeyboardInterrupt as error:
        raise terminal.Interrupted(f"interrupted; {saved}") from error
    for failed in filter(None, errors):
        raise RefusedError(f"{failed}; the model is in {out}") from failed


def _begin(
    table: Path, target: str, task: str | None, requested: Any, options: Options, say: Say
) -> SmallTraining | TableTraining:
    """Prepare the table and an untrained net."""
    read = tables.read(table, say)
    for option in ("drop", "text", "number", "keep"):
        requested[option] = tables.names(read.frame, requested[option])
    read = tables.drop(read, requested.pop("drop"))
    tables.check_width(read.frame)
    inferred = column_types.infer(read, target, Reading(**requested), say)
    kind = SmallTraining if options.fast else TableTraining
    return kind.begin(inferred, target, task, options, say)


def _rehearse(model: AnyModel, options: Options, path: Path) -> None:
    """Write the untrained model, as large as the trained one can be."""
    numbers = min(MAX_NUMBERS, NUMBERS_PER_EPOCH * (options.epochs or 0))
    try:
        model.save(path, spare=4096 + BYTES_PER_NUMBER * numbers)
    except ValueError as error:
        raise RefusedError(
            f"a model file has no room for the settings of {len(model.columns):,} columns and "
            f"their categories: leave some out with --drop ({error})"
        ) from error


def _error_of(work: Any) -> RefusedError | None:
    """Run a step whose failure must not lose the model; return its error."""
    try:
        work()
    except RefusedError as error:
        return error
    return None


def _is_watched() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()
