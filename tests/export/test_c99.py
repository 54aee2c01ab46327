"""C files compile without a warning, and compute what the model computes."""

from __future__ import annotations

import re
import subprocess

import numpy as np
import pytest

from exported import (
    CLASSIFIED,
    COMPILER,
    NETS,
    TARGETS,
    TOLERANCE,
    ensemble,
    estimator,
    needs_compiler,
    run_c,
    trainer,
)
from jitprop import Fleet, export


@needs_compiler
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", NETS)
def test_a_trainer_predicts_the_same(name, dtype, tmp_path):
    model, X = trainer(name, dtype)
    export.to_c(model, tmp_path / "net.c", dtype=dtype)
    ref = model.predict(X)
    comp = run_c(tmp_path / "net.c", X, ref.shape[1], dtype)
    np.testing.assert_allclose(comp, ref, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@needs_compiler
@pytest.mark.parametrize("name", TARGETS)
def test_an_estimator_of_float64_predicts_the_same_in_float(name, tmp_path):
    model, X = estimator(name, "float64")
    export.to_c(model, tmp_path / "mlp.c", name="mlp_2")
    ref = model.predict_proba(X) if name in CLASSIFIED else model.predict(X).reshape(len(X), -1)
    comp = run_c(tmp_path / "mlp.c", X, ref.shape[1], np.float32, "mlp_2")
    np.testing.assert_allclose(comp, ref, rtol=1e-4, atol=1e-6)


@needs_compiler
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", ["two", "three", "labels", "several"])
def test_an_ensemble_is_one_function(name, dtype, tmp_path):
    model, X = ensemble(name, dtype)
    export.to_c(model, tmp_path / "net.c", dtype=dtype)
    ref = model.predict_proba(X) if name in CLASSIFIED else model.predict(X)
    comp = run_c(tmp_path / "net.c", X, ref.shape[1], dtype)
    np.testing.assert_allclose(comp, ref, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@needs_compiler
@pytest.mark.parametrize("members", [1, 4])
def test_a_fleet_is_one_function(members, tmp_path):
    fleet = Fleet([4, 5, 3], members=members, dtype="float64", seed=0)
    X = np.random.default_rng(0).normal(size=(20, 4))
    export.to_c(fleet, tmp_path / "net.c", dtype="float64")
    comp = run_c(tmp_path / "net.c", X, 3, "float64")
    np.testing.assert_allclose(comp, fleet.predict(X).mean(axis=0), rtol=1e-13, atol=1e-13)


def test_the_file_needs_nothing_but_math(tmp_path):
    model, _ = trainer("all", "float32")
    export.to_c(model, tmp_path / "net.c")
    source = (tmp_path / "net.c").read_text()
    assert re.findall("#include (.*)", source) == ["<math.h>", "<avr/pgmspace.h>"]
    assert "alloc" not in source
    assert "double" not in source
    export.to_c(model, tmp_path / "net.c", dtype="float64")
    assert "float" not in (tmp_path / "net.c").read_text()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"name": 3}, TypeError, "name must be text"),
        ({"name": "2nd"}, ValueError, "not begin with a digit; got '2nd'"),
        ({"name": "a;b"}, ValueError, "letters, digits and underscores"),
        ({"name": "é"}, ValueError, "letters, digits and underscores"),
        ({"dtype": "int8"}, ValueError, "dtype"),
    ],
)
def test_bad_arguments(options, error, words, tmp_path):
    with pytest.raises(error, match=words):
        export.to_c(trainer("shallow", "float32")[0], tmp_path / "net.c", **options)
    assert not list(tmp_path.iterdir())


def test_parameters_beyond_float32(tmp_path):
    model, _ = trainer("shallow", "float64")
    model.parameters[3] = 1e300
    with pytest.raises(ValueError, match=r"parameters w0.* 1e\+300, which is beyond float32"):
        export.to_c(model, tmp_path / "net.c")
    export.to_c(model, tmp_path / "net.c", dtype="float64")


@needs_compiler
def test_it_is_cpp_too(tmp_path):
    model, X = trainer("all", "float32")
    export.to_c(model, tmp_path / "net.c")
    comp = run_c(tmp_path / "net.c", X, 3, "float32", options=["-x", "c++", "-std=c++11"])
    np.testing.assert_allclose(comp, model.predict(X), rtol=2e-5, atol=2e-5)


CALLER = """\
#include "xor_net.h"
#include "xor_net.h"
#include <stdio.h>

int main(void)
{
    REAL x[XOR_NET_INPUTS] = {1, 2, 3, 4}, y[XOR_NET_OUTPUTS];
    xor_net_predict(x, y);
    printf("%d %d %.9g", XOR_NET_INPUTS, XOR_NET_OUTPUTS, (double)y[0]);
    return 0;
}
"""


@needs_compiler
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("language", ["c", "c++"])
def test_a_program_with_the_header(language, dtype, tmp_path):
    model, _ = trainer("shallow", dtype)
    export.to_c(
        model, tmp_path / "net.c", name="xor_net", dtype=dtype, header=tmp_path / "xor_net.h"
    )
    (tmp_path / "main.c").write_text(CALLER)
    real = "-DREAL=" + ("float" if dtype == "float32" else "double")
    steps = [
        ["-std=c99", "-Wall", "-Werror", "-pedantic", "-c", "net.c", "-o", "net.o"],
        ["-x", language, real, "-Wall", "-Werror", "-pedantic", "-c", "main.c", "-o", "main.o"],
        ["main.o", "net.o", "-o", "main", "-lm"],
    ]
    for step in steps:
        subprocess.run([COMPILER, *step], cwd=tmp_path, check=True, timeout=300)
    printed = subprocess.run(
        [tmp_path / "main"], capture_output=True, text=True, check=True, timeout=300
    ).stdout
    n_in, n_out, first = printed.split()
    assert (n_in, n_out) == ("4", "1")
    ref = model.predict(np.array([[1, 2, 3, 4]], dtype))
    np.testing.assert_allclose(float(first), ref[0, 0], rtol=1e-5)


def test_the_header_of_a_binary_classifier_counts_both_classes(tmp_path):
    model, _ = estimator("two", "float64")
    export.to_c(model, tmp_path / "net.c", header=tmp_path / "net.h")
    header = (tmp_path / "net.h").read_text()
    assert "#define NET_INPUTS 4\n#define NET_OUTPUTS 2\n" in header
    assert 'extern "C" {' in header


def test_the_header_is_another_file(tmp_path):
    model, _ = trainer("shallow", "float32")
    with pytest.raises(ValueError, match="header must be another file than path"):
        export.to_c(model, tmp_path / "net.c", header=tmp_path / "." / "net.c")
    assert not list(tmp_path.iterdir())


# Replaces an AVR's header, but doubles what is read from flash, so that each read is seen.
FLASH = """\
#define PROGMEM
static void memcpy_P(void *to, const void *from, unsigned long size)
{
    *(REAL *)to = 2 * *(const REAL *)from;
    (void)size;
}
"""


@needs_compiler
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["softmax", "rates", "gates", "scaled"])
def test_an_avr_reads_every_parameter_from_flash(name, dtype, tmp_path):
    model, X = trainer(name, dtype)
    model.parameters[:] /= 3
    export.to_c(model, tmp_path / "net.c", dtype=dtype)
    (tmp_path / "avr").mkdir()
    (tmp_path / "avr" / "pgmspace.h").write_text(FLASH)
    real = "-DREAL=" + ("float" if dtype == "float32" else "double")
    n_outputs = model.layer_sizes[-1]
    comp = run_c(
        tmp_path / "net.c", X, n_outputs, dtype, options=["-D__AVR__", real, f"-I{tmp_path}"]
    )
    model.parameters[:] *= 2
    np.testing.assert_allclose(comp, model.predict(X), rtol=1e-4, atol=1e-6)
    n_arrays = 2 * (len(model.layer_sizes) - 1)
    assert (tmp_path / "net.c").read_text().count("] net_FLASH = {") == n_arrays
