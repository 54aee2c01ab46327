"""How Sphinx builds these pages: `make docs`."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import jitprop

DOCS = Path(__file__).parent

project = "jitprop"
author = "The jitprop developers"
project_copyright = author
version = release = jitprop.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.mathjax", "myst_parser", "numpydoc"]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = "jitprop"
html_copy_source = False

# Its contents are copied beside the pages.
EXTRA = DOCS / "_build" / "extra"
(EXTRA / "lessons").mkdir(parents=True, exist_ok=True)
html_extra_path = ["_build/extra"]

# `fit` in a docstring links to Trainer.fit; what Sphinx does not find stays as it is.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say more: shapes, defaults
numpydoc_show_class_members = False  # autodoc shows them
myst_heading_anchors = 3


def draw(app: Any) -> None:
    """Draw the pictures and make the lessons that come from training: none is kept in git."""
    built, examples = DOCS / "_build", DOCS.parent / "examples"
    built.mkdir(exist_ok=True)
    for script, argument in (
        ("xor_atlas.py", f"--out={built / 'xor-atlas.png'}"),
        ("pictures.py", f"--gallery={built / 'gallery'}"),
    ):
        command = [sys.executable, examples / script, argument]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    for name in ("xor", "one-step", "scalar"):
        page = EXTRA / "lessons" / f"{name}.html"
        make = [sys.executable, "-m", "jitprop", "lesson", name, "--out", page, "--quiet"]
        subprocess.run(make, check=True)


def setup(app: Any) -> None:
    """Tell Sphinx."""
    app.connect("builder-inited", draw)
