"""The attributes of a net that can be read and set, and the column names that it remembers."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from jitprop import Adam, Fleet, Huber, Trainer, sweep
from jitprop.files import pickles

SETTINGS = {
    "activation": ("tanh", "relu"),
    "output_activation": "identity",
    "loss": Huber(2.0),
    "reduction": "sum",
    "optimizer": Adam(beta_1=0.5),
    "decay_biases": True,
    "clip_norm": 3.0,
    "learning_rate_factors": ((0.5, 0.5), (1.0, 2.0), (0.0, 0.0)),
    "input_scale_rate": 6.0,
    "batch_size": 5,
    "shuffle": False,
    "dtype": np.dtype(np.float32),
    "backend": "numpy",
    "n_threads": 1,
}
OF_A_TRAINER = {"weight_decay": 0.01, "dropout": (0.1, 0.2), "history_limit": 7}

X = np.random.default_rng(0).random((10, 3))
Y = np.random.default_rng(1).random(10)
FRAMES = {
    "pandas": pd.DataFrame(X, columns=["a", "b", "c"]),
    "polars": pl.DataFrame(X, schema=["a", "b", "c"]),
}


def trainer(**settings):
    return Trainer([3, 4, 2, 1], seed=0, **settings)


def fleet(**settings):
    return Fleet([3, 4, 2, 1], members=2, seed=[0, 1], **settings)


MAKE = {"trainer": trainer, "fleet": fleet}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_settings_are_read_and_not_written(make, name):
    net = make(**SETTINGS)
    assert getattr(net, name) == SETTINGS[name]
    assert net.layer_sizes == (3, 4, 2, 1)
    with pytest.raises(AttributeError, match=f"{name} of a .* is read-only: make a new one, with"):
        setattr(net, name, SETTINGS[name])


def test_settings_of_a_trainer():
    net = trainer(**SETTINGS, **OF_A_TRAINER)
    for name, value in OF_A_TRAINER.items():
        assert getattr(net, name) == value
        with pytest.raises(AttributeError, match="is read-only"):
            setattr(net, name, value)


def test_settings_of_each_member():
    net = fleet(weight_decay=[0.0, 0.1], momentum=[0.5, 0.6], dropout=0.25)
    for name, expected in (
        ("weight_decay", [0.0, 0.1]),
        ("momentum", [0.5, 0.6]),
        ("dropout", [[0.25, 0.25], [0.25, 0.25]]),
    ):
        found = getattr(net, name)
        assert found.tolist() == expected
        found[:] = 0.9
        assert getattr(net, name).tolist() == expected


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_results_are_read_only_too(make):
    net = make()
    for name in ("epochs_trained", "feature_names_in_"):
        with pytest.raises(AttributeError, match=f"{name} of a .* is read-only$"):
            setattr(net, name, 1)
    for name, way in (("parameters", "parameters"), ("weights", r"weights\[0\]")):
        with pytest.raises(AttributeError, match=rf"{name} of a .*: write {way}\[:\] = \.\.\., or"):
            setattr(net, name, getattr(net, name)[:])
    assert isinstance(net.weights, tuple)
    with pytest.raises(TypeError, match=r"does not change the net: write weights\[0\]\[:\] = "):
        net.weights[0] = np.zeros((3, 4))
    net.weights[0][:] = 0.0
    net.biases[0][:] = 0.0
    assert not net.weights[0].any()
    net.learning_rate = 0.5
    assert np.all(net.learning_rate == 0.5)


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_adding_in_place_is_writing_to_the_net(make):
    net = make()
    before = net.parameters.copy()
    net.parameters += 1
    net.weights[0] += 1
    net.biases[1] *= 0
    assert (net.weights[0].reshape(-1)[:12] == before.reshape(-1)[:12] + 2).all()
    assert not net.biases[1].any()


def test_how_a_net_began(tmp_path):
    net = trainer()
    assert (net.seed, net.init) == (0, "glorot_uniform")
    drawn = Trainer([3, 1])
    np.testing.assert_array_equal(Trainer([3, 1], seed=drawn.seed).parameters, drawn.parameters)
    given = Trainer([3, 1], init=(drawn.weights, drawn.biases), seed=7)
    assert (given.seed, given.init) == (7, None)
    net.save(tmp_path / "net")
    read = Trainer.load(tmp_path / "net")
    assert (read.seed, read.init) == (None, None)
    nets = fleet(init="he_normal")
    assert (nets.seed, nets.init, nets.members) == ([0, 1], "he_normal", 2)
    assert nets[1].seed == 1
    for name in ("seed", "init"):
        with pytest.raises(AttributeError, match=f"{name} of a Trainer is read-only: make a new"):
            setattr(net, name, None)


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_a_pickle_does_not_depend_on_when_attributes_were_set(make):
    net, other = make(), make()
    for attributes in (other.__dict__, other._model.__dict__):
        for name in reversed(list(attributes)):
            attributes[name] = attributes.pop(name)
    other._model.warned = True
    assert pickle.dumps(net) == pickle.dumps(other)


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_names_that_there_are_not_are_refused(make):
    with pytest.raises(AttributeError, match="'learning_rte': did you mean learning_rate"):
        make().learning_rte = 0.5
    with pytest.raises(AttributeError, match=r"'scaler': .*Attributes of your own"):
        make().scaler = None


class Mine(Trainer):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.scaler = "mine"


def test_a_subclass_has_attributes_of_its_own_and_cannot_write_settings():
    net = Mine([3, 1], seed=0)
    net.other = 1
    assert (net.scaler, net.other) == ("mine", 1)
    with pytest.raises(AttributeError, match="optimizer of a Mine is read-only"):
        net.optimizer = "adam"
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert twin.scaler == "mine"


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_the_names_of_columns_are_remembered(make, frame, tmp_path):
    net = make()
    assert not hasattr(net, "feature_names_in_")
    net.fit(X, Y, 1)
    assert not hasattr(net, "feature_names_in_")
    net.fit(frame, Y, 1)
    net.save(tmp_path / "net")
    of_a_fleet = [net[0], net[:1]] if isinstance(net, Fleet) else []
    for same in (net, type(net).load(tmp_path / "net"), copy.deepcopy(net), *of_a_fleet):
        assert same.feature_names_in_.tolist() == ["a", "b", "c"]
        other = frame[["b", "a", "c"]]
        for call in (
            same.predict,
            lambda X, net=same: net.evaluate(X, Y),
            lambda X, net=same: net.fit(X, Y, 1),
            lambda X, net=same: net.fit(frame, Y, 1, validation_data=(X, Y)),
        ):
            with pytest.raises(ValueError, match="the columns are the same, in another order"):
                call(other)
        np.testing.assert_array_equal(same.predict(frame), same.predict(X))
        same.predict(other[["a", "b", "c"]])


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_the_names_of_a_table_of_pyarrow(make):
    net, table = make(), pa.table(dict(zip("abc", X.T, strict=True)))
    net.fit(table, Y, 1)
    assert net.feature_names_in_.tolist() == ["a", "b", "c"]
    with pytest.raises(ValueError, match="the columns are the same, in another order"):
        net.predict(table.select(["b", "a", "c"]))
    np.testing.assert_array_equal(net.predict(table), net.predict(FRAMES["polars"]))


def test_other_columns_are_named():
    net = trainer()
    net.partial_fit(FRAMES["pandas"], Y)
    with pytest.raises(ValueError, match=r"columns \['c'\] are missing"):
        net.gradients(FRAMES["pandas"].rename(columns={"c": "d"}), Y)
    with pytest.raises(ValueError, match=r"columns \['d'\] are new"):
        net.predict(FRAMES["pandas"].assign(d=1))
    net.predict(pd.DataFrame(X))  # names that are numbers are not compared


REORDERED = FRAMES["pandas"][["c", "a", "b"]]


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_the_first_fit_compares_its_validation_data(make):
    net = make()
    with pytest.raises(ValueError, match=r"^in validation_data, .* are the same, in another order"):
        net.fit(FRAMES["pandas"], Y, 1, validation_data=(REORDERED, Y))
    assert not hasattr(net, "feature_names_in_")


def test_names_of_a_stream():
    net = trainer()
    with pytest.raises(
        ValueError, match=r"^in batch 1 of epoch 0 .* are the same, in another order"
    ):
        net.fit([(FRAMES["pandas"], Y), (REORDERED, Y)], epochs=1)
    assert not hasattr(net, "feature_names_in_")
    net.fit([(X, Y), (FRAMES["polars"], Y)], epochs=1)
    assert net.feature_names_in_.tolist() == ["a", "b", "c"]
    with pytest.raises(ValueError, match="are the same, in another order"):
        net.gradients(REORDERED, Y)
    with pytest.raises(ValueError, match="are the same, in another order"):
        net.trace(REORDERED, Y)


def test_names_of_a_sweep():
    settings = {"layer_sizes": [3, 1], "epochs": 1, "seed": 0}
    with pytest.raises(ValueError, match=r"^in validation_data, .* are the same, in another order"):
        sweep(FRAMES["pandas"], Y, [{"batch_size": 2}], validation_data=(REORDERED, Y), **settings)
    found = sweep(FRAMES["pandas"], Y, [{"batch_size": 2}], cv=2, **settings)
    assert found.trainer.feature_names_in_.tolist() == ["a", "b", "c"]


def test_a_refused_fit_remembers_no_names():
    net = trainer()
    with pytest.raises(ValueError, match="y must"):
        net.fit(FRAMES["pandas"], Y[1:], 1)
    assert not hasattr(net, "feature_names_in_")


@pytest.mark.parametrize("names", [3, ["a"], ["a", "b", 1]])
def test_names_that_no_save_writes_are_refused(names, tmp_path, monkeypatch):
    from jitprop import CheckpointError
    from jitprop.files import encoding

    net = trainer()
    monkeypatch.setattr(
        encoding,
        "encoded",
        lambda name, value, was=encoding.encoded: (
            names if name == "feature_names" else was(name, value)
        ),
    )
    net.save(tmp_path / "net")
    with pytest.raises(CheckpointError, match="feature_names must be 3 texts"):
        Trainer.load(tmp_path / "net")


@pytest.mark.parametrize("made", ["0.0.9", None])
@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_a_pickle_of_another_version_says_so(make, made):
    net = make()
    state = net.__getstate__()
    if made is None:
        del state[pickles.KEY]
    else:
        state[pickles.KEY] = made
    twin = object.__new__(type(net))
    with pytest.warns(UserWarning, match=made or "an earlier jitprop"):
        twin.__setstate__(state)
    np.testing.assert_array_equal(twin.predict(X), net.predict(X))
