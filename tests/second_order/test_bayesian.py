"""Bayesian regularization: its numbers against a dense computation, its end, and hard problems."""

from __future__ import annotations

import numpy as np
import pytest

from jitprop import BayesianRegularization, EarlyStopping, Fleet, LevenbergMarquardt, Trainer
from jitprop.backends import threads
from jitprop.net.second_order import REASONS
from jitprop.reference_second_order import Problem
from jitprop_kernels.target import INTERPRETED

BY_GRADIENT, BY_STEP, BY_TOLERANCE = REASONS[1:]


def net(sizes, **more):
    more = {"activation": "tanh", "output_activation": "identity", "seed": 0} | more
    return Trainer(sizes, **{"optimizer": "bayesian", **more})


def sine(n=100, noise=0.1, seed=0):
    rng = np.random.default_rng(seed)
    X = np.linspace(-1.0, 1.0, n)[:, np.newaxis]
    return X, np.sin(3.0 * X) + noise * rng.standard_normal((n, 1))


def surface(n, sizes, rng):
    X = rng.uniform(-1.0, 1.0, (n, sizes[0]))
    columns = [np.sin(2.0 * X.sum(axis=1) + k) for k in range(sizes[-1])]
    return X, np.stack(columns, axis=1) + 0.1 * rng.standard_normal((n, sizes[-1]))


def dense(trainer, X, y, weights, alpha, beta):
    """gamma and the evidence, as MacKay's equations have them."""
    problem = Problem.of(trainer._model.spec, (X, y, None))
    R, r = problem.rows(trainer.parameters)  # each by the root of its share
    root = np.sqrt((2.0 if trainer.loss.name == "squared_error" else 1.0) * problem.shares[0])
    v = np.ones(len(X)) if weights is None else weights / weights[weights > 0].mean()
    v = np.tile(v, y.shape[1])[:, np.newaxis]
    J, e = R / root, r[:, np.newaxis] / root
    W = trainer.parameters.astype(np.float64)
    E_D, E_W, N, P = np.sum(v * e**2) / 2, W @ W / 2, np.count_nonzero(v), len(W)
    values = np.linalg.eigvalsh(beta * J.T @ (v * J) + alpha * np.eye(P))
    gamma = P - alpha * np.sum(1 / values)
    evidence = -alpha * E_W - beta * E_D - np.sum(np.log(values)) / 2
    evidence += P / 2 * np.log(alpha) + N / 2 * np.log(beta) - N / 2 * np.log(2 * np.pi)
    return gamma, evidence, gamma / (2 * E_W), (N - gamma) / (2 * E_D)


@pytest.mark.parametrize("loss", ["half_squared_error", "squared_error"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("weighted", [False, True])
def test_gamma_and_evidence_are_those_of_a_dense_computation(
    loss, reduction, weighted, backend, rng
):
    sizes = [2, 5, 2]
    X, y = surface(60, sizes, rng)
    weights = rng.integers(0, 3, 60) * 0.7 if weighted else None
    trainer = net(sizes, loss=loss, reduction=reduction, backend=backend)
    for _ in range(4):
        trainer.fit(X, y, 2, sample_weight=weights)
        told = {name: column[-1] for name, column in trainer.history.metrics.items()}
        gamma, evidence, alpha, beta = dense(trainer, X, y, weights, told["alpha"], told["beta"])
        assert told["effective_parameters"] == pytest.approx(gamma, rel=1e-9)
        assert told["evidence"] == pytest.approx(evidence, rel=1e-9)
        kept = trainer._model.state.slots[3:5, 0]
        np.testing.assert_allclose(kept, [alpha, beta], rtol=1e-9)


def test_the_first_alpha_and_beta(backend, rng):
    X, y = surface(40, [2, 3, 1], rng)
    trainer = net([2, 3, 1], backend=backend)
    mean_square, loss = np.mean(trainer.parameters**2), trainer.evaluate(X, y)
    metrics = trainer.fit(X, y, 1).metrics
    assert metrics["alpha"][0] == pytest.approx(0.01 / mean_square, rel=1e-12)
    assert metrics["beta"][0] == pytest.approx(1 / (2 * loss), rel=1e-12)


def test_backends_agree(rng):
    X, y = surface(150, [3, 8, 2], rng)
    ref, comp = (net([3, 8, 2], backend=backend) for backend in ("numpy", "numba"))
    expected, found = ref.fit(X, y, 15), comp.fit(X, y, 15)
    np.testing.assert_allclose(found.loss, expected.loss, rtol=1e-9)
    for name, column in expected.metrics.items():
        np.testing.assert_allclose(found.metrics[name], column, rtol=1e-7, err_msg=name)


def test_backends_agree_in_float32(rng):
    X, y = (part.astype(np.float32) for part in surface(150, [3, 4, 1], rng))
    ref, comp = (net([3, 4, 1], backend=backend) for backend in ("numpy", "numba"))
    expected, found = ref.fit(X, y, 8), comp.fit(X, y, 8)
    np.testing.assert_allclose(found.loss, expected.loss, rtol=1e-3)
    gammas = [made.metrics["effective_parameters"] for made in (found, expected)]
    np.testing.assert_allclose(*gammas, rtol=1e-3)


def test_of_many_parameters_few_are_effective(backend):
    """On a noisy sine, 61 parameters serve as well as the few that it takes."""
    X, y = sine()
    X_new = np.linspace(-0.99, 0.99, 200)[:, np.newaxis]
    true = np.sin(3.0 * X_new)
    trainer = net([1, 20, 1], backend=backend)
    history = trainer.fit(X, y, 500)
    assert history.ended
    assert history.metrics["effective_parameters"][-1] < 12
    # 0.1 is the noise: beta is the inverse of its square.
    assert 1 / np.sqrt(history.metrics["beta"][-1]) == pytest.approx(0.1, rel=0.2)
    other = net([1, 20, 1], optimizer=LevenbergMarquardt(), backend=backend)
    other.fit(X, y, 500)
    errors = [np.mean((each.predict(X_new) - true) ** 2) for each in (trainer, other)]
    assert errors[0] < 0.5 * errors[1]


def test_the_evidence_prefers_enough_units():
    X, y = sine(60)
    evidence = {}
    for hidden in (1, 3):
        fits = [net([1, hidden, 1], seed=seed).fit(X, y, 300) for seed in range(3)]
        evidence[hidden] = max(fit.metrics["evidence"][-1] for fit in fits)
    assert evidence[3] > evidence[1] + 10


def test_it_ends_when_all_has_settled(backend):
    X, y = sine(40)
    trainer = net([1, 3, 1], backend=backend)
    history = trainer.fit(X, y, 1000)
    assert history.ended == BY_TOLERANCE
    assert len(history.loss) < 200
    ratio = history.metrics["alpha"] / history.metrics["beta"]
    assert abs(ratio[-1] / ratio[-2] - 1) < 5e-3
    # A smaller tolerance gets nearer to the fixed point.
    exact = net([1, 3, 1], optimizer=BayesianRegularization(tolerance=1e-12), backend=backend)
    course = exact.fit(X, y, 1000)
    assert len(course.loss) > len(history.loss)
    gamma, _, alpha, beta = dense(exact, X, y, None, *exact._model.state.slots[3:5, 0])
    np.testing.assert_allclose([alpha, beta], exact._model.state.slots[3:5, 0], rtol=1e-5)
    assert gamma == pytest.approx(course.metrics["effective_parameters"][-1], rel=1e-5)


def test_it_ends_by_the_gradient_and_by_the_damping(backend):
    X, y = sine(40)
    method = BayesianRegularization(min_gradient=1.0, tolerance=1e-4)
    assert net([1, 3, 1], optimizer=method, backend=backend).fit(X, y, 1000).ended == BY_GRADIENT
    method = BayesianRegularization(tolerance=0.0, min_gradient=0.0, max_damping=1e3)
    assert net([1, 3, 1], optimizer=method, backend=backend).fit(X, y, 1000).ended == BY_STEP


def test_the_gradient_ends_it_only_when_alpha_and_beta_have_settled(backend):
    X, y = sine(40)
    method = BayesianRegularization(min_gradient=1.0, tolerance=1e-6)
    trainer = net([1, 3, 1], optimizer=method, backend=backend)
    history = trainer.fit(X, y, 1000)
    last = history.metrics["alpha"][-1] / history.metrics["beta"][-1]
    kept = trainer._model.state.slots[3:5, 0]
    assert history.ended
    assert len(history.loss) > 5
    assert abs(kept[0] / kept[1] / last - 1) < 1.01e-3


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("loaded", [False, True])
def test_two_fits_are_one_bit_for_bit(dtype, loaded, backend, tmp_path):
    X, y = sine(40)
    trainer, parts = (net([1, 4, 1], dtype=dtype, backend=backend) for _ in range(2))
    trainer.fit(X, y, 12)
    parts.fit(X, y, 5)
    if loaded:
        parts.save(tmp_path / "net")
        parts = Trainer.load(tmp_path / "net")
    parts.fit(X, y, 7)
    np.testing.assert_array_equal(parts.parameters, trainer.parameters)
    np.testing.assert_array_equal(parts._model.state.slots, trainer._model.state.slots)
    for name, column in trainer.history.metrics.items():
        np.testing.assert_array_equal(parts.history.metrics[name], column)


@pytest.mark.skipif(INTERPRETED, reason="interpreted kernels have one thread")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("sizes", [[2, 6, 1], [8, 30, 2]], ids=["lanes", "blocks"])
def test_threads_give_the_same_bits(dtype, sizes, monkeypatch, rng):
    monkeypatch.setattr(threads, "cores", lambda: 2)
    X, y = (part.astype(dtype) for part in surface(700, sizes, rng))
    one, two = (net(sizes, n_threads=n, backend="numba") for n in (1, 2))
    one.fit(X, y, 4)
    two.fit(X, y, 4)
    np.testing.assert_array_equal(one.parameters, two.parameters)
    np.testing.assert_array_equal(one._model.state.slots, two._model.state.slots)
    for name, column in one.history.metrics.items():
        np.testing.assert_array_equal(two.history.metrics[name], column)


def test_what_has_ended_goes_on_with_its_alpha_and_beta(backend):
    X, y = sine(40)
    trainer = net([1, 3, 1], backend=backend)
    trainer.fit(X, y, 1000)
    kept = trainer._model.state.slots[3:5, 0].copy()
    metrics = trainer.fit(X, y + 0.01 * X, 3).metrics
    np.testing.assert_array_equal([metrics["alpha"][0], metrics["beta"][0]], kept)


def test_validation_and_early_stopping(backend):
    X, y = sine(60)
    trainer = net([1, 4, 1], backend=backend)
    stopping = EarlyStopping(patience=3, monitor="evidence", mode="max")
    history = trainer.fit(
        X[::2], y[::2], 200, validation_data=(X[1::2], y[1::2]), callbacks=stopping
    )
    assert np.isfinite(history.validation_loss).all()


def test_a_fleet_of_starts_has_the_bits_of_its_nets(backend):
    X, y = sine(40)
    fleet = Fleet(
        [1, 3, 1], members=3, activation="tanh", output_activation="identity", optimizer="bayesian",
        seed=5, backend=backend,
    )  # fmt: skip
    alone = [fleet[i] for i in range(3)]
    history = fleet.fit(X, y, epochs=300)
    for i, trainer in enumerate(alone):
        course = trainer.fit(X, y, 300)
        np.testing.assert_array_equal(fleet[i].parameters, trainer.parameters)
        assert history.ended[i] == course.ended != ""


def test_samples_of_weight_0_do_not_count(backend, rng):
    X, y = surface(30, [2, 3, 1], rng)
    some, all_ = (net([2, 3, 1], backend=backend) for _ in range(2))
    weights = np.ones(33)
    weights[30:] = 0.0
    filled = np.concatenate([X, 1e200 * np.ones((3, 2))]), np.concatenate([y, np.zeros((3, 1))])
    some.fit(X, y, 8, sample_weight=np.full(30, 2.5))
    all_.fit(*filled, 8, sample_weight=weights)
    for name in ("evidence", "effective_parameters", "alpha", "beta"):
        columns = [each.history.metrics[name] for each in (some, all_)]
        np.testing.assert_allclose(*columns, rtol=1e-6)


def hard_cases(rng):
    X, y = rng.normal(size=(20, 2)), rng.normal(size=(20, 1))
    return {
        "one sample": (X[:1], y[:1]),
        "two samples": (X[:2], y[:2]),
        "exact fit": (X, np.zeros_like(y)),
        "constant inputs": (np.ones_like(X), y),
        "inputs of 0": (np.zeros_like(X), y),
        "tiny targets": (X, 1e-9 * y),
        "huge targets": (X, 1e9 * y),
        "huge inputs": (1e9 * X, y),
        "duplicates": (np.repeat(X, 5, axis=0), np.repeat(y, 5, axis=0)),
    }


@pytest.mark.parametrize("name", list(hard_cases(np.random.default_rng(0))))
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("start", ["drawn", "zeros"])
def test_hard_problems_end_with_a_finite_net(name, dtype, activation, start, backend, rng):
    X, y = hard_cases(rng)[name]
    trainer = net([2, 6, 1], activation=activation, dtype=dtype, backend=backend)
    if start == "zeros":
        trainer.parameters[:] = 0.0
    before = trainer.evaluate(X, y)
    history = trainer.fit(X, y, 60)
    assert np.isfinite(trainer.parameters).all()
    assert np.isfinite(trainer._model.state.slots).all()
    for name, column in history.metrics.items():
        assert np.isfinite(column).all(), name
    assert (history.metrics["effective_parameters"] > 0).all()
    assert (
        history.metrics["effective_parameters"] < min(len(X), trainer.parameters.size + 1)
    ).all()
    assert np.isfinite(before)
    assert np.isfinite(trainer.evaluate(X, y))


@pytest.mark.parametrize("loss", ["huber", "absolute_error"])
def test_other_losses_are_refused(loss):
    with pytest.raises(ValueError, match="loss must be one of 'half_squared_error', 'squared_err"):
        net([1, 3, 1], loss=loss)


def test_what_does_not_go_with_the_method():
    with pytest.raises(ValueError, match="weight_decay must be 0 with the optimizer BayesianReg"):
        net([1, 3, 1], weight_decay=0.1)
    with pytest.raises(ValueError, match="weight_decay must be 0 with the optimizer BayesianReg"):
        Fleet([1, 3, 1], members=2, optimizer="bayesian", weight_decay=[0.0, 0.1])
    with pytest.raises(ValueError, match="dropout must be 0"):
        net([1, 3, 1], dropout=0.1)
    with pytest.raises(ValueError, match="at most 20,000 parameters"):
        net([1, 10_000, 1])
    with pytest.raises(ValueError, match="batch_size must be None or at least"):
        net([1, 3, 1], batch_size=10).fit(*sine(40), 1)
    with pytest.raises(ValueError, match="tolerance must be"):
        BayesianRegularization(tolerance=1.0)
