"""Nets of scikit-learn train on here, update by update, and nets of ours go there."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline

import jitprop.sklearn as ours
from jitprop import SGD, Adam, AdamW, CrossEntropy, CustomActivation, Fleet, Trainer
from jitprop.convert import from_sklearn, to_sklearn

EPOCHS, BATCH = 10, 7
N = 33  # the last batch of an epoch is shorter

SOLVERS = {
    "sgd": {"solver": "sgd", "momentum": 0.0},
    "momentum": {"solver": "sgd", "momentum": 0.9, "nesterovs_momentum": False},
    "nesterov": {"solver": "sgd", "momentum": 0.9},
    "falling rate": {"solver": "sgd", "learning_rate": "invscaling", "power_t": 0.2},
    "adam": {"solver": "adam", "epsilon": 1e-3},
}

RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 4))
TARGETS = {
    "binary": np.where(X[:, 0] > X[:, 1], "yes", "no"),
    "classes": RNG.integers(0, 3, N),
    "labels": RNG.integers(0, 2, (N, 3)),
    "one": X[:, 0] - X[:, 2] ** 2,
    "several": X[:, :2] - X[:, 2:] ** 2,
    "counts": RNG.poisson(2.0, N).astype(float),
}
FLAT = {"binary": lambda y: (y == "yes").astype(float)}  # what a trainer takes as targets


def fitted(task, epochs=EPOCHS, **settings):
    """Train an estimator by `partial_fit`, on the same batches in each epoch."""
    of_theirs = MLPRegressor if task in ("one", "several", "counts") else MLPClassifier
    if task == "counts":
        settings["loss"] = "poisson"
    fixed = {"learning_rate_init": 0.02, "batch_size": BATCH, "shuffle": False, "random_state": 1}
    of_net = {"hidden_layer_sizes": (5, 4), "activation": "tanh", "alpha": 0.1}
    model = of_theirs(**of_net | fixed | settings)
    return go_on(model, task, epochs)


def go_on(model, task, epochs=EPOCHS):
    y = TARGETS[task]
    more = {"classes": np.unique(y)} if hasattr(model, "predict_proba") else {}
    if task == "labels":
        more = {"classes": np.arange(3)} if not hasattr(model, "classes_") else {}
    for _ in range(epochs):
        model.partial_fit(X, y, **more)
    return model


def targets(task):
    return FLAT.get(task, lambda y: y)(TARGETS[task])


def outputs(model):
    if not hasattr(model, "predict_proba"):
        return model.predict(X).reshape(N, -1)
    found = model.predict_proba(X)
    return found[:, 1:] if model.n_outputs_ == 1 else found


def same(theirs, trainer, tolerance):
    for mine, their in ((trainer.weights, theirs.coefs_), (trainer.biases, theirs.intercepts_)):
        for a, b in zip(mine, their, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


@pytest.fixture(autouse=True)
def nothing_converges():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


has_poisson = pytest.mark.skipif(
    "loss" not in MLPRegressor().get_params(), reason="scikit-learn 1.7 brought it"
)
TASKS = [pytest.param(t, marks=has_poisson if t == "counts" else ()) for t in TARGETS]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_trainer_predicts_what_the_estimator_predicts(task, dtype):
    y = TARGETS[task]
    model = fitted(task, 1)
    model = clone(model).set_params(max_iter=3).fit(X.astype(dtype), y)
    trainer = from_sklearn(model)
    assert trainer.dtype == dtype
    found, expected = trainer.predict(X), outputs(model)
    tolerance = 1e-6 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_training_goes_on_where_it_stopped(task, solver):
    """The weight decay counts too: scikit-learn divides it by the size of each batch."""
    model = fitted(task, **SOLVERS[solver])
    trainer = from_sklearn(model)
    if solver == "falling rate":  # the present rate stays
        trainer.fit(X, targets(task), 1)
        same(go_on(model, task, 1), trainer, 1e-12)
        return
    trainer.fit(X, targets(task), EPOCHS)
    assert np.abs(trainer.weights[0] - model.coefs_[0]).max() > 1e-3
    same(go_on(model, task), trainer, 1e-12)


def test_own_estimators_go_on_too():
    for solver in ("sgd", "adam"):
        model = ours.MLPClassifier([5, 4], activation=["tanh", "gelu"], solver=solver, alpha=0.1,
            batch_size=BATCH, shuffle=False, class_weight={"no": 2.0}, random_state=1)  # fmt: skip
        trainer = from_sklearn(go_on(model, "binary"))
        assert trainer.activation == ("tanh", "gelu")
        trainer.fit(X, targets("binary"), EPOCHS)
        same(go_on(model, "binary"), trainer, 1e-13)


def test_a_trainer_keeps_alpha_in_files_and_copies_and_members(tmp_path):
    model = fitted("classes", alpha=0.5)
    trainer, y = from_sklearn(model), TARGETS["classes"]
    assert (trainer.l2, trainer.weight_decay) == (0.5, 0.0)
    trainer.save(tmp_path / "net")
    fleet = from_sklearn([model, model])
    assert isinstance(fleet, Fleet)
    fleet.save(tmp_path / "nets")
    made = [
        Trainer.load(tmp_path / "net"),
        pickle.loads(pickle.dumps(trainer)),
        fleet[1],
        Fleet.load(tmp_path / "nets")[0],
    ]
    fleet.fit(X, y, 2)
    trainer.fit(X, y, 2)
    for each in made:
        each.fit(X, y, 2)
        assert each.l2 == 0.5
        np.testing.assert_allclose(each.parameters, trainer.parameters, rtol=0, atol=1e-14)
    np.testing.assert_allclose(fleet[0].parameters, trainer.parameters, rtol=0, atol=1e-14)


def test_a_trace_shows_alpha():
    trainer = from_sklearn(fitted("several", **SOLVERS["sgd"]))
    trace = trainer.trace(X, TARGETS["several"])
    assert trace.formulas["update_weights[0]"].endswith("(d_weights[0] + 0.1 * W[0] / 33)")
    update = -0.02 * (trace.d_weights[0] + 0.1 * trace.weights[0] / N)
    np.testing.assert_allclose(trace.update_weights[0], update, rtol=0, atol=1e-15)


def test_a_fleet_goes_on_as_each_estimator_does():
    models = [fitted("several", 3 + i, random_state=i) for i in range(3)]
    fleet = from_sklearn(models)
    fleet.fit(X, targets("several"), EPOCHS)
    for model, member in zip(models, fleet, strict=True):
        same(go_on(model, "several"), member, 1e-12)


def test_columns_keep_their_names():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=list("abcd"))
    trainer = from_sklearn(
        MLPRegressor(hidden_layer_sizes=[3], max_iter=2).fit(frame, TARGETS["one"])
    )
    assert trainer.feature_names_in_.tolist() == list("abcd")
    with pytest.raises(ValueError, match="in the same order"):
        trainer.predict(frame[list("bacd")])
    trainer = Trainer([4, 3, 1], output_activation="identity", activation="tanh")
    trainer.fit(frame, TARGETS["one"], 1)
    assert to_sklearn(trainer).feature_names_in_.tolist() == list("abcd")


def test_what_has_no_net_to_take_is_refused():
    with pytest.raises(TypeError, match=r"fitted MLPClassifier.*which is not fitted"):
        from_sklearn(MLPClassifier())
    model = fitted("classes", 1)
    with pytest.raises(TypeError, match=r"pass its last step, estimator\[-1\]"):
        from_sklearn(make_pipeline(model))
    many = ours.MLPClassifier([3], n_members=2, max_iter=1).fit(X, TARGETS["classes"])
    with pytest.raises(ValueError, match=r"a Fleet already: estimator\.fleet_"):
        from_sklearn(many)
    balanced = ours.MLPClassifier([3], class_weight="balanced", max_iter=1)
    with pytest.raises(ValueError, match=r"class_weight must be None or a dict.*'balanced'"):
        from_sklearn(balanced.fit(X, TARGETS["classes"]))
    with pytest.raises(ValueError, match="same layer_sizes"):
        from_sklearn([model, fitted("classes", 1, hidden_layer_sizes=(3,))])


# The other way.

OUTPUTS = {
    "binary": {"output_activation": "sigmoid", "loss": "binary_cross_entropy"},
    "classes": {"output_activation": "softmax", "loss": "cross_entropy"},
    "labels": {"output_activation": "sigmoid", "loss": "binary_cross_entropy"},
    "one": {"output_activation": "identity"},
    "several": {"output_activation": "identity"},
    "counts": {"output_activation": "exp", "loss": "poisson"},
}
OPTIMIZERS = [SGD(), SGD(0.9), SGD(0.9, nesterov=True), Adam(epsilon=1e-3, epsilon_hat=True)]


def trained(task, dtype="float64", **settings):
    k = {"classes": 3, "labels": 3, "several": 2}.get(task, 1)
    settings = {"activation": "tanh", "batch_size": BATCH, "shuffle": False, "seed": 0,
        "learning_rate": 0.02, "dtype": dtype} | OUTPUTS[task] | settings  # fmt: skip
    trainer = Trainer([4, 5, 4, k], **settings)
    trainer.fit(X, targets(task), EPOCHS)
    return trainer


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_estimator_predicts_what_the_trainer_predicts(task, dtype):
    trainer = trained(task, dtype)
    model = to_sklearn(trainer, ["no", "yes"] if task == "binary" else None)
    model = pickle.loads(pickle.dumps(model))
    assert type(model) in (MLPClassifier, MLPRegressor)
    tolerance = 1e-6 if dtype == "float32" else 1e-12
    given = X.astype(dtype)
    found, expected = outputs(model), trainer.predict(given)
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
    labels = {
        "binary": lambda p: np.where(p[:, 0] > 0.5, "yes", "no"),
        "classes": lambda p: p.argmax(axis=1),
        "labels": lambda p: (p > 0.5).astype(int),
    }
    if task in labels:
        assert np.array_equal(model.predict(given), labels[task](expected))
    assert model.n_layers_ == 4
    assert model.n_features_in_ == 4
    assert model.loss_curve_ == trainer.history.loss.tolist()


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_the_estimator_goes_on_where_the_trainer_stopped(task, optimizer):
    trainer = trained(task, optimizer=optimizer)
    model = to_sklearn(trainer, ["no", "yes"] if task == "binary" else None)
    model.shuffle = False
    trainer.fit(X, targets(task), EPOCHS)
    same(go_on(model, task), trainer, 1e-12)
    back = from_sklearn(model)
    assert back.optimizer == optimizer
    assert back.learning_rate == 0.02
    assert np.array_equal(back.weights[0], model.coefs_[0])


@pytest.mark.parametrize("task", ["binary", "classes", "one"])
def test_the_estimator_has_the_attributes_of_a_fitted_one(task):
    theirs = clone(fitted(task, 1)).fit(X, TARGETS[task])
    made = to_sklearn(trained(task, optimizer=OPTIMIZERS[-1]))
    assert vars(theirs).keys() <= vars(made).keys()
    assert vars(theirs._optimizer).keys() <= vars(made._optimizer).keys()


def test_settings_may_be_given_in_place_of_the_estimators():
    model = fitted("classes", **SOLVERS["adam"])
    trainer = from_sklearn(model, batch_size=None, seed=3)
    assert (trainer.batch_size, trainer.seed) == (None, 3)
    assert trainer._model.state.updates == EPOCHS * -(-N // BATCH)
    trainer = from_sklearn(model, optimizer="sgd", learning_rate=0.5)
    assert (trainer.optimizer, trainer.learning_rate) == (SGD(), 0.5)


def test_two_softmax_outputs_become_one():
    y = (X[:, 0] > 0).astype(int)
    trainer = Trainer([4, 3, 2], activation="relu", **OUTPUTS["classes"], seed=0)
    trainer.fit(X, y, 20)
    model = to_sklearn(trainer)
    assert model.n_outputs_ == 1
    np.testing.assert_allclose(model.predict_proba(X), trainer.predict(X), rtol=0, atol=1e-14)
    assert np.array_equal(model.predict(X), trainer.predict(X).argmax(axis=1))


def test_a_net_without_hidden_layers():
    trainer = Trainer([4, 3], **OUTPUTS["classes"], seed=0)
    model = to_sklearn(trainer)
    np.testing.assert_allclose(model.predict_proba(X), trainer.predict(X), rtol=0, atol=1e-14)
    np.testing.assert_allclose(from_sklearn(model).predict(X), trainer.predict(X), atol=1e-14)


def test_settings_that_scikit_learn_lacks_leave_its_defaults():
    for settings in (
        {"optimizer": AdamW()},
        {"optimizer": Adam()},
        {"weight_decay": 0.1},
        {"batch_size": None},
        {"clip_norm": 1.0},
        {"optimizer": SGD(0.9, rate_in_velocity=False)},
        {"loss": CrossEntropy(label_smoothing=0.1)},
    ):
        model = to_sklearn(trained("classes", **settings))
        assert model.get_params() == MLPClassifier((5, 4), activation="tanh").get_params()
        assert not hasattr(model, "_optimizer")


def test_what_scikit_learn_lacks_is_refused_by_name():
    def softplus(z):
        return np.log1p(np.exp(z))

    for settings, message in (
        ({"activation": "gelu"}, "activation must be one of identity.*got 'gelu'"),
        ({"activation": ["tanh", "relu"]}, "same activation.*tanh, relu"),
        ({"output_activation": "tanh"}, "output_activation must be one of.*got 'tanh'"),
        ({"output_activation": "sigmoid"}, "not 'half_squared_error', or classes must be given"),
    ):
        with pytest.raises(ValueError, match=message):
            to_sklearn(Trainer([2, 3, 3, 1], **{"activation": "tanh", **settings}))
    custom = CustomActivation(softplus, lambda z: 1 / (1 + np.exp(-z)))
    with pytest.raises(ValueError, match=r"activation must be one of.*CustomActivation"):
        to_sklearn(Trainer([2, 3, 1], activation=custom))
    with pytest.raises(TypeError, match="trainer must be a Trainer; got 3"):
        to_sklearn(3)


@pytest.mark.parametrize(
    ("task", "classes", "message"),
    [
        ("classes", ["b", "a", "c"], r"sorted and different.*\['b', 'a', 'c'\]"),
        ("classes", ["a", "b"], r"3 labels for this net; got shape \(2,\)"),
        ("labels", ["a", "b", "c"], "None for 3 sigmoid outputs"),
        ("one", [0, 1], "no probabilities; its output_activation is 'identity'"),
    ],
)
def test_bad_classes_are_refused(task, classes, message):
    with pytest.raises(ValueError, match=message):
        to_sklearn(trained(task), classes)
