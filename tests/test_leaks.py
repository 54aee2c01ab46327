"""Repeated calls do not leak memory."""

from __future__ import annotations

import copy
import gc
import pickle
import tracemalloc
import warnings

import numpy as np
import pytest

from jitprop import (
    Checkpoint,
    CustomLoss,
    DivergenceError,
    EarlyStopping,
    Fleet,
    Trainer,
    check_gradients,
)
from jitprop.sklearn import MLPClassifier, MLPRegressor

WARM, TIMES = 20, 100
KEPT = 1500
"""Bytes per call. NumPy and Python keep some small blocks and objects for later: about 600 bytes a
call at first, then fewer and fewer. A leaked net would take 5,000."""

X = np.random.default_rng(0).random((20, 3))
Y = np.random.default_rng(1).random((20, 1))
LABELS = (Y[:, 0] > 0.5).astype(int)


def new(**settings):
    return Trainer([3, 4, 1], seed=0, **settings)


def diverges():
    with pytest.raises(DivergenceError):
        new(output_activation="identity", learning_rate=1e200).fit(X, Y, 3)


def refused():
    with pytest.raises(ValueError, match="X must have 3 columns"):
        new().fit(X[:, :2], Y, 1)


def interrupted():
    def callback(trainer, epoch, logs):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        new().fit(X, Y, 3, callbacks=callback)


def saved(folder):
    net = new(optimizer="adam")
    net.fit(X, Y, 2, callbacks=[EarlyStopping("loss"), Checkpoint(folder / "net")])
    Trainer.load(folder / "net").fit(X, Y, epochs_total=4, callbacks=EarlyStopping("loss"))


def fleets(folder):
    fleet = Fleet([3, 4, 1], members=5, seed=range(5))
    fleet.fit(X, Y, 2, validation_data=(X, Y))
    fleet.save(folder / "fleet")
    Fleet.load(folder / "fleet")[1:3].predict(X)


def estimators():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they do not converge
        MLPClassifier((4,), max_iter=2, random_state=0).fit(X, LABELS).predict_proba(X)
        model = MLPRegressor(hidden_layer_sizes=(4,), max_iter=2, random_state=0)
        model.fit(X, Y[:, 0])
        pickle.loads(pickle.dumps(model)).partial_fit(X, Y[:, 0])


def own():
    loss = CustomLoss(lambda a, y: (a - y) ** 2, lambda a, y: 2 * (a - y), name="mine")
    new(loss=loss).fit(X, Y, 1)


KEPT_NET = new(history_limit=5)
LOOPS = {
    "fit": lambda folder: new().fit(X, Y, 3),
    "blocks": lambda folder: Trainer([3, 50, 40, 1], seed=0, batch_size=8).fit(X, Y, 2),
    "float32": lambda folder: new(dtype="float32").fit(X, Y, 2, validation_fraction=0.2),
    "reference": lambda folder: new(backend="numpy").fit(X, Y, 2),
    "partial_fit": lambda folder: KEPT_NET.partial_fit(X, Y),
    "predict": lambda folder: (KEPT_NET.predict(X), KEPT_NET.evaluate(X, Y)),
    "gradients": lambda folder: (KEPT_NET.gradients(X, Y), KEPT_NET.trace(X[0], Y[0])),
    "check": lambda folder: check_gradients(KEPT_NET, X, Y),
    "stream": lambda folder: new().fit([(X[:7], Y[:7]), (X[7:], Y[7:])], epochs=2),
    "copies": lambda folder: (copy.deepcopy(KEPT_NET), pickle.loads(pickle.dumps(KEPT_NET))),
    "divergence": lambda folder: diverges(),
    "refusal": lambda folder: refused(),
    "interruption": lambda folder: interrupted(),
    "files": saved,
    "fleets": fleets,
    "estimators": lambda folder: estimators(),
    "own loss": lambda folder: own(),
}


@pytest.mark.long
@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
def test_a_loop_keeps_nothing(loop, tmp_path):
    for _ in range(WARM):
        loop(tmp_path)
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(WARM):
            loop(tmp_path)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(TIMES):
            loop(tmp_path)
        gc.collect()
        kept = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert kept < KEPT * TIMES
