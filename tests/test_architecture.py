"""The rules of the architecture: which modules import which, and where code belongs."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
from importlib import metadata, resources
from pathlib import Path

import pytest

import jitprop
import jitprop_kernels
from jitprop import reference
from jitprop.backends import compiled

SOURCE = Path(jitprop.__file__).parent
KERNELS = Path(jitprop_kernels.__file__).parent
FILES = sorted([*SOURCE.rglob("*.py"), *KERNELS.rglob("*.py")])


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def top_level(path):
    return {name.split(".")[0] for name in imported(path)}


def test_there_are_files_to_look_at():
    assert {"trainer.py", "reference.py"} <= {p.name for p in SOURCE.rglob("*.py")}
    assert {"network.py", "lanes.py", "blocks.py"} <= {p.name for p in KERNELS.rglob("*.py")}


@pytest.mark.parametrize("path", sorted(KERNELS.rglob("*.py")), ids=lambda p: p.name)
def test_kernels_know_arrays_and_numbers_alone(path):
    outside = top_level(path) - set(sys.stdlib_module_names)
    assert outside <= {"jitprop_kernels", "numba", "llvmlite", "numpy"}


COMPILED = (
    "backends/brief.py",
    "backends/compiled.py",
    "backends/curvature.py",
    "backends/descent.py",
    "backends/plans.py",
    "backends/prepared.py",
    "backends/single.py",
    "backends/watcher.py",
    "cli/machine.py",
    "fleet/brief.py",
    "fleet/lanes.py",
)
"""The files that know the kernels."""


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda p: p.name)
def test_only_the_compiled_backend_knows_the_kernels(path):
    assert not top_level(path) & {"numba", "llvmlite"}
    compiled_parts = {SOURCE / name for name in COMPILED}
    if path not in compiled_parts:
        assert "jitprop_kernels" not in top_level(path)


def test_the_reference_is_independent_of_kernels_and_numba():
    code = """
import sys
import jitprop.reference
found = {m for m in sys.modules if m.split('.')[0] in ('numba', 'llvmlite', 'jitprop_kernels')}
assert not found, found
assert 'jitprop.backends.compiled' not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_fleets_and_sweeps_are_imported_when_first_used_and_not_before():
    code = """
import sys
import jitprop
late = {"jitprop.fleet", "jitprop.sweeps", "jitprop.teaching.gradient_check"}
jitprop.Trainer([2, 1])
assert not late & set(sys.modules)
assert set(jitprop.__all__) <= set(dir(jitprop))
jitprop.sweep, jitprop.check_gradients
assert late <= set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_every_public_name_is_there_and_no_other():
    assert all(getattr(jitprop, name) is not None for name in jitprop.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Flete'"):
        _ = jitprop.Flete


def test_numba_is_imported_to_compile_and_for_nothing_else():
    code = """
import sys
from jitprop import Trainer
trainer = Trainer([2, 2, 1])
Trainer([2, 1], backend='numpy').fit([[0, 1]], [0], 1)
assert 'numba' not in sys.modules
trainer.predict([[0, 1]])
compiled = 'numba' in sys.modules
print(compiled)
"""
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=300
        )
    assert done.stdout == f"{jitprop_kernels.INTERPRETED}\n"


def test_without_numba_auto_trains_in_numpy_and_says_so_once():
    code = """
import sys, warnings
sys.modules['numba'] = None
from jitprop import Trainer
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always')
    for _ in range(2):
        loss = Trainer([2, 3, 1], seed=0).fit([[0, 1]], [0], 2).loss
assert len(caught) == 1 and 'numba' in str(caught[0].message), caught
assert loss[1] < loss[0]
try:
    Trainer([2, 1], backend='numba').predict([[0, 1]])
except ImportError as error:
    assert 'numba' in str(error)
else:
    raise AssertionError('no ImportError')
"""
    # No kernel was ever compiled with this option, so there is no machine code.
    subprocess.run(
        [sys.executable, "-c", code], check=True, env=os.environ | {"NUMBA_OPT": "1"}, timeout=300
    )


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_functions_are_compiled_by_the_one_decorator(path):
    if path.name not in ("_plain.py", "route.py"):
        names = {n.id for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Name)}
        attributes = {
            n.attr for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Attribute)
        }
        assert not (names | attributes) & {"njit", "vectorize", "guvectorize", "cfunc", "prange"}


@pytest.mark.parametrize("path", sorted(KERNELS.rglob("*.py")), ids=lambda p: p.name)
def test_private_numba_has_one_door(path):
    names, room = set(imported(path)), path.parent.name == "_private"
    if not room:
        public = {"config", "errors", "extending", "types"}
        inner = {n.split(".")[1] for n in names if n.startswith("numba.")}
        assert not inner - public
    if not room:  # `_jit` alone names it, in a string
        assert not {n for n in names if n.startswith("jitprop_kernels._private")}


MANY_PARAMETERS = {
    "jitprop/net/spec.py: make_spec",
    # What users call has an argument for each setting.
    "jitprop/fleet/starts.py: fit_function",
    "jitprop/sweeps/search.py: sweep",
    "jitprop/trainer.py: fit",
}
"""Functions that have more than 8 parameters. Take out the ones that you mend, and add none."""


def n_parameters(function):
    """Without self."""
    a = function.args
    names = [argument.arg for argument in (*a.posonlyargs, *a.args, *a.kwonlyargs)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def test_no_function_has_more_than_8_parameters():
    found = set()
    for path in FILES:
        tree = ast.parse(path.read_text())
        classes = [n for n in ast.walk(tree) if isinstance(n, ast.ClassDef)]
        public = {
            node for kind in classes if not kind.name.startswith("_")
            for node in kind.body if getattr(node, "name", "") == "__init__"
        }  # fmt: skip
        root = (KERNELS if path.is_relative_to(KERNELS) else SOURCE).parent
        found |= {
            f"{path.relative_to(root).as_posix()}: {node.name}"
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef) and node not in public and n_parameters(node) > 8
        }
    assert found == MANY_PARAMETERS


def test_both_backends_offer_the_same_functions():
    for name in ("prepare", "halt", "close", "train", "evaluate", "gradient", "predict"):
        ref = inspect.signature(getattr(reference, name))
        comp = inspect.signature(getattr(compiled, name))
        assert list(ref.parameters) == list(comp.parameters), name


def test_public_names():
    assert set(jitprop.__all__) == {
        "SGD", "Adam", "AdamW", "BayesianRegularization", "LBFGS", "LevenbergMarquardt", "RMSprop",
        "Rprop", "ScaledConjugateGradient",
        "CustomActivation", "CustomLoss", "ELU", "LeakyReLU", "Softplus",
        "AbsoluteError", "BinaryCrossEntropy", "CrossEntropy", "GaussianNLL", "HalfSquaredError",
        "Huber", "Poisson", "Quantile", "SquaredError",
        "Cosine", "CosineLog", "EachUpdate", "Exponential", "InverseScaling", "OneCycle",
        "ReduceOnPlateau", "Step",
        "Callback", "EarlyStopping", "MLflowLogger", "OptunaPruning",
        "DivergenceError", "Fleet", "FleetHistory", "Gradients", "History", "Trainer",
        "GradientCheck", "Trace", "check_gradients",
        "Checkpoint", "CheckpointError", "TargetWarning",
        "SweepResult", "sweep",
        "FunctionFit", "Starts", "fit_function",
    }  # fmt: skip
    assert jitprop.__version__ == metadata.version("jitprop")


def test_core_dependencies_are_four():
    core = [r for r in metadata.requires("jitprop") if "extra ==" not in r]
    required = {re.match(r"[\w-]+", r)[0] for r in core}
    assert required == {"numba", "numpy", "safetensors", "threadpoolctl"}


@pytest.mark.parametrize("package", [jitprop, jitprop_kernels], ids=lambda p: p.__name__)
def test_types_ship(package):
    assert resources.files(package).joinpath("py.typed").is_file()


FLOORS = [
    {"_types", "_version", "elementary", "hints", "checks", "warn", "interrupts"},
    {"net"},
    {"data"},
    {
        "functions",
        "reference_net",
        "reference_descent",
        "reference_second_order",
        "reference",
        "backends",
    },
    {"metrics", "training", "files", "teaching", "plot"},
    {"trainer"},
    {"fleet"},
    {"sweeps", "sklearn", "tabular", "export", "convert", "proof"},
    {"cli", "__init__", "__main__"},
]
"""The floors, from the lowest up. A file imports only from its own floor and those below."""


def modules():
    """Return the files of jitprop by their module names."""
    made = {}
    for path in sorted(SOURCE.rglob("*.py")):
        name = ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts)
        made[name.removesuffix(".__init__")] = path
    return made


def runs(node):
    """Yield the nodes of a file that may run at some time, so not those for types only."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from runs(child)


def imports_within(path, known, walk=runs):
    """Yield the modules of jitprop that a file imports, at its top or inside functions."""
    for node in walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                full_name = f"{node.module}.{alias.name}"
                yield from {full_name if full_name in known else node.module} & set(known)


def floor(name):
    part = name.split(".")[1] if "." in name else "__init__"
    return next(i for i, rooms in enumerate(FLOORS) if part in rooms)


def test_imports_point_down():
    known = modules()
    for name, path in known.items():
        for other in imports_within(path, known):
            assert floor(other) <= floor(name), f"{name} imports {other}"


def test_no_file_imports_itself_through_others():
    known = modules()
    del known["jitprop"]  # it hands names on, to the command line too
    left = {name: {*imports_within(path, known, ast.walk)} - {name} for name, path in known.items()}
    while free := {name for name, others in left.items() if not others & set(left)}:
        left = {name: others for name, others in left.items() if name not in free}
    assert not left, f"a circle among {sorted(left)}"


def test_contributing_draws_the_floors():
    picture = (SOURCE.parents[1] / "CONTRIBUTING.md").read_text().split("```")[1]
    drawn = [set(re.findall(r"[\w]+(?=[/.])|__\w+__", line)) for line in picture.splitlines()]
    shown = [rooms for rooms in drawn if rooms]
    expected = [{room for room in rooms if not room.startswith("__")} for rooms in FLOORS]
    assert [rooms - {"py"} for rooms in shown] == expected[::-1]
