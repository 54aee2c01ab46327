"""Saving: the file holds everything and trains on to the same bits; bad files are refused."""

from __future__ import annotations

import copy
import functools
import os
import pickle
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from inspect import signature

import numpy as np
import pytest
import safetensors.numpy

import jitprop
from jitprop import (
    SGD,
    Adam,
    AdamW,
    CheckpointError,
    Cosine,
    Fleet,
    ReduceOnPlateau,
    SquaredError,
    Trainer,
)
from jitprop.files import encoding, saving, sealed
from jitprop.net.spec import Spec, make_spec
from jitprop.net.state import State
from jitprop.training.model import Model
from nets import OPTIMIZERS


def trained(epochs=3, **settings):
    settings = {"seed": 1, "backend": "numpy", "batch_size": 3, **settings}
    trainer = Trainer([3, 4, 2], **settings)
    if epochs:
        trainer.fit(*data(), epochs)
    return trainer


def data(dtype=np.float64):
    rng = np.random.default_rng(0)
    return rng.normal(size=(10, 3)).astype(dtype), rng.uniform(0.1, 0.9, size=(10, 2))


def same(a, b):
    """Return whether two trainers have the same settings and the same state, bit for bit."""
    one, other = a._model, b._model
    settings = "spec", "shuffle", "dtype", "backend", "n_threads"
    return (
        [getattr(one, name) for name in settings] == [getattr(other, name) for name in settings]
        and a.parameters.dtype == b.parameters.dtype
        and a.parameters.tobytes() == b.parameters.tobytes()
        and one.state.slots.tobytes() == other.state.slots.tobytes()
        and one.state.rng.bit_generator.state == other.state.rng.bit_generator.state
        and (one.state.epochs, one.state.updates) == (other.state.epochs, other.state.updates)
        and one.state.dropout_key == other.state.dropout_key
        and a.history.loss.tobytes() == b.history.loss.tobytes()
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.safetensors"


# Resuming.


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_loaded_trainer_goes_on_to_the_same_bits(path, backend, optimizer, dtype):
    X, y = data()
    settings = {"optimizer": optimizer, "dtype": dtype, "backend": backend}
    whole = trained(5, **settings)
    first = trained(2, **settings)
    first.save(path)
    loaded = Trainer.load(path)
    assert same(loaded, first)
    losses = loaded.fit(X, y, 3).loss
    assert same(loaded, whole)
    assert losses.tobytes() == first.fit(X, y, 3).loss.tobytes()


@pytest.mark.parametrize("saved_after", [0, 2])
def test_a_dtype_not_settled_is_settled_after_loading(path, saved_after):
    trainer = trained(0)
    if saved_after:
        trainer.fit(*data(np.float32), saved_after)
    trainer.save(path)
    loaded = Trainer.load(path)
    for each in (trainer, loaded):
        each.fit(*data(np.float32), 1)
    assert loaded.parameters.dtype == np.float32
    assert same(loaded, trainer)


def test_the_shuffles_of_a_seed_from_the_system_go_on(path):
    trainer = trained(1, seed=None)
    trainer.save(path)
    loaded = Trainer.load(path)
    for each in (trainer, loaded):
        each.fit(*data(), 2)
    assert same(loaded, trainer)


def pickled(protocol):
    return lambda trainer: pickle.loads(pickle.dumps(trainer, protocol))


# Python 3.14 takes protocol 5, which hands arrays on as views of bytes.
@pytest.mark.parametrize("copied", [copy.deepcopy, pickled(4), pickled(5)])
def test_copies_and_pickles_go_on_too(copied):
    trainer = trained(2, optimizer="adam")
    other = copied(trainer)
    assert not np.shares_memory(trainer.parameters, other.parameters)
    for each in (trainer, other):
        each.fit(*data(), 2)
    assert same(other, trainer)
    assert np.shares_memory(other.weights[0], other.parameters)


# The contents of the file.

EVERY_OTHER = {
    "activation": ["relu"],
    "output_activation": "tanh",
    "loss": SquaredError(),
    "reduction": "sum",
    "optimizer": Adam(beta_1=0.5, beta_2=0.25, epsilon=1e-3),
    "learning_rate": 0.1 + 2**-50,
    "weight_decay": 1e-5,
    "decay_biases": True,
    "dropout": [0.25],
    "clip_norm": 0.5,
    "batch_size": 4,
    "input_scale_rate": 1 / 3,
    "learning_rate_factors": [(1 / 3, 0.0), 1.0],
    "shuffle": False,
    "dtype": "float32",
    "backend": "numpy",
    "n_threads": 3,
    "history_limit": 7,
}


def test_every_setting_is_saved(path):
    """It fails if a new setting of `Trainer` is missing in EVERY_OTHER above."""
    plain, other = Trainer([3, 4, 2]), Trainer([3, 5, 2], **EVERY_OTHER)
    before, settings = (dict(saving._settings(trainer._model)) for trainer in (plain, other))
    assert [name for name in settings if settings[name] == before[name]] == []
    other.save(path)
    loaded = Trainer.load(path)
    assert dict(saving._settings(loaded._model)) == settings
    for field in fields(Spec):
        if field.name == "sklearn":
            continue  # only estimators of jitprop.sklearn set it
        assert getattr(plain._model.spec, field.name) != getattr(other._model.spec, field.name)
        assert getattr(loaded._model.spec, field.name) == getattr(other._model.spec, field.name)


def test_all_state_is_saved(path):
    """It fails if a new field of `State` is missing in the file."""
    settings = {"optimizer": "adam", "learning_rate": ReduceOnPlateau(0.1, monitor="loss")}
    untrained, trainer = trained(0, seed=2, **settings), trained(2, **settings)
    trainer.save(path)
    loaded = Trainer.load(path)
    for field in fields(State):
        old, new, ref = (
            pickle.dumps(value.bit_generator.state if field.name == "rng" else value)
            for value in (
                getattr(each._model.state, field.name) for each in (untrained, loaded, trainer)
            )
        )
        assert old != ref, f"say here how training or the seed changes {field.name}"
        assert new == ref, field.name


def test_any_reader_of_safetensors_opens_it(path):
    trainer = trained(optimizer=SGD(momentum=0.5))
    trainer.save(path)
    with safetensors.safe_open(path, framework="numpy") as file:
        assert sorted(file.keys()) == ["optimizer", "parameters"]
        np.testing.assert_array_equal(file.get_tensor("parameters"), trainer.parameters)
        np.testing.assert_array_equal(file.get_tensor("optimizer"), trainer._model.state.slots)


@pytest.mark.parametrize("names", ["", "\u00e9\u4e2d\x7f", '"\\\n\x01\t'], ids=repr)
def test_the_bytes_are_those_of_the_library(path, names):
    rng = np.random.default_rng(0)
    tensors = {
        "parameters": rng.normal(size=5).astype(np.float32),
        "optimizer": np.zeros((0, 5), np.float32),
        f"b{names}": rng.normal(size=(2, 3))[:, ::2],
        f"a{names}": np.asfortranarray(rng.normal(size=(2, 3))),
        "scalar": np.array(1.5),
    }
    sealed.write(path, {"a": [1.5, "\u00e9\x01\ud800"]}, tensors)
    with sealed.reading(path) as file:
        file.check({name: (array.dtype, array.shape) for name, array in tensors.items()})
        for name, array in tensors.items():
            np.testing.assert_array_equal(file.tensor(name), array)
    data = path.read_bytes()
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    arrays = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    assert data == safetensors.numpy.save(arrays, metadata)


LITTLE_MEMORY = """
import resource, sys
from jitprop import Fleet, Trainer

PAGE, P = resource.getpagesize(), 1 << 23
kind, path = sys.argv[1:]
make = {"layer_sizes": [1023, 1 << 13], "backend": "numpy", "seed": 0}
Net, more = (Trainer, {}) if kind == "trainer" else (Fleet, {"members": 1})
Net([2, 1], backend="numpy", **more).save(path)
Net.load(path)  # imports everything
trainer = Net(**make, **more)
ref = trainer.parameters[..., -5:].tolist()


def limited(action, room):
    used = int(open("/proc/self/statm").read().split()[0]) * PAGE
    resource.setrlimit(resource.RLIMIT_AS, (used + room, resource.RLIM_INFINITY))
    try:
        return action()
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


limited(lambda: trainer.save(path), 4 * P)  # the parameters take 8 P bytes
del trainer
loaded = limited(lambda: Net.load(path), 12 * P)
assert loaded.parameters[..., -5:].tolist() == ref
del loaded
try:
    limited(lambda: Net.load(path), 4 * P)
except MemoryError as error:
    print(error)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="Linux")
@pytest.mark.parametrize("kind", ["trainer", "fleet"])
def test_saving_needs_no_copy_and_loading_no_second_one(path, kind):
    """Without memory for a copy, the process used to abort and lose the training."""
    command = [sys.executable, "-c", LITTLE_MEMORY, kind, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert str(path) in done.stdout
    assert "memory" in done.stdout


def test_the_same_trainer_makes_the_same_bytes(tmp_path):
    trainer = trained()
    for name in ("a", "b"):
        trainer.save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def odd(y, prediction):
    """Return nan, inf and -inf in turn."""
    odd.calls += 1
    return (np.nan, np.inf, -np.inf)[odd.calls % 3]


@pytest.mark.parametrize("in_json", [True, False])
def test_the_history_comes_back_to_the_bit(path, monkeypatch, in_json):
    odd.calls = 0
    trainer, (X, y) = trained(2), data()
    trainer.fit(X, y, 4, validation_fraction=0.3, metrics=["mse", odd])
    ref = trainer.history
    monkeypatch.setattr(encoding, "HISTORY_IN_JSON", 1000 if in_json else 41)
    trainer.save(path)
    with safetensors.safe_open(path, framework="numpy") as file:
        assert any(name.startswith("history.") for name in file.keys()) is not in_json  # noqa: SIM118
    loaded = Trainer.load(path)
    for _ in range(2):
        comp = loaded.history
        assert list(comp.columns) == list(ref.columns)
        for name, column in ref.columns.items():
            assert comp.columns[name].tobytes() == column.tobytes(), name
        loaded.fit(X, y, 1)
        trainer.fit(X, y, 1)
        assert loaded.history.loss.tobytes() == trainer.history.loss.tobytes()
        loaded.save(path)
        loaded, ref = Trainer.load(path), loaded.history


def test_the_split_for_validation_goes_on(path):
    trainer, (X, y) = trained(0), data()
    whole = trained(0).fit(X, y, 5, validation_fraction=0.3)
    trainer.fit(X, y, 2, validation_fraction=0.3)
    trainer.save(path)
    loaded = Trainer.load(path)
    loaded.fit(X, y, 3, validation_fraction=0.3)
    assert loaded.history.validation_loss.tobytes() == whole.validation_loss.tobytes()
    assert loaded.history.loss.tobytes() == whole.loss.tobytes()


def test_extra_comes_back(path):
    extra = {"columns": ["größe", "\ud800"], "mean": [0.1, 1e300], "none": None, "0" * 64: {}}
    saving.write(path, trained()._model, extra)
    assert saving.read(path)[1] == extra
    trained().save(path)
    assert saving.read(path)[1] is None


def test_what_cannot_be_saved_is_said_and_the_old_file_stays(path):
    trainer = trained()
    trainer.save(path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="JSON compliant"):
        saving.write(path, trainer._model, {"mean": float("nan")})
    with pytest.raises(TypeError, match="set"):
        saving.write(path, trainer._model, {"mean": {1}})
    with pytest.raises(ValueError, match="at most 4194304 bytes as JSON"):
        saving.write(path, trainer._model, {"text": "x" * (1 << 22)})
    trainer.parameters[0] = np.nan
    with pytest.raises(ValueError, match="finite"):
        trainer.save(path)
    assert os.listdir(path.parent) == [path.name]
    assert path.read_bytes() == before


def test_older_files_get_the_defaults_of_newer_settings(path, monkeypatch):
    monkeypatch.setattr(saving, "SPEC", ("layer_sizes", "optimizer"))
    monkeypatch.setattr(saving, "MODEL", ("backend",))
    trainer = trained(weight_decay=0.5)
    trainer.save(path)
    monkeypatch.undo()
    loaded = Trainer.load(path)
    assert loaded._model.spec.weight_decay == 0.0
    assert loaded.parameters.tobytes() == trainer.parameters.tobytes()


def test_a_schedule_goes_on(path):
    settings = {"learning_rate": Cosine(0.5, 6, warmup=2, final=0.01)}
    trainer = trained(3, **settings)
    trainer.save(path)
    loaded = Trainer.load(path)
    loaded.fit(*data(), 2)
    assert same(loaded, trained(5, **settings))


def test_dropout_goes_on(path):
    trainer = trained(3, dropout=0.5)
    trainer.save(path)
    loaded = Trainer.load(path)
    loaded.fit(*data(), 2)
    assert same(loaded, trained(5, dropout=0.5))


def hyperbola(epoch):
    return 1 / (epoch + 1)


def test_functions_of_the_users_own_are_saved_by_name(path):
    trainer = trained(3, learning_rate=hyperbola)
    trainer.save(path)
    assert b"test_saving" not in path.read_bytes()
    own = {"hyperbola": hyperbola}
    loaded = Trainer.load(path, custom_objects=own)
    loaded.fit(*data(), 2)
    assert same(loaded, trained(5, learning_rate=hyperbola))
    for given in (None, {}, {"parabola": hyperbola}):
        with pytest.raises(CheckpointError, match=r"custom_objects=\{'hyperbola': \.\.\.\}"):
            Trainer.load(path, custom_objects=given)
    with pytest.raises(CheckpointError, match="learning_rate must be"):
        Trainer.load(path, custom_objects={"hyperbola": "fast"})
    trainer.learning_rate = functools.partial(hyperbola)
    with pytest.raises(TypeError, match="learning_rate must have a name to be saved under"):
        trainer.save(path)


@dataclass(frozen=True)
class Own:
    value: Callable[[float], float]
    name: str


def test_objects_made_of_functions_are_saved_by_name(monkeypatch):
    monkeypatch.setitem(encoding.CLASSES, "Own", Own)
    own = Own(abs, "absolute")
    assert encoding.encoded("loss", own) == {"custom": "absolute"}
    assert encoding.decoded({"custom": "absolute"}, {"absolute": own}) is own


def test_all_settings_that_are_objects_are_known():
    modules = {cls.__module__ for cls in encoding.CLASSES.values()}
    names = "activations", "descent", "losses", "optimizers", "schedules", "second_order"
    assert modules == {f"jitprop.net.{name}" for name in names}
    exported = {getattr(jitprop, name) for name in jitprop.__all__}
    assert {cls for cls in exported if cls.__module__ in modules} <= {*encoding.CLASSES.values()}
    assert not {cls for cls in encoding.CLASSES.values() if not cls.__dataclass_params__.frozen}


# Writing.


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_permissions_are_those_of_open(tmp_path):
    (tmp_path / "opened").write_bytes(b"")
    (tmp_path / "kept").write_bytes(b"")
    (tmp_path / "kept").chmod(0o640)
    for name in ("new", "kept"):
        trained(0).save(tmp_path / name)
    opened, new, kept = (
        stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("opened", "new", "kept")
    )
    assert new == opened
    assert kept == 0o640


def test_a_link_goes_on_leading_to_the_file(tmp_path):
    (tmp_path / "folder").mkdir()
    link, file = tmp_path / "link", tmp_path / "folder" / "file"
    link.symlink_to(file)
    trained(0).save(link)
    assert link.is_symlink()
    Trainer.load(file)
    Trainer.load(str(link))


def test_places_that_cannot_be_written_to(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing"):
        trained(0).save(tmp_path / "missing" / "net")
    with pytest.raises(IsADirectoryError, match=tmp_path.name):
        trained(0).save(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="pipe"):
        trained(0).save(tmp_path / "pipe")
    assert os.listdir(tmp_path) == ["pipe"]


@pytest.mark.parametrize("call", ["fsync", "replace", "chmod"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_and_no_other(path, monkeypatch, call, error):
    trained(1).save(path)
    before = path.read_bytes()

    def fail(*args):
        raise error

    monkeypatch.setattr(f"jitprop.files.atomic.os.{call}", fail)
    with pytest.raises(type(error)):
        trained(2).save(path)
    monkeypatch.undo()
    assert os.listdir(path.parent) == [path.name]
    assert path.read_bytes() == before


# Loading.


def test_a_missing_file_is_a_missing_file(path):
    with pytest.raises(FileNotFoundError):
        Trainer.load(path)


def test_paths_of_every_kind_and_what_is_none(path):
    trainer = trained(0)
    for kind in (path, str(path), os.fsencode(path)):
        trainer.save(kind)
        assert same(Trainer.load(kind), trainer)
        path.unlink()
    for call in (trainer.save, Trainer.load):
        with pytest.raises(TypeError, match=r"path must be a str, bytes or path-like; got 0"):
            call(0)


def test_custom_objects_must_be_a_dict(path):
    trained(0).save(path)
    with pytest.raises(TypeError, match="custom_objects must be a dict"):
        Trainer.load(path, custom_objects=[max])


def test_errors_are_values_and_can_be_pickled(path):
    path.write_bytes(b"")
    with pytest.raises(
        ValueError, match=r"net\.safetensors' cannot be loaded: it has 0 bytes"
    ) as e:
        Trainer.load(path)
    error = pickle.loads(pickle.dumps(e.value))
    assert type(error) is CheckpointError
    assert str(error) == str(e.value)


class Named(Trainer):
    """A trainer with an attribute of its own."""

    name = "mine"


def test_subclasses_load_and_copy_as_themselves(path):
    trainer = Named([3, 4, 2], seed=0, backend="numpy")
    trainer.fit(*data(), 2)
    trainer.save(path)
    for made in (Named.load(path), copy.copy(trainer), pickle.loads(pickle.dumps(trainer))):
        assert type(made) is Named
        assert same(made, trainer)
    assert type(Trainer.load(path)) is Trainer


def test_what_makes_a_model_has_the_defaults_of_trainer():
    """Files of before lack newer settings, which get these."""
    ours = signature(Trainer).parameters
    for made_by in (make_spec, Model.make):
        for name, parameter in signature(made_by).parameters.items():
            if name != "spec":
                assert parameter.default == ours[name].default, name


@pytest.mark.parametrize("cls", [Trainer, Fleet])
def test_gelu_in_a_file_of_format_1_is_gelu_tanh(cls, path, monkeypatch):
    # There it was the name of the approximation. Files of that format were checked by hand, too.
    more = {"members": 2} if cls is Fleet else {}
    net = cls([3, 4, 4, 2], activation=["gelu_tanh", "tanh"], output_activation="gelu_tanh",
        seed=1, backend="numpy", **more)  # fmt: skip
    write = sealed.write

    def as_earlier(path, content, tensors):
        settings = {"activation": ["gelu", "tanh"], "output_activation": "gelu"}
        write(path, content | {"format": 1, "settings": content["settings"] | settings}, tensors)

    with monkeypatch.context() as patch:
        patch.setattr(sealed, "write", as_earlier)
        net.save(path)
    loaded = cls.load(path)
    X, _ = data()
    assert loaded.predict(X).tobytes() == net.predict(X).tobytes()
    loaded.save(path)
    assert cls.load(path).predict(X).tobytes() == net.predict(X).tobytes()


@pytest.mark.parametrize("cls", [Trainer, Fleet])
@pytest.mark.parametrize("optimizer", [Adam, AdamW])
def test_adam_in_a_file_of_format_2_goes_on_with_epsilon_hat(cls, optimizer, path, monkeypatch):
    X, y = data()
    more = {"members": 2} if cls is Fleet else {}
    net = cls([3, 4, 2], optimizer=optimizer(epsilon=0.1, epsilon_hat=True), seed=1, **more)
    net.fit(X, y, 3)
    write = sealed.write

    def as_earlier(path, content, tensors):
        fields = dict(content["settings"]["optimizer"])
        assert fields.pop("epsilon_hat") is True
        settings = content["settings"] | {"optimizer": fields}
        write(path, content | {"format": 2, "settings": settings}, tensors)

    with monkeypatch.context() as patch:
        patch.setattr(sealed, "write", as_earlier)
        net.save(path)
    loaded = cls.load(path)
    for each in net, loaded:
        each.fit(X, y, 3)
    assert loaded.parameters.tobytes() == net.parameters.tobytes()
    loaded.save(path)
    assert cls.load(path).parameters.tobytes() == net.parameters.tobytes()
