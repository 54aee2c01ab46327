"""The commands in the README and on the page on the command line run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from sklearn.datasets import load_wine

from jitprop.cli import main

ROOT = Path(__file__).parents[2]
SLOW = "warmup", "demo", "verify"  # other files test these


def commands(page):
    """Yield the arguments of each jitprop command in the page's shell blocks."""
    for block in re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(), re.DOTALL):
        for line in block.splitlines():
            program, *arguments = shlex.split(line, comments=True)
            if program == "jitprop" and arguments[0] not in SLOW:
                yield arguments


@pytest.mark.parametrize(
    ("page", "table", "target", "more"),
    [
        ("docs/command-line.md", "wine.csv", "target", ["export"]),
        ("README.md", "data.csv", "y", []),
    ],
)
def test_commands_run(page, table, target, more, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    frame = load_wine(as_frame=True).frame.rename(columns={"target": target})
    frame.to_csv(table, index=False)
    frame.to_csv("new.csv", index=False)
    called = list(commands(page))
    assert [arguments[0] for arguments in called] == ["train", "predict", "info", *more]
    for arguments in called:
        assert main([*arguments, "--epochs=3"] if arguments[0] == "train" else arguments) == 0
    assert Path("predictions.csv").exists()
    written = [path.name for path in Path().iterdir()]
    assert any(name.endswith(".png") for name in written)


def words(text):
    """
    Return a text's words with all numbers as 0, since last digits differ between processors.

    The columns that matter most are left out: columns that matter alike may change places.
    """
    text = re.sub(r"(?m)^  \S+ +-?\d\S* *$|\u2500", "", text)
    return re.sub(r"[\d.,]+(e-\d+)?", "0", text).split()


def test_the_page_shows_what_train_and_predict_print(tmp_path, monkeypatch, capsys):
    page = (ROOT / "docs/command-line.md").read_text()
    printed, predicted = re.findall(r"```text\n(.*?)```", page, re.DOTALL)
    train, predict, *_ = commands("docs/command-line.md")
    monkeypatch.chdir(tmp_path)
    load_wine(as_frame=True).frame.to_csv("wine.csv", index=False)
    assert main(train) == 0
    assert words(capsys.readouterr().out) == words(printed)
    assert main(predict) == 0
    lines = Path("predictions.csv").read_text().splitlines()
    assert words("\n".join(lines[:3])) == words(predicted)
