"""
Where tasks run: here, or in the workers of an executor, to whom the data go once.

Dask hands data from worker to worker itself. Any other executor's workers find them in a file,
which those on one machine map into the same memory.
"""

from __future__ import annotations

import mmap
import pickle
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, CancelledError, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jitprop import checks
from jitprop.sweeps.tasks import Data, Found, Task, run

ATTEMPTS = 4
"""How often data are sent to Dask's workers, where all that had them are gone."""

LOOK_SECONDS = 1.0
"""After which to see whether the data are still there."""

ALIGNMENT = 64
"""Bytes; of arrays in a file."""


def resolve(executor: Any) -> Any:
    """`sweep`'s ``executor``, checked: what has a method ``submit``; a Dask client's own."""
    if hasattr(executor, "get_executor"):
        executor = executor.get_executor()
    runs = callable(getattr(executor, "submit", None)) and not isinstance(executor, type)
    if executor is not None and not runs:
        raise TypeError(
            "executor must be None or a concurrent.futures.Executor, with a method submit; "
            f"got {checks.shown(executor)}"
        )
    return executor


def run_all(executor: Any, tasks: Sequence[Task], data: Data) -> list[Found]:
    """What each task finds, in the order of the tasks."""
    if executor is None:
        return [run(task, data) for task in tasks]
    if type(executor).__module__.split(".")[0] == "distributed":
        return _run_on_dask(executor, tasks, data)
    with _in_file(data) as file:
        found = _submit(executor, tasks, file)
    if None in found:
        raise CancelledError("the executor has cancelled tasks of the sweep")
    return [numbers for numbers in found if numbers is not None]


def _submit(
    executor: Any,
    tasks: Sequence[Task],
    data: Any,
    lost: Callable[[Any], bool] = lambda data: False,
) -> list[Found | None]:
    """What each task finds; None of those that were cancelled, or not done when data are lost."""
    futures = []
    try:
        for task in tasks:
            futures.append(executor.submit(_work, task, data))
        while True:
            done, others = wait(futures, timeout=LOOK_SECONDS, return_when=FIRST_EXCEPTION)
            found = {future: future.result() for future in done if not future.cancelled()}
            # Of those that are cancelled before they run, `wait` hears nothing.
            if all(future.cancelled() for future in others) or lost(data):
                return [found.get(future) for future in futures]
    finally:
        for future in futures:
            future.cancel()


def _run_on_dask(executor: Any, tasks: Sequence[Task], data: Data) -> list[Found]:
    """
    Dask tries the tasks of a lost worker elsewhere.

    It cancels them all where no worker is left that has the data; but of some that were done and
    lost, it does not tell.
    """
    client = executor._client  # get_executor gives no other way to scatter
    found: dict[int, Found] = {}
    for _ in range(ATTEMPTS):
        missing = [i for i in range(len(tasks)) if i not in found]
        client.wait_for_workers(1)  # tasks wait for the first one by themselves, data do not
        sent = client.scatter(data, broadcast=True, hash=False)
        numbers_of = _submit(
            executor, [tasks[i] for i in missing], sent, lambda sent: sent.status != "finished"
        )
        for i, numbers in zip(missing, numbers_of, strict=True):
            if numbers is not None:
                found[i] = numbers
        if len(found) == len(tasks):
            return [found[i] for i in range(len(tasks))]
    raise CancelledError(
        f"{ATTEMPTS} times all workers that had the data were lost, or Dask cancelled tasks"
    )


def _work(task: Task, data: Data | _File) -> Found:
    """In a worker."""
    return run(task, data.read() if isinstance(data, _File) else data)


@dataclass(frozen=True)
class _File:
    """Data in a file: their arrays, one after the other, and the pickle of all else."""

    path: str
    rest: bytes
    places: tuple[tuple[int, int], ...]

    def read(self) -> Data:
        try:
            with open(self.path, "rb") as file:
                memory = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"a worker does not find the data of the sweep, {self.path!r}: where workers are "
                "on other machines, set TMPDIR to a folder that all of them see"
            ) from error
        data: Data = pickle.loads(self.rest, buffers=[memory[i:j] for i, j in self.places])
        return data


@contextmanager
def _in_file(data: Data) -> Iterator[_File]:
    with tempfile.TemporaryDirectory(prefix="jitprop-", ignore_cleanup_errors=True) as folder:
        path, places = Path(folder, "data"), []
        buffers: list[pickle.PickleBuffer] = []
        rest = pickle.dumps(data, protocol=5, buffer_callback=buffers.append)
        with path.open("wb") as file:
            for buffer in buffers:
                file.write(bytes(-file.tell() % ALIGNMENT))
                first = file.tell()
                file.write(buffer.raw())
                places.append((first, file.tell()))
        yield _File(str(path), rest, tuple(places))
