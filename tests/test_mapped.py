"""Memory-mapped files train to the bits of arrays in memory, without being loaded as a whole."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from jitprop import Trainer
from jitprop.data import mapped
from nets import in_turns

N = 900
KINDS = {
    "float32": lambda a, path: stored(path, a.astype(np.float32)),
    "float64": lambda a, path: stored(path, a.astype(np.float64)),
    "big-endian": lambda a, path: stored(path, a.astype(">f4")),
    "uint8": lambda a, path: stored(path, (200 * a).astype(np.uint8)),
    "by columns": lambda a, path: stored(path, np.asfortranarray(a.astype(np.float32))),
    "some columns": lambda a, path: stored(path, np.tile(a.astype(np.float32), 2))[:, : a.shape[1]],
    "every second row": lambda a, path: stored(path, np.repeat(a.astype(np.float32), 2, 0))[::2],
}


def stored(path, array):
    np.save(path, array)
    return np.load(path, mmap_mode="r")


@pytest.fixture(params=KINDS)
def files(request, tmp_path, monkeypatch):
    """X and y in files, and the same arrays in memory."""
    monkeypatch.setattr(mapped, "CHUNK", 1000)
    rng = np.random.default_rng(4)
    made = [
        KINDS[request.param](rng.random((N, size)), tmp_path / f"{name}.npy")
        for name, size in (("X", 6), ("y", 3))
    ]
    assert all(mapped.is_mapped(array) for array in made)
    return made, [np.array(array, np.float32) for array in made]


def make(**settings):
    defaults = {"batch_size": 32, "dtype": "float32", "optimizer": "adam", "seed": 2}
    return Trainer([6, 8, 3], **defaults | {"output_activation": "identity"} | settings)


def same(ref, comp, histories):
    assert comp.parameters.tobytes() == ref.parameters.tobytes()
    assert comp._model.state.rng.bit_generator.state == ref._model.state.rng.bit_generator.state
    assert histories[0].loss.tolist() == histories[1].loss.tolist()


@pytest.mark.parametrize(
    "settings",
    [{}, {"shuffle": False}, {"batch_size": None}, {"batch_size": 7}, {"batch_size": 600}],
    ids=str,
)
def test_files_train_to_the_bits_of_arrays(files, settings, backend):
    in_files, in_memory = files
    ref, comp = (make(backend=backend, **settings) for _ in range(2))
    same(ref, comp, [comp.fit(*in_files, 3), ref.fit(*in_memory, 3)])


def test_an_order_and_weights_are_those_of_arrays(files, backend):
    in_files, in_memory = files
    rng = np.random.default_rng(0)
    extra = {"order": rng.permuted(np.tile(np.arange(N), (2, 1)), axis=1)}
    extra["sample_weight"] = rng.random(N)
    ref, comp = (make(backend=backend) for _ in range(2))
    same(ref, comp, [comp.fit(*in_files, 2, **extra), ref.fit(*in_memory, 2, **extra)])


def test_what_is_held_out_is_not_copied(files, monkeypatch):
    in_files, in_memory = files
    taken = []
    take = mapped.take
    monkeypatch.setattr(mapped, "take", lambda a, rows: taken.append(take(a, rows)) or taken[-1])
    ref, comp = (make(backend="numpy") for _ in range(2))
    extra = {"validation_fraction": 0.3, "metrics": "mse"}
    found = comp.fit(*in_files, 3, **extra)
    assert [type(rows) for rows in taken] == [mapped.Mapped] * 4
    expected = ref.fit(*in_memory, 3, **extra)
    same(ref, comp, [found, expected])
    assert found.validation_loss.tolist() == expected.validation_loss.tolist()
    assert found.metrics["mse"].tolist() == expected.metrics["mse"].tolist()


def test_predict_evaluate_and_gradients(files, backend):
    in_files, in_memory = files
    trainer = make(backend=backend)
    assert trainer.predict(in_files[0]).tobytes() == trainer.predict(in_memory[0]).tobytes()
    assert trainer.evaluate(*in_files) == trainer.evaluate(*in_memory)
    assert trainer.gradients(*in_files).loss == trainer.gradients(*in_memory).loss


def test_a_file_that_is_right_is_not_copied(tmp_path):
    array = np.random.default_rng(0).random((50, 3))
    file = stored(tmp_path / "a.npy", array)
    assert np.shares_memory(mapped.cast(file, np.dtype(np.float64)), file)
    assert isinstance(mapped.cast(file, np.dtype(np.float32)), mapped.Mapped)
    # An array in memory is copied, which is faster.
    assert isinstance(mapped.cast(array, np.dtype(np.float32)), np.ndarray)


def test_bad_rows_are_found_wherever_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(mapped, "CHUNK", 100)
    X, y = np.zeros((N, 6)), np.full((N, 3), 0.5)
    X[700, 4], y[801, 1] = 1e300, 1.5
    X, y = stored(tmp_path / "X.npy", X), stored(tmp_path / "y.npy", y)
    trainer = make(loss="binary_cross_entropy", output_activation="sigmoid")
    with pytest.raises(ValueError, match=r"X\[700, 4\] is 1e\+300, which is beyond float32"):
        trainer.fit(X, y, 1)
    with pytest.raises(ValueError, match=r"y\[801, 1\] is 1.5"):
        trainer.fit(np.zeros((N, 6)), y, 1)


def test_labels_in_files(tmp_path, backend):
    rng = np.random.default_rng(1)
    X, labels = rng.random((N, 6)), rng.integers(0, 3, N)
    settings = {"output_activation": "softmax", "loss": "cross_entropy", "backend": backend}
    ref, comp = (make(**settings) for _ in range(2))
    in_files = stored(tmp_path / "X.npy", X), stored(tmp_path / "y.npy", labels)
    same(ref, comp, [comp.fit(*in_files, 2), ref.fit(X, labels, 2)])


LIMITED = """
import resource, sys
import numpy as np
from jitprop import Trainer

backend, dtype, path = sys.argv[1:]
n, d = {n}, 256
X = np.memmap(path + "/X", dtype, "w+", shape=(n, d))  # sparse: takes no space on the disk
y = np.memmap(path + "/y", dtype, "w+", shape=(n, d))
X[:: n // 8] = 1
trainer = Trainer([d, 4, d], batch_size=256, dtype="float32", seed=0, backend=backend)
small = X[:600], y[:600]
extra = dict(validation_data=small)
for _ in range(2):  # compiles, imports, and BLAS allocates its buffers
    trainer.fit(*small, 1, **extra)
    trainer.evaluate(*small)
    trainer.predict(small[0])
    big = np.ones((1000, 1000), np.float32)
    big @ big
with open("/proc/self/status") as status:
    now = next(int(line.split()[1]) << 10 for line in status if line.startswith("VmData"))
room = {room} << 20
resource.setrlimit(resource.RLIMIT_DATA, (now + room, now + room))
try:
    np.ones(2 * room >> 3)  # some of what was counted may be free again
except MemoryError:
    pass
else:
    raise AssertionError("no limit")
size = X.nbytes + y.nbytes
assert size > 3 * room, size
trainer.fit(X, y, 1, **extra)
trainer.fit(X, y, 1, validation_fraction=0.1)
trainer.evaluate(X, y)
trainer.predict(X[: n // 8])
print("trained on", size >> 20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("backend", "dtype"), in_turns([("numpy",), ("numba",)], ["float32", "float64"])
)
def test_files_larger_than_memory(backend, dtype, tmp_path):
    code = LIMITED.format(n=80_000, room=40)
    command = [sys.executable, "-W", "error", "-c", code, backend, dtype, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "trained on" in done.stdout


def test_parquet_row_groups(tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.random((100, 6)), rng.random((100, 3))
    names = [f"x{i}" for i in range(6)], [f"y{i}" for i in range(3)]
    columns = zip([*names[0], *names[1]], [*X.T, *y.T], strict=True)
    path = tmp_path / "data.parquet"
    pq.write_table(pa.table(dict(columns)), path, row_group_size=32)

    def row_groups():
        with pq.ParquetFile(path) as file:
            for i in range(file.num_row_groups):
                frame = file.read_row_group(i).to_pandas()
                yield frame[names[0]], frame[names[1]]

    ref, comp = (make(dtype=None, shuffle=False) for _ in range(2))
    same(ref, comp, [comp.fit(row_groups, epochs=3), ref.fit(X, y, 3)])
