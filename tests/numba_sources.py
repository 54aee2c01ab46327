"""
The sources of numba's that our own compiler overrides or copies from, by hashes.

``python tests/numba_sources.py FOLDER...`` prints the table of `test_compilers`, of folders in
which the package numba of some version stands.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import jitprop_kernels

PRIVATE = Path(jitprop_kernels.__file__).parent / "_private"
TABLE = Path(__file__).with_suffix(".json")

REPLACED = ("get_call_template", "_insert", "_compile_for_args")
"""Methods of a dispatcher that `linking.make_inner` replaces."""

CALLED = {
    ("numba.core.compiler", "DefaultPassBuilder.define_nopython_lowering_pipeline"),
    ("numba.core.compiler", "DefaultPassBuilder.define_nopython_pipeline"),
    ("numba.core.compiler", "DefaultPassBuilder.define_typed_pipeline"),
    ("numba.core.compiler", "DefaultPassBuilder.define_untyped_pipeline"),
    ("numba.core.codegen", "CodeLibrary._raise_if_finalized"),
    ("numba.core.codegen", "CPUCodeLibrary._finalize_dynamic_globals"),
    ("numba.core.codegen", "CPUCodeLibrary._get_module_for_linking"),
    ("numba.core.typed_passes", "BaseNativeLowering.run_pass"),
}
"""What it calls of objects that numba hands it, and the passes that it chooses from."""


def files() -> list[Path]:
    """Return the files of our own compiler."""
    return [path for path in sorted(PRIVATE.glob("*.py")) if path.stem != "__init__"]


def numbas(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield what a file takes from numba and what it overrides: a name for it, and the object."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("numba"):
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                try:
                    yield name, getattr(importlib.import_module(str(node.module)), alias.name)
                except AttributeError:
                    yield name, importlib.import_module(name)
    module = importlib.import_module(f"jitprop_kernels._private.{path.stem}")
    for node in tree.body:
        if not isinstance(node, ast.ClassDef):
            continue
        bases = [b for b in getattr(module, node.name).__mro__ if b.__module__.startswith("numba")]
        for member in node.body:
            name = getattr(member, "name", "__init__")
            base = next((base for base in bases if name in vars(base)), None)
            if isinstance(member, ast.FunctionDef) and name != "__init__" and base:
                yield f"{path.stem}.{node.name}.{name}", vars(base)[name]


def functions() -> list[tuple[str, str]]:
    """Return the modules and names of the functions whose sources count."""
    from numba.core.dispatcher import Dispatcher

    found = [value for path in files() for _, value in numbas(path)]
    for name in REPLACED:
        found.append(getattr(Dispatcher, name))
    found = [getattr(value, "__wrapped__", getattr(value, "fget", value)) for value in found]
    named = {
        (f.__module__, f.__qualname__)
        for f in found
        if isinstance(f, FunctionType) and f.__module__.startswith("numba.")
    }
    return sorted(named | CALLED)


def hash_of(folder: Path, module: str, name: str) -> str:
    """Return the hash of a function's source in a folder with the package numba; "" for none."""
    path = folder / (module.replace(".", "/") + ".py")
    if not path.is_file():
        path = folder / module.replace(".", "/") / "__init__.py"
    if not path.is_file():
        return ""
    text = path.read_text()
    node: Any = ast.parse(text)
    for step in name.split("."):
        node = next((n for n in node.body if getattr(n, "name", None) == step), None)
        if node is None:
            return ""
    source = ast.get_source_segment(text, node) or ""
    return hashlib.sha256(source.encode()).hexdigest()[:12]


def table(folders: list[Path]) -> dict[str, list[str]]:
    """Return the hashes that each function has in some versions."""
    return {
        f"{module}: {name}": sorted({hash_of(folder, module, name) for folder in folders})
        for module, name in functions()
    }


if __name__ == "__main__":
    print(json.dumps(table(list(map(Path, sys.argv[1:]))), indent=1))
