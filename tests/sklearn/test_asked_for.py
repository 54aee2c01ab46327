"""Features that scikit-learn's users asked for. Numbers in names are those of its issues."""

from __future__ import annotations

import contextlib
import copy
import pickle
import threading

import numpy as np
import pytest
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.metrics import get_scorer
from sklearn.utils.class_weight import compute_sample_weight

from jitprop import CustomActivation, CustomLoss, Huber, Trainer
from jitprop.backends import threads
from jitprop.net import losses
from jitprop.sklearn import MLPClassifier, MLPRegressor, descent

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, LABELS = load_iris(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)
Y = X[:, 0] * X[:, 1]
NAMES = np.array(["setosa", "versicolor", "virginica"])[LABELS]
SMALL = {"hidden_layer_sizes": (6, 5), "max_iter": 15, "random_state": 0, "batch_size": 40}


def equal(a, b):
    for ref, comp in zip([*a.coefs_, *a.intercepts_], [*b.coefs_, *b.intercepts_], strict=True):
        np.testing.assert_array_equal(ref, comp)
    return True


def differ(a, b):
    return any((ref != comp).any() for ref, comp in zip(a.coefs_, b.coefs_, strict=True))


@pytest.mark.parametrize(
    "weights", ["balanced", {"setosa": 5.0, "versicolor": 1, "virginica": 0.1}]
)
def test_class_weight_9113(weights):
    rows = slice(0, 120)  # the classes differ in size
    comp = MLPClassifier(**SMALL, class_weight=weights).fit(X[rows], NAMES[rows])
    of_samples = compute_sample_weight(weights, NAMES[rows])
    ref = MLPClassifier(**SMALL).fit(X[rows], NAMES[rows], of_samples)
    assert equal(ref, comp)
    assert differ(comp, MLPClassifier(**SMALL).fit(X[rows], NAMES[rows]))
    twice = MLPClassifier(**SMALL, class_weight=weights).fit(X[rows], NAMES[rows], of_samples)
    assert equal(twice, MLPClassifier(**SMALL).fit(X[rows], NAMES[rows], of_samples**2))


def test_balanced_classes_need_all_samples():
    model = MLPClassifier(**SMALL, class_weight="balanced")
    with pytest.raises(ValueError, match="but partial_fit sees only some"):
        model.partial_fit(X, LABELS, classes=[0, 1, 2])


def test_weights_of_classes_that_are_not_among_these_samples():
    two = LABELS > 0
    weighted = MLPClassifier(**SMALL, class_weight={0: 5.0, 2: 3.0})
    weighted.partial_fit(X[two], LABELS[two], classes=[0, 1, 2])
    of_samples = np.array([5.0, 1.0, 3.0])[LABELS[two]]
    ref = MLPClassifier(**SMALL).partial_fit(X[two], LABELS[two], of_samples, [0, 1, 2])
    assert equal(ref, weighted)
    with pytest.raises(ValueError, match="class_weight must not be negative"):
        MLPClassifier(class_weight={1: -1.0}).fit(X, LABELS)


def test_activations_of_each_layer_10097():
    model = MLPClassifier(**SMALL, activation=["tanh", "gelu"]).fit(X, LABELS)
    trainer = Trainer(
        [4, 6, 5, 3],
        activation=["tanh", "gelu"],
        output_activation="softmax",
        loss="cross_entropy",
        init=(model.coefs_, model.intercepts_),
    )
    np.testing.assert_allclose(model.predict_proba(X), trainer.predict(X), rtol=1e-12)
    both = MLPClassifier(**SMALL, activation=("logistic", "logistic")).fit(X, LABELS)
    assert equal(both, MLPClassifier(**SMALL, activation="logistic").fit(X, LABELS))
    own = CustomActivation(lambda z: z * 0.5, lambda z: 0.5, name="half")
    assert MLPRegressor(**SMALL, activation=own).fit(X, Y).predict(X).shape == (150,)
    with pytest.raises(ValueError, match="one for each of the 2 hidden layers; got 1 names"):
        MLPClassifier(**SMALL, activation=["tanh"]).fit(X, LABELS)


def test_other_losses_and_ones_own_14571():
    Y_far = Y.copy()
    Y_far[:5] = 1000.0
    settings = SMALL | {"max_iter": 500, "learning_rate_init": 0.01, "tol": 0.0}
    robust = MLPRegressor(loss="absolute_error", **settings).fit(X, Y_far)
    assert (
        robust.score(X[5:], Y[5:])
        > 0.5
        > 0.0
        > MLPRegressor(**settings).fit(X, Y_far).score(X[5:], Y[5:])
    )
    assert equal(
        MLPRegressor(loss="huber", **SMALL).fit(X, Y),
        MLPRegressor(loss=Huber(1.0), **SMALL).fit(X, Y),
    )
    own = CustomLoss(lambda a, y: 0.5 * (a - y) ** 2, lambda a, y: a - y, name="own")
    ref, comp = MLPRegressor(**SMALL).fit(X, Y), MLPRegressor(loss=own, **SMALL).fit(X, Y)
    np.testing.assert_allclose(comp.predict(X), ref.predict(X), rtol=1e-9)
    with pytest.raises(ValueError, match="'gaussian_nll' does not train a regressor"):
        MLPRegressor(loss=losses.GaussianNLL()).fit(X, Y)


def test_dropout_6175():
    model = MLPClassifier(**SMALL, dropout=(0.5, 0.0)).fit(X, LABELS)
    assert equal(model, clone(model).fit(X, LABELS))
    assert differ(model, MLPClassifier(**SMALL).fit(X, LABELS))
    np.testing.assert_array_equal(model.predict_proba(X), model.predict_proba(X))
    with pytest.raises(ValueError, match="dropout needs solver"):
        MLPClassifier(solver="lbfgs", dropout=0.5).fit(X, LABELS)


def test_validation_loss_curve_and_callbacks_18507():
    calls = []

    def callback(model, epoch, logs):
        calls.append((epoch, logs, model.score(X, LABELS)))
        if epoch == 7:
            model.stop()

    model = MLPClassifier(**SMALL, callbacks=callback)
    model.fit(X[:100], LABELS[:100] % 2, X_val=X[100:], y_val=LABELS[100:] % 2)
    assert [epoch for epoch, *_ in calls] == list(range(8))
    assert len(model.validation_loss_curve_) == model.n_iter_ == 8
    assert [logs["validation_loss"] for _, logs, _ in calls] == model.validation_loss_curve_
    assert [logs["loss"] for _, logs, _ in calls] == model.loss_curve_
    p = model.predict_proba(X[100:])[np.arange(50), LABELS[100:] % 2]
    np.testing.assert_allclose(model.validation_loss_curve_[-1], -np.log(p).mean(), rtol=1e-12)
    unwatched = MLPClassifier(**SMALL | {"max_iter": 8}).fit(X[:100], LABELS[:100] % 2)
    assert equal(unwatched, model)
    assert unwatched.validation_loss_curve_ is None
    with pytest.raises(TypeError, match="callbacks must be a function"):
        MLPClassifier(callbacks=[3]).fit(X, LABELS)


def stop_from_a_thread(model):
    thread = threading.Thread(target=model.stop)
    thread.start()
    thread.join(timeout=60)


def test_what_a_callback_returns_is_ignored():
    model = MLPClassifier(**SMALL, callbacks=lambda *logs: True)
    assert model.fit(X, LABELS).n_iter_ == SMALL["max_iter"]


def test_stop_outside_a_fit_does_nothing():
    model = MLPClassifier(**SMALL)
    model.stop()
    ref = model.fit(X, LABELS).n_iter_
    model.stop()
    assert ref == model.fit(X, LABELS).n_iter_ == SMALL["max_iter"]
    copies = []
    model.set_params(callbacks=lambda model, *logs: copies.append(copy.copy(model)))
    model.fit(X, LABELS)
    copies[3].stop()
    assert copies[3].set_params(callbacks=None).fit(X, LABELS).n_iter_ == SMALL["max_iter"]


def test_a_scorer_may_stop_the_fit():
    scores = []

    def enough(estimator, X, y):
        scores.append(len(scores))
        if len(scores) == 4:
            estimator.stop()
        return scores[-1]

    model = MLPClassifier(**SMALL, early_stopping=True, scoring=enough).fit(X, LABELS)
    assert model.n_iter_ == 4
    assert not model.stopped_


@pytest.mark.filterwarnings("error::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    "setting",
    [
        {},
        {"n_members": 2, "verbose": True},
        {"solver": "lbfgs", "verbose": True},
        {"solver": "lm", "verbose": True},
    ],
)
def test_another_thread_may_stop_the_fit(setting, monkeypatch):
    """The thread calls `stop` when the fit prints or when it draws an order."""
    model = MLPClassifier(**SMALL | {"max_iter": 10**6, "tol": 0, "n_iter_no_change": np.inf})
    model.set_params(**setting)
    if setting:
        # Calls with a file come from older versions of numba, which print while they compile.
        monkeypatch.setattr(
            "builtins.print", lambda *text, file=None: file or stop_from_a_thread(model)
        )
    else:
        draw = descent.Shuffles.draw
        monkeypatch.setattr(
            descent.Shuffles, "draw", lambda *given: stop_from_a_thread(model) or draw(*given)
        )
    model.fit(X, LABELS)
    assert 1 <= model.n_iter_ < 10**6
    assert model.score(X, LABELS) > 0.2
    if setting:
        assert model.n_iter_ == 1
    if model.solver != "lbfgs":
        assert not model.stopped_


@pytest.mark.parametrize("scoring", ["loss", "neg_log_loss", get_scorer("f1_macro"), None])
def test_early_stopping_on_the_loss_or_any_scorer_24411(scoring):
    train, held_out = np.arange(0, 150, 2), np.arange(1, 150, 2)
    settings = SMALL | {"max_iter": 400, "learning_rate_init": 0.02}
    model = MLPClassifier(**settings, early_stopping=True, scoring=scoring, n_iter_no_change=5)
    model.fit(X[train], NAMES[train], X_val=X[held_out], y_val=NAMES[held_out])
    assert model.stopped_
    assert len(model.validation_scores_) == model.n_iter_ < 400
    best = int(np.argmax(model.validation_scores_))
    if scoring == "loss":
        np.testing.assert_array_equal(
            model.validation_scores_, -np.array(model.validation_loss_curve_)
        )
        return
    scorer = get_scorer("accuracy" if scoring is None else scoring)
    np.testing.assert_allclose(
        scorer(model, X[held_out], NAMES[held_out]), model.validation_scores_[best], rtol=1e-9
    )


def test_scorers_are_not_asked_for_names_of_features():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcd"))
    model = MLPClassifier(**SMALL, early_stopping=True, scoring="balanced_accuracy")
    assert model.fit(frame, LABELS).feature_names_in_.tolist() == list("abcd")


def nan_score(model, X, y):
    return np.nan


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("scoring", [nan_score, "loss"])
def test_a_score_that_is_nan_leaves_trained_weights_and_a_warning(kind, scoring, monkeypatch):
    if scoring == "loss":
        monkeypatch.setattr("jitprop.sklearn.validation.Validation.loss", lambda *given: np.nan)
    held_out = {"X_val": X[::3], "y_val": LABELS[::3]}
    model = kind(**SMALL, early_stopping=True, scoring=scoring, n_iter_no_change=3)
    name = getattr(scoring, "__name__", scoring)
    with pytest.warns(UserWarning, match=f"but '{name}' was nan or -inf in every") as caught:
        model.fit(X, LABELS, **held_out)
    assert [warning.filename for warning in caught] == [__file__]
    assert (model.n_iter_, model.stopped_) == (4, True)
    assert equal(model, kind(**SMALL | {"max_iter": 4}).fit(X, LABELS))
    again = kind(**SMALL, early_stopping=True, scoring=scoring, n_iter_no_change=3)
    classes = {"classes": [0, 1, 2]} if kind is MLPClassifier else {}
    for _ in range(3):
        again.partial_fit(X, LABELS, **classes, **held_out)
    with pytest.warns(UserWarning, match=f"but '{name}' was nan or -inf in every"):
        again.partial_fit(X, LABELS, **held_out)
    assert again.stopped_
    weights = [W.copy() for W in again.coefs_]
    again.partial_fit(X, LABELS, **held_out)
    assert all((ref == comp).all() for ref, comp in zip(weights, again.coefs_, strict=True))
    assert all(W.any() for W in weights)


def test_a_score_that_is_nan_now_and_then_is_never_the_best():
    scores = iter([np.nan, 0.5, np.nan, 0.4, 0.3, 0.2, 0.1])
    model = MLPClassifier(
        **SMALL, early_stopping=True, scoring=lambda *given: next(scores), n_iter_no_change=3
    )
    model.fit(X, LABELS, X_val=X, y_val=LABELS)
    assert (model.n_iter_, model.best_validation_score_) == (6, 0.5)
    assert equal(model, MLPClassifier(**SMALL | {"max_iter": 2}).fit(X, LABELS))


def test_a_net_that_diverges_before_it_has_a_score_is_an_error():
    settings = {"solver": "sgd", "learning_rate_init": 1e9, "early_stopping": True}
    with pytest.raises(ValueError, match="The loss was inf or nan in epoch 1"):
        MLPRegressor(**SMALL, **settings).fit(X, Y)


def test_an_ensemble_that_is_interrupted_has_what_was_trained(monkeypatch):
    def interrupts(fleet, epoch, logs):
        if epoch == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr("jitprop.sklearn.ensemble.print_losses", interrupts)
    model = MLPRegressor(**SMALL, n_members=3, verbose=True)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y)
    ref = MLPRegressor(**SMALL | {"max_iter": 5}, n_members=3).fit(X, Y)
    assert model.n_iter_ == 5
    assert equal(model, ref)
    np.testing.assert_array_equal(model.predict(X), ref.predict(X))


@pytest.mark.filterwarnings("ignore:Training interrupted:UserWarning")
def test_an_interrupted_fit_with_early_stopping_has_the_best_weights():
    scores = iter([0.1, 0.5, 0.3, 0.2, 0.1])

    def interrupts(model, epoch, logs):
        if epoch == 4:
            raise KeyboardInterrupt

    model = MLPClassifier(
        **SMALL, early_stopping=True, scoring=lambda *given: next(scores), callbacks=interrupts
    )
    with contextlib.suppress(KeyboardInterrupt):
        model.fit(X, LABELS, X_val=X, y_val=LABELS)
    assert equal(model, MLPClassifier(**SMALL | {"max_iter": 2}).fit(X, LABELS))


@pytest.mark.parametrize(("value", "came"), [("1", "got '1'"), (np.ones(2), "got an array of sha")])
def test_a_scorer_returns_a_number(value, came):
    def mine(*given):
        return value

    with pytest.raises(TypeError, match=f"scoring 'mine' must return a number; {came}"):
        MLPClassifier(**SMALL, early_stopping=True, scoring=mine).fit(X, LABELS)


@pytest.mark.filterwarnings("ignore:EarlyStopping monitors 'validation_loss':RuntimeWarning")
def test_an_ensemble_without_a_score_keeps_trained_weights(monkeypatch):
    held_out = {"X_val": np.full((9, 4), 1e250), "y_val": Y[:9]}
    settings = SMALL | {"activation": "identity", "n_members": 2}
    model = MLPRegressor(**settings, early_stopping=True, n_iter_no_change=3).fit(X, Y, **held_out)
    ref = MLPRegressor(**settings | {"max_iter": model.n_iter_}).fit(X, Y)
    assert equal(model, ref)
    assert model.best_validation_score_ == -np.inf


def test_early_stopping_with_partial_fit_25693():
    model = MLPRegressor(
        **SMALL | {"learning_rate_init": 0.05}, early_stopping=True, n_iter_no_change=3
    )
    rounds = 0
    while not getattr(model, "stopped_", False):
        model.partial_fit(X[:75], Y[:75], X_val=X[75:], y_val=Y[75:])
        rounds += 1
        assert rounds < 500
    assert len(model.validation_scores_) == rounds
    np.testing.assert_allclose(model.score(X[75:], Y[75:]), max(model.validation_scores_))
    before = clone(model), [W.copy() for W in model.coefs_]
    model.partial_fit(X[:75], Y[:75], X_val=X[75:], y_val=Y[75:])
    for ref, comp in zip(before[1], model.coefs_, strict=True):
        np.testing.assert_array_equal(ref, comp)
    with pytest.raises(ValueError, match="partial_fit does not support early_stopping=True"):
        clone(model).partial_fit(X, Y)


def test_partial_fit_after_fit_does_not_forget_the_best_weights_25693():
    calls = []
    settings = SMALL | {"scoring": lambda model, X, y: -len(calls.append(1) or calls)}
    model = MLPRegressor(**settings | {"max_iter": 2}, early_stopping=True, n_iter_no_change=3)
    held_out = {"X_val": X[75:], "y_val": Y[75:]}
    best = [W.copy() for W in model.fit(X[:75], Y[:75], **held_out).coefs_]
    for stopped in (False, False, True):  # the second epoch of fit did not improve either
        model.partial_fit(X[:75], Y[:75], **held_out)
        assert model.stopped_ == stopped
        kept = all((ref == comp).all() for ref, comp in zip(best, model.coefs_, strict=True))
        assert kept == stopped


@pytest.mark.parametrize("random", [int, np.random.RandomState])
@pytest.mark.parametrize(
    "setting",
    [
        {"solver": "adam"},
        {"solver": "adam", "dropout": 0.3},
        {"solver": "adam", "batch_size": 150},
        {"solver": "sgd", "learning_rate": "invscaling"},
        {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.1, "n_iter_no_change": 2},
    ],
)
def test_warm_start_that_keeps_the_optimizer_6091_12505(setting, random):
    settings = SMALL | {"max_iter": 20} | setting
    ref = MLPRegressor(**settings | {"random_state": random(0)}).fit(X, Y)
    settings |= {"max_iter": 1, "warm_start": True}
    comp = MLPRegressor(**settings | {"random_state": random(0)}, keep_optimizer=True)
    forgetful = MLPRegressor(**settings | {"random_state": random(0)})
    for _ in range(ref.n_iter_):
        comp.fit(X, Y)
        forgetful.fit(X, Y)
    assert equal(ref, comp)
    assert ref.loss_curve_ == comp.loss_curve_
    assert differ(ref, forgetful)


@pytest.mark.parametrize("keep_optimizer", [False, True])
def test_warm_start_keeps_the_best_weights_if_it_keeps_the_optimizer(keep_optimizer):
    seen = []

    def worse_and_worse(model, X, y):
        seen.append(X)
        return -len(seen)

    settings = {"early_stopping": True, "scoring": worse_and_worse, "warm_start": True}
    model = MLPClassifier(**SMALL, **settings, keep_optimizer=keep_optimizer).fit(X, LABELS)
    best, first = [W.copy() for W in model.coefs_], seen[0]
    model.fit(X, LABELS)
    kept = all((ref == comp).all() for ref, comp in zip(best, model.coefs_, strict=True))
    assert kept == keep_optimizer
    assert (seen[-1] == first).all() == keep_optimizer  # else the fit has trained on it


def test_divergence_is_told_with_its_epoch_29504():
    model = MLPRegressor(**SMALL | {"max_iter": 200}, solver="sgd", learning_rate_init=10.0)
    with pytest.raises(
        ValueError, match=r"inf or nan in epoch \d+, batch \d+, with learning rate 10"
    ):
        model.fit(X * 100, Y)


def test_hidden_activations_9468():
    model = MLPClassifier(**SMALL, activation=["logistic", "tanh"]).fit(X, LABELS)
    first, second = model.hidden_activations(X)
    np.testing.assert_allclose(
        first, 1 / (1 + np.exp(-(X @ model.coefs_[0] + model.intercepts_[0]))), rtol=1e-12
    )
    np.testing.assert_allclose(
        second, np.tanh(first @ model.coefs_[1] + model.intercepts_[1]), rtol=1e-11
    )
    assert MLPClassifier((), max_iter=1).fit(X, LABELS).hidden_activations(X) == []


def test_workers_of_joblib_keep_to_their_share_7280_13567():
    found = Parallel(n_jobs=2)(delayed(threads.available)() for _ in range(2))
    assert found == [max(1, threads.cores() // 2)] * 2


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_same_model_on_any_number_of_threads_13108_14603(dtype, solver):
    rng = np.random.default_rng(0)
    many, labels = rng.normal(size=(600, 60)).astype(dtype), rng.integers(0, 3, 600)
    settings = {"hidden_layer_sizes": (150,), "max_iter": 3, "random_state": 0, "batch_size": 300}
    settings["solver"] = solver
    one = MLPClassifier(**settings, n_threads=1).fit(many, labels)
    assert equal(one, MLPClassifier(**settings, n_threads=2).fit(many, labels))
    assert equal(one, MLPClassifier(**settings).fit(many, labels))


def test_progress(capsys):
    MLPClassifier(**SMALL | {"max_iter": 3}, verbose=True).fit(X, LABELS)
    assert [line[:11] for line in capsys.readouterr().out.splitlines()] == [
        "Iteration 1", "Iteration 2", "Iteration 3"
    ]  # fmt: skip


class TestEnsembles:
    @pytest.mark.parametrize("weights", [None, np.tile([0.2, 1.8, 0.5, 0.1, 1.0], 30)])
    def test_members_begin_and_train_as_if_alone(self, weights):
        settings = SMALL | {"shuffle": False, "alpha": 1.0, "batch_size": 50}
        fleet = MLPRegressor(**settings, n_members=3).fit(X, Y, weights)
        alone = MLPRegressor(**settings).fit(X, Y, weights)
        assert [W.shape for W in fleet.coefs_] == [(3, 4, 6), (3, 6, 5), (3, 5, 1)]
        for ref, comp in zip(alone.coefs_, fleet.coefs_, strict=True):
            np.testing.assert_allclose(comp[0], ref, rtol=1e-10, atol=1e-13)
            assert (comp[1] != ref).all()

    def test_another_number_of_members(self):
        model = MLPRegressor(**SMALL, n_members=3).fit(X, Y)
        mean = model.predict(X)
        model.set_params(n_members=1)  # for the next fit
        np.testing.assert_array_equal(model.predict(X), mean)
        with pytest.raises(ValueError, match="the present net"):
            model.partial_fit(X, Y)
        assert equal(model.fit(X, Y), MLPRegressor(**SMALL).fit(X, Y))
        np.testing.assert_array_equal(model.predict(X), MLPRegressor(**SMALL).fit(X, Y).predict(X))
        assert not hasattr(model, "fleet_")

    def test_there_is_no_partial_fit(self):
        model = MLPClassifier(n_members=2)
        assert not hasattr(model, "partial_fit")
        assert hasattr(model.set_params(n_members=1), "partial_fit")

    def test_it_tells_what_it_does(self, capsys):
        model = MLPRegressor(**SMALL | {"max_iter": 2}, n_members=3, verbose=True)
        model.set_params(learning_rate="adaptive", batch_size=500)  # adam ignores it
        with pytest.warns(UserWarning, match="It is going to be clipped"):
            model.fit(X, Y)
        first, second = model.loss_curve_
        assert capsys.readouterr().out == (
            f"Iteration 1, loss = {first:.8f}\nIteration 2, loss = {second:.8f}\n"
        )

    def test_predictions_are_means(self):
        model = MLPRegressor(**SMALL, n_members=4).fit(X, Y)
        each = np.array([member.predict(X).ravel() for member in model.fleet_])
        mean, std = model.predict(X, return_std=True)
        np.testing.assert_allclose(mean, each.mean(axis=0))
        np.testing.assert_allclose(std, each.std(axis=0))
        np.testing.assert_array_equal(mean, model.predict(X))
        with pytest.raises(ValueError, match="return_std=True needs n_members"):
            MLPRegressor(**SMALL).fit(X, Y).predict(X, return_std=True)

    @pytest.mark.parametrize("y", [NAMES, NAMES == "setosa", np.eye(3, dtype=int)[LABELS]])
    def test_probabilities_are_means(self, y):
        model = MLPClassifier(**SMALL | {"max_iter": 60}, n_members=4).fit(X, y)
        p = np.mean([member.predict(X) for member in model.fleet_], axis=0)
        comp = model.predict_proba(X)
        np.testing.assert_allclose(comp if p.shape[1] > 1 else comp[:, 1:], p, rtol=1e-9)
        assert model.predict(X).shape == y.shape
        assert equal(model, pickle.loads(pickle.dumps(model)))
        assert equal(model, clone(model).fit(X, y))

    def test_bootstrap(self):
        with_it = MLPRegressor(**SMALL, n_members=3, bootstrap=True).fit(X, Y)
        assert differ(with_it, MLPRegressor(**SMALL, n_members=3).fit(X, Y))
        with pytest.raises(ValueError, match="bootstrap=True needs n_members"):
            MLPRegressor(bootstrap=True).fit(X, Y)

    def test_early_stopping(self):
        model = MLPClassifier(
            **SMALL | {"max_iter": 500, "learning_rate_init": 0.05},
            n_members=3,
            early_stopping=True,
            n_iter_no_change=3,
        )
        model.fit(X, NAMES)
        assert model.stopped_
        assert len(model.validation_loss_curve_) == model.n_iter_ < 500
        assert model.validation_scores_ == [-loss for loss in model.validation_loss_curve_]
        assert model.best_validation_score_ == max(model.validation_scores_)
        assert model.best_loss_ is None
        assert model.score(X, NAMES) > 0.9

    @pytest.mark.parametrize(
        "setting", [{"warm_start": True}, {"dropout": 0.5}, {"scoring": "r2"}, {"callbacks": print}]
    )
    def test_what_no_ensemble_can_do(self, setting):
        with pytest.raises(ValueError, match=f"{next(iter(setting))} must be .* with n_members"):
            MLPRegressor(**SMALL, **setting, n_members=2).fit(X, Y)


@pytest.mark.parametrize(
    ("setting", "error"),
    [
        ({"dropout": 1.0}, "dropout must be a finite number at least 0 and below 1"),
        ({"n_threads": 0}, "n_threads must be an integer of at least 1"),
        ({"n_members": 0}, "n_members must be an integer of at least 1"),
        ({"keep_optimizer": 1}, "keep_optimizer must be True or False"),
        ({"bootstrap": None}, "bootstrap must be True or False"),
        ({"scoring": 5}, "scoring must be 'loss'"),
    ],
)
def test_bad_settings(setting, error):
    with pytest.raises(ValueError, match=error):
        MLPRegressor(**setting).fit(X, Y)


def test_held_out_samples_must_be_whole():
    with pytest.raises(ValueError, match="X_val and y_val must be given together"):
        MLPClassifier().fit(X, LABELS, X_val=X)
    with pytest.raises(ValueError, match="classes not in"):
        MLPClassifier().fit(X[:100], LABELS[:100], X_val=X[100:], y_val=LABELS[100:])
