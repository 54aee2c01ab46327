"""
Build a wheel that brings the kernels' machine code for common processors: see docs/machine-code.md.

It compiles all kernels once, as ``python -m jitprop warmup`` does, and has LLVM make machine code
of each for every processor in `target.LEVELS`. The files go into a copy of the sources, of which
pip builds the wheel. So nothing stays in the sources themselves.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm

from jitprop.cli.warmup import warm_up
from jitprop_kernels import ENTRIES, compilers, stored
from jitprop_kernels.emitting import OUTSIDE, emitted, needed
from jitprop_kernels.target import LEVELS, OWN

ROOT = Path(__file__).resolve().parents[1]
PARTS = "pyproject.toml", "README.md", "LICENSE", "src", "kernels", "examples"
"""What the wheel is built of."""


def kernels() -> Iterator[tuple[str, str, Any]]:
    """Yield the name, the key and the module, not yet optimised, of each kernel that is used."""
    warm_up()
    from jitprop_kernels._jit import linked  # it imports numba

    if compilers.in_use() != OWN:
        raise RuntimeError("a wheel brings code of jitprop's own compiler, which is not in use")

    for entry in ENTRIES:
        for kind in entry.codes:
            yield entry.name, entry.key(kind), linked(entry.function(), kind)


def make_code(folder: Path) -> None:
    """Write the machine code of all kernels, for all processors, into this folder."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    for level in LEVELS:
        (folder / level).mkdir(parents=True)
    (folder / stored.VERSION).write_text(stored.fingerprint())
    for name, key, module in kernels():
        for level, target in LEVELS.items():
            code = emitted(module.clone(), target)
            if wanted := needed(code) - OUTSIDE:
                raise RuntimeError(f"{name} needs {', '.join(sorted(wanted))}")
            file, seal = stored.prebuilt_file(name, key, level)
            (folder / level / file).write_bytes(stored.sealed(code, seal))


def main(out: str) -> None:
    """Build the wheel into the folder ``out``."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place, "jitprop")
        copy.mkdir()
        for part in PARTS:
            if (ROOT / part).is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "prebuilt")
                shutil.copytree(ROOT / part, copy / part, ignore=ignored)
            else:
                shutil.copy(ROOT / part, copy / part)
        # The copy is what compiles: an edit of the sources meanwhile changes nothing.
        env = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("NUMBA_", "JITPROP_COMPILER"))
        }
        env["NUMBA_CACHE_DIR"] = os.path.join(place, "cache")
        env["PYTHONDONTWRITEBYTECODE"] = "1"
        env["PYTHONPATH"] = os.pathsep.join(str(copy / part) for part in ("src", "kernels"))
        folder = copy / "kernels" / "jitprop_kernels" / "prebuilt"
        command = (
            f"import build_wheel, pathlib; build_wheel.make_code(pathlib.Path({str(folder)!r}))"
        )
        subprocess.run([sys.executable, "-c", command], env=env, check=True)
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"]
        subprocess.run([*pip, "--no-deps", "--wheel-dir", out, str(copy)], check=True)
    for wheel in sorted(Path(out).glob("jitprop-*.whl")):
        megabytes = wheel.stat().st_size / 1e6
        print(f"{wheel}: {megabytes:.1f} MB, after {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "dist")
