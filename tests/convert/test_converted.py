"""Nets that were read elsewhere become trainers and fleets, which go on where they stopped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from jitprop import LBFGS, SGD, Adam, AdamW, RMSprop, Trainer
from jitprop.convert._converted import Converted, dtype_of, fleet_of

OPTIMIZERS = [
    SGD(),
    SGD(momentum=0.9),
    SGD(momentum=0.9, nesterov=True),
    Adam(epsilon=0.1),
    AdamW(epsilon=0.1),
    RMSprop(epsilon=0.1),
    RMSprop(momentum=0.5),
    RMSprop(momentum=0.5, epsilon=0.1, epsilon_in_root=True, rate_in_velocity=False),
    SGD(momentum=0.9, rate_in_velocity=False),
]
RATE = 0.05


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(12, 3)), rng.uniform(size=(12, 2))


def trainer_with(optimizer, **settings):
    settings = {"learning_rate": RATE, "weight_decay": 0.1, "clip_norm": 0.5} | settings
    return Trainer(
        [3, 4, 2],
        activation="tanh",
        optimizer=optimizer,
        batch_size=5,
        shuffle=False,
        dtype="float64",
        seed=1,
        **settings,
    )


def converted(trainer, **changes):
    spec, state = trainer._model.spec, trainer._model.state
    made = Converted(
        source="a test",
        weights=[W.copy() for W in trainer.weights],
        biases=[b.copy() for b in trainer.biases],
        activations=spec.activations,
        dtype=state.params.dtype,
        loss=spec.loss,
        reduction=spec.reduction,
        optimizer=spec.optimizer,
        learning_rate=spec.learning_rate,
        weight_decay=spec.weight_decay,
        clip_norm=spec.clip_norm,
        batch_size=spec.batch_size,
        shuffle=False,
        slots=[spec.split(slot.copy()) for slot in state.slots],
        updates=state.updates,
    )
    return replace(made, **changes)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_training_goes_on_where_it_stopped(optimizer, data):
    trainer = trainer_with(optimizer)
    trainer.fit(*data, epochs=3)
    made = converted(trainer).trainer()
    assert made.epochs_trained == 0
    for each in (trainer, made):
        each.fit(*data, epochs=3)
    assert np.array_equal(trainer.parameters, made.parameters)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_a_loss_with_another_factor_gives_the_same_updates(optimizer, data):
    """The source has half the squared error, and the trainer has the squared error."""
    trainer = trainer_with(optimizer, loss="half_squared_error")
    trainer.fit(*data, epochs=3)
    made = converted(trainer, loss="squared_error", loss_factor=0.5).trainer()
    for each in (trainer, made):
        each.fit(*data, epochs=3)
    np.testing.assert_allclose(made.parameters, trainer.parameters, rtol=0, atol=1e-14)
    assert made.evaluate(*data) == pytest.approx(2 * trainer.evaluate(*data), rel=1e-12)


@pytest.mark.parametrize("optimizer", [SGD(momentum=0.9), Adam()], ids=repr)
def test_a_list_becomes_a_fleet_whose_members_go_on(optimizer, data):
    trainers = [trainer_with(optimizer, learning_rate=rate) for rate in (0.01, 0.05)]
    for i, trainer in enumerate(trainers):
        trainer.fit(*data, epochs=1 + i)
    fleet = fleet_of(map(converted, trainers))
    fleet.fit(*data, epochs=2)
    for member, trainer in zip(fleet, trainers, strict=True):
        trainer.fit(*data, epochs=2)
        np.testing.assert_allclose(member.parameters, trainer.parameters, rtol=0, atol=1e-13)


def test_a_converted_net_can_be_saved_before_its_first_epoch(data, tmp_path):
    trainer = trainer_with(Adam())
    trainer.fit(*data, epochs=2)
    made = converted(trainer).trainer()
    made.save(tmp_path / "net")
    loaded = Trainer.load(tmp_path / "net")
    for each in (made, loaded):
        each.fit(*data, epochs=2)
    assert np.array_equal(made.parameters, loaded.parameters)


def test_the_nets_of_a_fleet_must_be_alike():
    net = converted(trainer_with(SGD()))
    with pytest.raises(ValueError, match=r"same clip_norm: net 0 has 0\.5.*, net 1 None"):
        fleet_of([net, replace(net, clip_norm=None)])
    with pytest.raises(ValueError, match="at least 1 net"):
        fleet_of([])


def test_a_factor_that_an_optimizer_cannot_take_is_refused_by_name():
    net = converted(trainer_with(SGD()), optimizer=LBFGS(), learning_rate=None, loss_factor=0.5)
    with pytest.raises(ValueError, match=r"a test has a loss that is 0\.5 times.*LBFGS"):
        net.trainer()


def test_a_state_of_another_optimizer_is_refused():
    net = converted(trainer_with(SGD(momentum=0.9)), optimizer=Adam())
    with pytest.raises(ValueError, match="a test keeps 1 numbers for each parameter; Adam has 2"):
        net.trainer()


def test_mixed_dtypes_are_refused():
    with pytest.raises(
        ValueError, match=r"a test must have parameters in float32.*float32, float64"
    ):
        dtype_of("a test", [np.zeros(1), np.zeros(1, np.float32)])
    assert dtype_of("a test", [np.zeros(1)]) == np.float64
