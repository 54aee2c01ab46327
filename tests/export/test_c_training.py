"""C files that train: the same bits as a Trainer, whatever compiles them, wherever they run."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
from sklearn.neural_network import MLPRegressor

from exported import COMPILER, STRICT, estimator, needs_compiler
from jitprop import (
    ELU,
    SGD,
    Adam,
    BinaryCrossEntropy,
    CrossEntropy,
    CustomActivation,
    CustomLoss,
    DivergenceError,
    Huber,
    LeakyReLU,
    Softplus,
    Trainer,
    export,
)
from jitprop.convert import from_sklearn
from jitprop.export import c_arithmetic

DTYPES = ["float32", "float64"]
RATE = 0.0625

GATES = ("silu", "elu", "softplus", "softsign", "leaky_relu", "gelu_tanh")
OTHERS = ("relu", "selu", "mish", "gelu", "identity", "sigmoid")
DECAY = {"weight_decay": 1e-3}
# Sizes, hidden activations, output activation, loss, other settings. Nets above 40 weights a layer
# take the kernels' other route.
NETS = {
    "xor": ([2, 4, 1], "tanh", "sigmoid", "half_squared_error", {}),
    "gates": ([3, 5, 5, 5, 5, 5, 5, 2], GATES, "tanh", "squared_error", {}),
    "others": ([3, 5, 5, 5, 5, 5, 5, 2], OTHERS, "mish", "half_squared_error", {}),
    "numbers": (
        [3, 5, 5, 5, 2],
        (LeakyReLU(0.3), Softplus(1.7), ELU(0.6)),
        Softplus(0.3),
        "squared_error",
        {},
    ),
    "pieces": ([3, 5, 5, 2], "hard_sigmoid", "hard_sigmoid", "squared_error", {}),
    "large numbers": ([16, 16, 4], Softplus(2.3), ELU(1.3), "huber", {}),
    "large": ([9, 17, 8, 3], ("tanh", "gelu"), "identity", "huber", {}),
    "no hidden": ([3, 2], (), "identity", "absolute_error", {}),
    "classes": ([4, 6, 5], "softplus", "softmax", "cross_entropy", {}),
    "large classes": ([16, 16, 4], "sigmoid", "softmax", CrossEntropy(label_smoothing=0.1), {}),
    "two classes": ([4, 6, 1], "relu", "sigmoid", "binary_cross_entropy", DECAY),
    "smooth": ([16, 20, 3], "elu", "sigmoid", BinaryCrossEntropy(label_smoothing=0.1), {}),
    "rates": ([3, 6, 2], "silu", "exp", "poisson", {}),
    "variance": ([3, 4, 4], "softsign", "identity", "gaussian_nll", {}),
    "quantile": ([3, 4, 2], "selu", "exp", "quantile", {"reduction": "sum"}),
    "decay": ([16, 16, 4], "tanh", "identity", "squared_error", {**DECAY, "reduction": "sum"}),
    "all decays": (
        [3, 4, 2],
        "tanh",
        "identity",
        "huber",
        {"weight_decay": 0.01, "decay_biases": True},
    ),
    "momentum decays": (
        [16, 16, 4],
        "tanh",
        "identity",
        "huber",
        {"weight_decay": 0.01, "decay_biases": True, "optimizer": SGD(0.9)},
    ),
    "momentum": ([2, 4, 3], "tanh", "identity", "huber", {"optimizer": SGD(0.9)}),
    "rate outside": (
        [3, 4, 3],
        "tanh",
        "identity",
        "huber",
        {"optimizer": SGD(0.9, nesterov=True, rate_in_velocity=False), **DECAY},
    ),
    "nesterov": (
        [16, 16, 4],
        "tanh",
        "softmax",
        "cross_entropy",
        {"optimizer": SGD(0.9, nesterov=True), **DECAY},
    ),
}


def trainer(name, dtype="float32", batch_size=1):
    sizes, hidden, output, loss, settings = NETS[name]
    return Trainer(
        sizes,
        activation=hidden,
        output_activation=output,
        loss=loss,
        learning_rate=RATE,
        batch_size=batch_size,
        shuffle=False,
        seed=3,
        dtype=dtype,
        **settings,
    )


def samples(model, n=1000):
    """Inputs, and targets as `fit` and as C takes them."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(n, model.layer_sizes[0])).astype(model.dtype)
    n_outputs, loss = model.layer_sizes[-1], model.loss
    name = loss if isinstance(loss, str) else loss.name
    if name == "cross_entropy":
        labels = rng.integers(n_outputs, size=n)
        return X, labels, np.eye(n_outputs, dtype=model.dtype)[labels]
    n_targets = n_outputs // 2 if name == "gaussian_nll" else n_outputs
    if name == "binary_cross_entropy":
        Y = rng.integers(2, size=(n, n_targets)).astype(model.dtype)
    elif name == "poisson":
        Y = rng.integers(4, size=(n, n_targets)).astype(model.dtype)
    else:
        Y = rng.uniform(0, 0.9, size=(n, n_targets)).astype(model.dtype)
    return X, Y, Y


class Compiled:
    """The functions of a C file, compiled to a library."""

    def __init__(self, path, dtype, command: Sequence[str] = (COMPILER, "-O2"), name="net"):
        library = path.with_suffix(f".{abs(hash(tuple(command)))}.so")
        strict = [flag for flag in STRICT if "c++" not in command or flag != "-std=c99"]
        options = ["-shared", "-fPIC", str(path), "-o", str(library), "-lm"]
        done = subprocess.run(
            [command[0], *strict, *command[1:], *options],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        self.dtype, self.library = np.dtype(dtype), ctypes.CDLL(str(library))
        self.real = ctypes.c_float if dtype == "float32" else ctypes.c_double
        self.name = name

    def __getattr__(self, name):
        function = getattr(self.library, f"{self.name}_{name}")
        function.restype = self.real if name.startswith("train") else None
        return partial(self._call, function)

    def _call(self, function, *args):
        given = []
        for arg in args:
            if isinstance(arg, np.ndarray):
                assert arg.dtype == self.dtype
                assert arg.flags.c_contiguous
                given.append(ctypes.c_void_p(arg.ctypes.data))
            else:
                given.append(self.real(arg) if isinstance(arg, float) else arg)
        return function(*given)

    def saved(self, size):
        numbers = np.full(size + 1, 123, self.dtype)
        self.save(numbers)
        assert numbers[-1] == 123
        return numbers[:-1]


def all_numbers(model):
    """The parameters and the velocities."""
    return np.concatenate([model.parameters, *model._model.state.slots])


def same(a, b):
    return a.dtype == b.dtype and a.tobytes() == b.tobytes()


def check_bits(name, dtype, path, command):
    model = trainer(name, dtype)
    X, y, Y = samples(model)
    export.to_c(model, path, dtype=dtype, train="sgd")
    net = Compiled(path, dtype, command)
    before = all_numbers(model)
    assert same(net.saved(before.size), before)
    losses = [net.train(x, t, RATE) for x, t in zip(X, Y, strict=True)]
    model.fit(X, y, epochs=1)
    ref = all_numbers(model)
    assert not np.array_equal(ref, before)
    assert np.isfinite(ref).all()
    assert same(net.saved(ref.size), ref)
    reduce = np.mean if model.reduction == "mean" else np.sum
    np.testing.assert_allclose(reduce(losses), model.history.loss[-1], rtol=1e-6)
    outputs = np.full((50, model.layer_sizes[-1] + 1), 123, dtype)
    for x, out in zip(X, outputs, strict=False):
        net.predict(x, out)
    assert (outputs[:, -1] == 123).all()
    assert same(np.ascontiguousarray(outputs[:, :-1]), model.predict(X[:50]))


@needs_compiler
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NETS)
def test_a_thousand_samples_give_the_same_bits(name, dtype, tmp_path):
    check_bits(name, dtype, tmp_path / "net.c", (COMPILER, "-O2"))


def has(command):
    return all(shutil.which(name) for name in command[:1])


COMMANDS = {
    "gcc -O0": ("gcc", "-O0"),
    "gcc for this processor": ("gcc", "-O3", "-march=native", "-std=gnu99"),
    "g++": ("g++", "-O2", "-march=native", "-x", "c++", "-std=c++11"),
    "clang -O0": ("clang", "-O0"),
    "clang": ("clang", "-O2", "-march=native"),
    "clang++": ("clang++", "-O1", "-x", "c++", "-std=c++11"),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["gates", "others", "large classes"])
@pytest.mark.parametrize("command", COMMANDS)
def test_every_compiler_gives_the_same_bits(command, name, dtype, tmp_path):
    if not has(COMMANDS[command]):
        pytest.skip(f"there is no {COMMANDS[command][0]} here")
    check_bits(name, dtype, tmp_path / "net.c", COMMANDS[command])


@needs_compiler
@pytest.mark.parametrize(
    "settings",
    [{"loss": Huber(1e300)}, {"weight_decay": 1e300, "optimizer": SGD(0.9)}],
    ids=["delta", "weight_decay"],
)
def test_settings_that_float32_cannot_hold_are_infinite_as_in_a_trainer(settings, tmp_path):
    model = Trainer(
        [2, 4, 1],
        activation="tanh",
        output_activation="identity",
        learning_rate=RATE,
        batch_size=1,
        shuffle=False,
        seed=3,
        dtype="float32",
        **settings,
    )
    X, y, Y = samples(model, 50)
    export.to_c(model, tmp_path / "net.c", train="sgd")
    net = Compiled(tmp_path / "net.c", "float32")
    losses = [net.train(x, t, RATE) for x, t in zip(X, Y, strict=True)]
    if "weight_decay" in settings:
        with pytest.raises(DivergenceError):
            model.fit(X, y, epochs=1)
        assert np.isnan(losses[-1])
    else:
        model.fit(X, y, epochs=1)
        assert same(net.saved(all_numbers(model).size), all_numbers(model))


@needs_compiler
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["others", "decay", "nesterov", "two classes"])
def test_batches(name, dtype, tmp_path):
    model = trainer(name, dtype)
    X, y, Y = samples(model, 60)
    export.to_c(model, tmp_path / "net.c", dtype=dtype, train="sgd")
    net = Compiled(tmp_path / "net.c", dtype)
    start = net.saved(all_numbers(model).size)
    ref_losses = [net.train(x, t, RATE) for x, t in zip(X, Y, strict=True)]
    ref = net.saved(start.size)
    net.load(start)
    losses = [net.train_batch(x, t, 1, RATE) for x, t in zip(X, Y, strict=True)]
    assert losses == ref_losses  # a batch of one is a sample
    assert same(net.saved(start.size), ref)

    net.load(start)
    whole = trainer(name, dtype, batch_size=20)
    losses = [net.train_batch(X[i : i + 20], Y[i : i + 20], 20, RATE) for i in (0, 20, 40)]
    whole.fit(X, y, epochs=1)
    tolerance = 2e-6 if dtype == "float32" else 1e-14
    np.testing.assert_allclose(
        net.saved(start.size), all_numbers(whole), rtol=tolerance, atol=tolerance
    )
    reduce = np.mean if whole.reduction == "mean" else np.sum
    np.testing.assert_allclose(reduce(losses), whole.history.loss[-1], rtol=1e-6)
    assert net.train_batch(X, Y, 0, RATE) == 0.0


@needs_compiler
@pytest.mark.parametrize("name", ["xor", "momentum"])
def test_training_goes_on_where_it_stopped(name, tmp_path):
    model = trainer(name)
    X, y, Y = samples(model, 40)
    model.fit(X[:20], y[:20], epochs=1)
    export.to_c(model, tmp_path / "net.c", train="sgd", batches=False)
    assert "train_batch" not in (tmp_path / "net.c").read_text()
    net = Compiled(tmp_path / "net.c", "float32")
    for x, t in zip(X[20:], Y[20:], strict=True):
        net.train(x, t, RATE)
    model.fit(X[20:], y[20:], epochs=1)
    numbers = net.saved(all_numbers(model).size)
    assert same(numbers, all_numbers(model))
    net.train(X[0], Y[0], RATE)
    assert not same(net.saved(numbers.size), numbers)
    net.load(numbers)
    assert same(net.saved(numbers.size), numbers)


@needs_compiler
def test_a_new_sgd_begins_with_the_parameters_of_any_net(tmp_path):
    model = Trainer([2, 3, 1], optimizer=Adam(), seed=0, dtype="float32")
    X, y, Y = samples(model, 30)
    model.fit(X, y, epochs=2)
    export.to_c(model, tmp_path / "net.c", train=SGD(momentum=0.5))
    net = Compiled(tmp_path / "net.c", "float32")
    ref = Trainer(
        [2, 3, 1],
        optimizer=SGD(momentum=0.5),
        learning_rate=RATE,
        batch_size=1,
        shuffle=False,
        dtype="float32",
    )
    ref.parameters[:] = model.parameters
    ref.fit(X, y, epochs=1)
    for x, t in zip(X, Y, strict=True):
        net.train(x, t, RATE)
    assert same(net.saved(2 * model.parameters.size), all_numbers(ref))


@needs_compiler
@pytest.mark.parametrize("dtype", DTYPES)
def test_an_infinite_loss_changes_nothing(dtype, tmp_path):
    model = trainer("xor", dtype)
    export.to_c(model, tmp_path / "net.c", dtype=dtype, train="sgd")
    net = Compiled(tmp_path / "net.c", dtype)
    X = np.full((2, 2), np.inf, dtype)
    y = np.ones((2, 1), dtype)
    before = net.saved(model.parameters.size)
    y[0] = np.nan
    assert np.isnan(net.train(X[0], y[0], RATE))
    assert np.isnan(net.train_batch(X, y, 2, RATE))
    y[:] = np.finfo(dtype).max
    assert net.train(np.zeros(2, dtype), y[0], RATE) == np.inf
    assert same(net.saved(before.size), before)


OWN_FMA = """
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
{text}
void many(const {real} *x, const {real} *y, const {real} *z, {real} *to, int n);
void many(const {real} *x, const {real} *y, const {real} *z, {real} *to, int n)
{{
    for (int i = 0; i < n; i++)
        to[i] = {function}(x[i], y[i], z[i]);
}}
"""


def hard_numbers(rng, n, dtype):
    """Numbers of all sizes, with many that are subnormal, or end in zeros or ones."""
    real = np.dtype(dtype)
    integer = np.uint32 if dtype == "float32" else np.uint64
    n_bits, n_exponent = 8 * real.itemsize, 8 if dtype == "float32" else 11
    n_mantissa = n_bits - 1 - n_exponent
    mantissa = rng.integers(0, 2**n_mantissa, n, dtype=np.uint64)
    ones = np.uint64(2**n_mantissa - 1)
    kept = rng.integers(0, n_mantissa, n).astype(np.uint64)
    kind = rng.integers(4, size=n)
    mantissa = np.where(kind == 0, mantissa >> kept << kept, mantissa)
    mantissa = np.where(kind == 1, ones - (mantissa >> kept), mantissa) & ones
    middle, top = 2 ** (n_exponent - 1), 2**n_exponent
    exponent = rng.integers(0, top, n)
    near = middle + rng.integers(-n_mantissa - 3, n_mantissa + 4, n)
    exponent = np.where(rng.random(n) < 0.5, near, exponent)
    exponent = np.where(rng.random(n) < 0.1, rng.integers(0, 4, n), exponent).astype(np.uint64)
    sign = rng.integers(2, size=n, dtype=np.uint64) << np.uint64(n_bits - 1)
    bits = mantissa | exponent << np.uint64(n_mantissa) | sign
    return bits.astype(integer).view(real)


@needs_compiler
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_fma_of_integers_is_that_of_the_library(dtype, tmp_path):
    real, function = ("float", "fmaf") if dtype == "float32" else ("double", "fma")
    own = c_arithmetic.FMA[dtype].replace("__GLIBC__", "NOWHERE").replace("NAME", "own")
    libraries = {}
    for name, text, called in (("own", own, "own_fma"), ("libm", "", function)):
        path = tmp_path / f"{name}.c"
        path.write_text(OWN_FMA.format(text=text, real=real, function=called))
        subprocess.run(
            [COMPILER, *STRICT, "-O2", "-shared", "-fPIC", path, "-o", f"{path}.so", "-lm"],
            check=True,
            timeout=300,
        )
        libraries[name] = ctypes.CDLL(f"{path}.so").many
    rng = np.random.default_rng(0)
    n = 400_000
    x, y, z = (hard_numbers(rng, n, dtype) for _ in range(3))
    with np.errstate(all="ignore"):
        z = np.where(rng.random(n) < 0.3, -(x * y), z)  # what is left is what rounding took
    found = {}
    for name, many in libraries.items():
        found[name] = np.empty(n, dtype)
        many(*(ctypes.c_void_p(a.ctypes.data) for a in (x, y, z, found[name])), n)
    is_nan = np.isnan(found["libm"])
    assert np.array_equal(np.isnan(found["own"]), is_nan)
    assert same(found["own"][~is_nan], found["libm"][~is_nan])
    assert (abs(found["own"]) < np.finfo(dtype).tiny).sum() > 1000


BAD = [
    ({"train": "adam"}, {}, ValueError, "train must be None, 'sgd' or an SGD; got 'adam'"),
    ({"train": True}, {}, ValueError, "train must be None, 'sgd' or an SGD; got True"),
    ({"train": Adam()}, {}, ValueError, "train must be None, 'sgd' or an SGD; got Adam"),
    ({}, {"optimizer": "adam"}, ValueError, "the optimizer of this net is Adam; train=SGD"),
    ({"batches": 2}, {}, TypeError, "batches must be True or False"),
    ({"train": None, "batches": False}, {}, ValueError, "batches is for train only"),
    ({}, {"dropout": 0.5}, ValueError, "a net with dropout"),
    ({}, {"clip_norm": 1.0}, ValueError, "a net with clip_norm"),
    ({}, {"learning_rate_factors": [1, 0]}, ValueError, "a net with learning_rate_factors"),
    ({}, {"input_scale_rate": 0.1}, ValueError, "a net with input_scale_rate"),
    (
        {},
        {"loss": BinaryCrossEntropy(class_weight=[1, 2])},
        ValueError,
        "a net with class_weight",
    ),
    (
        {},
        {"loss": CustomLoss(lambda a, y: (a - y) ** 2, lambda a, y: 2 * (a - y), "mine")},
        ValueError,
        "a net with the custom loss 'mine'",
    ),
    (
        {},
        {"activation": CustomActivation(lambda z: z, lambda z: 1.0, "mine")},
        ValueError,
        "must not have custom activations",
    ),
]


@pytest.mark.parametrize(("options", "settings", "error", "words"), BAD)
def test_what_c_does_not_have(options, settings, error, words, tmp_path):
    model = Trainer([2, 3, 1], backend="numpy", **settings)
    with pytest.raises(error, match=re.escape(words)):
        export.to_c(model, tmp_path / "net.c", **{"train": "sgd", **options})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["two", "one"])
def test_only_a_trainer_trains(kind, tmp_path):
    model, _ = estimator(kind, "float32")
    with pytest.raises(TypeError, match=r"model must be a Trainer if train is given, .*; got MLP"):
        export.to_c(model, tmp_path / "net.c", train="sgd")
    assert not list(tmp_path.iterdir())


CALLER = """\
#include "xor_net.h"
#include "xor_net.h"
#include <stdio.h>

int main(void)
{
    REAL x[2 * XOR_NET_INPUTS] = {1, 2, 3, 4}, y[2 * XOR_NET_TARGETS] = {0, 1};
    REAL out[XOR_NET_OUTPUTS], kept[XOR_NET_NUMBERS];
    xor_net_save(kept);
    xor_net_train(x, y, 1);
    xor_net_train_batch(x, y, 2, 1);
    xor_net_load(kept);
    xor_net_predict(x, out);
    printf("%d %.9g", XOR_NET_NUMBERS, (double)out[0]);
    return 0;
}
"""


@needs_compiler
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("language", ["c", "c++"])
def test_a_program_with_the_header(language, dtype, tmp_path):
    model = trainer("xor", dtype)
    export.to_c(
        model,
        tmp_path / "net.c",
        name="xor_net",
        dtype=dtype,
        header=tmp_path / "xor_net.h",
        train="sgd",
    )
    (tmp_path / "main.c").write_text(CALLER)
    real = "-DREAL=" + ("float" if dtype == "float32" else "double")
    steps = [
        [*STRICT, "-c", "net.c", "-o", "net.o"],
        ["-x", language, real, "-Wall", "-Werror", "-pedantic", "-c", "main.c", "-o", "main.o"],
        ["main.o", "net.o", "-o", "main", "-lm"],
    ]
    for step in steps:
        subprocess.run([COMPILER, *step], cwd=tmp_path, check=True, timeout=300)
    printed = subprocess.run(
        [tmp_path / "main"], capture_output=True, text=True, check=True, timeout=300
    ).stdout
    n, first = printed.split()
    assert n == "17"
    ref = model.predict(np.array([[1, 2]], dtype))
    np.testing.assert_allclose(float(first), ref[0, 0], rtol=1e-8)


def test_the_file_says_what_it_takes(tmp_path):
    model = trainer("xor")
    export.to_c(model, tmp_path / "net.c", train="sgd")
    text = (tmp_path / "net.c").read_text()
    assert "RAM: 8 P + 8 U = 176 bytes, for P = 17 parameters and U = 5 units" in text
    assert "Flash: 4 P = 68 bytes" in text
    export.to_c(model, tmp_path / "net.c", dtype="float64", train=SGD(0.9), batches=False)
    text = (tmp_path / "net.c").read_text()
    assert "RAM: 16 P + 16 U = 352 bytes" in text
    assert "alloc" not in text
    headers = ["<float.h>", "<math.h>", "<stdint.h>", "<string.h>"]
    assert re.findall("#include (.*)", text) == headers
    called = set(re.findall(r"\b(\w+)\(", text)) - set(re.findall(r"\b(net_\w+)\(", text))
    assert called <= {"if", "for", "defined", "memcpy", "fabs", "copysign", "fma", "sizeof"}


@needs_compiler
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_compiler_that_may_change_digits_is_refused(dtype, tmp_path):
    export.to_c(trainer("xor", dtype), tmp_path / "net.c", dtype=dtype, train="sgd")
    done = subprocess.run(
        [COMPILER, "-std=c99", "-O2", "-ffast-math", "-c", "net.c"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode != 0
    assert "no -ffast-math" in done.stderr


def test_the_alpha_of_scikit_learn_is_refused(tmp_path):
    theirs = MLPRegressor(hidden_layer_sizes=[3], solver="sgd", alpha=0.5)
    model = from_sklearn(theirs.partial_fit(np.eye(2), [0.0, 1.0]))
    with pytest.raises(ValueError, match="a net with scikit-learn's alpha cannot be exported"):
        export.to_c(model, tmp_path / "net.c", train="sgd")
