"""The demo of the examples, from the one place where it stands."""

from __future__ import annotations

import runpy
from pathlib import Path

import jitprop
from jitprop.cli.refused import RefusedError

PACKAGE = Path(jitprop.__file__).parent

PLACES = PACKAGE / "examples", PACKAGE.parents[1] / "examples"
"""The wheel carries the folder of examples inside the package; a clone has it beside ``src``."""


def run() -> None:
    """
    Train XOR and the handwritten digits, and show how fast.

    Raises
    ------
    RefusedError
        Without scikit-learn, which has the digits.
    """
    folder = next(place for place in PLACES if (place / "demo.py").is_file())
    try:
        runpy.run_path(str(folder / "demo.py"), run_name="__main__")
    except SystemExit as error:
        raise RefusedError(str(error)) from error
