"""
Machine code kept on disk between processes.

Numba's own cache looks at the file of one function only: a change in a function which that one
calls, or in the options of the compiler, goes unseen and old machine code runs. It also raises
at import where no folder can be written, and at the first call where a file was cut short.
`KernelCache` keeps numba's format and its order of folders (NUMBA_CACHE_DIR, ``__pycache__``
beside the source, the user's cache folder) and mends these three:

- the name of each file carries a hash of all kernel sources, options, types and the processor;
- where nothing can be written it compiles in memory and warns once;
- a file that cannot be read is replaced.

Files of other versions, 0.3 MB each, stay: another environment may be using them.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from numba.core.caching import (
    CompileResultCacheImpl,
    FunctionCache,
    InTreeCacheLocator,
    NullCache,
    UserProvidedCacheLocator,
    UserWideCacheLocator,
)
from numba.core.runtime import rtsys


@cache
def fingerprint(options: str) -> str:
    """Hash of every source file of the kernels and of the compiler's options; "" without files."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    digest = hashlib.sha256(options.encode())
    for path in sources:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest() if sources else ""


@cache
def _warn_uncached() -> None:
    warnings.warn(
        "jitprop found no folder it can write to, so its kernels are compiled anew in each "
        "process; set NUMBA_CACHE_DIR to a writable folder to keep them",
        RuntimeWarning,
        stacklevel=2,
    )


def _stamped(locator: type[Any], stamp: str) -> type[Any]:
    # The stamp is in the file's name, not only inside the file. So no two processes with other
    # sources, another signature or another processor ever write to one file, and there is no
    # moment in which an index leads to code that is not its own.
    def get_stamp(self: Any) -> str:
        return stamp

    members = {"get_disambiguator": get_stamp, "get_source_stamp": get_stamp}
    return type(locator.__name__, (locator,), members)


def _open(function: Callable[..., Any], stamp: str) -> Any:
    """Numba's cache of a function, with our stamp; an empty one where no folder can be written."""
    locators = [UserProvidedCacheLocator, InTreeCacheLocator]
    home = os.path.expanduser(os.environ.get("XDG_CACHE_HOME", "~"))
    if os.path.isabs(home):  # without a home it is "~", in the working folder
        locators.append(UserWideCacheLocator)

    class Impl(CompileResultCacheImpl):  # type: ignore[misc]
        _locator_classes: ClassVar = [_stamped(locator, stamp) for locator in locators]

    class Cache(FunctionCache):  # type: ignore[misc]
        _impl_class = Impl

        def load_overload(self, sig: Any, target_context: Any) -> Any:
            # Numba would load all it knows, 0.12 s, of which machine code needs this alone.
            rtsys.initialize(target_context)
            with self._guard_against_spurious_io_errors():
                return self._load_overload(sig, target_context)

    try:
        return Cache(function)
    except (RuntimeError, OSError):  # numba's "no locator available"
        _warn_uncached()
        return NullCache()


class KernelCache:
    """
    The disk cache of one entry function; what numba's dispatcher asks of a cache.

    Parameters
    ----------
    function : callable
        The Python function.
    options : mapping
        The options it is compiled with.
    """

    def __init__(self, function: Callable[..., Any], options: Mapping[str, Any]) -> None:
        described = [(k, sorted(v) if isinstance(v, set) else v) for k, v in options.items()]
        self._function = function
        self._fingerprint = fingerprint(repr(described))
        self._caches: dict[str, Any] = {}

    def _cache(self, sig: Any, codegen: Any) -> Any:
        """The files of one signature on one kind of processor."""
        if not self._fingerprint:
            return NullCache()
        key = f"{self._fingerprint} {sig} {codegen.magic_tuple()}"
        stamp = hashlib.sha256(key.encode()).hexdigest()[:16]
        if stamp not in self._caches:
            self._caches[stamp] = _open(self._function, stamp)
        return self._caches[stamp]

    @property
    def cache_path(self) -> str | None:
        """The folder in use; None before the first use, and where there is none."""
        return next((files.cache_path for files in self._caches.values()), None)

    def flush(self) -> None:
        """Forget what is on disk."""
        for files in self._caches.values():
            files.flush()

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Read the machine code for a signature; None where there is none, or none readable."""
        files = self._cache(sig, target_context.codegen())
        try:
            return files.load_overload(sig, target_context)
        except Exception:  # a damaged pickle can raise anything; the file is replaced
            with suppress(OSError):
                files.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Write the machine code for a signature; a full disk is no error."""
        try:
            self._cache(sig, data.codegen).save_overload(sig, data)
        except OSError:
            _warn_uncached()
