"""The Levenberg-Marquardt method: its settings, its steps against NumPy's lstsq, and its end."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from jitprop import (
    SGD,
    BinaryCrossEntropy,
    Callback,
    CheckpointError,
    CrossEntropy,
    CustomLoss,
    DivergenceError,
    EarlyStopping,
    Exponential,
    Fleet,
    Huber,
    LevenbergMarquardt,
    Trainer,
    check_gradients,
    export,
    reference_second_order,
    sweep,
)
from jitprop.data.samples import Steps
from jitprop.net.second_order import REASONS
from jitprop.reference_second_order import Problem, damped_step
from jitprop.training.history import History

LOSSES = {
    "half_squared_error": ("identity", "half_squared_error"),
    "half_squared_error of sigmoids": ("sigmoid", "half_squared_error"),
    "squared_error": ("tanh", "squared_error"),
    "huber": ("identity", Huber(0.3)),
    "poisson": ("exp", "poisson"),
    "poisson of logarithms": ("identity", "poisson"),
    "binary_cross_entropy": ("sigmoid", BinaryCrossEntropy(label_smoothing=0.1)),
    "cross_entropy": ("softmax", CrossEntropy(class_weight=[1.0, 2.0, 0.5])),
}
every_loss = pytest.mark.parametrize("kind", LOSSES)
BY_GRADIENT, BY_STEP, BY_TOLERANCE = REASONS[1:]


def net(sizes, kind="half_squared_error", **more):
    output, loss = LOSSES[kind]
    more = {"activation": "tanh", "optimizer": "lm", "seed": 3, "backend": "numpy"} | more
    return Trainer(sizes, output_activation=output, loss=loss, **more)


def samples(sizes, n, rng, kind="half_squared_error"):
    X = rng.normal(size=(n, sizes[0]))
    if kind == "cross_entropy":
        return X, rng.integers(0, sizes[-1], n)
    y = rng.uniform(0.0, 1.0, (n, sizes[-1]))
    return X, np.floor(4 * y) if kind.startswith("poisson") else y


def curve(n=30):
    X = np.linspace(-1, 1, n)[:, None]
    return X, np.sin(3 * X)


def problem_of(trainer, X, y, weights=None):
    """Return the residual form of a trainer's loss on these samples."""
    made = trainer._model.samples(X, y, weights, trainer.parameters.dtype)
    return Problem.of(trainer._model.spec, made.read())


def flat(gradients):
    pairs = zip(gradients.weights, gradients.biases, strict=True)
    return np.concatenate([part.ravel() for pair in pairs for part in pair])


# The residual form.


@every_loss
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("hidden", [[4], [3, 4], [3, 2, 3]], ids=str)
def test_rows_and_residuals_give_the_gradient(kind, reduction, hidden, rng):
    sizes = [2, *hidden, 3]
    X, y = samples(sizes, 7, rng, kind)
    trainer = net(sizes, kind, reduction=reduction)
    for weights in (None, rng.uniform(0.1, 2.0, 7)):
        R, r = problem_of(trainer, X, y, weights).rows(trainer.parameters)
        assert R.shape == (21, trainer.parameters.size)
        expected = flat(trainer.gradients(X, y, sample_weight=weights))
        np.testing.assert_allclose(R.T @ r, expected, rtol=1e-12, atol=1e-14)


@every_loss
def test_saturated_outputs_keep_the_gradient(kind, rng):
    X, y = samples([2, 3, 3], 5, rng, kind)
    trainer = net([2, 3, 3], kind)
    trainer.parameters[-6:] *= 300.0
    trainer.parameters[-3:] = [700.0, -700.0, 3.0] if "poisson" not in kind else [50, -700.0, 3.0]
    R, r = problem_of(trainer, X, y).rows(trainer.parameters)
    expected = flat(trainer.gradients(X, y))
    assert np.isfinite(r).all()
    np.testing.assert_allclose(R.T @ r, expected, rtol=1e-9, atol=1e-14)


def test_rows_are_derivatives_of_the_outputs(rng):
    X, y = samples([2, 4, 3, 2], 6, rng)
    trainer = net([2, 4, 3, 2])
    R, r = problem_of(trainer, X, y).rows(trainer.parameters)
    np.testing.assert_allclose(r, ((trainer.predict(X) - y) / np.sqrt(6)).T.ravel(), rtol=1e-12)
    W = trainer.parameters
    for j in range(W.size):
        at, found = W[j], []
        for step in (1e-6, -1e-6):
            W[j] = at + step
            found.append(trainer.predict(X))
        W[j] = at
        slope = (found[0] - found[1]) / 2e-6 / np.sqrt(6)
        np.testing.assert_allclose(R[:, j], slope.T.ravel(), atol=1e-8)


def test_cross_entropy_has_the_curvature_of_softmax(rng):
    X, y = samples([2, 3], 4, rng, "cross_entropy")
    trainer = Trainer(
        [2, 3], output_activation="softmax", loss="cross_entropy", optimizer="lm", seed=1,
        backend="numpy",
    )  # fmt: skip
    R, _ = problem_of(trainer, X, y).rows(trainer.parameters)
    expected = np.zeros((9, 9))
    for x, p in zip(X, trainer.predict(X), strict=True):
        dz = np.hstack([np.kron(x, np.eye(3)), np.eye(3)])
        expected += dz.T @ (np.diag(p) - np.outer(p, p)) @ dz / 4
    np.testing.assert_allclose(R.T @ R, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("kind", ["binary_cross_entropy", "poisson"])
def test_the_generalised_matrix_is_the_second_derivative_of_a_net_without_hidden_layer(kind, rng):
    X, y = samples([2, 1], 5, rng, kind)
    trainer = net([2, 1], kind)
    R, _ = problem_of(trainer, X, y).rows(trainer.parameters)
    W, columns = trainer.parameters, []
    for j in range(3):
        at, found = W[j], []
        for step in (1e-6, -1e-6):
            W[j] = at + step
            found.append(flat(trainer.gradients(X, y)))
        W[j] = at
        columns.append((found[0] - found[1]) / 2e-6)
    np.testing.assert_allclose(R.T @ R, columns, rtol=1e-7, atol=1e-9)


# Steps.


def one_step(trainer, X, y, weights, damping):
    """Solve the damped system of a trainer's first step by `numpy.linalg.lstsq`."""
    problem = problem_of(trainer, X, y, weights)
    W, decays = trainer.parameters.astype(float), problem.decays
    R, r = problem.rows(trainer.parameters)
    scales = np.maximum((R**2).sum(axis=0), trainer.optimizer.min_scale)
    stacked = np.vstack([R, np.diag(np.sqrt(damping * scales)), np.diag(np.sqrt(decays))])
    right = -np.concatenate([r, np.zeros(W.size), np.sqrt(decays) * W])
    return np.linalg.lstsq(stacked, right, rcond=None)[0]


@every_loss
@pytest.mark.parametrize("n", [4, 40], ids=["dual", "primal"])
@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_one_step_solves_the_damped_system(kind, n, decay, backend, rng):
    sizes = [2, 5, 3]
    X, y = samples(sizes, n, rng, kind)
    weights = rng.uniform(0.5, 2.0, n)
    trainer = net(sizes, kind, weight_decay=decay, backend=backend)
    before, starts = trainer.parameters.copy(), trainer.evaluate(X, y, sample_weight=weights)
    history = trainer.fit(X, y, 1, sample_weight=weights)
    step = trainer.parameters - before
    assert history.loss[0] == pytest.approx(
        trainer.evaluate(X, y, sample_weight=weights), rel=1e-12
    )
    trainer.parameters[:] = before
    damping = history.metrics["damping"][0]
    expected = one_step(trainer, X, y, weights, damping)
    np.testing.assert_allclose(step, expected, rtol=1e-9, atol=1e-9)
    assert decay or history.loss[0] < starts


def test_the_dual_system_gives_the_same_step(rng):
    R, r, W = rng.normal(size=(5, 9)), rng.normal(size=5), rng.normal(size=9)
    decays, damped = np.where(np.arange(9) < 6, 0.3, 0.0), rng.uniform(0.01, 0.1, 9)
    more = np.vstack([R, np.zeros((9, 9))])  # rows of 0 change nothing, but there are more of them
    np.testing.assert_allclose(
        damped_step(R, r, W, decays, damped),
        damped_step(more, np.append(r, np.zeros(9)), W, decays, damped),
        rtol=1e-10,
    )


def test_history_tells_of_each_step(backend):
    X, y = curve()
    trainer = net([1, 4, 1], backend=backend)
    norm = np.abs(flat(trainer.gradients(X, y))).max()
    history = trainer.fit(X, y, 12)
    damping, rejected = history.metrics["damping"], history.metrics["rejected_steps"]
    assert history.metrics["gradient_norm"][0] == pytest.approx(norm, rel=1e-9)
    assert (rejected >= 0).all()
    assert (rejected == np.floor(rejected)).all()
    assert (damping > 0).all()
    assert (history.learning_rate == 1.0).all()
    assert history.loss[-1] == pytest.approx(trainer.evaluate(X, y), rel=1e-12)
    assert (np.diff(history.loss) < 0).all()
    assert {"damping", "gradient_norm", "rejected_steps"} < set(history.columns)
    assert trainer.epochs_trained == 12
    assert history.ended == trainer.history.ended == ""


def test_damping_follows_its_rule(backend):
    X, y = curve()
    rule = LevenbergMarquardt(damping=1e-4, decrease=0.25, increase=3.0)
    trainer = net([1, 4, 1], optimizer=rule, weight_decay=1e-4, backend=backend)
    next_one, scales, seen = 1e-4, np.full(13, rule.min_scale), set()
    for _ in range(25):
        problem, W = problem_of(trainer, X, y), trainer.parameters.copy()
        R, r = problem.rows(W)
        before = problem.objective(W, problem.loss(W))
        numbers = trainer.fit(X, y, 1).metrics
        damping, rejected = numbers["damping"][0], int(numbers["rejected_steps"][0])
        assert damping == pytest.approx(next_one * np.prod(3.0 * 2.0 ** np.arange(rejected)))
        step, gradient = trainer.parameters - W, R.T @ r + problem.decays * W
        after = problem.objective(trainer.parameters, problem.loss(trainer.parameters))
        scales = np.maximum(scales, (R**2).sum(axis=0))
        gain = (before - after) / (step @ (damping * scales * step - gradient) / 2)
        factor = np.clip(1 - (2 * gain - 1) ** 3, 0.25, 2.0)
        next_one = damping * factor
        seen.add("shrinks" if factor == 0.25 else "grows" if factor > 1 else "between")
        seen.add("rejected" if rejected else "taken")
    assert seen == {"shrinks", "grows", "between", "rejected", "taken"}


SMALL = st.integers(1, 4)


PROBLEMS = {
    "kind": st.sampled_from(list(LOSSES)),
    "hidden": st.lists(SMALL, max_size=2),
    "n": st.integers(1, 12),
    "activation": st.sampled_from(["tanh", "sigmoid", "relu", "softplus"]),
    "seed": st.integers(0, 999),
    "scale": st.sampled_from([1e-3, 1.0, 1e2]),
    "decay": st.sampled_from([0.0, 1e-3, 1.0]),
    "dtype": st.sampled_from(["float64", "float32"]),
}
"""What random problems differ in."""


@settings(max_examples=60, deadline=None, derandomize=True)
@given(problem=st.fixed_dictionaries(PROBLEMS))
def test_the_objective_never_rises(problem):
    check_that_it_never_rises(**problem)


@pytest.mark.long
@settings(max_examples=10_000, deadline=None, derandomize=True)
@given(problem=st.fixed_dictionaries(PROBLEMS))
def test_the_objective_never_rises_in_10_000_problems(problem):
    check_that_it_never_rises(**problem)


def check_that_it_never_rises(kind, hidden, n, activation, seed, scale, decay, dtype):
    rng = np.random.default_rng(seed)
    sizes = [2, *hidden, 3]
    X, y = samples(sizes, n, rng, kind)
    weights = rng.integers(0, 3, n) + (np.arange(n) == 0.0)
    more = {"activation": activation, "seed": seed, "weight_decay": decay, "dtype": dtype}
    trainer = net(sizes, kind, **more)
    before = objective(trainer, scale * X, y, weights)
    assume(np.isfinite(before))
    rounding = 1e-6 if dtype == "float32" else 1e-13
    for _ in range(4):
        trainer.fit(scale * X, y, 2, sample_weight=weights)
        after = objective(trainer, scale * X, y, weights)
        assert after <= before + rounding * abs(before)
        assert np.isfinite(trainer.parameters).all()
        before = after


@pytest.mark.parametrize("method", ["lm", "bayesian"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_curvature_that_float32_cannot_hold_is_no_divergence(dtype, method, backend):
    X, y = np.array([[1e19], [2e19]]), np.array([[1.0], [2.0]])
    trainer = Trainer(
        [1, 1], output_activation="identity", optimizer=method, reduction="sum", dtype=dtype,
        init=([[[1e-20]]], [[0.0]]), backend=backend,
    )  # fmt: skip
    trainer.fit(X, y, 5)
    assert np.isfinite(trainer.parameters).all()


def objective(trainer, X, y, weights):
    squares = sum(float((W.astype(float) ** 2).sum()) for W in trainer.weights)
    loss = trainer.evaluate(X, y, sample_weight=weights)
    return loss + 0.5 * trainer.weight_decay * squares


# The end.


def test_it_ends_by_the_gradient(backend):
    X, y = curve(8)
    trainer = net([1, 6, 1], backend=backend)
    history = trainer.fit(X, y, 1000)
    assert history.ended == trainer.history.ended == BY_GRADIENT
    assert len(history.loss) == trainer.epochs_trained < 1000
    assert np.abs(flat(trainer.gradients(X, y))).max() <= 1e-7
    assert repr(history).endswith(f", ended: {BY_GRADIENT})")


def test_it_ends_by_the_damping(backend):
    X, y = curve()
    way = LevenbergMarquardt(min_gradient=0.0, max_damping=10.0, tolerance=0.0)
    trainer = net([1, 2, 1], optimizer=way, dtype="float32", backend=backend)
    history = trainer.fit(X, y, 5000)
    assert history.ended == BY_STEP
    assert len(history.loss) < 5000


@pytest.mark.parametrize("most", [0.1, 0.7])  # float32 has a larger number, or a smaller one
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_largest_damping_is_allowed_in_both_dtypes(dtype, most, backend, tmp_path):
    X, y = curve()
    way = LevenbergMarquardt(damping=most, max_damping=most, decrease=0.999)
    trainer = net([1, 4, 1], optimizer=way, dtype=dtype, backend=backend)
    trainer.fit(X, y, 1)
    assert trainer.epochs_trained == 1
    trainer._model.state.slots[1, 0] = most  # as after a step that fell less than was predicted
    trainer.save(tmp_path / "net")
    again = Trainer.load(tmp_path / "net")
    again.fit(X, y, 1)
    assert again.epochs_trained == 2


def test_it_ends_without_progress(backend):
    X, y = curve()
    trainer = net([1, 4, 1], optimizer=LevenbergMarquardt(tolerance=0.1), backend=backend)
    losses = [trainer.evaluate(X, y)]
    history = trainer.fit(X, y, 100)
    assert history.ended == BY_TOLERANCE
    losses = np.append(losses, history.loss)
    falls = 1 - losses[1:] / losses[:-1]
    assert (falls[:-1] >= 0.1).all()
    assert falls[-1] < 0.1


def test_what_has_ended_begins_anew_or_stays_so(backend):
    X, y = curve(8)
    trainer = net([1, 6, 1], backend=backend)
    trainer.fit(X, y, 1000)
    done, before = trainer.epochs_trained, trainer.parameters.copy()
    resumed = trainer.fit(X, y, epochs_total=2000)
    assert (len(resumed.loss), resumed.ended) == (0, BY_GRADIENT)
    again = trainer.fit(X, y, 5)
    assert (len(again.loss), again.ended) == (0, BY_GRADIENT)
    np.testing.assert_array_equal(trainer.parameters, before)
    other = trainer.fit(X, y + 1.0, 5)
    assert len(other.loss) > 0
    assert trainer.epochs_trained == done + len(other.loss)
    assert other.metrics["damping"][0] == trainer.optimizer.damping


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_end_before_the_first_epoch_is_no_failure(dtype, backend):
    trainer = net([1, 2, 1], backend=backend)
    for W in trainer.weights:
        W[:] = 0.0
    history = trainer.fit(np.ones((3, 1), dtype), np.zeros((3, 1)), 10)
    assert (len(history.loss), history.ended) == (0, BY_GRADIENT)
    assert trainer.history.ended == BY_GRADIENT
    assert trainer.parameters.dtype == dtype
    assert repr(history) == f"History(0 epochs, ended: {BY_GRADIENT})"


# Going on.


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("loaded", [False, True])
def test_two_fits_are_one_bit_for_bit(dtype, loaded, backend, tmp_path):
    X, y = curve()
    one, two = (net([1, 4, 1], dtype=dtype, backend=backend) for _ in range(2))
    expected = one.fit(X, y, 10)
    two.fit(X, y, 5)
    if loaded:
        two.save(tmp_path / "net")
        two = Trainer.load(tmp_path / "net")
    two = pickle.loads(pickle.dumps(two))
    two.fit(X, y, 5)
    np.testing.assert_array_equal(two.parameters, one.parameters)
    for name in ("loss", "damping", "gradient_norm", "rejected_steps"):
        np.testing.assert_array_equal(two.history.columns[name], expected.columns[name])


def test_a_file_says_why_it_ended(tmp_path, backend):
    X, y = curve(8)
    trainer = net([1, 6, 1], optimizer=LevenbergMarquardt(increase=8.0), backend=backend)
    trainer.fit(X, y, 1000)
    trainer.save(tmp_path / "net")
    loaded = Trainer.load(tmp_path / "net")
    assert loaded.history.ended == BY_GRADIENT
    assert loaded.optimizer == LevenbergMarquardt(increase=8.0)
    assert len(loaded.fit(X, y, epochs_total=2000).loss) == 0


def test_calls_of_any_length_give_the_same_bits(backend, monkeypatch):
    from nets import limit_calls

    X, y = curve()
    expected = net([1, 4, 1], backend=backend)
    expected.fit(X, y, 9)
    limit_calls(monkeypatch, 1)
    found = net([1, 4, 1], backend=backend)
    history = found.fit(X, y, 9, callbacks=lambda *_: None)
    np.testing.assert_array_equal(found.parameters, expected.parameters)
    np.testing.assert_array_equal(history.loss, expected.history.loss)


def test_what_interrupts_a_step_leaves_whole_epochs(monkeypatch):
    X, y = curve()
    trainer, calls = net([1, 4, 1]), []
    plain = reference_second_order.damped_step

    def interrupted(*args):
        calls.append(args)
        if len(calls) == 12:
            raise KeyboardInterrupt
        return plain(*args)

    monkeypatch.setattr(reference_second_order, "damped_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, y, 50, callbacks=lambda *_: None)
    done = trainer.epochs_trained
    assert 0 < done < 12
    assert len(trainer.history.loss) == len(trainer.history.metrics["damping"]) == done
    trainer.fit(X, y, epochs_total=20)
    expected = net([1, 4, 1])
    expected.fit(X, y, 20)
    np.testing.assert_array_equal(trainer.parameters, expected.parameters)
    np.testing.assert_array_equal(trainer.history.loss, expected.history.loss)


def test_a_callback_may_stop_or_raise(backend):
    X, y = curve()

    def stop(trainer, epoch, logs):
        if epoch == 3:
            trainer.stop()

    def fail(trainer, epoch, logs):
        if epoch == 6:
            raise OSError("no room")

    trainer, expected = (net([1, 4, 1], backend=backend) for _ in range(2))
    assert trainer.fit(X, y, 50, callbacks=stop).ended == ""
    assert trainer.epochs_trained == 4
    with pytest.raises(OSError, match="no room"):
        trainer.fit(X, y, 50, callbacks=fail)
    expected.fit(X, y, 7)
    np.testing.assert_array_equal(trainer.parameters, expected.parameters)
    np.testing.assert_array_equal(trainer.history.loss, expected.history.loss)


def test_partial_fit_takes_one_step(backend):
    X, y = curve()
    one, two = (net([1, 4, 1], backend=backend) for _ in range(2))
    one.fit(X, y, 3)
    for _ in range(3):
        two.partial_fit(X, y)
    np.testing.assert_array_equal(one.parameters, two.parameters)
    assert (two.history.metrics["damping"] == one.history.metrics["damping"]).all()


# What follows each epoch.


def test_validation_early_stopping_and_callbacks(backend):
    X, y = curve(12)
    held_out = X + 0.03, y + 0.2
    trainer, seen = net([1, 6, 1], backend=backend), []

    class Look(Callback):
        def on_epoch_end(self, trainer, epoch, logs):
            seen.append((epoch, logs["damping"], trainer.parameters.copy()))

    stopping = EarlyStopping(monitor="validation_loss", patience=2, restore_best=True)
    history = trainer.fit(
        X, y, 500, validation_data=held_out, metrics="mse", callbacks=[stopping, Look()]
    )
    assert len(history.validation_loss) == len(seen) < 500
    np.testing.assert_array_equal(history.metrics["damping"], [damping for _, damping, _ in seen])
    best = history.validation_loss.argmin()
    np.testing.assert_array_equal(trainer.parameters, seen[best][2])
    assert trainer.evaluate(*held_out) == history.validation_loss[best]
    assert history.metrics["validation_mse"][best] == pytest.approx(
        2 * history.validation_loss[best], rel=1e-12
    )


def test_a_fit_that_ends_tells_callbacks_of_done_epochs_alone(backend):
    X, y = curve(8)
    epochs = []
    trainer = net([1, 6, 1], backend=backend)

    def see(trainer, epoch, logs):
        epochs.append(epoch)

    history = trainer.fit(X, y, 1000, validation_data=(X, y), callbacks=see)
    assert epochs == list(range(len(history.loss)))
    assert history.ended == BY_GRADIENT
    np.testing.assert_allclose(history.validation_loss, history.loss, rtol=1e-9, atol=1e-15)


def test_early_stopping_may_watch_what_the_method_tells(backend):
    X, y = curve()
    stopping = EarlyStopping(monitor="gradient_norm", patience=1, restore_best=False)
    history = net([1, 4, 1], backend=backend).fit(X, y, 200, callbacks=stopping)
    assert len(history.loss) == stopping.best_epoch + 2


def test_a_metric_may_not_take_a_told_name():
    def damping(y, prediction):
        return 0.0

    with pytest.raises(ValueError, match=r"^metrics must not be named 'damping'"):
        net([1, 2, 1]).fit(*curve(), 1, metrics=damping)


# Samples and nets of every kind.


def test_samples_of_weight_0_do_not_count(backend, rng):
    X, y = samples([2, 3, 1], 9, rng)
    weights = np.where(np.arange(9) < 6, 1.0, 0.0)
    one, two = (net([2, 3, 1], activation="softplus", backend=backend) for _ in range(2))
    one.fit(X[:6], y[:6], 8)
    X[6:], y[6:] = 1e300, -1e300
    two.fit(X, y, 8, sample_weight=weights)
    np.testing.assert_allclose(two.parameters, one.parameters, rtol=1e-6, atol=1e-9)


def test_integer_weights_count_rows(backend, rng):
    X, y = samples([2, 3, 1], 6, rng)
    weights = np.array([1, 2, 3, 1, 2, 1])
    one, two = (net([2, 3, 1], backend=backend) for _ in range(2))
    one.fit(np.repeat(X, weights, axis=0), np.repeat(y, weights, axis=0), 3)
    two.fit(X, y, 3, sample_weight=weights)
    np.testing.assert_allclose(two.parameters, one.parameters, rtol=1e-8)


def test_squared_error_is_twice_the_half(backend, rng):
    X, y = samples([2, 3, 1], 9, rng)
    one = net([2, 3, 1], backend=backend, optimizer=LevenbergMarquardt(min_scale=0.1))
    two = Trainer(
        [2, 3, 1], activation="tanh", output_activation="identity", loss="squared_error", seed=3,
        optimizer=LevenbergMarquardt(min_scale=0.2), backend=backend,
    )  # fmt: skip
    np.testing.assert_allclose(two.fit(X, y, 4).loss, 2 * one.fit(X, y, 4).loss, rtol=1e-9)


def test_huber_with_a_large_delta_is_half_the_square(backend, rng):
    X, y = samples([2, 3, 1], 9, rng)
    one = net([2, 3, 1], backend=backend)
    two = Trainer(
        [2, 3, 1], activation="tanh", output_activation="identity", loss=Huber(1e3), seed=3,
        optimizer="lm", backend=backend,
    )  # fmt: skip
    np.testing.assert_allclose(two.fit(X, y, 4).loss, one.fit(X, y, 4).loss, rtol=1e-12)


def hard_cases(rng):
    X, y = samples([3, 4, 2], 20, rng)
    constant = X.copy()
    constant[:, 1] = 7.0
    duplicate = net([3, 4, 2])
    duplicate.weights[0][:] = duplicate.weights[0][:, :1]
    duplicate.weights[1][:] = duplicate.weights[1][:1]
    dead = net([3, 4, 2], activation="relu")
    dead.biases[0][:] = -100.0
    return {
        "one sample": (net([3, 4, 2]), X[:1], y[:1]),
        "constant column": (net([3, 4, 2]), constant, y),
        "equal rows": (net([3, 4, 2]), np.repeat(X[:1], 20, axis=0), y),
        "duplicate units": (duplicate, X, y),
        "dead relus": (dead, X, y),
        "tiny targets": (net([3, 4, 2]), X, 1e-9 * y),
        "huge targets": (net([3, 4, 2]), X, 1e9 * y),
        "exact": (net([3, 4, 2]), X, net([3, 4, 2]).predict(X)),
        "huge inputs": (net([3, 4, 2]), 1e9 * X, y),
    }


@pytest.mark.parametrize("name", list(hard_cases(np.random.default_rng(0))))
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_hard_problems_end_with_a_finite_net(name, dtype, backend, rng):
    given_net, X, y = hard_cases(rng)[name]
    trainer = Trainer(
        [3, 4, 2], activation=given_net.activation[0], output_activation="identity",
        optimizer="lm", dtype=dtype, backend=backend, init=(given_net.weights, given_net.biases),
    )  # fmt: skip
    before = trainer.evaluate(X, y)
    history = trainer.fit(X, y, 300)
    assert np.isfinite(trainer.parameters).all()
    assert np.isfinite(history.loss).all()
    assert trainer.evaluate(X, y) <= before
    if name == "exact" and dtype == "float64":
        assert (history.ended, len(history.loss)) == (BY_GRADIENT, 0)
    if name == "one sample":
        assert trainer.evaluate(X, y) < 1e-8


def test_a_loss_that_is_not_finite_is_divergence(backend):
    X, y = curve()
    trainer = net([1, 2, 1], activation="identity", backend=backend)
    trainer.parameters[:] = 1e200
    before = trainer.parameters.copy()
    for call in (lambda: trainer.fit(X, y, 5), lambda: trainer.trace(X, y)):
        with pytest.raises(DivergenceError, match="Try inputs and targets scaled to") as caught:
            call()
        assert "learning_rate" not in str(caught.value)
    np.testing.assert_array_equal(trainer.parameters, before)
    assert trainer.epochs_trained == 0


def test_all_samples_may_stand_in_a_file(backend, tmp_path, rng):
    X, y = samples([2, 3, 1], 30, rng)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    one, two = (net([2, 3, 1], backend=backend) for _ in range(2))
    one.fit(X, y, 4)
    two.fit(mapped, y, 4)
    np.testing.assert_array_equal(one.parameters, two.parameters)
    assert (one.history.metrics["damping"] == two.history.metrics["damping"]).all()


# Settings.


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"damping": 0.0}, "damping must be a finite number at least 1e-20; got 0.0"),
        ({"damping": 1e11}, r"damping must be a number from 1e-20 to 1e\+10; got 100000000000.0"),
        ({"min_scale": 0.0}, "min_scale must be a finite number above 0; got 0.0"),
        ({"decrease": 1.0}, "decrease must be a finite number above 0 and below 1; got 1.0"),
        ({"increase": 1.0}, "increase must be a finite number above 1; got 1.0"),
        ({"max_damping": 1e31}, r"max_damping must be a number from 1e-20 to 1e\+30; got 1e\+31"),
        ({"min_gradient": -1}, "min_gradient must be a finite number at least 0; got -1.0"),
        ({"tolerance": 1.0}, "tolerance must be a finite number at least 0 and below 1; got 1.0"),
    ],
)
def test_bad_settings_of_the_method(bad, words):
    with pytest.raises(ValueError, match=f"^{words}$"):
        LevenbergMarquardt(**bad)


def test_names_of_others_are_explained():
    for name in ("trainlm", "levenberg_marquardt"):
        with pytest.raises(ValueError, match=f"^optimizer '{name}' is unknown: it is 'lm'"):
            Trainer([1, 2, 1], optimizer=name)
    with pytest.raises(TypeError, match=r"write LevenbergMarquardt\(\)$"):
        Trainer([1, 2, 1], optimizer=LevenbergMarquardt)


def test_numbers_of_the_method_are_floats():
    made = LevenbergMarquardt(damping=1, increase=np.float32(2), max_damping=5)
    assert [type(value) for value in vars(made).values()] == [float] * 7
    assert made == LevenbergMarquardt(1.0, increase=2.0, max_damping=5.0)
    with pytest.raises(TypeError, match=r"^damping must be a finite number"):
        LevenbergMarquardt("0.1")


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"dropout": 0.1}, "dropout must be 0 with the optimizer LevenbergMarquardt"),
        ({"clip_norm": 1.0}, "clip_norm must be None with the optimizer LevenbergMarquardt"),
        ({"learning_rate": 0.1}, r"learning_rate must be None \(or 1.0\) with the optimizer"),
        ({"loss": "absolute_error"}, "loss must be one of 'half_squared_error', .* got 'absolute"),
        ({"loss": "quantile"}, "loss must be one of .* got 'quantile'"),
        ({"layer_sizes": [1, 7000, 1]}, r"layer_sizes .* 20,000 parameters .* 21,001, .* 3.5 GB"),
    ],
    ids=str,
)
def test_what_does_not_go_with_the_method(bad, words):
    given = {"layer_sizes": [1, 3, 1], "output_activation": "identity", "optimizer": "lm"} | bad
    sizes = given.pop("layer_sizes")
    with pytest.raises(ValueError, match=f"^{words}"):
        Trainer(sizes, **given)
    with pytest.raises(ValueError, match=f"^{words}"):
        Fleet(sizes, members=2, **given)
    with pytest.raises(ValueError, match=f"{words}"):
        sweep(*curve(), {}, layer_sizes=sizes, epochs=1, seed=0, **given)


def test_schedules_rates_of_members_and_own_losses_are_refused():
    def value(a, y):
        return (a - y) ** 2

    own = CustomLoss(value, lambda a, y: 2 * (a - y), name="squared_error")
    with pytest.raises(ValueError, match=r"^loss must be one of"):
        Trainer([1, 3, 1], loss=own, optimizer="lm")
    with pytest.raises(ValueError, match=r"^learning_rate must be None"):
        Trainer([1, 3, 1], learning_rate=Exponential(0.1, 0.9), optimizer="lm")
    for rates in ([1.0, 0.5], Exponential(0.1, 0.9)):
        with pytest.raises(ValueError, match=r"^learning_rate must be None"):
            Fleet([1, 3, 1], members=2, learning_rate=rates, optimizer="lm")
    assert Fleet([1, 3, 1], members=2, optimizer="lm").learning_rate.tolist() == [1.0, 1.0]
    trainer = Trainer([1, 3, 1], optimizer="lm")
    with pytest.raises(ValueError, match=r"^learning_rate must be None"):
        trainer.learning_rate = 0.5
    trainer.learning_rate = None
    assert trainer.learning_rate == 1.0


def test_batches_must_hold_all_samples(backend):
    X, y = curve(9)
    trainer = net([1, 3, 1], batch_size=8, backend=backend)
    before = trainer.parameters.copy()
    with pytest.raises(ValueError, match=r"^batch_size must be None or at least .* 9, .* got 8$"):
        trainer.fit(X, y, 1)
    with pytest.raises(ValueError, match=r"^the optimizer LevenbergMarquardt needs full batches"):
        trainer.fit([(X, y)], epochs=1)
    with pytest.raises(ValueError, match=r"^batch_size must be None"):
        Fleet([1, 3, 1], members=2, batch_size=8, optimizer="lm").fit(X, y, 1)
    np.testing.assert_array_equal(trainer.parameters, before)
    assert len(net([1, 3, 1], batch_size=9, backend=backend).fit(X, y, 2).loss) == 2


def test_other_optimizers_never_end():
    history = net([1, 2, 1], optimizer=SGD(0.9)).fit(*curve(), 2)
    assert history.ended == ""
    assert history.metrics == {}
    assert "ended" not in repr(history)
    numbers = np.zeros(2)
    assert History(numbers, numbers, {}, numbers, numbers).ended == ""


def test_predictions_are_as_quick_as_those_of_other_nets():
    """The brief way of few samples predicts, and does not train."""
    X, y = curve(4)
    trainer = net([1, 3, 1], backend="numba", dtype="float64")
    trainer.fit(X, y, 1)
    assert trainer._model.brief(X) is not None
    expected = Trainer(
        [1, 3, 1], activation="tanh", output_activation="identity", dtype="float64",
        init=(trainer.weights, trainer.biases),
    )  # fmt: skip
    np.testing.assert_array_equal(trainer.predict(X), expected.predict(X))
    assert trainer.evaluate(X, y) == expected.evaluate(X, y)
    before = trainer.parameters.copy()
    trainer.fit(X, y, 1)
    assert len(trainer.history.metrics["damping"]) == 2
    assert (trainer.parameters != before).any()


def test_the_reference_needs_nobody_who_listens(rng):
    X, y = samples([1, 2, 1], 5, rng)
    trainer = net([1, 2, 1])
    model = trainer._model
    steps = Steps(X, y, None, None, np.zeros(2), np.ones(2), 0, 2)
    from jitprop import reference

    reached = reference.train(model.spec, model.state.params, model.state.slots, steps, 0, 0)
    assert reached == 2
    assert (steps.losses > 0).all()


# What is done with a net.


def test_a_trace_shows_the_step_of_the_method(backend):
    X, y = curve(6)
    trainer = net([1, 3, 1], weight_decay=0.01, backend=backend)
    trainer.fit(X, y, 2)
    before = trainer.parameters.copy()
    trace = trainer.trace(X, y)
    np.testing.assert_array_equal(trainer.parameters, before)
    assert "solve(R.T @ R" in trace.formulas["update_weights[0]"]
    assert "damping" in str(trace)
    trainer.fit(X, y, 1)
    pairs = zip(trace.update_weights, trace.update_biases, strict=True)
    step = np.concatenate([part.ravel() for pair in pairs for part in pair])
    np.testing.assert_allclose(trainer.parameters - before, step, rtol=1e-7, atol=1e-12)


def test_a_trace_of_a_net_that_has_ended_has_no_step(backend):
    X, y = curve(4)
    trainer = net([1, 6, 1], backend=backend)
    assert trainer.fit(X, y, 1000).ended == BY_GRADIENT
    assert not any(step.any() for step in trainer.trace(X, y).update_weights)


def test_gradients_exports_and_copies_are_those_of_any_net(backend, tmp_path):
    X, y = curve()
    trainer = net([1, 4, 1], backend=backend, dtype="float64")
    trainer.fit(X, y, 5)
    assert check_gradients(trainer, X, y + X**2).largest < 1e-6
    export.to_c(trainer, tmp_path / "net.c")
    assert "tanh" in (tmp_path / "net.c").read_text()
    twin = copy.deepcopy(trainer)
    twin.fit(X, y, 3)
    trainer.fit(X, y, 3)
    np.testing.assert_array_equal(twin.parameters, trainer.parameters)
    frame = trainer.history.to_frame()
    assert {"loss", "damping", "gradient_norm", "rejected_steps"} <= set(frame.columns)


def test_a_file_may_not_have_a_state_that_no_fit_leaves(tmp_path):
    X, y = curve()
    for row, value in ((0, 7.0), (0, 0.5), (1, 1e11), (1, -1.0)):
        trainer = net([1, 4, 1])
        trainer.fit(X, y, 2)
        trainer._model.state.slots[row, 0] = value
        trainer.save(tmp_path / "net")
        with pytest.raises(CheckpointError, match=f"slot {row} of its optimizer"):
            Trainer.load(tmp_path / "net")
