"""Clipping of gradients by their norm."""

from __future__ import annotations

import numpy as np
import pytest

from jitprop import SGD, Adam, AdamW, DivergenceError, RMSprop, Trainer
from jitprop.backends import threads
from jitprop_kernels import SQUARES_PIECE
from nets import data, limit_calls

OPTIMIZERS = {
    "sgd": SGD(),
    "nesterov": SGD(momentum=0.8, nesterov=True),
    "adam": Adam(),
    "adamw": AdamW(beta_2=0.99),
    "rmsprop": RMSprop(),
}

# name: (sizes, samples, batch size). Batches of 512 or more pass in chunks.
ROUTES = {
    "lanes": ([5, 4, 3], 51, 20),
    "blocks": ([30, 20, 5], 131, 50),
    "pieces": ([70, 130, 5], 131, None),
    "chunks": ([70, 40, 5], 1300, 600),
}

every_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=list(OPTIMIZERS))
every_route = pytest.mark.parametrize("route", ROUTES)
both_dtypes = pytest.mark.parametrize("dtype", ["float64", "float32"])


def make(route, rng, **arguments):
    sizes, n, batch_size = ROUTES[route]
    X, y = data(sizes, n, "half_squared_error", False, rng)
    arguments = {"learning_rate": 0.01, "weight_decay": 0.01, "seed": 3} | arguments
    return X, y, lambda **more: Trainer(sizes, batch_size=batch_size, **arguments, **more)


def norm_of(gradients):
    return np.sqrt(sum((d**2).sum() for d in gradients.weights + gradients.biases))


def test_there_are_several_pieces():
    (n_in, n_hidden, n_out), *_ = ROUTES["pieces"]
    assert 2 * SQUARES_PIECE < (n_in + 1) * n_hidden + (n_hidden + 1) * n_out < 3 * SQUARES_PIECE


@pytest.mark.parametrize(("clip_norm", "factor"), [(1.0, 0.2), (4.0, 0.8), (5.0, 1.0), (9.0, 1.0)])
def test_a_gradient_of_norm_5(backend, clip_norm, factor):
    # w x + b with x = 4/3 and an error of 3 has the gradient (4, 3). Weight decay is added later.
    trainer = Trainer(
        [1, 1], output_activation="identity", init=([[[1.5]]], [[2.0]]), learning_rate=0.1,
        weight_decay=0.5, clip_norm=clip_norm, backend=backend,
    )  # fmt: skip
    trainer.fit([[4 / 3]], [1.0], 1)
    expected = [1.5 - 0.1 * (factor * 4 + 0.5 * 1.5), 2.0 - 0.1 * factor * 3]
    np.testing.assert_allclose(trainer.parameters, expected, rtol=1e-14)


@every_route
def test_a_clipped_step_has_that_length(backend, route, rng):
    X, y, build = make(route, rng, weight_decay=0.0, backend=backend, learning_rate=1.0)
    X, y = X[: ROUTES[route][2]], y[: ROUTES[route][2]]
    for share in (0.1, 0.99):
        plain = build()
        norm = norm_of(plain.gradients(X, y))
        trainer = build(clip_norm=share * norm)
        before = trainer.parameters.copy()
        trainer.fit(X, y, 1)
        plain.fit(X, y, 1)
        step, unclipped = trainer.parameters - before, plain.parameters - before
        np.testing.assert_allclose(step, share * unclipped, rtol=1e-9, atol=1e-14)


@both_dtypes
@every_optimizer
@every_route
def test_the_backends_agree(route, optimizer, dtype, rng):
    X, y, build = make(route, rng, optimizer=optimizer, dtype=dtype, activation="tanh")
    limit = 0.5 * float(
        norm_of(build(backend="numpy").gradients(X, y))
    )  # some updates are clipped, others not
    ref, comp = (build(clip_norm=limit, backend=backend) for backend in ("numpy", "numba"))
    tolerance = 1e-9 if dtype == "float64" else 2e-3
    for _ in range(2):
        np.testing.assert_allclose(comp.fit(X, y, 2).loss, ref.fit(X, y, 2).loss, rtol=tolerance)
        np.testing.assert_allclose(
            comp.parameters, ref.parameters, rtol=tolerance, atol=tolerance * 0.1
        )


@both_dtypes
@every_optimizer
@pytest.mark.parametrize("route", ["blocks", "pieces", "chunks"])
@pytest.mark.parametrize("shuffle", [True, False])
def test_bits_do_not_depend_on_the_number_of_threads(
    route, optimizer, dtype, shuffle, rng, monkeypatch
):
    monkeypatch.setattr(threads, "cores", lambda: 3)
    X, y, build = make(
        route, rng, optimizer=optimizer, dtype=dtype, shuffle=shuffle, clip_norm=0.02,
        backend="numba",
    )  # fmt: skip
    found = []
    for n_threads in (1, 2, 3):
        trainer = build(n_threads=n_threads)
        loss = trainer.fit(X, y, 3).loss
        found.append(np.concatenate([loss, trainer.parameters, trainer._model.state.slots.ravel()]))
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


@every_optimizer
@every_route
def test_a_limit_that_is_not_reached_changes_nothing(route, optimizer, rng):
    X, y, build = make(route, rng, optimizer=optimizer, backend="numba")
    plain, limited = build(), build(clip_norm=1e9)
    plain.fit(X, y, 3)
    limited.fit(X, y, 3)
    # Plain SGD without clipping fuses gradient and update, so it rounds once less.
    compare = np.testing.assert_allclose if optimizer == SGD() else np.testing.assert_array_equal
    compare(limited.parameters, plain.parameters, **{"rtol": 1e-10} if optimizer == SGD() else {})


@pytest.mark.parametrize("first_call", [1, 3000])
@pytest.mark.parametrize("route", ["lanes", "blocks"])
def test_going_on_gives_the_bits_of_one_fit(backend, route, first_call, rng, monkeypatch):
    X, y, build = make(route, rng, clip_norm=0.05, backend=backend)
    ref, comp = build(), build()
    expected = ref.fit(X, y, 5).loss
    limit_calls(monkeypatch, first_call)
    found = np.concatenate([comp.fit(X, y, 3).loss, comp.fit(X, y, 2).loss])
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(comp.parameters, ref.parameters)


def test_losses_and_gradients_are_not_clipped(backend, rng):
    X, y, build = make("lanes", rng, backend=backend)
    plain, limited = build(), build(clip_norm=1e-6)
    assert limited.evaluate(X, y) == plain.evaluate(X, y)
    assert norm_of(limited.gradients(X, y)) == norm_of(plain.gradients(X, y)) > 1e-6


@pytest.mark.parametrize("sizes", [[1, 1, 1], [1, 60, 1]], ids=["lanes", "blocks"])
def test_a_gradient_that_is_not_finite_is_told(backend, sizes):
    # The loss is finite, but a gradient is not: an error of 1e200 times an input of 1e200.
    trainer = Trainer(
        sizes, activation="identity", output_activation="identity", clip_norm=1.0,
        backend=backend, loss="half_squared_error",
    )  # fmt: skip
    trainer.parameters[:] = 0.0
    trainer.weights[0][:, 0] = 1e-100
    trainer.weights[1][0] = 1e-20
    with pytest.raises(DivergenceError):
        trainer.fit([[1e200]], [1e150], 2)


@pytest.mark.parametrize("bad", [0, -1.0, np.inf, np.nan])
def test_bad_limits(bad):
    with pytest.raises(ValueError, match=r"^clip_norm must be a finite number above 0"):
        Trainer([2, 1], clip_norm=bad)
    with pytest.raises(TypeError, match=r"^clip_norm must be a finite number above 0"):
        Trainer([2, 1], clip_norm="1")
