"""The pages of docs/: their code prints the output that they show, and their links work."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import jitprop
from page import slugs

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
WITH_CODE = [path for path in PAGES if "```python" in path.read_text()]


def name(path):
    return path.relative_to(DOCS).with_suffix("").as_posix()


def run(*paths):
    return subprocess.run(
        [sys.executable, "-W", "error", ROOT / "tests/page.py", *paths],
        env=os.environ | {"MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        check=False,
        timeout=800,  # all pages together
    )


def test_there_are_pages():
    assert {"first-net", "notebook-xor", "numbers"} <= set(map(name, WITH_CODE))


def test_snippets_print_what_the_pages_show():
    """All pages run in one process, since the imports take 1 s per process."""
    pages = [ROOT / "README.md", *WITH_CODE]
    done = run(*pages)
    assert done.returncode == 0, done.stderr
    blocks = [f"{page.read_text().count('```python')} blocks in {page}\n" for page in pages]
    assert done.stdout == "".join(blocks)


def test_a_page_goes_on_after_one_that_is_not_true(tmp_path):
    pages = [tmp_path / name for name in ("false.md", "true.md", "later.md")]
    for path, said in zip(pages, (1, 2, 2), strict=True):
        write = "open('here', 'x').close()\nnew = 'old' not in globals()\nold = 1"
        path.write_text(f"```python\n{write}\nprint(new + 1)\n```\n\n```text\n{said}\n```\n")
    done = run(*pages)
    assert done.returncode == 1
    assert f"{pages[0]}, line 1: the page shows\n1\nbut" in done.stderr
    assert done.stdout == "".join(f"1 blocks in {path}\n" for path in pages[1:])


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        ("```python\nprint(1)\n```\n\n```text\n1\n```\n", None),
        ("```python\nprint(0.1234)\n```\n\n```text\n0.12...\n```\n", None),
        ("```python\nprint(1)\n```\n\n```text\n2\n```\n", "line 1: the page shows\n2\nbut"),
        ("\n\n```python\nprint(1)\n```\nno output\n", "line 3: the page shows\n\nbut"),
        ("```python\npass\n```\n\n```text\n1\n```\n", "line 1: the page shows\n1\nbut"),
        ("\n```python\n\n1 / 0\n```\n", 'page.md", line 4'),
        ("```python\nimport warnings\nwarnings.warn('x')\n```\n", "UserWarning: x"),
    ],
)
def test_a_page_that_is_not_true_is_found(page, complaint, tmp_path):
    path = tmp_path / "page.md"
    path.write_text(page)
    done = run(path)
    assert (done.returncode == 0) == (complaint is None)
    assert (complaint or "") in done.stderr


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_links_lead_somewhere(path):
    prose = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)]+)\)", prose):
        if not target.startswith("https://"):
            file, _, heading = target.partition("#")
            found = (path.parent / file).resolve() if file else path
            assert found.is_file(), target
            assert not heading or heading in slugs(found), target


def test_files_that_a_page_names_exist():
    for path in PAGES:
        for named in re.findall(
            r"`((?:src|kernels|tests|benchmarks|examples)/[\w/.]+)`", path.read_text()
        ):
            assert (ROOT / named).exists(), f"{path.name}: {named}"


def test_every_page_is_in_the_table_of_contents():
    listed = re.findall(r"^([\w/-]+)$", (DOCS / "index.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(set(map(name, PAGES)) - {"index"})


def test_all_public_names_are_in_the_reference():
    pages = "".join(path.read_text() for path in (DOCS / "api").glob("*.md"))
    shown = re.findall(r"^\.\. auto\w+:: ([\w.]+)$", pages, re.MULTILINE)
    assert set(jitprop.__all__) - set(shown) == set()
    assert len(shown) == len(set(shown))


@pytest.mark.parametrize(
    ("word", "page"),
    [
        ("Regression", "tabular-data"),
        ("Classification", "tabular-data"),
        ("Missing values", "tabular-data"),
        ("categorical", "tabular-data"),
        ("hyperparameters", "tabular-data"),
        ("Imbalanced", "losses"),
        ("Early stopping", "watching"),
        ("overfit", "checklist"),
        ("nan", "numbers"),
        ("Reproducible", "numbers"),
        ("Windows", "installing"),
        ("Windows", "questions"),
        ("GPU", "threads"),
        ("Arduino", "questions"),
    ],
)
def test_words_that_people_search_for_are_in_headings(word, page):
    headings = re.findall(r"^#+ (.*)$", (DOCS / f"{page}.md").read_text(), re.MULTILINE)
    assert any(word in heading for heading in headings)
