"""Features of the backends for `jitprop.sklearn` only: the penalty and scikit-learn's loss."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from jitprop import Trainer
from jitprop.net.spec import SklearnRules
from nets import OPTIMIZERS

PENALTY = 0.7
SIZES = {"lanes": [3, 4, 2], "blocks": [40, 50, 2], "chunks": [40, 50, 2]}
SAMPLES = {"lanes": 11, "blocks": 50, "chunks": 1100}
OUTPUTS = {
    "half_squared_error": "identity",
    "binary_cross_entropy": "sigmoid",
    "cross_entropy": "softmax",
}


def data(route, loss, *, weighted):
    rng = np.random.default_rng(1)
    n = SAMPLES[route]
    X, labels = rng.normal(size=(n, SIZES[route][0])), rng.integers(0, 2, n)
    y = rng.normal(size=(n, 2)) if loss == "half_squared_error" else np.eye(2)[labels]
    return X, y, rng.uniform(0.1, 2, n) if weighted else None


def trainer(route, loss, backend="numpy", **more):
    made = Trainer(
        SIZES[route],
        output_activation=OUTPUTS[loss],
        loss=loss,
        batch_size=600 if route == "chunks" else 4,
        learning_rate=0.01,
        shuffle=False,
        seed=1,
        backend=backend,
        **more,
    )
    rules = SklearnRules(
        l2=PENALTY,
        reported_l2=PENALTY / 2,
        batches_by_size=True,
        clipped_above=np.inf if loss == "half_squared_error" else 0.0,
    )
    made._model.spec = replace(made._model.spec, sklearn=rules)
    return made


@pytest.mark.parametrize("loss", OUTPUTS)
@pytest.mark.parametrize("weighted", [False, True])
def test_the_reference_by_the_definition(weighted, loss):
    X, y, weights = data("lanes", loss, weighted=weighted)
    ref = trainer("lanes", loss)
    plain = Trainer(
        SIZES["lanes"], output_activation=OUTPUTS[loss], loss=loss, seed=1, backend="numpy"
    )
    reported = 0.0
    for first in (0, 4, 8):
        rows = slice(first, first + 4)
        w = None if weights is None else weights[rows]
        m = len(X[rows])
        size = m if w is None else w.sum()
        d = plain.gradients(X[rows], y[rows], sample_weight=w)
        squares = sum(np.sum(W**2) for W in plain.weights)
        reported += m * (d.loss + PENALTY / 2 * squares / size)
        for W, dW in zip(plain.weights, d.weights, strict=True):
            W -= 0.01 * (dW + PENALTY / size * W)
        for b, db in zip(plain.biases, d.biases, strict=True):
            b -= 0.01 * db
    history = ref.fit(X, y, 1, sample_weight=weights)
    np.testing.assert_allclose(ref.parameters, plain.parameters, rtol=1e-12)
    np.testing.assert_allclose(history.loss, reported / len(X), rtol=1e-12)


@pytest.mark.parametrize("optimizer", ["sgd", "nesterov", "adam"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", OUTPUTS)
@pytest.mark.parametrize("route", SIZES)
def test_kernels_agree_with_the_reference(route, loss, weighted, optimizer):
    X, y, weights = data(route, loss, weighted=weighted)
    ref, comp = (
        trainer(route, loss, backend, optimizer=OPTIMIZERS[optimizer])
        for backend in ("numpy", "numba")
    )
    histories = [made.fit(X, y, 3, sample_weight=weights) for made in (ref, comp)]
    np.testing.assert_allclose(comp.parameters, ref.parameters, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(*(history.loss for history in histories), rtol=1e-12)


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "cross_entropy"])
@pytest.mark.parametrize("route", ["lanes", "blocks"])
def test_probabilities_are_clipped_in_the_loss(route, loss):
    X, y, _ = data(route, loss, weighted=False)
    for backend in ("numpy", "numba"):
        made = trainer(route, loss, backend)
        rules = replace(made._model.spec.sklearn, reported_l2=0.0)
        made._model.spec = replace(made._model.spec, sklearn=rules, batch_size=None)
        made.weights[-1][:] *= 1e4
        epsilon = np.finfo(float).eps
        p = made.predict(X)
        assert p.min() < epsilon
        p = np.clip(p, epsilon, 1 - epsilon)
        each = y * np.log(p)
        if loss == "binary_cross_entropy":
            each += (1 - y) * np.log(1 - p)
        expected = -each.sum(axis=1).mean()
        np.testing.assert_allclose(made.fit(X, y, 1).loss[0], expected, rtol=1e-9)
