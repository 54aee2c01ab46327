"""A fleet's fit that is resumed equals an uninterrupted one, bit for bit."""

from __future__ import annotations

import copy
import pickle
import re
import signal

import numpy as np
import pytest

from jitprop import Callback, Checkpoint, CheckpointError, EarlyStopping, Fleet, Trainer
from jitprop.files import sealed
from jitprop.fleet import course
from nets import data

EPOCHS = 20
RATES = [0.3, 0.01, 0.1, 0.02, 0.2]


class PowerError(Exception):
    """The error that ends a fit in these tests."""


@pytest.fixture(scope="module")
def samples():
    X, y = data([3, 2], 24, "half_squared_error", False, np.random.default_rng(0))
    return X[:12], y[:12], (X[12:], y[12:])


def make(**settings):
    settings = {"optimizer": "adam", "learning_rate": RATES, "batch_size": 5, **settings}
    return Fleet([3, 12, 2], members=5, seed=[5, 6, 7, 8, 9], **settings)


def stopping_of(restore_best):
    return EarlyStopping(patience=4, restore_best=restore_best)


def train(fleet, samples, restore_best=True, *others, epochs_total=EPOCHS, **arguments):
    X, y, held_out = samples
    callbacks = [stopping_of(restore_best), *others]
    return fleet.fit(
        X, y, epochs_total=epochs_total, validation_data=held_out, callbacks=callbacks, **arguments
    )


def facts(fleet, history):
    return {
        "parameters": fleet.parameters.tobytes(),
        "slots": fleet._model.state.slots.tobytes(),
        "random": [fleet._model.state.generator(i).bit_generator.state for i in range(len(fleet))],
        "epochs": fleet.epochs_trained.tolist(),
        "best": history.best_epoch.tolist(),
    }


def fails_at(epochs):
    def fail(fleet, epoch, logs):
        if fleet.epochs_trained.max() == epochs:
            raise PowerError

    return fail


def killed_after_a_checkpoint(epochs, samples, path, fleet, restore_best):
    with pytest.raises(PowerError):
        train(fleet, samples, restore_best, Checkpoint(path), fails_at(epochs))
    return Fleet.load(path)


def saved_after_an_error(epochs, samples, path, fleet, restore_best):
    with pytest.raises(PowerError):
        train(fleet, samples, restore_best, fails_at(epochs))
    fleet.save(path)
    return Fleet.load(path)


def interrupted_in_an_epoch(epochs, samples, path, fleet, restore_best):
    """Ctrl-C comes while the validation loss is computed; that epoch is lost."""
    evaluate, engine, calls = type(fleet)._engine, None, []

    def interrupting(self, n):
        nonlocal engine
        engine = evaluate(self, n)
        inner = engine.evaluate

        def outer(*given):
            calls.append(0)
            if len(calls) == epochs + 1:
                signal.raise_signal(signal.SIGINT)
            return inner(*given)

        engine.evaluate = outer
        return engine

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(fleet), "_engine", interrupting)
        patch.setattr(course, "WATCHED_BYTES", 0)  # each epoch is a block
        with pytest.raises(KeyboardInterrupt):
            train(fleet, samples, restore_best)
    return fleet


def ended(epochs, samples, path, fleet, restore_best):
    train(fleet, samples, restore_best, epochs_total=epochs)
    return pickle.loads(pickle.dumps(fleet))


def copied_during_the_fit(epochs, samples, path, fleet, restore_best):
    made = []

    def copies(fleet, epoch, logs):
        made.append(copy.deepcopy(fleet))

    train(fleet, samples, restore_best, copies, epochs_total=epochs)
    return made[-1]


ENDS = [
    killed_after_a_checkpoint,
    saved_after_an_error,
    interrupted_in_an_epoch,
    ended,
    copied_during_the_fit,
]


@pytest.fixture(scope="module", params=[True, False], ids=["restores", "keeps the last"])
def restore_best(request):
    return request.param


@pytest.fixture(scope="module", params=["numba", "numpy"])
def engine(request):
    return {"backend": request.param}


@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_a_fit_that_ended_after_any_epoch_is_resumed_to_the_bit(
    end, every, engine, samples, restore_best, tmp_path
):
    whole = make(**engine)
    whole_history = train(whole, samples, restore_best)
    ref = facts(whole, whole_history)
    assert len(set(ref["epochs"])) > 2
    assert max(ref["epochs"]) == EPOCHS
    for epochs in [*range(1, EPOCHS - 1, every), EPOCHS - 1]:
        fleet = end(epochs, samples, tmp_path / "net", make(**engine), restore_best)
        assert fleet.epochs_trained.max() == epochs
        history = train(fleet, samples, restore_best)
        assert facts(fleet, history) == ref, epochs
        assert history.loss.tobytes() == whole_history.loss[epochs:].tobytes()
        assert (history.epochs <= EPOCHS - epochs).all()


@pytest.mark.parametrize("shuffle", [True, False])
def test_without_callbacks_too(samples, shuffle):
    X, y, _ = samples
    ref, comp = make(shuffle=shuffle), make(shuffle=shuffle)
    ref.fit(X, y, 9)
    for total in (2, 7, 7, 5, 9):
        comp.fit(X, y, epochs_total=total)
    np.testing.assert_array_equal(comp.parameters, ref.parameters)
    assert comp.epochs_trained.tolist() == [9] * 5


def test_members_that_had_fewer_epochs_catch_up(samples):
    X, y, _ = samples
    ref, comp = make(), make()
    ref.fit(X, y, 40)
    train(comp, samples, restore_best=False)
    epochs = comp.epochs_trained
    history = comp.fit(X, y, epochs_total=40)
    np.testing.assert_array_equal(comp.parameters, ref.parameters)
    assert history.epochs.tolist() == (40 - epochs).tolist()
    assert np.isnan(history.loss).sum(axis=0).tolist() == (epochs - epochs.min()).tolist()


def test_with_a_total_that_is_reached_nothing_is_trained(samples):
    pytest.importorskip("tqdm")
    fleet = make()
    ref = facts(fleet, train(fleet, samples, epochs_total=5))
    for total in (5, 3):
        history = train(fleet, samples, epochs_total=total, progress=True)
        assert history.loss.shape == (0, 5)
        assert facts(fleet, history) == ref


@pytest.mark.parametrize("patience", [4, 9])
def test_a_member_of_its_own_is_resumed_as_a_trainer(samples, patience):
    X, y, held_out = samples
    fleet = make(batch_size=None)
    train(fleet, samples, epochs_total=8)
    some = fleet[1:4]
    stopping = EarlyStopping(patience=patience)
    arguments = {"epochs_total": EPOCHS, "validation_data": held_out, "callbacks": stopping}
    history = some.fit(X, y, **arguments)
    for i, trainer in enumerate(fleet[1:4]):
        trainer = fleet[1 + i]
        trainer.fit(X, y, **arguments)
        assert stopping.best_epoch == history.best_epoch[i]
        assert trainer.epochs_trained == some.epochs_trained[i]
        np.testing.assert_allclose(trainer.parameters, some.parameters[i], rtol=1e-8)


def test_ctrl_c_and_errors_leave_the_best_epochs(samples):
    fleet, ref = make(), make()

    def interrupts(fleet, epoch, logs):
        if epoch == 13:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(fleet, samples, True, interrupts)
    train(ref, samples, epochs_total=14)
    np.testing.assert_array_equal(fleet.parameters, ref.parameters)
    assert (ref.epochs_trained > 1 + fleet._model.found.best_epoch).any()


def test_members_that_diverge_have_their_best_epoch(samples):
    X, y, held_out = samples
    settings = {"output_activation": "identity", "activation": "relu", "optimizer": "sgd"}
    rates = [0.05, 0.05, 0.05, 0.05, 0.05]

    def explodes(fleet, epoch, logs):
        if fleet.epochs_trained.max() == 3:
            fleet.learning_rate = [0.05, 1e9, 0.05, 0.05, 0.05]

    fleet, resumed = (make(**settings, learning_rate=rates) for _ in range(2))
    stopping = EarlyStopping(patience=50)
    arguments = {"validation_data": held_out, "callbacks": [stopping, explodes]}
    with pytest.warns(RuntimeWarning, match="1 of 5 members diverged"):
        history = fleet.fit(X, y, epochs_total=9, **arguments)
    ref = make(**settings, learning_rate=rates)
    ref.fit(X, y, int(history.best_epoch[1]) + 1)
    np.testing.assert_array_equal(fleet.parameters[1], ref.parameters[1])
    with pytest.warns(RuntimeWarning, match="1 of 5 members diverged"):
        resumed.fit(X, y, epochs_total=6, **arguments)
    with pytest.warns(RuntimeWarning, match="1 of 5 members diverged"):
        resumed.fit(X, y, epochs_total=9, **arguments)
    np.testing.assert_array_equal(resumed.parameters, fleet.parameters)


def test_members_whose_parameters_were_set_meanwhile_count_anew(samples):
    fleet = make()
    before = train(fleet, samples).best_epoch
    epochs = fleet.epochs_trained
    fleet.parameters[0] *= 0.5
    history = train(fleet, samples, epochs_total=EPOCHS + 1)
    assert history.best_epoch[1:].tolist() == before[1:].tolist()
    assert fleet.epochs_trained[0] > epochs[0]


class Counts(Callback):
    def __init__(self):
        self.seen, self.array = 0, np.zeros(3)

    def on_epoch_end(self, fleet, epoch, logs):
        self.seen += 1
        self.array = self.array + 1

    def get_state(self):
        return {"seen": self.seen, "array": self.array}

    def set_state(self, fleet, state):
        self.seen, self.array = state["seen"], state["array"]


def test_other_callbacks_are_resumed_and_told_of_errors(samples, tmp_path):
    errors = []

    class Notes(Callback):
        def on_fit_error(self, fleet, error):
            errors.append((type(error), fleet.epochs_trained.max()))

    fleet = make()
    with pytest.raises(PowerError):
        train(fleet, samples, True, Counts(), Notes(), fails_at(7))
    assert errors == [(PowerError, 7)]
    fleet.save(tmp_path / "net")
    fleet, counts = Fleet.load(tmp_path / "net"), Counts()
    train(fleet, samples, True, counts)
    assert (counts.seen, counts.array.tolist()) == (EPOCHS, [EPOCHS] * 3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, TypeError, "epochs must be an integer .*; got None"),
        ({"epochs": 2, "epochs_total": 3}, ValueError, "epochs and epochs_total exclude each"),
        ({"epochs_total": 0}, ValueError, "epochs_total must be an integer of at least 1; got 0"),
        ({"epochs_total": 10**30}, ValueError, "epochs asks for"),
    ],
)
def test_bad_numbers_of_epochs_are_refused(arguments, error, message, samples):
    X, y, _ = samples
    with pytest.raises(error, match=message):
        make().fit(X, y, **arguments)


def test_another_monitor_is_refused_and_the_fleet_is_as_before(samples):
    fleet = make()
    train(fleet, samples, epochs_total=12)
    before = fleet.parameters.copy()
    X, y, _ = samples
    with pytest.raises(ValueError, match=r"monitors 'loss', .* had 'validation_loss'"):
        fleet.fit(X, y, epochs_total=20, callbacks=EarlyStopping("loss"))
    np.testing.assert_array_equal(fleet.parameters, before)
    assert fleet.fit(X, y, 1, callbacks=EarlyStopping("loss")).epochs.tolist() == [1] * 5


def test_a_file_of_before_is_read(samples, tmp_path, monkeypatch):
    path, write, fleet = tmp_path / "net", sealed.write, make()
    train(fleet, samples, epochs_total=4)

    def as_before(path, content, tensors):
        names = "stopping", "callbacks"
        content = {k: v for k, v in content.items() if k not in names}
        write(path, content, {k: v for k, v in tensors.items() if not k.startswith(names)})

    monkeypatch.setattr(sealed, "write", as_before)
    fleet.save(path)
    loaded = Fleet.load(path)
    np.testing.assert_array_equal(loaded.parameters, fleet.parameters)
    assert (train(loaded, samples, epochs_total=6).best_epoch >= 0).all()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stopping", 3),
        ("stopping", {"monitor": "mine", "higher_is_better": False, "parameters": True}),
        ("stopping", {"monitor": "loss", "higher_is_better": 1, "parameters": True}),
        ("stopping", {"monitor": "loss", "higher_is_better": False, "parameters": False}),
        ("stopping", {"monitor": "loss", "higher_is_better": True, "parameters": True, "a": 1}),
        ("callbacks", [{"class": 3}]),
        ("first", np.full(5, 0.5)),
        ("best_epoch", np.full(5, np.nan)),
        ("restored", np.full(5, 1e300)),
        ("last", np.full(4, 1.0)),
        ("parameters", np.full((5, 74), np.inf)),
    ],
)
def test_what_no_save_writes_is_refused(name, value, samples, tmp_path, monkeypatch):
    path, write, fleet = tmp_path / "net", sealed.write, make()
    train(fleet, samples, epochs_total=2)

    def changed(path, content, tensors):
        if name in ("stopping", "callbacks"):
            content = {**content, name: value}
        else:
            tensors = {**tensors, f"stopping.{name}": value}
        write(path, content, tensors)

    monkeypatch.setattr(sealed, "write", changed)
    fleet.save(path)
    with pytest.raises(CheckpointError, match=re.escape(str(path))):
        Fleet.load(path)


def test_a_pickle_of_before_has_none_of_it(samples):
    fleet = make()
    for name in ("_found", "_kept", "_under_way"):
        fleet.__dict__.pop(name, None)
    fleet.stop()
    train(fleet, samples, epochs_total=2)
    assert isinstance(fleet[0], Trainer)
