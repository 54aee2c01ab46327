"""
Compare the published bits with those of machine code for other processors than this one.

``python kernels/other_processors.py`` compiles all kernels once, has LLVM make machine code of each
for every processor in `X86`, and runs ``jitprop verify`` with it. The code lies where a process
finds it that has ``NUMBA_CPU_NAME`` set to the processor's name and an empty
``NUMBA_CPU_FEATURES``. So it is the code that users of these settings get.

``python kernels/other_processors.py FOLDER`` only keeps the code for `ARM` in a folder, for
``NUMBA_CACHE_DIR`` on such a machine: see ``.ci/arm``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable

import llvmlite.binding as llvm

from build_wheel import kernels
from jitprop_kernels import stored
from jitprop_kernels.emitting import emitted
from jitprop_kernels.target import V3, V4, Target

ICE_LAKE = (
    *("avx512bitalg", "avx512ifma", "avx512vbmi", "avx512vbmi2", "avx512vnni", "avx512vpopcntdq"),
    *("gfni", "sha", "vaes", "vpclmulqdq"),
)
X86 = {
    "haswell": V3,
    "x86-64-v3": V3,
    "skylake-avx512": (*V3, *V4, "adx", "clflushopt", "clwb"),
    "znver4": (*V3, *V4, *ICE_LAKE, "adx", "avx512bf16", "clflushopt", "clwb", "sse4a"),
}
"""
Processors, and what this one must have to run their code, as LLVM names it.

What a virtual machine hides and no kernel can use, such as mwaitx, is not listed.
"""

ARM = "generic", "neoverse-n1", "neoverse-v1", "apple-m1"
"""Processors of 64-bit ARM. neoverse-v1 has vectors whose length LLVM does not know."""

VERIFY = """
import sys
from jitprop.cli import verify
sys.exit(verify.main(timed=False))
"""
SECONDS = 900
"""After which a run is taken to hang."""


def keep(targets: Iterable[Target]) -> None:
    """Compile all kernels for these processors, into the first of `stored.folders`."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    for name, key, module in kernels():
        for target in targets:
            file = stored.Stored(name, key, target)
            if not any(file.found()):
                file.save(emitted(module.clone(), target))


def lacking(needed: Iterable[str]) -> list[str]:
    """Return which of these features this processor lacks."""
    found = llvm.get_host_cpu_features()
    return [name for name in needed if not found.get(name)]


def verify(folder: str, cpu: str) -> bool:
    """Run ``jitprop verify`` with kept code; return whether all bits are the published ones."""
    env = {"NUMBA_CACHE_DIR": folder, "NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": ""}
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", VERIFY],
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    code = [line.split(maxsplit=1)[1] for line in done.stdout.splitlines() if "kernels  " in line]
    kept = code and "compiled" not in code[0] and "prebuilt" not in code[0]
    result = "other bits" if done.returncode else "the published bits" if kept else "other code"
    print(f"{cpu}: {result}, after {time.perf_counter() - began:.0f} s", flush=True)
    if result != "the published bits":
        print(done.stdout + done.stderr)
    return result == "the published bits"


def main() -> int:
    """Return the exit code: 0 if all are equal."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NUMBA_CACHE_DIR"] = folder
        names = []
        for cpu, needed in X86.items():
            if missing := lacking(needed):
                print(f"{cpu}: skipped, as this processor lacks {', '.join(missing)}")
            else:
                names.append(cpu)
        keep([Target(llvm.get_process_triple(), cpu, "") for cpu in names])
        good = [verify(folder, cpu) for cpu in names]
    return 0 if all(good) else 1


if __name__ == "__main__":
    if len(sys.argv) > 1:
        os.environ["NUMBA_CACHE_DIR"] = sys.argv[1]
        keep([Target("aarch64-unknown-linux-gnu", cpu, "") for cpu in ARM])
    else:
        sys.exit(main())
