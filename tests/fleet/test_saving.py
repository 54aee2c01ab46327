"""A fleet that is saved and loaded trains on to the same bits."""

from __future__ import annotations

import copy
import re

import numpy as np
import pytest

from jitprop import (
    SGD,
    Adam,
    CheckpointError,
    Cosine,
    CustomLoss,
    EarlyStopping,
    Fleet,
    RMSprop,
    Rprop,
    Trainer,
)
from jitprop.files import sealed
from nets import data


@pytest.mark.parametrize(
    "arguments",
    [
        {"optimizer": SGD(momentum=0.9), "batch_size": 5, "momentum": [0.0, 0.5, 0.9]},
        {"optimizer": Adam(), "batch_size": 5, "learning_rate": Cosine(0.1, 9), "dtype": "float32"},
        {"weight_decay": [0.0, 0.1, 0.2], "dropout": [0.1, 0.0, 0.5], "clip_norm": 1.0},
        {"seed": [2**80, 1, 2**63], "learning_rate": [0.1, 0.2, 0.3]},
    ],
)
def test_going_on(arguments, tmp_path, rng):
    X, y = data([3, 4, 2], 12, "half_squared_error", False, rng)
    fleet = Fleet([3, 4, 2], members=3, **{"seed": 5, **arguments})
    fleet.fit(X, y, 3)
    fleet.save(tmp_path / "fleet.safetensors")
    loaded = Fleet.load(tmp_path / "fleet.safetensors")
    assert loaded.seeds == fleet.seeds
    for one in (fleet, loaded):
        one.fit(X, y, 4)
    np.testing.assert_array_equal(loaded.parameters, fleet.parameters)
    assert loaded.epochs_trained.tolist() == [7, 7, 7]
    members = [one[1] for one in (fleet, loaded)]
    for member in members:
        member.fit(X, y, 2)
    np.testing.assert_array_equal(members[0].parameters, members[1].parameters)


def test_custom_objects(tmp_path):
    loss = CustomLoss(lambda a, y: (a - y) ** 2, lambda a, y: 2 * (a - y), name="mine")
    Fleet([2, 3, 1], members=2, seed=0, loss=loss).save(tmp_path / "fleet")
    with pytest.raises(CheckpointError, match="mine"):
        Fleet.load(tmp_path / "fleet")
    loaded = Fleet.load(tmp_path / "fleet", custom_objects={"mine": loss})
    assert loaded.evaluate([[0, 1]], [1]).shape == (2,)


def test_each_reads_its_own(tmp_path):
    Fleet([2, 3, 1], members=2, seed=0).save(tmp_path / "fleet")
    Trainer([2, 3, 1], seed=0).save(tmp_path / "trainer")
    with pytest.raises(CheckpointError, match=r"it holds a fleet, which Fleet\.load reads"):
        Trainer.load(tmp_path / "fleet")
    with pytest.raises(CheckpointError, match=r"it holds a trainer, which Trainer\.load reads"):
        Fleet.load(tmp_path / "trainer")


def test_altered_files(tmp_path):
    path = tmp_path / "fleet"
    Fleet([2, 3, 1], members=2, seed=0).save(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for at in rng.integers(0, len(whole), 60):
        broken = bytearray(whole)
        broken[at] ^= 1 << rng.integers(8)
        path.write_bytes(broken)
        with pytest.raises(CheckpointError):
            Fleet.load(path)
        path.write_bytes(whole[:at])
        with pytest.raises(CheckpointError):
            Fleet.load(path)
    path.write_bytes(whole)
    assert len(Fleet.load(path)) == 2


def test_what_is_not_finite_is_not_saved(tmp_path):
    fleet = Fleet([2, 3, 1], members=2, seed=0)
    fleet.parameters[1, 0] = np.nan
    with pytest.raises(ValueError, match="finite"):
        fleet.save(tmp_path / "fleet")
    assert not list(tmp_path.iterdir())


def test_custom_objects_must_be_a_dict(tmp_path):
    path = tmp_path / "fleet"
    Fleet([2, 3, 1], members=2, seed=0).save(path)
    for given in (5, [max], "mine"):
        with pytest.raises(TypeError, match="custom_objects must be a dict of objects by name"):
            Fleet.load(path, custom_objects=given)


NOT_SAVED = {
    "a learning rate": ({"schedule": 0.5}, {}, "its schedule cannot be 0.5"),
    "members": ({"members": True}, {}, "members must be an integer"),
    "more": ({"more": 1}, {}, "its content name more"),
    "dtype": ({"settings": {"dtype": "(2,f8"}}, {}, "dtype must be"),
    "dtype by another name": ({"settings": {"dtype": "double"}}, {}, "dtype must be"),
    "clip_norm": ({"settings": {"clip_norm": -1.0}}, {}, "clip_norm must be"),
    "rates": ({}, {"learning_rate": [0.1, -5.0]}, "learning_rate[1] must be"),
    "rates that are nan": ({}, {"learning_rate": [np.nan, 0.1]}, "learning_rate[0] must be"),
    "epochs": ({}, {"epochs": [1, 0.5]}, "its epochs must be whole"),
    "epochs that are nan": ({}, {"epochs": [np.nan, 1]}, "its epochs must be whole"),
    "updates": ({}, {"updates": [-1, 1]}, "its updates must be whole"),
    "updates that are many": ({}, {"updates": [2.0**60, 1]}, "its updates must be whole"),
    "seeds": ({}, {"seeds": [[0.5], [1]]}, "its seeds must be whole"),
    "dropout": ({}, {"dropout": [[1.5], [0]]}, "dropout must be"),
    "momentum": ({}, {"momentum": [0, 0.6]}, "its momentum must be from 0 to 0.5"),
    "momentum below 0": ({}, {"momentum": [-5, 0.5]}, "its momentum must be"),
    "momentum that is nan": ({}, {"momentum": [np.nan, 0.5]}, "its momentum must be"),
    "momentum of nesterov": (
        {"settings": {"optimizer": {"class": "SGD", "momentum": 0.5, "nesterov": True}}},
        {"momentum": [0, 0.5]},
        "nesterov=True needs a momentum above 0",
    ),
    "no updates": ({}, {"updates": [2, 0]}, "its updates must be from 1 to"),
    "updates of years before the first epoch": (
        {},
        {"epochs": [0, 0], "updates": [2.0**52, 2]},
        "its updates must be",
    ),
    "updates of a thousand years": ({}, {"updates": [2.0**52, 2]}, "its updates must be"),
    "words of no seed": ({}, {"seeds": [[1, 0], [2, 0]]}, "its seeds must have no more words"),
    "increments": ({}, {"random": [[0] * 10] * 2}, "its random states"),
    "halves": ({}, {"random": [[*[0] * 4, 1, *[0] * 3, 2, 0]] * 2}, "its random states"),
}


@pytest.mark.parametrize(("content", "arrays", "reason"), NOT_SAVED.values(), ids=NOT_SAVED)
def test_what_no_save_writes_is_refused(tmp_path, monkeypatch, content, arrays, reason):
    fleet = Fleet([2, 3, 1], members=2, seed=0, batch_size=2, optimizer=SGD(momentum=0.5))
    fleet.fit([[0, 0], [0, 1], [1, 0]], [0, 1, 1], 1)
    write = sealed.write

    def altered(path, whole, tensors):
        settings = whole["settings"] | content.get("settings", {})
        given = {name: np.array(array, np.float64) for name, array in arrays.items()}
        made = tensors | given
        if "schedule" in content:
            del made["learning_rate"]
        words = made["seeds"].shape[1]
        write(path, whole | {"seed_words": words} | content | {"settings": settings}, made)

    monkeypatch.setattr(sealed, "write", altered)
    fleet.save(tmp_path / "fleet")
    with pytest.raises(CheckpointError, match=re.escape(reason)):
        Fleet.load(tmp_path / "fleet")


def refused(tmp_path, monkeypatch, fleet, arrays):
    """Replace some tensors in a fleet's file; return the reason why it is refused."""
    write = sealed.write
    with monkeypatch.context() as patch:
        patch.setattr(
            sealed, "write", lambda path, whole, tensors: write(path, whole, tensors | arrays)
        )
        fleet.save(tmp_path / "fleet")
    with pytest.raises(CheckpointError) as caught:
        Fleet.load(tmp_path / "fleet")
    return str(caught.value)


X, Y = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0]], [0.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("optimizer", "momentum"), [(Adam(), -5.0), (Adam(), np.nan), (RMSprop(momentum=0.5), 0.0)]
)
def test_momenta_of_optimizers_that_have_one_for_all(tmp_path, monkeypatch, optimizer, momentum):
    fleet = Fleet([2, 3, 1], members=2, seed=0, optimizer=optimizer)
    arrays = {"momentum": np.array([momentum, momentum])}
    assert "its momentum must be" in refused(tmp_path, monkeypatch, fleet, arrays)


def test_members_of_which_none_has_a_momentum_keep_what_they_had(tmp_path):
    """Their optimizer stays that of the larger fleet."""
    fleet = Fleet([2, 3, 1], members=3, seed=0, optimizer=SGD(0.5), momentum=[0.0, 0.0, 0.5])
    fleet.fit(X, Y, 2)
    some = fleet[[0, 1]]
    some.save(tmp_path / "fleet")
    loaded = Fleet.load(tmp_path / "fleet")
    assert loaded.optimizer == some.optimizer
    for one in (some, loaded):
        one.fit(X, Y, 2)
    np.testing.assert_array_equal(loaded.parameters, some.parameters)


@pytest.mark.parametrize("optimizer", [Adam(), RMSprop(), RMSprop(momentum=0.5), Rprop()], ids=str)
def test_what_no_update_leaves_of_an_optimizer(tmp_path, monkeypatch, optimizer):
    fleet = Fleet([2, 3, 1], members=2, seed=0, optimizer=optimizer, backend="numpy")
    fleet.fit(X, Y, 2)
    fleet.save(tmp_path / "fleet")
    Fleet.load(tmp_path / "fleet")
    trainer = fleet[1]
    trainer.save(tmp_path / "trainer")
    Trainer.load(tmp_path / "trainer")
    slot = 1 if isinstance(optimizer, Adam) else 0
    slots = fleet._model.state.slots.copy()
    slots[1, slot, 0] = -1.0
    reason = refused(tmp_path, monkeypatch, fleet, {"optimizer": slots})
    assert f"slot {slot} of its optimizer must be within [0, " in reason
    trainer._model.state.slots[slot, 0] = -1.0
    trainer.save(tmp_path / "trainer")
    with pytest.raises(CheckpointError, match=f"slot {slot} of its optimizer"):
        Trainer.load(tmp_path / "trainer")


FOUND = {
    "a best that is nan": ("best", np.nan),
    "a best of no epoch": ("best_epoch", -1),
    "an epoch before -1": ("best_epoch", -5),
    "an epoch that is far off": ("best_epoch", 9e15),
    "a first before all": ("first", -1),
    "a first after all": ("first", 4),
    "a last before the first": ("last", -2),
    "a last after all": ("last", 4),
    "a last that is far off": ("last", 9e15),
    "a checksum below 0": ("restored", -5),
    "a checksum of more bits": ("restored", 2.0**32),
    "half a checksum": ("restored", 0.5),
    "a first that is nan": ("first", np.nan),
}


@pytest.mark.parametrize(("name", "value"), FOUND.values(), ids=FOUND)
@pytest.mark.parametrize("restore_best", [True, False])
def test_what_early_stopping_cannot_have_found(tmp_path, monkeypatch, name, value, restore_best):
    fleet = Fleet([2, 3, 1], members=2, seed=0, backend="numpy")
    stopping = EarlyStopping("loss", patience=9, restore_best=restore_best)
    fleet.fit(X, Y, 3, callbacks=stopping)
    fleet.save(tmp_path / "fleet")
    Fleet.load(tmp_path / "fleet")
    array = np.array(getattr(fleet._model.found, name), np.float64)
    array[1] = value
    reason = refused(tmp_path, monkeypatch, fleet, {f"stopping.{name}": array})
    assert re.search(r"early stopping cannot have|must be whole numbers", reason)
    # The same for one member, which is a trainer.
    state = fleet[1]._model.kept[0].state
    number = value if name == "best" or value % 1 else int(value)
    if name != "best_epoch" or value >= 0:
        trainer = fleet[1]
        kept = trainer._model.kept[0]._replace(state={**state, name: number})
        trainer._model.kept = [kept]
        trainer.save(tmp_path / "trainer")
        with pytest.raises(CheckpointError, match=r"best|first|last|restored"):
            Trainer.load(tmp_path / "trainer")


def test_checksums_without_parameters(tmp_path, monkeypatch):
    fleet = Fleet([2, 3, 1], members=2, seed=0, backend="numpy")
    fleet.fit(X, Y, 3, callbacks=EarlyStopping("loss", restore_best=False))
    reason = refused(tmp_path, monkeypatch, fleet, {"stopping.restored": np.array([1.0, -1.0])})
    assert "early stopping cannot have restored 1" in reason


def test_fleets_of_which_one_diverged_are_loaded(tmp_path):
    """It went back by an epoch that early stopping had already seen."""
    rates = [0.1, 1e300]
    fleet = Fleet([2, 3, 1], members=2, seed=0, learning_rate=rates, output_activation="identity")
    with pytest.warns(RuntimeWarning):
        fleet.fit(X, Y, 6, callbacks=EarlyStopping("loss"))
    fleet.save(tmp_path / "fleet")
    loaded = Fleet.load(tmp_path / "fleet")
    np.testing.assert_array_equal(loaded.epochs_trained, fleet.epochs_trained)


class Named(Fleet):
    """A fleet with an attribute of its own."""

    name = "ours"


def test_subclasses_load_and_copy_as_themselves(tmp_path):
    fleet = Named([2, 3, 1], members=3, seed=0, backend="numpy")
    fleet.save(tmp_path / "fleet")
    for made in (Named.load(tmp_path / "fleet"), copy.copy(fleet), fleet[:]):
        assert type(made) is Named
        assert made.parameters.tobytes() == fleet.parameters.tobytes()
