"""C files: a C compiler takes them without a warning, and they compute what the model does."""

from __future__ import annotations

import re

import numpy as np
import pytest

from exported import CLASSIFIED, NETS, TARGETS, TOLERANCE, estimator, needs_compiler, run_c, trainer
from jitprop import export


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


def test_the_file_needs_nothing_but_math(tmp_path):
    model, _ = trainer("all", "float32")
    export.to_c(model, tmp_path / "net.c")
    source = (tmp_path / "net.c").read_text()
    assert re.findall("#include (.*)", source) == ["<math.h>"]
    assert "alloc" not in source
    assert "double" not in source
    export.to_c(model, tmp_path / "net.c", dtype="float64")
    assert "float" not in (tmp_path / "net.c").read_text()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"name": 3}, TypeError, "name must be text"),
        ({"name": "2nd"}, ValueError, "no digit first; got '2nd'"),
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
