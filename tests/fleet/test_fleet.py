"""A member trains as it does alone: bit for bit in any fleet, and like a Trainer to rounding."""

from __future__ import annotations

import inspect
import itertools
import os
import platform
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import jitprop_kernels as kernels
from jitprop import SGD, Adam, CrossEntropy, EarlyStopping, Fleet, Trainer
from jitprop.fleet import course, engines
from nets import HIDDEN, OPTIMIZERS, data

SETTINGS = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
# Tiny nets share vectors; wider nets are trained one by one.
NETS = {"lanes": [3, 4, 2], "loop": [5, 32, 3]}
LOSSES = {
    "half_squared_error": "tanh",
    "binary_cross_entropy": "sigmoid",
    "cross_entropy": "softmax",
}


def engine_of(fleet, n):
    return type(fleet._engine(n)).__name__.lower()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("kind", NETS)
def test_a_member_is_a_trainer(kind, optimizer, loss, dtype, rng):
    sizes, n, k = NETS[kind], 13, 19
    X, y = data(sizes, n, loss, True, rng)
    weight = rng.integers(0, 3, n) + (np.arange(n) == 0)
    rates, decays = rng.uniform(0.01, 0.1, k), rng.uniform(0, 0.01, k)
    arguments = {
        "activation": "tanh", "output_activation": LOSSES[loss], "loss": loss, "dtype": dtype,
        "optimizer": OPTIMIZERS[optimizer], "batch_size": 5,
    }  # fmt: skip
    fleet = Fleet(sizes, members=k, seed=100, learning_rate=rates, weight_decay=decays, **arguments)
    assert engine_of(fleet, n) == kind
    one, more = (1e-12, 1e-10) if dtype == "float64" else (2e-6, 1e-4)
    trainers = {
        i: Trainer(sizes, seed=100 + i, learning_rate=rates[i], weight_decay=decays[i], **arguments)
        for i in (0, 7, 18)
    }
    for epochs, tolerance in ((1, one), (4, more)):
        history = fleet.fit(X, y, epochs, sample_weight=weight)
        for i, trainer in trainers.items():
            ref = trainer.fit(X, y, epochs, sample_weight=weight)
            scale = np.abs(trainer.parameters).max()
            close = {"rtol": tolerance, "atol": tolerance * scale}
            np.testing.assert_allclose(fleet.parameters[i], trainer.parameters, **close)
            np.testing.assert_allclose(history.loss[:, i], ref.loss, **close)
    outputs, losses = fleet.predict(X), fleet.evaluate(X, y, sample_weight=weight)
    for i, trainer in trainers.items():
        np.testing.assert_allclose(outputs[i], trainer.predict(X), rtol=more, atol=more)
        ref_loss = trainer.evaluate(X, y, sample_weight=weight)
        np.testing.assert_allclose(losses[i], ref_loss, rtol=more, atol=more)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("optimizer", ["nesterov", "adam"])
@pytest.mark.parametrize("kind", NETS)
@SETTINGS
@given(
    k=st.integers(1, 40),
    order=st.randoms(use_true_random=False),
    n_threads=st.sampled_from([1, 2]),
    parts=st.sampled_from([(5,), (1, 4), (3, 2)]),
    each=st.booleans(),
)
@example(k=1, order=None, n_threads=1, parts=(5,), each=False)
@example(k=16, order=None, n_threads=2, parts=(1, 4), each=True)
def test_bits_do_not_depend_on_the_others(
    kind, optimizer, dtype, k, order, n_threads, parts, each, everyone
):
    """Nor on their number and order, nor on the number of threads, calls and blocks."""
    X, y, settings_of, params, losses = everyone(kind, optimizer, dtype)
    numbers = list(range(len(params)))
    if order is not None:
        order.shuffle(numbers)
    numbers = numbers[:k]
    fleet = settings_of(numbers, n_threads)
    callbacks = [lambda fleet, epoch, logs: None] if each else []
    found = np.concatenate([fleet.fit(X, y, n, callbacks=callbacks).loss for n in parts])
    np.testing.assert_array_equal(fleet.parameters, params[numbers])
    np.testing.assert_array_equal(found, losses[:, numbers])


@pytest.fixture(scope="module")
def everyone():
    """A function that returns a trained fleet of 40, and how to create a fleet of its members."""
    known = {}

    def make(kind, optimizer, dtype):
        key = kind, optimizer, dtype
        if key not in known:
            rng = np.random.default_rng(5)
            X, y = data(NETS[kind], 11, "half_squared_error", False, rng)
            rates, decays = rng.uniform(0.01, 0.1, 40), rng.uniform(0, 0.01, 40)
            seeds = rng.permutation(1000)[:40]

            def settings_of(numbers, n_threads):
                return Fleet(
                    NETS[kind], members=len(numbers), seed=seeds[numbers], dtype=dtype,
                    learning_rate=rates[numbers], weight_decay=decays[numbers], batch_size=4,
                    optimizer=OPTIMIZERS[optimizer], n_threads=n_threads,
                )  # fmt: skip

            fleet = settings_of(np.arange(40), None)
            losses = fleet.fit(X, y, 5).loss
            known[key] = X, y, settings_of, fleet.parameters.copy(), losses
        return known[key]

    return make


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("activation", HIDDEN)
def test_few_members_have_the_bits_of_many(activation, dtype, rng):
    """Few members use narrow vectors, for which LLVM may choose other instructions."""
    for loss, output in {**LOSSES, "huber": activation, "poisson": "exp"}.items():
        X, y = data([3, 4, 2], 7, loss, False, rng)
        for name, batch_size in zip(OPTIMIZERS, itertools.cycle([1, 3, 4, 7]), strict=False):
            arguments = {
                "activation": activation, "output_activation": output, "loss": loss, "seed": 0,
                "optimizer": OPTIMIZERS[name], "batch_size": batch_size, "dtype": dtype,
                "learning_rate": 0.01, "weight_decay": 0.01, "dropout": 0.2, "backend": "numba",
            }  # fmt: skip
            few, many = (Fleet([3, 4, 2], members=k, **arguments) for k in (2, 20))
            ref = many.fit(X, y, 3).loss[:, :2]
            assert few.fit(X, y, 3).loss.tobytes() == ref.tobytes()
            assert few.parameters.tobytes() == many.parameters[:2].tobytes()
            assert few.predict(X).tobytes() == many.predict(X)[:2].tobytes()
            assert few.evaluate(X, y).tobytes() == many.evaluate(X, y)[:2].tobytes()


FEW_AND_MANY = """
import numpy as np
from jitprop import Fleet

rng = np.random.default_rng(0)
X, y, weight = rng.normal(size=(8, 3)), rng.normal(size=(8, 2)), rng.uniform(size=8)
for loss in ("half_squared_error", "squared_error", "absolute_error"):
    for batch_size, sample_weight in ((4, None), (3, weight)):
        few, many = (
            Fleet([3, 4, 2], members=k, seed=0, loss=loss, batch_size=batch_size, backend="numba")
            for k in (2, 20)
        )
        ref = many.fit(X, y, 3, sample_weight=sample_weight).loss[:, :2]
        assert few.fit(X, y, 3, sample_weight=sample_weight).loss.tobytes() == ref.tobytes()
        assert few.parameters.tobytes() == many.parameters[:2].tobytes()
        assert few.evaluate(X, y).tobytes() == many.evaluate(X, y)[:2].tobytes()
"""


@pytest.mark.skipif(
    platform.machine() != "x86_64" or kernels.INTERPRETED, reason="code for a processor with AVX2"
)
@pytest.mark.long
def test_few_members_have_the_bits_of_many_without_avx_512():
    """A wide vector is two registers there, so LLVM chooses other instructions."""
    env = os.environ | {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma"}
    subprocess.run([sys.executable, "-c", FEW_AND_MANY], env=env, check=True, timeout=300)


@pytest.mark.parametrize("kind", NETS)
def test_each_its_own_data(kind, rng):
    sizes, n, k = NETS[kind], 9, 18
    X, y = rng.normal(size=(k, n, sizes[0])), rng.normal(size=(k, n, sizes[-1]))
    weight = rng.integers(0, 3, (k, n)) + (np.arange(n) == 0)
    arguments = {"output_activation": "identity", "batch_size": 4, "learning_rate": 0.05}
    fleet = Fleet(sizes, members=k, seed=3, **arguments)
    fleet.fit(X, y, 4, sample_weight=weight)
    for i in (0, 5, 17):
        alone = Fleet(sizes, members=1, seed=3 + i, **arguments)
        alone.fit(X[i], y[i], 4, sample_weight=weight[i])
        np.testing.assert_array_equal(fleet.parameters[i], alone.parameters[0])
        np.testing.assert_array_equal(fleet.predict(X)[i], alone.predict(X[i])[0])
        losses = fleet.evaluate(X, y, sample_weight=weight)
        assert losses[i] == alone.evaluate(X[i], y[i], sample_weight=weight[i])[0]


def test_labels_of_each(rng):
    X, y = rng.normal(size=(8, 2)), rng.integers(0, 3, (5, 8))
    arguments = {"output_activation": "softmax", "loss": "cross_entropy", "seed": 0}
    fleet = Fleet([2, 3, 3], members=5, **arguments)
    fleet.fit(X, y, 3)
    shared = Fleet([2, 3, 3], members=5, **arguments)
    shared.fit(X, y[2], 3)
    np.testing.assert_array_equal(fleet.parameters[2], shared.parameters[2])
    assert (fleet.parameters[1] != shared.parameters[1]).any()


@pytest.mark.parametrize("kind", NETS)
def test_early_stopping_is_that_of_a_trainer(kind, rng):
    sizes, k = NETS[kind], 20
    X, y = data(sizes, 40, "half_squared_error", False, rng)
    held_out = (X[:10], y[:10])
    rates = np.geomspace(0.05, 3, k)
    arguments = {"batch_size": 8, "optimizer": SGD(momentum=0.9)}
    stopping = EarlyStopping(patience=3)
    fleet = Fleet(sizes, members=k, seed=0, learning_rate=rates, **arguments)
    history = fleet.fit(X[10:], y[10:], 60, validation_data=held_out, callbacks=[stopping])
    assert len(set(history.epochs.tolist())) > 3
    for i in range(0, k, 3):
        trainer = Trainer(sizes, seed=i, learning_rate=rates[i], **arguments)
        ref = trainer.fit(X[10:], y[10:], 60, validation_data=held_out, callbacks=[stopping])
        assert history.epochs[i] == len(ref.loss) == fleet.epochs_trained[i]
        np.testing.assert_allclose(fleet.parameters[i], trainer.parameters, rtol=1e-8, atol=1e-10)
        n = len(ref.loss)
        np.testing.assert_allclose(history.validation_loss[:n, i], ref.validation_loss, rtol=1e-8)
        assert np.isnan(history.loss[n:, i]).all()
    # Members that stop do not affect those that train on.
    last = int(history.epochs.argmax())
    alone = Fleet(sizes, members=1, seed=last, learning_rate=rates[last], **arguments)
    alone.fit(X[10:], y[10:], 60, validation_data=held_out, callbacks=[EarlyStopping(patience=3)])
    np.testing.assert_array_equal(alone.parameters[0], fleet.parameters[last])


@pytest.mark.parametrize("kind", NETS)
def test_a_member_goes_on_as_a_trainer(kind, rng):
    X, y = data(NETS[kind], 12, "half_squared_error", False, rng)
    arguments = {"batch_size": 5, "optimizer": Adam(), "learning_rate": 0.01}
    fleet = Fleet(NETS[kind], members=5, seed=2, **arguments)
    fleet.fit(X, y, 3)
    trainer = Trainer(NETS[kind], seed=2 + 3, **arguments)
    trainer.fit(X, y, 3)
    for going in (fleet[3], fleet[-2], list(fleet)[3], fleet[[0, 3]][1], fleet[2:4][1]):
        assert going.epochs_trained == 3
        going.fit(X, y, 4)
        if going.parameters is not trainer.parameters and trainer.epochs_trained == 3:
            trainer.fit(X, y, 4)
        np.testing.assert_allclose(going.parameters, trainer.parameters, rtol=1e-9, atol=1e-11)
    assert fleet.epochs_trained.tolist() == [3] * 5, "they are copies"


def test_best_mean_and_deviation(rng):
    X, y = data([2, 3, 1], 20, "half_squared_error", False, rng)
    fleet = Fleet([2, 3, 1], members=7, seed=0)
    fleet.fit(X, y, 5)
    losses = fleet.evaluate(X, y)
    best = fleet.best(X, y, n=3)
    assert best.seeds == np.argsort(losses)[:3].tolist()
    assert best[0].evaluate(X, y) == pytest.approx(losses.min(), rel=1e-12)
    outputs = fleet.predict(X)
    mean, std = fleet.predict_mean_std(X)
    np.testing.assert_array_equal(mean, outputs.mean(axis=0))
    np.testing.assert_array_equal(std, outputs.std(axis=0))
    with pytest.raises(ValueError, match="n must be at most the 7 members; got 8"):
        fleet.best(X, y, n=8)


def test_numpy_backend_agrees(rng):
    X, y = data([3, 4, 2], 12, "half_squared_error", False, rng)
    fleets = [
        Fleet([3, 4, 2], members=4, seed=0, batch_size=5, optimizer="adam", backend=backend)
        for backend in ("numpy", "numba")
    ]
    ref, comp = [fleet.fit(X, y, 4).loss for fleet in fleets]
    np.testing.assert_allclose(comp, ref, rtol=1e-11)
    np.testing.assert_allclose(fleets[1].parameters, fleets[0].parameters, rtol=1e-9, atol=1e-11)


def test_an_error_leaves_whole_epochs(monkeypatch, rng):
    X, y = data([3, 4, 2], 12, "half_squared_error", False, rng)
    fleet, ref = (Fleet([3, 4, 2], members=4, seed=0, batch_size=5) for _ in range(2))

    def stop(fleet, epoch, logs):
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fleet.fit(X, y, 9, callbacks=[stop])
    assert fleet.epochs_trained.tolist() == [3] * 4
    fleet.fit(X, y, 6)
    ref.fit(X, y, 9)
    np.testing.assert_array_equal(fleet.parameters, ref.parameters)

    def fail(*arguments):
        raise KeyboardInterrupt

    before, random = fleet.parameters.copy(), fleet._model.state.generator(1).bit_generator.state
    monkeypatch.setattr(engines.Loop, "train", fail)
    monkeypatch.setattr(type(fleet._engine(12)), "train", fail)
    with pytest.raises(KeyboardInterrupt):
        fleet.fit(X, y, 2)
    np.testing.assert_array_equal(fleet.parameters, before)
    assert fleet._model.state.generator(1).bit_generator.state == random


def test_blocks_do_not_show(monkeypatch, rng):
    X, y = data([3, 4, 2], 12, "half_squared_error", False, rng)
    fleets = [Fleet([3, 4, 2], members=4, seed=0, optimizer="adam") for _ in range(2)]
    first = fleets[0].fit(X, y, 200)
    monkeypatch.setattr(course, "BLOCK_SECONDS", 0.0)
    second = fleets[1].fit(X, y, 200)
    np.testing.assert_array_equal(first.loss, second.loss)
    np.testing.assert_array_equal(fleets[0].parameters, fleets[1].parameters)


@pytest.mark.parametrize("kind", NETS)
def test_dropout_of_each(kind, rng):
    X, y = data(NETS[kind], 12, "half_squared_error", False, rng)
    p = np.linspace(0, 0.6, 18)
    arguments = {"batch_size": 5, "learning_rate": 0.05, "optimizer": Adam()}
    fleet = Fleet(NETS[kind], members=18, seed=4, dropout=p, **arguments)
    assert engine_of(fleet, 12) == kind
    fleet.fit(X, y, 3)
    fleet.fit(X, y, 2)
    for i in (0, 9, 17):
        trainer = Trainer(NETS[kind], seed=4 + i, dropout=p[i], **arguments)
        trainer.fit(X, y, 5)
        np.testing.assert_allclose(fleet.parameters[i], trainer.parameters, rtol=1e-10, atol=1e-12)
    alone = Fleet(NETS[kind], members=1, seed=4, **arguments)
    alone.fit(X, y, 5)
    np.testing.assert_array_equal(alone.parameters[0], fleet.parameters[0])


def test_clip_norm_and_class_weights(rng):
    X, y = rng.normal(size=(12, 2)), rng.integers(0, 3, (4, 12))
    arguments = {
        "output_activation": "softmax", "loss": CrossEntropy(class_weight=[1.0, 2.0, 0.5]),
        "learning_rate": 0.5, "clip_norm": 0.1,
    }  # fmt: skip
    fleet = Fleet([2, 3, 3], members=4, seed=0, **arguments)
    fleet.fit(X, y, 6)
    trainer = Trainer([2, 3, 3], seed=2, **arguments)
    trainer.fit(X, y[2], 6)
    np.testing.assert_allclose(fleet.parameters[2], trainer.parameters, rtol=1e-12, atol=1e-14)


def test_an_ensemble_of_distributions(rng):
    X, y = rng.normal(size=(30, 2)), rng.normal(size=30)
    fleet = Fleet([2, 4, 2], members=5, seed=0, loss="gaussian_nll", output_activation="identity")
    fleet.fit(X, y, 5)
    out = fleet.predict(X)
    mean, std = fleet.predict_mean_std(X)
    assert mean.shape == std.shape == (30, 1)
    second_moment = (np.exp(out[..., 1]) + out[..., 0] ** 2).mean(axis=0)
    np.testing.assert_allclose(mean[:, 0], out[..., 0].mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(std[:, 0] ** 2, second_moment - mean[:, 0] ** 2, rtol=1e-9)


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("kind", NETS)
def test_ctrl_c_leaves_whole_epochs(kind, n_threads, rng):
    X, y = data(NETS[kind], 20_000, "half_squared_error", False, rng)
    arguments = {"members": 40, "seed": 0, "batch_size": 16, "n_threads": n_threads}
    fleet, ref = (Fleet(NETS[kind], **arguments) for _ in range(2))
    ref.fit(X, y, 1)  # compiles
    timer = threading.Timer(0.7, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        fleet.fit(X, y, 100_000)
    pressed = time.perf_counter()
    timer.join(60)
    (done,) = set(fleet.epochs_trained.tolist())
    fleet.fit(X, y, 1)
    if done:
        ref.fit(X, y, done)
    np.testing.assert_array_equal(fleet.parameters, ref.parameters)
    assert time.perf_counter() - pressed < 60, "it was not the whole fit that ended"


def test_progress_shows_mean_losses(capsys, monkeypatch, rng):
    X, y = data([2, 3, 1], 8, "half_squared_error", False, rng)
    history = Fleet([2, 3, 1], members=3, seed=0).fit(X, y, 5, progress=True)
    assert f"epoch 5 of 5: loss {history.loss[-1].mean():.6g}" in capsys.readouterr().err


def test_arguments_that_members_share_have_the_types_of_a_trainer():
    """A type checker must accept for a fleet what it accepts for a trainer."""
    trainer, fleet = (inspect.signature(net).parameters for net in (Trainer, Fleet))
    for_each_member = {"learning_rate", "weight_decay", "dropout", "seed"}
    shared = trainer.keys() & fleet.keys() - for_each_member
    assert {"activation", "output_activation", "loss", "optimizer"} <= shared
    for name in shared:
        assert fleet[name].annotation == trainer[name].annotation, name
