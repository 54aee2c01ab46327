"""Sample weights: integer weights equal repeated rows, on every route and in both backends."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from jitprop import Adam, CrossEntropy, CustomActivation, CustomLoss, Fleet, Trainer
from jitprop.backends import compiled, threads
from nets import OUTPUTS, data, suited

# There are more samples than evaluate takes at once (256).
ROUTES = {"lanes": [3, 5, 4, 2], "blocks": [30, 40, 3]}
N = 301


def make(sizes, backend, loss="half_squared_error", **arguments):
    output = OUTPUTS[loss][0]
    return Trainer(sizes, backend=backend, loss=loss, output_activation=output, seed=1, **arguments)


def close(comp, ref, tolerance=1e-12):
    np.testing.assert_allclose(comp, ref, rtol=tolerance, atol=tolerance * np.abs(ref).max())


def flat(gradients):
    return np.concatenate([part.ravel() for part in (*gradients.weights, *gradients.biases)])


@pytest.fixture
def repeats(rng):
    return rng.integers(0, 4, size=N)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("loss", OUTPUTS)
@pytest.mark.parametrize("route", ROUTES)
def test_integer_weights_are_repeated_rows(route, loss, reduction, backend, repeats, rng):
    sizes = suited(ROUTES[route], loss)
    X, y = data(sizes, N, loss, False, rng)
    trainer = make(sizes, backend, loss, reduction=reduction)
    rows = np.repeat(np.arange(N), repeats)
    ref, comp = (
        trainer.gradients(X[rows], y[rows]),
        trainer.gradients(X, y, sample_weight=repeats),
    )
    close(comp.loss, ref.loss)
    close(flat(comp), flat(ref))
    close(trainer.evaluate(X, y, sample_weight=repeats), trainer.evaluate(X[rows], y[rows]))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("sizes", [[3, 5, 4, 2], [30, 40, 3], [300, 550, 3]], ids=str)
@pytest.mark.parametrize("n", [N, 600])  # smaller nets pass 600 samples in chunks
def test_training_with_integer_weights_is_that_with_repeated_rows(
    n, sizes, reduction, backend, rng
):
    X, y = data(sizes, n, "half_squared_error", False, rng)
    repeats = rng.integers(0, 3, size=n)
    rows = np.repeat(np.arange(n), repeats)
    rate = 0.1 if reduction == "mean" else 0.1 / n
    ref, comp = (make(sizes, backend, reduction=reduction, learning_rate=rate) for _ in range(2))
    expected = ref.fit(X[rows], y[rows], 3).loss
    close(comp.fit(X, y, 3, sample_weight=repeats).loss, expected)
    close(comp.parameters, ref.parameters)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize(
    ("sizes", "n", "batch_size"),
    [([3, 5, 2], 50, 7), ([30, 40, 3], 150, 70), ([70, 33, 3], 1300, 600), ([600, 550, 3], 90, 40)],
    ids=["lanes", "blocks", "chunks", "packed"],
)
def test_both_backends_weigh_alike(sizes, n, batch_size, shuffle, reduction, rng):
    X, y = data(sizes, n, "cross_entropy", shuffle, rng)
    ref, comp = (
        make(
            sizes, backend, "cross_entropy", batch_size=batch_size, shuffle=shuffle,
            reduction=reduction, optimizer=Adam(), learning_rate=1e-3,
        )
        for backend in ("numpy", "numba")
    )  # fmt: skip
    w = rng.uniform(size=n)
    w[: batch_size + 3] = 0  # unshuffled, one batch has only weights of 0
    expected = ref.fit(X, y, 2, sample_weight=w).loss
    close(comp.fit(X, y, 2, sample_weight=w).loss, expected, 1e-11)
    close(comp.parameters, ref.parameters, 1e-10)


def test_the_loss_of_an_epoch_and_an_update_by_hand(backend):
    # a = p x + b, E = 1/2 (a - y)**2; batches {0, 1} and {2}.
    trainer = Trainer(
        [1, 1], output_activation="identity", learning_rate=0.1, batch_size=2, shuffle=False,
        init=([[[1.0]]], [[0.0]]), backend=backend,
    )  # fmt: skip
    loss = trainer.fit([[1], [2], [3]], [0, 0, 0], 1, sample_weight=[1, 3, 4]).loss
    p = 1 - 0.1 * (1 * 1 * 1 + 3 * 2 * 2) / 4
    b = 0 - 0.1 * (1 * 1 + 3 * 2) / 4
    last = 3 * p + b
    close(loss, [(1 * 0.5 + 3 * 2 + 4 * last**2 / 2) / 8])
    close(trainer.parameters, [p - 0.1 * last * 3, b - 0.1 * last])


@pytest.mark.parametrize("route", ROUTES)
def test_a_batch_without_weight_changes_nothing(route, backend, rng):
    X, y = data(ROUTES[route], 20, "half_squared_error", False, rng)
    ref, comp = (make(ROUTES[route], backend, batch_size=10, shuffle=False) for _ in range(2))
    expected = ref.fit(X[10:], y[10:], 1).loss
    close(comp.fit(X, y, 1, sample_weight=np.arange(20) // 10).loss, expected)
    close(comp.parameters, ref.parameters)


@pytest.mark.parametrize("route", ROUTES)
def test_gradients_are_the_derivatives_of_evaluate(route, backend, rng):
    X, y = data(ROUTES[route], 9, "squared_error", False, rng)
    trainer, w = make(ROUTES[route], backend, "squared_error"), rng.uniform(size=9)
    gradient = trainer.gradients(X, y, sample_weight=w)
    p = trainer.weights[1]
    losses = []
    for step in (1e-5, -2e-5):
        p[2, 1] += step
        losses.append(trainer.evaluate(X, y, sample_weight=w))
    np.testing.assert_allclose(gradient.weights[1][2, 1], -np.diff(losses)[0] / 2e-5, rtol=1e-6)


def test_only_the_ratio_of_weights_counts_in_a_mean(backend, rng):
    X, y = data([3, 2], 5, "half_squared_error", False, rng)
    trainer, w = make([3, 2], backend, dtype="float32"), rng.uniform(1, 2, size=5)
    ref = trainer.gradients(X, y, sample_weight=w)
    for factor in (1e-40, 1e30):  # with the first, 1 / sum overflows float32, and 1e-5 is lost
        comp = trainer.gradients(X, y, sample_weight=factor * w)
        close(comp.loss, ref.loss, 1e-4)
        close(flat(comp), flat(ref), 1e-4)


@pytest.mark.parametrize("batch_size", [None, 700])
@pytest.mark.parametrize("sizes", [[70, 130, 5], [3, 1030, 5]], ids=["chunks", "whole"])
def test_bits_do_not_depend_on_threads_or_on_going_on(sizes, batch_size, rng, monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 3)
    X, y = data(sizes, 1300, "half_squared_error", False, rng)
    w = rng.uniform(size=1300)
    found = []
    for n_threads, calls in ((1, [3]), (2, [3]), (3, [2, 1])):
        trainer = make(sizes, "numba", batch_size=batch_size, n_threads=n_threads)
        losses = [trainer.fit(X, y, epochs, sample_weight=w).loss for epochs in calls]
        found.append(np.concatenate([*losses, trainer.parameters]))
    for one, other in pairwise(found):
        np.testing.assert_array_equal(other, one)


def test_the_trainers_own_memory_may_be_weights(backend):
    # Training changes these weights; the fit uses those of its start.
    ref, comp = (Trainer([1, 3], seed=0, backend=backend) for _ in range(2))
    for trainer in (ref, comp):
        trainer.parameters[:] = 1.0
    X, y = np.ones((6, 1)), np.zeros((6, 3))
    ref.fit(X, y, 5, sample_weight=np.ones(6))
    comp.fit(X, y, 5, sample_weight=comp.parameters)
    np.testing.assert_array_equal(comp.parameters, ref.parameters)


def test_routes_are_what_they_are_called():
    for route, sizes in ROUTES.items():
        assert compiled.uses_lanes(make(sizes, "numpy")._model.spec) == (route == "lanes")


HUGE = {"float32": 1e30, "float64": 1e300}


@pytest.mark.parametrize("dtype", HUGE)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(("batch_size", "shuffle"), [(None, False), (7, False), (7, True)])
@pytest.mark.parametrize("sizes", [[3, 4, 2], [30, 40, 2], [20, 30, 2]], ids=str)
def test_what_overflows_in_a_sample_of_weight_0_has_no_part(
    sizes, batch_size, shuffle, reduction, dtype, backend, rng
):
    n = 600 if sizes[0] == 20 and batch_size is None else 20  # 600 samples pass in chunks
    X, y = rng.normal(size=(n, sizes[0])), rng.normal(size=(n, 2))
    weights = np.ones(n)
    weights[[3, n - 1]] = 0.0
    spoiled_X, spoiled_y = X.copy(), y.copy()
    spoiled_X[[3, n - 1]], spoiled_y[[3, n - 1]] = HUGE[dtype], -HUGE[dtype]
    settings = {
        "activation": "relu", "output_activation": "identity", "batch_size": batch_size,
        "shuffle": shuffle, "dtype": dtype, "backend": backend, "reduction": reduction,
        "learning_rate": 0.01 / n,
    }  # fmt: skip
    found = []
    for given in ((X, y), (spoiled_X, spoiled_y)):
        net = Trainer(sizes, seed=1, **settings)
        fleet = Fleet(sizes, members=3, seed=[1, 2, 3], **settings)
        numbers = [
            net.fit(*given, 3, sample_weight=weights).loss,
            fleet.fit(*given, 3, sample_weight=weights).loss,
            net.evaluate(*given, sample_weight=weights),
            fleet.evaluate(*given, sample_weight=weights),
            flat(net.gradients(*given, sample_weight=weights)),
            net.parameters,
            fleet.parameters,
        ]
        found.append(numbers)
    for ref, comp in zip(*found, strict=True):
        assert np.isfinite(comp).all()
        np.testing.assert_array_equal(comp, ref)


def test_all_weights_0_on_one_side_of_a_split_are_refused(backend):
    X, y = np.eye(10)[:, :3], np.ones(10)
    only = np.zeros(10)
    only[0] = 1.0
    for weights in (only, np.ones(10)):
        net = Trainer([3, 2, 1], backend=backend, seed=0)
        before = net.parameters.copy()
        if weights is only:
            with pytest.raises(ValueError, match="validation_fraction must leave samples with a"):
                net.fit(X, y, 1, sample_weight=weights, validation_fraction=0.3)
            np.testing.assert_array_equal(net.parameters, before)
            assert net.epochs_trained == 0
        else:
            net.fit(X, y, 1, sample_weight=weights, validation_fraction=0.3)


def test_class_weights_of_0_on_one_side_of_a_split_are_refused(backend):
    X, y = np.eye(10)[:, :3], np.zeros(10, int)
    y[0] = 1
    net = Trainer(
        [3, 2, 2], output_activation="softmax", loss=CrossEntropy(class_weight=[0.0, 1.0]),
        backend=backend, seed=0,
    )  # fmt: skip
    with pytest.raises(
        ValueError, match=r"all samples .* have the weight 0, from sample_weight or"
    ):
        net.fit(X, y, 1, validation_fraction=0.3)


@pytest.mark.parametrize("weight", [5e-324, 1e-310])
def test_a_sum_of_weights_without_an_inverse_is_refused(weight, backend):
    net = Trainer([3, 2, 1], backend=backend, seed=0)
    fleet = Fleet([3, 2, 1], members=2, seed=[0, 1], backend=backend)
    weights = np.full(4, weight)
    for given, who in ((weights, net), (weights, fleet), (np.stack([weights, weights]), fleet)):
        with pytest.raises(ValueError, match="sample_weight must have a finite sum above 0, from"):
            who.fit(np.ones((4, 3)), np.ones(4), 1, sample_weight=given)


@pytest.mark.parametrize("sizes", [[3, 4, 1], [30, 40, 1]], ids=str)
def test_a_batch_whose_weights_have_no_inverse_counts_as_one_of_weights_0(sizes, backend, rng):
    X, y = rng.normal(size=(8, sizes[0])), rng.random((8, 1))
    found = []
    for small in (0.0, 1e-310):
        weights = np.array([1.0, 1.0, 1.0, 1.0, small, small, small, small])
        net = Trainer(sizes, batch_size=4, shuffle=False, backend=backend, seed=0)
        fleet = Fleet(sizes, members=2, batch_size=4, shuffle=False, backend=backend, seed=[0, 1])
        net.fit(X, y, 3, sample_weight=weights)
        fleet.fit(X, y, 3, sample_weight=weights)
        found.append(np.concatenate([net.parameters, fleet.parameters.ravel()]))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-12)


def relative(a, y):
    return abs(a - y) / y  # undefined for y = 0


def relative_slope(a, y):
    return math.copysign(1, a - y) / y


def log_of_size(z):
    return math.log(abs(z))  # undefined for z = 0


NOT_AT_0 = {
    "loss": {"loss": CustomLoss(relative, relative_slope)},
    "activation": {"activation": CustomActivation(log_of_size, lambda z: 1 / z)},
    "label": {"loss": "cross_entropy", "output_activation": "softmax"},
}


@pytest.mark.parametrize("kind", NOT_AT_0)
@pytest.mark.parametrize("sizes", [[3, 4, 2], [30, 60, 2]], ids=str)
@pytest.mark.parametrize("batch_size", [None, 3])
def test_a_sample_of_weight_0_is_not_taken_for_one_of_zeros(sizes, batch_size, kind, backend, rng):
    # One of the batches of 3 has only weights of 0.
    X, y = rng.normal(size=(12, sizes[0])), rng.uniform(1, 2, size=(12, 2))
    if kind == "label":
        y = rng.integers(0, 2, size=12)
    weights = np.ones(12)
    weights[[1, 3, 4, 5, 10]] = 0.0
    settings = {
        "batch_size": batch_size, "shuffle": False, "backend": backend, "learning_rate": 0.01,
        "output_activation": "identity",
    } | NOT_AT_0[kind]  # fmt: skip
    found = []
    for factor in (1.0, 3.0):
        given = X.copy()
        given[weights == 0] *= factor
        net, fleet = Trainer(sizes, seed=1, **settings), Fleet(sizes, members=2, seed=1, **settings)
        found.append(
            [
                net.fit(given, y, 2, sample_weight=weights).loss,
                net.parameters,
                fleet.fit(given, y, 2, sample_weight=np.stack([weights, weights])).loss,
                fleet.parameters,
                net.evaluate(given, y, sample_weight=weights),
            ]
        )
    for ref, comp in zip(*found, strict=True):
        assert np.isfinite(ref).all()
        np.testing.assert_array_equal(comp, ref)
