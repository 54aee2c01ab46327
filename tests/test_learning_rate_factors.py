"""Learning rate factors for each layer's weights and biases."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from jitprop import SGD, Adam, AdamW, Fleet, RMSprop, Rprop, Trainer, sweep
from jitprop.backends import threads
from nets import OPTIMIZERS, data, in_turns

FIRST_ORDER = OPTIMIZERS | {"rmsprop": RMSprop(), "rmsprop momentum": RMSprop(momentum=0.5)}

# name: (sizes, samples, batch size). Batches of 512 or more pass in chunks.
ROUTES = {
    "lanes": ([5, 4, 4, 3], 51, 20),
    "blocks": ([30, 20, 10, 5], 131, 50),
    "chunks": ([70, 40, 20, 5], 1300, 600),
}
FACTORS = [(0.25, 3.0), 0.5, (2.0, 0.0)]

every_optimizer = pytest.mark.parametrize("optimizer", FIRST_ORDER.values(), ids=list(FIRST_ORDER))
every_route = pytest.mark.parametrize("route", ROUTES)


def make(route, rng, dtype="float64", **arguments):
    sizes, n, batch_size = ROUTES[route]
    X, y = data(sizes, n, "half_squared_error", False, rng)
    arguments = {
        "batch_size": batch_size, "learning_rate": 0.01, "seed": 3, "activation": "tanh",
        "dtype": dtype,
    } | arguments  # fmt: skip
    return X.astype(dtype), y.astype(dtype), lambda **more: Trainer(sizes, **arguments, **more)


def steps(trainer, X, y):
    """Return how one epoch changes each layer's weights and biases."""
    before = [array.copy() for array in (*trainer.weights, *trainer.biases)]
    trainer.fit(X, y, 1)
    return [b - a for a, b in zip(before, (*trainer.weights, *trainer.biases), strict=True)]


@every_route
@every_optimizer
def test_a_first_step_is_multiplied(route, optimizer, backend, rng):
    X, y, build = make(
        route, rng, optimizer=optimizer, backend=backend, batch_size=None, weight_decay=0.1
    )
    plain, factored = build(), build(learning_rate_factors=FACTORS)
    ref, comp = steps(plain, X, y), steps(factored, X, y)
    expected = [0.25, 0.5, 2.0, 3.0, 0.5, 0.0]
    for one, other, factor in zip(ref, comp, expected, strict=True):
        assert np.abs(one).max() > 0
        np.testing.assert_allclose(other, factor * one, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize(
    ("route", "clip_norm", "optimizer", "dtype"),
    in_turns(
        [(route, norm, each) for route in ROUTES for norm in (None, 0.01) for each in FIRST_ORDER],
        ["float64", "float32"],
    ),
)
def test_the_backends_agree(route, clip_norm, optimizer, dtype, rng):
    X, y, build = make(
        route, rng, dtype, optimizer=FIRST_ORDER[optimizer], clip_norm=clip_norm,
        weight_decay=0.03, learning_rate_factors=FACTORS,
    )  # fmt: skip
    ref, comp = build(backend="numpy"), build(backend="numba")
    tolerance = 1e-9 if dtype == "float64" else 2e-3
    for _ in range(2):
        np.testing.assert_allclose(comp.fit(X, y, 2).loss, ref.fit(X, y, 2).loss, rtol=tolerance)
        np.testing.assert_allclose(
            comp.parameters, ref.parameters, rtol=tolerance, atol=tolerance * 0.1
        )


@pytest.mark.parametrize("factors", [None, FACTORS], ids=["plain", "factors"])
@every_route
@every_optimizer
def test_an_update_of_rate_0_moves_what_the_optimizer_keeps(route, optimizer, factors, rng):
    X, y, build = make(
        route, rng, optimizer=optimizer, learning_rate_factors=factors,
        learning_rate=lambda epoch: 0.0 if epoch % 2 == 0 else 0.01,
    )  # fmt: skip
    ref, comp = build(backend="numpy"), build(backend="numba")
    for _ in range(3):
        ref.fit(X, y, 1)
        comp.fit(X, y, 1)
        np.testing.assert_allclose(comp.parameters, ref.parameters, rtol=1e-9, atol=1e-10)
        slots = comp._model.state.slots, ref._model.state.slots
        np.testing.assert_allclose(*slots, rtol=1e-9, atol=1e-10)


def test_adamw_decays_by_the_factored_rate(backend):
    # The gradient is 0, so that the weights only decay: W <- (1 - rate factor decay) W.
    trainer = Trainer(
        [2, 1], output_activation="identity", init=([[[2.0], [4.0]]], [[0.0]]), optimizer="adamw",
        learning_rate=0.1, weight_decay=0.5, learning_rate_factors=[0.3], backend=backend,
    )  # fmt: skip
    trainer.fit([[0.0, 0.0]], [0.0], 1)
    shrunk = 1 - 0.1 * 0.3 * 0.5
    np.testing.assert_allclose(trainer.weights[0][:, 0], [2.0 * shrunk, 4.0 * shrunk], rtol=1e-15)


@pytest.mark.parametrize("n_threads", [2, 3])
@pytest.mark.parametrize("route", ["blocks", "chunks"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_bits_do_not_depend_on_the_number_of_threads(route, optimizer, n_threads, rng, monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 3)
    X, y, build = make(
        route, rng, "float32", optimizer=optimizer, backend="numba",
        learning_rate_factors=[0.5, 0.0, (0.0, 2.0)],
    )  # fmt: skip
    one, more = build(n_threads=1), build(n_threads=n_threads)
    np.testing.assert_array_equal(more.fit(X, y, 3).loss, one.fit(X, y, 3).loss)
    np.testing.assert_array_equal(more.parameters, one.parameters)


@every_route
@every_optimizer
def test_a_layer_of_factor_0_keeps_its_bits(route, optimizer, backend, rng):
    X, y, build = make(
        route, rng, optimizer=optimizer, backend=backend, weight_decay=0.1,
        learning_rate_factors=[0.0, (0.0, 1.0), (1.0, 0.0)],
    )  # fmt: skip
    trainer = build()
    trainer.biases[0][:2] = 0.0, -0.0  # -0.0 + 0.0 would be 0.0
    before = copy.deepcopy(trainer)
    trainer.fit(X, y, 3)
    bits = [
        [[array.tobytes() for array in arrays] for arrays in (each.weights, each.biases)]
        for each in (trainer, before)
    ]
    changed = [[a != b for a, b in zip(*pair, strict=True)] for pair in zip(*bits, strict=True)]
    assert changed == [[False, False, True], [False, True, False]]
    for slot in trainer._model.state.slots:
        weights, biases = trainer._model.spec.split(slot)
        assert not any(array.any() for array in (weights[0], weights[1], biases[0], biases[2]))
        assert weights[2].any()
        assert biases[1].any()


def test_a_gradient_beyond_all_numbers_does_not_reach_a_layer_of_factor_0(backend):
    # An error of 1e200 times an input of 1e200 is inf: the gradient of W[0], not of b[0].
    trainer = Trainer(
        [1, 1], output_activation="identity", init=([[[0.0]]], [[0.0]]), learning_rate=1e-3,
        learning_rate_factors=[(0.0, 1.0)], backend=backend,
    )  # fmt: skip
    trainer.fit([[1e200]], [1e150], 2)
    assert trainer.weights[0][0, 0] == 0.0
    assert trainer.biases[0][0] > 0.0


@every_route
def test_transfer_learning(route, backend, rng):
    """The first layers of a trained net stay, and the last one learns other targets."""
    X, y, build = make(route, rng, optimizer="adam", backend=backend, batch_size=None)
    trained = build()
    trained.fit(X, y, 20)
    other = build(init=(trained.weights, trained.biases), learning_rate_factors=[0, 0, 1])
    before = other.evaluate(X, 1 - y)
    other.fit(X, 1 - y, 50)
    for name in "weights", "biases":
        first, second, last = zip(getattr(other, name), getattr(trained, name), strict=True)
        assert np.array_equal(*first)
        assert np.array_equal(*second)
        assert not np.array_equal(*last)
    assert other.evaluate(X, 1 - y) < 0.9 * before


# In lanes, and one by one: with batches above 16 samples, or another optimizer.
FLEETS = {
    **{f"lanes {name}": (each, 7) for name, each in OPTIMIZERS.items()},
    "alone": (Adam(), 20),
    "alone rmsprop": (RMSprop(), 7),
}


@pytest.mark.parametrize("kind", FLEETS)
@pytest.mark.parametrize("factors", [FACTORS, [0.5, (0, 1), (1, 0)], [0.5, 0.5, (2, 1)]], ids=str)
def test_fleets(kind, factors, backend, rng):
    optimizer, batch_size = FLEETS[kind]
    X, y = data([5, 4, 4, 3], 24, "half_squared_error", False, rng)
    settings = {
        "optimizer": optimizer, "batch_size": batch_size, "learning_rate": 0.01,
        "weight_decay": 0.05, "learning_rate_factors": factors, "backend": backend,
    }  # fmt: skip
    fleet = Fleet([5, 4, 4, 3], members=3, seed=[4, 5, 6], **settings)
    before = copy.deepcopy(fleet)
    fleet.fit(X, y, 3)
    for member in range(3):
        trainer = Trainer([5, 4, 4, 3], seed=4 + member, **settings)
        trainer.fit(X, y, 3)
        np.testing.assert_allclose(fleet.parameters[member], trainer.parameters, rtol=1e-9)
        assert fleet[member].learning_rate_factors == trainer.learning_rate_factors
    for l, pair in enumerate(fleet.learning_rate_factors):
        for name, factor in zip(("weights", "biases"), pair, strict=True):
            same = np.array_equal(getattr(fleet, name)[l], getattr(before, name)[l])
            assert same == (factor == 0)


def test_the_formula_of_a_factored_update(backend):
    trainer = Trainer(
        [1, 1, 1], activation="identity", output_activation="identity", backend=backend,
        init=([[[2.0]], [[1.0]]], [[0.0], [0.0]]), learning_rate_factors=[(0.5, 0.0), 1.0],
    )  # fmt: skip
    trace = trainer.trace([3.0], [5.0])
    assert trace.formulas["update_weights[0]"] == "-0.5 * learning_rate * d_weights[0]"
    assert trace.formulas["update_biases[0]"] == "0"
    assert trace.formulas["update_weights[1]"] == "-learning_rate * d_weights[1]"
    assert trace.update_weights[0] == pytest.approx(-0.5 * 0.1 * 3.0)
    assert trace.update_biases[0] == 0.0


def test_going_on_and_loading_gives_the_bits_of_one_fit(backend, rng, tmp_path):
    X, y, build = make(
        "lanes", rng, optimizer="adam", backend=backend, learning_rate_factors=FACTORS
    )
    ref, comp = build(), build()
    ref.fit(X, y, 5)
    comp.fit(X, y, 3)
    comp.save(tmp_path / "net")
    loaded = Trainer.load(tmp_path / "net")
    assert loaded.learning_rate_factors == ((0.25, 3.0), (0.5, 0.5), (2.0, 0.0))
    loaded.fit(X, y, 2)
    np.testing.assert_array_equal(loaded.parameters, ref.parameters)


def test_a_saved_fleet_has_its_factors(tmp_path):
    Fleet([2, 3, 1], members=2, learning_rate_factors=[0.5, 0]).save(tmp_path / "fleet")
    assert Fleet.load(tmp_path / "fleet").learning_rate_factors == ((0.5, 0.5), (0.0, 0.0))


def test_a_sweep_over_factors(rng):
    X, y = data([2, 3, 1], 12, "half_squared_error", False, rng)
    result = sweep(
        X, y, {"learning_rate_factors": [[1, 1], [(0.5, 0), 2], None], "seed": [0, 1]},
        layer_sizes=[2, 3, 1], epochs=3, cv=2,
    )  # fmt: skip
    assert len(result.settings) == 6


WRONG = {
    "a number": (0.5, TypeError, r"must be a list with an entry for each of the 2 layers"),
    "too few": (
        [1.0],
        ValueError,
        r"each of the 2 layers .* a pair \(weights, biases\); got 1 ent",
    ),
    "too many": (np.ones((3, 2)), ValueError, r"each of the 2 layers .*; got 3 entries"),
    "three": ([1, (1, 2, 3)], ValueError, r"\[1\] must be a number or a pair .*; got 3 numbers"),
    "negative": ([1, -0.5], ValueError, r"\[1\] must be a finite number at least 0; got -0.5"),
    "nan": (
        [(1, np.nan), 1],
        ValueError,
        r"\[0\]\[1\] must be a finite number at least 0; got nan",
    ),
    "inf": ([np.inf, 1], ValueError, r"\[0\] must be a finite number at least 0; got inf"),
    "text": (["fast", 1], TypeError, r"\[0\] must be a finite number at least 0; got 'fast'"),
    "None": ([None, 1], TypeError, r"\[0\] must be a finite number at least 0; got None"),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("kind", [Trainer, lambda *a, **kw: Fleet(*a, members=2, **kw)])
def test_bad_factors(kind, case):
    value, error, message = WRONG[case]
    with pytest.raises(error, match=r"^learning_rate_factors.*" + message):
        kind([2, 3, 1], learning_rate_factors=value)


@pytest.mark.parametrize("optimizer", ["rprop", Rprop(backtracking=True), "lm", "bayesian", "scg"])
def test_full_batch_methods_take_none(optimizer):
    with pytest.raises(ValueError, match="learning_rate_factors must be None with the optimizer"):
        Trainer([2, 3, 1], optimizer=optimizer, learning_rate_factors=[1, 1])
    Trainer([2, 3, 1], optimizer=optimizer)


def test_arrays_and_pairs_are_read():
    made = Trainer([2, 3, 1], optimizer=SGD(), learning_rate_factors=np.array([[1, 2], [3, 4]]))
    assert made.learning_rate_factors == ((1.0, 2.0), (3.0, 4.0))
    made = Trainer([2, 3, 1], optimizer=AdamW(), learning_rate_factors=np.array([0.5, 2]))
    assert made.learning_rate_factors == ((0.5, 0.5), (2.0, 2.0))
    assert Trainer([2, 3, 1]).learning_rate_factors is None
