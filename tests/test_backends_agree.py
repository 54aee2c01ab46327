"""The kernels agree with the reference on all kinds of nets; hypothesis draws the shapes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from jitprop import Trainer
from nets import HIDDEN, KINDS, OPTIMIZERS, OUTPUTS, data, in_turns, suited

SETTINGS = settings(
    max_examples=4,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

# Widths at the edges of vectors (4, 8, 16) and of blocks of vectors (32, 64).
WIDTHS = st.one_of(
    st.sampled_from([1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65]),
    st.integers(1, 70),
)
# Narrow nets take the lanes route, wide nets the blocks route.
SIZES = st.tuples(st.integers(0, 5), st.sampled_from([st.integers(1, 5), WIDTHS])).flatmap(
    lambda drawn: st.lists(drawn[1], min_size=drawn[0] + 2, max_size=drawn[0] + 2)
)
BATCHES = st.one_of(st.sampled_from([1, 3, 4, 5, 8, 127, 128, 129]), st.integers(1, 200))
SEVERAL_TILES = st.one_of(BATCHES, st.sampled_from([256, 257, 600]))


DTYPES = "float64", "float32"
PASSED = {"chunks": [70, 33, 5], "whole": [600, 550, 3]}


def pair(sizes, dtype, **arguments):
    """Return the same net on both backends. No bias is 0, so no relu unit has z = 0."""
    trainers = [Trainer(sizes, dtype=dtype, backend=b, **arguments) for b in ("numpy", "numba")]
    drawn = np.random.default_rng(sum(sizes)).normal(size=trainers[0].parameters.size)
    for trainer in trainers:
        trainer.parameters[:] = drawn
        for w in trainer.weights:
            w /= np.sqrt(len(w))
        if arguments.get("loss") in (
            "poisson",
            "gaussian_nll",
        ):  # their losses use exp of the outputs
            trainer.weights[-1][:] *= 0.1
            trainer.biases[-1][:] *= 0.1
    return trainers


def assert_close(comp, ref, tolerance):
    scale = np.abs(ref).max()
    np.testing.assert_allclose(comp, ref, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize(
    ("activation", "loss", "dtype", "optimizer"),
    in_turns([(*kind, dtype) for kind in KINDS for dtype in DTYPES], OPTIMIZERS),
)
@SETTINGS
@given(sizes=SIZES, batch=BATCHES, draw=st.data())
def test_one_step_and_twenty(activation, loss, optimizer, dtype, sizes, batch, draw):
    outputs = OUTPUTS[loss]
    if dtype == "float32" and optimizer in ("adam", "adamw"):
        # Where tanh saturates, its slope is 0 in the kernels and 1e-8 in the reference. Steps of
        # Adam are as long for a gradient of 1e-8 as for any other.
        outputs = [output for output in outputs if output != "tanh"]
    output = draw.draw(st.sampled_from(outputs))
    labels = draw.draw(st.booleans())
    reduction = draw.draw(st.sampled_from(["mean", "sum"]))
    sizes = suited(sizes, loss)
    rng = np.random.default_rng(batch)
    X, y = data(sizes, batch, loss, labels, rng)
    ref, comp = pair(
        sizes,
        dtype,
        activation=activation,
        output_activation=output,
        loss=loss,
        reduction=reduction,
        optimizer=OPTIMIZERS[optimizer],
        weight_decay=draw.draw(st.sampled_from([0.0, 0.01])),
        learning_rate=1e-4 / (batch if reduction == "sum" else 1),
    )
    one, twenty = (1e-12, 1e-9) if dtype == "float64" else (2e-5, 2e-4)
    for epochs, tolerance in ((1, one), (19, twenty)):
        expected = ref.fit(X, y, epochs).loss
        found = comp.fit(X, y, epochs).loss
        assert_close(found, expected, tolerance)
        assert_close(comp.parameters, ref.parameters, tolerance)
    assert_close(comp.predict(X), ref.predict(X), twenty)
    assert_close(comp.evaluate(X, y), ref.evaluate(X, y), twenty)


@pytest.mark.parametrize(("activation", "loss"), KINDS)
@SETTINGS
@given(sizes=SIZES, batch=SEVERAL_TILES, labels=st.booleans())
def test_gradients(activation, loss, sizes, batch, labels):
    sizes = suited(sizes, loss)
    X, y = data(sizes, batch, loss, labels, np.random.default_rng(batch))
    ref, comp = (
        t.gradients(X, y)
        for t in pair(
            sizes, "float64", activation=activation, loss=loss, output_activation=OUTPUTS[loss][0]
        )
    )
    assert_close(comp.loss, ref.loss, 1e-12)
    for l in range(len(sizes) - 1):
        assert_close(comp.weights[l], ref.weights[l], 1e-12)
        assert_close(comp.biases[l], ref.biases[l], 1e-12)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@settings(SETTINGS, max_examples=30)
@given(
    sizes=SIZES,
    n=st.integers(1, 120),
    batch_size=st.integers(1, 130),
    shuffle=st.booleans(),
    ordered=st.booleans(),
)
@example(sizes=[3, 4, 1], n=9, batch_size=4, shuffle=True, ordered=False)
@example(sizes=[30, 40, 5], n=65, batch_size=64, shuffle=False, ordered=False)
def test_mini_batches(dtype, sizes, n, batch_size, shuffle, ordered):
    rng = np.random.default_rng(n)
    X, y = data(sizes, n, "half_squared_error", False, rng)
    ref, comp = pair(
        sizes, dtype, batch_size=batch_size, shuffle=shuffle, learning_rate=0.01, seed=3
    )
    order = rng.integers(0, n, size=(2, n)) if ordered else None
    tolerance = 1e-11 if dtype == "float64" else 1e-4
    expected = ref.fit(X, y, 2, order=order).loss
    found = comp.fit(X, y, 2, order=order).loss
    assert_close(found, expected, tolerance)
    assert_close(comp.parameters, ref.parameters, tolerance)


@pytest.mark.parametrize(
    ("passed", "shuffle", "dtype", "optimizer"),
    in_turns(itertools.product(PASSED, [True, False], DTYPES), OPTIMIZERS),
)
def test_large_batches(passed, shuffle, optimizer, dtype, rng):
    # Batches of 600, 600 and 100 samples pass in chunks of 256, or whole if the gradient is large.
    sizes = PASSED[passed]
    X, y = data(sizes, 1300, "cross_entropy", shuffle, rng)
    ref, comp = pair(
        sizes, dtype, batch_size=600, shuffle=shuffle, learning_rate=0.001, seed=3,
        loss="cross_entropy", output_activation="softmax", activation="tanh",
        optimizer=OPTIMIZERS[optimizer], weight_decay=0.01,
    )  # fmt: skip
    tolerance = 1e-10 if dtype == "float64" else 2e-4
    assert_close(comp.fit(X, y, 2).loss, ref.fit(X, y, 2).loss, tolerance)
    assert_close(comp.parameters, ref.parameters, tolerance)


def test_softmax_keeps_its_digits_with_huge_logits(backend):
    trainer = Trainer(
        [1, 3],
        output_activation="softmax",
        loss="cross_entropy",
        backend=backend,
        init=([[[2e4, -2e4, 0.0]]], [[0.0, 0.0, 0.0]]),
    )
    np.testing.assert_array_equal(trainer.predict([[1.0]]), [[1, 0, 0]])
    assert trainer.evaluate([[1.0]], [0]) == 0.0
    assert trainer.evaluate([[1.0]], [1]) == 4e4
    np.testing.assert_array_equal(trainer.gradients([[1.0]], [1]).biases[0], [1, -1, 0])


def test_binary_cross_entropy_keeps_its_digits_with_huge_logits(backend):
    trainer = Trainer(
        [1, 1], loss="binary_cross_entropy", backend=backend, init=([[[1e4]]], [[0.0]])
    )
    assert trainer.evaluate([[1.0]], [1]) == 0.0
    assert trainer.evaluate([[1.0]], [0]) == 1e4
    np.testing.assert_array_equal(trainer.gradients([[1.0]], [0]).biases[0], [1.0])
    # log1p keeps exp(-30), which log(1 + exp(-30)) would lose
    np.testing.assert_allclose(trainer.evaluate([[3e-3]], [1]), np.exp(-30.0), rtol=1e-12)


def test_padding_overflows_only_where_a_sample_does():
    # Padding with zeros would pass the bias alone to the second layer, where it overflows float32.
    trainer = Trainer(
        [1, 1, 1, 1],
        activation="relu",
        output_activation="identity",
        dtype="float32",
        init=([[[-1.0]], [[1e10]], [[1e-3]]], [[1e30], [0.0], [0.0]]),
    )
    gradients = trainer.gradients(np.full((3, 1), 1e30), np.ones(3))
    np.testing.assert_array_equal(gradients.weights, np.zeros((3, 1, 1)))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("activation", HIDDEN)
def test_extremes(activation, dtype):
    info = np.finfo(dtype)
    extremes = [0.0, 30.0, 1e4, 1e20, info.max, info.smallest_subnormal, info.tiny / 2, np.inf]
    found = []
    for backend in ("numpy", "numba"):
        trainer = Trainer([1, 1], output_activation=activation, dtype=dtype, backend=backend)
        rows = []
        for z in [*extremes, *np.negative(extremes), np.nan]:
            trainer.parameters[:] = 0.0, z  # z is exactly the bias
            gradients = trainer.gradients([[0.0]], [0.0])
            rows.append([trainer.predict([[0.0]])[0, 0], gradients.loss, gradients.biases[0][0]])
        found.append(np.array(rows))
    ref, comp = found
    rtol = 1e-11 if dtype == "float64" else 1e-4
    np.testing.assert_allclose(comp[:, :2], ref[:, :2], rtol=rtol, atol=0)
    # The kernels compute this slope as 1 - a**2, which is 0 where a rounds to 1.
    saturates = (activation, dtype) == ("tanh", "float32")
    atol = 2e-7 if saturates else 0
    np.testing.assert_allclose(comp[:, 2], ref[:, 2], rtol=rtol, atol=atol)
    assert np.isnan(comp[-1]).all(), "nan must not be swallowed"
    if activation not in ("gelu_tanh", "silu"):  # they compute -inf * 0, as in PyTorch
        assert not np.isnan(comp[:-1, 0]).any()
