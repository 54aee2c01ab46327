"""
Entries: the kernels that Python calls.

`Entry.bind` lays out the arguments once. `Bound` then calls the kernel, as often as wanted, with
what lies there now. The machine code comes from a file that a wheel brought, from the cache on
disk, or from numba, which then is imported.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeAlias, cast

import numpy as np

from jitprop_kernels import compilers, loading, stored
from jitprop_kernels._waiting import unbroken
from jitprop_kernels.layout import INTEGER, NOTHING, RecordKind, kind_of, layout_of
from jitprop_kernels.records import Callee
from jitprop_kernels.registers import fuses
from jitprop_kernels.target import INTERPRETED, OWN, PLAIN, host

Path: TypeAlias = "tuple[int | str, ...]"


class Bound(Protocol):
    """An entry with its arguments."""

    def __call__(self) -> Any:
        """Call the kernel; return what it returns. Other threads of Python go on meanwhile."""

    def briefly(self) -> Any:
        """
        Call the kernel while all other threads of Python, and signals, wait.

        For calls of some microseconds: whoever looks on sees all that it changes, or nothing.
        """

    def put(self, path: Path, value: Any) -> None:
        """Replace an argument: the path is its number, and then the names of fields in it."""

    def callee(self, path: Path = (0,)) -> Callee:
        """
        Return what a kernel needs to call the entry, as long as this object lives.

        ``path`` leads to the first argument that the kernel will change. It must be an int.
        """

    def forget(self) -> None:
        """
        Let go of the arguments, so that their memory can be freed.

        Before the next call, each array must be `put` that has been freed since.
        """


class Code(NamedTuple):
    """
    Machine code in memory.

    Attributes
    ----------
    call, hold : callable
        The function, to be called without and with the GIL.
    source : str
        "prebuilt", "cache" or "compiled".
    folder : str or None
        Where it was read from or written to.
    """

    call: Callable[[int], None]
    hold: Callable[[int], None]
    source: str
    folder: str | None


ROUNDED_TWICE = (
    "this processor has no fused multiply-add (FMA), or NUMBA_CPU_NAME and NUMBA_CPU_FEATURES "
    "leave it out, so jitprop rounds each product before it adds it. The same seed gives the same "
    "bits on all such processors, but the last digits differ from those of processors with FMA"
)

WITHOUT_GIL = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
WITH_GIL = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)


class Entry:
    """
    A kernel that Python calls.

    Parameters
    ----------
    module, name : str
        Where the kernel stands. Its module is imported only to compile it.

    Attributes
    ----------
    codes : dict
        The machine code, by the kind of its arguments.
    """

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name
        self.codes: dict[RecordKind, Code] = {}

    def function(self) -> Any:
        """Return the kernel: a function of numba's, or if interpreted of Python's."""
        return getattr(importlib.import_module(self.module), self.name)

    def bind(self, *args: Any) -> Bound:
        """Lay out the arguments. Compile the kernel for their kinds, if need be."""
        if INTERPRETED:
            return cast(Bound, _Interpreted(self.function(), args))
        kind = RecordKind(None, tuple(map(kind_of, args)))
        code = self.codes.get(kind) or self._code(kind)
        return cast(Bound, _Compiled(code, kind, args))

    def __call__(self, *args: Any) -> Any:
        """Call the kernel once."""
        return self.bind(*args)()

    def _code(self, kind: RecordKind) -> Code:
        code: Code = unbroken(self._find)(kind)
        return code

    def _find(self, kind: RecordKind) -> Code:
        """Load the machine code, or compile it. Of threads that ask for the same, one does."""
        if kind not in self.codes:
            self.codes[kind] = self._loaded(kind) or self._compiled(kind)
        if not fuses(host()):
            stored.warn_once("rounding", ROUNDED_TWICE)
        return self.codes[kind]

    def key(self, kind: RecordKind) -> str:
        """Return what the machine code depends on, besides the sources of the kernels."""
        return str(kind)

    def _loaded(self, kind: RecordKind) -> Code | None:
        self._files = {}
        for compiler in compilers.usable():
            file = stored.Stored(self.name, self.key(kind), host(), compiler)
            self._files[compiler] = file
            for content in file.found():
                try:
                    code = _code(loading.load(content), file.source, file.folder)
                except Exception as error:  # LLVM's own, of any kind
                    file.refuse(error)
                    continue
                if compiler == PLAIN:
                    compilers.warn_of_plain()
                return code
        return None

    def _compiled(self, kind: RecordKind) -> Code:
        """Compile the kernel; if our own compiler cannot, by the plain one."""
        importlib.import_module("numba")  # without it there is nothing to be given up
        compiler = compilers.in_use()
        try:
            content = self._content(kind)
        except Exception as error:  # a release of numba may change anything
            if compiler == PLAIN:
                raise compilers.no_compiler(self.name, error) from error
            self._give_up_own(error)
            return self._loaded(kind) or self._compiled(kind)
        code = _code(loading.load(content), "compiled", None)
        self._files[compiler].save(content)
        if compiler == PLAIN:
            compilers.warn_of_plain()
        return code._replace(folder=self._files[compiler].folder)

    def _content(self, kind: RecordKind) -> bytes:
        if compilers.in_use() == OWN:
            try_compiler()
        from jitprop_kernels._jit import object_code  # it needs numba

        content: bytes = object_code(self.function(), kind, host())
        return content

    def _give_up_own(self, error: Exception) -> None:
        compilers.give_up_own(error)


def check_settings() -> None:
    """
    Look at the environment variables that are jitprop's own.

    Raises
    ------
    ValueError
        If one has an unknown value.
    """
    compilers.in_use()


def check() -> None:
    """
    Make sure that kernels can run: there is machine code of some, or a compiler that works.

    Raises
    ------
    ImportError
        Or whatever error a broken numba raises when it is imported.
    CompileError
        If no compiler compiles a small kernel.

    Warns
    -----
    RuntimeWarning
        Once, if our own compiler does not.
    """
    if INTERPRETED:
        importlib.import_module("numba")
    elif not stored.any_for(host(), compilers.usable()):
        importlib.import_module("numba")
        unbroken(_check)()


def _check() -> None:
    if compilers.in_use() == OWN:
        try:
            try_compiler()
            return
        except Exception as error:
            compilers.give_up_own(error)
    try:
        try_compiler()
    except Exception as error:
        raise compilers.no_compiler("trial", error) from error


def try_compiler() -> None:
    """
    Compile a small kernel by the compiler in use and call it; once in a process.

    Raises
    ------
    Exception
        Of any kind, if it cannot be compiled or computes something else than it should.
    """
    compiler = compilers.in_use()
    if compiler in _tried:
        return
    from jitprop_kernels import trial
    from jitprop_kernels._jit import object_code

    args = trial.ARGUMENTS
    kind = RecordKind(None, tuple(map(kind_of, args)))
    address = loading.load(object_code(trial.trial, kind, host()))
    found = _Compiled(_code(address, "compiled", None), kind, args)()
    if found != trial.RESULT:
        raise ValueError(f"a trial kernel computes {found} instead of {trial.RESULT}")
    _tried.add(compiler)


_tried: set[str] = set()
"""Compilers that work."""


def _code(address: int, source: str, folder: str | None) -> Code:
    return Code(WITHOUT_GIL(address), WITH_GIL(address), source, folder)


class _Compiled:
    """See `Bound`."""

    def __init__(self, code: Code, kind: RecordKind, args: tuple[Any, ...]) -> None:
        self._layout = layout = layout_of(kind)
        self._call, self._hold = code.call, code.hold
        self._buffer = bytearray(layout.size)
        self._ints = memoryview(self._buffer)[:16].cast("q")
        self._floats = memoryview(self._buffer)[8:16].cast("d")
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._buffer))
        self._kept = _by_path(args)  # the arrays must live until they are replaced
        layout.write(self._buffer, args)

    def __call__(self) -> Any:
        self._call(self._address)
        return self._result()

    def briefly(self) -> Any:
        self._hold(self._address)
        return self._result()

    def _result(self) -> Any:
        kind = self._ints[0]
        if kind == NOTHING:
            return None
        return self._ints[1] if kind == INTEGER else self._floats[0]

    def put(self, path: Path, value: Any) -> None:
        self._kept[path] = value
        self._layout.put(self._buffer, path, value)

    def callee(self, path: Path = (0,)) -> Callee:
        n = len(self._buffer) // 8
        record = np.frombuffer(self._buffer, np.int64, n)
        reals = np.frombuffer(self._buffer, np.float64, n)
        code = ctypes.cast(cast(Any, self._call), ctypes.c_void_p).value
        assert code is not None
        return Callee(code, record, reals, self._layout.place(path) // 8)

    def forget(self) -> None:
        self._kept.clear()


def _by_path(args: tuple[Any, ...]) -> dict[Path, Any]:
    """Return all arguments, and the fields of records, by the paths that `Bound.put` takes."""
    found: dict[Path, Any] = {}
    for i, arg in enumerate(args):
        if hasattr(arg, "_fields"):
            found.update(((i, name), value) for name, value in zip(arg._fields, arg, strict=True))
        else:
            found[i,] = arg
    return found


class _Interpreted:
    """See `Bound`."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._function, self._args = function, args

    def __call__(self) -> Any:
        with np.errstate(all="ignore"):  # compiled code tells of no overflow either
            return self._function(*self._args)

    briefly = __call__

    def put(self, path: Path, value: Any) -> None:
        self._args = _replaced(self._args, path, value)

    def callee(self, path: Path = (0,)) -> Callee:
        first = path[0]
        assert isinstance(first, int)
        return Callee(cast(int, self), np.empty(0, np.int64), np.empty(0), first)

    def forget(self) -> None:
        pass


def _replaced(record: Any, path: Path, value: Any) -> Any:
    if not path:
        return value
    step, *rest = path
    if isinstance(step, str):
        return record._replace(**{step: _replaced(getattr(record, step), tuple(rest), value)})
    changed = _replaced(record[step], tuple(rest), value)
    return (*record[:step], changed, *record[step + 1 :])


train = Entry("jitprop_kernels.training", "train")
train_watched = Entry("jitprop_kernels.watching", "train_watched")
evaluate = Entry("jitprop_kernels.network", "evaluate")
gradient = Entry("jitprop_kernels.network", "gradient")
predict = Entry("jitprop_kernels.network", "predict")
train_members = Entry("jitprop_kernels.fleets", "train_members")
evaluate_members = Entry("jitprop_kernels.fleets", "evaluate_members")
predict_members = Entry("jitprop_kernels.fleets", "predict_members")
train_by_rows = Entry("jitprop_kernels.second_order.by_rows", "train_by_rows")
train_by_gradients = Entry("jitprop_kernels.second_order.by_gradients", "train_by_gradients")
variances = Entry("jitprop_kernels.second_order.variances", "variances")
ENTRIES = (
    train,
    train_watched,
    evaluate,
    gradient,
    predict,
    train_members,
    evaluate_members,
    predict_members,
    train_by_rows,
    train_by_gradients,
    variances,
)
