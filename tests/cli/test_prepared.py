"""Nets of the command line, loaded in Python, warn that their inputs are prepared columns."""

from __future__ import annotations

import pickle
import warnings

import pandas as pd
import pytest

from jitprop import Trainer, export
from jitprop.cli import main

WORDS = "the command line trained this net on columns that it had prepared"


@pytest.fixture
def frame(tmp_path, monkeypatch, rng):
    """A table whose columns are the net's inputs as they are, and the model trained on it."""
    monkeypatch.chdir(tmp_path)
    made = pd.DataFrame(rng.normal(50, 10, size=(40, 2)), columns=["a", "b"])
    made.assign(y=made["a"] * 3).to_csv("data.csv", index=False)
    arguments = "--target", "y", "--epochs", "2", "--no-plot", "--quiet", "--hidden", "4"
    assert main(["train", "data.csv", *arguments]) == 0
    return made


def test_a_frame_is_taken_with_a_warning(frame):
    trainer = Trainer.load("model.safetensors")
    for asked in (trainer, pickle.loads(pickle.dumps(trainer))):
        with pytest.warns(UserWarning, match=WORDS) as caught:
            asked.predict(frame)
        assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="jitprop predict"):
        trainer.evaluate(frame, frame["a"])


def test_arrays_and_other_nets_are_taken_without_a_word(frame):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Trainer.load("model.safetensors").predict(frame.to_numpy())
        Trainer([2, 1], seed=0).save("other")
        Trainer.load("other").predict(frame)
        export.to_c(Trainer.load("other"), "net.c")
        assert main(["predict", "model.safetensors", "data.csv", "--out", "p.csv"]) == 0


@pytest.mark.parametrize("write", [export.to_c, export.to_onnx])
def test_an_export_warns_that_the_preparation_stays_behind(write, frame):
    trainer = Trainer.load("model.safetensors")
    with pytest.warns(UserWarning, match=f"{WORDS}.*the program that runs it must do both"):
        write(trainer, "net")


def test_a_net_that_is_saved_again_in_python_warns_as_before(frame, capsys):
    Trainer.load("model.safetensors").save("again")
    trainer = Trainer.load("again")
    with pytest.warns(UserWarning, match=WORDS):
        trainer.predict(frame)
    with pytest.warns(UserWarning, match=WORDS):
        export.to_c(trainer, "net.c")
    assert main(["info", "again"]) == 0
    assert "unknown, since it was saved in Python" in capsys.readouterr().out
    assert main(["predict", "again", "data.csv"]) == 2
    assert "it was saved in Python" in capsys.readouterr().err
