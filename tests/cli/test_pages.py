"""The commands in the README and on the page on the command line run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from sklearn.datasets import load_wine

from jitprop.cli import main

ROOT = Path(__file__).parents[2]
SLOW = "warmup", "demo"  # other files test these


def commands(page):
    """Yield the arguments of each jitprop command in the page's shell blocks."""
    for block in re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(), re.DOTALL):
        for line in block.splitlines():
            program, *arguments = shlex.split(line, comments=True)
            if program == "jitprop" and arguments[0] not in SLOW:
                yield arguments


@pytest.mark.parametrize(
    ("page", "table", "target"),
    [("docs/command-line.md", "wine.csv", "target"), ("README.md", "data.csv", "y")],
)
def test_commands_run(page, table, target, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    frame = load_wine(as_frame=True).frame.rename(columns={"target": target})
    frame.to_csv(table, index=False)
    frame.to_csv("new.csv", index=False)
    called = list(commands(page))
    assert [arguments[0] for arguments in called] == ["train", "predict", "info"]
    for arguments in called:
        assert main([*arguments, "--epochs=3"] if arguments[0] == "train" else arguments) == 0
    assert Path("predictions.csv").exists()
    written = [path.name for path in Path().iterdir()]
    assert any(name.endswith(".png") for name in written)
