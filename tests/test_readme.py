"""What is written for users runs: the README, its commands and links, the docstrings."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jitprop import trainer
from jitprop.teaching import gradient_check

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/performance.md")
README = (ROOT / "README.md").read_text()


def test_snippets_run_one_after_the_other(tmp_path):
    snippets = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(snippets) == 4
    script = "\n".join(snippets)
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    *_, outputs, score, accuracy = done.stdout.splitlines()
    xor = [float(number) for number in outputs.strip("[]").split()]
    assert [round(a) for a in xor] == [0, 1, 1, 0]
    assert float(score) > 0.99
    assert float(accuracy) > 0.9


def test_the_second_snippet_is_the_changed_import():
    second = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[1]
    here, there = re.match(r"(.*)  # was: (.*)\n", second).groups()
    assert here.replace("jitprop.sklearn", "sklearn.neural_network") == there


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


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)]+)\)", (ROOT / page).read_text()):
        if not target.startswith("http"):
            assert ((ROOT / page).parent / target).exists(), target


@pytest.mark.parametrize("module", [trainer, gradient_check], ids=lambda m: m.__name__)
def test_examples_in_docstrings_run(module):
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0
