"""After ``python -m jitprop warmup`` no process compiles anything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = 600  # to wait at most; alone it needs 90

USE_ALL = """
import sys
import numpy as np
from jitprop import Adam, EarlyStopping, Fleet, Rprop, Trainer
from jitprop_kernels import ENTRIES

rng = np.random.default_rng(0)
for dtype in ("float32", "float64"):
    # Both routes, and chunks.
    for sizes, n_samples in ([3, 4, 2], 9), ([40, 50, 10], 9), ([40, 50, 10], 600):
        for batch_size, optimizer in (None, "sgd"), (n_samples // 2, Adam()):
            X, y = rng.random((n_samples, sizes[0]), dtype), rng.integers(0, 2, n_samples)
            X.flags.writeable = optimizer == "sgd"
            trainer = Trainer(
                sizes, output_activation="softmax", loss="cross_entropy", activation="tanh",
                optimizer=optimizer, batch_size=batch_size, n_threads=2, backend="numba",
            )
            trainer.fit(X, y, 2, validation_data=(X, y), metrics="mse", callbacks=EarlyStopping())
            trainer.fit(X, np.eye(sizes[-1])[y], 2)
            trainer.predict(X), trainer.evaluate(X, y), trainer.gradients(X, y)
    # Methods of full batches, on both routes; with 5 samples fewer residuals than parameters.
    for method in "lm", "bayesian", "scg", "lbfgs", Rprop(backtracking=True):
        for sizes, n_samples in ([3, 4, 2], 5), ([3, 4, 2], 90), ([40, 10, 2], 5):
            X, y = rng.random((n_samples, sizes[0]), dtype), rng.random((n_samples, sizes[-1]))
            settings = {"optimizer": method, "n_threads": 2, "backend": "numba"}
            trainer = Trainer(sizes, **settings)
            trainer.fit(X, y, 3, validation_data=(X, y), sample_weight=X[:, 0])
            if method == "bayesian":
                trainer.predict(X, return_std=True)
            Fleet(sizes, members=3, **settings).fit(X, y, 2)
    for sizes, members in ([3, 4, 2], 3), ([3, 4, 2], 20), ([40, 50, 10], 3):
        X, y = rng.random((9, sizes[0]), dtype), rng.integers(0, 2, 9)
        fleet = Fleet(
            sizes, members=members, output_activation="softmax", loss="cross_entropy",
            optimizer=Adam(), batch_size=4, dropout=0.1, n_threads=2, backend="numba",
        )
        fleet.fit(X, y, 2, sample_weight=np.ones(9), validation_data=(X, y))
        fleet.predict(X), fleet.evaluate(X, y)
assert all(entry.codes for entry in ENTRIES)
print({code.source for entry in ENTRIES for code in entry.codes.values()}, "numba" in sys.modules)
"""


def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


WARM_UP = """
import sys
from jitprop.cli import main
code = main(["warmup"])
print("numba.np.arraymath" in sys.modules)
sys.exit(code)
"""


@pytest.mark.long
def test_after_warmup_nothing_compiles(tmp_path):
    cache = {"NUMBA_CACHE_DIR": str(tmp_path)}
    warmed = run("-c", WARM_UP, **cache)
    assert warmed.returncode == 0, warmed.stderr
    message, all_of_numba = warmed.stdout.splitlines()
    assert all_of_numba == "False"  # importing all of numba, with scipy.linalg, takes 0.45 s
    folder = message.rpartition(" in ")[2]
    assert folder.startswith(str(tmp_path))
    files = set(tmp_path.rglob("*.kernel"))
    assert files == set(Path(folder).glob("*.kernel")) != set()
    used = run("-W", "error", "-c", USE_ALL, **cache)
    assert used.returncode == 0, used.stderr
    assert used.stdout == "{'cache'} False\n"
    assert set(tmp_path.rglob("*.kernel")) == files


WITHOUT = """
import sys
for name in "click", "rich", "pandas", "pyarrow", "matplotlib":
    sys.modules[name] = None
from jitprop.cli import warmup
from jitprop.cli import main
warmup.check, warmup.warm_up = lambda: None, lambda: "a folder"
sys.exit(main(["warmup"]))
"""


def test_it_needs_no_extra():
    done = run("-c", WITHOUT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("All kernels ready after ")
    assert done.stdout.endswith(", in a folder\n")


NO_NUMBA = """
import sys
sys.modules["numba"] = None
"""
NO_CLICK = """
import sys
sys.modules["click"] = None
"""
CALL = """
from jitprop.cli import main
sys.exit(main(["warmup"]))
"""


@pytest.mark.parametrize("click", ["import sys\n", NO_CLICK])
@pytest.mark.parametrize(
    ("begin", "env", "words"),
    [
        (NO_NUMBA, {}, "needs a working numba"),
        ("", {"NUMBA_DISABLE_JIT": "1"}, "NUMBA_DISABLE_JIT is set"),
    ],
)
def test_one_line_where_nothing_can_be_compiled(begin, env, words, click):
    done = run("-c", begin + click + CALL, **env)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_from_python_it_is_an_error(monkeypatch):
    from jitprop.cli import warmup

    monkeypatch.setattr("jitprop_kernels.INTERPRETED", True)
    with pytest.raises(RuntimeError, match="NUMBA_DISABLE_JIT is set"):
        warmup.warm_up()


@pytest.mark.parametrize("arguments", [["warm-up"], ["warmup", "now"]])
def test_wrong_arguments_say_so(arguments):
    done = run("-m", "jitprop", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
