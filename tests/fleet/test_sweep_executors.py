"""A sweep gives the same bits in an executor's workers, even in a cluster that loses some."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import pickle
import signal
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from pathlib import Path
from pickle import PicklingError

import numpy as np
import pytest

from jitprop import sweep
from jitprop.sweeps import executors, tasks
from sweep_results import equal

GRID = {"layer_sizes": [[3, 4, 2], [3, 30, 2]], "learning_rate": [0.01, 0.1, 0.3]}
FIXED = {
    "activation": "tanh", "output_activation": "identity", "epochs": 30, "batch_size": 10,
    "seed": 0, "refit": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def samples():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    return X, 0.5 * X[:, :2]


@pytest.fixture(scope="module")
def ref(samples):
    return sweep(*samples, GRID, metrics="r2", **FIXED)


@pytest.fixture(autouse=True)
def many_tasks(monkeypatch):
    """Let tasks have two members each, so that there are 16."""
    monkeypatch.setattr(tasks, "_members", lambda *arguments: 2)


@pytest.fixture(autouse=True)
def no_waiting_for_ever():
    def ring(*_):
        raise TimeoutError("two minutes")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def processes():
    # "spawn", since a fork of a process with threads may hang.
    return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))


def loky():
    # Not the reusable executor, which joblib would use in other tests of this process.
    return pytest.importorskip("joblib.externals.loky").ProcessPoolExecutor(2)


@pytest.mark.parametrize("make", [processes, loky, lambda: ThreadPoolExecutor(2)])
def test_any_executor(make, samples, ref):
    with make() as executor:
        equal(sweep(*samples, GRID, metrics="r2", executor=executor, **FIXED), ref)


class Pickling:
    """An executor that pickles and unpickles each task and runs it at once."""

    def __init__(self):
        self.sent, self.files, self.n_threads = [], set(), set()

    def submit(self, function, task, data):
        message = pickle.dumps((function, task, data))
        self.sent.append(len(message))
        self.files.add(data.path)
        self.n_threads.add(task.shared["n_threads"])
        function, task, data = pickle.loads(message)
        future = Future()
        try:
            future.set_result(function(task, data))
        except BaseException as error:
            future.set_exception(error)
        return future


def test_data_are_in_a_file_and_not_in_tasks(rng):
    # The rows are far apart in memory. Such arrays would otherwise be pickled.
    X, y = rng.normal(size=(5, 4000)).T, rng.integers(0, 2, 4000)
    fixed = {"layer_sizes": [5, 1], "epochs": 1, "seed": 0, "cv": 3, "sample_weight": y + 1}
    grid = {"learning_rate": [0.1, 0.2]}
    executor = Pickling()
    comp = sweep(X, y, grid, executor=executor, **fixed)
    equal(comp, sweep(X, y, grid, **fixed))
    assert len(executor.sent) == 3
    assert max(executor.sent) < 4000
    assert executor.n_threads == {1}
    (file,) = executor.files
    assert not Path(file).parent.exists()
    sweep(X, y, grid, executor=executor, n_threads=2, **fixed)
    assert executor.n_threads == {1, 2}
    with pytest.raises(
        FileNotFoundError, match="set TMPDIR to a folder that all machines can read"
    ):
        executors._File(file, b"", ()).read()


def test_errors_come_out_and_end_the_others(samples):
    ran = []

    def fails(y, prediction):
        ran.append(1)
        raise RuntimeError("no such number")

    with ThreadPoolExecutor(1) as executor, pytest.raises(RuntimeError, match="no such number"):
        sweep(*samples, GRID, metrics=fails, executor=executor, **FIXED)
    assert len(ran) < 15


def test_tasks_that_others_cancelled(samples, monkeypatch):
    class Cancels:
        def submit(self, *arguments):
            future = Future()
            future.cancel()  # as shutdown(cancel_futures=True) does
            return future

    monkeypatch.setattr(executors, "LOOK_SECONDS", 0.01)
    with pytest.raises(CancelledError, match="tasks of the sweep were cancelled by the executor"):
        sweep(*samples, GRID, executor=Cancels(), **FIXED)


def test_what_cannot_be_sent_is_told(samples):
    with processes() as executor, pytest.raises((PicklingError, AttributeError), match="pickle"):
        sweep(*samples, GRID, metrics=lambda y, prediction: 0.0, executor=executor, **FIXED)


def ends(y, prediction):
    os._exit(1)


def test_a_pool_that_lost_a_worker_says_so(samples):
    with loky() as executor, pytest.raises(BrokenExecutor):
        sweep(*samples, GRID, metrics=ends, executor=executor, **FIXED)


@pytest.fixture(scope="module")
def cluster():
    """A Dask cluster with two worker processes."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def test_dask(cluster, samples, ref, monkeypatch):
    sent, submit = [], cluster.submit

    def spy(function, task, data, **arguments):
        sent.append(len(pickle.dumps(task)))
        assert type(data).__module__.startswith("distributed")
        return submit(function, task, data, **arguments)

    monkeypatch.setattr(cluster, "submit", spy)
    executor = cluster.get_executor(retries=2)
    equal(sweep(*samples, GRID, metrics="r2", executor=executor, **FIXED), ref)
    assert len(sent) > 10
    assert max(sent) < 4000
    equal(sweep(*samples, GRID, metrics="r2", executor=cluster, **FIXED), ref)


@pytest.mark.parametrize("all_of_them", [False, True])
def test_dask_loses_workers(all_of_them, cluster, samples, ref, tmp_path):
    """Workers are killed after some tasks. When the last one is gone, so are the data."""
    cluster.wait_for_workers(2)
    calls, flag, pids = tmp_path / "calls", tmp_path / "killed", [*cluster.run(os.getpid).values()]
    assert len(pids) == 2

    def r2(y, prediction):
        from jitprop import metrics

        with calls.open("ab") as file:
            file.write(b".")
        if calls.stat().st_size >= 9:
            with contextlib.suppress(FileExistsError):
                flag.touch(exist_ok=False)  # of two workers at once, one goes on
                for pid in {*pids} - {os.getpid()} if all_of_them else ():
                    os.kill(pid, signal.SIGKILL)
                os.kill(os.getpid(), signal.SIGKILL)
        return metrics.r2(y, prediction)

    executor = cluster.get_executor()
    equal(sweep(*samples, GRID, metrics=r2, executor=executor, **FIXED), ref)
    assert flag.exists()
    assert len({*pids} - {*cluster.run(os.getpid).values()}) == 1 + all_of_them


def test_dask_tasks_that_are_cancelled(cluster, samples, monkeypatch):
    monkeypatch.setattr(executors, "_submit", lambda executor, tasks, *_: [None] * len(tasks))
    with pytest.raises(CancelledError, match="4 attempts: each time all workers that had the data"):
        sweep(*samples, GRID, executor=cluster, **FIXED)
