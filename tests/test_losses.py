"""The values, gradients and extremes of the losses, by hand and by other libraries' formulas."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.stats

from jitprop import BinaryCrossEntropy, CrossEntropy, GaussianNLL, Huber, Poisson, Quantile, Trainer

WIDE = 70
"""A number of inputs with which a net takes the blocks route."""


def outputs(z, loss, output, backend, dtype=None, wide=False):
    """Return a net whose z are these numbers for any input, and an input."""
    z = np.atleast_1d(np.asarray(z, float))
    n_inputs = WIDE if wide else 1
    return Trainer(
        [n_inputs, len(z)],
        loss=loss,
        output_activation=output,
        backend=backend,
        dtype=dtype,
        init=([np.zeros((n_inputs, len(z)))], [z]),
    ), np.zeros((1, n_inputs))


def loss_and_delta(z, y, loss, output, backend, **more):
    trainer, X = outputs(z, loss, output, backend, **more)
    gradients = trainer.gradients(X, np.atleast_2d(y))
    assert trainer.evaluate(X, np.atleast_2d(y)) == gradients.loss
    return gradients.loss, gradients.biases[0]


BY_HAND = [
    ("absolute_error", "identity", [3.0, -2.0, 1.0], [1.0, 1.0, 1.0], 5.0, [1, -1, 0]),
    # errors of 0.5 and 3, delta 1: 0.125 + 1 (3 - 0.5)
    ("huber", "identity", [0.5, -3.0], [0.0, 0.0], 2.625, [0.5, -1.0]),
    # delta 2: 0.5 + 2 (5 - 1)
    (Huber(2.0), "identity", [1.0, 5.0], [0.0, 0.0], 8.5, [1.0, 2.0]),
    ("quantile", "identity", [3.0, -1.0, 2.0], [1.0, 0.0, 2.0], 1.5, [0.5, -0.5, 0.0]),
    # a prediction too high by 1 costs 0.1, too low by 1 costs 0.9
    (Quantile(0.9), "identity", [1.0, -1.0], [0.0, 0.0], 1.0, [0.1, -0.9]),
    # rate 2, count 3: 2 - 3 log 2, and 2 - 3
    ("poisson", "exp", np.log(2.0), 3.0, 2 - 3 * np.log(2.0), [-1.0]),
    ("poisson", "identity", np.log(2.0), 3.0, 2 - 3 * np.log(2.0), [-1.0]),
    # mean 1, variance 4, y 3: (log 4 + 2**2 / 4) / 2; (1 - 3) / 4; (1 - 1) / 2
    ("gaussian_nll", "identity", [1.0, np.log(4.0)], 3.0, np.log(2.0) + 0.5, [-0.5, 0.0]),
    # y = 1 becomes 0.9: -0.9 log 0.5 - 0.1 log 0.5; 0.5 - 0.9
    (BinaryCrossEntropy(0.2), "sigmoid", 0.0, 1.0, np.log(2.0), [-0.4]),
    # four classes, smoothing 0.2: y is 0.85 for the true class, 0.05 for the others
    (CrossEntropy(0.2), "softmax", [0.0] * 4, [0, 1, 0, 0], np.log(4.0), [0.2, -0.6, 0.2, 0.2]),
]


@pytest.mark.parametrize("wide", [False, True], ids=["lanes", "blocks"])
@pytest.mark.parametrize("case", BY_HAND, ids=lambda case: str(case[0]))
def test_by_hand(case, wide, backend):
    loss, output, z, y, value, delta = case
    found, found_delta = loss_and_delta(z, y, loss, output, backend, wide=wide)
    np.testing.assert_allclose(found, value, rtol=1e-14)
    np.testing.assert_allclose(found_delta, delta, rtol=1e-14, atol=1e-16)


def test_the_slope_of_the_output_is_in_the_delta(backend):
    # sigmoid(0) = 1/2, slope 1/4
    assert loss_and_delta(0.0, 0.0, "absolute_error", "sigmoid", backend) == (0.5, [0.25])
    assert loss_and_delta(0.0, 1.0, Quantile(0.8), "sigmoid", backend) == (0.4, [-0.2])


def test_likelihoods_are_those_of_scipy(rng, backend):
    z, y = rng.normal(size=4), rng.normal(size=2)
    found, _ = loss_and_delta(z, y, GaussianNLL(), "identity", backend)
    constant = np.log(2 * np.pi) / 2
    ref = -scipy.stats.norm.logpdf(y, z[:2], np.exp(z[2:] / 2)).sum() - 2 * constant
    np.testing.assert_allclose(found, ref, rtol=1e-13)

    y = np.array([0.0, 1.0, 3.0, 7.0])
    found, _ = loss_and_delta(z, y, Poisson(), "exp", backend)
    ref = -scipy.stats.poisson.logpmf(y, np.exp(z)) - scipy.special.gammaln(y + 1)
    np.testing.assert_allclose(found, ref.sum(), rtol=1e-13)


def test_what_a_poisson_net_predicts(backend):
    for output, expected in (("exp", 2.0), ("identity", np.log(2.0))):
        trainer, X = outputs(np.log(2.0), "poisson", output, backend)
        np.testing.assert_allclose(trainer.predict(X), [[expected]], rtol=1e-15)


@pytest.mark.parametrize("labels", [False, True])
def test_smoothing_is_the_loss_of_smoother_targets(labels, rng, backend):
    X, classes = rng.normal(size=(9, 2)), rng.integers(0, 3, 9)
    rows = np.eye(3)[classes]
    arguments = {"output_activation": "softmax", "seed": 1, "backend": backend, "batch_size": 4}
    smooth, plain = (
        Trainer([2, 4, 3], loss=loss, **arguments) for loss in (CrossEntropy(0.3), CrossEntropy())
    )
    found = smooth.fit(X, classes if labels else rows, 3).loss
    np.testing.assert_allclose(found, plain.fit(X, 0.7 * rows + 0.1, 3).loss, rtol=1e-13)
    np.testing.assert_allclose(smooth.parameters, plain.parameters, rtol=1e-13)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("wide", [False, True], ids=["lanes", "blocks"])
def test_large_errors_do_not_overflow(wide, dtype, backend):
    # The square of 1e30 overflows float32.
    for loss, value, delta in (
        ("absolute_error", 1e30, 1),
        ("huber", 1e30, 1),
        ("quantile", 5e29, 0.5),
    ):
        found = loss_and_delta(1e30, 0.0, loss, "identity", backend, dtype=dtype, wide=wide)
        np.testing.assert_allclose(found[0], value, rtol=1e-6)
        assert found[1] == [delta]
    # A rate of 0, and one of e**80, near the end of float32.
    found = loss_and_delta(-1e4, 2.0, "poisson", "exp", backend, dtype=dtype, wide=wide)
    assert found == (2e4, [-2.0])
    found = loss_and_delta(80.0, 0.0, "poisson", "exp", backend, dtype=dtype, wide=wide)
    np.testing.assert_allclose(found[0], np.exp(80.0), rtol=1e-5)
    # An error of 1e3 is negligible for a variance of e**100, one of 1 dominates for e**-40.
    found = loss_and_delta([1e3, 100.0], 0.0, "gaussian_nll", "identity", backend, dtype=dtype)
    np.testing.assert_allclose(found[0], 50.0, rtol=1e-6)
    found = loss_and_delta([1.0, -40.0], 0.0, "gaussian_nll", "identity", backend, dtype=dtype)
    np.testing.assert_allclose(found[0], (np.exp(40.0) - 40) / 2, rtol=1e-5)


def test_what_a_loss_learns(rng, backend):
    # Only the bias learns: the targets' median, a quantile, the rate, or their mean and variance.
    y = rng.exponential(2.0, size=501)
    X = np.zeros((501, 1))
    cases = (
        ("absolute_error", "identity", 1, [np.median(y)]),
        (Quantile(0.9), "identity", 1, [np.quantile(y, 0.9)]),
        ("poisson", "exp", 1, [y.mean()]),
        ("gaussian_nll", "identity", 2, [y.mean(), np.log(y.var())]),
    )
    for loss, output, n, expected in cases:
        trainer = Trainer([1, n], loss=loss, output_activation=output, seed=0, backend=backend)
        for rate in (0.3, 0.03, 0.003):
            trainer.learning_rate = rate
            trainer.fit(X, y, 400)
        np.testing.assert_allclose(trainer.predict(X)[0], expected, atol=0.02)


CLASS_WEIGHTS = [
    # (loss, output, targets, weight of each sample)
    (CrossEntropy(class_weight=[1, 2, 0.5]), "softmax", [0, 1, 2, 1], [1, 2, 0.5, 2]),
    (
        CrossEntropy(0.1, {2: 0.5, 0: 1, 1: 2}),
        "softmax",
        [[1, 0, 0], [0, 1, 0], [0.5, 0.25, 0.25], [0, 0, 1]],
        [1, 2, 1.125, 0.5],
    ),
    (BinaryCrossEntropy(class_weight=(1, 3)), "sigmoid", [0, 1, 0.5, 1], [1, 3, 2, 3]),
]


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("case", CLASS_WEIGHTS, ids=lambda case: str(case[0]))
def test_class_weights_are_weights_of_samples(case, reduction, backend, rng):
    weighted, output, y, weights = case
    plain = replace(weighted, class_weight=None)
    X, own = rng.normal(size=(4, 2)), rng.uniform(0.5, 2, size=4)
    sizes = [2, 4, 1 if output == "sigmoid" else 3]
    comp, ref = (
        Trainer(
            sizes, loss=loss, output_activation=output, reduction=reduction, seed=1,
            backend=backend, batch_size=3,
        )
        for loss in (weighted, plain)
    )  # fmt: skip
    assert comp.evaluate(X, y) == pytest.approx(ref.evaluate(X, y, sample_weight=weights))
    found, expected = comp.gradients(X, y), ref.gradients(X, y, sample_weight=weights)
    for l in range(2):
        np.testing.assert_allclose(found.weights[l], expected.weights[l], rtol=1e-13)
    both = own * weights
    found = comp.fit(X, y, 3, sample_weight=own, validation_data=(X, y))
    expected = ref.fit(X, y, 3, sample_weight=both, validation_data=(X, y, weights))
    np.testing.assert_allclose(found.loss, expected.loss, rtol=1e-13)
    np.testing.assert_allclose(found.validation_loss, expected.validation_loss, rtol=1e-13)
    np.testing.assert_allclose(comp.parameters, ref.parameters, rtol=1e-13)


def test_bad_class_weights():
    for loss in (CrossEntropy, BinaryCrossEntropy):
        for value, error, words in (
            ("balanced", TypeError, r"class_weight must be .* 'balanced' \(str\): len\(y\) / "),
            (2.0, TypeError, "class_weight must be a list of floats or a dict"),
            ([1, -1], ValueError, r"class_weight\[1\] must be a finite number at least 0"),
            ([1, np.nan], ValueError, r"class_weight\[1\] must be a finite number"),
            ([1, "2"], TypeError, r"class_weight\[1\] must be a finite number"),
            ([0, 0], ValueError, "class_weight must have some weight above 0"),
            ([], ValueError, "class_weight must have some weight above 0"),
            ({1: 1.0, 2: 1.0}, ValueError, "class_weight must have a weight for each class"),
            ({"a": 1.0, "b": 1.0}, ValueError, "class_weight must have a weight for each class"),
        ):
            with pytest.raises(error, match=words):
                loss(class_weight=value)
    binary = BinaryCrossEntropy(class_weight=[1, 2])
    with pytest.raises(ValueError, match="for one output; layer_sizes ends in 2"):
        Trainer([1, 2], loss=binary)
    with pytest.raises(ValueError, match="class_weight must have 2 weights"):
        Trainer([1, 1], loss=BinaryCrossEntropy(class_weight=[1, 2, 3]))
    with pytest.raises(ValueError, match="class_weight must have 3 weights"):
        Trainer([1, 3], loss=CrossEntropy(class_weight=[1, 2]), output_activation="softmax")


def test_samples_that_all_count_nothing_are_refused(backend):
    trainer = Trainer([1, 1], loss=BinaryCrossEntropy(class_weight=[0, 1]), backend=backend)
    with pytest.raises(ValueError, match="y must have a sample whose sample_weight and"):
        trainer.fit([[1.0], [2.0]], [0, 0], 1)
    assert trainer.evaluate([[1.0], [2.0]], [0, 1]) == trainer.evaluate([[2.0]], [1])
