"""Both backends compute the three teaching notebooks to all printed digits."""

from __future__ import annotations

import numpy as np
import pytest

from jitprop import Trainer


def agrees(comp, printed, digits):
    """Check that a value agrees with the notebook's in the printed digits."""
    np.testing.assert_array_equal(np.round(comp, digits), printed)


def test_notebook_1(backend):
    X, t = [[0.5, 0.3]], [[0.7]]
    w1, w2 = np.array([[0.2, 0.4], [0.1, 0.3]]), np.array([[0.5], [0.6]])
    b1, b2 = np.array([0.1, 0.2]), np.array([0.1])
    trainer = Trainer([2, 2, 1], loss="squared_error", init=([w1, w2], [b1, b2]), backend=backend)

    hidden = Trainer([2, 2], init=([w1], [b1]), backend=backend).predict(X)
    agrees(hidden, [[0.55724785, 0.62010643]], 8)
    output = trainer.predict(X)
    agrees(output, [[0.67932855]], 8)
    agrees(trainer.evaluate(X, t), 0.00042731, 8)

    loss, d_w, d_b = trainer.gradients(X, t)
    agrees(loss, 0.00042731, 8)
    agrees(d_w[1], [[-0.00501868], [-0.0055848]], 8)
    agrees(d_w[0], [[-0.00055551, -0.00063649], [-0.0003333, -0.00038189]], 8)
    # dE/dy = delta / slope and dE/dh = W2 delta, from delta = dE/db2
    agrees(d_b[1] / (output * (1 - output)), [[-0.04134291]], 8)
    agrees(w2[:, 0] * d_b[1], [-0.0045031, -0.0054037], 7)

    before = trainer.evaluate(X, t)
    trainer.fit(X, t, 1)  # the notebook adds the gradient; fit subtracts it
    assert trainer.evaluate(X, t) < before
    agrees(trainer.weights[1], np.round(w2 + 0.1 * np.array([[0.00501868], [0.0055848]]), 8), 8)


XOR_X = [[0, 0, 1], [1, 0, 1], [0, 1, 1], [1, 1, 1]]
XOR_Y = [0, 1, 1, 0]
XOR_MEANS = [
    0.38038349310856134, 0.24997670387612728, 0.24972913712906816, 0.24883556540840868,
    0.2430179563469606, 0.2023128270301176, 0.1342851241018072, 0.03423820536202099,
    0.012399204540152104, 0.006836030803331477,
]  # fmt: skip


def test_notebook_2(backend):
    np.random.seed(1)
    w1, b1, w2, b2 = (np.random.rand(*shape) for shape in ((3, 4), (4,), (4, 1), (1,)))
    trainer = Trainer(
        [3, 4, 1],
        reduction="sum",  # the gradient of 1/2 sum (o - y)^2
        learning_rate=0.1,
        init=([w1, w2], [b1, b2]),
        backend=backend,
    )
    first = trainer.fit(XOR_X, XOR_Y, 9999).loss
    agrees(trainer.predict(XOR_X).ravel(), [0.07125372, 0.93446125, 0.93473281, 0.06774813], 8)
    losses = np.concatenate([first, trainer.fit(XOR_X, XOR_Y, 1).loss])
    # For 4 samples, mean (o - y)^2 is half of 1/2 sum (o - y)^2. Sums in another order than the
    # notebook's grow to a difference of 1e-14 in 10,000 steps.
    np.testing.assert_allclose(losses[::1000] / 2, XOR_MEANS, rtol=1e-13)


def test_notebook_3(backend):
    trainer = Trainer(
        [1, 1, 1], init=([[[0.4]], [[0.7]]], [[0.3], [0.2]]), learning_rate=0.1, backend=backend
    )
    agrees(trainer.predict([[0.5]]), [[0.653786]], 6)
    loss = trainer.fit([[0.5]], [[1.0]], 1).loss
    agrees(loss, [0.059932], 6)
    np.testing.assert_allclose(
        trainer.parameters,
        [0.4006445672678901, 0.3012891345357802, 0.7048779400938787, 0.20783656031705777],
        rtol=4e-16,
    )


def test_notebook_3_cross_entropy(backend):
    trainer = Trainer(
        [1, 1, 1],
        loss="binary_cross_entropy",
        init=([[[0.4]], [[0.7]]], [[0.3], [0.2]]),
        backend=backend,
    )
    a = trainer.predict([[0.5]])
    delta = trainer.gradients([[0.5]], [[1.0]]).biases[1]
    assert delta == pytest.approx(a[0, 0] - 1.0, rel=1e-15)
