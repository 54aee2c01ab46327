"""Numbers that Python's side computes: the same bits on every machine."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

import jitprop
from jitprop import (
    Cosine,
    CosineLog,
    Exponential,
    Fleet,
    InverseScaling,
    OneCycle,
    ReduceOnPlateau,
    Step,
    Trainer,
    metrics,
)
from jitprop.data import validation
from jitprop.net import initializers
from jitprop.net.losses import CrossEntropy
from jitprop.sweeps.folds import k_folds
from nets import digest

SOURCE = Path(jitprop.__file__).parent

ELSEWHERE = {
    "functions.py": "the NumPy backend calls exp and log of the C library",
    "reference.py": "the NumPy backend takes powers of the C library",
    "reference_descent.py": "the NumPy backend takes roots and sums products by NumPy",
    "reference_net.py": "the NumPy backend multiplies with BLAS",
    "reference_second_order.py": "the NumPy backend solves with LAPACK",
    "teaching/trace.py": "a trace shows the numbers of the NumPy backend",
    "proof/speed.py": "a net in NumPy, which jitprop's speed is compared with",
    "sklearn/lbfgs.py": "its steps are those of scipy",
    "tabular/encoders/texts.py": "its features are those of scikit-learn",
    "plot/canvas.py": "nothing is trained with the numbers of a picture",
    "plot/predictions.py": "nothing is trained with the numbers of a picture",
}
"""Files that may call other libraries for their numbers, and why."""

EXACT_UFUNCS = {
    "add", "subtract", "multiply", "divide", "true_divide", "floor_divide", "sqrt", "square",
    "negative", "absolute", "abs", "fabs", "sign", "copysign", "minimum", "maximum", "fmin", "fmax",
    "clip", "floor", "ceil", "rint", "trunc", "isfinite", "isnan", "isinf", "isnat", "signbit",
    "nextafter", "spacing", "less", "less_equal", "greater", "greater_equal", "equal", "not_equal",
    "logical_and", "logical_or", "logical_not", "bitwise_and", "bitwise_or", "bitwise_xor",
}  # fmt: skip
"""NumPy's ufuncs whose results IEEE 754 defines to the last bit."""

INEXACT = {
    "dot", "vdot", "inner", "matvec", "vecmat", "vecdot", "tensordot", "einsum", "matmul", "kron",
    "linalg", "fft", "polyfit", "polyval", "convolve", "correlate", "cov", "corrcoef", "interp",
    "geomspace", "logspace", "i0", "sinc", "trapezoid", "random.seed",
}  # fmt: skip
"""Other functions of NumPy that call BLAS, the C library or code for one processor."""

EXACT_OF_MATH = {
    "sqrt", "frexp", "ldexp", "floor", "ceil", "prod", "nextafter", "ulp", "gcd", "fabs",
    "isclose", "isfinite", "isnan", "isinf", "inf", "nan", "pi", "e", "tau",
}  # fmt: skip

EXACT_DRAWS = {
    "random", "random_sample", "integers", "randint", "permutation", "permuted", "shuffle",
    "choice", "bytes", "spawn", "get_state", "set_state", "seed", "bit_generator",
}  # fmt: skip
"""Methods of NumPy's generators that draw integers, or numbers of 53 bits."""

DRAWS = {
    name
    for kind in (np.random.Generator, np.random.RandomState)
    for name in dir(kind)
    if not name.startswith("_")
} - EXACT_DRAWS

HIDING = ("cmath", "numpy.linalg", "random", "scipy.special", "scipy.stats", "statistics")
"""Modules of which nothing is to be imported."""

MEANS = ("mean", "std", "var", "average", "nanmean", "nanstd", "nanvar")

OURS = {"elementary", "checks"}
"""Modules of jitprop with functions of the same names."""


def is_power_of_two(node):
    """Whether a power has the base 2, whose powers are exact in every C library."""
    return isinstance(node, ast.Constant) and node.value in (2, 2.0)


def called(node):
    """Return why a call is refused; None if it is not."""
    function, keywords = node.func, {k.arg: ast.unparse(k.value) for k in node.keywords}
    if isinstance(function, ast.Name):
        return "pow" if function.id == "pow" else None
    if not isinstance(function, ast.Attribute) or ast.unparse(function.value) in OURS:
        return None
    name = function.attr
    if name in DRAWS or name in INEXACT:
        return name
    if name in ("argsort", "argpartition") and keywords.get("kind") != "'stable'":
        return f"{name} without kind='stable': the order of equal numbers depends on the processor"
    if name in MEANS and not {"axis", "dtype"} & set(keywords) and len(node.args) < 2:
        return f"{name}: the order of its sum depends on the version of NumPy, take elementary's"
    if name == "randint" and "dtype" not in keywords:
        return "randint without a dtype: a C long has 32 bits on Windows"
    return None


def named(node):
    """Return why a name of a module is refused; None if it is not."""
    module, name = ast.unparse(node.value), node.attr
    if module == "math":
        return None if name in EXACT_OF_MATH else f"math.{name}"
    if module == "np":
        inexact = isinstance(getattr(np, name), np.ufunc) and name not in EXACT_UFUNCS
        return f"np.{name}" if inexact or name in INEXACT else None
    return None


def imported(node):
    """Return why an import is refused; None if it is not."""
    if isinstance(node, ast.Import):
        usual = {"numpy": "np", "math": None}
        for a in node.names:
            if a.name in HIDING or usual.get(a.name, a.asname) != a.asname:
                return f"import {a.name} as {a.asname}"
        return None
    module = node.module or ""
    return f"from {module}" if module in (*HIDING, "math", "numpy") else None


def refused(source):
    """Yield the line and the reason of everything whose bits another machine may change."""
    for node in ast.walk(ast.parse(source)):
        reason = None
        if isinstance(node, ast.BinOp | ast.AugAssign):
            base = node.left if isinstance(node, ast.BinOp) else node.target
            if isinstance(node.op, ast.MatMult):
                reason = "a product of matrices"
            elif isinstance(node.op, ast.Pow) and not is_power_of_two(base):
                reason = "a power"
        elif isinstance(node, ast.Call):
            reason = called(node)
        elif isinstance(node, ast.Attribute):
            reason = named(node)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            reason = imported(node)
        if reason:
            yield node.lineno, reason


FILES = sorted(path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py"))
# A wheel has the examples in the package, too.
FILES = [name for name in FILES if not name.startswith("examples/")]


@pytest.mark.parametrize("name", FILES)
def test_no_number_depends_on_the_machine(name):
    found = list(refused((SOURCE / name).read_text(encoding="utf-8")))
    if name in ELSEWHERE:
        assert found, f"{name} needs no exception any more"
    else:
        assert not found, f"{name}: use jitprop.elementary, and (a * b).sum() for a product"


def test_all_exceptions_are_files():
    assert set(ELSEWHERE) <= set(FILES)


@pytest.mark.parametrize(
    "source",
    [
        "y = a @ b", "a @= b", "y = x ** 0.5", "y = x ** 2", "x **= 2", "y = pow(x, 2)",
        "y = np.exp(x)", "y = np.log1p(x)", "y = np.cos(x)", "y = np.power(x, 3)", "f = np.tanh",
        "y = np.dot(a, b)", "y = a.dot(b)", "y = np.linalg.norm(a)", "y = np.einsum('i,i', a, b)",
        "y = math.exp(x)", "y = math.log2(x)", "from math import exp", "from numpy import dot",
        "import math as m", "import statistics", "from scipy.special import expit",
        "y = rng.standard_normal(3)", "y = rng.uniform(-1, 1)", "y = rng.normal(size=3)",
        "m = x.mean()", "m = np.average(x, weights=w)", "s = np.std(x)",
        "i = np.argsort(x)", "i = x.argsort()", "i = random.randint(5)",
    ],
)  # fmt: skip
def test_the_check_finds(source):
    assert list(refused(source))


@pytest.mark.parametrize(
    "source",
    [
        "y = elementary.exp(x)", "y = 2.0**-53", "y = 2**k", "y = np.sqrt(np.square(x))",
        "y = math.sqrt(x)", "i = np.argsort(x, kind='stable')", "u = rng.random(5)",
        "i = random.randint(5, dtype=np.int64)", "m = elementary.mean(x)", "m = x.mean(axis=0)",
        "import numpy as np", "import math",
    ],
)  # fmt: skip
def test_the_check_passes(source):
    assert not list(refused(source))


SCHEDULES = {
    "step": Step(0.3, every=7, factor=0.9),
    "exponential": Exponential(0.1, 0.9995),
    "inverse": InverseScaling(0.5, power=0.37),
    "cosine": Cosine(0.7, epochs=4800, final=0.01, warmup=11),
    "one_cycle": OneCycle(0.7, epochs=4800),
    "cosine_log": CosineLog(0.7, epochs=4800),
}


def uniform(*shape):
    return np.random.default_rng(11).random(shape)


def drawn(name):
    """Return initial weights and biases: of one net, and of a fleet."""
    trainer = Trainer([5, 7, 3], init=name, seed=3)
    fleet = Fleet([5, 7, 3], members=4, init=name, seed=[3, 4, 5, 6])
    np.testing.assert_array_equal(fleet.parameters[0], trainer.parameters)
    return trainer.parameters, fleet.parameters


def orders():
    """Return the orders of samples in which nets would train."""
    seeds = range(3)
    made = [Trainer([1, 1], seed=seed)._model.state.rng.permuted(np.arange(99)) for seed in seeds]
    fleet = Fleet([1, 1], members=3, seed=list(seeds))
    orders = fleet._model.state.orders(np.arange(3), 1, 99, 1)[:, 0]
    np.testing.assert_array_equal(orders, made)
    return made


def dropout_keys():
    trainer = Trainer([1, 2, 1], dropout=0.5, seed=3)
    fleet = Fleet([1, 2, 1], members=2, dropout=0.5, seed=[3, 4])
    assert fleet._model.state.keys[0] == trainer._model.state.dropout_key
    return trainer._model.state.dropout_key, trainer._model.state.split, fleet._model.state.keys


def scores():
    """Return every metric of a regression and of two classifications."""
    y, a = uniform(9000, 3), np.random.default_rng(12).random((9000, 3))
    labels, p = y.argmax(axis=1), a / a.sum(axis=1, keepdims=True)
    found = [f(y, a) for f in (metrics.mse, metrics.mae, metrics.r2, metrics.log_loss)]
    found.append(metrics.r2(y[:, 0], a[:, 0]))
    found += [metrics.log_loss(labels, p), metrics.accuracy(labels, p)]
    return [*found, metrics.log_loss(y[:, 0] > 0.5, a[:, 0].astype(np.float32))]


def plateau():
    schedule, state, rates = ReduceOnPlateau(0.3, factor=0.7, patience=1), (), []
    for loss in uniform(40):
        state = schedule.after(state, float(loss))
        rates.append(schedule.rate(state))
    return rates


CASES = {
    **{f"schedule {name}": (lambda s=s: [s.rates(0, 5000)]) for name, s in SCHEDULES.items()},
    "schedule plateau": lambda: [plateau()],
    **{f"weights {name}": (lambda name=name: drawn(name)) for name in initializers.WEIGHTS},
    "orders": orders,
    "dropout keys": dropout_keys,
    "validation split": lambda: validation.hold_out(97, 0.3, 5),
    "folds": lambda: [r for fold in k_folds(97, 5, np.arange(97) % 3) for r in fold],
    "metrics": lambda: [scores()],
    "class weights": lambda: [
        CrossEntropy(class_weight=[0.3, 0.6, 1.7]).sample_weights(uniform(99, 3))
    ],
}
BITS = {
    "schedule step": "1780b450fdfa7305",
    "schedule exponential": "457d0638a300410a",
    "schedule inverse": "ed568b8a817ad986",
    "schedule cosine": "aef7411e0862c68e",
    "schedule one_cycle": "9fb7260a8edf8450",
    "schedule cosine_log": "05cae07bdb7268ab",
    "schedule plateau": "b5bdbf57b0d34760",
    "weights glorot_uniform": "c8997eebbfd66c4d",
    "weights glorot_normal": "eaf1ad2d03ab904e",
    "weights he_uniform": "40d97ca6ffc2f5b3",
    "weights he_normal": "5f4ccbc0fa34b589",
    "weights lecun_normal": "c93b8de592e8385a",
    "weights uniform": "dd7224595c2c48da",
    "orders": "c94604b601c7eda1",
    "dropout keys": "8abfd887ec4844fb",
    "validation split": "65260c74ebb181e4",
    "folds": "c7f4185b8db636d4",
    "metrics": "75262bc83b02a664",
    "class weights": "1bc385205d461087",
}


@pytest.mark.parametrize("name", CASES)
def test_bits(name):
    assert digest(*CASES[name]()) == BITS[name]


def test_a_digest_sees_the_last_bit():
    x = uniform(5)
    assert digest(x) != digest(np.nextafter(x, 2))
