"""A fit's validation, metrics, callbacks, early stopping and history."""

from __future__ import annotations

import copy
import io
import pickle
import sys
import threading

import numpy as np
import pytest

from jitprop import Callback, Checkpoint, DivergenceError, EarlyStopping, Trainer
from jitprop.data.validation import hold_out
from nets import data


def make(backend, **arguments):
    arguments = {"batch_size": 4, "seed": 5, "learning_rate": 0.2, **arguments}
    return Trainer(arguments.pop("sizes", [3, 6, 2]), backend=backend, **arguments)


@pytest.fixture
def samples(rng):
    return data([3, 2], 10, "half_squared_error", False, rng)


@pytest.fixture
def others(rng):
    return data([3, 2], 7, "half_squared_error", False, rng)


# Callbacks, metrics and validation do not change the training.


def test_watching_does_not_change_the_bits(backend, samples, others):
    ref, comp = make(backend), make(backend)
    expected = ref.fit(*samples, 6).loss
    found = comp.fit(
        *samples,
        6,
        validation_data=others,
        metrics=["mse", "r2"],
        callbacks=[lambda *logs: None],
    )
    np.testing.assert_array_equal(found.loss, expected)
    np.testing.assert_array_equal(comp.parameters, ref.parameters)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_validation_loss_is_that_of_evaluate(backend, reduction, weighted, samples, others, rng):
    trainer, seen = make(backend, reduction=reduction), []
    w = [rng.random(7)] if weighted else []
    sample_weight = w[0] if weighted else None

    def evaluate(trainer, epoch, logs):
        seen.append(trainer.evaluate(*others, sample_weight=sample_weight))

    history = trainer.fit(*samples, 4, validation_data=(*others, *w), callbacks=evaluate)
    np.testing.assert_array_equal(history.validation_loss, seen)
    assert len(set(seen)) == 4


def test_both_backends_see_the_same(samples, others):
    ref, comp = (
        make(backend).fit(*samples, 4, validation_data=others, metrics=["mse", "r2"]).columns
        for backend in ("numpy", "numba")
    )
    for name in set(ref) - {"seconds"}:
        np.testing.assert_allclose(comp[name], ref[name], rtol=1e-10)


# Validation samples.


def test_weights_are_held_out_with_their_samples(backend, samples, rng):
    X, y = samples
    w = rng.random(10)
    ref, comp = make(backend), make(backend)
    rows, others = hold_out(10, 0.4, ref._model.state.split)
    expected = ref.fit(
        X[rows],
        y[rows],
        3,
        sample_weight=w[rows],
        validation_data=(X[others], y[others], w[others]),
    )
    found = comp.fit(X, y, 3, sample_weight=w, validation_fraction=0.4)
    np.testing.assert_array_equal(found.loss, expected.loss)
    np.testing.assert_array_equal(found.validation_loss, expected.validation_loss)


def test_a_fraction_is_held_out_and_stays_the_same(backend, samples):
    X, y = samples
    seen = []

    def note(truth, prediction):
        seen.append(truth)
        return 0.0

    trainer = make(backend)
    trainer.fit(X, y, 1, validation_fraction=0.3, metrics=note)
    trainer.fit(X, y, 1, validation_fraction=0.3, metrics=note)
    trained, held_out, again, held_out_again = seen
    assert (len(trained), len(held_out)) == (7, 3)
    np.testing.assert_array_equal(again, trained)
    np.testing.assert_array_equal(held_out_again, held_out)
    both = np.concatenate([trained, held_out])
    np.testing.assert_array_equal(both[np.lexsort(both.T)], y[np.lexsort(y.T)])

    order = [
        [list(map(tuple, y)).index(tuple(row)) for row in rows] for rows in (trained, held_out)
    ]
    assert order == [sorted(rows) for rows in order]  # both keep the order of X
    ref = make(backend)
    ref.fit(X[order[0]], y[order[0]], 2)
    np.testing.assert_array_equal(trainer.parameters, ref.parameters)
    other = make(backend, seed=6)
    other.fit(X, y, 1, validation_fraction=0.3, metrics=note)
    assert (seen[-1] != held_out).any()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"validation_fraction": 1.0}, ValueError, "validation_fraction must be .* below 1"),
        ({"validation_fraction": 0.01}, ValueError, "samples on both sides; 0.01 of 10 are 0"),
        ({"validation_fraction": "a"}, TypeError, "validation_fraction must be a finite number"),
        ({"validation_data": 3}, TypeError, r"validation_data must be \(X, y\) or \(X, y, sample"),
        ({"validation_data": (1, 2, 3, 4)}, ValueError, r"validation_data must be \(X, y\)"),
        (
            {"validation_data": ([[1.0, 2.0]], [1.0])},
            ValueError,
            "in validation_data, X must have 3 columns",
        ),
        (
            {"validation_data": ([[1.0, 2.0, 3.0]], [1.0]), "validation_fraction": 0.5},
            ValueError,
            "validation_data and validation_fraction exclude each other",
        ),
        ({"callbacks": [3]}, TypeError, r"callbacks\[0\] must be a Callback object or a function"),
        ({"callbacks": Callback}, TypeError, r"callbacks\[0\] must be a Callback object"),
        ({"callbacks": 3}, TypeError, "callbacks must be a list of"),
        (
            {"callbacks": EarlyStopping()},
            ValueError,
            "EarlyStopping monitors 'validation_loss', which this fit does not have; it needs "
            "validation data; it has loss, learning_rate, seconds",
        ),
        (
            {"callbacks": EarlyStopping("validation_mse"), "metrics": "mse"},
            ValueError,
            "it has loss, mse, learning_rate, seconds",
        ),
        (
            {"callbacks": EarlyStopping("validation_accuracy"), "validation_fraction": 0.5},
            ValueError,
            "which this fit does not have; it has loss, validation_loss, learning_rate, seconds",
        ),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message, samples):
    trainer = make("numpy")
    before = trainer.parameters.copy()
    with pytest.raises(error, match=message):
        trainer.fit(*samples, 1, **arguments)
    np.testing.assert_array_equal(trainer.parameters, before)
    assert trainer.epochs_trained == 0


# Callbacks.


class Notes(Callback):
    def __init__(self):
        self.notes = []

    def on_fit_begin(self, trainer):
        self.notes.append(("begin", trainer.epochs_trained))

    def on_epoch_end(self, trainer, epoch, logs):
        assert trainer.epochs_trained == len(trainer.history.loss) == epoch + 1
        for name, column in trainer.history.columns.items():
            assert logs[name] == column[-1]
        self.notes.append(epoch)

    def on_fit_end(self, trainer):
        self.notes.append(("end", trainer.epochs_trained))


def test_callbacks_are_told_of_each_epoch(backend, samples, others):
    notes = Notes()
    trainer = make(backend)
    trainer.fit(*samples, 2, validation_data=others, callbacks=notes, metrics="mae")
    trainer.fit(*samples, 1, validation_data=others, callbacks=[notes], metrics="mae")
    assert notes.notes == [("begin", 0), 0, 1, ("end", 2), ("begin", 2), 2, ("end", 3)]


def stop_at(last):
    """Return a callback that stops the fit after this epoch."""

    def stop(net, epoch, logs):
        if epoch == last:
            net.stop()

    return stop


def test_stop_ends_a_fit_after_all_were_told(backend, samples):
    notes = Notes()
    trainer, ref = make(backend), make(backend)
    history = trainer.fit(*samples, 9, callbacks=[stop_at(3), notes])
    assert len(history.loss) == trainer.epochs_trained == 4
    assert notes.notes[-2:] == [3, ("end", 4)]
    ref.fit(*samples, 9)
    trainer.fit(*samples, 5)
    np.testing.assert_array_equal(trainer.parameters, ref.parameters)
    np.testing.assert_array_equal(trainer.history.loss, ref.history.loss)


class Returns(Callback):
    def __init__(self, value):
        self.value = value

    def on_epoch_end(self, trainer, epoch, logs):
        return self.value


@pytest.mark.parametrize("value", [True, np.True_, False, 1.0, None])
def test_what_a_callback_returns_is_ignored(backend, value, samples):
    for callback in (lambda *logs: value, Returns(value)):
        assert len(make(backend).fit(*samples, 3, callbacks=callback).loss) == 3


def test_a_bar_of_tqdm_does_not_stop_a_fit(samples):
    tqdm = pytest.importorskip("tqdm")
    bar = tqdm.tqdm(file=io.StringIO(), mininterval=0, miniters=0)
    shown = []
    make("numpy").fit(*samples, 5, callbacks=lambda *logs: shown.append(bar.update()))
    history = make("numpy").fit(*samples, 5, callbacks=lambda *logs: bar.update())
    assert True in shown, "or this test says nothing"
    assert len(history.loss) == 5


def test_a_metric_may_stop_a_fit(backend, samples):
    trainer, notes = make(backend), Notes()

    def enough(y, prediction):
        if trainer.epochs_trained >= 2:
            trainer.stop()
        return 0.0

    history = trainer.fit(*samples, 9, metrics=enough, callbacks=notes)
    assert len(history.loss) == trainer.epochs_trained == 2
    assert notes.notes[-2:] == [1, ("end", 2)]


@pytest.mark.parametrize("watched", [True, False])
def test_another_thread_may_stop_a_fit(backend, watched, samples):
    """The thread calls `stop` in the middle of an epoch, which is still completed."""
    trainer, ref = make(backend), make(backend)

    def rate(epoch):
        if epoch == 2:
            thread = threading.Thread(target=trainer.stop)
            thread.start()
            thread.join(timeout=60)
        return 0.2

    trainer.learning_rate = rate
    watching = {"callbacks": lambda *logs: None} if watched else {}
    history = trainer.fit(*samples, 10**6, **watching)
    n = len(history.loss)
    assert n == 3 if watched else 3 <= n < 10**6
    ref.fit(*samples, n)
    assert trainer.epochs_trained == n
    np.testing.assert_array_equal(trainer.parameters, ref.parameters)


def test_stop_before_the_first_epoch_trains_nothing(backend, samples):
    class Stops(Notes):
        def on_fit_begin(self, trainer):
            super().on_fit_begin(trainer)
            trainer.stop()

    trainer, stops = make(backend), Stops()
    before = trainer.parameters.copy()
    history = trainer.fit(*samples, 3, callbacks=stops)
    assert len(history.loss) == len(trainer.history.loss) == trainer.epochs_trained == 0
    assert stops.notes == [("begin", 0), ("end", 0)]
    np.testing.assert_array_equal(trainer.parameters, before)


def test_stop_outside_a_fit_does_nothing(backend, samples):
    trainer = make(backend)
    trainer.stop()
    assert len(trainer.fit(*samples, 2).loss) == 2
    trainer.fit(*samples, 2, callbacks=stop_at(2))
    trainer.stop()
    assert len(trainer.fit(*samples, 2).loss) == 2
    copies = []
    trainer.fit(*samples, 2, callbacks=lambda net, *logs: copies.append(copy.deepcopy(net)))
    copies[0].stop()
    assert len(copies[0].fit(*samples, 2).loss) == 2


def test_an_exception_in_a_callback_leaves_its_epoch(backend, samples):
    def fail(trainer, epoch, logs):
        if epoch == 2:
            raise KeyError("mine")

    trainer, ref = make(backend), make(backend)
    with pytest.raises(KeyError, match="mine"):
        trainer.fit(*samples, 9, callbacks=fail)
    assert trainer.epochs_trained == len(trainer.history.loss) == 3
    ref.fit(*samples, 9)
    trainer.fit(*samples, 6)
    np.testing.assert_array_equal(trainer.parameters, ref.parameters)


def test_a_fit_in_a_fit_is_refused(backend, samples):
    trainer = make(backend)
    with pytest.raises(RuntimeError, match="in a fit already"):
        trainer.fit(*samples, 3, callbacks=lambda trainer, *_: trainer.fit(*samples, 1) and None)
    assert (trainer.epochs_trained, len(trainer.history.loss)) == (1, 1)
    trainer.fit(*samples, 1)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_a_copy_made_in_a_fit_goes_on_by_itself(backend, duplicate, samples):
    trainer, copies = make(backend), []
    trainer.fit(*samples, 3, callbacks=lambda trainer, *_: copies.append(duplicate(trainer)))
    copies[0].fit(*samples, 2)
    np.testing.assert_array_equal(copies[0].parameters, trainer.parameters)
    np.testing.assert_array_equal(copies[0].history.loss, trainer.history.loss)


def test_callbacks_are_shown_with_their_settings():
    shown = "EarlyStopping('r2', patience=3, min_delta=0.1, restore_best=True, mode='auto', "
    shown += "ties='first')"
    assert repr(EarlyStopping("r2", 3, 0.1)) == shown
    assert repr(Checkpoint("net.safetensors", every=5)) == "Checkpoint('net.safetensors', every=5)"


def test_an_exception_in_a_metric_leaves_the_epoch_before(backend, samples):
    calls = []

    def fail(y, prediction):
        calls.append(0)
        return 1 / (3 - len(calls))

    trainer, ref = make(backend), make(backend)
    with pytest.raises(ZeroDivisionError):
        trainer.fit(*samples, 9, metrics=fail)
    assert trainer.epochs_trained == len(trainer.history.metrics["fail"]) == 2
    ref.fit(*samples, 9)
    trainer.fit(*samples, 7)
    np.testing.assert_array_equal(trainer.parameters, ref.parameters)


def test_a_learning_rate_set_by_a_callback_holds_from_the_next_epoch(backend, samples):
    def halve(trainer, epoch, logs):
        trainer.learning_rate = logs["learning_rate"] / 2

    trainer = make(backend)
    history = trainer.fit(*samples, 4, callbacks=halve)
    np.testing.assert_array_equal(history.learning_rate, [0.2, 0.1, 0.05, 0.025])
    ref = make(backend, learning_rate=lambda epoch: 0.2 / 2**epoch)
    np.testing.assert_array_equal(ref.fit(*samples, 4).loss, history.loss)


def test_the_first_fit_settles_the_dtype_before_callbacks(backend, samples):
    X, y = samples
    seen = []
    trainer = make(backend)
    trainer.fit(X.astype(np.float32), y, 2, callbacks=lambda t, *_: seen.append(t.parameters))
    assert seen[0] is trainer.parameters
    assert seen[0].dtype == np.float32


# Early stopping.


def follow(values, monitor="loss", **arguments):
    """Call EarlyStopping with these numbers; return it, its last epoch, and a parameter."""
    stopping = EarlyStopping(monitor, **arguments)
    trainer = Trainer([1, 1], seed=0, backend="numpy")
    stopping.on_fit_begin(trainer)
    for epoch, value in enumerate(values):
        trainer.parameters[:] = epoch
        stopping.on_epoch_end(trainer, epoch, {monitor: value})
        if stopping.stopped:
            break
    stopping.on_fit_end(trainer)
    return stopping, epoch, trainer.parameters[0]


def test_patience_counts_epochs_in_a_row():
    stopping, epoch, kept = follow([5, 4, 4, 3, 3, 3, 3], patience=2)
    assert (epoch, stopping.best_epoch, stopping.best, kept) == (5, 3, 3, 3)
    assert stopping.stopped


def test_a_run_that_was_not_stopped_goes_back_to_its_best_too():
    stopping, epoch, kept = follow([5, 3, 4], patience=5)
    assert (epoch, kept, stopping.stopped) == (2, 1, False)
    assert follow([5, 3, 4], patience=5, restore_best=False)[2] == 2


def test_less_than_min_delta_is_not_better():
    assert follow([5, 4.9, 4.8, 4.0, 1.0], patience=2, min_delta=0.5)[1] == 2


def test_higher_is_better_for_scores():
    assert follow([0.1, 0.5, 0.4], "validation_r2", patience=1)[2] == 1
    assert follow([0.1, 0.5, 0.4], "accuracy", patience=1)[2] == 1
    assert follow([0.1, 0.5, 0.4], "mine", patience=1)[2] == 0
    assert follow([0.1, 0.5, 0.4], "mine", patience=1, mode="max")[2] == 1
    assert follow([0.1, 0.5, 0.4], "accuracy", patience=1, mode="min")[2] == 0


def test_nan_is_never_better():
    stopping, epoch, kept = follow([np.nan, 2.0, np.nan, np.nan], patience=2)
    assert (epoch, kept, stopping.best) == (3, 1, 2.0)


@pytest.mark.parametrize("watched", ["mine", "validation_loss"])
@pytest.mark.parametrize("worth", [np.nan, np.inf])
def test_what_is_nan_all_along_leaves_the_last_epoch_and_a_warning(
    backend, watched, worth, samples, monkeypatch, tmp_path
):
    def mine(y, prediction):
        return worth

    monkeypatch.setattr("jitprop.training.evaluation.Evaluation.loss", lambda *given: worth)
    trainer, ref, path = make(backend), make(backend), tmp_path / "net"
    stopping = EarlyStopping(watched, patience=3)
    with pytest.warns(
        RuntimeWarning, match=f"monitors '{watched}', which was nan or inf"
    ) as caught:
        trainer.fit(
            *samples,
            9,
            metrics=mine,
            validation_data=samples,
            callbacks=[stopping, Checkpoint(path)],
        )
    assert [warning.filename for warning in caught] == [__file__]
    ref.fit(*samples, 3)
    assert (trainer.epochs_trained, stopping.stopped, stopping.best_epoch) == (3, True, None)
    np.testing.assert_array_equal(trainer.parameters, ref.parameters)
    np.testing.assert_array_equal(Trainer.load(path).parameters, ref.parameters)


def test_early_stopping_keeps_history_short_and_the_best_parameters(backend, rng):
    X, y = data([3, 2], 12, "half_squared_error", False, rng)
    stopping = EarlyStopping(patience=3)
    trainer = make(backend, sizes=[3, 30, 2], optimizer="adam", learning_rate=0.05)
    history = trainer.fit(X[:6], y[:6], 500, validation_data=(X[6:], y[6:]), callbacks=[stopping])
    n = len(history.loss)
    assert stopping.stopped
    assert n == trainer.epochs_trained == stopping.best_epoch + 4 < 500
    assert trainer.evaluate(X[6:], y[6:]) == stopping.best == history.validation_loss.min()
    trainer.fit(X[:6], y[:6], 2, validation_data=(X[6:], y[6:]), callbacks=[stopping])
    assert stopping.best_epoch in (n, n + 1)  # the count begins again


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"patience": 0}, ValueError, "patience must be an integer of at least 1"),
        ({"min_delta": -1.0}, ValueError, "min_delta must be a finite number at least 0"),
        ({"restore_best": 1}, TypeError, "restore_best must be True or False"),
        ({"mode": "low"}, ValueError, "mode 'low' is unknown"),
        ({"monitor": None}, TypeError, "monitor must be a name"),
    ],
)
def test_bad_settings_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        EarlyStopping(**arguments)


# History.


def test_history_of_all_fits(backend, samples, others):
    trainer = make(backend)
    assert len(trainer.history.loss) == 0
    first = trainer.fit(*samples, 3)
    second = trainer.fit(*samples, 2, validation_data=others, metrics="mse")
    history = trainer.history
    np.testing.assert_array_equal(history.loss, [*first.loss, *second.loss])
    np.testing.assert_array_equal(history.validation_loss, [np.nan] * 3 + [*second.validation_loss])
    for name in ("mse", "validation_mse"):
        np.testing.assert_array_equal(history.metrics[name], [np.nan] * 3 + [*second.metrics[name]])
    np.testing.assert_array_equal(history.learning_rate, [0.2] * 5)
    assert (history.seconds > 0).all()
    np.testing.assert_array_equal(
        trainer.history.loss, pickle.loads(pickle.dumps(trainer)).history.loss
    )


def test_to_frame(backend, samples, others):
    pd = pytest.importorskip("pandas")
    trainer = make(backend)
    plain = trainer.fit(*samples, 2).to_frame()
    assert list(plain) == ["loss", "learning_rate", "seconds"]
    history = trainer.fit(*samples, 3, validation_data=others, metrics=["mse"])
    frame = history.to_frame()
    assert list(frame) == [
        "loss", "validation_loss", "mse", "validation_mse", "learning_rate", "seconds",
    ]  # fmt: skip
    assert frame.index.name == "epoch"
    pd.testing.assert_series_equal(
        frame["validation_mse"], pd.Series(history.metrics["validation_mse"]), check_names=False,
        check_index=False,
    )  # fmt: skip
    assert len(trainer.history.to_frame()) == 5


def test_without_pandas_the_error_says_what_to_install(samples, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pip install 'jitprop\[frame\]'"):
        make("numpy").fit(*samples, 1).to_frame()


def test_plot_draws_both_losses(samples, others):
    plt = pytest.importorskip("matplotlib.pyplot")
    history = make("numpy").fit(*samples, 3, validation_data=others)
    axes = history.plot()
    drawn = {line.get_label(): line.get_ydata() for line in axes.lines}
    np.testing.assert_array_equal(drawn["training"], history.loss)
    np.testing.assert_array_equal(drawn["validation"], history.validation_loss)
    plt.close(axes.figure)


def test_divergence_keeps_what_was_watched(backend, samples, others):
    trainer = make(
        backend, sizes=[3, 2], output_activation="identity", learning_rate=30.0, batch_size=None
    )
    seen = []
    with pytest.raises(DivergenceError) as caught:
        trainer.fit(
            *samples,
            2000,
            validation_data=others,
            metrics="mse",
            callbacks=lambda t, epoch, logs: seen.append(logs["validation_loss"]),
        )
    error = caught.value
    assert len(error.history.loss) == len(error.history.metrics["validation_mse"]) == error.epoch
    np.testing.assert_array_equal(error.history.validation_loss, seen[: error.epoch])
    assert len(trainer.history.loss) == error.kept_epochs == trainer.epochs_trained
    assert error.epoch - 1 <= error.kept_epochs <= error.epoch
