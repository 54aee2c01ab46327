"""The processor that machine code is for, and the settings that change the code."""

from __future__ import annotations

import os
import sys
from functools import cache
from typing import Any, NamedTuple

import llvmlite.binding as llvm

CONFIG_FILE = ".numba_config.yaml"
"""Numba reads its settings from the environment and from this file in the working folder."""

WITHOUT_AVX = {"corei7-avx", "core-avx-i", "sandybridge", "ivybridge", "nocona"}
"""Processors on which numba uses no AVX, unless NUMBA_ENABLE_AVX asks for it."""

V3 = ("avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "xsave")
V4 = ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")
"""What the levels 3 and 4 of x86-64 have that the one below has not, as LLVM names it."""


class Settings(NamedTuple):
    """
    The settings of numba that kernels heed. Their meaning is numba's.

    Attributes
    ----------
    opt : str
        NUMBA_OPT: "0" to "3", or "max".
    cpu_name, cpu_features : str or None
        NUMBA_CPU_NAME and NUMBA_CPU_FEATURES; None for this processor's.
    avx : bool or None
        NUMBA_ENABLE_AVX. With None the processor decides.
    cache_folder : str
        NUMBA_CACHE_DIR, or "".
    interpreted : bool
        NUMBA_DISABLE_JIT.
    debugged : str
        Names of the options in `DEBUGGING` that are set, with commas.
    """

    opt: str
    cpu_name: str | None
    cpu_features: str | None
    avx: bool | None
    cache_folder: str
    interpreted: bool
    debugged: str = ""


OWN, PLAIN = "own", "plain"


def compiler() -> str | None:
    """
    Return the compiler of kernels that JITPROP_COMPILER asks for; None where it is not set.

    Raises
    ------
    ValueError
        For any other than "own" and "plain".
    """
    name = os.environ.get("JITPROP_COMPILER")
    if name and name not in (OWN, PLAIN):
        raise ValueError(f"JITPROP_COMPILER must be {OWN!r} or {PLAIN!r}, not {name!r}")
    return name or None


DEFAULTS = Settings("3", None, None, None, "", interpreted=False)
"""Of all settings."""

DEBUGGING = {
    "DEBUG_JIT": "NUMBA_DEBUG_JIT",
    "DEBUGINFO_DEFAULT": "NUMBA_DEBUGINFO",
    "ENABLE_PROFILING": "NUMBA_ENABLE_PROFILING",
}
"""
Options for those who look into machine code, which becomes another by them, by their names in
numba.config.

No other option of numba changes the code of kernels, for they are not optimised by numba.
"""

PROFILER = "RUNNING_UNDER_PROFILER"
"""If set, numba takes ENABLE_PROFILING as set."""


def settings() -> Settings:
    """Return numba's settings. Numba is asked only if it is imported, or has a file to read."""
    if sys.modules.get("numba") or os.path.isfile(CONFIG_FILE):
        return _of_numba()
    if PROFILER in os.environ or any(name in os.environ for name in DEBUGGING.values()):
        return _of_numba()
    found = {name[6:]: value for name, value in os.environ.items() if name.startswith("NUMBA_")}
    try:
        return Settings(
            opt=_opt(found.get("OPT", "3")),
            cpu_name=found.get("CPU_NAME"),
            cpu_features=found.get("CPU_FEATURES"),
            avx=bool(int(found["ENABLE_AVX"])) if "ENABLE_AVX" in found else None,
            cache_folder=found.get("CACHE_DIR", ""),
            interpreted=bool(int(found.get("DISABLE_JIT", "0"))),
        )
    except ValueError:  # numba says what it thinks of it
        return _of_numba()


def _of_numba() -> Settings:
    from numba import config

    opt: Any = config.OPT
    return Settings(
        opt="max" if getattr(opt, "is_opt_max", False) else str(int(opt)),
        cpu_name=config.CPU_NAME,
        cpu_features=config.CPU_FEATURES,
        avx=bool(config.ENABLE_AVX),
        cache_folder=config.CACHE_DIR or "",
        interpreted=bool(config.DISABLE_JIT),
        debugged=",".join(name for name in DEBUGGING if getattr(config, name)),
    )


def _opt(value: str) -> str:
    if value not in {"0", "1", "2", "3", "max"}:
        raise ValueError(value)
    return value


class Target(NamedTuple):
    """
    A processor, as LLVM names it.

    Attributes
    ----------
    triple : str
        Architecture and operating system.
    cpu : str
    features : str
        Such as "+avx2,-avx512f".
    opt : int
        The level of optimisation, 0 to 3.
    debugged : str
        See `Settings`.
    """

    triple: str
    cpu: str
    features: str
    opt: int = 3
    debugged: str = ""

    def machine(self) -> Any:
        """Return LLVM's object for it."""
        # Position-independent code can be loaded anywhere, with its constants beside it.
        return llvm.Target.from_triple(self.triple).create_target_machine(
            cpu=self.cpu, features=self.features, opt=self.opt, reloc="pic", codemodel="small"
        )


LEVELS = {
    # LLVM would use half of a register of this level.
    "x86-64-v4": Target("x86_64-unknown-linux-gnu", "x86-64-v4", "-prefer-256-bit"),
    "x86-64-v3": Target("x86_64-unknown-linux-gnu", "x86-64-v3", ""),
    "aarch64": Target("aarch64-unknown-linux-gnu", "generic", ""),
}
"""
The processors for which a wheel brings machine code: the best is first.

Other systems are left out, as nobody has tried such code there. On Windows kernels call another
function of the system's.
"""


def level_of(target: Target) -> str | None:
    """Return the level whose code serves, unless the settings ask for another code than usual."""
    level = best_level()
    return level if level and target == _host(DEFAULTS) else None


def best_level() -> str | None:
    """Return the best level of this processor; None for a processor or a system without one."""
    triple: str = llvm.get_process_triple()
    machine, _, system = triple.partition("-")
    if "-linux-" not in f"-{system}-":
        return None
    if machine == "aarch64":
        return machine
    features = _features()
    if machine != "x86_64" or not all(map(features.get, V3)):
        return None
    return "x86-64-v4" if all(map(features.get, V4)) else "x86-64-v3"


@cache
def initialize() -> None:
    """Prepare LLVM for this processor."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


def host() -> Target:
    """Return this machine's target, as the settings have it."""
    return _host(settings())


def _host(given: Settings) -> Target:
    cpu = given.cpu_name or llvm.get_host_cpu_name()
    features = given.cpu_features
    if features is None:
        found = _features()
        if not (cpu not in WITHOUT_AVX if given.avx is None else given.avx):
            found = {name: on and not name.startswith("avx") for name, on in found.items()}
        flat = ",".join(("+" if on else "-") + name for name, on in sorted(found.items()))
        features = "" if cpu.lower() == "generic" else flat
    opt = 3 if given.opt == "max" else int(given.opt)
    return Target(llvm.get_process_triple(), cpu, features, opt, given.debugged)


@cache
def _found_features() -> tuple[tuple[str, bool], ...]:
    try:
        return tuple(llvm.get_host_cpu_features().items())
    except RuntimeError:  # LLVM does not know this system's way to ask
        return ()


def _features() -> dict[str, bool]:
    return dict(_found_features())


INTERPRETED = settings().interpreted
"""NUMBA_DISABLE_JIT=1: kernels are plain Python, to be debugged and covered, in one thread."""
