"""
The kernels' cache on disk, tested in the processes of a user.

Each test creates its own installation, with both packages side by side as in a wheel, and
starts Python on it. Root may write to any folder, so an unwritable folder is here a path at
which there is a file. Tests without compiled kernels are in `test_cache_files`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from jitprop_kernels.target import LEVELS, best_level

ROOT = Path(__file__).parents[1]
PACKAGES = (ROOT / "src" / "jitprop", ROOT / "kernels" / "jitprop_kernels")
ROUTES = ("lanes", "blocks")
SECONDS = 300  # to wait for one process at most; alone it needs 7

# A process prints the results of both backends, and the test compares them.
BEGIN = """
import json, os, pwd, resource, signal, sys, threading
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from jitprop import Trainer
from jitprop_kernels import ENTRIES, stored

def fit(trainer, X, y):
    return trainer.fit(X, y, epochs=10).loss

def use_all(trainer, X, y):
    losses = fit(trainer, X, y)
    found = trainer.gradients(X, y)
    arrays = [losses, trainer.predict(X), trainer.evaluate(X, y), *found.weights, *found.biases]
    return np.concatenate([np.ravel(array) for array in arrays])

def numbers(route, use=fit, backend="numba"):
    if route == "lanes":  # XOR; the third input is 1
        X, y, sizes = [[0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]], [0, 1, 1, 0], [3, 4, 1]
    else:
        rng = np.random.default_rng(0)
        X, y, sizes = rng.random((150, 64)), rng.random((150, 8)), [64, 64, 8]
    trainer = Trainer(sizes, learning_rate=1.0, seed=0, backend=backend, n_threads=2)
    return use(trainer, X, y).tolist()

use, routes = fit, sys.argv[1:]
"""
TRAIN = "found = [numbers(route) for route in routes]"
READ_ONLY = """
def fail(path, content):
    raise OSError(30, "Read-only file system", path)
stored._write = fail
"""
NOBODY = """
import jitprop.backends.compiled, jitprop.reference  # others may not enter the folders
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
"""
NO_HOME = """
def nobody(uid):
    raise KeyError(uid)
pwd.getpwuid = nobody  # a user without a line in /etc/passwd, as in many containers
"""
FULL_DISK = """
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # a third of the code
"""
USE_ALL = """
use = use_all
found = [numbers(route, use) for route in routes]
"""
FORK = """
found = [numbers(route) for route in routes]
child = os.fork()
if child == 0:
    signal.alarm(30)  # ends a child that hangs
    wrong = 1
    try:
        wrong = int([numbers(route) for route in routes] != found)
    finally:
        os._exit(wrong)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
THREADS = """
together = threading.Barrier(len(routes))
def first(route):
    together.wait()
    return numbers(route)
with ThreadPoolExecutor(len(routes)) as pool:
    found = list(pool.map(first, routes))
"""
END = """
sources = [code.source for entry in ENTRIES for code in entry.codes.values()]
numba = bool(sys.modules.get("numba"))
expected = [numbers(route, use, "numpy") for route in routes]
print(json.dumps([sources, numba, found, expected]))
"""


class Ran(NamedTuple):
    sources: list[str]
    numba: bool
    found: list[list[float]]
    expected: list[list[float]]
    warnings: list[str]

    @property
    def compiled(self) -> bool:
        """Whether it compiled a kernel. A process that does not imports no numba."""
        found = "compiled" in self.sources
        assert self.numba == found
        return found


def install(folder: Path) -> Path:
    without_caches = shutil.ignore_patterns("__pycache__")
    for package in PACKAGES:
        shutil.copytree(package, folder / package.name, ignore=without_caches)
    for name in ("home", "work"):
        (folder / name).mkdir()
    return folder


def beside_sources(folder: Path) -> Path:
    return folder / "jitprop_kernels" / "__pycache__"


def kernel_files(folder: Path) -> list[Path]:
    return list(beside_sources(folder).glob("*.kernel"))


def run(folder: Path, *routes: str, main: str = TRAIN, **env: str) -> Ran:
    ours = ("NUMBA_", "PYTHON", "XDG_")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(ours) and k != "HOME"}
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", f"{BEGIN}\n{main}\n{END}", *routes],
        cwd=folder / "work",
        env={**inherited, "PYTHONPATH": str(folder), "HOME": str(folder / "home"), **env},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    warnings = [line for line in done.stderr.splitlines() if "Warning" in line]
    return Ran(*json.loads(done.stdout), warnings)


def at_once(*folders_and_routes: tuple[Path, str]) -> list[Ran]:
    with ThreadPoolExecutor(len(folders_and_routes)) as pool:
        return list(pool.map(lambda each: run(*each), folders_and_routes))


def check(ran: Ran, n_warnings: int = 0) -> None:
    for found, expected in zip(ran.found, ran.expected, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert len(ran.warnings) <= n_warnings, ran.warnings


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """For each route an installation in which one process has trained; tests use copies."""
    installs = {route: install(tmp_path_factory.mktemp(route)) for route in ROUTES}
    for ran in at_once(*((folder, route) for route, folder in installs.items())):
        check(ran)
        assert ran.compiled
    return installs


@pytest.fixture
def warm(trained: dict[str, Path], tmp_path: Path) -> Path:
    return shutil.copytree(trained["lanes"], tmp_path / "warm")


@pytest.fixture
def cold(tmp_path: Path) -> Path:
    return install(tmp_path)


@pytest.fixture
def closed(cold: Path) -> Path:
    beside_sources(cold).touch()
    return cold


@pytest.mark.long
@pytest.mark.parametrize("route", ROUTES)
def test_second_process_compiles_nothing(route: str, trained: dict[str, Path]) -> None:
    ran = run(trained[route], route)
    check(ran)
    assert not ran.compiled


@pytest.mark.long
@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("activations.py", "sigmoid = tanh"),
        ("elementary.py", "LN2_HI64 = 0.7"),  # breaks jitprop's exp
    ],
)
def test_an_edit_is_seen(file: str, line: str, warm: Path) -> None:
    with (warm / "jitprop_kernels" / file).open("a") as source:
        source.write(f"\n{line}\n")
    for compiled in (True, False):
        ran = run(warm, "lanes")
        assert ran.compiled == compiled
        assert not np.allclose(ran.found, ran.expected, rtol=1e-4)


def test_every_kernel_file_counts(cold: Path) -> None:
    folder = cold / "jitprop_kernels"
    spec = importlib.util.spec_from_file_location("copy_of_stored", folder / "stored.py")
    assert spec is not None
    assert spec.loader is not None
    copy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copy)
    files = sorted(folder.rglob("*.py"))
    stamps = {copy.fingerprint()}
    for file in files:
        file.write_text(file.read_text() + "\n")
        copy.fingerprint.cache_clear()
        stamps.add(copy.fingerprint())
    assert len(stamps) == len(files) + 1


@pytest.mark.long
def test_truncated_file_is_mended(warm: Path) -> None:
    (file,) = kernel_files(warm)
    os.truncate(file, file.stat().st_size // 2)
    ran = run(warm, "lanes")
    check(ran, n_warnings=1)
    assert ran.compiled
    assert f"{file} is damaged: its hash does not fit" in ran.warnings[0]
    ran = run(warm, "lanes")
    check(ran)
    assert not ran.compiled


@pytest.mark.long
def test_code_under_another_name_is_not_run(trained: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(trained["blocks"], tmp_path / "both")
    (other,) = kernel_files(trained["lanes"])
    (file,) = kernel_files(folder)
    assert other.name != file.name
    shutil.copy(other, file)
    ran = run(folder, "blocks")
    check(ran, n_warnings=1)
    assert ran.compiled


@pytest.mark.long
def test_options_of_numba_have_files_of_their_own(warm: Path) -> None:
    ran = run(warm, "lanes", NUMBA_OPT="0")
    check(ran)
    assert ran.compiled
    assert len(kernel_files(warm)) == 2
    assert not run(warm, "lanes", NUMBA_OPT="0").compiled
    assert not run(warm, "lanes").compiled


PLACES = "cache/jitprop_kernels", "jitprop_kernels/__pycache__", "home/.cache/jitprop"


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="the user's cache folder is elsewhere")
@pytest.mark.parametrize("place", PLACES)
def test_a_cache_that_can_only_be_read_is_read(place: str, warm: Path) -> None:
    (file,) = kernel_files(warm)
    (warm / place).mkdir(parents=True, exist_ok=True)
    file.rename(warm / place / file.name)
    ran = run(warm, "lanes", main=READ_ONLY + TRAIN, NUMBA_CACHE_DIR=str(warm / "cache"))
    check(ran)
    assert not ran.compiled


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="needs root")
def test_an_image_that_root_built_serves_another_user(trained: dict[str, Path]) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = shutil.copytree(trained["lanes"], Path(place) / "image")
        for path in (Path(place), folder):  # other users cannot enter pytest's folders
            path.chmod(0o755)
        ran = run(folder, "lanes", main=NOBODY + TRAIN)
        check(ran)
        assert not ran.compiled


@pytest.mark.long
def test_sixteen_processes_at_once(cold: Path) -> None:
    for ran in at_once(*[(cold, "lanes")] * 16):
        check(ran)
    assert not run(cold, "lanes").compiled


@pytest.mark.long
@pytest.mark.parametrize("route", ROUTES)
def test_fork_after_use(route: str, trained: dict[str, Path]) -> None:
    # One warning, since Python 3.12 warns of a fork in a process with threads, and BLAS has some.
    check(run(trained[route], route, main=FORK), n_warnings=1)


@pytest.mark.long
def test_read_only_install_keeps_code_in_the_home(closed: Path) -> None:
    for compiled in (True, False):
        ran = run(closed, "lanes", HOME=str(closed / "home"))
        check(ran)
        assert ran.compiled == compiled


@pytest.mark.long
def test_read_only_install_and_no_home(closed: Path) -> None:
    check(run(closed, "lanes", main=NO_HOME + TRAIN), n_warnings=1)
    assert not list((closed / "work").iterdir())  # no folder named ~ was created


@pytest.mark.long
def test_no_home_with_a_cache_beside_the_sources(warm: Path) -> None:
    ran = run(warm, "lanes", main=NO_HOME + TRAIN)
    check(ran)
    assert not ran.compiled


@pytest.mark.long
def test_cache_dir_that_cannot_be_made(warm: Path) -> None:
    (warm / "file").touch()
    ran = run(warm, "lanes", NUMBA_CACHE_DIR=str(warm / "file" / "cache"))
    check(ran, n_warnings=1)
    assert not ran.compiled


@pytest.mark.long
def test_four_threads_at_once_and_no_folder_at_all(closed: Path) -> None:
    # One run tests both, since compiling takes long. All threads and routes together warn once.
    below_a_file = str(beside_sources(closed) / "cache")
    places = {"HOME": below_a_file, "NUMBA_CACHE_DIR": below_a_file}
    ran = run(closed, *ROUTES * 2, main=THREADS, **places)
    check(ran, n_warnings=1)
    assert "RuntimeWarning" in ran.warnings[0]
    assert "NUMBA_CACHE_DIR" in ran.warnings[0]


@pytest.mark.long
def test_full_disk(cold: Path) -> None:
    ran = run(cold, "lanes", main=FULL_DISK + TRAIN)
    check(ran, n_warnings=1)
    assert "File too large" in ran.warnings[0]
    assert not list(cold.rglob("*.kernel*"))  # nor a part of one


def test_without_jit(cold: Path) -> None:
    ran = run(cold, *ROUTES, main=USE_ALL, NUMBA_DISABLE_JIT="1")
    check(ran)
    assert ran.sources == []
    assert not list(cold.rglob("*.kernel"))


# What a wheel brings

PREBUILD = """
sys.path.insert(0, {kernels!r})
import pathlib, build_wheel
build_wheel.warm_up = lambda: None
build_wheel.make_code(pathlib.Path({folder!r}))
"""
NO_NUMBA = """
sys.modules["numba"] = None
"""
has_prebuilt_code = pytest.mark.skipif(best_level() is None, reason="no code for this processor")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation whose wheel brought the machine code of one kernel, XOR's."""
    folder = install(tmp_path_factory.mktemp("wheel"))
    prebuilt = folder / "jitprop_kernels" / "prebuilt"
    script = PREBUILD.format(folder=str(prebuilt), kernels=str(ROOT / "kernels"))
    assert run(folder, "lanes", main=TRAIN + script).compiled
    shutil.rmtree(beside_sources(folder))  # what it compiled for itself
    return folder


@pytest.fixture
def brought(wheel: Path, tmp_path: Path) -> Path:
    return shutil.copytree(wheel, tmp_path / "brought")


@pytest.mark.long
@has_prebuilt_code
@pytest.mark.parametrize("numba", ["", NO_NUMBA])
def test_a_wheel_trains_without_compiling(numba: str, brought: Path) -> None:
    beside_sources(brought).touch()  # as if read-only
    ran = run(brought, "lanes", main=numba + NO_HOME + TRAIN)
    check(ran)
    assert ran.sources == ["prebuilt"]
    assert not ran.compiled
    assert not [*(brought / "work").iterdir(), *(brought / "home").iterdir()]


@pytest.mark.long
@has_prebuilt_code
def test_damaged_prebuilt_code_is_compiled(brought: Path) -> None:
    for file in brought.rglob("prebuilt/*/*.kernel"):
        os.truncate(file, file.stat().st_size - 1)
    ran = run(brought, "lanes")
    check(ran, n_warnings=1)
    assert "prebuilt" in ran.warnings[0]
    assert "is damaged" in ran.warnings[0]
    assert ran.compiled
    ran = run(brought, "lanes")
    check(ran)
    assert ran.sources == ["cache"]


@pytest.mark.long
@has_prebuilt_code
def test_an_edit_is_not_answered_with_old_prebuilt_code(brought: Path) -> None:
    with (brought / "jitprop_kernels" / "activations.py").open("a") as source:
        source.write("\nsigmoid = tanh\n")
    ran = run(brought, "lanes")
    assert ran.compiled
    assert len(ran.warnings) == 1
    assert "another version of jitprop" in ran.warnings[0]
    assert not np.allclose(ran.found, ran.expected, rtol=1e-4)


@pytest.mark.long
@has_prebuilt_code
def test_prebuilt_code_serves_usual_options_alone(brought: Path) -> None:
    ran = run(brought, "lanes", NUMBA_OPT="1")
    check(ran)
    assert ran.compiled
    assert run(brought, "lanes", NUMBA_OPT="3").sources == ["prebuilt"]


@pytest.mark.long
def test_a_wheel_has_code_for_each_level(wheel: Path) -> None:
    levels = [file.parent.name for file in wheel.rglob("prebuilt/*/*.kernel")]
    assert sorted(levels) == sorted(LEVELS)
