"""The commands, as a person types them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

import jitprop
from jitprop.cli import terminal, warmup
from jitprop.cli.targets import TASKS


def run(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name; returns its exit code."""
    return terminal.run(cli, arguments)


def _widths(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, ...]:
    """Of hidden layers: 64,32, or none."""
    if value == "none":
        return ()
    texts = [text.strip() for text in value.split(",")]
    # Python refuses to read a number of more than 4,300 digits.
    widths = [int(text) if text.isdecimal() and len(text) < 100 else 0 for text in texts]
    if 0 in widths:
        raise click.BadParameter(f"{value!r}: expected widths such as 64,32, or none")
    return tuple(widths)


class _Finite(click.FloatRange):
    """A number in a range; click's own takes nan for one."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


FILE = click.Path(path_type=Path)
COUNT = click.IntRange(min=1)
QUIET = click.option("--quiet", is_flag=True, help="Say nothing but errors.")

DECIMAL = click.option(
    "--decimal", type=click.Choice(".,"), help="The decimal mark, where the table shows none."
)
THOUSANDS = click.option(
    "--thousands",
    type=click.Choice((".", ",", " ", "'")),
    help="What parts thousands, where the table does not show it.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(jitprop.__version__, message="jitprop %(version)s")
def cli() -> None:
    """Train multilayer perceptrons on tables, in CSV and Parquet files."""


@cli.command("demo")
def demo() -> None:
    """Train XOR and 1,797 handwritten digits, and show how fast."""
    from jitprop.cli import demo

    demo.run()


@cli.command("train", context_settings={"show_default": True})
@click.argument("table", type=FILE)
@click.option("--target", required=True, metavar="NAME", help="The column to be predicted.")
@click.option("--task", type=click.Choice(TASKS), help="Told from the target if not given.")
@click.option("--drop", multiple=True, metavar="A,B", help="Columns to leave out.")
@click.option(
    "--missing",
    multiple=True,
    metavar="TEXT",
    help="What stands for a missing value, beside nothing and, in a CSV file, NA, nan and null.",
)
@click.option("--text", multiple=True, metavar="A,B", help="Columns of text: zip codes, say.")
@click.option("--number", multiple=True, metavar="A,B", help="Columns that hold numbers.")
@click.option(
    "--keep", multiple=True, metavar="A,B", help="Columns that look like ids, and are not."
)
@DECIMAL
@THOUSANDS
@click.option(
    "--hidden",
    callback=_widths,
    default="64,32",
    metavar="N,N",
    help="Units of each hidden layer, or none.",
)
@click.option("--activation", default="relu", metavar="NAME", help="Of the hidden layers.")
@click.option("--optimizer", default="adam", metavar="NAME", help="sgd, adam, adamw, ...")
@click.option(
    "--learning-rate",
    type=_Finite(min=0, min_open=True),
    metavar="X",
    help="Of each update. If not given 0.003 for adam and adamw, 0.001 for rmsprop, else 0.1.",
)
@click.option(
    "--weight-decay",
    type=_Finite(min=0),
    metavar="X",
    help="1 / rows that train, if not given.",
)
@click.option("--batch-size", type=COUNT, metavar="N", help="16 to 256, by the size of the table.")
@click.option("--epochs", type=COUNT, default=300, metavar="N", help="At most.")
@click.option(
    "--validation",
    type=_Finite(min=0, max=0.9),
    default=0.2,
    metavar="SHARE",
    help="Of the rows, kept from training to find the best epoch; 0 trains on all.",
)
@click.option(
    "--patience",
    type=COUNT,
    default=30,
    metavar="N",
    help="Epochs that may pass without a better one.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, metavar="N", help="Of all chance.")
@click.option("--dtype", type=click.Choice(("float32", "float64")), default="float32")
@click.option("--out", type=FILE, default="model.safetensors", metavar="FILE", help="The model.")
@click.option(
    "--plot",
    type=FILE,
    metavar="FILE",
    help="The picture: .png, .svg or .pdf. Beside the model if not given.",
)
@click.option("--no-plot", is_flag=True, help="Draw no picture.")
@QUIET
def train(**arguments: Any) -> None:
    """
    Learn a column of TABLE from its other columns, and write a model file.

    TABLE is a CSV file (UTF-8, names in the first row) or a Parquet file. Numbers are
    standardised, text and booleans become one input for each category, missing values are
    filled and marked: all of it travels in the model file.
    """
    from jitprop.cli import train

    train.run(**arguments)


@cli.command("predict")
@click.argument("model", type=FILE)
@click.argument("table", type=FILE)
@click.option(
    "--out", type=FILE, metavar="FILE", help=".csv or .parquet; if not given, CSV to the terminal."
)
@click.option("--proba", is_flag=True, help="Add the probability of each class.")
@DECIMAL
@THOUSANDS
@QUIET
def predict(**arguments: Any) -> None:
    """
    Predict the target of each row of TABLE with a MODEL file.

    TABLE needs the columns that the model was trained on, by name, in any order.
    """
    from jitprop.cli import predict

    predict.run(**arguments)


@cli.command("info")
@click.argument("model", type=FILE)
def info(model: Path) -> None:
    """Show what is in a MODEL file."""
    from jitprop.cli import models, report

    report.info(model, *models.load(model))


@cli.command("warmup")
def compile_all() -> int:
    """Compile all kernels now, and keep them on disk."""
    return warmup.main()
