"""progress=True: what it prints, how often, and that it changes nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

if os.name != "nt":
    import termios

from jitprop import Trainer
from jitprop.backends import compiled
from jitprop.training import progress
from nets import data

pytest.importorskip("tqdm")

SCRIPT = """
import numpy as np
from jitprop import Trainer
trainer = Trainer([2, 3, 1], seed=0, backend="numpy")
X, y = np.eye(2), [0, 1]
trainer.fit(X, y, 200_000, progress=True, validation_data=(X, y),
            callbacks=lambda t, epoch, logs: t.stop() if epoch == 1_999 else None)
"""


@pytest.fixture
def samples(rng):
    return data([3, 2], 10, "half_squared_error", False, rng)


@pytest.mark.skipif(os.name == "nt", reason="has no pty")
def test_a_terminal_gets_a_bar_ten_times_a_second():
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 120))
    began = time.monotonic()
    with subprocess.Popen([sys.executable, "-c", SCRIPT], stderr=theirs) as process:
        os.close(theirs)
        limit = threading.Timer(60, process.kill)
        limit.start()
        text = b""
        while True:
            try:
                text += os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
        limit.cancel()
        assert process.wait(60) == 0
    os.close(ours)
    seconds = time.monotonic() - began
    drawn = text.decode().split("\r")
    assert 3 <= len(drawn) <= 10 * seconds + 4  # plus the first, the last and the end of the line
    assert re.search(r"2.00k/200k .*loss [0-9.]+, validation_loss [0-9.]+", drawn[-2])


def test_a_log_gets_a_line_now_and_then():
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT], stderr=subprocess.PIPE, text=True, check=True, timeout=300
    )
    *others, last = ran.stderr.splitlines()
    assert re.fullmatch(r"epoch 2,000 of 200,000: loss [0-9.]+, validation_loss [0-9.]+", last)
    assert len(others) < 20
    assert all(line.startswith("epoch ") for line in others)


def test_blocks_stay_long_and_bits_the_same(samples, monkeypatch, capsys):
    monkeypatch.setattr(progress, "NEXT_LINE", 0.0)
    ref, comp = (Trainer([3, 6, 2], seed=0, backend="numba") for _ in range(2))
    ref.fit(*samples, 50_000)
    calls = []
    train = compiled.train
    monkeypatch.setattr(compiled, "train", lambda *given: calls.append(0) or train(*given))
    comp.fit(*samples, 50_000, progress=True)
    np.testing.assert_array_equal(comp.parameters, ref.parameters)
    assert len(calls) < 50
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) <= len(calls)
    assert lines[-1] == f"epoch 50,000 of 50,000: loss {comp.history.loss[-1]:.6g}"


def test_without_tqdm_the_error_says_what_to_install(samples, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    trainer = Trainer([3, 6, 2], backend="numpy")
    with pytest.raises(ImportError, match=r"pip install 'jitprop\[progress\]'"):
        trainer.fit(*samples, 1, progress=True)
    assert trainer.epochs_trained == 0


def test_only_true_and_false_are_taken(samples):
    with pytest.raises(TypeError, match="progress must be True or False"):
        Trainer([3, 6, 2]).fit(*samples, 1, progress="bar")
