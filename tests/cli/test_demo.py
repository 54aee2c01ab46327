"""``jitprop demo`` runs the examples' demo, in a clone and in an installed wheel."""

from __future__ import annotations

import pytest

from jitprop.cli import demo, main


def test_the_demo_is_that_of_the_examples():
    assert any((place / "demo.py").is_file() for place in demo.FOLDERS)
    assert demo.FOLDERS[0].parent == demo.PACKAGE  # as in the wheel


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "FOLDERS", (tmp_path / "none", tmp_path))
    return tmp_path


def test_it_runs_as_a_script(place, capsys):
    (place / "demo.py").write_text("if __name__ == '__main__':\n    print('hello')\n")
    assert main(["demo"]) == 0
    assert capsys.readouterr() == ("hello\n", "")


def test_what_it_lacks_is_said_in_one_line(place, capsys):
    (place / "demo.py").write_text("raise SystemExit('The digits: pip install it')\n")
    assert main(["demo"]) == 2
    assert capsys.readouterr() == ("", "error: The digits: pip install it\n")
