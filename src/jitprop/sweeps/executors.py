"""
Runs tasks in this process or in the workers of an executor.

The data are sent once. Dask's workers pass them on to each other. The workers of any other executor
read them from a file, which workers on one machine map into the same memory.
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
"""How often data are sent to Dask's workers, if each time all workers that had them are lost."""

LOOK_SECONDS = 1.0
"""The seconds between two checks whether Dask still has the data."""

ALIGNMENT = 64
"""Arrays begin at multiples of so many bytes in the file."""


def resolve(executor: Any) -> Any:
    """
    Check `sweep`'s ``executor``; for a Dask client return its executor.

    Raises
    ------
    TypeError
        For anything but None and an object with a method ``submit``.
    """
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
    """
    Run all tasks and return what each one found, in their order.

    Raises
    ------
    concurrent.futures.CancelledError
        If tasks were cancelled by others.
    concurrent.futures.BrokenExecutor
        If a worker process on this machine died. Any error of a task is raised here, too.
    """
    if executor is None:
        return [run(task, data) for task in tasks]
    if type(executor).__module__.split(".")[0] == "distributed":
        return _run_on_dask(executor, tasks, data)
    with _in_file(data) as file:
        found = _submit(executor, tasks, file)
    if None in found:
        raise CancelledError("tasks of the sweep were cancelled by the executor")
    return [numbers for numbers in found if numbers is not None]


def _submit(
    executor: Any,
    tasks: Sequence[Task],
    data: Any,
    lost: Callable[[Any], bool] = lambda data: False,
) -> list[Found | None]:
    """
    Run tasks and return what each one found, or None.

    None stands for a task that was cancelled, or that was not done when the data were ``lost``.
    """
    futures = []
    try:
        for task in tasks:
            futures.append(executor.submit(_work, task, data))
        while True:
            done, others = wait(futures, timeout=LOOK_SECONDS, return_when=FIRST_EXCEPTION)
            found = {future: future.result() for future in done if not future.cancelled()}
            # `wait` does not notice a task that is cancelled before it runs.
            if all(future.cancelled() for future in others) or lost(data):
                return [found.get(future) for future in futures]
    finally:
        for future in futures:
            future.cancel()


def _run_on_dask(executor: Any, tasks: Sequence[Task], data: Data) -> list[Found]:
    """
    Run tasks on Dask, which retries the tasks of a lost worker on another one.

    If no worker is left that has the data, Dask cancels the tasks. It does not report tasks that
    were done and whose results are lost with the workers. So the data are watched: if they are
    lost, they are sent again, with all tasks that have no result yet.
    """
    client = executor._client  # the executor has no public way to scatter data
    found: dict[int, Found] = {}
    for _ in range(ATTEMPTS):
        missing = [i for i in range(len(tasks)) if i not in found]
        client.wait_for_workers(1)  # tasks would wait for the first worker, data do not
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
        f"tasks of the sweep were given up after {ATTEMPTS} attempts: each time all workers that "
        "had the data were lost, or Dask cancelled tasks"
    )


def _work(task: Task, data: Data | _File) -> Found:
    """Run a task in a worker."""
    return run(task, data.read() if isinstance(data, _File) else data)


@dataclass(frozen=True)
class _File:
    """Data whose arrays are in a file, one after the other."""

    path: str
    rest: bytes
    """The pickle of everything but the arrays."""
    ranges: tuple[tuple[int, int], ...]
    """Where each array begins and ends in the file."""

    def read(self) -> Data:
        """Map the file into memory and return the data, whose arrays are read-only."""
        try:
            with open(self.path, "rb") as file:
                memory = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"a worker does not find the data of the sweep, {self.path!r}: if workers are on "
                "other machines, set TMPDIR to a folder that all machines can read"
            ) from error
        data: Data = pickle.loads(self.rest, buffers=[memory[i:j] for i, j in self.ranges])
        return data


@contextmanager
def _in_file(data: Data) -> Iterator[_File]:
    with tempfile.TemporaryDirectory(prefix="jitprop-", ignore_cleanup_errors=True) as folder:
        path, ranges = Path(folder, "data"), []
        buffers: list[pickle.PickleBuffer] = []
        rest = pickle.dumps(data, protocol=5, buffer_callback=buffers.append)
        with path.open("wb") as file:
            for buffer in buffers:
                file.write(bytes(-file.tell() % ALIGNMENT))
                first = file.tell()
                file.write(buffer.raw())
                ranges.append((first, file.tell()))
        yield _File(str(path), rest, tuple(ranges))
