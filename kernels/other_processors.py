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

ARM = "generic", "cortex-a72", "neoverse-n1", "neoverse-v1", "apple-m1"
"""Processors of 64-bit ARM. neoverse-v1 has vectors whose length LLVM does not know."""

VERIFY = """
import sys
from jitprop.cli import verify
sys.exit(verify.main({}, timed=False))
"""
ONE_AFTER_THE_OTHER = 1, 2, 3
"""Numbers of threads that are compared, besides the nets' own."""

SECONDS = 900
"""After which a run is taken to hang."""


def keep(targets: Iterable[Target]) -> None:
    """Compile all kernels for these processors, into the first of `stored.folders`."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    for name, key, module in kernels():
        for target in targets:
            code = emitted(module.clone(), target)
            stored.Stored(name, key, target).save(code)


def lacking(needed: Iterable[str]) -> list[str]:
    """Return which of these features this processor lacks."""
    found = llvm.get_host_cpu_features()
    return [name for name in needed if not found.get(name)]


def verify(folder: str, cpu: str | None, n_threads: int | None) -> bool:
    """Run ``jitprop verify`` with kept code; return whether all bits are the published ones."""
    env = {**os.environ, "NUMBA_CACHE_DIR": folder}
    if cpu is not None:
        env |= {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": ""}
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", VERIFY.format(n_threads)],
        env=env, capture_output=True, text=True, timeout=SECONDS,
    )  # fmt: skip
    kinds = [line.split(maxsplit=1)[1] for line in done.stdout.splitlines() if "kernels" in line]
    kept = cpu is None or not any("compiled" in kind or "prebuilt" in kind for kind in kinds)
    good = done.returncode == 0 and kept
    threads = "their own numbers of" if n_threads is None else n_threads
    print(
        f"{cpu or 'this processor'}, {threads} threads: "
        f"{'the published bits' if good else 'OTHER BITS, or other code'}, "
        f"after {time.perf_counter() - began:.0f} s",
        flush=True,
    )
    if not good:
        print(done.stdout + done.stderr)
    return good


def main() -> int:
    """Return the exit code: 0 if all are equal."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NUMBA_CACHE_DIR"], before = folder, os.environ.get("NUMBA_CACHE_DIR")
        names = []
        for cpu, needed in X86.items():
            if missing := lacking(needed):
                print(f"{cpu}: skipped, as this processor lacks {', '.join(missing)}")
            else:
                names.append(cpu)
        keep([Target(llvm.get_process_triple(), cpu, "") for cpu in names])
        good = [verify(folder, cpu, None) for cpu in names]
        good += [verify(before or folder, None, n) for n in ONE_AFTER_THE_OTHER]
    return 0 if all(good) else 1


if __name__ == "__main__":
    if len(sys.argv) > 1:
        os.environ["NUMBA_CACHE_DIR"] = sys.argv[1]
        keep([Target("aarch64-unknown-linux-gnu", cpu, "") for cpu in ARM])
    else:
        sys.exit(main())
