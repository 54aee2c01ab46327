"""Scales of the inputs, which are trained: the first weights are W = diag(s) V."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from jitprop import SGD, Adam, AdamW, EarlyStopping, Fleet, RMSprop, Trainer, sweep
from jitprop.backends import threads
from jitprop.net.spec import rows_of_scales
from nets import OPTIMIZERS, data, in_turns, limit_calls

FIRST_ORDER = OPTIMIZERS | {"rmsprop": RMSprop(), "rmsprop momentum": RMSprop(momentum=0.5)}

# name: (sizes, samples, batch size). Batches of 512 or more pass in chunks.
ROUTES = {
    "lanes": ([5, 4, 3], 51, 20),
    "blocks": ([30, 20, 5], 131, 50),
    "chunks": ([70, 40, 5], 1300, 600),
    "one layer": ([9, 1], 40, 16),
}

every_route = pytest.mark.parametrize("route", ROUTES)


def make(route, rng, dtype="float64", **arguments):
    sizes, n, batch_size = ROUTES[route]
    X, y = data(sizes, n, "half_squared_error", False, rng)
    arguments = {
        "batch_size": batch_size, "learning_rate": 0.01, "seed": 3, "activation": "tanh",
        "dtype": dtype, "input_scale_rate": 6.0,
    } | arguments  # fmt: skip
    return X.astype(dtype), y.astype(dtype), lambda **more: Trainer(sizes, **arguments, **more)


def parts(trainer):
    """Return copies of V and s."""
    model = trainer._model
    V, s, _ = model.spec.scaled(model.state.slots)
    return V.copy(), s.copy()


def moved(trainer):
    """Return a copy of the trainer whose scales differ from 1."""
    made = copy.deepcopy(trainer)
    V, s, _ = made._model.spec.scaled(made._model.state.slots)
    s[:] = np.linspace(0.5, 2.0, len(s))
    V[:] = made.weights[0]
    made.weights[0][:] = s[:, None] * V
    return made


@every_route
def test_a_step_of_plain_sgd_is_the_derivative_by_both(route, backend, rng):
    """The derivatives are differences of the loss of x -> net(diag(s) x), with V as weights."""
    X, y, build = make(route, rng, backend=backend, batch_size=None, learning_rate=1e-3)
    trainer = moved(build())
    (V, s), rate, h = parts(trainer), 1e-3, 1e-6
    plain = copy.deepcopy(trainer)

    def loss(V, s):
        plain.weights[0][:] = V
        return plain.evaluate(X * s, y)

    def difference(i, j):
        up, down = (V.copy(), s.copy()), (V.copy(), s.copy())
        for pair, step in ((up, h), (down, -h)):
            pair[1 if j is None else 0][i if j is None else (i, j)] += step
        return (loss(*up) - loss(*down)) / (2 * h)

    trainer.fit(X, y, 1)
    new_V, new_s = parts(trainer)
    for i in range(0, len(s), 4):
        np.testing.assert_allclose((s - new_s)[i] / (6 * rate), difference(i, None), atol=1e-7)
        np.testing.assert_allclose((V - new_V)[i, -1] / rate, difference(i, -1), atol=1e-7)
    np.testing.assert_array_equal(trainer.weights[0], new_s[:, None] * new_V)
    np.testing.assert_array_equal(trainer.input_scales, new_s)


@pytest.mark.parametrize(
    ("route", "clip_norm", "optimizer", "dtype"),
    in_turns(
        [(route, norm, each) for route in ROUTES for norm in (None, 0.05) for each in FIRST_ORDER],
        ["float64", "float32"],
    ),
)
def test_the_backends_agree(route, clip_norm, optimizer, dtype, rng):
    X, y, build = make(
        route, rng, dtype, optimizer=FIRST_ORDER[optimizer], clip_norm=clip_norm, weight_decay=0.1
    )
    ref, comp = moved(build(backend="numpy")), moved(build(backend="numba"))
    tolerance = 1e-9 if dtype == "float64" else 2e-3
    for _ in range(2):
        np.testing.assert_allclose(comp.fit(X, y, 2).loss, ref.fit(X, y, 2).loss, rtol=tolerance)
        for name in "parameters", "input_scales":
            found, expected = getattr(comp, name), getattr(ref, name)
            np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * 0.1)
    assert np.abs(comp.input_scales / np.linspace(0.5, 2.0, len(X[0])) - 1).max() > 1e-5


@pytest.mark.parametrize("n_threads", [2, 3])
@pytest.mark.parametrize("route", ["blocks", "chunks"])
@pytest.mark.parametrize(
    ("optimizer", "clip_norm"), [("sgd", None), ("adam", None), ("adamw", 0.05)]
)
def test_bits_do_not_depend_on_the_number_of_threads(
    route, optimizer, clip_norm, n_threads, rng, monkeypatch
):
    monkeypatch.setattr(threads, "cores", lambda: 3)
    X, y, build = make(
        route, rng, "float32", optimizer=optimizer, clip_norm=clip_norm, backend="numba"
    )
    one, more = build(n_threads=1), build(n_threads=n_threads)
    np.testing.assert_array_equal(more.fit(X, y, 3).loss, one.fit(X, y, 3).loss)
    np.testing.assert_array_equal(more._model.state.slots, one._model.state.slots)
    np.testing.assert_array_equal(more.parameters, one.parameters)


def test_weight_decay_acts_on_weights_alone(backend):
    # The gradient is 0: V <- (1 - rate decay) V, and s stays.
    trainer = moved(
        Trainer(
            [2, 1], output_activation="identity", init=([[[2.0], [4.0]]], [[0.0]]),
            learning_rate=0.1, weight_decay=0.5, input_scale_rate=3.0, backend=backend,
        )
    )  # fmt: skip
    trainer.fit([[0.0, 0.0]], [0.0], 1)
    V, s = parts(trainer)
    np.testing.assert_allclose(V[:, 0], [2.0 * 0.95, 4.0 * 0.95], rtol=1e-15)
    assert s.tolist() == [0.5, 2.0]


def test_the_factor_of_the_first_layer_does_not_act_on_scales(backend, rng):
    X, y, build = make("lanes", rng, backend=backend, learning_rate_factors=[(0, 1), 1])
    trainer = moved(build())
    V, s = parts(trainer)
    trainer.fit(X, y, 2)
    new_V, new_s = parts(trainer)
    np.testing.assert_array_equal(new_V, V)
    assert (new_s != s).all()


@pytest.mark.parametrize("first_call", [1, 3000])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("route", ["lanes", "blocks"])
def test_going_on_gives_the_bits_of_one_fit(
    backend, route, optimizer, first_call, rng, monkeypatch, tmp_path
):
    X, y, build = make(route, rng, backend=backend, optimizer=optimizer)
    ref, comp = build(), build()
    ref.fit(X, y, 6)
    limit_calls(monkeypatch, first_call)
    comp.fit(X, y, 2)
    comp = pickle.loads(pickle.dumps(comp))
    comp.fit(X, y, 2)
    comp.save(tmp_path / "net")
    loaded = Trainer.load(tmp_path / "net")
    np.testing.assert_array_equal(loaded.input_scales, comp.input_scales)
    loaded.fit(X, y, 2)
    np.testing.assert_array_equal(loaded.parameters, ref.parameters)
    np.testing.assert_array_equal(loaded.input_scales, ref.input_scales)


def test_small_updates_one_by_one_are_those_of_a_fit(backend, rng):
    # The first fit decides the dtype, and the other updates are brief.
    X, y, build = make("lanes", rng, backend=backend, batch_size=None, dtype=None)
    ref, comp = build(), build()
    ref.fit(X, y, 5)
    for _ in range(5):
        comp.partial_fit(X, y)
    np.testing.assert_array_equal(comp.parameters, ref.parameters)
    assert (comp.input_scales != 1).all()


def test_scales_begin_anew_with_weights_that_were_set(backend, rng):
    X, y, build = make("lanes", rng, backend=backend)
    trainer = build()
    assert trainer.input_scales.tolist() == [1.0] * 5
    trainer.fit(X, y, 2)
    assert (trainer.input_scales != 1).all()
    scales = trainer.input_scales
    trainer.biases[0][:] = 0.25  # the first weights are as before, and so are the scales
    np.testing.assert_array_equal(trainer.input_scales, scales)
    other = build(init=(trainer.weights, trainer.biases))
    trainer.set_parameters([2 * trainer.weights[0], trainer.weights[1]], trainer.biases)
    assert trainer.input_scales.tolist() == other.input_scales.tolist() == [1.0] * 5
    W = trainer.weights[0].copy()
    trainer.fit(X, y, 1)
    assert np.abs(trainer.weights[0] / W - 1).max() < 1  # it went on from the weights that were set
    V, s = parts(trainer)
    np.testing.assert_array_equal(trainer.weights[0], s[:, None] * V)


def test_early_stopping_that_restores(backend, rng):
    X, y, build = make("blocks", rng, backend=backend, learning_rate=2.0)
    trainer = build()
    trainer.fit(X, y, 8, callbacks=EarlyStopping(monitor="loss", patience=1))
    trainer.fit(X, y, 1)
    V, s = parts(trainer)
    np.testing.assert_array_equal(trainer.weights[0], s[:, None] * V)


@pytest.mark.parametrize("momentum", [None, [0.0, 0.5, 0.9]], ids=str)
@pytest.mark.parametrize("route", ["lanes", "blocks", "one layer"])
def test_fleets(route, momentum, backend, rng):
    sizes, n, batch_size = ROUTES[route]
    X, y = data(sizes, n, "half_squared_error", False, rng)
    settings = {"batch_size": batch_size, "input_scale_rate": 6.0, "backend": backend}
    settings["optimizer"] = SGD() if momentum else Adam()
    fleet = Fleet(sizes, members=3, seed=[4, 5, 6], momentum=momentum, **settings)
    fleet.fit(X, y, 3)
    assert fleet.input_scales.shape == (3, sizes[0])
    for i in range(3):
        if momentum:
            settings["optimizer"] = SGD(momentum=momentum[i])
        trainer = Trainer(sizes, seed=4 + i, **settings)
        trainer.fit(X, y, 3)
        np.testing.assert_array_equal(fleet.parameters[i], trainer.parameters)
        np.testing.assert_array_equal(fleet.input_scales[i], trainer.input_scales)
        taken = fleet[i]
        np.testing.assert_array_equal(taken.input_scales, trainer.input_scales)
        for each in (taken, trainer):
            each.fit(X, y, 2)
        np.testing.assert_array_equal(taken.parameters, trainer.parameters)


def test_a_saved_fleet_goes_on(rng, tmp_path):
    X, y = data([5, 4, 3], 30, "half_squared_error", False, rng)
    fleet = Fleet([5, 4, 3], members=2, seed=0, optimizer="adam", input_scale_rate=2.0)
    fleet.fit(X, y, 2)
    fleet.save(tmp_path / "fleet")
    loaded = Fleet.load(tmp_path / "fleet")
    np.testing.assert_array_equal(loaded.input_scales, fleet.input_scales)
    for each in (fleet, loaded):
        each.fit(X, y, 2)
    np.testing.assert_array_equal(loaded.parameters, fleet.parameters)


def test_a_sweep_over_rates(rng):
    X, y = data([2, 3, 1], 12, "half_squared_error", False, rng)
    grid = {"input_scale_rate": [1.0, 6.0, None], "seed": [0, 1]}
    assert len(sweep(X, y, grid, layer_sizes=[2, 3, 1], epochs=3, cv=2).settings) == 6


@pytest.mark.parametrize("optimizer", [*FIRST_ORDER.values(), AdamW(beta_1=0.5)], ids=str)
@pytest.mark.parametrize("clip_norm", [None, 0.01])
def test_the_formula_of_an_update(optimizer, clip_norm, rng):
    X, y, build = make(
        "lanes", rng, optimizer=optimizer, clip_norm=clip_norm, weight_decay=0.1, batch_size=None
    )
    trainer = build()
    names = {"sgd": "v", "adam": "mv", "adamw": "mv", "rmsprop": "vu"}[optimizer.name]
    for _ in range(2):
        trainer.fit(X, y, 2)
        model = trainer._model
        trace = trainer.trace(X, y)
        V, s, kept = model.spec.scaled(model.state.slots)
        scope = {"W": trace.weights, "V": V, "s": s, "sqrt": np.sqrt, "sum": sum, "min": min}
        scope |= {"d_weights": trace.d_weights, "d_biases": trace.d_biases}
        scope["learning_rate"] = trace.learning_rate
        for name, slot, of_s in zip(
            names, model.state.slots[: optimizer.n_slots], kept, strict=False
        ):
            scope |= {name: model.spec.split(slot)[0][0], name + "_s": of_s}
        *lines, last = trace.formulas["update_weights[0]"].split("\n")
        for line in lines:
            exec(line, scope)
        np.testing.assert_allclose(eval(last, scope), trace.update_weights[0], atol=1e-14)


def test_a_file_with_a_mean_square_below_0_is_refused(tmp_path, rng):
    X, y, build = make("lanes", rng, optimizer="adam")
    trainer = build()
    trainer.fit(X, y, 1)
    trainer._model.spec.scaled(trainer._model.state.slots).kept[1, 2] = -1.0
    trainer.save(tmp_path / "net")
    with pytest.raises(ValueError, match="slot 1 of its optimizer must be within"):
        Trainer.load(tmp_path / "net")


@pytest.mark.parametrize(("n_inputs", "n_out"), [(1, 1), (9, 1), (50, 256)])
def test_rows_of_scales(n_inputs, n_out):
    P = (n_inputs + 1) * n_out
    assert (
        (rows_of_scales(n_inputs, P) - 2) * P
        < 3 * n_inputs
        <= (rows_of_scales(n_inputs, P) - 1) * P
    )


def test_a_net_without_scales():
    for net in Trainer([2, 3, 1]), Fleet([2, 3, 1], members=2):
        assert net.input_scale_rate is None
        assert (net.input_scales == 1).all()
        assert net._model.spec.n_slots == 0
        net.input_scales[:] = 3.0  # a copy
        assert (net.input_scales == 1).all()


@pytest.mark.parametrize("bad", [0, -1.0, np.inf, np.nan])
def test_bad_rates(bad):
    for kind in Trainer, lambda *a, **kw: Fleet(*a, members=2, **kw):
        with pytest.raises(ValueError, match=r"^input_scale_rate must be a finite number above 0"):
            kind([2, 1], input_scale_rate=bad)
        with pytest.raises(TypeError, match=r"^input_scale_rate must be a finite number above 0"):
            kind([2, 1], input_scale_rate="1")


@pytest.mark.parametrize("optimizer", ["rprop", "lm", "bayesian", "scg", "lbfgs"])
def test_full_batch_methods_take_none(optimizer):
    with pytest.raises(ValueError, match="input_scale_rate must be None with the optimizer"):
        Trainer([2, 3, 1], optimizer=optimizer, input_scale_rate=1.0)
