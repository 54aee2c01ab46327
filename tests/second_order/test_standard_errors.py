"""``predict(X, return_std=True)``: against formulas, on simulated data, and what it needs."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from jitprop import EarlyStopping, Fleet, LevenbergMarquardt, Trainer
from jitprop.backends import load, threads
from jitprop.training import posterior
from jitprop_kernels.target import INTERPRETED


def net(sizes, **more):
    more = {"activation": "tanh", "output_activation": "identity", "seed": 0} | more
    return Trainer(sizes, **{"optimizer": "lm", **more})


def line(n=40, noise=0.2, seed=0, n_inputs=2):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, n_inputs))
    return X, X @ np.arange(1.0, n_inputs + 1)[:, None] + noise * rng.standard_normal((n, 1))


def sine(n, noise, seed):
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1.0, 1.0, (n, 1))
    return X, np.sin(3.0 * X) + noise * rng.standard_normal((n, 1))


def jacobian(trainer, X):
    """The derivatives of the outputs, (n, K, P), by central differences."""
    params, columns = trainer.parameters, []
    for p in range(params.size):
        before, outputs = params[p], []
        for step in (-1e-5, 1e-5):
            params[p] = before + step
            outputs.append(trainer.predict(X))
        params[p] = before
        columns.append((outputs[1] - outputs[0]) / 2e-5)
    return np.moveaxis(np.array(columns), 0, -1)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("loss", ["half_squared_error", "squared_error"])
@pytest.mark.parametrize("weighted", [False, True])
def test_of_a_linear_net_it_is_the_formula_of_linear_regression(loss, reduction, weighted, backend):
    """Draper and Smith, Applied Regression Analysis, section 5.2: s sqrt(1 + x (X'VX)^-1 x')."""
    X, y = line()
    v = np.ones(40)
    if weighted:
        v = np.random.default_rng(1).integers(0, 3, 40) * 0.3
    trainer = net([2, 1], loss=loss, reduction=reduction, backend=backend)
    trainer.fit(X, y, 200, sample_weight=v if weighted else None)
    D, v, n = np.column_stack([X, np.ones(40)]), v / v[v > 0].mean(), np.count_nonzero(v)
    inverse = np.linalg.inv(D.T @ (v[:, None] * D))
    coefficients = inverse @ D.T @ (v[:, None] * y)
    s2 = np.sum(v[:, None] * (y - D @ coefficients) ** 2) / (n - 3)
    X_new = np.random.default_rng(2).normal(size=(7, 2))
    D_new = np.column_stack([X_new, np.ones(7)])
    mean, std = trainer.predict(X_new, return_std=True)
    expected = np.sqrt(s2 * (1 + np.sum((D_new @ inverse) * D_new, axis=1)))
    np.testing.assert_allclose(std[:, 0], expected, rtol=1e-10)
    np.testing.assert_allclose(mean, D_new @ coefficients, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(mean, trainer.predict(X_new))


@pytest.mark.parametrize("optimizer", ["lm", "bayesian"])
def test_deep_nets_against_a_dense_computation(optimizer, backend, rng):
    X = rng.uniform(-1.0, 1.0, (60, 2))
    y = np.column_stack([np.sin(2 * X[:, 0]), X[:, 1] ** 2]) + 0.1 * rng.standard_normal((60, 2))
    decay = 1e-3 if optimizer == "lm" else 0.0
    trainer = net([2, 3, 3, 2], optimizer=optimizer, weight_decay=decay, backend=backend)
    trainer.fit(X, y, 60)
    X_new, P = rng.uniform(-1.0, 1.0, (300, 2)), trainer.parameters.size
    mean, std = trainer.predict(X_new, return_std=True)
    J, G = jacobian(trainer, X).reshape(120, P), jacobian(trainer, X_new)
    if optimizer == "lm":
        s2 = np.sum((trainer.predict(X) - y) ** 2) / (120 - P)
        d = np.zeros(P)  # 1/2 decay W**2 beside the mean over 60 samples
        for W in trainer._model.spec.split(d)[0]:
            W[:] = 60 * decay
        C = s2 * np.linalg.inv(J.T @ J + np.diag(d))
    else:
        alpha, beta = trainer._model.state.slots[3:5, 0]
        s2, C = 1 / beta, np.linalg.inv(beta * J.T @ J + alpha * np.eye(P))
    expected = np.sqrt(s2 + np.einsum("nkp,pq,nkq->nk", G, C, G))
    np.testing.assert_allclose(std, expected, rtol=1e-5)
    assert mean.shape == std.shape == (300, 2)


@pytest.mark.parametrize("optimizer", ["lm", "bayesian"])
def test_backends_agree(optimizer, rng):
    X, y = sine(80, 0.1, 0)
    X_new = rng.uniform(-1.5, 1.5, (333, 1))
    decay = 1e-3 if optimizer == "lm" else 0.0  # without it the matrix is nearly singular
    ref, comp = (
        net([1, 3, 1], optimizer=optimizer, weight_decay=decay, backend=backend)
        for backend in ("numpy", "numba")
    )
    ref.fit(X, y, 10)
    comp.fit(X, y, 10)
    found = [trainer.predict(X_new, return_std=True)[1] for trainer in (ref, comp)]
    np.testing.assert_allclose(*found, rtol=1e-6)


@pytest.mark.long
def test_kernels_agree_with_the_reference_on_every_route(rng):
    for sizes, n in (([2, 6, 1], 50), ([8, 30, 2], 700), ([3, 20, 20, 1], 300)):
        for dtype, rtol in ((np.float64, 1e-9), (np.float32, 1e-3)):
            trainer = net(sizes, dtype=dtype, activation="sigmoid", output_activation="tanh")
            spec, params = trainer._model.spec, trainer.parameters
            X = rng.normal(size=(n, sizes[0])).astype(dtype)
            y, P = np.zeros((n, sizes[-1]), dtype), params.size
            found = []
            for name in ("numpy", "numba"):
                backend = load(name)
                decays = np.full(P, 0.1)
                root = backend.root_of_inverse(spec, params, (X, y, None), decays, 1)
                assert not np.tril(root, -1).any()
                found.append((root @ root.T, backend.variances(spec, params, X, root, 1)))
            for a, b in zip(*found, strict=True):
                np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max())


@pytest.mark.parametrize("optimizer", ["lm", "bayesian"])
def test_intervals_cover_what_they_should(optimizer):
    """Of new observations 95 % lie within 1.96 standard deviations, on 200 sets of data."""
    X_new = np.linspace(-0.95, 0.95, 50)[:, None]
    covered = []
    for seed in range(200):
        X, y = sine(60, 0.2, seed)
        trainer = net([1, 3, 1], optimizer=optimizer, seed=seed, n_threads=1)
        trainer.fit(X, y, 100)
        mean, std = trainer.predict(X_new, return_std=True)
        noise = np.random.default_rng(1000 + seed).standard_normal((50, 1))
        new = np.sin(3.0 * X_new) + 0.2 * noise
        covered.append(np.abs(new - mean) <= 1.96 * std)
    assert 0.93 <= np.mean(covered) <= 0.97


def test_it_grows_away_from_the_data(backend):
    X, y = sine(60, 0.1, 0)
    trainer = net([1, 4, 1], optimizer="bayesian", backend=backend)
    trainer.fit(X, y, 200)
    _, std = trainer.predict([[0.0], [1.5], [2.0]], return_std=True)
    assert std[0] < 0.15
    assert std[0] < std[1] < std[2]


@pytest.mark.skipif(INTERPRETED, reason="interpreted kernels have one thread")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("sizes", [[2, 6, 1], [8, 30, 2]], ids=["lanes", "blocks"])
def test_threads_give_the_same_bits(dtype, sizes, monkeypatch, rng):
    monkeypatch.setattr(threads, "cores", lambda: 2)
    X = rng.normal(size=(900, sizes[0])).astype(dtype)
    y = np.tile(np.sin(X[:, :1]), sizes[-1]) + 0.1 * rng.normal(size=(900, sizes[-1]))
    found = []
    for n_threads in (1, 2):
        trainer = net(sizes, dtype=dtype, n_threads=n_threads, backend="numba")
        trainer.fit(X, y.astype(dtype), 3)
        found.append(trainer.predict(X, return_std=True)[1])
    assert found[0].dtype == dtype
    np.testing.assert_array_equal(*found)


def test_a_singular_jacobian_gives_finite_numbers(backend):
    X, y = line()
    trainer = net([2, 4, 1], activation="relu", backend=backend)
    trainer.biases[0][:] = [-100.0, 1.0, 1.0, 1.0]  # a dead unit
    trainer.weights[0][:, 2] = trainer.weights[0][:, 1]  # two equal units
    trainer.weights[1][2] = trainer.weights[1][1]
    trainer.fit(X, y, 20)
    _, std = trainer.predict(X, return_std=True)
    assert np.isfinite(std).all()
    assert (std < 1.0).all()


@pytest.mark.parametrize("optimizer", ["lm", "bayesian"])
def test_files_pickles_and_copies_keep_it(optimizer, tmp_path, backend):
    X, y = sine(50, 0.1, 0)
    trainer = net([1, 3, 1], optimizer=optimizer, backend=backend)
    trainer.fit(X, y, 20)
    expected = trainer.predict(X, return_std=True)
    trainer.save(tmp_path / "net")
    others = [
        Trainer.load(tmp_path / "net"),
        copy.deepcopy(trainer),
        pickle.loads(pickle.dumps(trainer)),
    ]
    for other in others:
        for a, b in zip(other.predict(X, return_std=True), expected, strict=True):
            np.testing.assert_array_equal(a, b)
    others[0].save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "net").read_bytes()
    # Another fit of a copy leaves the trainer as it is.
    others[1].fit(X, y, 5)
    np.testing.assert_array_equal(trainer.predict(X, return_std=True)[1], expected[1])


def test_what_does_not_belong_to_the_parameters_is_not_saved(tmp_path):
    X, y = sine(50, 0.1, 0)
    trainer = net([1, 3, 1])
    trainer.fit(X, y, 20)
    trainer.save(tmp_path / "with")
    trainer.set_parameters([W + 0.1 for W in trainer.weights], trainer.biases)
    trainer.save(tmp_path / "without")
    P = trainer.parameters.size
    sizes = [(tmp_path / name).stat().st_size for name in ("with", "without")]
    assert sizes[0] - sizes[1] > 8 * P * P
    with pytest.raises(ValueError, match="return_std=True needs a fit that was not interrupted"):
        Trainer.load(tmp_path / "without").predict(X, return_std=True)


def test_nets_that_never_had_it_load(tmp_path):
    trainer = Trainer([1, 3, 1], seed=0)
    trainer.save(tmp_path / "net")
    assert Trainer.load(tmp_path / "net")._model.posterior is None
    state = trainer.__getstate__()
    state["_model"].__dict__.pop("posterior", None)  # a pickle of an earlier version
    old = Trainer.__new__(Trainer)
    old.__setstate__(state)
    assert copy.deepcopy(old)._model.posterior is None


NOT_NOW = "return_std=True needs a fit that was not interrupted"


def test_changed_parameters_are_told(backend):
    X, y = sine(50, 0.1, 0)
    trainer = net([1, 3, 1], backend=backend)
    with pytest.raises(ValueError, match=NOT_NOW):
        trainer.predict(X, return_std=True)
    trainer.fit(X, y, 20)
    trainer.predict(X, return_std=True)
    before = trainer.biases[1][0]
    trainer.biases[1][0] += 1.0
    with pytest.raises(ValueError, match="after which the parameters did not change"):
        trainer.predict(X, return_std=True)
    trainer.biases[1][0] = before
    trainer.predict(X, return_std=True)


def test_it_belongs_to_the_best_epoch_if_that_is_restored(backend):
    X, y = sine(50, 0.3, 0)
    trainer = net([1, 6, 1], backend=backend)
    data = sine(50, 0.3, 1)
    trainer.fit(X, y, 200, validation_data=data, callbacks=EarlyStopping(patience=5))
    assert np.isfinite(trainer.predict(X, return_std=True)[1]).all()


def test_an_interrupted_fit_has_none(backend):
    X, y = sine(50, 0.1, 0)

    def interrupt(trainer, epoch, logs):
        if epoch == 5:
            raise KeyboardInterrupt

    trainer = net([1, 3, 1], backend=backend)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, y, 20, callbacks=interrupt)
    with pytest.raises(ValueError, match=NOT_NOW):
        trainer.predict(X, return_std=True)


def test_during_a_fit_there_is_none(backend):
    X, y = sine(50, 0.1, 0)
    found = []

    def look(trainer, epoch, logs):
        with pytest.raises(ValueError, match=NOT_NOW):
            trainer.predict(X, return_std=True)
        found.append(epoch)

    trainer = net([1, 3, 1], backend=backend)
    trainer.fit(X, y, 3, callbacks=look)
    trainer.fit(X, y, 3, callbacks=look)
    assert len(found) == 6


def test_a_net_out_of_a_fleet_needs_a_fit():
    X, y = sine(50, 0.1, 0)
    fleet = Fleet(
        [1, 3, 1], members=2, activation="tanh", output_activation="identity", optimizer="lm",
        seed=0,
    )  # fmt: skip
    fleet.fit(X, y, epochs=20)
    trainer = fleet[0]
    with pytest.raises(ValueError, match=NOT_NOW):
        trainer.predict(X, return_std=True)
    trainer.fit(X, y, 1)
    assert trainer.predict(X, return_std=True)[1].shape == (50, 1)


def test_what_it_needs(backend):
    X, y = sine(50, 0.1, 0)
    plain = Trainer([1, 3, 1], seed=0, backend=backend)
    with pytest.raises(ValueError, match=r"needs the optimizer LevenbergMarquardt or Bayes.*SGD"):
        plain.predict(X, return_std=True)
    huber = net([1, 3, 1], loss="huber", backend=backend)
    huber.fit(X, y, 2)
    with pytest.raises(ValueError, match=r"needs the loss 'half_squared_error' or .*got 'huber'"):
        huber.predict(X, return_std=True)
    few = net([1, 20, 1], backend=backend)
    few.fit(X, y, 2)
    with pytest.raises(ValueError, match=r"more target values .* than the 61 parameters"):
        few.predict(X, return_std=True)
    with pytest.raises(TypeError, match="return_std must be True or False"):
        few.predict(X, return_std="yes")
    trainer = net([1, 3, 1], backend=backend)
    trainer.fit(X, y, 2)
    with pytest.raises(ValueError, match="X"):
        trainer.predict([[np.nan]], return_std=True)


def test_large_nets_keep_nothing(monkeypatch):
    X, y = sine(50, 0.1, 0)
    monkeypatch.setattr(posterior, "MOST_PARAMETERS", 9)
    trainer = net([1, 3, 1])
    trainer.fit(X, y, 2)
    assert trainer._model.posterior is None
    with pytest.raises(ValueError, match=r"at most 9 parameters.* this one has 10"):
        trainer.predict(X, return_std=True)


def test_exact_fits_have_no_noise(backend):
    X, _ = line()
    trainer = net([2, 1], optimizer=LevenbergMarquardt(min_gradient=0.0), backend=backend)
    trainer.fit(X, X[:, :1], 100)
    assert (trainer.predict(X, return_std=True)[1] < 1e-6).all()


def test_it_reads_a_file_in_pieces(tmp_path, monkeypatch, rng):
    X, y = sine(50, 0.1, 0)
    trainer = net([1, 3, 1])
    trainer.fit(X, y, 5)
    X_new = rng.normal(size=(500, 1))
    expected = trainer.predict(X_new, return_std=True)[1]
    np.save(tmp_path / "X.npy", X_new)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    monkeypatch.setattr("jitprop.data.mapped.CHUNK", 64)
    np.testing.assert_array_equal(trainer.predict(mapped, return_std=True)[1], expected)


@pytest.mark.parametrize("optimizer", ["lm", "bayesian"])
def test_it_is_the_same_at_once_and_when_asked_for(optimizer, monkeypatch):
    X, y = sine(60, 0.1, 0)
    weights, later, found = np.linspace(0.5, 1.5, 60), X.copy(), []
    for most in (posterior.MOST_COPIED, 0):
        monkeypatch.setattr(posterior, "MOST_COPIED", most)
        trainer = net([1, 3, 1], optimizer=optimizer)
        given = X.copy(), y.copy(), weights.copy()
        trainer.fit(*given[:2], 30, sample_weight=given[2])
        assert isinstance(trainer._model.posterior, posterior.Pending) == (most > 0)
        for array in given:  # what the user does to them later does not count
            array[:] = 7.0
        before = trainer.parameters.copy()
        trainer.parameters[:] = 0.0
        with pytest.raises(ValueError, match="after which the parameters did not change"):
            trainer.predict(later, return_std=True)
        trainer.parameters[:] = before
        for _ in range(2):
            found.append(trainer.predict(later, return_std=True)[1])
    for std in found[1:]:
        np.testing.assert_array_equal(std, found[0])
