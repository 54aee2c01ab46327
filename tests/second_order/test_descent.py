"""Scaled conjugate gradients and L-BFGS: by hand, against lstsq and SciPy, and on both backends."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from jitprop import (
    LBFGS,
    CustomLoss,
    DivergenceError,
    EarlyStopping,
    Fleet,
    GaussianNLL,
    Huber,
    Quantile,
    ScaledConjugateGradient,
    Trainer,
    check_gradients,
)
from jitprop.backends import compiled, threads
from jitprop.data.samples import Steps
from jitprop.net.second_order import REASONS
from jitprop_kernels.sizes import HALT
from nets import data, limit_calls

METHODS = {"scg": ScaledConjugateGradient, "lbfgs": LBFGS}
every_method = pytest.mark.parametrize("method", METHODS)
both_dtypes = pytest.mark.parametrize("dtype", ["float64", "float32"])
BY_GRADIENT, BY_STEP, BY_TOLERANCE = REASONS[1:]

# name: (sizes, samples). A pass takes 256 samples at a time.
ROUTES = {"lanes": ([5, 4, 3], 50), "lanes, tiles": ([5, 4, 3], 700), "blocks": ([70, 130, 5], 600)}
every_route = pytest.mark.parametrize("route", ROUTES)


def net(sizes, method, **more):
    """Return a net for numbers; ``method`` is a name or an object."""
    more = {"activation": "tanh", "output_activation": "identity", "seed": 3} | more
    return Trainer(sizes, optimizer=method, **more)


def curve(n=40):
    X = np.linspace(-2, 2, n)[:, np.newaxis]
    return X, np.sin(3 * X)


def objective(trainer, X, y, weights=None):
    squares = sum(float((W.astype(float) ** 2).sum()) for W in trainer.weights)
    loss = trainer.evaluate(X, y, sample_weight=weights)
    return loss + 0.5 * trainer.weight_decay * squares


def gradient_of(trainer, X, y):
    """Return the gradient of the objective."""
    found, decay = trainer.gradients(X, y), trainer.weight_decay
    pairs = zip(found.weights, trainer.weights, found.biases, strict=True)
    return np.concatenate([np.append(dW + decay * W, db) for dW, W, db in pairs])


# One step.


def test_the_first_conjugate_step_by_hand(backend):
    # E = 1/2 (2 w + b - 3)**2 from w = 1, b = 0: e = -1, and the gradient is (-2, -1).
    trainer = Trainer(
        [1, 1], output_activation="identity", init=([[[1.0]]], [[0.0]]), backend=backend,
        dtype="float64", optimizer=ScaledConjugateGradient(scale=0.5),
    )  # fmt: skip
    history = trainer.fit([[2.0]], [3.0], 1)
    # p = (2, 1): p.T p = 5, p.T H p = (2 * 2 + 1)**2 = 25, p.T g = -5. The step is 5 / 27.5 p.
    w, b = 1 + 2 * 5 / 27.5, 5 / 27.5
    np.testing.assert_allclose(trainer.parameters, [w, b], rtol=1e-11)
    assert history.loss[0] == pytest.approx(0.5 * (2 * w + b - 3) ** 2, rel=1e-9)
    told = {name: column[0] for name, column in history.metrics.items()}
    assert told == {"gradient_norm": 2.0, "scale": 0.5, "evaluations": 2.0}
    # The parabola foretold a fall of 25 / 55, and it was 1/2 - E. That is above 0.75 of it, so the
    # scale is divided by 4.
    assert trainer.fit([[2.0]], [3.0], 1).metrics["scale"][0] == 0.125


def test_a_step_that_rises_is_tried_shorter(backend):
    X, y = curve()
    trainer = net([1, 6, 1], ScaledConjugateGradient(sigma=0.5), backend=backend)
    before, history = trainer.evaluate(X, y), trainer.fit(X, y, 60)
    assert (history.metrics["evaluations"] > 2).any()
    assert (np.diff(np.append(before, history.loss)) < 0).all()


def test_the_first_lbfgs_step_goes_down_the_gradient(backend):
    X, y = curve()
    trainer = net([1, 4, 1], "lbfgs", weight_decay=0.1, backend=backend, dtype="float64")
    before, g = trainer.parameters.copy(), gradient_of(trainer, X, y)
    start = objective(trainer, X, y)
    history = trainer.fit(X, y, 1)
    step, length = trainer.parameters - before, history.metrics["step"][0]
    np.testing.assert_allclose(step, -length * g, rtol=1e-9, atol=1e-14)
    assert history.metrics["gradient_norm"][0] == pytest.approx(np.abs(g).max(), rel=1e-12)
    slope = gradient_of(trainer, X, y) @ -g
    assert objective(trainer, X, y) <= start - 1e-4 * length * (g @ g)
    assert abs(slope) <= 0.9 * (g @ g)


def test_the_second_lbfgs_step_is_that_of_the_bfgs_formula(backend):
    X, y = curve()
    trainer = net([1, 4, 1], "lbfgs", backend=backend, dtype="float64")
    w, g = [trainer.parameters.copy()], [gradient_of(trainer, X, y)]
    for _ in range(2):
        history = trainer.fit(X, y, 1)
        w.append(trainer.parameters.copy())
        g.append(gradient_of(trainer, X, y))
    s, t = w[1] - w[0], g[1] - g[0]
    V = np.eye(s.size) - np.outer(t, s) / (s @ t)
    H = (s @ t) / (t @ t) * V.T @ V + np.outer(s, s) / (s @ t)
    expected = -history.metrics["step"][0] * H @ g[1]
    np.testing.assert_allclose(w[2] - w[1], expected, rtol=1e-8, atol=1e-12)


# Where they come to.


@every_method
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_a_linear_net_reaches_the_solution_of_lstsq(method, decay, backend, rng):
    X, y = rng.normal(size=(60, 6)), rng.normal(size=(60, 2))
    trainer = net([6, 2], METHODS[method](tolerance=0.0), weight_decay=decay, backend=backend)
    history = trainer.fit(X, y, 500)
    assert history.ended in (BY_GRADIENT, BY_STEP)
    rows = np.vstack([np.hstack([X, np.ones((60, 1))]), np.sqrt(60 * decay) * np.eye(6, 7)])
    expected = np.linalg.lstsq(rows, np.vstack([y, np.zeros((6, 2))]), rcond=None)[0]
    found = np.vstack([trainer.weights[0], trainer.biases[0]])
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_lbfgs_keeps_up_with_that_of_scipy(seed, rng):
    X = rng.normal(size=(300, 5))
    y = np.sin(X[:, :1]) * X[:, 1:2] + 0.3 * X[:, 2:3] ** 2
    trainer = net([5, 10, 1], "lbfgs", seed=seed, dtype="float64")
    other, calls = net([5, 10, 1], "sgd", seed=seed, dtype="float64"), 0

    def value_and_gradient(w):
        nonlocal calls
        calls += 1
        other.parameters[:] = w
        return other.evaluate(X, y), gradient_of(other, X, y)

    expected = minimize(
        value_and_gradient, trainer.parameters.copy(), jac=True, method="L-BFGS-B",
        options={"maxiter": 100, "maxfun": 10_000, "ftol": 0.0, "gtol": 0.0},
    )  # fmt: skip
    history = trainer.fit(X, y, 100)
    assert history.loss[-1] < 1.2 * expected.fun
    assert history.metrics["evaluations"].sum() < 1.1 * calls


@every_method
def test_they_reach_lower_losses_than_gradient_descent(method, backend):
    X, y = curve()
    few = net([1, 8, 1], method, backend=backend).fit(X, y, 60).loss[-1]
    many = net([1, 8, 1], "sgd", learning_rate=0.1, backend=backend).fit(X, y, 1000).loss[-1]
    assert few < 0.8 * many


PROBLEMS = {
    "method": st.sampled_from(list(METHODS)),
    "loss": st.sampled_from(
        ["half_squared_error", "squared_error", "absolute_error", Huber(0.3), Quantile(0.8)]
    ),
    "hidden": st.lists(st.integers(1, 5), max_size=2),
    "n": st.integers(1, 12),
    "activation": st.sampled_from(["tanh", "sigmoid", "relu", "softplus"]),
    "seed": st.integers(0, 999),
    "scale": st.sampled_from([1e-3, 1.0, 1e2]),
    "decay": st.sampled_from([0.0, 1e-3, 1.0]),
    "dtype": st.sampled_from(["float64", "float32"]),
    "backend": st.sampled_from(["numba", "numpy"]),
}
"""What random problems differ in."""


@settings(max_examples=60, deadline=None, derandomize=True)
@given(problem=st.fixed_dictionaries(PROBLEMS))
def test_the_objective_never_rises(problem):
    check_that_it_never_rises(**problem)


@pytest.mark.long
@settings(max_examples=3_000, deadline=None, derandomize=True)
@given(problem=st.fixed_dictionaries(PROBLEMS))
def test_the_objective_never_rises_in_3_000_problems(problem):
    check_that_it_never_rises(**problem)


def check_that_it_never_rises(method, hidden, n, seed, scale, decay, dtype, **more):
    rng = np.random.default_rng(seed)
    X, y = scale * rng.normal(size=(n, 2)), rng.normal(size=(n, 3))
    weights = rng.integers(0, 3, n) + (np.arange(n) == 0.0)
    more |= {"seed": seed, "weight_decay": decay, "dtype": dtype}
    trainer = net([2, *hidden, 3], method, **more)
    before = objective(trainer, X, y, weights)
    assume(np.isfinite(before))
    rounding = 1e-6 if dtype == "float32" else 1e-13
    for _ in range(4):
        trainer.fit(X, y, 2, sample_weight=weights)
        after = objective(trainer, X, y, weights)
        assert after <= before + rounding * abs(before)
        assert np.isfinite(trainer.parameters).all()
        before = after


# Both backends, all routes, any number of threads.


@every_method
@every_route
@pytest.mark.parametrize("weighted", [False, True])
def test_the_backends_agree(route, method, weighted, rng):
    sizes, n = ROUTES[route]
    X, y = data(sizes, n, "half_squared_error", False, rng)
    weights = rng.uniform(0.0, 2.0, n) * (np.arange(n) % 7 > 0) if weighted else None
    ref, comp = (
        net(sizes, method, weight_decay=0.01, dtype="float64", backend=backend)
        for backend in ("numpy", "numba")
    )
    expected = ref.fit(X, y, 10, sample_weight=weights)
    found = comp.fit(X, y, 10, sample_weight=weights)
    # Conjugate gradients differ by what a difference of gradients, 1e-4 apart, leaves of rounding.
    rtol = 1e-5 if method == "scg" else 1e-8
    for name, column in expected.columns.items():
        if name != "seconds":
            np.testing.assert_allclose(found.columns[name], column, rtol=rtol, err_msg=name)
    np.testing.assert_allclose(comp.parameters, ref.parameters, rtol=rtol, atol=rtol)


@every_method
def test_the_backends_agree_in_the_first_epochs_of_float32(method, rng):
    X, y = data([5, 4, 3], 50, "half_squared_error", False, rng)
    ref, comp = (
        net([5, 4, 3], method, dtype="float32", backend=backend) for backend in ("numpy", "numba")
    )
    np.testing.assert_allclose(comp.fit(X, y, 3).loss, ref.fit(X, y, 3).loss, rtol=1e-3)


@both_dtypes
@every_method
@every_route
def test_bits_do_not_depend_on_the_number_of_threads(route, method, dtype, rng, monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 3)
    monkeypatch.setattr(threads, "choose", lambda n, *_: n)
    sizes, n = ROUTES[route]
    X, y = data(sizes, n, "half_squared_error", False, rng)
    found = []
    for n_threads in (1, 2, 3):
        trainer = net(sizes, method, dtype=dtype, backend="numba", n_threads=n_threads)
        loss = trainer.fit(X, y, 6).loss
        found.append(np.concatenate([loss, trainer.parameters, trainer._model.state.slots.ravel()]))
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


@every_method
@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_threads_that_are_halted_leave_a_whole_net(method, n_threads, rng, monkeypatch):
    monkeypatch.setattr(threads, "choose", lambda n, *_: n)
    sizes, n = ROUTES["lanes, tiles"]
    X, y = data(sizes, n, "half_squared_error", False, rng)
    trainer = net(sizes, method, dtype="float64", backend="numba")
    state = trainer._model.state
    before = state.params.copy()
    prepared = compiled.prepare(trainer._model.spec, n, X.dtype, n_threads, 1)
    steps = Steps(X, y, None, None, np.zeros(3), np.ones(3), 0, 3)
    prepared.gate[HALT] = 1
    reached = compiled.train(prepared, state.params, state.slots, steps, 0, 0)
    assert reached == compiled.HALTED
    np.testing.assert_array_equal(state.params, before)
    assert compiled.train(prepared, state.params, state.slots, steps, 0, 0) == 3
    compiled.close(prepared)
    assert (state.params != before).all()


@both_dtypes
@every_method
def test_two_fits_are_one_bit_for_bit(method, dtype, backend, tmp_path):
    X, y = curve()
    one, two = (net([1, 4, 1], method, dtype=dtype, backend=backend) for _ in range(2))
    expected = one.fit(X, y, 40)
    two.fit(X, y, 25)
    two.save(tmp_path / "net")
    two = pickle.loads(pickle.dumps(Trainer.load(tmp_path / "net")))
    assert two.optimizer == METHODS[method]()
    two.fit(X, y, 15)
    np.testing.assert_array_equal(two.parameters, one.parameters)
    for name, column in expected.columns.items():
        if name != "seconds":
            np.testing.assert_array_equal(two.history.columns[name], column)


@every_method
def test_calls_of_any_length_give_the_same_bits(method, backend, monkeypatch):
    X, y = curve()
    expected = net([1, 4, 1], method, backend=backend)
    expected.fit(X, y, 20)
    limit_calls(monkeypatch, 1)
    found, seen = net([1, 4, 1], method, backend=backend), []
    found.fit(X, y, 20, callbacks=lambda trainer, epoch, logs: seen.append(logs["evaluations"]))
    np.testing.assert_array_equal(found.parameters, expected.parameters)
    np.testing.assert_array_equal(seen, expected.history.metrics["evaluations"])


@every_method
def test_a_fleet_has_the_bits_of_its_members(method, backend):
    X, y = curve()
    fleet = Fleet(
        [1, 4, 1], members=3, seed=5, optimizer=method, activation="tanh",
        output_activation="identity", weight_decay=[0.0, 0.01, 0.1], backend=backend,
    )  # fmt: skip
    alone = [fleet[i] for i in range(3)]
    fleet.fit(X, y, 15)
    for i, trainer in enumerate(alone):
        trainer.fit(X, y, 15)
        np.testing.assert_array_equal(fleet.parameters[i], trainer.parameters)


# The end.


@every_method
def test_they_end_by_the_gradient(method, backend):
    X, y = curve()
    trainer = net([1, 4, 1], METHODS[method](min_gradient=1e-3), backend=backend)
    history = trainer.fit(X, y, 2000)
    assert history.ended == trainer.history.ended == BY_GRADIENT
    assert np.abs(gradient_of(trainer, X, y)).max() <= 1e-3
    assert len(trainer.fit(X, y, 5).loss) == 0
    assert len(trainer.fit(X, 9.0 * y, 5).loss) == 5  # it begins anew


@every_method
def test_they_end_without_progress(method, backend):
    X, y = curve()
    trainer = net([1, 4, 1], METHODS[method](tolerance=0.01), backend=backend)
    losses = [trainer.evaluate(X, y)]
    history = trainer.fit(X, y, 500)
    assert history.ended == BY_TOLERANCE
    losses = np.append(losses, history.loss)
    falls = 1 - losses[1:] / losses[:-1]
    assert (falls[:-1] >= 0.01).all()
    assert falls[-1] < 0.01


@every_method
def test_they_end_where_no_step_is_found(method, backend):
    # The loss is a kink, at its minimum: no derivative is 0.
    trainer = Trainer(
        [1, 1], output_activation="identity", init=([[[0.0]]], [[1.0]]), backend=backend,
        loss=Quantile(0.3), optimizer=METHODS[method](tolerance=0.0),
    )  # fmt: skip
    X, y = np.zeros((3, 1)), np.array([1.0, 1.0 + 1e-3, 3.0])
    history = trainer.fit(X, y, 200)
    assert history.ended == BY_STEP
    assert history.loss.size == 0 or history.loss[-1] < 0.21


@every_method
def test_a_loss_that_is_not_finite_is_divergence(method, backend):
    X, y = curve()
    trainer = net([1, 2, 1], method, activation="identity", backend=backend)
    trainer.parameters[:] = 1e200
    with pytest.raises(DivergenceError):
        trainer.fit(X, y, 5)
    assert (trainer.parameters == 1e200).all()


def hard_cases(rng):
    """Return samples by name."""
    X, y = rng.normal(size=(20, 3)), rng.normal(size=(20, 2))
    return {
        "one sample": (X[:1], y[:1]),
        "constant column": (np.where(np.arange(3) == 1, 7.0, X), y),
        "equal rows": (np.repeat(X[:1], 20, axis=0), y),
        "tiny targets": (X, 1e-9 * y),
        "huge targets": (X, 1e9 * y),
        "huge inputs": (1e9 * X, y),
        "exact": (X, net([3, 4, 2], "lbfgs").predict(X)),
    }


@both_dtypes
@every_method
@pytest.mark.parametrize("name", list(hard_cases(np.random.default_rng(0))))
def test_hard_problems_end_with_a_finite_net(name, method, dtype, backend, rng):
    X, y = hard_cases(rng)[name]
    trainer = net([3, 4, 2], method, dtype=dtype, backend=backend)
    before = trainer.evaluate(X, y)
    history = trainer.fit(X, y, 200)
    assert np.isfinite(trainer.parameters).all()
    assert np.isfinite(history.loss).all()
    assert trainer.evaluate(X, y) <= before
    if name == "one sample":
        assert trainer.evaluate(X, y) < 1e-8


# What else they take.


@every_method
@pytest.mark.parametrize("loss", ["absolute_error", "quantile", "poisson", GaussianNLL(), "own"])
def test_they_take_every_loss(method, loss, backend, rng):
    sizes = [3, 5, 2]
    X, y = data(sizes, 20, "gaussian_nll" if isinstance(loss, GaussianNLL) else "huber", False, rng)
    if loss == "own":
        loss = CustomLoss(lambda a, y: (a - y) ** 4, lambda a, y: 4 * (a - y) ** 3, name="fourth")
    trainer = net(sizes, method, loss=loss, backend=backend)
    before, history = trainer.evaluate(X, y), trainer.fit(X, y, 30)
    assert (np.diff(np.append(before, history.loss)) < 0).all()
    if loss != "absolute_error" and loss != "quantile":
        check_gradients(trainer, X, y)


@every_method
def test_classes_with_labels_and_weights(method, backend, rng):
    X = rng.normal(size=(90, 2))
    y = (X[:, 0] > 0) + (X[:, 1] > X[:, 0]).astype(int)
    trainer = Trainer(
        [2, 8, 3], activation="tanh", output_activation="softmax", loss="cross_entropy", seed=0,
        optimizer=method, weight_decay=1e-3, backend=backend,
    )  # fmt: skip
    trainer.fit(X, y, 100, sample_weight=rng.uniform(0.5, 2.0, 90))
    assert (trainer.predict(X).argmax(axis=1) == y).mean() > 0.97


@every_method
def test_early_stopping_follows_them(method, backend):
    X, y = curve(12)
    stopping = EarlyStopping(monitor="validation_loss", patience=3, restore_best=True)
    trainer = net([1, 8, 1], method, backend=backend)
    history = trainer.fit(X, y, 500, validation_data=(X + 0.1, y), callbacks=stopping)
    assert len(history.loss) < 500
    assert trainer.evaluate(X + 0.1, y) == history.validation_loss.min()


def test_nets_of_more_than_20_000_parameters_are_taken(backend, rng):
    X, y = rng.normal(size=(20, 100)), rng.normal(size=(20, 3))
    for method in METHODS:
        trainer = net([100, 200, 3], method, backend=backend)
        assert trainer.parameters.size > 20_000
        history = trainer.fit(X, y, 5)
        assert history.loss[-1] < history.loss[0]


def test_memory_decides_how_much_is_kept(tmp_path):
    X, y = curve()
    trainers = [net([1, 4, 1], LBFGS(memory=m)) for m in (1, 3, 10)]
    losses = [trainer.fit(X, y, 60).loss for trainer in trainers]
    assert [len(t._model.state.slots) for t in trainers] == [4, 8, 22]
    np.testing.assert_array_equal(losses[1][:4], losses[2][:4])
    assert (losses[1][4:] != losses[2][4:]).all()


# Settings.


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ScaledConjugateGradient(sigma=0), "sigma must be a finite number above 0"),
        (lambda: ScaledConjugateGradient(scale=0), "scale must be a finite number at least 1e-30"),
        (lambda: ScaledConjugateGradient(min_gradient=-1), "min_gradient must be .* at least 0"),
        (lambda: LBFGS(memory=0), "memory must be an integer of at least 1; got 0"),
        (lambda: LBFGS(c2=1), "c2 must be a finite number above 0 and below 1; got 1.0"),
        (lambda: LBFGS(c1=0.95), "c1 must be a finite number above 0 and below 0.9; got 0.95"),
        (lambda: LBFGS(line_steps=0), "line_steps must be an integer of at least 1; got 0"),
        (lambda: LBFGS(tolerance=1), "tolerance must be a finite number at least 0 and below 1"),
    ],
)
def test_bad_settings(make, words):
    with pytest.raises(ValueError, match=f"^{words}"):
        make()


@every_method
@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"dropout": 0.1}, "dropout must be 0 with the optimizer"),
        ({"clip_norm": 1.0}, "clip_norm must be None with the optimizer"),
        ({"learning_rate": 0.1}, r"learning_rate must be None \(or 1.0\) with the optimizer"),
    ],
    ids=str,
)
def test_what_does_not_go_with_them(method, bad, words):
    for make in (Trainer, lambda sizes, **given: Fleet(sizes, members=2, **given)):
        with pytest.raises(ValueError, match=f"^{words} {METHODS[method].__name__}"):
            make([1, 3, 1], optimizer=method, **bad)
    X, y = curve()
    with pytest.raises(ValueError, match=r"^batch_size must be None or at least"):
        net([1, 3, 1], method, batch_size=8).fit(X, y, 1)


def test_files_with_impossible_counts_are_refused(tmp_path):
    X, y = curve()
    trainer = net([1, 4, 1], "lbfgs")
    trainer.fit(X, y, 3)
    trainer._model.state.slots[1, 0] = 21.0
    trainer.save(tmp_path / "net")
    with pytest.raises(ValueError, match=r"slot 1 of its optimizer must be within \[0, 20\]"):
        Trainer.load(tmp_path / "net")
