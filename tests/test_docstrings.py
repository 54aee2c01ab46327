"""The examples in docstrings print the output that they show, and all public names have one."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil

import pytest

import jitprop
from jitprop import convert, export, metrics, plot, sklearn, tabular

MODULES = sorted(
    found.name
    for found in pkgutil.walk_packages(jitprop.__path__, "jitprop.")
    if not found.name.endswith("__main__")
)
SHOWN_ELSEWHERE = {
    "CheckpointError",
    "DivergenceError",
    "FleetHistory",
    "GradientCheck",
    "Gradients",
    "History",
    "MLflowLogger",
    "OptunaPruning",
    "SweepResult",
    "TargetWarning",
    "Trace",
}
"""
Errors and results: the examples of the methods that raise or return them show them. And callbacks
for libraries that developers do not install: tests/interop/works_with runs their examples.
"""

PUBLIC = {
    f"{module.__name__}.{name}": getattr(module, name)
    for module, names in (
        (jitprop, jitprop.__all__),
        (sklearn, sklearn.__all__),
        (tabular, tabular.__all__),
        (plot, plot.__all__),
        (export, export.__all__),
        (convert, convert.__all__),
        (metrics, metrics.NAMED),
    )
    for name in names
    if name not in SHOWN_ELSEWHERE
}


@pytest.mark.parametrize("name", MODULES)
def test_examples_print_what_they_show(name, tmp_path, monkeypatch):
    module = importlib.import_module(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    assert doctest.testmod(module).failed == 0


RUN_ELSEWHERE = {"jitprop.convert.to_torch"}
"""Their examples need libraries that are not installed here: tests/interop runs them."""


@pytest.mark.parametrize("name", PUBLIC)
def test_what_is_public_has_an_example(name):
    docstring = inspect.getdoc(PUBLIC[name])
    examples = doctest.DocTestParser().get_examples(docstring)
    assert "Examples\n--------\n" in docstring
    assert examples
    skipped = any(doctest.SKIP in example.options for example in examples)
    assert skipped == (name in RUN_ELSEWHERE)
