"""``jitprop train``: from a table to a model file, a table of scores and a picture."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from jitprop.cli import files, pictures, report, tables, telling, terminal, training
from jitprop.cli.models import Model
from jitprop.cli.reading import ASKED, Reading
from jitprop.cli.training import Options


def run(
    table: Path,
    target: str,
    task: str | None,
    drop: tuple[str, ...],
    out: Path,
    plot: Path | None,
    no_plot: bool,
    quiet: bool,
    **settings: Any,
) -> None:
    """Train as the command's options of these names say."""
    asked = Reading(**{name: settings.pop(name) for name in ASKED})
    options = Options(**settings)
    files.check("--out", out, table)
    picture = None if no_plot else plot or out.with_suffix(".png")
    if picture is not None:
        pictures.check(picture)
        files.check("--plot", picture, table, out)
    say = terminal.say_nothing if quiet else terminal.say
    console = report.console(quiet)
    kept = "no model was written"
    try:
        read = tables.drop(tables.read(table, say), drop)
        told = telling.tell(read, target, asked, say)
        problem = training.prepare(told, target, task, options, say)
        trainer = training.trainer_for(problem, options)
        report.begin(console, table, problem, trainer)
        interrupted = False
        try:
            training.fit(trainer, problem, options, progress=not quiet and sys.stderr.isatty())
        except KeyboardInterrupt:
            interrupted = trainer.epochs_trained > 0
            if not interrupted:
                raise
        measured = training.score(trainer, problem)
        model = Model(trainer, problem.columns, problem.target, told.reading, measured)
        model.save(out)
        kept = f"what was learned in {trainer.epochs_trained} epochs is in {out}"
        if interrupted:
            raise KeyboardInterrupt
        if picture is not None:
            pictures.draw(picture, problem, trainer)
        report.end(console, problem, trainer, measured, out, picture)
    except KeyboardInterrupt as error:
        raise terminal.Interrupted(f"interrupted; {kept}") from error
