"""Dropout: its random stream, its effect on a net, and the same masks on both backends."""

from __future__ import annotations

import numpy as np
import pytest

from jitprop import Adam, DivergenceError, Trainer, reference
from jitprop.backends import compiled, threads
from nets import data, limit_calls


def make(sizes, backend, dropout, **arguments):
    return Trainer(sizes, backend=backend, dropout=dropout, seed=1, **arguments)


def drawn(p, units, samples, t, l=0, key=12345):
    """Return a layer's mask from the reference."""
    sizes = [1, *[units] * (l + 1), 1]
    spec = make(sizes, "numpy", p)._model.spec
    return reference.dropout_masks(spec, key, t, samples, np.dtype(float))[l]


def seen(backend, n, dtype="float64", p=0.5, updates=1):
    """
    Return the mask of one sample's n units in each update, derived from the update's effect.

    With a = 1 for all kept units, W[1] = 0 and the target -1, the output's delta is 1. So W[1]
    changes by the learning rate times the mask.
    """
    arguments = {"activation": "identity", "output_activation": "identity", "dtype": dtype}
    trainer = make([1, n, 1], backend, p, learning_rate=1.0, **arguments)
    masks = []
    for _ in range(updates):
        trainer.set_parameters([np.zeros((1, n)), np.zeros((n, 1))], [np.ones(n), [0.0]])
        trainer.fit([[0.0]], [-1.0], 1)
        masks.append(-trainer.weights[1].ravel())
    return np.array(masks)


# The stream.


def test_splitmix64_gives_the_published_numbers():
    # https://rosettacode.org/wiki/Pseudo-random_numbers/Splitmix64
    published = [
        6457827717110365317, 3203168211198807973, 9817491932198370423,
        4593380528125082431, 16408922859458223821,
    ]  # fmt: skip
    np.testing.assert_array_equal(reference.splitmix64(1234567, np.arange(5)), published)


@pytest.mark.parametrize("n", [40, 3000], ids=["lanes", "blocks"])
def test_both_backends_and_dtypes_draw_the_same_masks(n):
    trainer = make([1, n, 1], "numba", 0.5)
    assert compiled.uses_lanes(trainer._model.spec) == (n == 40)
    key = trainer._model.state.dropout_key
    ref = [drawn(0.5, n, 1, t, key=key)[0] for t in (1, 2, 3)]
    for backend in ("numpy", "numba"):
        for dtype in ("float32", "float64"):
            np.testing.assert_array_equal(seen(backend, n, dtype, updates=3), ref)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_the_share_of_kept_units_and_their_mean(p):
    m, n = 500, 200
    mask = drawn(p, n, m, t=1)
    np.testing.assert_array_equal(np.unique(mask), [0, 1 / (1 - p)])
    # Within five standard deviations of a binomial share: overall, per unit and per sample.
    for axis, size in ((None, m * n), (0, m), (1, n)):
        kept = (mask > 0).mean(axis=axis)
        assert np.abs(kept - (1 - p)).max() < 5 * np.sqrt(p * (1 - p) / size)
        assert np.abs(mask.mean(axis=axis) - 1).max() < 5 * np.sqrt(p / (1 - p) / size)


def test_masks_of_layers_updates_samples_and_keys_are_independent():
    m, n = 200, 100
    first = drawn(0.5, n, m, t=7) - 1
    others = {
        "update": drawn(0.5, n, m, t=8) - 1,
        "layer": drawn(0.5, n, m, t=7, l=1) - 1,
        "layer of the next update": drawn(0.5, n, m, t=6, l=1) - 1,
        "key": drawn(0.5, n, m, t=7, key=12346) - 1,
        "sample": np.roll(first, 1, axis=0),
        "unit": np.roll(first, 1, axis=1),
        "wide": drawn(0.5, 2 * n, m // 2, t=8).reshape(m, n) - 1,
    }
    for (
        name,
        other,
    ) in others.items():  # entries are 1 or -1, so the mean product is the correlation
        assert abs((first * other).mean()) < 5 / np.sqrt(m * n), name


def test_a_sample_keeps_its_mask_in_a_batch_of_another_size():
    np.testing.assert_array_equal(drawn(0.5, 9, 5, t=3), drawn(0.5, 9, 8, t=3)[:5])


# The net.


@pytest.mark.parametrize("dropout", [0.3, "each"])
@pytest.mark.parametrize(
    ("sizes", "n", "batch_size"),
    [
        ([3, 5, 4, 2], 50, 7),
        ([3, 5, 4, 2], 50, None),
        ([30, 40, 33, 3], 150, 70),
        ([70, 33, 20, 3], 1300, None),
        ([70, 33, 20, 3], 1300, 600),
        ([300, 550, 3], 90, 40),
    ],
    ids=["lanes", "one batch in lanes", "blocks", "one batch in chunks", "chunks", "packed"],
)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_backends_agree(sizes, n, batch_size, dropout, dtype, rng):
    X, y = data(sizes, n, "half_squared_error", False, rng)
    p = [0.2, 0.0, 0.6][-len(sizes) + 2 :] if dropout == "each" else dropout
    ref, comp = (
        make(
            sizes, backend, p, dtype=dtype, batch_size=batch_size, activation="gelu",
            optimizer=Adam(epsilon_hat=True), weight_decay=0.01, learning_rate=0.01,
        )
        for backend in ("numpy", "numba")
    )  # fmt: skip
    w = rng.uniform(size=n)
    tolerance = 1e-11 if dtype == "float64" else 1e-4
    for epochs in (1, 3):
        expected = ref.fit(X, y, epochs, sample_weight=w).loss
        np.testing.assert_allclose(
            comp.fit(X, y, epochs, sample_weight=w).loss, expected, rtol=tolerance
        )
        np.testing.assert_allclose(comp.parameters, ref.parameters, rtol=0, atol=tolerance)


def test_gradients_under_a_mask_are_the_central_differences(rng):
    X, y = data([3, 2], 6, "half_squared_error", False, rng)
    trainer = make([3, 7, 5, 2], "numpy", [0.4, 0.3], activation=["tanh", "gelu"])
    spec, p = trainer._model.spec, trainer.parameters
    p[:] = rng.normal(size=p.size)
    masks = reference.dropout_masks(spec, 5, 1, 6, p.dtype)
    assert all(0 < (mask == 0).sum() < mask.size for mask in masks)

    def loss(params):
        return reference.backpropagate(spec, params, X, y, None, masks)[0] / 6

    _, *gradients = reference.backpropagate(spec, p, X, y, None, masks)
    found = np.concatenate([d.ravel() for pair in zip(*gradients, strict=True) for d in pair])
    steps = 1e-6 * np.eye(p.size)
    differences = [(loss(p + step) - loss(p - step)) / 2e-6 for step in steps]
    np.testing.assert_allclose(found, differences, atol=1e-8)


def test_an_update_by_hand(backend):
    # One unit with a = 2, which is kept or dropped. The output is 2 / (1 - p) or 0.
    p, kept = 0.75, []
    trainer = make(
        [1, 1, 1], backend, p,
        activation="identity", output_activation="identity", learning_rate=0.01,
    )  # fmt: skip
    for _ in range(40):
        trainer.set_parameters([[[2.0]], [[1.0]]], [[0.0], [0.0]])
        loss = trainer.fit([[1.0]], [5.0], 1).loss[0]
        assert loss in ((2 / 0.25 - 5) ** 2 / 2, 5**2 / 2)
        kept.append(loss != 5**2 / 2)
        delta, f = (3.0, 4.0) if kept[-1] else (-5.0, 0.0)
        expected = [
            2 - 0.01 * delta * f,
            -0.01 * delta * f,
            1 - 0.01 * delta * 2 * f,
            -0.01 * delta,
        ]
        np.testing.assert_allclose(trainer.parameters, expected, rtol=1e-14, atol=1e-16)
    assert 1 <= sum(kept) <= 25


def test_only_training_drops(backend, rng):
    X, y = data([3, 2], 20, "half_squared_error", False, rng)
    ref, comp = (make([3, 8, 2], backend, p) for p in (0.0, 0.5))
    np.testing.assert_array_equal(comp.predict(X), ref.predict(X))
    assert comp.evaluate(X, y) == ref.evaluate(X, y)
    np.testing.assert_array_equal(comp.gradients(X, y).weights[0], ref.gradients(X, y).weights[0])


def test_the_seed_means_what_it_did(backend, rng):
    # Dropout has its own random stream. So neither the initial parameters nor the shuffles
    # change with it, and nets without dropout train to the same bits as before.
    init, shuffle = np.random.SeedSequence(1).spawn(2)
    trainer = make([3, 8, 2], backend, 0.5)
    limit = np.sqrt(6 / 11)
    expected = np.random.default_rng(init).uniform(-limit, limit, size=(3, 8))
    np.testing.assert_allclose(trainer.weights[0], expected)
    expected = np.random.default_rng(shuffle).bit_generator.state
    assert trainer._model.state.rng.bit_generator.state == expected
    assert trainer._model.state.dropout_key != Trainer([3, 8, 2], seed=2)._model.state.dropout_key
    assert 0 <= trainer._model.state.dropout_key < 2**63  # so that kernels and files can hold it


# The same bits.


@pytest.mark.parametrize("batch_size", [None, 700])
@pytest.mark.parametrize("sizes", [[70, 130, 5], [3, 1030, 5]], ids=["chunks", "whole"])
def test_bits_do_not_depend_on_threads(sizes, batch_size, rng, monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 3)
    X, y = data(sizes, 1300, "half_squared_error", False, rng)
    found = []
    for n_threads in (1, 2, 3):
        trainer = make(sizes, "numba", 0.5, batch_size=batch_size, n_threads=n_threads)
        loss = trainer.fit(X, y, 3).loss
        found.append(np.concatenate([loss, trainer.parameters]))
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


def test_the_mask_of_a_sample_does_not_depend_on_how_a_batch_is_cut(rng):
    # The backend passes 600 samples in chunks, 64 at a time; the reference takes them as one.
    X, y = data([70, 5], 600, "half_squared_error", False, rng)
    ref, comp = (make([70, 33, 5], backend, 0.5) for backend in ("numpy", "numba"))
    key, spec = comp._model.state.dropout_key, comp._model.spec
    masks = reference.dropout_masks(spec, key, 1, 600, np.dtype(float))
    loss, *_ = reference.backpropagate(spec, comp.parameters.copy(), X, y, None, masks)
    np.testing.assert_allclose(comp.fit(X, y, 1).loss, loss / 600, rtol=1e-13)
    np.testing.assert_allclose(ref.fit(X, y, 1).loss, loss / 600, rtol=1e-13)


@pytest.mark.parametrize("sizes", [[3, 6, 2], [30, 40, 2]], ids=["lanes", "blocks"])
@pytest.mark.parametrize("first_call", [1, 3000])
def test_going_on_and_short_calls_give_the_same_bits(sizes, first_call, backend, rng, monkeypatch):
    X, y = data(sizes, 10, "half_squared_error", False, rng)
    ref, comp = (make(sizes, backend, 0.5, batch_size=4) for _ in range(2))
    expected = ref.fit(X, y, 5).loss
    limit_calls(monkeypatch, first_call)
    found = np.concatenate([comp.fit(X, y, 3).loss, comp.fit(X, y, 2).loss])
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(comp.parameters, ref.parameters)


def test_divergence_goes_back_to_the_same_masks(backend, rng):
    X, y = data([3, 2], 10, "half_squared_error", False, rng)
    arguments = {"output_activation": "identity", "activation": "identity", "learning_rate": 3.0}
    ref, comp = (make([3, 6, 2], backend, 0.5, **arguments) for _ in range(2))
    with pytest.raises(DivergenceError) as caught:
        comp.fit(X, y, 1000)
    kept = caught.value.kept_epochs
    assert kept > 1
    ref.fit(X, y, kept)
    np.testing.assert_array_equal(comp.parameters, ref.parameters)


def test_padding_of_lanes_drops_what_the_last_sample_drops():
    # If two huge units are both kept, float32 overflows.
    trainer = make(
        [1, 2, 1, 1], "numba", [0.5, 0.0], activation="relu", output_activation="identity",
        dtype="float32", learning_rate=1e-30,
    )  # fmt: skip
    n = 5  # of eight lanes, so three are padding
    spec, key, found = trainer._model.spec, trainer._model.state.dropout_key, 0
    for t in range(1, 400):
        mask = reference.dropout_masks(spec, key, t, 8, np.dtype(np.float32))[0]
        whole = (mask > 0).all(axis=1)
        trainer._model.state.updates = t - 1
        if whole[:n].any() or not whole[n:].any():
            continue
        found += 1
        trainer.set_parameters(
            [[[0.0, 0.0]], [[1.0], [1.0]], [[0.0]]], [[1e38, 1e38], [0.0], [0.0]]
        )
        trainer.fit(np.zeros((n, 1)), np.zeros((n, 1)), 1)
        assert np.isfinite(trainer.parameters).all()
    assert found > 0
