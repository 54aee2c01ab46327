"""The NumPy reference agrees with central differences, textbooks and scipy."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import scipy.special

from jitprop import SGD, AdamW, Trainer, functions
from nets import CORE_LOSSES, HIDDEN, OPTIMIZERS, OUTPUTS, data, in_turns

ENDS = [(loss, output) for loss, outputs in OUTPUTS.items() for output in outputs]
CASES = [
    *in_turns([end for end in ENDS if end[0] in CORE_LOSSES], HIDDEN),
    *((*end, "tanh") for end in ENDS if end[0] not in CORE_LOSSES),
]


def largest_difference(trainer, X, y, gradient):
    """Return the largest difference of a gradient from central differences, relative to these."""
    p = trainer.parameters
    h = 1e-6
    differences = np.empty_like(p)
    for i in range(len(p)):
        at = p[i]
        p[i] = at + h
        above = trainer.evaluate(X, y)
        p[i] = at - h
        below = trainer.evaluate(X, y)
        p[i] = at
        differences[i] = (above - below) / (2 * h)
    return np.abs(gradient - differences).max() / np.abs(differences).max()


def flat(gradients):
    pairs = zip(gradients.weights, gradients.biases, strict=True)
    return np.concatenate([part.ravel() for pair in pairs for part in pair])


def net(activation, output, loss, *, reduction="mean", sizes=(3, 5, 4, 3), seed=1, **more):
    trainer = Trainer(
        sizes,
        activation=activation,
        output_activation=output,
        loss=loss,
        reduction=reduction,
        backend="numpy",
        **more,
    )
    # No bias is 0, so no relu unit has z = 0, where it has no derivative.
    p = trainer.parameters
    p[:] = np.random.default_rng(seed).normal(scale=0.6, size=p.size)
    return trainer


@pytest.mark.parametrize(("loss", "output", "activation"), CASES)
def test_gradients_are_the_central_differences(activation, output, loss, rng):
    for reduction in ("mean", "sum"):
        trainer = net(activation, output, loss, reduction=reduction, sizes=(3, 5, 4, 4), seed=2)
        for labels in (False, True) if loss == "cross_entropy" else (False,):
            X, y = data([3, 4], 7, loss, labels, rng)
            gradient = flat(trainer.gradients(X, y))
            assert largest_difference(trainer, X, y, gradient) < 1e-7


def test_without_hidden_layers_too(rng):
    trainer = net("sigmoid", "softmax", "cross_entropy", sizes=(4, 3))
    X, y = data([4, 3], 5, "cross_entropy", True, rng)
    assert largest_difference(trainer, X, y, flat(trainer.gradients(X, y))) < 1e-7


def test_a_wrong_gradient_is_caught(monkeypatch, rng):
    X, y = data([3, 3], 7, "half_squared_error", False, rng)
    trainer = net("tanh", "sigmoid", "half_squared_error")

    def halved(z):
        a, slope = functions.tanh(z)
        return a, 0.5 * slope

    monkeypatch.setitem(functions.ACTIVATIONS, "tanh", halved)
    assert largest_difference(trainer, X, y, flat(trainer.gradients(X, y))) > 0.1
    monkeypatch.undo()
    gradient = flat(trainer.gradients(X, y))
    assert largest_difference(trainer, X, y, -gradient) > 1
    gradient[3] += 1e-5 * np.abs(gradient).max()
    assert largest_difference(trainer, X, y, gradient) > 1e-6


# From the documentation of torch.nn.SELU.
SELU_ALPHA = mpmath.mpf("1.6732632423543772848170429916717")
SELU_LAMBDA = mpmath.mpf("1.0507009873554804934193349852946")

# The activations with many digits, by the definition in the paper or textbook.
DEFINITIONS = {
    "sigmoid": lambda z: 1 / (1 + mpmath.exp(-z)),
    "tanh": mpmath.tanh,
    "relu": lambda z: max(z, mpmath.mpf(0)),
    "leaky_relu": lambda z: z if z > 0 else mpmath.mpf("0.01") * z,
    "elu": lambda z: z if z > 0 else mpmath.expm1(z),
    "softplus": lambda z: mpmath.log1p(mpmath.exp(z)),
    "gelu": lambda z: z * mpmath.ncdf(z),
    "gelu_tanh": lambda z: (
        z / 2 * (1 + mpmath.tanh(mpmath.sqrt(2 / mpmath.pi) * (z + 0.044715 * z**3)))
    ),
    "silu": lambda z: z / (1 + mpmath.exp(-z)),
    "selu": lambda z: SELU_LAMBDA * (z if z > 0 else SELU_ALPHA * mpmath.expm1(z)),
    "mish": lambda z: z * mpmath.tanh(mpmath.log1p(mpmath.exp(z))),
    "softsign": lambda z: z / (1 + abs(z)),
    "hard_sigmoid": lambda z: min(max(z / 6 + mpmath.mpf(1) / 2, mpmath.mpf(0)), mpmath.mpf(1)),
    "identity": lambda z: z,
}


@pytest.mark.parametrize("name", HIDDEN)
def test_activations_are_what_their_papers_say(name):
    z = np.concatenate([np.linspace(-40, 40, 161), [-1e-9, 1e-9, 0.3, -700.0, 700.0]])
    z = z[(z != 0) & (abs(z) != 3)]  # kinks
    with mpmath.workdps(400):  # 1 + tanh(v) loses hundreds of digits
        f = DEFINITIONS[name]
        ref = [float(f(mpmath.mpf(float(v)))) for v in z]
        ref_slope = [
            float(mpmath.diff(f, mpmath.mpf(float(v)), h=mpmath.mpf(10) ** -40)) for v in z
        ]
    comp, comp_slope = functions.ACTIVATIONS[name](z)
    # Below 1e-300, gelu is z times a subnormal number and has few digits.
    np.testing.assert_allclose(comp, ref, rtol=2e-13, atol=1e-300)
    np.testing.assert_allclose(comp_slope, ref_slope, rtol=2e-12, atol=1e-300)


# Examples in the documentation of tf.keras.activations.
EXAMPLES = {
    "softsign": ([-1.0, 0.0, 1.0], [-0.5, 0.0, 0.5]),
    "gelu": ([-3.0, -1.0, 0.0, 1.0, 3.0], [-0.00404951, -0.15865529, 0.0, 0.8413447, 2.9959507]),
    "gelu_tanh": (
        [-3.0, -1.0, 0.0, 1.0, 3.0],
        [-0.00363752, -0.15880796, 0.0, 0.841192, 2.9963627],
    ),
    "hard_sigmoid": ([-3.0, -1.0, 0.0, 1.0, 3.0], [0.0, 1 / 3, 0.5, 2 / 3, 1.0]),
    # tfa.activations.mish
    "mish": ([1.0, 0.0, 1.0], [0.865098, 0.0, 0.865098]),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_of_keras(name, backend):
    z, expected = EXAMPLES[name]
    trainer = Trainer([1, 1], output_activation=name, init=([[[1.0]]], [[0.0]]), backend=backend)
    found = trainer.predict(np.transpose([z]))[:, 0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=5e-7)


def test_selu_keeps_mean_0_and_variance_1():
    # The equations from which Klambauer et al. compute its two constants, for z of the standard
    # normal distribution.
    z = np.linspace(-12, 12, 240_001)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    a = functions.selu(z)[0]
    for power, expected in ((1, 0.0), (2, 1.0)):
        np.testing.assert_allclose(np.trapezoid(a**power * density, z), expected, atol=1e-9)


def test_mish_has_its_least_value_near_minus_1_19():
    z = np.linspace(-3, 0, 3001)
    a, slope = functions.mish(z)
    assert round(float(z[a.argmin()]), 2) == -1.19  # Misra 2019, section 2
    np.testing.assert_allclose(a.min(), -0.30884, atol=1e-5)
    assert (slope[: a.argmin()] < 1e-3).all()


def test_gelu_is_that_of_scipy_and_its_approximation_is_near():
    z = np.linspace(-6, 6, 241)
    exact = z * scipy.special.ndtr(z)
    np.testing.assert_allclose(functions.gelu(z)[0], exact, rtol=1e-14)
    np.testing.assert_allclose(functions.gelu_tanh(z)[0], exact, atol=5e-4)


def test_extreme_inputs_warn_of_nothing():
    z = np.array([[-1e4, 1e4, 0.0, -745.2, 710.0]])
    for name in HIDDEN:
        a, slope = functions.ACTIVATIONS[name](z)
        assert np.isfinite(a).all(), name
        assert np.isfinite(slope).all(), name
    np.testing.assert_array_equal(functions.softmax(z), [[0, 1, 0, 0, 0]])


def test_losses_are_those_of_scipy(rng):
    X, z = rng.normal(size=(6, 2)), rng.normal(size=(6, 3)) * 3
    trainer = net("tanh", "softmax", "cross_entropy", sizes=(2, 3))
    labels = rng.integers(0, 3, size=6)
    z = X @ trainer.weights[0] + trainer.biases[0]
    ref = -scipy.special.log_softmax(z, axis=1)[np.arange(6), labels].mean()
    np.testing.assert_allclose(trainer.evaluate(X, labels), ref, rtol=1e-14)

    binary = net("tanh", "sigmoid", "binary_cross_entropy", sizes=(2, 3), reduction="sum")
    y = rng.uniform(size=(6, 3))
    a = scipy.special.expit(X @ binary.weights[0] + binary.biases[0])
    ref = -(scipy.special.xlogy(y, a) + scipy.special.xlog1py(1 - y, -a)).sum()
    np.testing.assert_allclose(binary.evaluate(X, y), ref, rtol=1e-13)


# The optimizers for one parameter, computed from their papers' equations with plain floats.


def by_hand(optimizer, rate, decay, p, gradients):
    v = m = s = 0.0
    for t, g in enumerate(gradients, start=1):
        if isinstance(optimizer, SGD):
            g = g + decay * p
            v = optimizer.momentum * v - rate * g
            p = p + (optimizer.momentum * v - rate * g if optimizer.nesterov else v)
            continue
        if isinstance(optimizer, AdamW):
            p = p - rate * decay * p
        else:
            g = g + decay * p
        m = optimizer.beta_1 * m + (1 - optimizer.beta_1) * g
        s = optimizer.beta_2 * s + (1 - optimizer.beta_2) * g * g
        m_hat = m / (1 - optimizer.beta_1**t)
        s_hat = s / (1 - optimizer.beta_2**t)  # Algorithm 1 of Kingma and Ba
        p = p - rate * m_hat / (s_hat**0.5 + optimizer.epsilon)
    return p


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_by_hand(name, backend):
    # One weight, and a bias that stays 0: a = w x, E = 1/2 (w x - y)**2, dE/dw = (w x - y) x.
    optimizer, rate, decay, x, y = OPTIMIZERS[name], 0.05, 0.1, 2.0, 3.0
    trainer = Trainer(
        [1, 1],
        output_activation="identity",
        optimizer=optimizer,
        learning_rate=rate,
        weight_decay=decay,
        init=([[[0.7]]], [[0.0]]),
        backend=backend,
    )
    w, b, grads_w, grads_b = 0.7, 0.0, [], []
    for _ in range(5):
        e = w * x + b - y
        grads_w.append(e * x)
        grads_b.append(e)
        w, b = (
            by_hand(optimizer, rate, decay, 0.7, grads_w),
            by_hand(optimizer, rate, 0, 0, grads_b),
        )
        trainer.fit([[x]], [y], 1)
        np.testing.assert_allclose(trainer.parameters, [w, b], rtol=1e-13)


def test_state_is_split_in_views(rng):
    trainer = net("tanh", "sigmoid", "half_squared_error", sizes=(2, 3, 1))
    weights, biases = trainer._model.spec.split(trainer.parameters)
    assert [w.shape for w in weights] == [(2, 3), (3, 1)]
    assert [b.shape for b in biases] == [(3,), (1,)]
    weights[1][2, 0] = biases[0][1] = 9.0
    assert (trainer.parameters == 9.0).sum() == 2
    assert trainer.weights[1][2, 0] == 9.0
