"""The commands and their options."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

import jitprop
from jitprop.cli import terminal, warmup
from jitprop.cli.targets import TASKS


def run(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name; return its exit code."""
    return terminal.run(cli, arguments)


def _widths(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[int, ...] | None:
    """Parse --hidden: widths such as 64,32, or none. None stays None."""
    if value is None:
        return None
    if value == "none":
        return ()
    texts = [text.strip() for text in value.split(",")]
    # int raises an error for more than 4,300 digits.
    widths = [int(text) if text.isdecimal() and len(text) < 100 else 0 for text in texts]
    if 0 in widths:
        raise click.BadParameter(f"{value!r}: expected widths such as 64,32, or none")
    return tuple(widths)


class _Finite(click.FloatRange):
    """A finite number in a range; click's FloatRange accepts nan."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


def _text(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """
    Decode arguments that are texts of a table, such as column names, as UTF-8 in any locale.

    In an ASCII locale, Python decodes every other byte to a surrogate.
    """
    if value is None:  # while a shell completes the command
        return None
    if not isinstance(value, str):
        return tuple(_text(ctx, param, text) for text in value)
    try:
        return os.fsencode(value).decode()
    except UnicodeError:  # no table has such a text
        return value


FILE = click.Path(path_type=Path)
COUNT = click.IntRange(min=1)
MOST_EPOCHS = 1 << 62
QUIET = click.option("--quiet", is_flag=True, help="Print errors only.")

DECIMAL = click.option(
    "--decimal", type=click.Choice(".,"), help="The decimal mark, if the table does not show it."
)
THOUSANDS = click.option(
    "--thousands",
    type=click.Choice((".", ",", " ", "'")),
    help="The thousands separator, if the table does not show it.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(jitprop.__version__, message="jitprop %(version)s")
def cli() -> None:
    """Train multilayer perceptrons on tables in CSV and Parquet files."""


@cli.command("demo")
def demo() -> None:
    """Train XOR and 1,797 handwritten digits, and show the speed."""
    from jitprop.cli import demo

    demo.run()


@cli.command("lesson")
@click.argument("what", metavar="xor|one-step|scalar|TABLE")
@click.option("--out", type=FILE, metavar="FILE", help="The page. If not given, an .html here.")
@click.option("--epochs", type=click.IntRange(1, MOST_EPOCHS), metavar="N")
@click.option(
    "--target",
    callback=_text,
    metavar="NAME",
    help="The column to predict. If not given, the last.",
)
@click.option(
    "--hidden", callback=_widths, metavar="N,N", help="Units of hidden layers. If not given, 4."
)
@click.option("--activation", metavar="NAME", help="Of hidden layers. If not given, tanh.")
@click.option(
    "--learning-rate", type=_Finite(min=0, min_open=True), metavar="X", help="If not given, 0.1."
)
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="If not given, 0.")
@QUIET
def lesson(**arguments: Any) -> None:
    """
    Write a page on which a person sees a small net learn, with every number of backpropagation.

    xor, one-step and scalar are the three teaching notebooks. TABLE is a CSV file of up to 200 rows
    and 12 inputs; two inputs show best. The options from --target on go with a table.
    """
    from jitprop.cli import lessons

    lessons.run(**arguments)


@cli.command("train", context_settings={"show_default": True})
@click.argument("table", type=FILE)
@click.option(
    "--target", callback=_text, required=True, metavar="NAME", help="The column to predict."
)
@click.option("--task", type=click.Choice(TASKS), help="Inferred from the target if not given.")
@click.option("--drop", callback=_text, multiple=True, metavar="A,B", help="Columns to leave out.")
@click.option(
    "--missing",
    callback=_text,
    multiple=True,
    metavar="TEXT",
    help="A mark of missing values, besides empty fields and, in CSV files, NA, nan and null.",
)
@click.option(
    "--text",
    callback=_text,
    multiple=True,
    metavar="A,B",
    help="Columns to read as text, such as zip codes.",
)
@click.option(
    "--number", callback=_text, multiple=True, metavar="A,B", help="Columns to read as numbers."
)
@click.option(
    "--keep",
    callback=_text,
    multiple=True,
    metavar="A,B",
    help="Columns to keep though they look like ids.",
)
@DECIMAL
@THOUSANDS
@click.option(
    "--validation",
    type=_Finite(min=0, max=0.9),
    default=0.2,
    metavar="SHARE",
    help="Share of rows held out to find the best epoch; 0 trains on all rows.",
)
@click.option(
    "--epochs",
    type=click.IntRange(1, MOST_EPOCHS),
    metavar="N",
    help="The largest number of epochs. If not given, 256; with --fast 300.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, metavar="N", help="Seed of the random numbers."
)
@click.option(
    "--fast",
    is_flag=True,
    help="Train a small net in less time. Each of the next eight options means --fast, too.",
)
@click.option(
    "--hidden",
    callback=_widths,
    metavar="N,N",
    help="The number of units of each hidden layer, or none. If not given, 64,32; for lm 10.",
)
@click.option(
    "--activation",
    metavar="NAME",
    help="Activation of hidden layers. If not given, relu; for lm tanh.",
)
@click.option(
    "--optimizer",
    metavar="NAME",
    help="sgd, adam, lm or another. If not given, adam, or for small tables lm if it is better.",
)
@click.option(
    "--learning-rate",
    type=_Finite(min=0, min_open=True),
    metavar="X",
    help="If not given, 0.003 for adam and adamw, 0.001 for rmsprop, 0.1 for others.",
)
@click.option(
    "--weight-decay",
    type=_Finite(min=0),
    metavar="X",
    help="If not given, 1 / number of training rows.",
)
@click.option(
    "--batch-size", type=COUNT, metavar="N", help="If not given, 16 to 256, by the table's size."
)
@click.option(
    "--patience",
    type=COUNT,
    metavar="N",
    help="Stop after this many epochs without an improvement. If not given, 30.",
)
@click.option("--dtype", type=click.Choice(("float32", "float64")), help="If not given, float32.")
@click.option(
    "--out", type=FILE, default="model.safetensors", metavar="FILE", help="The model file to write."
)
@click.option(
    "--plot",
    type=FILE,
    metavar="FILE",
    help="The plot: .png, .svg or .pdf. If not given, a .png beside the model file.",
)
@click.option("--no-plot", is_flag=True, help="Draw no plot.")
@QUIET
def train(**arguments: Any) -> None:
    """
    Train a net to predict a column of TABLE from its other columns, and write a model file.

    TABLE is a CSV file (UTF-8, column names in the first row) or a Parquet file. Columns of
    numbers, categories, booleans, dates and texts become inputs of the net, missing values too.
    The model file holds how.
    """
    from jitprop.cli import train

    train.run(**arguments)


@cli.command("predict")
@click.argument("model", type=FILE)
@click.argument("table", type=FILE)
@click.option(
    "--out",
    type=FILE,
    metavar="FILE",
    help=".csv or .parquet. If not given, CSV to standard output.",
)
@click.option("--proba", is_flag=True, help="Add the probability of each class.")
@DECIMAL
@THOUSANDS
@QUIET
def predict(**arguments: Any) -> None:
    """
    Predict the target of each row of TABLE with a MODEL file.

    TABLE needs the columns that the model was trained on, in any order.
    """
    from jitprop.cli import predict

    predict.run(**arguments)


@cli.command("export")
@click.argument("model", type=FILE)
@click.option("--onnx", type=FILE, metavar="FILE", help="The ONNX file to write.")
@click.option("--c", type=FILE, metavar="FILE", help="The file of C or C++ to write.")
@click.option(
    "--name", default="net", metavar="NAME", help="The prefix of names in C. If not given, net."
)
@click.option(
    "--opset", type=int, metavar="N", help="The version of ONNX's operators. If not given, 17."
)
@QUIET
def export(**arguments: Any) -> None:
    """
    Write a MODEL file as ONNX or C, with the preparation of its columns inside.

    The program that runs the net passes the columns of the table as they are.
    """
    from jitprop.cli import export

    export.run(**arguments)


@cli.command("info")
@click.argument("model", type=FILE, required=False)
@click.option("--machine", is_flag=True, help="Show which machine code runs here instead.")
def info(model: Path | None, machine: bool) -> int:
    """Show the contents of a MODEL file."""
    if (model is None) != machine:
        raise click.UsageError("name a MODEL file, or give --machine, and not both")
    if model is None:
        from jitprop.cli import machine as this

        return this.main()
    from jitprop.cli import models, report

    report.info(model, *models.load(model))
    return 0


@cli.command("warmup")
def compile_all() -> int:
    """Compile all kernels now and cache them on disk."""
    return warmup.main()


@cli.command("verify")
def verify() -> int:
    """
    Check that this machine computes the published bits, in half a minute.

    It trains 264 nets, compares the hashes of all results with the published ones, and compares the
    speed with NumPy's. The exit code is 0 if all bits are the published ones, else 1.
    """
    from jitprop.cli import verify

    return verify.main()
