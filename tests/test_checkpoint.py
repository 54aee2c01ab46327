"""Checkpoints during a fit, and of a process that is killed again and again."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from jitprop import Checkpoint, EarlyStopping, Trainer


def net(**settings):
    return Trainer(
        [3, 4, 2], optimizer="adam", batch_size=3, seed=1, **{"backend": "numpy", **settings}
    )


def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(10, 3)), rng.uniform(0.1, 0.9, size=(10, 2))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.safetensors"


def test_it_saves_when_it_is_time_and_at_the_end(path):
    (X, y), seen = data(), []

    def look(trainer, epoch, logs):
        seen.append(Trainer.load(path).epochs_trained if path.exists() else 0)

    trainer = net()
    trainer.fit(X, y, 2)
    trainer.fit(X, y, 6, callbacks=[Checkpoint(path, every=3), look])
    assert seen == [3, 3, 3, 6, 6, 6]
    assert Trainer.load(path).epochs_trained == 8


def test_every_checkpoint_goes_on_to_the_same_bits(path, backend):
    (X, y), net_of = data(), {"backend": backend, "learning_rate": 0.01}
    settings = {"validation_fraction": 0.3, "metrics": "mse"}
    whole = net(**net_of)
    ref = whole.fit(X, y, 6, **settings)

    def stop(trainer, epoch, logs):
        if epoch == 3:
            trainer.stop()

    net(**net_of).fit(X, y, 6, **settings, callbacks=[Checkpoint(str(path)), stop])
    loaded = Trainer.load(path)
    loaded.fit(X, y, 2, **settings)
    assert loaded.parameters.tobytes() == whole.parameters.tobytes()
    columns = loaded.history.columns
    for name, column in ref.columns.items():
        assert name == "seconds" or columns[name].tobytes() == column.tobytes(), name


def test_after_early_stopping_it_holds_the_best(path):
    X, y = data()
    trainer = net(learning_rate=0.5)
    stopping = EarlyStopping("loss", patience=2)
    trainer.fit(X, y, 50, callbacks=[stopping, Checkpoint(path, every=100)])
    assert stopping.stopped
    assert Trainer.load(path).parameters.tobytes() == trainer.parameters.tobytes()


def test_bad_arguments(tmp_path):
    with pytest.raises(TypeError, match="path must be a str or path-like; got 3"):
        Checkpoint(3)
    with pytest.raises(ValueError, match="every must be an integer of at least 1"):
        Checkpoint("net", every=0)
    trainer = net()
    with pytest.raises(FileNotFoundError, match="missing"):
        trainer.fit(*data(), 1, callbacks=Checkpoint(tmp_path / "missing" / "net"))
    assert trainer.epochs_trained == 0


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_file_that_may_not_be_replaced_is_told_before_the_first_epoch(path):
    path.write_bytes(b"old")
    path.chmod(0o444)
    trainer = net()
    with pytest.raises(PermissionError) as caught:
        trainer.fit(*data(), 1, callbacks=Checkpoint(path))
    assert caught.value.filename == str(path)
    assert trainer.epochs_trained == 0
    with pytest.raises(IsADirectoryError):
        trainer.fit(*data(), 1, callbacks=Checkpoint(path.parent))


# One process forks the others, so that each starts at once without importing.
KILLER = """
import os, random, signal, sys, time
import numpy as np
from jitprop import Checkpoint, EarlyStopping, Trainer

path, kills, rng = sys.argv[1], int(sys.argv[2]), random.Random(0)
data = np.random.default_rng(0)
X, y = data.normal(size=(8, 30)), data.uniform(size=(8, 2))


def net():
    if os.path.exists(path):
        return Trainer.load(path)
    return Trainer([30, 500, 2], optimizer="adam", batch_size=3, seed=1, backend="numpy")


def train(trainer, epochs_total):
    callbacks = [EarlyStopping("loss", patience=10**6), Checkpoint(path)]
    trainer.fit(X, y, epochs_total=epochs_total, callbacks=callbacks)


def pace():
    began = time.perf_counter()
    trainer = net()
    train(trainer, trainer.epochs_trained + 1)
    return time.perf_counter() - began


seconds = 6 * min(pace() for _ in range(3))
done = [3]
for _ in range(kills):
    child = os.fork()
    if child == 0:
        try:
            train(net(), 100_000)
        finally:
            os._exit(1)
    time.sleep(rng.uniform(0.0, seconds))
    os.kill(child, signal.SIGKILL)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    done.append(Trainer.load(path).epochs_trained)
assert done == sorted(done)
trainer = Trainer.load(path)
stopping = EarlyStopping("loss", patience=10**6)
trainer.fit(X, y, epochs_total=trainer.epochs_trained, callbacks=stopping)
assert stopping.best_epoch == trainer.history.loss.argmin()
assert stopping.best == trainer.history.loss.min()
trainer = Trainer.load(path)
ref = Trainer([30, 500, 2], optimizer="adam", batch_size=3, seed=1, backend="numpy")
ref.fit(X, y, trainer.epochs_trained + 1)
trainer.fit(X, y, 1)
assert trainer.parameters.tobytes() == ref.parameters.tobytes()
assert trainer.history.loss.tobytes() == ref.history.loss.tobytes()
print(done[-1], len(set(done)))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_process_killed_at_any_moment_leaves_the_latest_whole_checkpoint(path):
    kills = 24
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", KILLER, str(path), str(kills)]
    killed = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert killed.returncode == 0, killed.stderr
    epochs, times_further = map(int, killed.stdout.split())
    assert epochs > kills // 4
    assert times_further > kills // 4
    left = {name for name in os.listdir(path.parent) if name != path.name}
    assert all(name.startswith(".jitprop-") for name in left)
    assert 0 < len(left) <= kills  # some were killed while they wrote a file
