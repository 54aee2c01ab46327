"""RMSprop and Rprop agree with a computation by hand, on both backends and any threads."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from jitprop import Exponential, Fleet, RMSprop, Rprop, Trainer
from jitprop.backends import threads
from jitprop.files import encoding
from nets import data, limit_calls

OPTIMIZERS = {
    "rmsprop": RMSprop(),
    "rmsprop with momentum": RMSprop(rho=0.8, momentum=0.7, epsilon=1e-6),
    "rprop": Rprop(eta_minus=0.6, eta_plus=1.3, step_max=0.5),
    "rprop with backtracking": Rprop(eta_plus=1.3, step_max=0.5, backtracking=True),
}

# name: (sizes, samples). Blocks have edges of all kinds; a batch of 512 or more passes in chunks.
ROUTES = {
    "lanes": ([5, 4, 3], 50),
    "blocks": ([70, 130, 33, 5], 131),
    "chunks": ([70, 40, 33, 5], 1300),
}

every_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=list(OPTIMIZERS))
every_route = pytest.mark.parametrize("route", ROUTES)
both_dtypes = pytest.mark.parametrize("dtype", ["float64", "float32"])


def make(sizes, **arguments):
    return Trainer(sizes, **{"seed": 3, "learning_rate": 0.01, "weight_decay": 0.01} | arguments)


def line(backend, w, b, **arguments):
    """Return a net for w x + b; a sample x with target y has the loss E = 1/2 (w x + b - y)**2."""
    return Trainer(
        [1, 1], output_activation="identity", init=([[[w]]], [[b]]), backend=backend, **arguments
    )


@pytest.mark.parametrize("momentum", [0.0, 0.7])
def test_rmsprop_by_hand(backend, momentum):
    rho, epsilon, rate, decay, x, y = 0.8, 1e-3, 0.05, 0.1, 2.0, 3.0
    trainer = line(
        backend, 0.7, 0.0, learning_rate=rate, weight_decay=decay,
        optimizer=RMSprop(rho=rho, momentum=momentum, epsilon=epsilon),
    )  # fmt: skip
    p, v, u = [0.7, 0.0], [0.0, 0.0], [0.0, 0.0]
    for _ in range(5):
        e = p[0] * x + p[1] - y
        for i, g in enumerate((e * x + decay * p[0], e)):  # biases have no weight decay
            v[i] = rho * v[i] + (1 - rho) * g * g
            u[i] = momentum * u[i] - rate * g / (v[i] ** 0.5 + epsilon)
            p[i] += u[i]
        trainer.fit([[x]], [y], 1)
        np.testing.assert_allclose(trainer.parameters, p, rtol=1e-14)


def test_rprop_by_hand(backend):
    # w x + b with x = 1 and y = 1: both gradients are e = w + b - 1, and w = b throughout.
    trainer = line(backend, 0.0, 0.0, optimizer="rprop", learning_rate=0.1)
    steps = [
        0.1,  # e < 0: the learning rate
        0.1 + 0.12,  # same sign: the step grows by 1.2
        0.22 + 0.144,
        0.364 + 0.1728,  # now w = 0.5368 and e > 0
        0.5368,  # sign changed: the step is halved to 0.0864, and w stays
        0.5368 - 0.0864,  # now w = 0.4504 and e < 0; after a change the step does not grow
        0.4504,  # sign changed: the step is 0.0432
        0.4504 + 0.0432,  # now w = 0.4936 and e < 0
        0.4936 + 0.05184,
    ]
    for w in steps:
        trainer.fit([[1.0]], [1.0], 1)
        np.testing.assert_allclose(trainer.parameters, [w, w], rtol=1e-14)


def test_rprops_steps_have_limits(backend):
    trainer = line(
        backend, 0.0, 0.0, learning_rate=0.1, optimizer=Rprop(step_min=0.2, step_max=0.25)
    )
    for w in (0.2, 0.44, 0.69, 0.69, 0.49):  # steps 0.2, 0.24, 0.25; then a change of sign, and 0.2
        trainer.fit([[1.0]], [1.0], 1)
        np.testing.assert_allclose(trainer.parameters, [w, w], rtol=1e-14)


def test_rprop_leaves_alone_what_has_no_gradient_and_sees_tiny_ones(backend):
    # The weight's input is 0. The product of the bias' gradients is below the normal numbers.
    trainer = line(
        backend, 0.5, 0.0, learning_rate=1e-6, optimizer=Rprop(step_min=1e-300), dtype="float64"
    )
    for step in (1e-6, 1.2e-6):
        trainer.parameters[1] = 0.0
        trainer.fit([[0.0]], [1e-200], 1)
        np.testing.assert_allclose(trainer.parameters, [0.5, step])


def test_backtracking_by_hand(backend):
    # As in `test_rprop_by_hand`: both gradients are e = w + b - 1, and w = b throughout.
    trainer = line(
        backend, 0.0, 0.0, optimizer=Rprop(backtracking=True), learning_rate=0.4, dtype="float64"
    )
    steps = [
        0.4,  # e = -1: the learning rate
        0.4 + 0.48,  # e = -0.2: the step grows
        0.4,  # e = 0.76: the sign changed and the loss rose, so 0.48 is taken back; it becomes 0.24
        0.4 + 0.24,  # e = -0.2: after a change the step does not grow
        0.4,  # e = 0.28: taken back again, and the step is 0.12
        0.4 + 0.12,  # e = -0.2
        0.52,  # e = 0.04: the sign changed but the loss fell, so w stays; the step is 0.06
        0.52 - 0.06,  # e = 0.04
    ]
    for w in steps:
        trainer.fit([[1.0]], [1.0], 1)
        np.testing.assert_allclose(trainer.parameters, [w, w], rtol=1e-14)


def test_backtracking_looks_at_the_objective_with_weight_decay(backend):
    # The input and the target are 0, so that 1/2 weight_decay w**2 is all of the objective.
    trainer = line(
        backend, 0.5, 0.0, optimizer=Rprop(backtracking=True), learning_rate=1.2,
        weight_decay=0.1, dtype="float64",
    )  # fmt: skip
    for w in (-0.7, 0.5):  # w**2 has risen, so the first step is taken back
        trainer.fit([[0.0]], [0.0], 1)
        np.testing.assert_allclose(trainer.parameters, [w, 0.0], rtol=1e-14)


def test_backtracking_mends_first_steps_that_are_too_large(rng):
    X = rng.normal(size=(300, 5))
    y = np.sin(X[:, 0]) * X[:, 1] + 0.3 * X[:, 2] ** 2
    plus, minus = (
        Fleet(
            [5, 10, 1], members=40, seed=0, activation="tanh", output_activation="identity",
            learning_rate=0.5, optimizer=Rprop(backtracking=backtracking),
        )
        for backtracking in (True, False)
    )  # fmt: skip
    assert np.median(plus.fit(X, y, 100).loss[-1]) < 0.75 * np.median(minus.fit(X, y, 100).loss[-1])


@both_dtypes
@every_optimizer
@every_route
def test_the_backends_agree(route, optimizer, dtype, rng):
    sizes, n = ROUTES[route]
    X, y = data(sizes, n, "half_squared_error", False, rng)
    ref, comp = (
        make(sizes, optimizer=optimizer, dtype=dtype, activation="tanh", backend=backend)
        for backend in ("numpy", "numba")
    )
    one, five = (1e-12, 1e-10) if dtype == "float64" else (2e-4, 2e-3)
    for epochs, tolerance in ((1, one), (4, five)):
        np.testing.assert_allclose(comp.fit(X, y, epochs).loss, ref.fit(X, y, epochs).loss, 1e-4)
        np.testing.assert_allclose(
            comp.parameters, ref.parameters, rtol=tolerance, atol=tolerance * 0.01
        )


@both_dtypes
@every_optimizer
@pytest.mark.parametrize("route", ["blocks", "chunks"])
def test_bits_do_not_depend_on_the_number_of_threads(route, optimizer, dtype, rng, monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 3)
    sizes, n = ROUTES[route]
    X, y = data(sizes, n, "half_squared_error", False, rng)
    found = []
    for n_threads in (1, 2, 3):
        trainer = make(
            sizes, optimizer=optimizer, dtype=dtype, backend="numba", n_threads=n_threads
        )
        loss = trainer.fit(X, y, 3).loss
        found.append(np.concatenate([loss, trainer.parameters, trainer._model.state.slots.ravel()]))
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


@every_optimizer
@pytest.mark.parametrize("first_call", [1, 3000])
def test_going_on_gives_the_bits_of_one_fit(backend, optimizer, first_call, rng, monkeypatch):
    X, y = data([3, 2], 10, "half_squared_error", False, rng)
    ref, comp = (make([3, 6, 2], optimizer=optimizer, backend=backend) for _ in range(2))
    expected = ref.fit(X, y, 7).loss
    limit_calls(monkeypatch, first_call)
    first = comp.fit(X, y, 3).loss
    comp = pickle.loads(pickle.dumps(comp))
    np.testing.assert_array_equal(np.concatenate([first, comp.fit(X, y, 4).loss]), expected)
    np.testing.assert_array_equal(comp.parameters, ref.parameters)


def test_rmsprop_takes_mini_batches(rng):
    X, y = data([3, 2], 10, "half_squared_error", False, rng)
    ref, comp = (
        make([3, 6, 2], optimizer="rmsprop", batch_size=4, backend=b) for b in ("numpy", "numba")
    )
    np.testing.assert_allclose(comp.fit(X, y, 5).loss, ref.fit(X, y, 5).loss, rtol=1e-12)


def test_rprop_needs_full_batches_and_a_number(backend, rng):
    X, y = data([3, 2], 10, "half_squared_error", False, rng)
    trainer = make([3, 6, 2], optimizer="rprop", batch_size=9, backend=backend)
    before = trainer.parameters.copy()
    with pytest.raises(ValueError, match=r"^batch_size must be None or .* samples, 10,.* got 9$"):
        trainer.fit(X, y, 2)
    np.testing.assert_array_equal(trainer.parameters, before)
    trainer.fit(X[:9], y[:9], 2)
    fleet = Fleet([3, 6, 2], members=2, optimizer="rprop", batch_size=9, backend=backend)
    with pytest.raises(ValueError, match=r"^batch_size must be None or .* samples, 10,.* got 9$"):
        fleet.fit(X, y, 2)
    words = "^learning_rate must be a number with the optimizer Rprop"
    with pytest.raises(ValueError, match=words):
        trainer.learning_rate = Exponential(0.1, 0.9)
    assert trainer.learning_rate == 0.01
    with pytest.raises(ValueError, match=words):
        make([3, 2], optimizer="rprop", learning_rate=lambda epoch: 0.1)


@pytest.mark.parametrize(
    ("make_it", "words"),
    [
        (lambda: RMSprop(rho=1), "rho must be a finite number at least 0 and below 1; got 1.0"),
        (lambda: RMSprop(momentum=-0.1), "momentum must be a finite number at least 0 and below 1"),
        (lambda: RMSprop(epsilon=0), "epsilon must be a finite number above 0; got 0.0"),
        (lambda: Rprop(eta_minus=1), "eta_minus must be a finite number above 0 and below 1"),
        (lambda: Rprop(eta_plus=1), "eta_plus must be a finite number above 1; got 1.0"),
        (lambda: Rprop(step_min=0), "step_min must be a finite number above 0; got 0.0"),
        (lambda: Rprop(step_min=2, step_max=1), "step_max must be a finite number at least 2"),
    ],
)
def test_bad_settings(make_it, words):
    with pytest.raises(ValueError, match=f"^{words}"):
        make_it()


def test_settings_of_files_from_before_backtracking_load():
    old = {"class": "Rprop", "eta_minus": 0.5, "eta_plus": 1.2, "step_min": 1e-6, "step_max": 50.0}
    assert encoding.decoded(old, {}) == Rprop()
    assert (Rprop().n_slots, Rprop(backtracking=True).n_slots) == (2, 3)
