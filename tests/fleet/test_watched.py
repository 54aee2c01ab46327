"""Validation and early stopping in blocks of epochs give what they give epoch by epoch."""

from __future__ import annotations

import gc
import pickle
import signal
import threading
import warnings
import weakref

import numpy as np
import pytest

from jitprop import SGD, Adam, EarlyStopping, Fleet
from jitprop.backends import threads as cores
from jitprop.fleet import course, engines
from jitprop.fleet.data import Part
from jitprop.fleet.stopping import Stopping

K, N, N_VALIDATION, EPOCHS = 19, 13, 7, 60
NETS = {"lanes": [3, 4, 2], "loop": [5, 32, 3]}


def watched(sizes, dtype, optimizer, own, rates):
    """Return a fleet, and the arguments of a fit in which members stop in different epochs."""
    rng = np.random.default_rng(3)
    members = (K,) if own else ()
    samples = [
        (rng.normal(size=(*members, n, sizes[0])), rng.uniform(size=(*members, n, sizes[-1])))
        for n in (N, N_VALIDATION)
    ]
    (X, y), validation = samples
    weights = rng.integers(0, 3, (*members, N)) + (np.arange(N) == 0)
    counted = rng.integers(1, 3, (*members, N_VALIDATION))
    fleet = Fleet(
        sizes, members=K, seed=0, activation="relu", output_activation="identity", batch_size=5,
        dtype=dtype, optimizer=optimizer, learning_rate=rates, dropout=np.linspace(0, 0.5, K),
    )  # fmt: skip
    given = {"sample_weight": weights, "validation_data": (*validation, counted)}
    return fleet, (X, y, EPOCHS), given


def fitted(fleet, samples, given):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return fleet.fit(*samples, **given)


def assert_same(one, other):
    assert one.diverged == other.diverged
    for name in ("loss", "validation_loss", "epochs", "best_epoch"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


@pytest.mark.parametrize("own", [False, True], ids=["shared", "own"])
@pytest.mark.parametrize("optimizer", [SGD(0.9), Adam()], ids=["sgd", "adam"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("kind", NETS)
def test_blocks_are_like_single_epochs(kind, dtype, optimizer, own, monkeypatch):
    rates = np.geomspace(0.003, 0.3, K)
    rates[4] = 1e200 if dtype == "float64" else 1e30
    fleet, samples, given = watched(NETS[kind], dtype, optimizer, own, rates)
    assert type(fleet._engine(N)).__name__.lower() == kind
    given["callbacks"] = EarlyStopping(patience=4)
    other = pickle.loads(pickle.dumps(fleet))
    blocks = []
    block = course.Course._block
    monkeypatch.setattr(
        course.Course, "_block", lambda *given: (blocks.append(given[2]), block(*given))
    )
    histories = [fitted(fleet, samples, given)]
    assert max(blocks) > 1
    assert len(blocks) < 20
    monkeypatch.setattr(course, "WATCHED_BYTES", 0)
    histories.append(fitted(other, samples, given))
    assert_same(*histories)
    history = histories[0]
    stopped = history.epochs[history.epochs < EPOCHS]
    assert 4 in history.diverged
    assert len(np.unique(stopped)) > 3
    assert pickle.dumps(fleet._model.state) == pickle.dumps(other._model.state)
    # A resumed fit goes on alike, from the patience that is left.
    monkeypatch.undo()
    given["callbacks"] = EarlyStopping(patience=9)
    given["epochs_total"] = EPOCHS + 10
    again = [fitted(one, samples[:2], given) for one in (fleet, other)]
    assert_same(*again)
    np.testing.assert_array_equal(fleet.parameters, other.parameters)


@pytest.mark.parametrize("watch", ["validation", "loss", "keeps the last"])
@pytest.mark.parametrize("kind", NETS)
def test_whatever_is_watched(kind, watch, monkeypatch):
    """Members diverge in the middle of a block, some of them after they would have stopped."""
    rates = np.geomspace(0.003, 30, K)
    fleet, samples, given = watched(NETS[kind], "float64", "sgd", False, rates)
    if watch == "loss":
        del given["validation_data"]
        given["callbacks"] = EarlyStopping("loss", patience=8, min_delta=1e-3)
    elif watch == "keeps the last":
        given["callbacks"] = EarlyStopping(patience=8, restore_best=False)
    other = pickle.loads(pickle.dumps(fleet))
    monkeypatch.setattr(course, "BLOCK_SECONDS", np.inf)
    one = fitted(fleet, samples, given)
    monkeypatch.setattr(course, "WATCHED_BYTES", 0)
    two = fitted(other, samples, given)
    assert one.diverged == two.diverged
    assert len(set(one.diverged.values())) > 1
    np.testing.assert_array_equal(one.loss, two.loss)
    if watch != "loss":
        np.testing.assert_array_equal(one.validation_loss, two.validation_loss)
    assert pickle.dumps(fleet._model.state) == pickle.dumps(other._model.state)


@pytest.mark.parametrize("kind", NETS)
def test_an_interrupt_within_a_block_loses_the_block(kind, monkeypatch):
    fleet, samples, given = watched(NETS[kind], "float64", "sgd", False, 0.01)
    given["callbacks"] = EarlyStopping(patience=8)
    ref = pickle.loads(pickle.dumps(fleet))
    engine = type(fleet._engine(N))
    evaluate, calls = engine.evaluate, []

    def interrupted(self, *given):
        calls.append(0)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return evaluate(self, *given)

    monkeypatch.setattr(engine, "evaluate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fleet.fit(*samples, **given)
    monkeypatch.undo()
    done = fleet.epochs_trained.max()
    assert 0 < done < EPOCHS
    histories = [fitted(one, samples[:2], given | {"epochs_total": EPOCHS}) for one in (fleet, ref)]
    np.testing.assert_array_equal(histories[0].loss, histories[1].loss[done:])
    np.testing.assert_array_equal(fleet.parameters, ref.parameters)


def test_a_loop_that_is_halted_leaves_the_other_epochs(monkeypatch):
    """Ctrl-C comes between two epochs of a member."""
    fleet, (X, y, _), given = watched(NETS["loop"], "float64", "sgd", False, 0.01)
    fleet._model.n_threads = 1
    monkeypatch.setattr(engines, "THREAD_WORK", 1.0)  # the work is another thread's
    done = []
    backend = fleet._engine(N).backend
    go_on, halt = backend.Single.go_on, backend.halt
    main, halting = threading.main_thread().ident, threading.Event()

    def slow(self, *given):
        done.append(0)
        if len(done) == 3:
            signal.pthread_kill(main, signal.SIGINT)
            halting.wait(10)
        return go_on(self, *given)

    def halted(net):
        halting.set()
        return halt(net)

    monkeypatch.setattr(backend, "halt", halted)
    monkeypatch.setattr(backend.Single, "go_on", slow)
    monkeypatch.setattr(course, "BLOCK_SECONDS", np.inf)
    before = fleet.parameters.copy()
    with pytest.raises(KeyboardInterrupt):
        fleet.fit(X, y, 40, **given)
    assert len(done) == 3
    np.testing.assert_array_equal(fleet.parameters, before)


@pytest.mark.parametrize("kind", NETS)
def test_passes_use_threads(kind, monkeypatch):
    """The work decides, as it does for fits: the engine asks for cores where there is enough."""
    fleet, (X, y, _), _ = watched(NETS[kind], "float64", "sgd", False, 0.01)
    expected = [fleet.predict(X), fleet.evaluate(X, y)]
    used, run = [], engines.run
    monkeypatch.setattr(cores, "available", lambda: 3)
    monkeypatch.setattr(engines, "THREAD_WORK", 10.0)

    def seen(work, n, n_threads, *given):
        used.append(n_threads)
        return run(work, n, n_threads, *given)

    monkeypatch.setattr(engines, "run", seen)
    if kind == "lanes":
        monkeypatch.setattr("jitprop.fleet.lanes.run", seen)
    for array, other in zip(expected, [fleet.predict(X), fleet.evaluate(X, y)], strict=True):
        np.testing.assert_array_equal(array, other)
    fleet.fit(X, y, 1)
    assert set(used) == {3}


@pytest.mark.parametrize("kind", NETS)
def test_a_call_that_changes_nothing_prepares_nothing(kind, monkeypatch):
    """The second call finds the engine, with its plan, its memory and its laid out arguments."""
    fleet, (X, y, _), _ = watched(NETS[kind], "float64", "sgd", False, 0.01)
    calls = [lambda: fleet.predict(X), lambda: fleet.evaluate(X, y), lambda: fleet.fit(X, y, 1)]
    for call in 2 * calls:
        call()

    def fail(*given):
        raise AssertionError("something was prepared again")

    monkeypatch.setattr("jitprop.backends.plans.make", fail)
    monkeypatch.setattr("jitprop_kernels.entry.Entry.bind", fail)
    monkeypatch.setattr(cores, "cores", fail)
    monkeypatch.setattr(cores, "_controller", fail)
    for call in calls:
        call()


@pytest.mark.parametrize("kind", NETS)
def test_a_kept_engine_keeps_no_samples(kind):
    """Memory of the caller is let go of, and other data of the same shape give their own result."""
    fleet, (X, y, _), _ = watched(NETS[kind], "float64", "sgd", False, 0.01)
    fleet.fit(X, y, 1)
    fleet.evaluate(X, y)
    fleet.predict(X)

    class Counted(np.ndarray):
        pass

    engine = fleet._engine(N)
    own = Part(X.view(Counted).copy(), False)
    seen = weakref.ref(own.array)
    out = np.empty((K, N, fleet.layer_sizes[-1]))
    with np.errstate(all="ignore"):
        engine.predict(fleet._model.state.members(fleet._model.settings), own, out)
    del own
    gc.collect()
    assert seen() is None
    np.testing.assert_array_equal(out, fleet.predict(X))
    other = fleet.predict(X + 1)
    fresh = pickle.loads(pickle.dumps(fleet))
    np.testing.assert_array_equal(other, fresh.predict(X + 1))


@pytest.mark.parametrize("min_delta", [0.0, 0.2])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_the_rule_for_many_epochs_is_that_for_one(mode, min_delta):
    """Numbers that are equal, infinite or nan count as they do one by one."""
    rng = np.random.default_rng(5)
    a, n = 200, 12
    values = rng.integers(0, 5, (n, a)).astype(float)
    values[rng.random((n, a)) < 0.1] = np.nan
    values[rng.random((n, a)) < 0.1] = np.inf
    values[rng.random((n, a)) < 0.05] = -np.inf
    whole = rng.integers(0, n + 1, a)
    how = EarlyStopping("loss", patience=3, min_delta=min_delta, mode=mode)
    fleet = Fleet([1, 1], members=a, seed=0)
    stopping = Stopping(how, fleet._model.state, None)
    fleet._model.state.epochs[:] = rng.integers(0, 3, a)
    seen = stopping.look(np.arange(a), values, whole)
    for i in range(a):
        begin, best, best_epoch, at = int(fleet.epochs_trained[i]), how.rule.worst, -1, -1
        done, stopped = 0, False
        while done < whole[i] and not stopped:
            with np.errstate(invalid="ignore"):
                better = how.rule.is_better(values[done, i], best)
            if better:
                best, best_epoch, at = values[done, i], begin + done, done
            stopped = bool(how.rule.is_exhausted(0, best_epoch, begin + done))
            done += 1
        found = [part[i] for part in seen]
        assert found == [best, best_epoch, begin + done - 1, at, done, stopped]
    assert 0 < seen.stopped.sum() < a
