"""
Nets with read-only arrays train on copies of the arrays.

Such nets come from joblib, which passes large arrays to its workers as read-only memory maps; from
pickles with out-of-band buffers; and from Ray's object store, which shares its memory.
"""

from __future__ import annotations

import pickle
import warnings
from dataclasses import replace

import joblib
import numpy as np
import pytest

from jitprop import Adam, Fleet, Trainer, backends, reference
from jitprop.backends import compiled
from jitprop.data.samples import Steps
from jitprop.fleet import lanes
from jitprop.fleet.data import Part, samples
from jitprop.net.spec import make_spec
from jitprop.sklearn import MLPClassifier, MLPRegressor

X = np.random.default_rng(0).normal(size=(40, 3))
Y = np.random.default_rng(1).uniform(size=(40, 1))
LABELS = (Y[:, 0] > 0.5).astype(int)


def trainer(**settings):
    net = Trainer([3, 4, 1], optimizer="adam", learning_rate=0.01, seed=0, **settings)
    net.fit(X, Y, 3)
    return net


def fleet():
    net = Fleet([3, 4, 1], members=3, optimizer="adam", learning_rate=0.01, seed=[1, 2, 3])
    net.fit(X, Y, 3)
    return net


def estimator(cls, **settings):
    y = LABELS if cls is MLPClassifier else Y[:, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it does not converge
        return cls(hidden_layer_sizes=(4,), max_iter=3, random_state=0, **settings).fit(X, y)


NETS = {
    "trainer": trainer,
    "float32": lambda: trainer(dtype="float32"),
    "fleet": fleet,
    "classifier": lambda: estimator(MLPClassifier),
    "regressor": lambda: estimator(MLPRegressor, solver="sgd"),
    "warm": lambda: estimator(MLPClassifier, warm_start=True, keep_optimizer=True),
}


def go_on(net):
    """Train for a few more epochs, and return the parameters."""
    if isinstance(net, Trainer | Fleet):
        net.fit(X, Y, 2)
        return net.parameters.copy()
    y = LABELS if isinstance(net, MLPClassifier) else Y[:, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if net.warm_start:
            net.fit(X, y)
        else:
            net.partial_fit(X, y)
    return np.concatenate([a.ravel() for a in (*net.coefs_, *net.intercepts_)])


@pytest.mark.parametrize("net", NETS)
def test_a_read_only_map_of_a_file(net, tmp_path):
    made = NETS[net]()
    joblib.dump(made, tmp_path / "net")
    before = (tmp_path / "net").read_bytes()
    loaded = joblib.load(tmp_path / "net", mmap_mode="r")
    np.testing.assert_array_equal(go_on(loaded), go_on(made))
    assert (tmp_path / "net").read_bytes() == before


@pytest.mark.parametrize("net", NETS)
def test_a_pickle_on_bytes(net):
    made = NETS[net]()
    buffers = []
    data = pickle.dumps(made, protocol=5, buffer_callback=buffers.append)
    lent = [bytes(buffer.raw()) for buffer in buffers]
    before = list(map(bytearray, lent))
    assert lent
    # Three tasks share one object, as in Ray. No task sees the changes of another.
    found = [go_on(pickle.loads(data, buffers=lent)) for _ in range(3)]
    assert list(map(bytearray, lent)) == before
    expected = go_on(made)
    for parameters in found:
        np.testing.assert_array_equal(parameters, expected)


@pytest.mark.parametrize("kind", ["trainer", "fleet"])
def test_parameters_that_were_made_read_only_are_copied_when_training_begins(kind):
    net = NETS[kind]()
    old = net.parameters
    before = old.copy()
    old.flags.writeable = False
    expected = go_on(NETS[kind]())
    np.testing.assert_array_equal(go_on(net), expected)
    np.testing.assert_array_equal(old, before)
    assert net.parameters.flags.writeable


@pytest.mark.parametrize("kind", ["trainer", "fleet"])
def test_read_only_parameters_predict_and_evaluate_and_compile_nothing(kind):
    net = NETS[kind]()
    expected = net.predict(X), net.evaluate(X, Y)
    net.parameters.flags.writeable = False
    found = net.predict(X), net.evaluate(X, Y)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.long
def test_workers_of_joblib_train_what_they_get_as_a_map():
    rng = np.random.default_rng(0)
    wide, y = rng.normal(size=(64, 784)), rng.integers(10, size=64)
    nets = [
        Trainer([784, 200, 10], output_activation="softmax", loss="cross_entropy", seed=seed)
        for seed in range(2)
    ]
    assert nets[0].parameters.nbytes > 1 << 20  # so large that joblib maps it
    tasks = (joblib.delayed(train)(net, wide, y) for net in nets)
    found = joblib.Parallel(n_jobs=2)(tasks)
    for net, parameters in zip(nets, found, strict=True):
        np.testing.assert_array_equal(parameters, train(net, wide, y))


def train(net, X, y):
    net.fit(X, y, 1)
    return net.parameters


@pytest.mark.parametrize("which", ["params", "slots", "losses"])
def test_the_backend_refuses_read_only_arrays_that_kernels_would_write_to(which):
    spec = make_spec(layer_sizes=[3, 4, 1], optimizer=Adam(), learning_rate=0.01)
    backend = backends.load("numba")
    net = backend.prepare(spec, len(X), X.dtype, 1, 1)
    arrays = {
        "params": np.zeros(spec.n_parameters),
        "slots": np.zeros((2, spec.n_parameters)),
        "losses": np.zeros(1),
    }
    arrays[which].flags.writeable = False
    steps = Steps(X, Y, None, None, arrays["losses"], np.ones(1), 0, 1)
    with pytest.raises(ValueError, match=f"{which} must be writable; it is read-only"):
        compiled.train(net, arrays["params"], arrays["slots"], steps, 0, 0)
    assert not arrays["params"].any()


@pytest.mark.parametrize("module", [compiled, reference], ids=["numba", "numpy"])
@pytest.mark.parametrize("other", range(5))
def test_backends_train_arrays_of_one_dtype(other, module):
    spec = make_spec(layer_sizes=[3, 4, 1], optimizer=Adam(), learning_rate=0.01)
    net, size = module.prepare(spec, len(X), X.dtype, 1, 1), spec.n_parameters
    arrays = [np.zeros(size), np.zeros((2, size)), X, Y, np.ones(len(X))]
    arrays[other] = arrays[other].astype(np.float32)
    params, slots, *samples = arrays
    steps = Steps(*samples, None, np.zeros(1), np.ones(1), 0, 1)
    with pytest.raises(TypeError, match="all arrays must have one dtype; got params float"):
        module.train(net, params, slots, steps, 0, 0)


@pytest.mark.parametrize("which", ["slots", "y", "frozen"])
def test_so_does_the_engine_of_small_fleets(which):
    net = Fleet([3, 4, 1], members=3, optimizer="adam", batch_size=8, seed=[1, 2, 3])
    data = samples(X, Y, None, net._model.spec, 3, None)
    members = net._model.state.members(net._model.settings)
    engine = net._engine(len(X))
    assert isinstance(engine, lanes.Lanes)
    if which == "slots":
        members = members._replace(slots=members.slots.astype(np.float32))
    elif which == "y":
        data = replace(data, y=Part(Y.astype(np.float32), per_member=False))
    else:
        members.params.flags.writeable = False
    error, words = (ValueError, "read-only") if which == "frozen" else (TypeError, "one dtype")
    with pytest.raises(error, match=words):
        engine.train(members, data, None, np.zeros((1, 3)), np.ones((1, 3)))
