"""The snippets of docs/convert.md that need other libraries, with those before them."""

from __future__ import annotations

from pathlib import Path

import pytest

import page

# Keras 3.15 makes NumPy arrays of its variables in a way that NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

PAGE = Path(__file__).parents[2] / "docs/convert.md"


def test_snippets_print_what_the_page_shows(tmp_path, monkeypatch):
    text = PAGE.read_text()
    assert "```py\n" in text  # `make test` runs the blocks that begin with ```python
    path = tmp_path / "convert.md"
    path.write_text(text.replace("```py\n", "```python\n"))
    monkeypatch.chdir(tmp_path)
    page.run(path)
