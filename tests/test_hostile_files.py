"""Files that are no checkpoints are refused, with a reason, little memory and no code run."""

from __future__ import annotations

import copy
import itertools
import json
import os
import pickle
import random
import tracemalloc
import zipfile

import numpy as np
import pytest
import safetensors.numpy

from jitprop import CheckpointError, Trainer
from jitprop.checks import shown
from jitprop.files import saving, sealed


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a valid checkpoint."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(9, 3)), rng.uniform(size=(9, 2))
    trainer = Trainer(
        [3, 3, 2], optimizer="adam", activation="tanh", batch_size=4, seed=2, backend="numpy"
    )
    trainer.fit(X, y, 3)
    path = tmp_path_factory.mktemp("whole") / "net.safetensors"
    trainer.save(path)
    return path.read_bytes()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.safetensors"


@pytest.fixture
def refused(path):
    """Return a function that writes bytes, or keeps the file for None, and returns the reason."""

    def load(data=None):
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(CheckpointError) as caught:
            Trainer.load(path)
        begin = f"{str(path)!r} cannot be loaded: "
        assert str(caught.value).startswith(begin)
        return str(caught.value).removeprefix(begin)

    return load


def parts(data):
    """Return the content, the header of the tensors, and their bytes."""
    n = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + n])
    content = json.loads(header.pop("__metadata__")["jitprop"])
    del content["sha256"]
    return content, header, data[8 + n :]


def resealed(content, header, data):
    """Return a file of these parts with a correct seal, as an attacker could make it."""
    text = content if isinstance(content, str) else json.dumps(content)
    text = '{"sha256":"' + "0" * 64 + '",' + text.removeprefix("{")
    header = {"__metadata__": {"jitprop": text}, **header}
    raw = json.dumps(header, separators=(",", ":")).encode()
    made = len(raw).to_bytes(8, "little") + raw + data
    at = made.index(sealed._MARK) + len(sealed._MARK)
    return made[:at] + sealed._seal([made]) + made[at + 64 :]


def test_the_tests_own_seal_is_right(path, whole):
    path.write_bytes(resealed(*parts(whole)))
    assert Trainer.load(path).epochs_trained == 3


# Damaged files.


def test_truncations(refused, whole):
    n = len(whole)
    for length in {*range(20), *range(20, n, 7), *range(n - 20, n)}:
        refused(whole[:length])


def test_a_bit_of_many_bytes(refused, whole):
    rng = random.Random(0)
    for i in {*range(150), *range(150, len(whole), 3)}:
        altered = bytearray(whole)
        altered[i] ^= 1 << rng.randrange(8)
        refused(altered)


def test_alterations_that_would_load(refused, whole):
    reason = "it was altered: its SHA-256 differs from the one written in it"
    rate = b'learning_rate\\":0.001'
    for altered in (
        whole.replace(rate, rate.replace(b"1", b"2")),
        whole.replace(rate, rate.replace(b"rate", b"\\\\u0072ate")[: len(rate)]),
        whole[:-8] + b"\0" * 8,
        whole[:-16] + whole[-8:] + whole[-16:-8],
    ):
        assert altered != whole
        assert len(altered) == len(whole)
        refused(altered)
    assert refused(altered) == reason
    assert "tensors" in refused(whole + b"\0")


def test_bytes_at_random(refused, whole):
    rng = random.Random(0)
    for n in (0, 1, 7, 8, 9, 100, 5000):
        refused(rng.randbytes(n))
        refused(whole[:8] + rng.randbytes(n))


# Foreign files.


def test_files_of_others(path, refused, tmp_path):
    arrays = {"parameters": np.zeros(3), "optimizer": np.zeros((0, 3))}
    foreign = "it is a safetensors file, but was not written by jitprop"
    for metadata in (None, {"format": "pt"}, {"jitprop": "{}"}):
        assert refused(safetensors.numpy.save(arrays, metadata)) == foreign
    refused(b"")
    refused(b"a,b\n1,2\n" * 100)
    refused(pickle.dumps(arrays))
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("weights", "1 2 3")
    refused()
    np.save(tmp_path / "array.npy", np.zeros(9))
    refused((tmp_path / "array.npy").read_bytes())


def test_what_is_no_file(path, refused):
    path.mkdir()
    assert refused() == "it is not a regular file"
    path.rmdir()
    os.mkfifo(path)  # opening it would wait for ever
    assert refused() == "it is not a regular file"


# Hostile files.

ADAM = {"class": "Adam", "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8}
SETTINGS = [
    ("layer_sizes", [10**9, 10**9], "its tensor"),
    ("layer_sizes", [10**400, 10**400], "its tensor"),
    ("layer_sizes", [3, 3, 2, 10**8], "its tensor"),
    ("layer_sizes", [], "its tensor"),
    ("layer_sizes", None, "layer_sizes must be"),
    ("layer_sizes", "332", "layer_sizes must be"),
    ("layer_sizes", [3.0, 3, 2], "layer_sizes must be"),
    ("layer_sizes", [-3, 3, 2], "layer_sizes must be"),
    ("layer_sizes", [[3], 3, 2], "layer_sizes must be"),
    ("activation", ["evil"], "activation"),
    ("activation", {"class": "Adam"}, "activation must be"),
    ("activation", ["tanh"] * 3, "activation must be"),
    ("output_activation", None, "output_activation must be"),
    ("output_activation", "softmax", "softmax"),
    ("loss", ADAM, "loss must be"),
    ("loss", {"class": "Loss"}, "its settings have the unknown class 'Loss'"),
    (
        "loss",
        {"class": "HalfSquaredError", "name": "x"},
        "settings of HalfSquaredError name name, which",
    ),
    ("loss", {"custom": "print"}, r"custom_objects=\{'print': ...\}"),
    ("loss", {"custom": ["print"]}, "its settings have the unknown class None"),
    ("loss", {}, "its settings have the unknown class None"),
    ("optimizer", {"class": "os.system"}, "its settings have the unknown class 'os.system'"),
    ("optimizer", {"class": "Trainer"}, "its settings have the unknown class 'Trainer'"),
    ("optimizer", {"class": ["Adam"]}, "its settings have the unknown class"),
    ("optimizer", {"class": "SGD"}, "its tensor 'optimizer'"),
    ("optimizer", ADAM | {"beta_1": 2}, "beta_1 must be"),
    ("optimizer", ADAM | {"beta_1": ADAM}, "beta_1 must be"),
    ("optimizer", ADAM | {"amsgrad": True}, "settings of Adam name amsgrad, which"),
    ("optimizer", 3, "optimizer must be"),
    ("learning_rate", -1.0, "learning_rate must be"),
    ("learning_rate", 10**400, "learning_rate must be"),
    ("learning_rate", "fast", "learning_rate must be"),
    ("batch_size", 0, "batch_size must be"),
    ("batch_size", 2.5, "batch_size must be"),
    ("shuffle", 1, "shuffle must be"),
    ("dtype", "float16", "dtype must be"),
    ("dtype", "float32", "its tensor"),
    ("dtype", "O", "dtype must be"),
    ("dtype", "(2,)f8", "dtype must be"),
    ("dtype", "(2,f8", "dtype must be"),
    ("dtype", "double", "dtype must be"),
    ("dtype", {"names": ["a"]}, "dtype must be"),
    ("learning_rate", {"class": "Step", "initial": 0.1, "every": 10**400}, "every must be"),
    ("learning_rate", {"class": "OneCycle", "peak": 0.1, "epochs": 10**400}, "epochs must be"),
    ("learning_rate", {"class": "Cosine", "peak": 0.1, "epochs": 10**400}, "epochs must be"),
    ("learning_rate", {"class": "CosineLog", "initial": 1, "epochs": 2, "cycles": 99}, "cycles"),
    ("learning_rate", {"class": "EachUpdate", "schedule": 0.1}, "schedule must be"),
    ("learning_rate", {"class": "EachUpdate"}, "schedule"),
    (
        "learning_rate",
        {"class": "EachUpdate", "schedule": {"class": "ReduceOnPlateau", "initial": 1}},
        "schedule cannot be",
    ),
    ("activation", ["\x1b[31mred"], r"activation[0] '\\x1b[31mred'"),
    ("activation", ["x" * 100_000], "activation[0] 'xxx"),
    ("loss", {"custom": "x" * 100_000}, "it was saved with 'xxx"),
    ("loss", {"class": "Huber", "\x1b" + "x" * 100_000: 1}, "settings of Huber name"),
    ("\x1b" + "x" * 100_000, 1, r"its settings name \\x1bxxx"),
    ("backend", "cuda", "backend"),
    ("n_threads", -1, "n_threads must be"),
    ("init", "uniform", "name init, which this version does not know"),
    ("seed", 1, "name seed, which this version does not know"),
    ("__class__", 1, "name __class__, which this version does not know"),
]
RNG = {"bit_generator": "PCG64", "has_uint32": 0, "uinteger": 0}
STATE = [
    ("epochs", -1, "its epochs cannot be -1"),
    ("epochs", 2**63, "its epochs cannot be"),
    ("updates", 2**64, "its updates cannot be"),
    ("updates", 1.0, "its updates cannot be"),
    ("updates", 0, "its updates must be from 1 to 2**48 for each"),
    ("updates", 2**61, "its updates must be from 1 to 2**48 for each of its epochs"),
    ("epochs", 2, "its history must have at most 2 epochs; it has 3"),
    ("updates", True, "its updates cannot be"),
    ("updates", [1], "its updates cannot be"),
    ("params", [1.0], "name params, which this version does not know"),
    ("__dict__", {}, "name __dict__, which this version does not know"),
    ("rng", None, "its rng cannot be"),
    ("rng", {"class": "Adam"}, "its rng cannot be"),
    ("rng", RNG | {"bit_generator": "MT19937", "state": {"state": 1, "inc": 1}}, "its rng cannot"),
    ("split", 2**32, "its split cannot be"),
    ("dropout_key", 2**63, "its dropout_key cannot be"),
    ("dropout_key", -1, "its dropout_key cannot be"),
    ("plateau", None, "its plateau cannot be"),
    ("plateau", [0.1, None, 0], "its plateau must be empty"),
    ("rng", RNG | {"state": {"state": 1, "inc": 2}}, "its rng cannot be"),
    ("rng", RNG | {"state": {"state": 1, "inc": 1}, "has_uint32": 2}, "its rng cannot be"),
    ("rng", RNG | {"state": {"state": 1, "inc": 1, "more": 1}}, "its rng cannot be"),
    ("rng", RNG | {"state": {"state": -1, "inc": 1}}, "its rng cannot be"),
    ("rng", RNG | {"state": {"state": 2**128, "inc": 1}}, "its rng cannot be"),
    ("rng", RNG | {"state": {"state": "1", "inc": 1}}, "its rng cannot be"),
    ("rng", RNG | {"state": {"state": 1.5, "inc": 1}}, "its rng cannot be"),
    ("rng", RNG | {"state": {"inc": 1}}, "its rng cannot be"),
    ("rng", RNG | {"state": [1, 1]}, "its rng cannot be"),
    ("rng", RNG | {"state": {"state": 1, "inc": 1}, "uinteger": 2**40}, "its rng cannot be"),
]
CASES = [*(("settings", *case) for case in SETTINGS), *(("state", *case) for case in STATE)]


@pytest.mark.parametrize(
    ("part", "name", "value", "reason"), CASES, ids=[f"{c[1]}-{shown(c[2])[:40]}" for c in CASES]
)
def test_settings_and_state_that_cannot_be(refused, whole, part, name, value, reason):
    content, header, data = parts(whole)
    content[part][name] = value
    hostile = resealed(content, header, data)
    tracemalloc.start()
    try:
        said = refused(hostile)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert reason.replace("\\", "") in said.replace("\\", "")
    assert len(said) < 500


LOSSES = {"loss": [3.0, 2.0, 1.0]}
HISTORIES = [
    ({"epochs": 3}, "it has no columns"),
    ({"epochs": 3, "columns": {}}, "its history has no loss"),
    ({"epochs": 10**12, "columns": {"metrics.mse": None}}, "its history has no loss"),
    ({"epochs": 10**12, "columns": LOSSES}, "its history must have 1000000000000 numbers"),
    ({"epochs": 10**12, "columns": {"loss": None}}, "its tensors must be"),
    ({"epochs": 2, "columns": LOSSES}, "its history must have 2 numbers of 'loss'"),
    ({"epochs": 4, "columns": {"loss": [4.0, 3.0, 2.0, 1.0]}}, "it has 4"),
    ({"epochs": 3, "columns": LOSSES | {"seconds": [0.0, -1.0, 0.0]}}, "has seconds below 0"),
    (
        {"epochs": 3, "columns": LOSSES | {"learning_rate": [0.1, -5.0, 0.1]}},
        "its history has learning_rate below 0",
    ),
    ({"epochs": 3.0, "columns": LOSSES}, "epochs must be an integer"),
    ({"epochs": -1, "columns": LOSSES}, "epochs must be an integer"),
    ({"columns": LOSSES}, "epochs must be an integer"),
    ({"epochs": 3, "columns": LOSSES | {"metrics": [1, 2, 3]}}, "its history name metrics"),
    ({"epochs": 3, "columns": LOSSES | {"__class__": [1, 2, 3]}}, "its history name __class__"),
    ({"epochs": 3, "columns": LOSSES | {"seconds": [1, 2]}}, "its history must have 3 numbers"),
    ({"epochs": 1, "columns": {"loss": 1.0}}, "its history must have 1 numbers"),
    ({"epochs": 1, "columns": {"loss": [[1.0]]}}, "its history must have 1 numbers"),
    ({"epochs": 1, "columns": {"loss": ["x"]}}, "its history must have 1 numbers"),
    ({"epochs": 1, "columns": {"loss": [{}]}}, "its history must have 1 numbers"),
    ({"epochs": 1, "columns": {"loss": ["1e5"]}}, "its history must have 1 numbers"),
    ({"epochs": 1, "columns": {"loss": ["Infinity"]}}, "its history must have 1 numbers"),
    ({"epochs": 1, "columns": {"loss": [True]}}, "its history must have 1 numbers"),
    ({"epochs": 1, "columns": {"loss": [10**400]}}, "its history must have 1 numbers"),
]


@pytest.mark.parametrize(("history", "reason"), HISTORIES, ids=range(len(HISTORIES)))
def test_histories_that_cannot_be(refused, whole, history, reason):
    content, header, data = parts(whole)
    content["history"] = history
    assert reason in refused(resealed(content, header, data))


PLATEAUS = [
    [-5.0, None, 0],
    [5.0, None, 0],
    [None, None, 0],
    ["0.1", None, 0],
    [True, None, 0],
    [0.1, "1.0", 0],
    [0.1, 1, 0],
    [0.1, None, -1],
    [0.1, None, 10],
    [0.1, None, 0.5],
    [0.1, None, None],
    [0.1, None],
    [0.1, None, 0, 0],
    [[0.1], None, 0],
    [{"class": "SGD"}, None, 0],
    {"rate": 0.1},
]


@pytest.mark.parametrize("plateau", PLATEAUS, ids=str)
def test_places_on_a_plateau_that_training_cannot_reach(refused, whole, plateau):
    """Training would use a rate of -5."""
    content, header, data = parts(whole)
    rate = {"class": "ReduceOnPlateau", "initial": 0.1, "monitor": "loss"}
    content["settings"]["learning_rate"] = rate
    content["state"]["plateau"] = plateau
    assert "its plateau" in refused(resealed(content, header, data))


def test_a_history_longer_than_its_limit(refused, whole):
    content, header, data = parts(whole)
    content["settings"]["history_limit"] = 2
    assert "at most 2 epochs" in refused(resealed(content, header, data))


@pytest.mark.parametrize("told", [-1, 5, 2**61, 1.0, None])
def test_callbacks_that_were_told_of_other_epochs(refused, whole, told):
    content, header, data = parts(whole)
    content["callbacks"] = [{"class": "Mine", "told": told, "state": {"dict": {}}}]
    assert "told must be an integer" in refused(resealed(content, header, data))


def test_a_callback_of_the_users_own_may_have_our_name(path, whole):
    content, header, data = parts(whole)
    state = {"dict": {"best": "mine", "first": -1}}
    content["callbacks"] = [{"class": "EarlyStopping", "told": 4, "state": state}]
    path.write_bytes(resealed(content, header, data))
    assert Trainer.load(path)._model.kept[0].state == {"best": "mine", "first": -1}


@pytest.mark.parametrize("name", ["rng", "epochs", "updates"])
def test_states_that_lack_what_all_have(refused, whole, name):
    content, header, data = parts(whole)
    del content["state"][name]
    assert refused(resealed(content, header, data)) == f"its state has no {name}"


@pytest.mark.parametrize("extra", [5, "x", [1], False])
def test_an_extra_that_is_no_object(refused, whole, extra):
    content, header, data = parts(whole)
    content["extra"] = extra
    assert "its extra must be an object or null" in refused(resealed(content, header, data))


def test_content_that_is_unknown(refused, whole):
    content, header, data = parts(whole)
    content["more"] = 1
    assert "its content name more" in refused(resealed(content, header, data))


@pytest.mark.parametrize("part", ["format", "settings", "state", "history"])
@pytest.mark.parametrize("value", [None, [], "1", 0, 1.0])
def test_parts_that_are_missing_or_of_another_kind(refused, whole, part, value):
    content, header, data = parts(whole)
    content[part] = value
    refused(resealed(content, header, data))
    del content[part]
    refused(resealed(content, header, data))


def test_a_newer_format_is_told_from_a_broken_file(refused, whole):
    content, _, data = parts(whole)
    content = {"format": saving.FORMAT + 1, "net": content["settings"]}
    assert "a newer version wrote it" in refused(resealed(content, {}, data))


ENTRIES = [
    ("optimizer", None),
    ("other", {"dtype": "F64", "shape": [0], "data_offsets": [0, 0]}),
    ("optimizer", {"dtype": "F64", "shape": [2, 20], "data_offsets": [0, 320]}),
    ("parameters", {"dtype": "F64", "shape": [20], "data_offsets": [0, 160]}),
    ("parameters", {"dtype": "F64", "shape": [20], "data_offsets": [160, 320]}),
    ("parameters", {"dtype": "F64", "shape": [20], "data_offsets": [480, 320]}),
    ("parameters", {"dtype": "F64", "shape": [20], "data_offsets": [320, 2**64]}),
    ("parameters", {"dtype": "F64", "shape": [20], "data_offsets": [-160, 0]}),
    ("parameters", {"dtype": "F64", "shape": [20], "data_offsets": [320.0, 480.0]}),
    ("parameters", {"dtype": "F64", "shape": [20], "data_offsets": None}),
    ("parameters", {"dtype": "F64", "shape": [20]}),
    ("parameters", {"dtype": "I64", "shape": [20], "data_offsets": [320, 480]}),
    ("parameters", {"dtype": "F64", "shape": [4, 5], "data_offsets": [320, 480]}),
    ("parameters", {"dtype": "F64", "shape": [2**62], "data_offsets": [320, 480]}),
    ("parameters", {"dtype": ["F64"], "shape": "20", "data_offsets": [320, 480]}),
    ("parameters", [320, 480]),
    ("parameters", None),
]


@pytest.mark.parametrize("case", range(len(ENTRIES)))
def test_tensors_that_do_not_go_with_the_settings(refused, whole, case):
    content, header, data = parts(whole)
    name, entry = ENTRIES[case]
    assert header["parameters"] == {"dtype": "F64", "shape": [20], "data_offsets": [320, 480]}
    good = header.get(name) == entry
    header[name] = entry
    if entry is None:
        del header[name]
    if not good:
        refused(resealed(content, header, data))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [0, 59])
def test_numbers_that_are_not_finite(refused, whole, value, at):
    content, header, data = parts(whole)
    numbers = np.frombuffer(data).copy()
    numbers[at] = value
    assert (
        refused(resealed(content, header, numbers.tobytes()))
        == "its tensors must be finite; they have inf or nan"
    )


def test_names_that_stand_twice(refused, whole):
    content, header, data = parts(whole)
    text = json.dumps(content)
    assert "twice" in refused(resealed(text[:-1] + ', "format": 1}', header, data))
    n = int.from_bytes(whole[:8], "little")
    raw = whole[8 : 8 + n].rstrip()[:-1] + b',"__metadata__":{}}'
    assert "twice" in refused(len(raw).to_bytes(8, "little") + raw + data)


def test_nan_is_no_json(refused, whole):
    content, header, data = parts(whole)
    content["extra"] = {"mean": float("nan")}
    assert "NaN is not a number" in refused(resealed(content, header, data))


BOMBS = {
    "deep lists": (b"", b"[", b""),
    "deep objects": (b"", b'{"a":', b""),
    "objects": (b'{"a":[', b"{},", b"{}]}"),
    "names": (b"{", b'"a":1,', b'"b":1}'),
    "digits": (b'{"a":', b"1", b"}"),
    "no text": (b"", b"\xff", b""),
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_headers_that_cost_much(monkeypatch, refused, bomb):
    """Objects take 25 times their bytes. The limit is smaller here, to save time."""
    limit = 1 << 18
    monkeypatch.setattr(sealed, "MAX_HEADER", limit)
    begin, repeated, end = bomb
    raw = begin + repeated * ((limit - len(begin + end)) // len(repeated)) + end
    hostile = len(raw).to_bytes(8, "little") + raw
    tracemalloc.start()
    try:
        refused(hostile)
        assert tracemalloc.get_traced_memory()[1] < 40 * limit
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("length", [sealed.MAX_HEADER + 1, 1 << 30, 1 << 40, (1 << 63) - 1, -1])
def test_a_header_that_is_too_long_is_not_read(path, refused, length):
    with path.open("wb") as file:
        file.write((length % (1 << 64)).to_bytes(8, "little") + b"{}")
        file.truncate(1 << 31)  # takes no space on the disk
    tracemalloc.start()
    try:
        said = refused()
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert "header" in said


def test_tensors_of_another_size_are_not_read(path, refused, whole):
    path.write_bytes(whole)
    os.truncate(path, 1 << 31)
    tracemalloc.start()
    try:
        assert "its tensors must take 480 bytes" in refused()
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("right", [True, False])
def test_a_large_sparse_file_is_refused_with_little_memory(path, refused, whole, right):
    """68 MB of zeros, of the size that the settings need, which take no space on the disk."""
    content, header, _ = parts(whole)
    n = 11 * 256_000
    content["settings"] |= {"layer_sizes": [10, 256_000], "activation": [], "dropout": []}
    header["optimizer"] |= {"shape": [2, n], "data_offsets": [0, 16 * n]}
    header["parameters"] |= {"shape": [n], "data_offsets": [16 * n, 24 * n]}
    if right:
        content["settings"]["clip_norm"] = -1.0
    made = resealed(content, header, b"")
    at = made.index(sealed._MARK) + len(sealed._MARK)
    blank = made[:at] + b"0" * 64 + made[at + 64 :]
    seal = sealed._seal(itertools.chain([blank], itertools.repeat(bytes(24 * 256_000), 11)))
    path.write_bytes(made[:at] + (seal if right else b"0" * 64) + made[at + 64 :])
    os.truncate(path, len(made) + 24 * n)
    tracemalloc.start()
    try:
        assert ("clip_norm must be" if right else "it was altered") in refused()
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()


JUNK = (None, True, -1, 0, 1, 2, 1.5, 2**64, 10**400, "", "x", "Adam", [], [1], [[]], {}, {"a": 1})


def mutated(content, rng):
    """Return a copy with one value replaced, removed or doubled somewhere."""
    content = copy.deepcopy(content)
    at = content
    while True:
        key = rng.choice(list(at) if isinstance(at, dict) else range(len(at)))
        if isinstance(at[key], dict | list) and at[key] and rng.random() < 0.8:
            at = at[key]
            continue
        what = rng.randrange(6)
        if what == 0:
            del at[key]
        elif what == 1 and isinstance(at, dict):
            at[rng.choice(["class", "custom", "format", "beta_3", "\ud800"])] = at[key]
        else:
            at[key] = rng.choice(JUNK)
        return content


def test_a_thousand_hostile_headers_load_a_net_that_works_or_are_refused(path, whole):
    rng = random.Random(0)
    content, header, data = parts(whole)
    loaded = 0
    for _ in range(1000):
        both = mutated({"content": content, "header": header}, rng)
        if not isinstance(both.get("content"), dict) or not isinstance(both.get("header"), dict):
            continue
        path.write_bytes(resealed(both["content"], both["header"], data))
        try:
            trainer = Trainer.load(path)
        except CheckpointError:
            continue
        loaded += 1
        trainer._model.backend = "numpy"  # the default would compile if the name was removed
        assert trainer.predict(np.zeros((2, 3))).shape == (2, 2)
        trainer.fit(np.zeros((2, 3)), np.zeros((2, 2)), 1)
    assert 0 < loaded < 500
