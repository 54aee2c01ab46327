"""Activations with a number: the same on all routes, in files, exports, traces and estimators."""

from __future__ import annotations

import copy
import math
import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

import jitprop.sklearn
from jitprop import (
    ELU,
    CheckpointError,
    Fleet,
    LeakyReLU,
    Softplus,
    Trainer,
    check_gradients,
    sweep,
)
from jitprop.sklearn import MLPClassifier, MLPRegressor
from jitprop.training.errors import TargetWarning
from test_compiled import CountCompiles, numba_events
from test_trace import assert_formulas_hold, assert_same_as_the_backend, net

OBJECTS = (LeakyReLU(0.2), ELU(0.5), Softplus(3.0))
DTYPES = ("float64", "float32")
TOLERANCE = {"float64": 1e-12, "float32": 2e-4}
# Sizes and the size of a batch: small nets, large ones, and batches that are cut into chunks.
ROUTES = {
    "lanes": ([3, 4, 4, 2], None),
    "blocks": ([30, 40, 20, 2], None),
    "chunks": ([30, 40, 20, 2], 550),
}


def one_unit(activation, dtype, backend):
    """Return a net whose output is the activation of its input."""
    init = [[[1.0]]], [[0.0]]
    return Trainer(
        [1, 1], output_activation=activation, init=init, dtype=dtype, backend=backend,
        loss="squared_error",
    )  # fmt: skip


# z, and by hand a and the slope there.
LOG_2 = math.log(2.0)
BY_HAND = [
    (LeakyReLU(0.25), 3.0, 3.0, 1.0),
    (LeakyReLU(0.25), -2.0, -0.5, 0.25),
    (LeakyReLU(0.25), 0.0, 0.0, 0.25),
    (LeakyReLU(0), -2.0, 0.0, 0.0),
    (LeakyReLU(2), -2.0, -4.0, 2.0),
    (ELU(2.0), 3.0, 3.0, 1.0),
    (ELU(2.0), -LOG_2, -1.0, 1.0),  # 2 (1/2 - 1), and 2 times 1/2
    (ELU(2.0), 0.0, 0.0, 2.0),
    (ELU(0.5), -800.0, -0.5, 0.0),
    (Softplus(2.0), 0.0, LOG_2 / 2, 0.5),
    (Softplus(2.0), LOG_2 / 2, math.log(3.0) / 2, 2 / 3),  # exp(2 z) = 2
    (Softplus(0.5), -2 * LOG_2, 2 * math.log(1.5), 1 / 3),  # exp(z / 2) = 1/2
    (Softplus(4.0), 800.0, 800.0, 1.0),
    # PyTorch returns z = 21 itself; see the docstring.
    (Softplus(1e-3), 21e3, 21e3 + 1e3 * math.log1p(math.exp(-21.0)), 1 / (1 + math.exp(-21.0))),
    ("hard_sigmoid", 1.5, 0.75, 1 / 6),
    ("hard_sigmoid", -3.0, 0.0, 0.0),
    ("hard_sigmoid", 3.0, 1.0, 0.0),
    ("hard_sigmoid", -4.0, 0.0, 0.0),
    ("hard_sigmoid", 5.0, 1.0, 0.0),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("activation", "z", "a", "slope"), BY_HAND)
def test_worked_by_hand(activation, z, a, slope, dtype, backend):
    trainer = one_unit(activation, dtype, backend)
    z = float(np.dtype(dtype).type(z))
    rtol = {"float64": 1e-14, "float32": 1e-6}[dtype]
    np.testing.assert_allclose(trainer.predict([[z]]), [[a]], rtol=rtol, atol=1e-300)
    # With the target a - 1/2, dE/da is 1.
    gradients = trainer.gradients([[z]], [[float(trainer.predict([[z]])[0, 0]) - 0.5]])
    rtol = {"float64": 1e-10, "float32": 1e-2}[dtype]  # of a - (a - 1/2)
    np.testing.assert_allclose(gradients.biases[0], [slope], rtol=rtol, atol=1e-300)


@pytest.mark.parametrize("made", [LeakyReLU(), ELU(), Softplus()])
def test_a_default_object_is_its_name(made, tmp_path, backend, rng):
    X, y = rng.normal(size=(20, 3)), rng.uniform(size=(20, 2))
    by_object, by_name = (
        Trainer([3, 4, 2], activation=a, output_activation=a, loss="squared_error", seed=0,
                backend=backend)
        for a in (made, made.name)
    )  # fmt: skip
    assert by_object.activation == (made.name,)
    assert by_object.output_activation == made.name
    assert repr(by_object) == repr(by_name)
    paths = [tmp_path / "object.safetensors", tmp_path / "name.safetensors"]
    for path, trainer in zip(paths, (by_object, by_name), strict=True):
        trainer.save(path)
        trainer.fit(X, y, 5)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert by_object.parameters.tobytes() == by_name.parameters.tobytes()
    assert by_object.predict(X).tobytes() == by_name.predict(X).tobytes()
    assert Trainer.load(paths[0]).activation == (made.name,)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("activation", OBJECTS)
def test_both_backends_train_and_predict_the_same(activation, route, dtype, rng):
    sizes, batch = ROUTES[route]
    X, y = rng.normal(size=(600, sizes[0])), rng.uniform(size=(600, 2))
    ref, comp = (
        Trainer(sizes, activation=activation, output_activation=activation, batch_size=batch,
                loss="squared_error", learning_rate=0.01, dtype=dtype, seed=1, backend=backend)
        for backend in ("numpy", "numba")
    )  # fmt: skip
    np.testing.assert_allclose(comp.fit(X, y, 3).loss, ref.fit(X, y, 3).loss, rtol=TOLERANCE[dtype])
    for found, expected in (
        (comp.parameters, ref.parameters),
        (comp.predict(X), ref.predict(X)),
        (comp.predict(X[:1]), ref.predict(X[:1])),
        (comp.evaluate(X, y), ref.evaluate(X, y)),
        (comp.gradients(X, y).weights[0], ref.gradients(X, y).weights[0]),
    ):
        tolerance = TOLERANCE[dtype]
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", [[3, 4, 2], [30, 40, 2]], ids=["lanes", "blocks"])
@pytest.mark.parametrize("activation", OBJECTS)
def test_a_fleet_trains_its_members_as_trainers(activation, sizes, dtype, rng):
    X, y = rng.normal(size=(50, sizes[0])), rng.uniform(size=(50, 2))
    settings = {
        "activation": activation, "output_activation": activation, "loss": "squared_error",
        "learning_rate": 0.01, "dtype": dtype, "backend": "numba",
    }  # fmt: skip
    fleet = Fleet(sizes, members=3, seed=0, **settings)
    alone = [fleet[i] for i in range(3)]
    fleet.fit(X, y, 4)
    for i, trainer in enumerate(alone):
        assert trainer.activation == (activation,)
        trainer.fit(X, y, 4)
        tolerance = TOLERANCE[dtype]
        for found, expected in (
            (fleet.parameters[i], trainer.parameters),
            (fleet.predict(X)[i], trainer.predict(X)),
            (fleet.evaluate(X, y)[i], trainer.evaluate(X, y)),
        ):
            np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("optimizer", ["lm", "bayesian", "lbfgs", "scg", "rprop"])
@pytest.mark.parametrize("activation", OBJECTS)
def test_methods_of_full_batches(activation, optimizer, rng):
    X, y = rng.normal(size=(40, 3)), rng.uniform(size=(40, 1))
    nets = [
        Trainer([3, 5, 1], activation=activation, output_activation=activation, seed=2,
                optimizer=optimizer, backend=backend)
        for backend in ("numpy", "numba")
    ]  # fmt: skip
    for trainer in nets:
        trainer.fit(X, y, 3)
    np.testing.assert_allclose(nets[1].parameters, nets[0].parameters, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("sizes", [[3, 4, 4, 2], [30, 40, 2]], ids=["lanes", "blocks"])
@pytest.mark.parametrize("activation", [*OBJECTS, LeakyReLU(1.5), Softplus(0.1)])
def test_gradients_are_those_of_differences(activation, sizes, backend, rng):
    X, y = rng.normal(size=(9, sizes[0])), rng.uniform(size=(9, 2))
    trainer = Trainer(sizes, activation=activation, output_activation=activation, seed=3,
                      loss="squared_error", backend=backend)  # fmt: skip
    assert check_gradients(trainer, X, y).largest < 1e-7


@pytest.mark.parametrize("activation", OBJECTS)
def test_formulas_of_a_trace_have_the_number(activation, backend, rng):
    X, y = rng.normal(size=(7, 3)), rng.uniform(size=(7, 3))
    trainer = net(backend, activation=activation, output_activation=activation)
    trace = assert_same_as_the_backend(trainer, X, y)
    assert_formulas_hold(trace, {})
    assert trace.formulas["a[1]"] == f"{activation.name}(z[0], {activation.number})"
    assert f"{activation.name}'(z[0], {activation.number})" in trace.formulas["delta[0]"]


def test_files_keep_the_number(tmp_path, backend, rng):
    X, y = rng.normal(size=(20, 3)), rng.uniform(size=(20, 2))
    settings = {
        "activation": [LeakyReLU(0.3), "elu"], "output_activation": Softplus(1 / 3),
        "loss": "squared_error", "seed": 0, "backend": backend,
    }  # fmt: skip
    trainer = Trainer([3, 4, 4, 2], **settings)
    trainer.fit(X, y, 3)
    trainer.save(tmp_path / "net.safetensors")
    loaded = Trainer.load(tmp_path / "net.safetensors")
    assert loaded.activation == (LeakyReLU(0.3), "elu")
    assert loaded.output_activation == Softplus(1 / 3)
    for each in (loaded, pickle.loads(pickle.dumps(trainer)), copy.deepcopy(trainer)):
        each.fit(X, y, 2)
    trainer.fit(X, y, 2)
    assert loaded.parameters.tobytes() == trainer.parameters.tobytes()
    fleet = Fleet([3, 4, 4, 2], members=2, **settings)
    fleet.save(tmp_path / "fleet.safetensors")
    read = Fleet.load(tmp_path / "fleet.safetensors")
    assert read[1].output_activation == Softplus(1 / 3)
    assert read.predict(X).tobytes() == fleet.predict(X).tobytes()


def test_a_file_with_a_bad_number_is_refused(tmp_path, monkeypatch):
    bad = ELU(0.5)
    trainer = Trainer([2, 3, 1], activation=bad)
    object.__setattr__(bad, "alpha", -1.0)
    trainer.save(tmp_path / "net.safetensors")
    with pytest.raises(CheckpointError, match="alpha must be a finite number above 0"):
        Trainer.load(tmp_path / "net.safetensors")


def test_a_number_compiles_nothing(rng):
    X, y = rng.normal(size=(20, 3)), rng.uniform(size=(20, 2))

    def use(activation):
        trainer = Trainer([3, 4, 2], activation=activation, backend="numba", seed=0)
        trainer.fit(X, y, 2)
        trainer.predict(X)

    use("leaky_relu")
    with numba_events.install_listener("numba:compile", CountCompiles()) as compiles:
        for number in (0.1, 0.2, 0.3):
            use(LeakyReLU(number))
            use(ELU(number))
            use(Softplus(number))
    assert compiles.count == 0


@pytest.mark.parametrize("solver", ["adam", "lbfgs", "lm"])
def test_estimators_take_them(solver, rng):
    X, y = rng.normal(size=(40, 3)), rng.normal(size=40)
    model = MLPRegressor(
        hidden_layer_sizes=(4, 4), activation=[ELU(0.5), LeakyReLU()], solver=solver, max_iter=5,
        tol=0.0, random_state=0,
    )  # fmt: skip
    model = clone(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y)
    by_hand = Trainer(
        [3, 4, 4, 1], activation=[ELU(0.5), "leaky_relu"], output_activation="identity",
        init=(model.coefs_, model.intercepts_),
    )  # fmt: skip
    np.testing.assert_allclose(model.predict(X), by_hand.predict(X)[:, 0], rtol=1e-12)
    hidden = model.hidden_activations(X)
    assert (hidden[0] > -0.5).all()
    assert model.get_params()["activation"] == [ELU(0.5), LeakyReLU()]


def test_ensembles_and_classifiers_take_them(rng):
    X = rng.normal(size=(40, 3))
    model = MLPClassifier(
        hidden_layer_sizes=(4,),
        activation=Softplus(2.0),
        n_members=2,
        max_iter=5,
        tol=0.0,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, X[:, 0] > 0)
    assert model.fleet_[0].activation == (Softplus(2.0),)
    assert model.predict_proba(X).shape == (40, 2)


def test_a_sweep_compares_them(rng):
    X, y = rng.normal(size=(30, 3)), rng.normal(size=(30, 1))
    activations = [LeakyReLU(0.1), LeakyReLU(0.2), "relu"]
    result = sweep(
        X, y, {"activation": activations}, layer_sizes=[3, 4, 1], output_activation="identity",
        epochs=3, seed=0,
    )  # fmt: skip
    assert sorted((s["activation"] for s in result.settings), key=str) == activations


def test_a_slope_of_0_is_relu(backend, rng):
    X, y = rng.normal(size=(40, 3)), rng.normal(size=(40, 2))
    nets = [
        Trainer([3, 6, 2], activation=a, output_activation="identity", backend=backend, seed=0)
        for a in (LeakyReLU(0), "relu")
    ]
    for trainer in nets:
        trainer.fit(X, y, 20)
    np.testing.assert_array_equal(nets[0].parameters, nets[1].parameters)


@pytest.mark.parametrize(
    ("output", "low"), [(ELU(0.5), -0.5), (Softplus(2.0), 0.0), (LeakyReLU(0), 0.0)]
)
def test_targets_that_they_cannot_reach(output, low):
    trainer = Trainer([1, 1], output_activation=output, seed=0)
    trainer.fit([[1.0]], [[low + 0.25]], 1)
    with pytest.warns(TargetWarning, match=f"of at least {low:g}"):
        trainer.fit([[1.0]], [[low - 0.25]], 1)


REFUSED = [
    (LeakyReLU, "x", TypeError, "negative_slope must be a finite number at least 0"),
    (LeakyReLU, -0.1, ValueError, r"negative_slope .* got -0.1"),
    (LeakyReLU, math.nan, ValueError, "negative_slope .* got nan"),
    (LeakyReLU, math.inf, ValueError, "negative_slope .* got inf"),
    (LeakyReLU, 1e31, ValueError, r"negative_slope .* below 1e\+30; got 1e\+31"),
    (ELU, 0, ValueError, "alpha must be a finite number above 0"),
    (ELU, None, TypeError, "alpha .* got None"),
    (Softplus, 0, ValueError, "beta must be a finite number at least 1e-30"),
    (Softplus, True, TypeError, "beta .* got True"),
]


@pytest.mark.parametrize(("cls", "number", "error", "message"), REFUSED)
def test_numbers_that_are_refused(cls, number, error, message):
    with pytest.raises(error, match=message):
        cls(number)


@pytest.mark.parametrize("argument", ["activation", "output_activation"])
def test_the_error_for_another_type_says_which_objects_are_activations(argument):
    with pytest.raises(
        TypeError,
        match=rf"{argument} must be a name, one of sigmoid, .*, or an object of LeakyReLU, ELU, "
        r"Softplus, CustomActivation; got 3 \(int\)",
    ):
        Trainer([2, 3, 1], **{argument: 3})


@pytest.mark.parametrize("cls", [LeakyReLU, ELU, Softplus])
def test_a_class_is_refused(cls):
    message = (
        rf"must be a name or an object; got the class {cls.__name__}: write {cls.__name__}\(\)"
    )
    for settings in ({"activation": cls}, {"activation": [cls]}, {"output_activation": cls}):
        for make in (Trainer, Fleet):
            more = {"members": 2} if make is Fleet else {}
            with pytest.raises(TypeError, match=message):
                make([2, 3, 1], **settings, **more)
    with pytest.raises(TypeError, match=message):
        MLPRegressor(activation=cls).fit([[1.0]], [1.0])
    with pytest.raises(TypeError, match="alpha"):
        ELU(aplha=0.5)


def test_they_are_values():
    assert LeakyReLU(0.2) == LeakyReLU(np.float64(0.2))
    assert len({ELU(0.5), ELU(0.5), ELU(0.25), Softplus(0.5)}) == 3
    assert type(ELU(np.float32(0.5)).alpha) is float
    assert repr(Softplus(2)) == "Softplus(beta=2.0)"
    assert eval(repr(LeakyReLU(1 / 3))) == LeakyReLU(1 / 3)
    with pytest.raises(AttributeError):
        ELU().alpha = 2.0
    assert jitprop.sklearn.MLPRegressor(activation=ELU(0.5)).activation == ELU(0.5)
