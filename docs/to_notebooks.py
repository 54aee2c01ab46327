"""
Write the teaching pages as Jupyter notebooks: `python docs/to_notebooks.py`.

A page's text becomes cells of Markdown, its python blocks cells of code, and the text blocks that
follow them their outputs. So the pages are the one source, and a test finds notebooks that differ.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
FOLDER = DOCS.parent / "examples/notebooks"
PAGES = {"notebook-one-step": "one_step", "notebook-xor": "xor", "notebook-scalar": "scalar"}

CODE = re.compile(r"^```python\n(.*?)^```$(?:\s*^```text\n(.*?)^```$)?", re.DOTALL | re.MULTILINE)


def lines(text: str) -> list[str]:
    """Return the lines of a cell: the last one has no line break."""
    return text.strip("\n").splitlines(keepends=True)


def markdown(text: str) -> dict[str, Any]:
    """Return a cell of text; links to other pages lead nowhere from a notebook, so none is kept."""
    text = re.sub(r"\[([^\]]+)\]\((?!https:)[^)]+\)", r"\1", text)
    return {"cell_type": "markdown", "metadata": {}, "source": lines(text)}


def code(source: str, printed: str | None, count: int) -> dict[str, Any]:
    """Return a cell of code, with what it prints."""
    stream = {"name": "stdout", "output_type": "stream", "text": (printed or "").splitlines(True)}
    return {
        "cell_type": "code",
        "execution_count": count,
        "metadata": {},
        "outputs": [stream] if printed else [],
        "source": lines(source),
    }


def notebook(page: str) -> str:
    """Return the notebook, as JSON, of a page of Markdown."""
    cells: list[dict[str, Any]] = []
    end = 0
    for count, found in enumerate(CODE.finditer(page), start=1):
        if page[end : found.start()].strip():
            cells.append(markdown(page[end : found.start()]))
        cells.append(code(*found.groups(), count))
        end = found.end()
    if page[end:].strip():
        cells.append(markdown(page[end:]))
    for i, cell in enumerate(cells):
        cell["id"] = f"cell-{i}"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    content = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def main() -> None:
    """Write them all."""
    FOLDER.mkdir(exist_ok=True)
    for page, name in PAGES.items():
        (FOLDER / f"{name}.ipynb").write_text(notebook((DOCS / f"{page}.md").read_text()))


if __name__ == "__main__":
    main()
