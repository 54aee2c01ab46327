"""``jitprop export``: write a model file as ONNX or C, with the preparation of its columns."""

from __future__ import annotations

from pathlib import Path

from jitprop import export
from jitprop.cli import exported, files, models, terminal
from jitprop.cli.models import Model
from jitprop.cli.refused import RefusedError
from jitprop.export.c99 import check_name
from jitprop.export.onnx import OPSET, check_opset
from jitprop.tabular import export as tables
from jitprop.tabular.model import TabularNet


def run(
    model: Path, onnx: Path | None, c: Path | None, name: str, opset: int | None, quiet: bool
) -> None:
    """Run the command; the parameters are its options."""
    say = terminal.say_nothing if quiet else terminal.say
    if onnx is None and c is None:
        raise RefusedError("say which file to write: --onnx FILE, --c FILE, or both")
    for option, path, other in (("--onnx", onnx, c), ("--c", c, onnx)):
        if path is not None:
            files.check(option, path, model, *([other] if other is not None else []))
    try:
        check_name(name)
    except ValueError as error:
        raise RefusedError(f"--name: {error}") from error
    made = models.whole(model)
    for path, write in ((onnx, _onnx), (c, _c)):
        if path is None:
            continue
        try:
            write(made, path, name, opset)
        except OSError as error:
            raise RefusedError(f"cannot write {path}: {files.reason(error)}") from error
        except (ImportError, TypeError, ValueError) as error:
            raise RefusedError(str(error)) from error
        say(f"the net{_tail(made)} is in {path}")


def _tail(made: models.Whole) -> str:
    return " with its columns" if isinstance(made, Model | TabularNet) else ""


def _onnx(made: models.Whole, path: Path, name: str, opset: int | None) -> None:
    del name
    chosen = OPSET if opset is None else opset
    if isinstance(made, Model):
        exported.to_onnx(made, path, check_opset(chosen))
    elif isinstance(made, TabularNet):
        tables.to_onnx(made, path, opset=chosen)
    else:
        export.to_onnx(made, path, opset=chosen)


def _c(made: models.Whole, path: Path, name: str, opset: int | None) -> None:
    del opset
    if isinstance(made, Model):
        exported.to_c(made, path, name)
    elif isinstance(made, TabularNet):
        tables.to_c(made, path, name=name)
    else:
        export.to_c(made, path, name=name)
