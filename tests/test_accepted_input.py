"""
Input of every form gives the bits of the plain array, is not written to, and compiles nothing.

A plain array is C-ordered, writable and in the machine's byte order. Values are eighths, which all
dtypes hold exactly.
"""

from __future__ import annotations

import tempfile

import numpy as np
import pandas as pd
import pytest

import jitprop_kernels as kernels
from jitprop import SGD, Adam, AdamW, Trainer

N = 11
ROWS = np.arange(N)
X = (np.random.default_rng(8).permutation(N * 3) % 8).reshape(N, 3) / 8
Y = (np.random.default_rng(9).permutation(N * 2) % 8).reshape(N, 2) / 8
LABELS = np.arange(N) % 3
BEYOND_1 = {"output_activation": "identity"}
CLASSES = {"layer_sizes": [3, 4, 3], "loss": "cross_entropy", "output_activation": "softmax"}


def make(**settings):
    defaults = {"layer_sizes": [3, 4, 2], "seed": 1, "batch_size": 4, "backend": "numpy"}
    return Trainer(**defaults | settings)


def bits(X, y, order=None, **settings):
    """Return the dtype of a trainer, and the bits of all its results."""
    trainer = make(**settings)
    loss = trainer.fit(X, y, 3, order=order).loss
    g = trainer.gradients(X, y)
    numbers = [loss, trainer.parameters, trainer.predict(X), *g.weights, *g.biases]
    numbers += [np.float64(g.loss), np.float64(trainer.evaluate(X, y))]
    return trainer.parameters.dtype, [array.tobytes() for array in numbers]


def compiled():
    entries = (kernels.train, kernels.predict, kernels.evaluate, kernels.gradient)
    return [list(entry.codes) for entry in entries]  # empty without JIT


def strided(array):
    wide = np.zeros([2 * n for n in array.shape], array.dtype)
    view = wide[(slice(None, None, 2),) * array.ndim]
    view[:] = array
    return view


def locked(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def unaligned(array):
    return np.frombuffer(b"x" + array.tobytes(), array.dtype, offset=1).reshape(array.shape)


def on_disk(array):
    with tempfile.TemporaryFile() as file:
        array.tofile(file)
        file.flush()
        return np.memmap(file, array.dtype, "r", shape=array.shape)


class Wrapped:
    """An object that can only be converted to an array."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return np.array(self.array, dtype)


FORMS = {
    "Fortran": np.asfortranarray,
    "strided": strided,
    "reversed": lambda array: np.flip(np.flip(array).copy()),
    "read-only": locked,
    "big-endian": lambda array: array.astype(array.dtype.newbyteorder(">")),
    "unaligned": unaligned,
    "matrix": lambda array: array.view(np.matrix),
    "frame": pd.DataFrame,
    "columns": lambda array: pd.DataFrame(dict(enumerate(array.T))),
    "array-like": Wrapped,
    "memmap": on_disk,
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int64, np.uint8, bool])
@pytest.mark.parametrize("form", FORMS)
def test_forms(form, dtype):
    x, y = (X * 8).astype(dtype), (Y * 8).astype(dtype)
    x_formed, y_formed = FORMS[form](x), FORMS[form](y)
    expected = bits(x, y, **BEYOND_1)
    assert bits(x_formed, y, **BEYOND_1) == bits(x, y_formed, **BEYOND_1) == expected
    for data, values in ((x, X), (y, Y), (x_formed, X), (y_formed, Y)):
        np.testing.assert_array_equal(np.asarray(data), (values * 8).astype(dtype))


@pytest.mark.parametrize("dtype", [np.float16, np.longdouble, np.int64, np.uint8, bool])
def test_dtypes(dtype):
    x, y = (X * 8).astype(dtype), (Y * 8).astype(dtype)
    expected = bits(x.astype(np.float64), y.astype(np.float64), **BEYOND_1)
    assert bits(x, y, **BEYOND_1) == expected
    assert bits(x.tolist(), tuple(map(tuple, y.tolist())), **BEYOND_1) == expected


@pytest.mark.parametrize(
    "kinds", [("f8", "bool", "i1"), ("Float64", "boolean", "Int64"), ("Float64",) * 3], ids=" ".join
)
def test_frames_of_several_dtypes(kinds):
    x = np.column_stack([X[:, 0], X[:, 1] > 0.5, X[:, 2] * 8])
    frame = pd.DataFrame({k: pd.Series(x[:, k]).astype(kind) for k, kind in enumerate(kinds)})
    frame.index = frame.index[::-1]
    assert bits(frame, Y) == bits(x, Y)


def test_float32_is_kept():
    single = X.astype(np.float32)
    trainer, other = make(), make()
    for t, later in ((trainer, X / 3), (other, (X / 3).astype(np.float32))):
        assert t.fit(single, Y, 2).loss.dtype == np.float64
        assert t.parameters.dtype == np.float32
        t.fit(later, Y / 3, 2)
        assert t.predict(later).dtype == t.parameters.dtype == np.float32
    assert trainer.parameters.tobytes() == other.parameters.tobytes()
    assert bits(single, Y, dtype="float64") == bits(X, Y)


@pytest.mark.parametrize("loss", ["half_squared_error", "binary_cross_entropy"])
def test_one_output(loss):
    y = Y[:, 0].copy()
    expected = bits(X, y, layer_sizes=[3, 4, 1], loss=loss)
    series = pd.Series(y, index=ROWS[::-1])
    for form in (y[:, None], Y[:, :1], y.tolist(), y[:, None].tolist(), series, series.to_frame()):
        assert bits(X, form, layer_sizes=[3, 4, 1], loss=loss) == expected


@pytest.mark.parametrize(
    "form",
    [
        LABELS[:, None],
        LABELS.tolist(),
        LABELS.astype(float),
        LABELS.astype(">u2")[:, None],
        pd.Series(LABELS, index=ROWS[::-1]),
        pd.Series(LABELS, dtype="Int64"),
        pd.Series(LABELS, dtype="category"),
        np.eye(3)[LABELS],
        np.eye(3, dtype=bool)[LABELS],
        np.asfortranarray(np.eye(3, dtype="f4")[LABELS]),
        pd.get_dummies(LABELS),
    ],
    ids=range(11),
)
def test_class_labels(backend, form):
    assert bits(X, form, backend=backend, **CLASSES) == bits(X, LABELS, backend=backend, **CLASSES)


def test_two_classes_by_bools():
    settings = CLASSES | {"layer_sizes": [3, 4, 2]}
    assert bits(X, LABELS > 0, **settings) == bits(X, np.minimum(LABELS, 1), **settings)


def test_targets_that_are_part_of_the_inputs():
    assert bits(X, X[:, :2]) == bits(X, X[:, :2].copy())


def test_probabilities():
    y = np.random.default_rng(0).dirichlet(np.ones(3), N)
    a = make(**CLASSES).predict(X)
    expected = -(y * np.log(a)).sum(axis=1).mean()
    for form in (y, y.astype(np.float32), np.asfortranarray(y), y.tolist(), pd.DataFrame(y)):
        np.testing.assert_allclose(make(**CLASSES).evaluate(X, form), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "form", "plain"),
    [
        ("layer_sizes", np.array([3, 40, 2], np.int8), [3, 40, 2]),
        ("batch_size", np.uint8(250), 250),
        ("batch_size", 10**30, None),
        ("seed", np.uint64(2**63), 2**63),
        ("weight_decay", np.longdouble(0.5), 0.5),
        ("optimizer", SGD(np.float32(0.5)), SGD(0.5)),
        ("optimizer", SGD(np.longdouble(0.5)), SGD(0.5)),
        ("optimizer", Adam(0, 0), Adam(0.0, 0.0)),
        ("optimizer", AdamW(np.float64(0.5), np.float16(0.5), 1), AdamW(0.5, 0.5, 1.0)),
    ],
)
def test_settings(backend, name, form, plain):
    expected = bits(X, Y, backend=backend, **{name: plain})
    before = compiled()
    assert bits(X, Y, backend=backend, **{name: form}) == expected
    assert compiled() == before


@pytest.mark.parametrize("hidden", [4, 400], ids=["lanes", "blocks"])
def test_forms_compile_nothing_more(hidden):
    settings = {"layer_sizes": [3, hidden, 2], "backend": "numba", "shuffle": False}
    expected = bits(X, Y, **settings)
    before = compiled()
    for form, made in FORMS.items():
        x, y = made(X), made(Y)
        assert bits(x, Y, **settings) == bits(X, y, **settings) == expected, form
        np.testing.assert_array_equal(np.asarray(x), X)
    order = locked(np.tile(ROWS, (3, 1)))
    assert bits(X, Y, order, **settings) == bits(X, Y, order.copy(), **settings)
    assert compiled() == before


@pytest.mark.parametrize("epochs", [np.int8(3), np.uint64(3), np.array(3)], ids=repr)
def test_epochs(epochs):
    a, b = make(), make()
    assert a.fit(X, Y, epochs).loss.tobytes() == b.fit(X, Y, 3).loss.tobytes()


def test_order(backend):
    order = np.random.default_rng(4).integers(0, N, (3, N))  # with repeated rows
    trainer = make(backend=backend, shuffle=False)
    for rows in order:
        trainer.fit(X[rows], Y[rows], 1)
    expected = trainer.parameters.tobytes()
    forms = [order, order.tolist(), order.astype(np.uint64), order.astype(np.int8)]
    forms += [made(order) for made in FORMS.values()]
    for form in [*forms, *(lambda epoch, rows=rows: rows[epoch] for rows in forms[:4])]:
        trainer = make(backend=backend)
        trainer.fit(X, Y, 3, order=form)
        assert trainer.parameters.tobytes() == expected
    for form in forms:
        np.testing.assert_array_equal(np.asarray(form), order)


# Arrays that change after they were passed in, and the trainer's own arrays.


def test_order_function_that_reuses_its_array():
    def orders(copied):
        rng, rows = np.random.default_rng(5), ROWS.copy()

        def shuffled(epoch):
            rng.shuffle(rows)
            return rows.copy() if copied else rows

        return shuffled

    assert bits(X, Y, orders(copied=False)) == bits(X, Y, orders(copied=True))


def test_labels_that_change_during_a_fit():
    # Labels are indices. If one changed after its check, a kernel would write out of bounds.
    y = LABELS.astype(np.float64)

    def order(epoch):
        y[:] = 7
        return ROWS

    trainer, untouched = make(**CLASSES), make(**CLASSES)
    trainer.fit(X, y, 3, order=order)
    untouched.fit(X, LABELS, 3, order=lambda epoch: ROWS)
    assert trainer.parameters.tobytes() == untouched.parameters.tobytes()


@pytest.mark.parametrize("which", ["X", "y", "both"])
def test_own_weights_as_data(which):
    square = {"layer_sizes": [3, 3, 3], **BEYOND_1}
    trainer, other = make(**square), make(**square)
    data = {"X": np.eye(3), "y": np.eye(3)}
    own = {name: trainer.weights[1] for name in data if which in (name, "both")}
    trainer.fit(**data | own, epochs=3)
    other.fit(**data | {name: make(**square).weights[1] for name in own}, epochs=3)
    assert trainer.parameters.tobytes() == other.parameters.tobytes()


def test_own_weights_as_parameters():
    trainer = make(layer_sizes=[3, 3, 3])
    first, second = (w.copy() for w in trainer.weights)
    trainer.set_parameters(trainer.weights[::-1], trainer.biases[::-1])
    np.testing.assert_array_equal(trainer.weights, [second, first])


def test_arrays_are_not_shared():
    first = make()
    second, third = make(init=(first.weights, first.biases)), make()
    third.set_parameters(first.weights, first.biases)
    before = first.parameters.copy()
    for trainer in (second, third):
        np.testing.assert_array_equal(trainer.parameters, before)
        trainer.fit(X, Y, 2)
    gradients = first.gradients(X, Y)
    for array in (first.predict(X), *gradients.weights, *gradients.biases):
        array[:] = 7
    np.testing.assert_array_equal(first.parameters, before)
