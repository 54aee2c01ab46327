"""A resumed fit equals an uninterrupted one, bit for bit, and so do its callbacks."""

from __future__ import annotations

import copy
import itertools
import pickle
import re
import signal
import sys
from functools import partial

import numpy as np
import pytest

from jitprop import (
    Callback,
    Checkpoint,
    CheckpointError,
    DivergenceError,
    EarlyStopping,
    ReduceOnPlateau,
    Trainer,
)
from jitprop.files import sealed
from jitprop.training import callback_list, callbacks
from nets import data

EPOCHS = 30


class PowerError(Exception):
    """The error that ends a fit in these tests."""


@pytest.fixture(scope="module")
def samples():
    rng = np.random.default_rng(0)
    X, y = data([3, 2], 24, "half_squared_error", False, rng)
    return X[:12], y[:12], (X[12:], y[12:])


def make(backend="numpy", **settings):
    settings = {
        "optimizer": "adam",
        "learning_rate": ReduceOnPlateau(0.3, factor=0.5, patience=2, min_delta=1e-5),
        "batch_size": 5,
        "seed": 5,
        **settings,
    }
    return Trainer([3, 12, 2], backend=backend, **settings)


def train(trainer, samples, stopping, *others, epochs_total=EPOCHS, first=(), **arguments):
    """Train to the end, unless a callback ends the fit."""
    X, y, held_out = samples
    return trainer.fit(
        X,
        y,
        epochs_total=epochs_total,
        validation_data=held_out,
        metrics="mae",
        callbacks=[*first, stopping, *others],
        **arguments,
    )


def facts(trainer, stopping):
    """Return everything that must be the same, bit for bit."""
    columns = {k: v.tobytes() for k, v in trainer.history.columns.items() if k != "seconds"}
    return {
        "parameters": trainer.parameters.tobytes(),
        "slots": trainer._model.state.slots.tobytes(),
        "random": trainer._model.state.rng.bit_generator.state,
        "plateau": trainer._model.state.plateau,
        "epochs": trainer.epochs_trained,
        "best": (stopping.best, stopping.best_epoch, stopping.stopped),
        **columns,
    }


def fails_at(epoch):
    def fail(trainer, now, logs):
        if now == epoch:
            raise PowerError

    return fail


def stops_at(epoch):
    def stop(trainer, now, logs):
        if now == epoch:
            trainer.stop()

    return stop


# Ways in which a fit ends after an epoch; each returns the trainer to resume.


def killed_after_a_checkpoint(epoch, samples, path, trainer, stopping):
    with pytest.raises(PowerError):
        train(trainer, samples, stopping, Checkpoint(path), fails_at(epoch))
    return Trainer.load(path)


def killed_after_a_checkpoint_that_came_first(epoch, samples, path, trainer, stopping):
    """The checkpoint was saved before EarlyStopping saw the epoch."""
    with pytest.raises(PowerError):
        train(trainer, samples, stopping, first=[Checkpoint(path), fails_at(epoch)])
    return Trainer.load(path)


def saved_after_an_error(epoch, samples, path, trainer, stopping):
    with pytest.raises(PowerError):
        train(trainer, samples, stopping, first=[fails_at(epoch)])
    trainer.save(path)
    return Trainer.load(path)


def interrupted_in_the_same_process(epoch, samples, path, trainer, stopping):
    with pytest.raises(PowerError):
        train(trainer, samples, stopping, fails_at(epoch))
    return trainer


def stopped(epoch, samples, path, trainer, stopping):
    train(trainer, samples, stopping, Checkpoint(path, every=1000), stops_at(epoch))
    return Trainer.load(path)


def ended(epoch, samples, path, trainer, stopping):
    train(trainer, samples, stopping, epochs_total=epoch + 1)
    return pickle.loads(pickle.dumps(trainer))


def pickled_during_the_fit(epoch, samples, path, trainer, stopping):
    made = []

    def pickles(trainer, now, logs):
        made.append(pickle.dumps(trainer))

    train(trainer, samples, stopping, pickles, epochs_total=epoch + 1)
    return pickle.loads(made[-1])


def copied_before_early_stopping_was_told(epoch, samples, path, trainer, stopping):
    made = []

    def copies(trainer, now, logs):
        made.append(copy.deepcopy(trainer))

    train(trainer, samples, stopping, first=[copies], epochs_total=epoch + 1)
    return made[-1]


ENDS = [
    killed_after_a_checkpoint,
    killed_after_a_checkpoint_that_came_first,
    saved_after_an_error,
    interrupted_in_the_same_process,
    stopped,
    ended,
    pickled_during_the_fit,
    copied_before_early_stopping_was_told,
]


@pytest.fixture(scope="module", params=[True, False], ids=["restores", "keeps the last"])
def restore_best(request):
    return request.param


def stopping_of(restore_best):
    return EarlyStopping(patience=6, restore_best=restore_best)


def uninterrupted(samples, restore_best, backend="numpy"):
    trainer, stopping = make(backend), stopping_of(restore_best)
    train(trainer, samples, stopping)
    assert 8 < stopping.best_epoch + 6 == trainer.epochs_trained - 1 < EPOCHS - 4
    assert len(set(trainer.history.learning_rate)) > 3
    return facts(trainer, stopping)


@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_a_fit_that_ended_after_any_epoch_is_resumed_to_the_bit(
    end, every, samples, restore_best, tmp_path
):
    ref = uninterrupted(samples, restore_best)
    for epoch in [*range(0, ref["epochs"] - 1, every), ref["epochs"] - 1]:
        trainer = end(epoch, samples, tmp_path / "net", make(), stopping_of(restore_best))
        assert trainer.epochs_trained == epoch + 1
        stopping = stopping_of(restore_best)
        history = train(trainer, samples, stopping)
        assert facts(trainer, stopping) == ref, epoch
        assert len(history.loss) == ref["epochs"] - epoch - 1


def test_it_may_be_resumed_in_any_number_of_parts(samples, restore_best, backend, tmp_path):
    ref, path = uninterrupted(samples, restore_best, backend), tmp_path / "net"
    trainer = make(backend)
    for total in range(1, EPOCHS + 1):
        stopping = stopping_of(restore_best)
        train(trainer, samples, stopping, epochs_total=total)
        trainer.save(path)
        trainer = Trainer.load(path)
    assert facts(trainer, stopping) == ref


def test_with_a_total_that_is_reached_nothing_is_trained(samples, backend):
    pytest.importorskip("tqdm")
    trainer, stopping = make(backend), stopping_of(True)
    train(trainer, samples, stopping, epochs_total=5)
    ref = facts(trainer, stopping)
    for total in (5, 3):
        history = train(trainer, samples, stopping, epochs_total=total, progress=True)
        assert repr(history) == "History(0 epochs)"
        assert facts(trainer, stopping) == ref
    X, y, _ = samples
    trainer.learning_rate = 0.1
    assert len(trainer.fit(X, y, epochs_total=5).loss) == 0
    assert len(trainer.fit([(X, y)], epochs_total=5).loss) == 0
    assert trainer.fit(X, y, epochs_total=7, order=[range(12)] * 7).loss.shape == (2,)


def test_rows_of_an_order_are_those_of_all_epochs(samples, backend):
    X, y, _ = samples
    order = np.array([np.random.default_rng(i).permutation(12) for i in range(6)])
    ref, comp = make(backend, learning_rate=0.1), make(backend, learning_rate=0.1)
    ref.fit(X, y, 6, order=order)
    for total in (2, 6, 6):
        comp.fit(X, y, epochs_total=total, order=order[:total])
    np.testing.assert_array_equal(comp.parameters, ref.parameters)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, TypeError, r"epochs must be an integer .*, as in fit\(X, y, epochs=100\); got None"),
        ({"epochs": 2, "epochs_total": 3}, ValueError, "epochs and epochs_total exclude each"),
        ({"epochs_total": 0}, ValueError, "epochs_total must be an integer of at least 1; got 0"),
        ({"epochs_total": 2.5}, TypeError, "epochs_total must be an integer of at least 1"),
    ],
)
def test_bad_numbers_of_epochs_are_refused(arguments, error, message, samples):
    X, y, _ = samples
    with pytest.raises(error, match=message):
        make(learning_rate=0.1).fit(X, y, **arguments)


def test_epochs_count_anew_and_total_does_not(samples):
    trainer, stopping = make(), stopping_of(True)
    train(trainer, samples, stopping, epochs_total=4)
    X, y, held_out = samples
    trainer.fit(X, y, 1, validation_data=held_out, callbacks=stopping)
    assert stopping.best_epoch == 4
    with pytest.raises(ValueError, match="a ReduceOnPlateau, monitors"):
        trainer.fit(X, y, 1)
    assert len(trainer._model.kept) == 1, "it is as before"
    trainer.fit(X, y, 1, validation_data=held_out)  # another fit has its own callbacks
    assert len(trainer._model.kept) == 0


def test_parameters_that_were_set_meanwhile_are_trained_on(samples):
    trainer, stopping = make(), stopping_of(True)
    train(trainer, samples, stopping)
    ref = copy.deepcopy(trainer)
    for net in (trainer, ref):
        net.set_parameters([W * 0.5 for W in net.weights], net.biases)
    train(trainer, samples, stopping, epochs_total=EPOCHS + 1)
    assert stopping.best_epoch >= ref.epochs_trained, "they count anew"
    X, y, held_out = samples
    ref.fit(X, y, EPOCHS + 1 - ref.epochs_trained, validation_data=held_out, metrics="mae",
            callbacks=stopping_of(True))  # fmt: skip
    np.testing.assert_array_equal(trainer.parameters, ref.parameters)


def test_another_monitor_is_refused_and_the_trainer_is_as_before(samples):
    trainer = make()
    train(trainer, samples, stopping_of(True), epochs_total=12)
    before, kept = trainer.parameters.copy(), trainer._model.kept
    message = "monitors 'loss', lower being better, and the fit to be resumed had 'validation_loss'"
    with pytest.raises(ValueError, match=message):
        train(trainer, samples, EarlyStopping("loss"))
    np.testing.assert_array_equal(trainer.parameters, before)
    assert trainer._model.kept is kept
    # The first of two callbacks restores its state, and undoes this when the second is refused.
    twice = make()
    both = [EarlyStopping(patience=9), EarlyStopping("mae", patience=9)]
    train(twice, samples, *both, epochs_total=12)
    before = twice.parameters.copy()
    with pytest.raises(ValueError, match="the fit to be resumed had 'mae'"):
        train(twice, samples, EarlyStopping(patience=9), EarlyStopping("loss", patience=9))
    np.testing.assert_array_equal(twice.parameters, before)


def test_more_patience_resumes_a_fit_that_stopped(samples):
    trainer, ref = make(), make()
    train(ref, samples, EarlyStopping(patience=9))
    train(trainer, samples, EarlyStopping(patience=6))
    assert trainer.epochs_trained < ref.epochs_trained
    train(trainer, samples, EarlyStopping(patience=9))
    np.testing.assert_array_equal(trainer.parameters, ref.parameters)
    assert trainer.epochs_trained == ref.epochs_trained


# The best epoch, however a fit ends.


def test_an_error_leaves_the_best_epoch(samples, backend):
    trainer, ref, stopping = make(backend), make(backend), stopping_of(True)

    def interrupts(trainer, epoch, logs):
        if epoch == stopping.best_epoch + 3:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as caught:
        train(trainer, samples, stopping, interrupts)
    best = stopping.best_epoch
    assert caught.value.__notes__ == [f"EarlyStopping put the parameters of epoch {best} back"]
    X, y, held_out = samples
    ref.fit(X, y, best + 1, validation_data=held_out)
    np.testing.assert_array_equal(trainer.parameters, ref.parameters)
    assert trainer.evaluate(*held_out) == stopping.best
    assert trainer.epochs_trained == len(trainer.history.loss) == best + 4


def test_divergence_leaves_the_best_epoch(samples, backend):
    X, y, held_out = samples
    settings = {"output_activation": "identity", "activation": "relu"}
    settings |= {"optimizer": "sgd", "learning_rate": 0.1}
    trainer, ref = make(backend, **settings), make(backend, **settings)
    stopping = EarlyStopping(patience=50)

    def explodes(trainer, epoch, logs):
        if epoch == 4:
            trainer.learning_rate = 1e6

    with pytest.raises(DivergenceError):
        trainer.fit(X, y, 50, validation_data=held_out, callbacks=[stopping, explodes])
    ref.fit(X, y, stopping.best_epoch + 1)
    assert stopping.best_epoch <= 4
    np.testing.assert_array_equal(trainer.parameters, ref.parameters)
    assert trainer.epochs_trained > stopping.best_epoch + 1


def interrupted_at_line(number, files, run):
    """Run with a KeyboardInterrupt before the given executed line; return whether it was raised."""
    left = number

    def line(frame, event, value):
        nonlocal left
        if event == "line":
            left -= 1
            if left == 0:
                sys.settrace(None)
                raise KeyboardInterrupt
        return line

    def call(frame, event, value):
        return line if frame.f_code.co_filename in files else None

    sys.settrace(call)
    try:
        run()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)
    return False


@pytest.mark.skipif(sys.gettrace() is not None, reason="another tracer is at work")
@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.long)])
def test_ctrl_c_at_any_line_of_the_callbacks_loses_nothing(samples, every):
    files = {callbacks.__file__, callback_list.__file__}
    total, ref, stopping = 9, make(), EarlyStopping(patience=3)
    train(ref, samples, stopping, epochs_total=total)
    expected, best = facts(ref, stopping), stopping.best_epoch
    assert 0 < best < total - 1
    for number in itertools.count(1, every):
        trainer, stopping = make(), EarlyStopping(patience=3)
        run = partial(train, trainer, samples, stopping, epochs_total=total)
        came = interrupted_at_line(number, files, run)
        if not came:
            break
        comp = EarlyStopping(patience=3)
        train(trainer, samples, comp, epochs_total=total)
        assert facts(trainer, comp) == expected, number
    assert number > 100


# Custom callbacks.


class Counts(Callback):
    """A callback whose state has values of every kind."""

    def __init__(self):
        self.seen, self.sums = [], np.zeros(2)

    def on_fit_begin(self, trainer):
        self.seen, self.sums = [], np.zeros(2)

    def on_epoch_end(self, trainer, epoch, logs):
        self.seen.append((epoch, logs["loss"], logs.get("validation_loss"), logs["mae"]))
        self.sums = self.sums + np.array([epoch, 1])

    def get_state(self):
        return {
            "seen": self.seen,
            "sums": self.sums,
            "many": [{"nan": np.nan, "a": np.float32([1, 2]), "b": None}, [-np.inf, True, "nan"]],
            "number": np.int64(3),
        }

    def set_state(self, trainer, state):
        self.seen, self.sums = [tuple(row) for row in state["seen"]], state["sums"]
        self.state = state


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_callbacks_of_the_users_are_resumed(end, samples, tmp_path):
    ref, comp = Counts(), Counts()
    train(make(), samples, ref)
    trainer = end(7, samples, tmp_path / "net", make(), Counts())
    train(trainer, samples, comp)
    assert comp.seen == ref.seen
    assert comp.sums.tolist() == ref.sums.tolist() == [sum(range(EPOCHS)), EPOCHS]
    (first, second), number = comp.state["many"], comp.state["number"]
    assert np.isnan(first["nan"])
    assert first["a"].tolist() == [1, 2]
    assert first["a"].dtype == np.float32
    assert (first["b"], list(second), number) == (None, [-np.inf, True, "nan"], 3)


def test_what_is_kept_is_a_copy(samples):
    class Writes(Counts):
        def on_epoch_end(self, trainer, epoch, logs):
            self.sums += 1

    writes, trainer = Writes(), make()
    train(trainer, samples, writes, epochs_total=3)
    writes.sums[:] = -7
    assert trainer._model.kept[0].state["sums"].tolist() == [3, 3]


def test_states_go_to_callbacks_of_their_class_in_order(samples, tmp_path):
    trainer = make()
    both = [EarlyStopping(patience=20), EarlyStopping("mae", patience=25)]
    train(trainer, samples, both[0], Counts(), both[1], epochs_total=6)
    again = [EarlyStopping("mae", patience=25), Counts(), EarlyStopping(patience=20)]
    train(trainer, samples, again[2], again[0], again[1], epochs_total=6)
    assert [(s.best, s.best_epoch) for s in both] == [
        (s.best, s.best_epoch) for s in (again[2], again[0])
    ]
    assert len(again[1].seen) == 6


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        ([1], r"a dict of str to .*; what it returned is \[1\]"),
        ({"a": [{"b": {3}}]}, r"it\['a'\]\[0\]\['b'\] is \{3"),
        ({"a": np.arange(3)}, r"float32 or float64 arrays, .*; it\['a'\] is array"),
        ({"a": {3: 4}}, r"it\['a'\] is {3: 4}"),
    ],
)
def test_what_cannot_be_saved_is_refused_before_the_first_epoch(state, shown, samples):
    class Keeps(Callback):
        def get_state(self):
            return state

    trainer = make()
    with pytest.raises(TypeError, match=f"get_state of .*Keeps must return .*{shown}"):
        train(trainer, samples, Keeps())
    assert trainer.epochs_trained == 0


class Notes(Callback):
    def __init__(self, name, notes, fails=False):
        self.name, self.notes, self.fails = name, notes, fails

    def on_fit_error(self, trainer, error):
        self.notes.append((self.name, type(error)))
        if self.fails:
            raise RuntimeError("mine")


def test_all_callbacks_are_told_of_an_error(samples):
    notes, trainer = [], make()
    with pytest.raises(RuntimeError, match="mine"):
        train(trainer, samples, Notes("a", notes, fails=True), Notes("b", notes), fails_at(2))
    assert notes == [("a", PowerError), ("b", PowerError)]
    assert trainer.epochs_trained == len(trainer.history.loss) == 3
    with pytest.raises(FileNotFoundError):
        train(trainer, samples, Notes("c", notes), Checkpoint("missing/net"), Notes("d", notes))
    assert notes[2:] == [("c", FileNotFoundError)]


# Files.


def test_a_file_without_callbacks_is_one_of_before(samples, tmp_path, monkeypatch):
    path = tmp_path / "net"
    trainer = make()
    train(trainer, samples, stopping_of(True), epochs_total=4)
    write = sealed.write

    def as_before(path, content, tensors):
        content = {k: v for k, v in content.items() if k != "callbacks"}
        write(path, content, {k: v for k, v in tensors.items() if "callbacks" not in k})

    monkeypatch.setattr(sealed, "write", as_before)
    trainer.save(path)
    loaded, stopping = Trainer.load(path), stopping_of(True)
    np.testing.assert_array_equal(loaded.parameters, trainer.parameters)
    train(loaded, samples, stopping, epochs_total=6)
    assert stopping.best_epoch >= 4


def test_a_pickle_of_before_has_no_callbacks(samples):
    trainer = make()
    for name in ("_kept", "_under_way"):
        trainer.__dict__.pop(name, None)
    trainer.stop()
    train(copy.copy(trainer), samples, stopping_of(True), epochs_total=2)


@pytest.mark.parametrize(
    "callbacks",
    [
        3,
        [3],
        [{}],
        [{"class": "A", "told": 1, "state": 3}],
        [{"class": "A", "told": -1, "state": {"dict": {}}}],
        [{"class": 5, "told": 1, "state": {"dict": {}}}],
        [{"class": "A", "told": 1, "state": {"dict": {}}, "more": 1}],
        [{"class": "A", "told": 1, "state": {"dict": {"a": {"float": "1e5"}}}}],
        [{"class": "A", "told": 1, "state": {"dict": {"a": {"tensor": "parameters"}}}}],
        [{"class": "A", "told": 1, "state": {"dict": {"a": {"tensor": ["callbacks.0"]}}}}],
        [{"class": "A", "told": 1, "state": {"dict": {"a": {
            "tensor": "callbacks.0", "dtype": "float64", "shape": [10**12]}}}}],
        [{"class": "A", "told": 1, "state": {"dict": {"a": {
            "tensor": "callbacks.0", "dtype": "int8", "shape": [1]}}}}],
        [{"class": "A", "told": 1, "state": {"dict": {"a": {
            "tensor": "callbacks.0", "dtype": "float64", "shape": [-1]}}}}],
    ],
)  # fmt: skip
def test_what_no_save_writes_is_refused(callbacks, tmp_path, monkeypatch):
    path, write = tmp_path / "net", sealed.write
    monkeypatch.setattr(
        sealed, "write", lambda path, content, tensors: write(
            path, {**content, "callbacks": callbacks}, tensors)
    )  # fmt: skip
    make().save(path)
    with pytest.raises(CheckpointError, match=re.escape(str(path))):
        Trainer.load(path)


@pytest.mark.parametrize(
    "change",
    [{"best": "low"}, {"best_epoch": -1}, {"first": None}, {"last": 0.5}, {"parameters": 3},
     {"parameters": np.zeros(3)}, {"parameters": np.full(74, np.inf)}, {"monitor": None}],
)  # fmt: skip
def test_a_state_of_no_early_stopping_is_refused(change, samples):
    trainer = make()
    train(trainer, samples, stopping_of(True), epochs_total=4)
    before = trainer.parameters.copy()
    trainer._model.kept = [k._replace(state={**k.state, **change}) for k in trainer._model.kept]
    with pytest.raises((TypeError, ValueError)):
        train(trainer, samples, stopping_of(True))
    np.testing.assert_array_equal(trainer.parameters, before)
