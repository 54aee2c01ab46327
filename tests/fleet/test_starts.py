"""`fit_function`: many starts, scaled samples, and one net in the samples' own units."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from jitprop import Fleet, LevenbergMarquardt, Trainer, fit_function
from jitprop.fleet import starts
from jitprop.fleet.starts import Scaling, with_own_units

RNG = np.random.default_rng(3)
X = RNG.uniform(-2, 5, (40, 2))
Y = np.sin(X[:, 0]) + 0.3 * X[:, 1]
FEW = {"hidden": 3, "starts": 6, "epochs": 40, "seed": 5}


def scaled(columns):
    return (columns - columns.mean(axis=0)) / columns.std(axis=0)


def test_it_is_a_fleet_on_standardised_samples(backend):
    fitted = fit_function(X, Y, backend=backend, **FEW)
    fleet = Fleet(
        [2, 3, 1], members=6, activation="tanh", output_activation="identity", optimizer="lm",
        seed=5, dtype="float64", backend=backend,
    )  # fmt: skip
    fleet.weights[0][:] *= 2.0
    history = fleet.fit(scaled(X), scaled(Y), epochs=40)
    losses = fleet.evaluate(scaled(X), scaled(Y))
    assert fitted.best == losses.argmin()
    np.testing.assert_allclose(fitted.starts.loss, losses, rtol=1e-6)
    assert fitted.starts.seed == tuple(fleet.seeds)
    assert fitted.starts.ended == history.ended
    np.testing.assert_array_equal(fitted.starts.epochs, history.epochs)
    winner = fleet[int(losses.argmin())].predict(scaled(X)) * Y.std() + Y.mean()
    np.testing.assert_allclose(fitted.trainer.predict(X), winner, rtol=1e-5, atol=1e-6)


def test_rmse_is_that_of_the_trainer_in_the_units_of_y():
    y = np.c_[1e3 * Y, Y**2 - 7]
    fitted = fit_function(X, y, **FEW)
    expected = np.sqrt(((fitted.trainer.predict(X) - y) ** 2).mean(axis=0))
    assert fitted.starts.rmse.shape == (6, 2)
    np.testing.assert_allclose(fitted.starts.rmse[fitted.best], expected, rtol=1e-9)


@pytest.mark.parametrize("sizes", [[3, 2], [3, 4, 2], [3, 4, 5, 2]])
def test_scalings_in_layers_change_nothing_beyond_rounding(sizes):
    net = Trainer(sizes, activation="tanh", output_activation="identity", seed=1)
    x = RNG.normal([1e3, -2e-6, 7.0], [50.0, 1e-7, 3.0], (30, 3))
    y = RNG.normal([1e9, 2e-9], [1e8, 1e-9], (30, 2))
    inputs, outputs = Scaling.of(x, None), Scaling.of(y, None)
    own = with_own_units(net.weights, net.biases, inputs, outputs)
    folded = Trainer(sizes, activation="tanh", output_activation="identity", init=own)
    expected = net.predict(inputs.standardised(x)) * outputs.scale + outputs.shift
    np.testing.assert_allclose(folded.predict(x), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("scale", [1e-300, 1e-9, 1e9, 1e300])
def test_units_do_not_matter(scale):
    here, there = fit_function(X, Y, **FEW), fit_function(X * scale, Y * scale, **FEW)
    assert here.starts.ended[here.best] == there.starts.ended[here.best]
    np.testing.assert_allclose(there.starts.rmse[here.best], scale * here.starts.rmse[here.best])
    expected = here.trainer.predict(X)
    np.testing.assert_allclose(there.trainer.predict(X * scale) / scale, expected, rtol=1e-5)


def test_constant_columns_and_constant_targets():
    x = np.c_[X, np.full(40, 1e6), 0.1 + np.tile([0.0, 1e-17], 20)]
    y = np.c_[Y, np.full(40, -3.0)]
    fitted = fit_function(x, y, **FEW)
    np.testing.assert_allclose(fitted.trainer.predict(x)[:, 1], -3.0, atol=1e-3)
    assert np.isfinite(fitted.trainer.parameters).all()
    one = fit_function([[1.0]], [5.0], **FEW)
    assert one.trainer.predict([[1.0]]) == pytest.approx(5.0)


def test_the_same_bits_for_any_number_of_threads_and_of_starts():
    one, two = (fit_function(X, Y, n_threads=n, **FEW) for n in (1, 2))
    np.testing.assert_array_equal(one.trainer.parameters, two.trainer.parameters)
    np.testing.assert_array_equal(one.starts.loss, two.starts.loss)
    fewer = fit_function(X, Y, **FEW | {"starts": 4})
    np.testing.assert_array_equal(fewer.starts.loss, one.starts.loss[:4])


def test_initial_weights_are_twice_glorots_in_hidden_layers(monkeypatch):
    seen = []
    monkeypatch.setattr(Fleet, "fit", lambda fleet, *a, **k: seen.append(fleet[:]) or stop())

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_function(X, Y, [3, 4], starts=2, seed=0)
    usual = Fleet([2, 3, 4, 1], members=2, seed=0)
    for layer, factor in enumerate([2.0, 2.0, 1.0]):
        np.testing.assert_array_equal(seen[0].weights[layer], factor * usual.weights[layer])
        assert not seen[0].biases[layer].any()


def test_weight_decay_is_part_of_the_objective():
    decay = 0.05
    fitted = fit_function(X, Y, weight_decay=decay, **FEW)
    fleet = Fleet(
        [2, 3, 1], members=6, activation="tanh", output_activation="identity", optimizer="lm",
        seed=5, dtype="float64", weight_decay=decay,
    )  # fmt: skip
    fleet.weights[0][:] *= 2.0
    fleet.fit(scaled(X), scaled(Y), epochs=40)
    penalty = sum((W**2).sum(axis=(1, 2)) for W in fleet.weights)
    expected = fleet.evaluate(scaled(X), scaled(Y)) + decay / 2 * penalty
    np.testing.assert_allclose(fitted.starts.loss, expected, rtol=1e-6)
    assert fitted.best == expected.argmin()
    assert fitted.trainer.weight_decay == decay


def test_held_out_samples_choose_the_start_and_its_epoch():
    y = Y + RNG.normal(0, 0.5, 40)
    differs = []
    for seed in (5, 50, 500, 500):
        settings = FEW | {"hidden": 8, "starts": 20, "seed": seed}
        fitted = fit_function(X, y, **settings, validation_fraction=0.25)
        table = fitted.starts
        assert fitted.best == table.validation_loss.argmin()
        assert (table.epochs < 40).any()
        differs.append((fitted.best != table.loss.argmin(), table.validation_loss))
    assert any(one for one, _ in differs)
    np.testing.assert_array_equal(differs[-1][1], differs[-2][1])
    assert "validation_loss" in table.to_frame()
    assert "validation_loss" not in fit_function(X, y, **FEW).starts.to_frame()


def test_weights_count_samples():
    weights = np.tile([0.0, 1.0, 2.0, 1.0], 10)
    x, y = X.copy(), Y.copy()
    x[::4], y[::4] = 1e30, -1e30  # weight 0: nothing may depend on these
    rows = np.repeat(np.arange(40), weights.astype(int))
    weighted, repeated = (
        fit_function(x, y, sample_weight=weights, **FEW),
        fit_function(x[rows], y[rows], **FEW),
    )
    np.testing.assert_allclose(weighted.starts.rmse[0], repeated.starts.rmse[0], rtol=1e-4)
    error = ((weighted.trainer.predict(x)[:, 0] - y) ** 2)[weights > 0]
    rmse = np.sqrt(np.average(error, weights=weights[weights > 0]))
    assert weighted.starts.rmse[weighted.best] == pytest.approx(rmse, rel=1e-6)


def test_many_outputs_are_computed_piece_by_piece(monkeypatch):
    whole = fit_function(X, Y, **FEW).starts.rmse
    monkeypatch.setattr(starts, "OUTPUTS_AT_ONCE", 1)
    np.testing.assert_allclose(fit_function(X, Y, **FEW).starts.rmse, whole, rtol=1e-12)


def test_frames_series_and_lists():
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "y": Y})
    fitted = fit_function(table[["a", "b"]], table["y"], **FEW)
    assert fitted.trainer.feature_names_in_.tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="another order"):
        fitted.trainer.predict(table[["b", "a"]])
    plain = fit_function(X.tolist(), Y.tolist(), **FEW)
    np.testing.assert_array_equal(plain.trainer.parameters, fitted.trainer.parameters)
    two = fit_function(X, np.c_[Y, 2 * Y], **FEW).starts.to_frame()
    assert two.index.name == "start"
    assert list(two) == ["seed", "loss", "rmse_0", "rmse_1", "epochs", "ended"]
    assert list(fit_function(X[:, 0], Y, **FEW).trainer.layer_sizes) == [1, 3, 1]


def test_the_trainer_can_be_trained_on_and_pickled():
    fitted = fit_function(X, Y, **FEW)
    before = fitted.trainer.evaluate(X, Y)
    fitted.trainer.fit(X, Y, epochs=20)
    assert fitted.trainer.evaluate(X, Y) <= before
    assert fitted.trainer.optimizer == LevenbergMarquardt()
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.trainer.predict(X), fitted.trainer.predict(X))
    np.testing.assert_array_equal(again.starts.loss, fitted.starts.loss)
    assert repr(again) == repr(fitted)


def test_several_hidden_layers_and_none():
    deep = fit_function(X, Y, **FEW | {"hidden": [4, 3]}, activation=["tanh", "softplus"])
    assert deep.trainer.layer_sizes == (2, 4, 3, 1)
    linear = fit_function(X, 3 * X[:, 0] - X[:, 1] + 2, **FEW | {"hidden": ()})
    np.testing.assert_allclose(linear.trainer.weights[0], [[3], [-1]], rtol=1e-6)
    np.testing.assert_allclose(linear.trainer.biases[0], [2], rtol=1e-6)


@pytest.mark.parametrize("name", ["scg", "lbfgs", "bayesian"])
def test_other_second_order_methods(name):
    fitted = fit_function(X, Y, **FEW, optimizer=name)
    assert fitted.trainer.optimizer.name == name
    assert fitted.starts.rmse[fitted.best] < 0.5 * Y.std()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"hidden": 0}, r"hidden must be an integer of at least 1|hidden must be at least 1"),
        ({"hidden": 2.5}, "hidden must be an integer"),
        ({"hidden": [3, "4"]}, r"hidden\[1\] must be an integer"),
        ({"hidden": 10_000}, "hidden must make a net of at most 20,000 parameters"),
        ({"starts": 0}, "starts must be"),
        ({"starts": 2_000_000}, "starts must be at most 1,000,000"),
        ({"epochs": 0}, "epochs must be"),
        ({"optimizer": "adam"}, "optimizer must be a second-order method"),
        ({"optimizer": "lmm"}, "optimizer 'lmm' is unknown"),
        ({"weight_decay": -1}, "weight_decay must be"),
        ({"weight_decay": 1, "optimizer": "bayesian"}, "weight_decay must be 0"),
        ({"weight_decay": [1, 2]}, "weight_decay must be"),
        ({"validation_fraction": 1.5}, "validation_fraction must be"),
        ({"validation_fraction": 0.001}, "validation_fraction must leave"),
        ({"sample_weight": [1, 2]}, "sample_weight must have shape"),
        ({"seed": -1}, "seed must be"),
        ({"seed": [1, 2]}, "seed must be"),
        ({"activation": "tansig"}, "activation"),
        ({"backend": "cuda"}, "backend 'cuda' is unknown"),
        ({"n_threads": 0}, "n_threads must be"),
        ({"X": X[:3]}, "y must have one row for each of the 3 rows of X; got 40"),
        ({"X": np.zeros((40, 2, 1))}, r"X must have shape \(n_samples, n_columns\)"),
        ({"X": np.zeros((40, 0))}, "X must have shape"),
        ({"X": X * np.nan}, "X must be finite"),
        ({"y": 3.0}, "y must have shape"),
        ({"y": ["a"] * 40}, "y must be an array of real numbers"),
        ({"hidden_layer_sizes": (3,)}, "here it is hidden"),
        ({"members": 3}, "here it is starts"),
    ],
)
def test_bad_input_is_named(given, message):
    with pytest.raises((TypeError, ValueError), match=message):
        fit_function(**{"X": X, "y": Y} | FEW | given)
