"""Early stopping that keeps the last of the epochs with the same best number."""

from __future__ import annotations

import numpy as np
import pytest

from jitprop import EarlyStopping, Fleet, Trainer
from jitprop.fleet import course
from jitprop.fleet.stopping import Stopping

NAN, INF = np.nan, np.inf
# Numbers of each epoch, settings, the best epoch, and the number of epochs until the fit stops.
CASES = {
    "first": ([3, 2, 2, 2, 2, 2], {"ties": "first", "patience": 3}, 1, 5),
    "by default": ([3, 2, 2, 2, 2, 2], {"patience": 3}, 1, 5),
    "last": ([3, 2, 2, 3, 2, 3, 3, 3, 3], {"patience": 3, "ties": "last"}, 4, 8),
    "none": ([3, 2, 4, 4, 4, 4], {"patience": 3, "ties": "last"}, 1, 5),
    "constant": ([1] * 9, {"patience": 2, "ties": "last"}, 8, 9),
    "nan": ([NAN, 2, NAN, 2, NAN, NAN, NAN, NAN], {"patience": 3, "ties": "last"}, 3, 7),
    "infinite": ([INF, INF, INF, INF], {"patience": 3, "ties": "last"}, None, 3),
    "min_delta": ([3, 2, 1.95, 2, 1.95, 2.5, 2.5], {"min_delta": 0.1, "ties": "last"}, 3, 7),
    "higher": ([1, 2, 2, 1, 1, 1], {"mode": "max", "patience": 2, "ties": "last"}, 2, 5),
}


@pytest.mark.parametrize("case", CASES)
def test_which_epoch_is_the_best(case):
    values, settings, best, stopped = CASES[case]
    told, seen = iter(values), []

    def score(y, prediction):
        return float(next(told))

    stopping = EarlyStopping("score", **settings)
    trainer = Trainer([1, 1], learning_rate=0.1, seed=0)
    with pytest.MonkeyPatch.context() as patch:
        if best is None:
            patch.setattr("jitprop.training.callbacks.warn", lambda text: None)
        history = trainer.fit(
            [[0.0], [1.0]], [0.2, 0.7], epochs=len(values),
            metrics=score,
            callbacks=[lambda net, *_: seen.append(net.parameters.copy()), stopping],
        )  # fmt: skip
    assert len(history.loss) == stopped
    assert stopping.best_epoch == best
    assert stopping.stopped == (stopped < len(values))
    kept = seen[-1 if best is None else best]
    np.testing.assert_array_equal(trainer.parameters, kept)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("cut", [1, 3, 99])
def test_a_fleet_finds_the_same_epochs(case, cut):
    values, settings, best, stopped = CASES[case]
    fleet = Fleet([1, 1], members=3, seed=0)
    state = fleet._model.state
    rule = Stopping(EarlyStopping("loss", **settings), state, None)
    columns = np.array(values, np.float64)[:, None] + np.zeros(3)
    done = 0
    members = np.arange(3)
    while done < len(values) and len(rule.going_on(members)):
        block = columns[done : done + cut]
        seen = rule.look(members, block, np.full(3, len(block)))
        params = np.zeros((len(block), *state.params.shape))
        params += np.arange(done, done + len(block))[:, None, None]
        rule.commit(members, seen, params)
        state.epochs += seen.done
        done += int(seen.done[0])
    assert done == stopped
    assert rule.found.best_epoch.tolist() == [-1 if best is None else best] * 3
    if best is not None:
        assert (rule.found.params == best).all()


def flat(epochs):
    """Return the arguments of a net whose loss stays the same from the first epoch on."""
    return [[0.0], [0.0]], [0.5, 0.5], epochs


@pytest.mark.parametrize("ties", ["first", "last"])
def test_a_loss_that_never_changes(backend, ties):
    arguments = {"init": ([[[0.0]]], [[0.0]]), "backend": backend}
    slow, quick = (EarlyStopping("loss", patience=4, ties=ties) for _ in "12")
    trainer, twin = (Trainer([1, 1], **arguments) for _ in "12")
    trainer.fit(*flat(20), callbacks=quick)
    twin.fit(*flat(20), callbacks=[slow, lambda *_: None])
    expected = (0, 5, True) if ties == "first" else (19, 20, False)
    assert (quick.best_epoch, trainer.epochs_trained, quick.stopped) == expected
    assert (slow.best_epoch, twin.epochs_trained, slow.stopped) == expected
    fleet = Fleet([1, 1], members=2, **arguments)
    history = fleet.fit(*flat(20), callbacks=EarlyStopping("loss", patience=4, ties=ties))
    assert history.best_epoch.tolist() == [expected[0]] * 2
    assert history.epochs.tolist() == [expected[1]] * 2


def test_a_resumed_fit_goes_on_with_ties(backend, tmp_path):
    arguments = {"init": ([[[0.0]]], [[0.0]]), "backend": backend}
    trainer = Trainer([1, 1], **arguments)
    trainer.fit(*flat(3), callbacks=EarlyStopping("loss", patience=4, ties="last"))
    trainer.save(tmp_path / "net")
    loaded, stopping = (
        Trainer.load(tmp_path / "net"),
        EarlyStopping("loss", patience=4, ties="last"),
    )
    loaded.fit([[0.0], [0.0]], [0.5, 0.5], epochs_total=9, callbacks=stopping)
    assert (stopping.best_epoch, loaded.epochs_trained) == (8, 9)


def test_the_length_of_a_fleets_blocks_changes_nothing(rng, monkeypatch):
    """The steps are so small that many epochs have the same loss."""
    X, y = rng.normal(size=(20, 2)), rng.uniform(size=20)
    histories = []
    for most in (1, 7, 100):
        monkeypatch.setattr(course.Course, "_most", lambda self, most=most: most)
        fleet = Fleet([2, 3, 1], members=4, seed=0, dtype="float32", learning_rate=1e-7)
        stopping = EarlyStopping("loss", patience=5, ties="last")
        histories.append(fleet.fit(X, y, 60, callbacks=stopping))
    for history in histories[1:]:
        np.testing.assert_array_equal(history.best_epoch, histories[0].best_epoch)
        np.testing.assert_array_equal(history.epochs, histories[0].epochs)


def test_bad_ties():
    with pytest.raises(ValueError, match=r"^ties 'best' is unknown"):
        EarlyStopping(ties="best")
    assert "ties='last'" in repr(EarlyStopping(ties="last"))
