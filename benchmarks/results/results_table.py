"""What the tables of results share: Markdown, and the date, machine and versions below it."""

import platform
from collections.abc import Iterable, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt


def markdown(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def places(printed: str) -> int:
    """Return how many digits a printed number has after its point."""
    return len(printed.partition(".")[2])


def shown(errors: npt.NDArray[np.float64], digits: int) -> str:
    """Return the mean and the standard deviation of errors."""
    return f"{errors.mean():.{digits}f} ({errors.std(ddof=1):.{digits}f})"


def ran(seconds: float) -> str:
    """Return the sentence below a table: when, on what, with which versions, and how long."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("jitprop", "numba", "numpy"))
    day = date.today()
    return (
        f"{day.day} {day:%B %Y}, {processor()}, Python {platform.python_version()}, {packages}. "
        f"All of it took {seconds:.0f} s."
    )


def processor() -> str:
    """Return the processor's name, where the system says it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(": ")[2]
    return platform.processor() or platform.machine()
