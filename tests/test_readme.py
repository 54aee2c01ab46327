"""The commands and the links of the README work."""

from __future__ import annotations

import re
import runpy
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from page import slugs

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
README = (ROOT / "README.md").read_text()


def test_the_changed_import_is_all_that_changes():
    changed = re.search(r"^(.*)  # was: (.*)$", README, re.MULTILINE)
    assert changed is not None
    here, there = changed.groups()
    assert here.replace("jitprop.sklearn", "sklearn.neural_network") == there


def test_the_picture_shows_the_numbers_of_the_table():
    drawn = runpy.run_path(str(ROOT / "docs/draw_readme.py"))
    with Image.open(drawn["PICTURE"]) as picture:
        shown = picture.text["speeds"]
        assert picture.size == (960, 360)
    assert shown == repr(drawn["speeds"]()), "run `python docs/draw_readme.py`"
    assert len(drawn["speeds"]()) == 6


def test_the_table_is_the_short_form_of_the_whole_one():
    page = (ROOT / "docs/performance.md").read_text()
    headings, _, *lines = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in page.splitlines()
        if line.startswith(("|  | net", "| W", "| ---"))
    )
    whole = [dict(zip(headings, line, strict=True)) for line in lines]
    drawn = runpy.run_path(str(ROOT / "docs/draw_readme.py"))
    for (net, own, other, time, theirs), row in zip(drawn["speeds"](), whole, strict=True):
        systems = "NumPy", "scikit-learn", "PyTorch", "JAX"
        times = {system: drawn["number"](row[system]) for system in systems}
        assert row["net"].startswith(f"{net} ")
        assert own == drawn["number"](row["jitprop"])
        assert (time, other) == min((times[system], system) for system in systems)
        assert theirs == times["scikit-learn"]


def test_the_xor_snippet_is_ten_lines():
    first = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert first is not None
    assert len([line for line in first[1].splitlines() if line]) <= 10


def test_commands_are_targets_of_the_makefile():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"make (\w+)", README.split("## Ten lines")[0]))
    assert {"demo", "test"} <= named
    assert named <= targets
    assert {"demo", "test", "lint", "bench", "clean"} <= targets


def test_the_demo_installs_no_tools_of_developers(tmp_path):
    command = ["make", "--dry-run", "--no-print-directory", "demo", f"VENV={tmp_path}"]
    said = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=300
    ).stdout
    assert re.findall(r"install .*", said) == ["install --quiet --editable '.[sklearn]'"]
    assert said.endswith("/python examples/demo.py\n")


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)]+)\)", (ROOT / page).read_text()):
        if not target.startswith("http"):
            file, _, heading = target.partition("#")
            found = (ROOT / page).parent / file
            assert found.exists(), target
            assert not heading or heading in slugs(found), target
