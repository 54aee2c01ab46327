"""
The two compilers of kernels: which one is taken, and what becomes of one that fails.

What a later numba may change is found by reading `_private`: each name that is imported from
numba, and each method that is overridden. `mutants` gives our sources as that numba would leave
them: an import that fails, or a method of numba's that stands where ours stood.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba
import pytest

from jitprop_kernels import compilers, stored
from jitprop_kernels.emitting import emitted
from jitprop_kernels.target import host, initialize
from numba_sources import TABLE, files, functions, hash_of, numbas

LIMIT = 300
"""Seconds for a process."""

XOR = """
import json, sys, warnings
import numpy as np
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    from jitprop import Trainer
    X = np.array([[0, 0, 1], [1, 0, 1], [0, 1, 1], [1, 1, 1.0]])
    trainer = Trainer([3, 4, 1], seed=0)
    loss = trainer.fit(X, [0, 1, 1, 0], 20).loss
print(json.dumps({
    "bits": loss.tobytes().hex(),
    "warned": [str(w.message) for w in caught if issubclass(w.category, RuntimeWarning)],
    "numba": "numba" in sys.modules,
}))
"""


ONLY_THERE = """
import os
from jitprop_kernels import stored
stored.folders = lambda: [os.path.join(os.environ["NUMBA_CACHE_DIR"], "jitprop_kernels")]
"""


def run(code: str, cache: Path, **settings: str) -> dict[str, Any]:
    """Run code in a process that knows one cache alone; return what it prints, as JSON."""
    env = {name: value for name, value in os.environ.items() if name != "JITPROP_COMPILER"}
    env |= {"NUMBA_CACHE_DIR": str(cache)} | settings
    done = subprocess.run(
        [sys.executable, "-c", ONLY_THERE + code],
        env=env,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask as in a process that has prepared no kernel."""
    monkeypatch.setattr(compilers, "_process", compilers._Process())


def test_an_unknown_compiler_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JITPROP_COMPILER", "fast")
    with pytest.raises(ValueError, match="JITPROP_COMPILER must be 'own' or 'plain', not 'fast'"):
        compilers.in_use()
    code = """
from jitprop import Trainer
for backend in ("auto", "numba"):
    try:
        Trainer([2, 1], backend=backend).predict([[0, 1]])
    except ValueError as error:
        print(error)
"""
    env = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=LIMIT)
    assert (
        done.stdout.splitlines() == ["JITPROP_COMPILER must be 'own' or 'plain', not 'fast'"] * 2
    ), done.stderr


@pytest.mark.parametrize(
    ("version", "tested"),
    [("0.61.2", False), ("0.62.0", True), ("0.68.1", True), ("0.69.0", False),
     ("0.69.0dev0", False), ("1.0.0", False), ("unknown", False), ("", True)],
)  # fmt: skip
def test_our_own_compiler_is_for_the_versions_that_were_tested(
    version: str, tested: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JITPROP_COMPILER", raising=False)
    monkeypatch.setattr(stored, "numba_version", lambda: version)
    assert compilers.in_use() == ("own" if tested else "plain")
    assert compilers.usable() == (("own",) if tested else ("own", "plain"))
    monkeypatch.setenv("JITPROP_COMPILER", "plain")
    assert (compilers.in_use(), compilers.usable()) == ("plain", ("plain",))
    monkeypatch.setenv("JITPROP_COMPILER", "own")
    assert compilers.in_use() == "own"


def test_the_compiler_stays_once_kernels_were_prepared_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("JITPROP_COMPILER", "own")
    assert compilers.settle() == "own"
    monkeypatch.setenv("JITPROP_COMPILER", "plain")
    assert compilers.in_use() == "own"
    monkeypatch.setattr(stored, "warn_once", lambda topic, message: None)
    monkeypatch.setattr(compilers._process, "kernels", set())
    monkeypatch.delitem(sys.modules, "jitprop_kernels._jit", raising=False)
    compilers.give_up_own(RuntimeError("broken"))
    assert compilers.settle() == "plain"


ALL_OF_NUMBA = """
import importlib, json, pkgutil, warnings
import numba.cpython, numba.np, numba.typed
for package in (numba.cpython, numba.np):
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
from jitprop_kernels import compilers, entry
warnings.simplefilter("error")
entry._check()
print(json.dumps({"in_use": compilers.in_use()}))
"""


def test_our_own_compiler_works_whatever_of_numba_was_imported_before(tmp_path: Path) -> None:
    assert run(ALL_OF_NUMBA, tmp_path) == {"in_use": "own"}


NEEDS_PYTHON = """
declare void @PyErr_Clear()
define void @jitprop_entry(ptr %record) {
  call void @PyErr_Clear()
  ret void
}
"""


def test_code_that_needs_python_is_refused() -> None:
    initialize()
    with pytest.raises(RuntimeError, match="its code needs PyErr_Clear from outside"):
        emitted(llvm.parse_assembly(NEEDS_PYTHON), host())
    needs_memset = NEEDS_PYTHON.replace("PyErr_Clear", "memset")
    assert emitted(llvm.parse_assembly(needs_memset), host())


@pytest.mark.long
def test_plain_code_has_the_same_bits_and_a_later_process_needs_no_numba(tmp_path: Path) -> None:
    own = run(XOR, tmp_path, JITPROP_COMPILER="own")
    first, second = (run(XOR, tmp_path, JITPROP_COMPILER="plain") for _ in range(2))
    assert own["bits"] == first["bits"] == second["bits"]
    assert own["warned"] == first["warned"] == second["warned"] == []
    assert (first["numba"], second["numba"]) == (True, False)


@pytest.mark.long
def test_an_untested_numba_compiles_plainly_with_one_warning(tmp_path: Path) -> None:
    untested = "from jitprop_kernels import stored\nstored.numba_version = lambda: '0.69.0'\n"
    usual = run(XOR, tmp_path)
    for _ in range(2):  # compiled, and from the cache
        found = run(untested + XOR, tmp_path)
        (warning,) = found["warned"]
        assert "tested with numba 0.62 to 0.68, not with 0.69.0" in warning
        assert found["bits"] == usual["bits"]
    # Code of our own compiler is as good, if it is there for this version.
    run(untested + XOR, tmp_path, JITPROP_COMPILER="own")
    assert run(untested + XOR, tmp_path)["warned"] == []


FAILS = """
import builtins
before = builtins.__import__
def fails(name, globals=None, locals=None, names=(), level=0):
    importer = (globals or {}).get("__name__", "")
    if importer.startswith(FROM) and name.startswith("numba"):
        raise ImportError(f"{name} has changed")
    return before(name, globals, locals, names, level)
builtins.__import__ = fails
"""


def test_if_no_compiler_works_numpy_trains_and_the_reason_is_told(tmp_path: Path) -> None:
    fails = FAILS.replace("FROM", "('jitprop_kernels._private', 'jitprop_kernels._plain')")
    found = run(fails + XOR, tmp_path)
    own, numpy = found["warned"]
    assert "own compiler failed (ImportError: numba" in own
    assert numpy.startswith("numba failed to compile (CompileError(")
    assert "training with NumPy" in numpy
    code = """
import json
from jitprop import Trainer
try:
    Trainer([2, 1], backend="numba").predict([[0, 1]])
except ImportError as error:
    print(json.dumps({"error": str(error)}))
"""
    error = run(fails + code, tmp_path)["error"]
    assert "backend='numba' needs a working numba, which failed to compile" in error


@pytest.mark.long
def test_a_kernel_that_our_own_compiler_fails_at_compiles_plainly(tmp_path: Path) -> None:
    usual = run(XOR, tmp_path / "usual")
    fails = """
import jitprop_kernels._jit as door
before = door.object_code
def fails(kernel, kind, target):
    if kernel.__name__ == "train":
        raise TypeError("what is this?")
    return before(kernel, kind, target)
door.object_code = fails
"""
    found = run(fails + XOR, tmp_path / "failing")
    (warning,) = found["warned"]
    assert "own compiler failed (TypeError: what is this?)" in warning
    assert found["bits"] == usual["bits"]


# What a later numba may change


def without(path: Path, name: str) -> str:
    """Return the source of a file as a numba without this name would leave it."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if f"{node.module}.{alias.name}" == name:
                    alias.name += "_renamed"
        elif isinstance(node, ast.ClassDef):
            prefix = f"{path.stem}.{node.name}."
            kept = [m for m in node.body if prefix + getattr(m, "name", "") != name]
            node.body = kept or [ast.Pass()]
    return ast.unparse(tree)


CHANGED = """
import importlib.abc, importlib.util, json, os, sys, warnings
from jitprop_kernels import compilers, entry, stored
import numba

class Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, name, source):
        self.name, self.source = name, source
    def find_spec(self, name, path, target=None):
        return importlib.util.spec_from_loader(name, self) if name == self.name else None
    def exec_module(self, module):
        exec(compile(self.source, self.name, "exec"), vars(module))

def tried(module, source):
    sys.meta_path.insert(0, Changed(module, source))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            entry._check()
            error = ""
        except Exception as e:
            error = repr(e)
    warned = [str(w.message) for w in caught]
    return {"warned": warned, "error": error, "in_use": compilers.in_use()}

results = {}
for name, module, source in json.load(sys.stdin):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, json.dumps(tried(module, source)).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as answer:
        text = answer.read()
    status = os.waitpid(child, 0)[1]
    results[name] = json.loads(text) if text and status == 0 else {"died": status}
print(json.dumps(results))
"""


@pytest.mark.long
@pytest.mark.skipif(not hasattr(os, "fork"), reason="each change needs a fork")
def test_each_name_of_numba_may_change() -> None:
    changes = []
    for path in files():
        for name in dict.fromkeys(name for name, _ in numbas(path)):
            module = f"jitprop_kernels._private.{path.stem}"
            changes.append((f"{path.stem}: {name}", module, without(path, name)))
    assert len(changes) > 30
    env = {name: value for name, value in os.environ.items() if name != "JITPROP_COMPILER"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CHANGED], input=json.dumps(changes), env=env,
        capture_output=True, text=True, timeout=2 * LIMIT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout.splitlines()[-1])
    for name, found in results.items():
        # The trial kernel, which `entry._check` compiles and calls, has given the right number.
        assert found.get("error") == "", (name, found)
        assert len(found["warned"]) == (found["in_use"] == "plain"), (name, found)
    plain = {name for name, found in results.items() if found["in_use"] == "plain"}
    assert {name for name in results if ": numba" in name} <= plain


def test_numba_s_functions_are_those_that_our_own_compiler_was_written_for() -> None:
    known, root = json.loads(TABLE.read_text()), Path(numba.__file__).parents[1]
    try:
        other = [
            f"{module}: {name} ({found})"
            for module, name in functions()
            if (found := hash_of(root, module, name)) not in known.get(f"{module}: {name}", [])
        ]
    except (ImportError, AttributeError) as error:
        other = [repr(error)]
    told = (
        f"numba {numba.__version__} has others of these: {', '.join(other)}. Read them, and what "
        f"overrides or calls them in jitprop_kernels/_private. If that is still right, add the "
        f"hashes to {TABLE.name}, and the version to compilers.TESTED"
    )
    if other and not compilers.tested(numba.__version__):
        pytest.skip(told)  # the plain compiler is in use
    assert not other, told
