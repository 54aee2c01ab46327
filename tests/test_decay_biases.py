"""Weight decay that acts on biases, too: in every optimizer, on both backends."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from jitprop import (
    LBFGS,
    SGD,
    Adam,
    AdamW,
    BayesianRegularization,
    Fleet,
    LevenbergMarquardt,
    RMSprop,
    Rprop,
    ScaledConjugateGradient,
    Trainer,
    sweep,
)
from nets import data

FULL_BATCH = {
    "lm": LevenbergMarquardt(),
    "scg": ScaledConjugateGradient(),
    "lbfgs": LBFGS(),
    "rprop": Rprop(),
    "rprop with backtracking": Rprop(backtracking=True, step_max=0.5),
}
FIRST_ORDER = {
    "sgd": SGD(),
    "nesterov": SGD(0.9, nesterov=True),
    "adam": Adam(),
    "adamw": AdamW(),
    "rmsprop": RMSprop(momentum=0.5),
}
SIZES = [3, 5, 2]


def samples(n=30):
    return data(SIZES, n, "half_squared_error", False, np.random.default_rng(0))


def net(optimizer, *, cls=Trainer, **more):
    many = {"members": 2} if cls is Fleet else {}
    settings = {
        "optimizer": optimizer, "activation": "tanh", "output_activation": "identity", "seed": 1,
        "weight_decay": 0.05, "decay_biases": True, "dtype": "float64",
    }  # fmt: skip
    return cls(SIZES, **settings | many | more)


def with_biases_of(trainer, value):
    for b in trainer.biases:
        b[:] = value
    return trainer


@pytest.mark.parametrize("name", ["lm", "scg", "lbfgs"])
@pytest.mark.parametrize("sizes", [[3, 5, 2], [3, 20, 2]], ids=str)
def test_full_batch_methods_end_where_the_objectives_gradient_is_0(backend, name, sizes):
    X, y = samples(40)  # less than the parameters of the wider net
    trainer = Trainer(
        sizes, optimizer=FULL_BATCH[name], activation="tanh", output_activation="identity",
        seed=1, weight_decay=0.05, decay_biases=True, dtype="float64", backend=backend,
    )  # fmt: skip
    trainer.fit(X, y, 300)
    of_data = trainer.gradients(X, y)
    for part, gradient in zip(
        trainer.weights + trainer.biases, of_data.weights + of_data.biases, strict=True
    ):
        np.testing.assert_allclose(gradient + 0.05 * part, 0.0, atol=1e-4)


@pytest.mark.parametrize("cls", [Trainer, Fleet])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("optimizer", FULL_BATCH.values(), ids=list(FULL_BATCH))
def test_kernels_agree_with_the_reference(cls, optimizer, dtype):
    X, y = samples()
    nets = [
        with_biases_of(net(optimizer, cls=cls, backend=backend, dtype=dtype), 0.5)
        for backend in ("numba", "numpy")
    ]
    for each in nets:
        each.fit(X, y, 5)
    tolerance = 1e-8 if dtype == "float64" else 2e-3
    np.testing.assert_allclose(nets[0].parameters, nets[1].parameters, rtol=0, atol=tolerance)


def test_the_objective_of_backtracking_has_biases_in_it(backend):
    # The weight and its input are 0, and so only the bias b counts. Its first step, from 0.5 to
    # -0.7, lowers the loss 1/2 (b + 0.3)**2 but raises the objective, which has 5/2 b**2 in it.
    trainer = Trainer(
        [1, 1], output_activation="identity", init=([[[0.0]]], [[0.5]]), backend=backend,
        optimizer=Rprop(backtracking=True), learning_rate=1.2, weight_decay=5.0,
        decay_biases=True, dtype="float64",
    )  # fmt: skip
    for b in -0.7, 0.5:
        trainer.fit([[0.0]], [-0.3], 1)
        np.testing.assert_allclose(trainer.parameters, [0.0, b], rtol=1e-14)


@pytest.mark.parametrize("optimizer", FIRST_ORDER.values(), ids=list(FIRST_ORDER))
def test_biases_decay_as_the_weights_of_an_input_of_1_do(backend, optimizer):
    X, y = samples()
    ones = np.hstack([X, np.ones((len(X), 1))])
    arguments = {
        "output_activation": "identity", "optimizer": optimizer, "weight_decay": 0.1,
        "learning_rate": 0.05, "batch_size": 7, "shuffle": False, "backend": backend,
        "dtype": "float64",
    }  # fmt: skip
    W, b = np.random.default_rng(1).normal(size=(3, 2)), np.array([0.7, -0.3])
    found = Trainer([3, 2], init=([W], [b]), decay_biases=True, **arguments)
    expected = Trainer(
        [4, 2], init=([np.vstack([W, b])], [np.zeros(2)]), learning_rate_factors=[(1.0, 0.0)],
        **arguments,
    )  # fmt: skip
    for each, inputs in (found, X), (expected, ones):
        each.fit(inputs, y, 4)
    np.testing.assert_allclose(found.weights[0], expected.weights[0][:3], rtol=1e-12)
    np.testing.assert_allclose(found.biases[0], expected.weights[0][3], rtol=1e-12)


@pytest.mark.parametrize("cls", [Trainer, Fleet])
def test_files_and_pickles_keep_it(cls, tmp_path):
    X, y = samples()
    made = net(Adam(), cls=cls)
    made.fit(X, y, 2)
    made.save(tmp_path / "net")
    others = [cls.load(tmp_path / "net"), pickle.loads(pickle.dumps(made))]
    for each in (made, *others):
        assert each.decay_biases is True
        each.fit(X, y, 2)
        assert each.parameters.tobytes() == made.parameters.tobytes()
    plain = net(Adam(), cls=cls, decay_biases=False)
    plain.fit(X, y, 4)
    assert (plain.parameters != made.parameters).any()


def test_a_spec_that_was_pickled_before_has_none():
    spec = net(SGD(), decay_biases=False)._model.spec
    state = dict(vars(spec))
    del state["decay_biases"]
    old = type(spec).__new__(type(spec))
    old.__dict__.update(state)
    assert pickle.loads(pickle.dumps(old)).decay_biases is False


def test_members_are_trainers_with_it_and_sweeps_try_it():
    X, y = samples()
    fleet = net(SGD(0.5), cls=Fleet, weight_decay=[0.0, 0.3])
    fleet.fit(X, y, 3)
    alone = net(SGD(0.5), seed=2, weight_decay=0.3)
    alone.fit(X, y, 3)
    assert fleet[1].decay_biases is True
    np.testing.assert_allclose(fleet.parameters[1], alone.parameters, rtol=1e-12)
    found = sweep(
        X, y, {"decay_biases": [False, True]}, layer_sizes=SIZES, epochs=3, weight_decay=0.3,
        cv=2, seed=1,
    )  # fmt: skip
    losses = found.measured["training_loss"]
    assert (losses[0] != losses[1]).all()
    assert found.trainer.decay_biases is found.best["decay_biases"]


def test_it_is_refused_where_it_has_no_meaning_or_is_no_bool():
    for cls in Trainer, Fleet:
        with pytest.raises(ValueError, match=r"decay_biases must be False .* BayesianReg"):
            net(BayesianRegularization(), cls=cls, weight_decay=0.0)
        with pytest.raises(TypeError, match="decay_biases must be"):
            net(SGD(), cls=cls, decay_biases=1)


def test_the_minimum_of_rs_nnet_is_one_of_lbfgs(backend):
    # R 4.2.2, nnet 7.3.18: set.seed(5); m <- nnet(X, y, size = 2, linout = TRUE, decay = 0.001,
    # maxit = 5000, abstol = 1e-14, reltol = 1e-16); m$wts, m$value. It minimises the sum of squared
    # errors plus decay sum W**2: twice the factor of weight_decay.
    hidden = np.array(
        [
            [1.228958843364, -2.136283242532, 2.379147312181],  # the bias, then the weights
            [-1.350522534236, -2.324188138517, 2.066776201133],
        ]
    )
    output = np.array([1.515914235243, -2.410795911350, 2.713397670889])
    X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0.2, 1.0, 0.9, 0.0]
    for moved in 0.0, 0.01:
        trainer = Trainer(
            [2, 2, 1], output_activation="identity", loss="squared_error", reduction="sum",
            optimizer=LBFGS(), weight_decay=0.002, decay_biases=True, dtype="float64",
            backend=backend,
            init=([hidden[:, 1:].T + moved, output[1:, None]], [hidden[:, 0], output[:1]]),
        )  # fmt: skip
        trainer.fit(X, y, 300)
        objective = trainer.evaluate(X, y) + 0.001 * np.sum(trainer.parameters**2)
        assert objective == pytest.approx(0.0390275203096, abs=1e-11)
        np.testing.assert_allclose(trainer.weights[0], hidden[:, 1:].T, atol=1e-4)
        np.testing.assert_allclose(trainer.biases[1], output[:1], atol=1e-4)
