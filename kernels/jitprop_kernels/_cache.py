"""
Machine code kept on disk between processes.

Numba's own cache looks at the file of one function only: a change in a function which that one
calls, or in the options of the compiler, goes unseen and old machine code runs. It also raises
at import where no folder can be written, and at the first call where a file was cut short.
`KernelCache` keeps numba's format and its order of folders (NUMBA_CACHE_DIR, ``__pycache__``
beside the source, the user's cache folder) and mends these three:

- the name of each file carries a hash of all kernel sources and options;
- where nothing can be written it compiles in memory and warns once;
- a file that cannot be read is replaced.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping
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


@cache
def fingerprint(options: str) -> str:
    """Hash of every source file of the kernels and of the compiler's options."""
    digest = hashlib.sha256(options.encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


@cache
def _warn_uncached() -> None:
    warnings.warn(
        "jitprop found no folder it can write to, so its kernels are compiled anew in each "
        "process; set NUMBA_CACHE_DIR to a writable folder to keep them",
        RuntimeWarning,
        stacklevel=2,
    )


def _stamped(locator: type[Any], stamp: str) -> type[Any]:
    # The stamp is in the file's name, not only inside the file: two processes with different
    # sources then never write to one file, and no moment exists in which new index points to
    # old code.
    def get_disambiguator(self: Any) -> str:
        return stamp

    def get_source_stamp(self: Any) -> str:
        return stamp

    members = {"get_disambiguator": get_disambiguator, "get_source_stamp": get_source_stamp}
    return type(locator.__name__, (locator,), members)


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
        stamp = fingerprint(repr(described))
        locators = (UserProvidedCacheLocator, InTreeCacheLocator, UserWideCacheLocator)

        class Impl(CompileResultCacheImpl):  # type: ignore[misc]
            _locator_classes: ClassVar = [_stamped(locator, stamp) for locator in locators]

        class Cache(FunctionCache):  # type: ignore[misc]
            _impl_class = Impl

        try:
            self._cache: Any = Cache(function)
        except (RuntimeError, OSError):  # "no locator available": no folder can be written
            self._cache = NullCache()

    @property
    def cache_path(self) -> str | None:
        """The folder, or None where there is none."""
        return self._cache.cache_path  # type: ignore[no-any-return]

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Read the machine code for a signature; None where there is none, or none readable."""
        if self.cache_path is None:
            _warn_uncached()
        try:
            return self._cache.load_overload(sig, target_context)
        except Exception:
            self._forget()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Write the machine code for a signature; a full or read-only disk is no error."""
        try:
            self._cache.save_overload(sig, data)
        except OSError:
            self._cache = NullCache()
            _warn_uncached()

    def _forget(self) -> None:
        try:
            self._cache.flush()
        except OSError:
            self._cache = NullCache()
