"""``jitprop info --machine`` says which machine code runs, and compiles nothing."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jitprop_kernels import compilers, stored, target
from jitprop_kernels.inventory import inventory

SAY = """
import sys
for name in {missing}:
    sys.modules[name] = None
from jitprop.cli import main
code = main(["info", "--machine"])
assert "numba" in {missing} or "numba" not in sys.modules
sys.exit(code)
"""


def said(*missing: str, **env: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SAY.format(missing=missing)],
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("missing", [(), ("numba",), ("numba", "click")])
def test_the_command_needs_no_numba_and_no_extra(missing: tuple[str, ...]) -> None:
    import llvmlite
    import numba

    rows = dict(line.split(maxsplit=1) for line in said(*missing))
    assert rows["processor"].startswith(f"{inventory().cpu}, level ")
    assert rows["llvmlite"] == llvmlite.__version__
    assert rows["numba"].startswith("not installed" if missing else numba.__version__)
    assert {"prebuilt", "cache", "train", "predict_members"} < set(rows)


def test_it_says_how_products_are_rounded() -> None:
    fused = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": ""}
    if platform.machine() == "x86_64":
        assert any(line.split()[0] == "rounding" and "by FMA" in line for line in said(**fused))
        twice = said(NUMBA_CPU_NAME="generic")
        assert any(line.split()[0] == "rounding" and "without FMA" in line for line in twice)


def test_it_says_for_which_processor_code_is_made() -> None:
    rows = dict(line.split(maxsplit=1) for line in said(NUMBA_CPU_NAME="x86-64-v3"))
    assert rows["processor"].endswith("; NUMBA_CPU_NAME asks for code for x86-64-v3")


@pytest.mark.parametrize("compiler", ["own", "plain"])
def test_it_says_which_compiler_is_in_use(compiler: str) -> None:
    rows = dict(line.split(maxsplit=1) for line in said(JITPROP_COMPILER=compiler))
    assert rows["compiler"].partition(":")[0] == compiler


def test_it_says_that_kernels_run_as_python() -> None:
    assert any("NUMBA_DISABLE_JIT is set" in line for line in said(NUMBA_DISABLE_JIT="1"))


@pytest.mark.parametrize("arguments", [["info"], ["info", "model", "--machine"]])
def test_a_model_or_the_machine(arguments: list[str], capsys: Any) -> None:
    from jitprop.cli import main

    assert main(arguments) == 2
    assert "and not both" in capsys.readouterr().err


def test_what_is_there_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "PREBUILT", tmp_path / "prebuilt")
    monkeypatch.setattr(stored, "folders", lambda: [str(tmp_path / name) for name in "ab"])
    monkeypatch.setattr(target, "best_level", lambda: "level")
    assert set(inventory().kernels.values()) == {(0, 0)}
    (tmp_path / "prebuilt" / "level").mkdir(parents=True)
    (tmp_path / "prebuilt" / stored.VERSION).write_text(stored.fingerprint())
    for key in "f4", "f8":
        file, _ = stored.prebuilt_file("train", key, "level")
        (tmp_path / "prebuilt" / "level" / file).touch()
    for folder in "ab":
        (tmp_path / folder).mkdir()
        end = stored.ending(target.host(), compilers.in_use())
        (tmp_path / folder / f"predict-1{end}").touch()
        (tmp_path / folder / f"predict-2-other{stored.SUFFIX}").touch()
    found = inventory()
    assert found.kernels == dict.fromkeys(found.kernels, (0, 0)) | {
        "train": (2, 0),
        "predict": (0, 1),
    }
    assert found.caches == [str((tmp_path / name).resolve()) for name in "ab"]
    (tmp_path / "prebuilt" / stored.VERSION).write_text("other")
    assert "another version" in inventory().unused
    monkeypatch.setenv("NUMBA_OPT", "1")
    monkeypatch.setattr(target.sys, "modules", {})
    assert "option of numba" in inventory().unused
