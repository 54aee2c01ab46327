"""The history of a trainer: read-only, joined over fits, fast to append to, and limited."""

from __future__ import annotations

import copy
import pickle
import tracemalloc

import numpy as np
import pytest

from jitprop import DivergenceError, EarlyStopping, History, Trainer
from jitprop.training import history
from jitprop.training.history import Course, missing

X = np.random.default_rng(0).normal(size=(6, 2))
Y = np.random.default_rng(1).uniform(0.1, 0.9, size=(6, 1))


def make(**settings):
    return Trainer([2, 3, 1], **{"seed": 0, "backend": "numpy", **settings})


def losses(trainer):
    return trainer.history.loss.tolist()


# Read-only.


@pytest.mark.parametrize("whose", ["trainer", "fit", "error", "loaded"])
def test_nobody_writes_to_it(whose, tmp_path):
    trainer = make()
    made = trainer.fit(X, Y, 3, validation_fraction=0.3, metrics="mse")
    made = {
        "trainer": lambda: trainer.history,
        "fit": lambda: made,
        "error": lambda: DivergenceError(3, made, 3, 0.1).history,
        "loaded": lambda: loaded(trainer, tmp_path).history,
    }[whose]()
    for name, column in made.columns.items():
        with pytest.raises(ValueError, match="read-only"):
            column[:] = -1
        assert trainer.history.columns[name].min() > 0
    made.metrics.clear()
    assert "mse" in trainer.history.metrics
    mine = made.loss.copy()
    mine[:] = -1


def loaded(trainer, folder):
    trainer.save(folder / "net")
    return Trainer.load(folder / "net")


def test_a_history_of_ones_own_leaves_its_arrays_alone():
    loss = np.ones(3)
    made = History(loss, missing(3), {"mse": loss}, loss, loss)
    loss[0] = 2
    assert made.loss[0] == made.metrics["mse"][0] == 2


def test_what_was_seen_stays_as_it_was_when_epochs_are_taken_back():
    trainer, seen = make(learning_rate=5.0, output_activation="identity"), []

    def look(trainer, epoch, logs):
        made = trainer.history
        seen.append((made, made.loss.tolist()))

    trainer.fit(X, Y, 2, callbacks=look)
    with pytest.raises(DivergenceError) as caught:
        trainer.fit(X, Y, 10_000, callbacks=look)
    error = caught.value.history
    seen += [(error, error.loss.tolist())]
    assert max(len(made.loss) for made, _ in seen) > trainer.epochs_trained
    trainer.learning_rate = 1e-3
    trainer.fit(X, Y, 50)
    for made, numbers in seen:
        assert made.loss.tolist() == numbers


@pytest.mark.parametrize("kept", [0, 3])
def test_what_a_fit_that_fails_brought_is_gone(kept):
    trainer = make()
    trainer.fit(X, Y, 2)

    def fails(trainer, epoch, logs):
        assert list(trainer.history.metrics) == ["mse", "validation_mse"]
        if epoch == 2 + kept:
            raise KeyError

    def metric(y, p):
        if trainer.epochs_trained == 3 + kept:
            raise KeyError
        return 0.0

    metric.__name__ = "mse"
    with pytest.raises(KeyError):
        trainer.fit(X, Y, 9, metrics=[metric], callbacks=fails, validation_fraction=0.3)
    made = trainer.history
    assert len(made.loss) == trainer.epochs_trained == 2 + kept
    assert list(made.metrics) == (["mse", "validation_mse"] if kept else [])
    assert np.isnan(made.validation_loss[:2]).all()


def test_columns_that_some_fits_lack():
    trainer = make()
    parts = [
        trainer.fit(X, Y, n, metrics=metrics, validation_fraction=fraction)
        for n, metrics, fraction in
        [(2, [], None), (1, ["mae"], None), (3, ["mse"], 0.3), (2, [], None), (1, ["mae"], 0.5)]
    ]  # fmt: skip
    made = trainer.history
    assert list(made.metrics) == ["mae", "mse", "validation_mse", "validation_mae"]
    at = 0
    for part in parts:
        n = len(part.loss)
        for name, column in made.metrics.items():
            np.testing.assert_array_equal(
                column[at : at + n], part.metrics.get(name, np.full(n, np.nan))
            )
        for name in ("loss", "validation_loss", "learning_rate", "seconds"):
            np.testing.assert_array_equal(getattr(made, name)[at : at + n], getattr(part, name))
        at += n


# The last number.


def test_the_last_number_takes_no_time_that_grows():
    """Neither reading it nor one more epoch copies the earlier numbers."""
    trainer = make()
    past = np.ones(100_000)
    trainer._model.course = Course(None, History(past, past, {}, past, past))
    trainer.partial_fit(X, Y)
    tracemalloc.start()
    try:
        for _ in range(3):
            trainer.partial_fit(X, Y)
            assert trainer.history.loss[-1] > 0
        assert tracemalloc.get_traced_memory()[1] < 50_000
    finally:
        tracemalloc.stop()


def test_a_million_parts_would_be_copied_twenty_times(monkeypatch):
    course, zeros, made = Course(), history.cast.zeros, []
    monkeypatch.setattr(history.cast, "zeros", lambda *args: made.append(args) or zeros(*args))
    for i in range(1000):
        record = course.begin(1, [])
        record.loss[0], record.done = i, 1
        course.end()
        assert course.history().loss[-1] == i
    assert course.history().loss.tolist() == list(range(1000))
    assert len(made) <= 3 * 11
    assert sum(shape[0] for _, shape, _ in made) < 3 * 4 * 1000


# A limit.


@pytest.mark.parametrize("limit", [1, 2, 7])
def test_a_limit_keeps_the_last_epochs(limit, tmp_path):
    ref, comp = make(), make(history_limit=limit)
    for epochs in (1, 1, 3, 1, 20, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2):
        whole = ref.fit(X, Y, epochs, validation_fraction=0.3)
        part = comp.fit(X, Y, epochs, validation_fraction=0.3)
        assert part.loss.tolist() == whole.loss.tolist()
        assert losses(comp) == losses(ref)[-limit:]
        assert (
            comp.history.validation_loss.tolist() == ref.history.validation_loss[-limit:].tolist()
        )
    assert comp.epochs_trained == ref.epochs_trained
    assert comp.parameters.tobytes() == ref.parameters.tobytes()
    copies = [loaded(comp, tmp_path), pickle.loads(pickle.dumps(comp)), copy.deepcopy(comp)]
    for each in copies:
        assert losses(each) == losses(comp)
        each.fit(X, Y, 2)
    ref.fit(X, Y, 2)
    for each in copies:
        assert losses(each) == losses(ref)[-limit:]
        assert each.epochs_trained == ref.epochs_trained


def test_with_a_limit_nothing_grows(tmp_path):
    sizes = []
    trainer = make(history_limit=10)
    for n in (50, 350):
        while trainer.epochs_trained < n:
            trainer.partial_fit(X, Y)
        columns = trainer._model.course._now.columns.values()
        trainer.save(tmp_path / "net")
        room = sum(column.base.nbytes if column.base is not None else column.nbytes
                   for column in columns)  # fmt: skip
        sizes.append((room, len(pickle.dumps(trainer)), (tmp_path / "net").stat().st_size))
    assert sizes[0][0] == sizes[1][0] <= 3 * 8 * 21
    for before, after in zip(*(size[1:] for size in sizes), strict=True):
        assert abs(before - after) < 200  # numbers of different lengths
    trainer.fit(X, Y, 100)
    assert (
        sum(column.nbytes for column in trainer._model.course._now.columns.values()) <= 3 * 8 * 21
    )


def test_within_a_fit_a_limit_holds_too():
    trainer, seen = make(history_limit=3), []
    trainer.fit(X, Y, 6, callbacks=lambda model, *_: seen.append(len(model.history.loss)))
    assert seen == [1, 2, 3, 3, 3, 3]


def test_early_stopping_does_not_need_the_history():
    def stopped(**settings):
        trainer, stopping = make(learning_rate=3.0, **settings), EarlyStopping("loss", patience=3)
        trainer.fit(X, Y, 40, callbacks=stopping)
        trainer.fit(X, Y, epochs_total=60, callbacks=stopping)
        return trainer

    ref, comp = stopped(), stopped(history_limit=1)
    assert ref.parameters.tobytes() == comp.parameters.tobytes()


def test_bad_limits():
    for value, error in ((0, ValueError), (-1, ValueError), (2.5, TypeError), (True, TypeError)):
        with pytest.raises(error, match="history_limit must be an integer of at least 1"):
            make(history_limit=value)
