"""The table in Markdown, and the notes below it."""

import importlib.metadata
import platform
import subprocess
from datetime import date
from pathlib import Path

from compiler import COMPILER
from limits import N_CORES


def table(systems, times, machine):
    """
    Return the table of microseconds per update, with a row for each work.

    "Share of the limit" is the limit divided by jitprop's time.
    """
    rows = [
        ["", "net", *systems, "best peer / jitprop", "JAX / jitprop", "limit", "share of the limit"]
    ]
    for work, row in times.items():
        jitprop, limit = row.get("jitprop"), machine.limit(work)
        peers = [seconds for system, seconds in row.items() if system != "jitprop"]
        rows.append(
            [
                work.name,
                str(work),
                *(microseconds(row.get(system)) for system in systems),
                ratio(min(peers, default=None), jitprop),
                ratio(row.get("JAX"), jitprop),
                microseconds(limit),
                f"{limit / jitprop:.0%}" if jitprop and limit else "-",
            ]
        )
    rows.insert(1, ["---"] * len(rows[0]))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def notes(cannot, modules, machine):
    """Return the notes: systems that were skipped, the machine's speed, the date and versions."""
    lines = [
        f"{system} skipped on {', '.join(works)}: {reason}."
        for (system, reason), works in cannot.items()
    ]
    rates = ", ".join(
        f"{dtype.__name__} {rate / 1e9:.0f} GFLOP/s on {cores} core{'s' * (cores > 1)}"
        for (dtype, cores), rate in sorted(machine.rates.items(), key=lambda item: item[0][1])
    )
    where = [
        *ran(modules),
        *outputs(
            [COMPILER, "--version"], ["dpkg-query", "-f", "libfann ${Version}", "-W", "libfann-dev"]
        ),
    ]
    return "\n" + "\n".join([*lines, f"Matrix products: {rates}.", "; ".join(where) + "."])


def ran(modules):
    """Return the date, the machine and the versions of the modules' packages."""
    packages = dict.fromkeys(package for module in modules for package in module.PACKAGES)
    return [
        f"{date.today():%d %B %Y}",
        f"{processor()}, {N_CORES} core{'s' * (N_CORES > 1)}",
        f"{platform.system()} {platform.machine()}",
        f"Python {platform.python_version()}",
        *(f"{package} {importlib.metadata.version(package)}" for package in packages),
    ]


def microseconds(seconds):
    """Format a time with three digits, or more if it has more before the point."""
    if seconds is None:
        return "-"
    return three_digits(seconds * 1e6)


def three_digits(value):
    """Format a number with three digits, or more if it has more before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}"


def ratio(numerator, denominator):
    """Format a ratio with two digits after the point."""
    return f"{numerator / denominator:.2f}" if numerator and denominator else "-"


def processor():
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next(
        (line.partition(": ")[2] for line in lines if line.startswith("model name")),
        platform.machine(),
    )


def outputs(*commands):
    """Yield the first line that each command prints; skip commands that are not installed."""
    for command in commands:
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        yield done.stdout.splitlines()[0]
