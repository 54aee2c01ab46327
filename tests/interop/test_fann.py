"""
Nets of FANN 2.2 (Debian's libfann2), beside FANN itself, called by ctypes.

FANN divides the learning rate by the number of samples in float32, in the library for float64 too.
With 8 samples the quotient has the same bits in both. It clips outputs to 0.01 ... 0.99 before it
computes slopes, and to -0.98 ... 0.98 for symmetric ones. These nets stay inside.
"""

from __future__ import annotations

import ctypes
from ctypes.util import find_library

import numpy as np
import pytest

from jitprop import convert

D = ctypes.c_double
SIGMOID, SYMMETRIC, LINEAR, ELLIOT_SYMMETRIC = 3, 5, 0, 11
INCREMENTAL, BATCH = 0, 1
X = np.random.default_rng(0).normal(size=(8, 3))
Y = np.random.default_rng(1).uniform(0.2, 0.8, (8, 2))


@pytest.fixture(scope="module")
def library():
    found = find_library("doublefann")
    if found is None:
        pytest.skip("FANN for float64 is not installed (on Debian: apt install libfann2)")
    made = ctypes.CDLL(found)
    made.fann_create_standard_array.restype = ctypes.c_void_p
    made.fann_create_from_file.restype = ctypes.c_void_p
    made.fann_read_train_from_file.restype = ctypes.c_void_p
    made.fann_run.restype = ctypes.POINTER(D)
    for name in ("hidden", "output"):
        getattr(made, f"fann_set_activation_steepness_{name}").argtypes = [ctypes.c_void_p, D]
    made.fann_set_learning_rate.argtypes = [ctypes.c_void_p, ctypes.c_float]
    made.fann_set_learning_momentum.argtypes = [ctypes.c_void_p, ctypes.c_float]
    made.fann_randomize_weights.argtypes = [ctypes.c_void_p, D, D]
    made.fann_train_epoch.restype = ctypes.c_float
    return made


def created(library, kinds, steepness, sizes=(3, 4, 2), seed=0):
    """Return a net of FANN; it draws its weights from rand() of the C library."""
    ctypes.CDLL(None).srand(seed)
    n = len(sizes)
    ann = ctypes.c_void_p(library.fann_create_standard_array(n, (ctypes.c_uint * n)(*sizes)))
    library.fann_randomize_weights(ann, -0.3, 0.3)
    library.fann_set_activation_function_hidden(ann, kinds[0])
    library.fann_set_activation_function_output(ann, kinds[1])
    library.fann_set_activation_steepness_hidden(ann, steepness[0])
    library.fann_set_activation_steepness_output(ann, steepness[1])
    library.fann_set_train_error_function(ann, 0)
    return ann


def outputs(library, ann, n=2):
    made = []
    for x in X:
        found = library.fann_run(ann, (D * len(x))(*x))
        made.append([found[j] for j in range(n)])
    return np.array(made)


def read(library, ann, path, **settings):
    assert library.fann_save(ann, str(path).encode()) == 0
    return convert.from_fann(path, **settings)


NETS = [
    ([SIGMOID, SIGMOID], (0.5, 0.5)),
    ([SIGMOID, SIGMOID], (0.8, 0.6)),
    ([SYMMETRIC, SYMMETRIC], (0.7, 0.7)),
    ([SYMMETRIC, LINEAR], (1.0, 1.0)),
    ([SYMMETRIC, LINEAR], (0.5, 0.5)),
    ([ELLIOT_SYMMETRIC, LINEAR], (0.6, 0.5)),
    ([LINEAR, ELLIOT_SYMMETRIC], (0.6, 0.5)),
]


@pytest.mark.parametrize(("kinds", "steepness"), NETS)
@pytest.mark.parametrize("algorithm", [BATCH, INCREMENTAL])
def test_outputs_and_20_epochs_are_those_of_fann(library, tmp_path, kinds, steepness, algorithm):
    ann = created(library, kinds, steepness)
    library.fann_set_training_algorithm(ann, algorithm)
    library.fann_set_learning_rate(ann, 0.25)
    library.fann_set_learning_momentum(ann, 0.5)
    trainer = read(library, ann, tmp_path / "before.net")
    np.testing.assert_allclose(trainer.predict(X), outputs(library, ann), rtol=0, atol=1e-12)

    data = tmp_path / "samples.data"
    rows = [" ".join(map(repr, row.tolist())) for pair in zip(X, Y, strict=True) for row in pair]
    data.write_text("\n".join(["8 3 2", *rows]))
    samples = ctypes.c_void_p(library.fann_read_train_from_file(str(data).encode()))
    for _ in range(20):
        library.fann_train_epoch(ann, samples)
    trainer.fit(X, Y, epochs=20)

    expected = read(library, ann, tmp_path / "after.net").parameters
    assert np.abs(trainer.parameters - expected).max() < 1e-12 * np.abs(expected).max()
    np.testing.assert_allclose(trainer.predict(X), outputs(library, ann), rtol=0, atol=1e-12)


def test_the_file_that_fann_creates_is_refused_by_name_or_read_as_smooth(library, tmp_path):
    ann = ctypes.c_void_p(library.fann_create_standard_array(3, (ctypes.c_uint * 3)(3, 4, 2)))
    library.fann_randomize_weights(ann, D(-0.3), D(0.3))
    with pytest.raises(ValueError, match="FANN_SIGMOID_STEPWISE in layer 1"):
        read(library, ann, tmp_path / "net.net", optimizer="rprop", loss="half_squared_error")
    trainer = read(
        library,
        ann,
        tmp_path / "net.net",
        stepwise="smooth",
        optimizer="rprop",
        loss="half_squared_error",
    )
    assert np.abs(trainer.predict(X) - outputs(library, ann)).max() < 0.05
    trainer.fit(X, Y, epochs=5)


def test_three_layers_of_weights(library, tmp_path):
    ann = created(library, [SYMMETRIC, LINEAR], (0.7, 0.5), sizes=(3, 5, 4, 1))
    library.fann_set_training_algorithm(ann, BATCH)
    trainer = read(library, ann, tmp_path / "net.net")
    np.testing.assert_allclose(trainer.predict(X), outputs(library, ann, 1), rtol=0, atol=1e-12)


def test_a_fixed_point_file_is_refused(library, tmp_path):
    ann = created(library, [SIGMOID, SIGMOID], (0.5, 0.5))
    library.fann_save_to_fixed(ann, str(tmp_path / "net.net").encode())
    with pytest.raises(ValueError, match="is of the fixed-point library"):
        convert.from_fann(tmp_path / "net.net")


def test_shortcuts_are_refused(library, tmp_path):
    library.fann_create_shortcut_array.restype = ctypes.c_void_p
    ann = ctypes.c_void_p(library.fann_create_shortcut_array(3, (ctypes.c_uint * 3)(3, 4, 2)))
    with pytest.raises(ValueError, match="has shortcuts"):
        read(library, ann, tmp_path / "net.net")
