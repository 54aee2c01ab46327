"""``jitprop demo``: run the script in the folder of examples."""

from __future__ import annotations

import runpy
from pathlib import Path

import jitprop
from jitprop.cli.refused import RefusedError

PACKAGE = Path(jitprop.__file__).parent

FOLDERS = PACKAGE / "examples", PACKAGE.parents[1] / "examples"
"""In a wheel the examples are inside the package; in a clone they are beside ``src``."""


def run() -> None:
    """
    Train XOR and the handwritten digits, and show the speed.

    Raises
    ------
    RefusedError
        If scikit-learn, which holds the digits, is not installed.
    """
    folder = next(folder for folder in FOLDERS if (folder / "demo.py").is_file())
    try:
        runpy.run_path(str(folder / "demo.py"), run_name="__main__")
    except SystemExit as error:
        raise RefusedError(str(error)) from error
