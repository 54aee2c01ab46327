"""What `make versions` tries, and that the files which name versions of Python agree."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import versions

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_each_python_gets_its_oldest_and_its_newest_numba_and_no_numba_is_left_out():
    wheels = {
        "python3.11": ["0.62.1", "0.63.1", "0.64.0", "0.65.1"],
        "python3.14": ["0.63.1", "0.64.0", "0.65.1"],
        "python3.15": ["0.65.1"],
        "python3.16": [],
    }
    assert versions.pairs(wheels) == [
        ("python3.11", "0.62.1"),
        ("python3.11", "0.65.1"),
        ("python3.11", "0.64.0"),
        ("python3.14", "0.63.1"),
        ("python3.14", "0.65.1"),
        ("python3.15", "0.65.1"),
    ]


def test_the_newest_patch_of_each_minor_version_is_tried(monkeypatch):
    listed = "numba (0.100.0)\nAvailable versions: 0.100.0, 0.62.10, 0.62.9, 0.62.0, 0.61.2, 0.9.0"
    monkeypatch.setattr(versions, "said", lambda *command: listed)
    monkeypatch.setattr(versions, "oldest_numba", lambda: (0, 62))
    assert versions.wheels_of_numba("3.11") == ["0.62.10", "0.100.0"]


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("....\n870 passed, 21 deselected in 90.00s (0:01:30)", ("870", "0")),
        ("FAILED a\n2 failed, 868 passed, 1 skipped, 3 errors in 9.00s", ("868", "5")),
        ("no tests ran in 0.01s", ("0", "all")),
        ("", ("0", "all")),
    ],
)
def test_what_pytest_prints_is_counted(log, expected):
    assert versions.counts(log) == expected


def test_every_python_that_is_admitted_is_named():
    first, end = map(int, re.findall(r"3\.(\d+)", PROJECT["requires-python"]))
    admitted = [f"3.{minor}" for minor in range(first, end)]
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    assert named == admitted
    page = (ROOT / "docs/versions.md").read_text()
    assert f"| Python | {admitted[0]} to {admitted[-1]} |" in page
    assert {f"python{version}" for version in admitted} <= set(versions.PYTHONS)
