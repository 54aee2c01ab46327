"""Errors quote input shortened, on one line, with control characters escaped."""

from __future__ import annotations

import numpy as np
import pytest

from jitprop import (
    SGD,
    Adam,
    CrossEntropy,
    CustomLoss,
    EarlyStopping,
    Fleet,
    ReduceOnPlateau,
    Trainer,
    checks,
    export,
    metrics,
    sweep,
)
from jitprop.files import encoding
from jitprop.training import kept
from jitprop.training.kept import Kept

EVIL = "\x1b[2J\x9b\u202e\n" + "x" * 100_000
X, Y = np.zeros((4, 2)), np.zeros((4, 1))


def make(**settings):
    return Trainer([2, 1], **{"seed": 0, "backend": "numpy", **settings})


def square(a, y):
    return (a - y) ** 2


def slope(a, y):
    return 2 * (a - y)


def raises(*args):
    raise RuntimeError(EVIL)


def named(value):
    def metric(y, p):
        return value

    metric.__name__ = EVIL
    return metric


CALLS = {
    "activation": lambda: make(activation=EVIL),
    "activations": lambda: Trainer([2, 3, 1], activation=[EVIL]),
    "loss": lambda: make(loss=EVIL),
    "optimizer": lambda: make(optimizer=EVIL),
    "reduction": lambda: make(reduction=EVIL),
    "init": lambda: make(init=EVIL),
    "backend": lambda: make(backend=EVIL),
    "dtype": lambda: make(dtype=EVIL),
    "dtype of records": lambda: make(dtype=[(EVIL[-50:] + str(i), "f8") for i in range(500)]),
    "learning_rate": lambda: make(learning_rate=EVIL),
    "batch_size": lambda: make(batch_size=EVIL),
    "dropout": lambda: make(dropout=EVIL),
    "layer_sizes": lambda: Trainer([EVIL]),
    "layer_sizes of numbers": lambda: Trainer(list(range(10_000))),
    "weights": lambda: CrossEntropy(class_weight=[0.0] * 10_000),
    "a loss of one's own": lambda: make(
        loss=CustomLoss(square, slope, name=EVIL), output_activation="softmax"
    ),
    "a function that raises": lambda: CustomLoss(raises, slope),
    "X": lambda: make().fit(EVIL, Y, 1),
    "X of records": lambda: make().fit(np.zeros(4, [(EVIL[:200], "f8")] * 1), Y, 1),
    "ragged X": lambda: make().fit([[EVIL], [1, 2]], Y, 1),
    "callbacks": lambda: make().fit(X, Y, 1, callbacks=EVIL),
    "monitor": lambda: make().fit(X, Y, 1, callbacks=EarlyStopping(EVIL)),
    "schedule": lambda: ReduceOnPlateau(0.1, monitor=EVIL),
    "metrics": lambda: make().fit(X, Y, 1, metrics=EVIL),
    "metrics of one name": lambda: make().fit(X, Y, 1, metrics=[named(1.0), named(2.0)]),
    "a metric's value": lambda: make().fit(X, Y, 1, metrics=[named(EVIL)]),
    "metric": lambda: metrics.resolve([EVIL]),
    "custom_objects": lambda: Trainer.load("net", custom_objects=EVIL),
    "a custom object": lambda: encoding.decoded({"custom": EVIL}, {}),
    "a class": lambda: encoding.decoded({"class": EVIL}, {}),
    "a setting": lambda: encoding.decoded({"class": "Adam", EVIL: 1}, {}),
    "a state": lambda: kept.encoded([Kept("A", 1, {EVIL: {1}})]),
    "a trace": lambda: make().trace(X, Y)[EVIL],
    "C": lambda: export.to_c(make(), "net.c", name=EVIL),
    "momentum": lambda: Fleet([2, 1], members=2, optimizer=Adam(), momentum=EVIL),
    "nesterov": lambda: SGD(0.9, EVIL),
    "key": lambda: Fleet([2, 1], members=2)[EVIL],
    "grid": lambda: sweep(X, Y, {EVIL: []}, cv=2),
    "a value of a grid": lambda: sweep(
        X, Y, {"layer_sizes": [[2, 1]], "loss": [EVIL], "epochs": [1]}, cv=2
    ),
    "a name in a grid": lambda: sweep(X, Y, {"layer_sizes": [[2, 1]], EVIL: [1]}, cv=2),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_errors_are_short_and_printable(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((TypeError, ValueError, KeyError)) as caught:
        call()
    said = str(caught.value.args[0] if isinstance(caught.value, KeyError) else caught.value)
    assert len(said) < 1000
    assert said.isprintable()


def test_what_is_cut_and_what_is_written_out():
    assert checks.printable("a\x1b\n\u00e9\ud800") == "a\\x1b\\n\u00e9\\ud800"
    assert checks.printable("x" * 200) == "x" * 200
    assert checks.printable("x" * 201) == "x" * 197 + "..."
    assert checks.printable("x" * 201, None) == "x" * 201
    assert checks.quoted("it's\t") == '"it\'s\\t"'
    assert checks.shown(np.zeros((2, 2))) == "array([[0., 0.], [0., 0.]]) (ndarray)"
    assert checks.shown("a  b") == "'a  b' (str)"
