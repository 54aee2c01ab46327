"""
Bad input raises an error that names the argument, what was expected and what came.

Nothing else changes. Each case is tried on a new trainer and on a partly trained one. The trainer's
state stays the same, and it trains on to the bits of a trainer that saw no bad input. The X beside
a bad y or order is float32, which shows a trainer that sets its dtype too early.
"""

from __future__ import annotations

import signal
import warnings
from unittest.mock import DEFAULT, Mock

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.exceptions import DataConversionWarning

from jitprop import (
    SGD,
    Adam,
    AdamW,
    Checkpoint,
    CrossEntropy,
    Fleet,
    Huber,
    Quantile,
    Trainer,
    backends,
    export,
    sweep,
)
from jitprop.data import cast
from jitprop.sklearn import MLPClassifier, MLPRegressor
from nets import limit_calls

N = 8
SQUARED = {"layer_sizes": [3, 4, 2]}
SINGLE = {"layer_sizes": [3, 4, 1]}
BINARY = {"layer_sizes": [3, 4, 2], "loss": "binary_cross_entropy"}
COUNTS = {"layer_sizes": [3, 4, 2], "loss": "poisson", "output_activation": "exp"}
CLASSES = {"layer_sizes": [3, 4, 3], "loss": "cross_entropy", "output_activation": "softmax"}


def good(net):
    rng = np.random.default_rng(3)
    X = rng.random((N, 3))
    return X, np.arange(N) % 3 if net is CLASSES else rng.random((N, net["layer_sizes"][-1]))


def make(net, epochs=0, **settings):
    defaults = {"seed": 1, "optimizer": "adam", "batch_size": 3, "backend": "numpy"}
    trainer = Trainer(**defaults | net | settings)
    if epochs:
        trainer.fit(*good(net), epochs)
    return trainer


def state_of(trainer):
    s = trainer._model.state
    arrays = [(a.tobytes(), a.dtype, a.shape) for a in (s.params, s.slots)]
    random_state = s.rng.bit_generator.state
    return arrays, random_state, s.epochs, s.updates, trainer._model.dtype, trainer._model.spec


def says(error, words, call, *args):
    with pytest.raises(error) as caught:
        call(*args)
    message = str(caught.value)
    assert caught.type is error, message
    assert message.startswith(words[0]), message
    assert all(word in message for word in words), message


def refuses(net, error, words, attempt, **settings):
    for epochs in (0, 2):
        trainer, untouched = (make(net, epochs, **settings) for _ in range(2))
        before = state_of(trainer)
        says(error, words, attempt, trainer)
        assert state_of(trainer) == before
        histories = [t.fit(*good(net), 3).loss.tobytes() for t in (trainer, untouched)]
        assert histories[0] == histories[1]
        assert state_of(trainer) == state_of(untouched)


def put(value, *where, dtype=None):
    def change(array):
        array = array.astype(dtype or array.dtype)
        array[where] = value
        return array

    return change


def cases(*rows):
    return pytest.mark.parametrize("case", [pytest.param(row[1:], id=row[0]) for row in rows])


METHODS = {
    "fit": lambda trainer, X, y: trainer.fit(X, y, 2),
    "evaluate": lambda trainer, X, y: trainer.evaluate(X, y),
    "gradients": lambda trainer, X, y: trainer.gradients(X, y),
    "predict": lambda trainer, X, y: trainer.predict(X),
}
REAL = "must be an array of real numbers"
LABELS = "class labels, integers from 0 to 2"
INTS = "must be an array of ints"
SIZES = "layer_sizes must be a list of at least two ints"
SOFTMAX = "output_activation 'softmax' and loss 'cross_entropy' must be used together"
W, B = [np.ones((3, 4)), np.ones((4, 2))], [np.ones(4), np.ones(2)]
NOT_REAL = (
    ("text", lambda a: a.astype(str), TypeError, REAL, "text"),
    ("complex", lambda a: a + 0j, TypeError, REAL, "complex"),
    ("object", lambda a: a.astype(object), TypeError, REAL, "Python objects"),
    ("datetime", lambda a: a.astype("M8[s]"), TypeError, REAL, "datetime64"),
    ("none", lambda a: None, TypeError, REAL),
    ("sparse", sparse.csr_array, TypeError, REAL, "a sparse matrix"),
    ("ragged", lambda a: [[1, 2, 3], [1, 2]] * 4, ValueError, "must be an array", "inhomogeneous"),
    ("frame of text", lambda a: pd.DataFrame({"a": ["x"] * N}), TypeError, REAL, "Python objects"),
    # A mask marks missing values. Training on the values under it would be silently wrong.
    ("masked", lambda a: np.ma.masked_less(a, a.mean()), ValueError, "mask"),
)


@cases(
    *NOT_REAL,
    ("one sample", lambda X: X[0], ValueError, "2-dimensional, (n_samples, 3)", "shape (3,)"),
    ("wide", lambda X: np.hstack([X, X]), ValueError, "3 columns", "shape (8, 6)"),
    ("no samples", lambda X: X[:0], ValueError, "at least one sample", "shape (0, 3)"),
    ("empty", lambda X: [], ValueError, "2-dimensional", "shape (0,)"),
    ("nan", put(np.nan, 4, 1), ValueError, "finite", "X[4, 1] is nan"),
    ("inf", put(np.inf, 0, 0), ValueError, "finite", "X[0, 0] is inf"),
    ("both infs", put([np.inf, -np.inf], 7, slice(2)), ValueError, "finite", "X[7, 0] is inf"),
    ("half nan", put(np.nan, 7, 2, dtype="f2"), ValueError, "finite", "X[7, 2] is nan"),
)
@pytest.mark.parametrize("method", METHODS)
def test_bad_inputs(method, case):
    change, error, *words = case
    X, y = good(SQUARED)
    bad = change(X.astype(np.float32))
    refuses(SQUARED, error, ("X", *words), lambda t: METHODS[method](t, bad, y))


@cases(
    *((name, SQUARED, *rest) for name, *rest in NOT_REAL),
    ("shorter", SQUARED, lambda y: y[1:], ValueError, "(8, 2)", "8 rows of X", "shape (7, 2)"),
    ("wide", SINGLE, lambda y: np.hstack([y, y]), ValueError, "(8, 1) or (8,)", "shape (8, 2)"),
    ("nan", SQUARED, put(np.nan, 4, 1), ValueError, "finite", "y[4, 1] is nan"),
    ("below 0", BINARY, put(-0.5, 4, 1), ValueError, "within [0, 1]", "y[4, 1] is -0.5"),
    ("above 1", BINARY, put(1.5, 4, 1), ValueError, "within [0, 1]", "y[4, 1] is 1.5"),
    ("count -1", COUNTS, put(-1, 4, 1), ValueError, "at least 0 for poisson", "y[4, 1] is -1"),
    ("label -1", CLASSES, put(-1, 5), ValueError, LABELS, "y[5] is -1"),
    ("label 3", CLASSES, put(3, 5), ValueError, LABELS, "y[5] is 3"),
    ("label 2**63", CLASSES, put(2**63, 5, dtype="u8"), ValueError, LABELS, "y[5] is 9.22"),
    ("label half", CLASSES, put(1.5, 5, dtype="f8"), ValueError, LABELS, "y[5] is 1.5"),
    ("label nan", CLASSES, put(np.nan, 5, dtype="f8"), ValueError, "finite", "y[5] is nan"),
    ("sum 3", CLASSES, lambda y: put(1, 5)(np.eye(3)[y]), ValueError, "sum to 1", "y[5] sums to 3"),
)
@pytest.mark.parametrize("method", ["fit", "evaluate", "gradients"])
def test_bad_targets(method, case):
    net, change, error, *words = case
    X, y = good(net)
    bad, X = change(y), X.astype(np.float32)
    refuses(net, error, ("y", *words), lambda t: METHODS[method](t, X, bad))


WEIGHED = {
    "fit": lambda trainer, X, y, w: trainer.fit(X, y, 2, sample_weight=w),
    "evaluate": lambda trainer, X, y, w: trainer.evaluate(X, y, sample_weight=w),
    "gradients": lambda trainer, X, y, w: trainer.gradients(X, y, sample_weight=w),
}


@cases(
    *(row for row in NOT_REAL if row[0] != "none"),  # None means no weights
    ("shorter", lambda w: w[1:], ValueError, "must have shape (8,)", "shape (7,)"),
    ("column", lambda w: w[:, None], ValueError, "must have shape (8,)", "shape (8, 1)"),
    ("number", lambda w: 1.0, ValueError, "must have shape (8,)", "shape ()"),
    ("negative", put(-0.5, 5), ValueError, "not be negative", "sample_weight[5] is -0.5"),
    ("nan", put(np.nan, 5), ValueError, "finite", "sample_weight[5] is nan"),
    ("all zero", np.zeros_like, ValueError, "sum above 0", "sum to 0"),
    ("huge", lambda w: np.full(N, 1e39), ValueError, "finite", "beyond float32"),
)
@pytest.mark.parametrize("method", WEIGHED)
def test_bad_sample_weight(method, case):
    change, error, *words = case
    X, y = good(SQUARED)
    bad, X = change(np.linspace(0, 1, N)), X.astype(np.float32)
    attempt = WEIGHED[method]
    refuses(
        SQUARED,
        error,
        ("sample_weight", *words),
        lambda t: attempt(t, X, y, bad),
        **({"dtype": "float32"} if "beyond float32" in words else {}),
    )


def test_inputs_beyond_the_trainers_dtype():
    X, y = good(SQUARED)
    X[2, 1] = -1e39
    words = ("X", "finite", "X[2, 1] is -1e+39, which is beyond float32")
    for method in METHODS.values():
        refuses(SQUARED, ValueError, words, lambda t, m=method: m(t, X, y), dtype="float32")


@cases(
    ("beyond", np.arange(1, N + 1), ValueError, "from 0 to 7", "from 1 to 8"),
    ("negative", np.arange(-1, N - 1), ValueError, "from 0 to 7", "from -1 to 6"),
    ("2**63", np.full(N, 2**63, np.uint64), ValueError, "from 0 to 7", str(2**63)),
    ("long", np.arange(N + 1), ValueError, "must have shape", "9"),
    ("float", np.arange(8.0), TypeError, INTS, "float64"),
    ("bool", np.ones(N, bool), TypeError, INTS, "bool"),
    ("ragged", [[1, 2], *range(1, N)], ValueError, INTS, "inhomogeneous"),
)
def test_bad_order(case):
    row, error, *words = case
    X, y = good(SQUARED)
    X = X.astype(np.float32)
    for order in ([row, row], lambda epoch: row):
        refuses(SQUARED, error, ("order", *words), lambda t, o=order: t.fit(X, y, 2, order=o))


@pytest.mark.parametrize("order", [np.arange(N), np.zeros((1, N), int), np.zeros((N, 2), int), 3])
def test_order_of_another_shape(order):
    X, y = good(SQUARED)
    words = ("order must have shape (2, 8)", f"got shape {np.shape(order)}")
    refuses(SQUARED, ValueError, words, lambda t: t.fit(X, y, 2, order=order))


@pytest.mark.parametrize("work", [1, 2e8], ids=["short blocks", "one block"])
@pytest.mark.parametrize("failure", [np.arange(1, N + 1), RuntimeError(), KeyboardInterrupt()])
def test_order_function_that_fails_later(backend, failure, work, monkeypatch):
    limit_calls(monkeypatch, work)
    X, y = good(SQUARED)

    def sound(epoch):
        return np.random.default_rng(epoch).permutation(N)

    def failing(epoch):
        if epoch == 5 and isinstance(failure, BaseException):
            raise failure
        return failure if epoch == 5 else sound(epoch)

    trainer, untouched = (make(SQUARED, 2, backend=backend) for _ in range(2))
    with pytest.raises(ValueError if isinstance(failure, np.ndarray) else type(failure)):
        trainer.fit(X, y, 6, order=failing)
    kept = trainer.epochs_trained
    assert 2 <= kept <= 5 if work > 1 else kept == 5
    if kept > 2:
        untouched.fit(X, y, kept - 2, order=sound)
    for _ in range(2):
        assert state_of(trainer) == state_of(untouched)
        for t in (trainer, untouched):
            t.fit(X, y, 8 - kept, order=sound)


def test_interrupt_within_an_epoch(backend, monkeypatch):
    trainer, untouched = (make(SQUARED, 2, backend=backend) for _ in range(2))
    untouched.fit(*good(SQUARED), 1)
    limit_calls(monkeypatch, 1)  # three calls of the backend per epoch
    module = backends.load(backend)
    spy = Mock(wraps=module.train, side_effect=[DEFAULT] * 4 + [KeyboardInterrupt])
    monkeypatch.setattr(module, "train", spy)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(*good(SQUARED), 4)
    assert state_of(trainer) == state_of(untouched)


@cases(
    ("many biases", W, [*B, B[1]], ValueError, "biases must have 2 arrays", "got 3"),
    ("bias number", W, [B[0], 1.0], ValueError, "biases[1]", "(2,)", "()"),
    ("nan", W, [B[0], [1, np.nan]], ValueError, "biases[1]", "finite", "biases[1][1] is nan"),
    ("too large", [W[0] * 1e39, W[1]], B, ValueError, "weights[0]", "finite", "beyond float32"),
    ("text", W, "ab", TypeError, "biases must be a list of 2 arrays", "'ab' (str)"),
    ("number", np.array(5), B, TypeError, "weights must be a list of 2", "(ndarray)"),
)
def test_bad_parameters(case):
    weights, biases, error, *words = case
    refuses(SQUARED, error, words, lambda t: t.set_parameters(weights, biases), dtype="float32")
    says(error, words, lambda: make(SQUARED, init=(weights, biases), dtype="float32"))


def setting(name):
    return lambda trainer, value: make(SQUARED, **{name: value})


INTEGERS = {name: setting(name) for name in ("batch_size", "n_threads", "seed")} | {
    "epochs": lambda trainer, value: trainer.fit(*good(SQUARED), value),
    "layer_sizes[1]": lambda trainer, value: Trainer([3, value, 1]),
}
NUMBERS = {
    "learning_rate must": setting("learning_rate"),
    "learning_rate": lambda trainer, value: setattr(trainer, "learning_rate", value),
    "weight_decay": setting("weight_decay"),
    "dropout": setting("dropout"),
    "dropout[0]": lambda trainer, value: make(SQUARED, dropout=[value]),
    "momentum": lambda trainer, value: SGD(momentum=value),
    "beta_1": lambda trainer, value: Adam(beta_1=value),
    "beta_2": lambda trainer, value: AdamW(beta_2=value),
    "epsilon": lambda trainer, value: AdamW(epsilon=value),
    "delta": lambda trainer, value: Huber(delta=value),
    "q": lambda trainer, value: Quantile(q=value),
    "label_smoothing": lambda trainer, value: CrossEntropy(label_smoothing=value),
}
ABOVE_0 = ("learning_rate", "epsilon", "delta", "q")
BELOW_1 = ("momentum", "beta_1", "beta_2", "q", "label_smoothing")
NOT_SEED = INTEGERS.keys() - {"seed"}


@cases(
    ("-3", INTEGERS, np.int8(-3), ValueError, "an integer of at least", "got -3"),
    ("0", NOT_SEED, 0, ValueError, "an integer of at least 1", "got 0"),
    ("10**30", ["epochs"], 10**30, ValueError, "bytes of memory"),
    ("2.0", INTEGERS, 2.0, TypeError, "an integer", "got 2.0 (float)"),
    ("bool", INTEGERS, True, TypeError, "an integer", "got True (bool)"),
    ("rate -0.5", NUMBERS, -0.5, ValueError, "a finite number", "got -0.5"),
    ("rate nan", NUMBERS, np.nan, ValueError, "a finite number", "got nan"),
    (
        "rate 0",
        ("learning_rate", "epsilon", "delta", "q"),
        0.0,
        ValueError,
        "a finite number above 0",
        "got 0.0",
    ),
    (
        "rate 1",
        ("momentum", "beta_2", "q", "label_smoothing", "dropout"),
        1.0,
        ValueError,
        "below 1",
        "got 1.0",
    ),
    ("rate 10**400", NUMBERS, 10**400, ValueError, "a finite number", "got"),
    ("text", NUMBERS | INTEGERS, "3", TypeError, "got '3' (str)"),
    ("complex", NUMBERS | INTEGERS, 1j, TypeError, "got 1j (complex)"),
)
def test_bad_number(case):
    names, value, error, *words = case
    for name in names:
        attempt = (NUMBERS | INTEGERS)[name]
        refuses(SQUARED, error, (name, *words), lambda t, a=attempt: a(t, value))


@cases(
    *((str(x), {"layer_sizes": x}, TypeError, SIZES, repr(x)) for x in ("3", b"31", np.array(5))),
    ("one size", {"layer_sizes": [3]}, ValueError, "layer_sizes must name at least", "got [3]"),
    ("huge", {"layer_sizes": [10**10, 10**10]}, ValueError, "layer_sizes"),
    ("activation", {"activation": "Relu"}, ValueError, "activation 'Relu'", "mean 'relu'"),
    ("loss", {"loss": "cross_entorpy"}, ValueError, "loss", "mean 'cross_entropy'"),
    (
        "loss of no kind",
        {"loss": 3},
        TypeError,
        "loss must be a name",
        "squared_error",
        "got 3 (int)",
    ),
    ("loss class", {"loss": CrossEntropy}, TypeError, "loss must be", "CrossEntropy (type)"),
    ("optimizer", {"optimizer": "adamm"}, ValueError, "optimizer 'adamm'", "'adam'"),
    ("init", {"init": "glorot_unifrom"}, ValueError, "init 'glorot", "mean 'glorot_uniform'"),
    ("backend", {"backend": "nunba"}, ValueError, "backend", "mean 'numba'"),
    ("two names", {"activation": ["tanh"] * 2}, ValueError, "activation must", "1 hidden", "got 2"),
    ("two shares", {"dropout": [0, 0.5]}, ValueError, "dropout must", "1 hidden", "got 2"),
    ("softmax", {"output_activation": "softmax"}, ValueError, SOFTMAX, "'half_squared_error'"),
    ("no softmax", {"loss": "cross_entropy"}, ValueError, SOFTMAX, "output_activation 'sigmoid'"),
    ("one class", CLASSES | {"layer_sizes": [3, 1]}, ValueError, "softmax", "ends in 1"),
    ("poisson", {"loss": "poisson"}, ValueError, "loss 'poisson' needs", "'exp' or 'identity'"),
    (
        "half a mean",
        {"loss": "gaussian_nll", "output_activation": "identity", "layer_sizes": [3, 4, 3]},
        ValueError,
        "layer_sizes must end in an even number",
        "ends in 3",
    ),
    ("bce", BINARY | {"output_activation": "tanh"}, ValueError, "loss", "needs", "got", "'tanh'"),
    ("float16", {"dtype": "float16"}, ValueError, "dtype must be", "'float32'", "got float16"),
    ("shuffle", {"shuffle": 1}, TypeError, "shuffle must be True or False", "got 1 (int)"),
    ("class", {"optimizer": Adam}, TypeError, "optimizer must be", "'adam'", "Adam (type)"),
)
def test_bad_setting(case):
    settings, error, *words = case
    says(error, words, lambda: make(SQUARED, **settings))


def test_bad_nesterov():
    says(TypeError, ("nesterov must be True or False", "got 1 (int)"), SGD, 0.9, 1)
    says(ValueError, ("nesterov=True needs a momentum above 0", "got momentum=0.0"), SGD, 0.0, True)


class Refuses:
    """An object whose __array__ raises an error, like a PyTorch tensor that needs detach()."""

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("call detach first")


HIDDEN = np.ma.array([[1.0, 2.0], [3.0, 4.0]], mask=[[0, 0], [0, 1]])


@pytest.mark.parametrize(
    ("X", "words"),
    [
        (Refuses(), "X must be an array of numbers; NumPy says: call detach first"),
        ([Refuses(), Refuses()], "X must be an array of numbers; NumPy says: call detach first"),
        (HIDDEN, "X must have no masked values"),
        (list(HIDDEN), "X must have no masked values"),
        (tuple(HIDDEN), "X must have no masked values"),
        ([list(HIDDEN)], "X must have no masked values"),
        ([[1.0, np.ma.masked], [1.0, 2.0]], "X must have no masked values"),
        (np.full((2, 2), np.longdouble(1e300)) * np.longdouble(1e100), "which is beyond float64"),
    ],
    ids=range(8),
)
def test_arrays_that_would_be_read_as_something_else(X, words, backend):
    net, fleet = Trainer([2, 1], seed=0, backend=backend), Fleet([2, 1], members=1, seed=[0])
    for call in (net.predict, fleet.predict, lambda X: net.fit(X, [0, 1], 1)):
        with pytest.raises(ValueError, match=words):
            call(X)
    assert net.epochs_trained == 0


def test_validation_data_that_are_the_parameters_are_copied(backend):
    net = Trainer([2, 2, 1], backend=backend, seed=0)
    held = net.weights[0], np.ones(2)
    copies = held[0].copy(), held[1]
    ref = Trainer([2, 2, 1], backend=backend, seed=0)
    X, y = np.eye(2), np.zeros(2)
    found = net.fit(X, y, 5, validation_data=held).validation_loss
    np.testing.assert_array_equal(found, ref.fit(X, y, 5, validation_data=copies).validation_loss)


ONE_HIDDEN = np.ma.array([1, 0], mask=[0, 1])


@pytest.mark.parametrize(("value", "words"), [
    (Refuses(), "must be an array of (numbers|ints); NumPy says: call detach first"),
    (ONE_HIDDEN, "must have no masked values"),
])  # fmt: skip
def test_every_array_is_read_with_the_same_care(value, words):
    X, y = [[1.0], [2.0]], [1.0, 2.0]
    net, grid = Trainer([1, 1], seed=0), {"layer_sizes": [[1, 1]]}
    estimator = MLPRegressor(hidden_layer_sizes=(2,), random_state=0, solver="lbfgs").fit(X, y)
    classifier = MLPClassifier((2,), random_state=0).partial_fit(X, y, classes=y)
    calls = {
        "y": lambda: net.fit(X, value, 1),
        "sample_weight": lambda: net.fit(X, y, 1, sample_weight=value),
        "order": lambda: net.fit(X, y, 1, order=value),
        "x": lambda: net.trace(value, [1.0]),
        "learning_rate": lambda: Fleet([1, 1], members=2, learning_rate=value),
        "seed": lambda: Fleet([1, 1], members=2, seed=value),
        "weight_decay": lambda: Fleet([1, 1], members=2, weight_decay=value),
        "the numbers of members": lambda: Fleet([1, 1], members=2, seed=0)[value],
        r"cv\[0\]\[1\]": lambda: sweep(X, y, grid, epochs=1, cv=[([0], value)]),
        "X": lambda: estimator.predict(value),
        "X of fit": lambda: MLPRegressor().fit(value, y),
        "y of fit": lambda: MLPRegressor().fit(X, value),
        "sample_weight of fit": lambda: MLPRegressor().fit(X, y, value),
        "y of score": lambda: estimator.score(X, value),
        "sample_weight of score": lambda: estimator.score(X, y, value),
        "y of a classifier's score": lambda: classifier.score(X, value),
        "sample_weight of a classifier's score": lambda: classifier.score(X, y, value),
        "classes": lambda: MLPClassifier().partial_fit(X, y, classes=value),
        "classes of a later call": lambda: classifier.partial_fit(X, y, classes=value),
        "y of partial_fit": lambda: MLPClassifier().partial_fit(X, value, classes=[1, 2]),
        "X_val": lambda: MLPRegressor().fit(X, y, X_val=value, y_val=y),
        "y_val": lambda: MLPRegressor().fit(X, y, X_val=X, y_val=value),
    }
    for name, call in calls.items():
        argument = name if name.startswith("the ") else name.split(" of ")[0]
        with pytest.raises(ValueError, match=f"^{argument} {words}"):
            call()
    assert net.epochs_trained == 0


HUGE = [10**400, 1.0]
TOO_LARGE = "must be an array of numbers; NumPy says: int too large to convert to float"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([Refuses(), 1.0], "must be an array of numbers; NumPy says: call detach first"),
        (HUGE, TOO_LARGE),
    ],
    ids=["raises", "large"],
)
def test_lists_that_scikit_learn_cannot_read_are_named(value, words):
    X, y, column = [[1.0], [2.0]], [1.0, 2.0], [[each] for each in value]
    estimator = MLPRegressor(hidden_layer_sizes=(2,), random_state=0, solver="lbfgs").fit(X, y)
    calls = {
        "X": lambda: estimator.predict(column),
        "X of score": lambda: estimator.score(column, y),
        "y of score": lambda: estimator.score(X, value),
        "sample_weight of score": lambda: estimator.score(X, y, value),
        "X of fit": lambda: MLPRegressor().fit(column, y),
        "y of fit": lambda: MLPRegressor().fit(X, value),
        "sample_weight of fit": lambda: MLPRegressor().fit(X, y, value),
        "X_val": lambda: MLPRegressor().fit(X, y, X_val=column, y_val=y),
        "y_val": lambda: MLPRegressor().fit(X, y, X_val=X, y_val=value),
        "X of a classifier": lambda: MLPClassifier().fit(column, ["a", "b"]),
        "X of partial_fit": lambda: MLPClassifier().partial_fit(column, [1, 2], classes=[1, 2]),
    }
    if value is not HUGE:  # as labels these are valid Python integers
        calls["y of a classifier"] = lambda: MLPClassifier().fit(X, value)
        calls["classes"] = lambda: MLPClassifier().partial_fit(X, [1, 2], classes=value)
    for name, call in calls.items():
        with pytest.raises(ValueError, match=f"^{name.split(' of ')[0]} {words}"):
            call()
    with pytest.raises(ValueError, match=f"^sample_weight {TOO_LARGE}"):
        MLPRegressor().fit(X, y, 10**400)


@pytest.mark.parametrize("weight", [10**400, "heavy", None, Refuses()])
def test_class_weights_that_are_no_numbers(weight):
    model = MLPClassifier((2,), class_weight={0: weight, 1: 1.0})
    with pytest.raises(ValueError, match="class_weight"):
        model.fit([[1.0], [2.0]], [0, 1])
    assert not hasattr(model, "classes_")


def test_warnings_made_errors_come_out_of_scikit_learn_as_they_are():
    """They are not errors of the array."""
    model = MLPRegressor(hidden_layer_sizes=(2,), solver="lbfgs")
    with (
        warnings.catch_warnings(action="error", category=DataConversionWarning),
        pytest.raises(DataConversionWarning),
    ):
        model.fit([[1.0], [2.0]], [[1.0], [2.0]])


def test_names_of_columns_are_quoted_cut_and_found_quickly():
    """Of 30,000 names each was looked for among all the others."""
    known = tuple(f"a{i}" for i in range(30_000))
    long = pd.DataFrame(
        np.zeros((1, 30_000)), columns=[f"\x1b{i}{'x' * 500}" for i in range(30_000)]
    )
    with pytest.raises(ValueError, match="columns \\['a0', 'a1', 'a2', 'a3', 'a4'\\] are missing"):
        cast.check_names(long, known)
    with pytest.raises(ValueError, match="are new") as caught:
        cast.check_names(pd.DataFrame(np.zeros((1, 2)), columns=["a", long.columns[0]]), ("a",))
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("value", [5, None, 1.5, ["net"]])
def test_paths(value, tmp_path):
    net, fleet = Trainer([1, 1], seed=0), Fleet([1, 1], members=1, seed=0)
    calls = {
        "path of save": lambda: net.save(value),
        "path of load": lambda: Trainer.load(value),
        "path of Fleet.save": lambda: fleet.save(value),
        "path of Fleet.load": lambda: Fleet.load(value),
        "path of Checkpoint": lambda: Checkpoint(value),
        "path of to_c": lambda: export.to_c(net, value),
        "header": lambda: export.to_c(net, tmp_path / "net.c", header=value or 5),
    }
    for name, call in calls.items():
        with pytest.raises(TypeError, match=rf"^{name.split(' of ')[0]} must be a str.*; got "):
            call()
    assert not list(tmp_path.iterdir())


def test_categories_that_are_numbers_are_read_as_these_never_by_their_codes():
    numbers = pd.Categorical([30, 50, 30])
    frame = pd.DataFrame({"a": numbers, "b": [1.0, 2.0, 3.0]})
    np.testing.assert_array_equal(cast.real("X", frame), [[30, 1], [50, 2], [30, 3]])
    np.testing.assert_array_equal(cast.real("y", pd.Series(numbers)), [30, 50, 30])
    says(TypeError, ("X must be", "column 'a'", "get_dummies"), cast.real, "X",
         pd.DataFrame({"a": pd.Categorical(["30", "50"])}))  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_labels_are_checked_before_they_are_rounded(dtype, backend):
    net = Trainer(
        [1, 2], output_activation="softmax", loss="cross_entropy", dtype=dtype, backend=backend
    )
    with pytest.raises(ValueError, match=r"integers from 0 to 1; y\[1\] is 0\.9999999999"):
        net.fit([[1.0], [2.0]], [0.0, 0.9999999999], 1)


@pytest.mark.parametrize("kind", [Trainer, Fleet])
def test_parameters_beyond_the_dtype_that_a_first_fit_settles(kind, backend):
    settings = {"members": 2} if kind is Fleet else {}
    net = kind([1, 1], init=([[[1e39]]], [[0.0]]), seed=0, backend=backend, **settings)
    with pytest.raises(ValueError, match="the net's parameters must fit into float32"):
        net.fit(np.ones((2, 1), np.float32), np.ones(2), 1)
    assert net.parameters.dtype == np.float64
    assert net.parameters.max() == 1e39


@pytest.mark.parametrize("which", ["X", "validation_data"])
def test_a_fleets_parameters_as_samples_are_copied(which, backend):
    found = []
    for copied in (False, True):
        fleet = Fleet([2, 2, 1], members=2, seed=0, backend=backend, learning_rate=0.5)
        own = fleet.weights[0][0]
        own = own.copy() if copied else own
        X = own if which == "X" else np.eye(2)
        # With validation each epoch is a separate call, and the parameters change between calls.
        history = fleet.fit(X, [0.0, 1.0], 6, validation_data=(own, [1.0, 0.0]))
        found.append((history.loss, history.validation_loss))
    for comp, ref in zip(*found, strict=True):
        np.testing.assert_array_equal(comp, ref)


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="no alarms")
def test_a_time_limit_that_comes_while_an_array_is_read_is_not_taken_for_bad_input():
    class Slow:
        def __array__(self, dtype=None, copy=None):
            signal.raise_signal(signal.SIGALRM)
            return np.zeros((2, 2))

    def limit(number, frame):
        raise TimeoutError("too long")

    before = signal.signal(signal.SIGALRM, limit)
    try:
        with pytest.raises(TimeoutError, match="too long"):
            Trainer([2, 1], seed=0).predict(Slow())
    finally:
        signal.signal(signal.SIGALRM, before)
