"""
Run the python blocks of each page of documentation in order, in one namespace.

A text block after a python block is the output of that block, with "..." for what differs
between runs. `python -W error tests/page.py docs/first-net.md` shows the first block that fails.
Several pages share one process, which imports everything once. Each page runs in an empty folder.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

BLOCKS = re.compile(r"^```python\n(.*?)^```$(?:\s*^```text\n(.*?)^```$)?", re.DOTALL | re.MULTILINE)


def slugs(path: Path) -> set[str]:
    """Return the anchors of the page's headings."""
    titles = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def run(path: Path) -> int:
    """Run the page and return how many blocks it has."""
    page = path.read_text()
    namespace = {"__name__": "__main__"}
    blocks = list(BLOCKS.finditer(page))
    for found in blocks:
        source, expected = found.groups()
        line = page[: found.start()].count("\n") + 1
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile("\n" * line + source, str(path), "exec"), namespace)
        output = "\n".join(map(str.rstrip, printed.getvalue().splitlines())) + "\n"
        if expected is None:
            expected = "\n"
        if not doctest.OutputChecker().check_output(expected, output, doctest.ELLIPSIS):
            raise AssertionError(
                f"{path}, line {line}: the page shows\n{expected}but this prints\n{output}"
            )
    return len(blocks)


def run_all(paths: list[Path]) -> int:
    """Run the pages, print how many blocks each has, and return how many pages failed."""
    failed = 0
    for path in paths:
        with (
            tempfile.TemporaryDirectory() as folder,
            contextlib.chdir(folder),
            warnings.catch_warnings(),
        ):
            try:
                print(run(path), "blocks in", path)
            except Exception:
                traceback.print_exc()
                failed += 1
    return failed


if __name__ == "__main__":
    sys.exit(run_all([Path(name).resolve() for name in sys.argv[1:]]))
