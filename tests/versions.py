"""
Run a sample of the tests with each numba and each Python, and print a table in Markdown.

    make versions PYTHONS="python3.11 python3.14 /elsewhere/bin/python3.15"

It tries the newest release of each minor version of numba, from the oldest that `pyproject.toml`
admits to the newest that the registry has. Each Python gets the oldest and the newest of them that
have a wheel for it. The others are spread over the Pythons. Bounds in `pyproject.toml` are not
looked at otherwise, so a version that they exclude yet can be tried.

Each pair gets a virtual environment of its own. In it the sample runs, then `jitprop verify`, which
compares the bits of many trained nets with the published ones. The environments and the logs stay
in the folder, so that the next run is shorter. Each environment takes 0.5 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]

SAMPLE = (
    "tests/test_trainer.py",
    "tests/test_notebooks.py",
    "tests/test_compiled.py",
    "tests/test_cache.py",
    "tests/test_cache_files.py",
    "tests/test_threads.py",
    "tests/test_saving.py",
    "tests/test_custom.py",
    "tests/test_blocks.py",
    "tests/fleet/test_saving.py",
    "tests/fleet/test_resuming.py",
    "tests/sklearn/test_same_model.py",
)
NEEDED = ("pytest", "hypothesis", "scikit-learn", "tqdm")

PIP = ("-m", "pip", "--disable-pip-version-check")

PYTHONS = [f"python3.{minor}" for minor in range(11, 16)]

MINUTES = 30
"""The time limit of each command."""

VERSIONS = """
import json, platform, llvmlite, llvmlite.binding, numba, numpy, sklearn
print(json.dumps([
    platform.python_version(), numba.__version__, llvmlite.__version__,
    ".".join(map(str, llvmlite.binding.llvm_version_info)), numpy.__version__, sklearn.__version__,
]))
"""
VERIFY = "import sys; from jitprop.cli import verify; sys.exit(verify.main(timed=False))"

COLUMNS = (
    "Python", "numba", "llvmlite", "LLVM", "NumPy", "scikit-learn", "passed", "failed", "bits",
)  # fmt: skip

BITS = {0: "the published", 1: "others"}
"""What the exit codes of `jitprop verify` mean."""


def run(*command: str | Path, **options: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a user would who has set no other options."""
    theirs = ("PYTHON", "NUMBA_", "JITPROP_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(theirs)}
    env |= options
    return subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, check=False,
        timeout=60 * MINUTES,
    )  # fmt: skip


def said(*command: str | Path) -> str:
    """Return what a command printed."""
    done = run(*command)
    if done.returncode:
        raise RuntimeError(f"{command} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return done.stdout


def number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def oldest_numba() -> tuple[int, ...]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = re.search(r"numba>=([\d.]+)", " ".join(project["dependencies"]))
    assert found, "pyproject.toml has no lower bound of numba"
    return number(found[1])


def wheels_of_numba(minor: str) -> list[str]:
    """Return the newest release of each minor version with a wheel for a Python, oldest first."""
    options = ("--only-binary=:all:", f"--python-version={minor}")
    found = said(sys.executable, *PIP, "index", "versions", *options, "numba")
    listed = re.search(r"Available versions: (.*)", found)
    releases = listed[1].split(", ") if listed else []
    newest: dict[tuple[int, ...], str] = {}
    for release in sorted(releases, key=number):
        if number(release) >= oldest_numba():
            newest[number(release)[:2]] = release
    return list(newest.values())


def pairs(wheels: dict[str, list[str]]) -> list[tuple[str, str]]:
    """Choose the pairs of a Python and a numba to be tried; see the top of this file."""
    chosen = {
        python: sorted({*found[:1], *found[-1:]}, key=number) for python, found in wheels.items()
    }
    for release in sorted(set().union(*wheels.values()), key=number):
        if not any(release in some for some in chosen.values()):
            able = [python for python, found in wheels.items() if release in found]
            chosen[min(able, key=lambda python: len(chosen[python]))].append(release)
    return [(python, release) for python, some in chosen.items() for release in some]


def row(python: str, release: str, wheel: Path, folder: Path) -> list[str]:
    """Make an environment, run the tests in it, and return the table's cells."""
    environment = folder / f"{Path(python).name}-numba-{release}"
    its_python = environment / "bin" / "python"
    if not its_python.exists():
        said(sys.executable, "-m", "virtualenv", "--quiet", "--python", python, environment)
    install = (its_python, *PIP, "install", "--quiet", "--no-compile", "--only-binary=:all:")
    said(*install, f"numba=={release}", "safetensors", "threadpoolctl", *NEEDED)
    said(*install, "--no-deps", "--force-reinstall", "--ignore-requires-python", wheel)
    versions = json.loads(said(its_python, "-c", VERSIONS))
    kernels = str(environment / "kernels")  # what the tests compile serves `verify` too
    options = ("-q", "-p", "no:cacheprovider", "-m", "not long")
    tests = run(its_python, "-m", "pytest", *options, *SAMPLE, JITPROP_TESTS_CACHE=kernels).stdout
    verified = run(its_python, "-c", VERIFY, NUMBA_CACHE_DIR=kernels)
    log = f"{tests}\n{verified.stdout}\n{verified.stderr}"
    environment.with_name(f"{environment.name}.log").write_text(log)
    bits = BITS.get(verified.returncode, "error")
    return [*versions, *counts(tests), bits]


def counts(log: str) -> tuple[str, str]:
    """Return how many tests passed and failed, from what pytest printed."""
    *_, last = log.splitlines() or [""]
    found = {kind.rstrip("s"): int(n) for n, kind in re.findall(r"(\d+) (\w+)", last)}
    passed = found.get("passed", 0)
    failed = found.get("failed", 0) + found.get("error", 0)
    return str(passed), str(failed) if passed else "all"


def main() -> int:
    parser = argparse.ArgumentParser(description="Run a sample of the tests with many versions.")
    parser.add_argument("folder", type=Path, help="for environments and logs")
    parser.add_argument("--pythons", nargs="+", default=PYTHONS, metavar="PATH")
    parser.add_argument("--numba", nargs="+", metavar="VERSION", help="only these")
    given = parser.parse_args()
    folder = given.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)

    wheels, absent = {}, []
    for python in given.pythons:
        try:
            minor = said(python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()
        except (OSError, RuntimeError):
            absent.append(python)
        else:
            wheels[python] = wheels_of_numba(minor)
    said(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, ROOT)
    (wheel,) = folder.glob("jitprop-*.whl")

    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    all_passed = True
    for python, release in pairs(wheels):
        if given.numba and release not in given.numba:
            continue
        try:
            cells = row(python, release, wheel, folder)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            print(error, file=sys.stderr)
            cells = [Path(python).name, release, *"----", "-", "all", "-"]
        all_passed = all_passed and cells[-2:] == ["0", BITS[0]]
        print(f"| {' | '.join(cells)} |", flush=True)
    if absent:
        print("\nNot found, so not tried:", ", ".join(absent))
    return not all_passed


if __name__ == "__main__":
    sys.exit(main())
