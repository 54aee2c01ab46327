"""A fit in its parts: what is held out, and what comes of an interrupted training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from jitprop import Trainer
from jitprop.tabular import fitting
from jitprop.tabular.fitting import Settings
from jitprop.tabular.recipe import CLASSES, QUANTITIES
from jitprop.tabular.table import table_of


def given(rng, classes, n=40):
    """A table and its targets."""
    x = rng.normal(size=n)
    table = table_of({"x": x, "colour": rng.choice(["red", "blue"], n), "n": np.arange(n)})
    return table, np.where(x > 0, "up", "down") if classes else 3 * x


def settings(classes, **given):
    recipe = replace(CLASSES if classes else QUANTITIES, hidden=(8,), epochs=6)
    return Settings(recipe, seed=2, **given)


@pytest.mark.parametrize("classes", [True, False])
def test_a_fit_in_parts_is_the_fit(rng, classes):
    table, y = given(rng, classes)
    ref = fitting.fit(table, y, classes, settings(classes))
    notes = []
    begun = fitting.begin(table, y, classes, settings(classes), notes=notes)
    assert len(notes) == 1
    assert "'n' is left out" in notes[0]
    net = begun.trainer(0)
    comp = begun.finished([net], [begun.train(net)])
    X = comp.inputs(table)
    np.testing.assert_array_equal(ref.outputs(X), comp.outputs(X))
    # The rows are those of the table, each once.
    rows = [*begun.training_rows, *begun.held_out_rows]
    assert sorted(rows) == list(range(40))
    assert len(begun.held_out_rows) == 8
    np.testing.assert_array_equal(X[begun.training_rows], begun.training(0).X)
    np.testing.assert_array_equal(X[begun.held_out_rows], begun.held_out(0)[0].X)


@pytest.mark.parametrize("classes", [True, False])
def test_each_net_of_several_holds_out_other_rows(rng, classes):
    table, y = given(rng, classes, n=60)
    begun = fitting.begin(table, y, classes, settings(classes, n_members=6))
    nets = [begun.trainer(i) for i in range(6)]
    trained = [begun.train(net, i) for i, net in enumerate(nets)]
    parts = [begun.held_out(i) for i in range(6)]
    n = len(begun.splits)
    assert n == 4
    np.testing.assert_array_equal(parts[4][0].X, parts[0][0].X)
    seen = np.concatenate([known for _, known in parts[:n]])
    assert len(seen) == 48
    made = begun.finished(nets, trained)
    np.testing.assert_array_equal(
        made.outputs(made.inputs(table)),
        fitting.fit(table, y, classes, settings(classes, n_members=6)).outputs(made.inputs(table)),
    )
    if not classes:
        # Each row is predicted by the net that was not trained with it.
        errors = [
            abs(known - begun.target.predictions(one.held_out))
            for one, (_, known) in zip(trained, parts[:n], strict=False)
        ]
        np.testing.assert_array_equal(np.sort(np.concatenate(errors)), made.residuals)


@pytest.mark.parametrize("classes", [True, False])
def test_without_rows_held_out_all_are_trained_on(rng, classes):
    table, y = given(rng, classes)
    begun = fitting.begin(table, y, classes, settings(classes, validation_fraction=0.0))
    assert (len(begun.training_rows), len(begun.held_out_rows)) == (40, 0)
    net = begun.trainer(0)
    trained = begun.train(net)
    made = begun.finished([net], [trained])
    assert trained.course.best_epoch == 5
    assert made.temperature == 1.0
    assert len(made.residuals) == 0
    assert np.isfinite(made.outputs(made.inputs(table))).all()


def test_ctrl_c_leaves_a_net_that_can_be_finished(rng, monkeypatch):
    table, y = given(rng, True)
    fit = Trainer.fit

    def interrupted(self, X, y, epochs, **kwargs):
        fit(self, X, y, 2, **kwargs)
        raise KeyboardInterrupt

    begun = fitting.begin(table, y, True, settings(True))
    net = begun.trainer(0)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "fit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            begun.train(net)
    assert net.epochs_trained == 2
    made = begun.finished([net], [])
    np.testing.assert_allclose(made.outputs(made.inputs(table)).sum(axis=1), 1)


@pytest.mark.parametrize("classes", [True, False])
def test_the_epoch_that_is_kept_has_the_smallest_loss_of_the_rows_held_out(rng, classes):
    table, y = given(rng, classes)
    long = settings(classes)
    long = replace(long, recipe=replace(long.recipe, epochs=40))
    begun = fitting.begin(table, rng.permutation(y), classes, long)
    net = begun.trainer(0)
    course = begun.train(net).course
    losses = course.history.validation_loss
    assert course.best_epoch == np.flatnonzero(losses == losses.min())[-1]
    assert len(losses) == min(40, course.best_epoch + 1 + 10)  # a quarter of 40 epochs
    assert len(losses) < 40


@pytest.mark.parametrize("weighted", [False, True])
def test_the_error_of_a_row_is_of_the_epoch_that_the_other_rows_choose(rng, weighted):
    table, y = given(rng, False)
    weights = rng.uniform(0.1, 2, 40) if weighted else None
    long = settings(False)
    long = replace(long, recipe=replace(long.recipe, epochs=30))
    begun = fitting.begin(table, rng.permutation(y), False, long, sample_weight=weights)
    net = begun.trainer(0)
    trained = begun.train(net)
    training, (held_out, known) = begun.training(0), begun.held_out(0)
    found = []
    for epochs in range(1, net.epochs_trained + 1):
        other = begun.trainer(0)
        other.fit(training.X, training.y, epochs, sample_weight=training.weights)
        found.append(other.predict(held_out.X)[:, 0])
    weight = np.ones(8) if held_out.weights is None else held_out.weights
    losses = weight * (np.array(found, np.float64) - held_out.y[:, 0]) ** 2
    chosen = [np.delete(losses, i, axis=1).sum(axis=1).argmin() for i in range(8)]
    assert len({*chosen}) > 1
    ref = np.array([found[epoch][i] for i, epoch in enumerate(chosen)])
    np.testing.assert_array_equal(trained.held_out, ref)
    errors = np.sort(abs(known - begun.target.predictions(ref)))
    np.testing.assert_array_equal(begun.finished([net], [trained]).residuals, errors)


def test_a_short_fit_trains_all_its_epochs(rng):
    table, y = given(rng, True)
    short = settings(True)
    short = replace(short, recipe=replace(short.recipe, epochs=4))
    begun = fitting.begin(table, rng.permutation(y), True, short)
    assert len(begun.train(begun.trainer(0)).course.history.loss) == 4


def test_the_scales_of_inputs_are_trained(rng):
    table, y = given(rng, False)
    begun = fitting.begin(table, y, False, settings(False))
    net = begun.trainer(0)
    assert (net.input_scales == 1).all()
    begun.train(net)
    assert (net.input_scales != 1).all()


def test_dates_as_texts_give_the_same_bits(rng):
    table, y = given(rng, False)
    days = np.datetime64("2024-01-01") + rng.integers(20, size=40)
    nets = []
    for values in (days, days.astype(str).tolist()):
        columns = {column.name: column.values for column in table} | {"day": values}
        nets.append(fitting.fit(table_of(columns), y, False, settings(False)))
    np.testing.assert_array_equal(*(net.members[0].parameters for net in nets))
