"""A fleet that was saved and loaded goes on to the same bits."""

from __future__ import annotations

import re

import numpy as np
import pytest

from jitprop import SGD, Adam, CheckpointError, Cosine, CustomLoss, Fleet, Trainer
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
    with pytest.raises(CheckpointError, match=r"a trainer is read by Trainer\.load"):
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
    "epochs": ({}, {"epochs": [1, 0.5]}, "its epochs are not all whole"),
    "epochs that are nan": ({}, {"epochs": [np.nan, 1]}, "its epochs are not all whole"),
    "updates": ({}, {"updates": [-1, 1]}, "its updates are not all whole"),
    "updates that are many": ({}, {"updates": [2.0**60, 1]}, "its updates are not all whole"),
    "seeds": ({}, {"seeds": [[0.5], [1]]}, "its seeds are not whole"),
    "dropout": ({}, {"dropout": [[1.5], [0]]}, "dropout must be"),
    "momentum": ({}, {"momentum": [0, 1]}, "momentum[1] must be"),
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
        write(path, whole | content | {"settings": settings}, made)

    monkeypatch.setattr(sealed, "write", altered)
    fleet.save(tmp_path / "fleet")
    with pytest.raises(CheckpointError, match=re.escape(reason)):
        Fleet.load(tmp_path / "fleet")
