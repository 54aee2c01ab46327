"""The command line in a real terminal: a new process on a pty, with keys."""

from __future__ import annotations

import os
import sys

import numpy as np
import pandas as pd
import pytest

from jitprop.cli import models

pexpect = pytest.importorskip("pexpect")

SECONDS = 300  # to wait at most; kernels may have to compile


def spawn(folder, *arguments):
    return pexpect.spawn(
        sys.executable,
        ["-m", "jitprop", *arguments],
        cwd=str(folder),
        env=os.environ | {"TERM": "xterm-256color"},
        dimensions=(40, 100),
        timeout=SECONDS,
        encoding="utf-8",
    )


@pytest.fixture
def folder(tmp_path, rng):
    x = rng.normal(size=(200, 3))
    frame = pd.DataFrame(x, columns=["a", "b", "c"]).assign(y=np.where(x[:, 0] > 0, "up", "down"))
    frame.to_csv(tmp_path / "data.csv", index=False)
    return tmp_path


def test_a_person_trains_and_looks(folder):
    child = spawn(folder, "train", "data.csv", "--target", "y", "--epochs", "5", "--no-plot")
    for words in ("y: classification", "5.00/5.00", "5 epochs", "accuracy", "model.safetensors"):
        child.expect_exact(words)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0

    child = spawn(folder, "info", "model.safetensors")
    child.expect_exact("down, up")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_ctrl_c_ends_training_and_keeps_what_was_learned(folder):
    child = spawn(
        folder, "train", "data.csv", "--target", "y", "--epochs", "1000000000", "--validation", "0"
    )
    child.expect_exact("parameters")
    # Whatever it is doing by then, after Ctrl-C it must say what was saved.
    child.expect(pexpect.TIMEOUT, timeout=5)
    child.sendintr()
    child.expect(r"error: interrupted; (no model was written|the model after \d+ epochs is in)")
    learned = child.match.group(1).startswith("the model")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    assert (folder / "model.safetensors").exists() == learned
    if learned:
        assert models.load(folder / "model.safetensors")[1].epochs > 0
    assert not (folder / "model.png").exists()
