"""``jitprop predict``: predict the target of each row of a table."""

from __future__ import annotations

from pathlib import Path

from jitprop.cli import files, models, tables, terminal
from jitprop.cli.refused import RefusedError
from jitprop.cli.targets import Classes


def run(
    model: Path,
    table: Path,
    out: Path | None,
    proba: bool,
    quiet: bool,
    decimal: str | None = None,
    thousands: str | None = None,
) -> None:
    """Run the command; the parameters are its options."""
    import pandas as pd

    say = terminal.say_nothing if quiet else terminal.say
    if out is not None:
        files.check("--out", out, table, model)
        files.check_table("--out", out)
    _, made = models.load(model)
    if made is None:
        raise RefusedError(
            f"{model} does not say which columns its net was trained on, since it was saved in "
            f"Python; {models.reader(model)} reads it"
        )
    target = made.target
    if proba and not isinstance(target, Classes):
        raise RefusedError(
            f"--proba is for classification, but the target {target.name!r} holds numbers"
        )
    read = tables.read(table, say)
    known = {column.name for column in made.columns}
    others = [str(name) for name in read.frame.columns if name not in known]
    predicted = made.predict(read, say, made.reading.with_marks(decimal, thousands))
    if others:
        say(f"columns that the model does not use are ignored: {tables.some(others)}")
    predictions = pd.DataFrame({target.name: predicted.values})
    if proba and isinstance(target, Classes):
        names = [f"{target.name}={label}" for label in target.labels]
        predictions[names] = predicted.probabilities
    files.write_table(predictions, out)
    if out is not None:
        say(f"{len(predictions):,} predictions are in {out}")
