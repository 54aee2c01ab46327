"""What the estimators for tables promise, beyond scikit-learn's own checks."""

from __future__ import annotations

import copy
import pickle
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy.optimize import minimize_scalar
from sklearn.base import clone
from sklearn.inspection import permutation_importance
from sklearn.metrics import log_loss

from jitprop import backends
from jitprop.tabular import TabularClassifier, TabularRegressor, calibration, intervals
from jitprop.tabular.model import predictor
from jitprop.tabular.recipe import batch, start
from jitprop.tabular.rows import folds
from jitprop.tabular.table import table_of

N = 120
SMALL = {"hidden": (16, 16), "epochs": 30, "random_state": 0}


def columns(n=N, seed=0):
    """Return a dict of columns of several kinds, with gaps."""
    rng = np.random.default_rng(seed)
    area = rng.uniform(20, 140, n).round(1)
    area[rng.random(n) < 0.1] = np.nan
    district = rng.choice(["centre", "harbour", "hills"], n).astype(object)
    district[rng.random(n) < 0.1] = None
    return {
        "area": area,
        "district": district,
        "lift": rng.random(n) < 0.5,
        "rooms": rng.integers(1, 6, n),
    }


TABLE = columns()
RENT = (
    9.0 * np.nan_to_num(TABLE["area"], nan=80.0)
    + 200.0 * (TABLE["district"] == "centre")
    + 50.0 * TABLE["rooms"]
    + np.random.default_rng(1).normal(0, 20, N)
)
SIZE = np.where(np.median(RENT) < RENT, "large", "small").astype(object)
FRAMES = {
    "pandas": pd.DataFrame,
    "polars": lambda table: pl.DataFrame({k: list(v) for k, v in table.items()}, nan_to_null=True),
    "arrow": lambda table: pa.Table.from_pandas(pd.DataFrame(table)),
    "dict": dict,
}


def classifier(**settings):
    return TabularClassifier(**{**SMALL, **settings})


def regressor(**settings):
    return TabularRegressor(**{**SMALL, **settings})


@pytest.fixture(scope="module")
def fitted():
    return {
        "classifier": classifier().fit(TABLE, SIZE),
        "regressor": regressor().fit(TABLE, RENT),
    }


@pytest.mark.parametrize("kind", FRAMES)
def test_every_frame_gives_the_same_bits(kind, fitted):
    frame = FRAMES[kind](TABLE)
    model = regressor().fit(frame, RENT)
    np.testing.assert_array_equal(model.predict(frame), fitted["regressor"].predict(TABLE))
    assert model.feature_names_in_.tolist() == list(TABLE)


def test_the_order_of_the_rows_and_the_threads_change_no_bit(fitted):
    order = np.random.default_rng(0).permutation(N)
    shuffled = {name: values[order] for name, values in TABLE.items()}
    model = classifier(n_threads=1).fit(shuffled, SIZE[order])
    expected = fitted["classifier"].predict_proba(TABLE)
    np.testing.assert_array_equal(model.predict_proba(TABLE), expected)
    other = classifier(n_threads=2, random_state=1).fit(shuffled, SIZE[order])
    assert not np.array_equal(other.predict_proba(TABLE), expected)


def test_arrays_of_objects_are_tables(fitted):
    X = np.array(list(TABLE.values()), object).T
    model = regressor().fit(X, RENT)
    np.testing.assert_array_equal(model.predict(X), fitted["regressor"].predict(TABLE))
    np.testing.assert_array_equal(model.predict(X.tolist()), model.predict(X))
    assert not hasattr(model, "feature_names_in_")


def test_they_learn():
    new = columns(seed=5)
    rent = 9.0 * np.nan_to_num(new["area"], nan=80.0) + 50.0 * new["rooms"]
    rent += 200.0 * (new["district"] == "centre")
    assert regressor(epochs=100, hidden=64).fit(TABLE, RENT).score(new, rent) > 0.9
    size = np.where(rent > np.median(RENT), "large", "small")
    assert classifier(epochs=100, hidden=64).fit(TABLE, SIZE).score(new, size) > 0.85


@pytest.mark.parametrize(
    "y",
    [
        np.arange(N) % 3 == 0,
        np.arange(N) % 3 + 5,
        (np.arange(N) % 2) * 1.0,
        np.array(["a", "b"])[np.arange(N) % 2],
        pd.Series(["x", "y"] * (N // 2), dtype="category"),
        pl.Series(["x", "y"] * (N // 2)),
        pa.chunked_array([["x", "y"] * (N // 2)]),
        [True, False] * (N // 2),
    ],
    ids=["bool", "int", "float", "text", "categories", "polars", "arrow", "list"],
)
def test_classes_of_every_kind(y):
    model = classifier(epochs=1).fit(TABLE, y)
    assert set(model.predict(TABLE).tolist()) <= set(np.asarray(y).tolist())
    assert model.classes_.tolist() == sorted(set(np.asarray(y).tolist()))
    proba = model.predict_proba(TABLE)
    np.testing.assert_allclose(proba.sum(axis=1), 1.0, rtol=1e-12)


GOOD = {"table": TABLE, "y": RENT}
BAD = {
    "one class": (classifier, {"y": ["a"] * N}, "two classes; got 1 class, 'a'"),
    "missing class": (
        classifier,
        {"y": [None] + ["a", "b"] * 59 + ["a"]},
        "y must have no missing",
    ),
    "all missing": (classifier, {"y": [None] * N}, "y must have no missing values"),
    "mixed classes": (classifier, {"y": ["a", 1] * 60}, "y must hold classes of one kind"),
    "continuous classes": (classifier, {"y": RENT}, "Unknown label type"),
    "classes of one row": (classifier, {"rows": 5, "y": list("abcde")}, "classes of more than one"),
    "infinite": (regressor, {"y": np.where(RENT > 900, np.inf, RENT)}, "y must be finite"),
    "nan": (regressor, {"y": np.where(RENT > 900, np.nan, RENT)}, "y must have no missing values"),
    "all nan": (regressor, {"y": [np.nan] * N}, "y must have no missing values"),
    "texts": (regressor, {"y": SIZE}, "y must hold numbers.*need a classifier"),
    "few rows": (regressor, {"rows": 4}, "at least 5 rows; got n_samples = 4"),
    "two targets": (
        regressor,
        {"y": np.ones((N, 2))},
        r"y must have one target.*got shape \(120, 2",
    ),
    "lengths": (regressor, {"y": RENT[:-1]}, "as many rows; got 120 and 119"),
    "infinite number": (regressor, {"area": np.inf}, "column 'area' must hold finite numbers"),
    "weights": (regressor, {"sample_weight": -np.ones(N)}, "sample_weight must be at least 0"),
    "weights of text": (regressor, {"sample_weight": "big"}, "sample_weight must"),
    "weights whose sum is too large": (
        regressor,
        {"sample_weight": np.full(N, 1e308)},
        "sample_weight must have a finite sum",
    ),
    "keep": (regressor, {"keep": ["Rooms"]}, "keep must name columns of X; got 'Rooms'"),
    "no column of a dict": (
        regressor,
        {"columns": dict},
        "X must have at least one column; got none",
    ),
    "no column": (regressor, {"columns": 0}, "X must have at least one column; got none"),
    "half of X_val": (regressor, {"X_val": TABLE}, "X_val and y_val must be given together"),
    "X_val": (
        regressor,
        {"X_val": {"area": [1.0]}, "y_val": [1.0]},
        "column 'district' is missing",
    ),
    "y_val": (
        classifier,
        {"X_val": TABLE, "y_val": [*SIZE[1:], "huge"]},
        "y_val has the class 'huge'",
    ),
}


def refused(case, fitted):
    make, changes, message = BAD[case]
    model = fitted["classifier" if make is classifier else "regressor"]
    changes = dict(changes)
    rows = changes.pop("rows", N)
    table = {name: values[:rows] for name, values in TABLE.items()}
    if "columns" in changes:
        table = {} if changes.pop("columns") is dict else pd.DataFrame(index=range(N))
    if "area" in changes:
        table["area"] = np.full(rows, changes.pop("area"))
    y = changes.pop("y", (SIZE if make is classifier else RENT)[:rows])
    if "keep" in changes:
        model = clone(model).set_params(keep=changes.pop("keep"))
    with pytest.raises(ValueError, match=message):
        model.fit(table, y, **changes)


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named_and_changes_nothing(case, fitted):
    before = {name: (model, model.__dict__.copy()) for name, model in fitted.items()}
    refused(case, fitted)
    for model, attributes in before.values():
        assert model.__dict__ == attributes


def test_a_table_that_changed_is_refused(fitted):
    model = fitted["regressor"]
    with pytest.raises(ValueError, match="column 'area' is missing"):
        model.predict({name: values for name, values in TABLE.items() if name != "area"})
    with pytest.raises(ValueError, match="column 'area' held numbers in training"):
        model.predict({**TABLE, "area": ["big"] * N})
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(pd.DataFrame(TABLE).drop(columns="area"))
    new = {**TABLE, "district": ["sea"] * N, "rooms": [None] * N}
    assert np.isfinite(model.predict(new)).all()


@pytest.mark.parametrize("of", [lambda X: X, pd.DataFrame], ids=["array", "frame"])
def test_columns_without_names_are_found_by_their_place(of):
    X = np.array([TABLE["area"], TABLE["rooms"]]).T
    named = pd.DataFrame(X, columns=["x1", "x0"])
    model = regressor().fit(named, RENT)
    expected = model.predict(named)
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        np.testing.assert_array_equal(model.predict(of(X)), expected)
    other = regressor().fit(of(X), RENT)
    np.testing.assert_array_equal(other.predict(X), expected)
    np.testing.assert_array_equal(other.predict(pd.DataFrame(X)), expected)
    with pytest.warns(UserWarning, match="X has feature names"):
        np.testing.assert_array_equal(other.predict(named), expected)


PARAMETERS = {
    "hidden": [0, "wide", (8, 0)],
    "epochs": [0, 1.5],
    "batch_size": [0],
    "learning_rate": [0.0, "fast"],
    "validation_fraction": [0.0, 1.0],
    "keep": ["area", [1]],
    "n_members": [0],
    "random_state": [-1],
    "n_threads": [0],
    "verbose": ["yes"],
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_bad_parameters_are_named(name):
    for value in PARAMETERS[name]:
        model = regressor(**{name: value})
        with pytest.raises(ValueError, match=f"TabularRegressor: .*{name}"):
            model.fit(TABLE, RENT)


def test_names_of_other_libraries_get_a_hint():
    with pytest.raises(TypeError, match="no argument 'hidden_layer_sizes': here it is hidden"):
        TabularClassifier(hidden_layer_sizes=(8,))
    with pytest.raises(TypeError, match="no argument 'n_estimators': here it is n_members"):
        TabularRegressor(n_estimators=5)


@pytest.mark.parametrize(
    ("name", "y", "owner", "called"),
    [
        ("classifier", SIZE, backends.load("auto"), "watcher"),
        ("regressor", RENT, intervals.ChosenByOthers, "on_epoch_end"),
    ],
)
def test_ctrl_c_leaves_a_fitted_model_as_it_was(fitted, monkeypatch, name, y, owner, called):
    model = fitted[name]
    before = model.__dict__.copy()
    function = getattr(owner, called)

    def pressed(*arguments):
        signal.raise_signal(signal.SIGINT)
        return function(*arguments)

    monkeypatch.setattr(owner, called, pressed)
    with pytest.raises(KeyboardInterrupt):
        model.fit(TABLE, y)
    assert model.__dict__ == before


def test_pickles_and_copies_predict_the_same(fitted):
    for model in fitted.values():
        expected = model.predict(TABLE)
        for other in (pickle.loads(pickle.dumps(model)), copy.copy(model), copy.deepcopy(model)):
            np.testing.assert_array_equal(other.predict(TABLE), expected)
        assert not hasattr(clone(model), "net_")


def test_members_are_averaged():
    model = regressor(n_members=3).fit(TABLE, RENT)
    X = model.net_.inputs(table_of(TABLE))
    each = [model.net_.target.predictions(member.predict(X)) for member in model.net_.members]
    np.testing.assert_allclose(model.predict(TABLE), np.mean(each, axis=0), rtol=1e-12)
    assert not np.allclose(each[0], each[1])


def test_given_rows_choose_the_epoch():
    new = columns(seed=7)
    model = regressor(epochs=10).fit(TABLE, RENT, X_val=new, y_val=np.zeros(N))
    assert len(model.net_.residuals) == N
    np.testing.assert_allclose(model.net_.residuals, np.sort(model.predict(new)), rtol=1e-12)


def test_whole_weights_are_counts():
    weights = np.arange(N) % 4
    repeated = {name: np.repeat(values, weights) for name, values in TABLE.items()}
    a = regressor(epochs=5).fit(TABLE, RENT, sample_weight=weights)
    b = regressor(epochs=5).fit(repeated, np.repeat(RENT, weights))
    np.testing.assert_array_equal(a.predict(TABLE), b.predict(TABLE))


def test_other_weights_weigh_the_loss():
    cheap = np.where(np.median(RENT) > RENT, 1e-3, 1.0)
    dear = regressor().fit(TABLE, RENT, sample_weight=cheap).predict(TABLE).mean()
    assert dear > regressor().fit(TABLE, RENT).predict(TABLE).mean()


def test_predictions_are_within_the_range_that_was_seen(fitted):
    far = {**TABLE, "area": np.full(N, 1e6), "rooms": np.full(N, 1000)}
    predicted = fitted["regressor"].predict(far)
    assert RENT.min() <= predicted.min() <= predicted.max() <= RENT.max()


def test_the_unit_of_the_target_does_not_matter(fitted):
    model = regressor().fit(TABLE, RENT * 2.0**900)
    np.testing.assert_allclose(
        model.predict(TABLE) / 2.0**900, fitted["regressor"].predict(TABLE), rtol=1e-6
    )
    constant = regressor(epochs=1).fit(TABLE, np.full(N, 7.0))
    np.testing.assert_array_equal(constant.predict(TABLE), 7.0)


def softmax(z):
    raised = np.exp(z - z.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("members", [1, 3])
def test_the_temperature_minimises_the_log_loss(members):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(20_000, 3))
    codes = (softmax(z).cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1)
    logits = 2.5 * z + rng.normal(0, 0.1, (members, *z.shape))
    T = calibration.temperature(logits, codes, None)
    assert pytest.approx(2.5, rel=0.05) == T
    best = minimize_scalar(lambda t: log_loss(codes, softmax(logits / t).mean(0)), (1, 2))
    assert pytest.approx(best.x, rel=1e-3) == T
    halves = np.concatenate([codes[:10_000], codes[:10_000]])
    doubled = logits[:, np.r_[:10_000, :10_000]]
    weights = np.r_[np.ones(10_000), np.zeros(10_000)]
    assert calibration.temperature(doubled, halves, None) == pytest.approx(
        calibration.temperature(doubled, halves, weights), rel=1e-3
    )


def test_a_net_that_is_always_right_is_not_infinitely_sure():
    codes = np.arange(40) % 2
    right = np.eye(2)[codes][np.newaxis] * 5.0
    assert calibration.RANGE[0] < calibration.temperature(right, codes, None) < 5.0


def test_probabilities_are_divided_by_the_temperature(fitted):
    model = fitted["classifier"]
    net, X = model.net_, model.net_.inputs(table_of(TABLE))
    member = net.members[0]
    plain = predictor(
        member.layer_sizes,
        member.activation[0],
        "identity",
        (member.weights, member.biases),
    )
    assert net.temperature != 1.0
    np.testing.assert_allclose(
        model.predict_proba(TABLE), softmax(plain.predict(X).astype(float)), atol=1e-6
    )


def test_intervals_are_the_quantile_of_the_errors_held_out(fitted):
    model = fitted["regressor"]
    errors = model.net_.residuals
    assert len(errors) == 24
    for confidence, k in ((0.5, 13), (0.9, 23), (0.96, 24)):
        low, high = model.predict_interval(TABLE, confidence).T
        np.testing.assert_allclose(high - low, 2 * errors[k - 1], rtol=1e-9)
        np.testing.assert_allclose((high + low) / 2, model.predict(TABLE), rtol=1e-12)
    with pytest.raises(ValueError, match=r"0\.97 needs at least 33 rows held out; .* 24"):
        model.predict_interval(TABLE, 0.97)
    with pytest.raises(ValueError, match="confidence must be a finite number above 0 and below 1"):
        model.predict_interval(TABLE, 1.0)


def test_the_smallest_confidence_gives_the_narrowest_interval(fitted):
    model = fitted["regressor"]
    low, high = model.predict_interval(TABLE, 1e-300).T
    np.testing.assert_allclose(high - low, 2 * model.net_.residuals[0])


@pytest.mark.parametrize("name", ["classifier", "regressor"])
def test_importances_need_a_target_for_each_row(name, fitted):
    y = {"classifier": SIZE, "regressor": RENT}[name]
    with pytest.raises(ValueError, match="X and its targets must have as many rows; got 120 and 9"):
        fitted[name].importances(TABLE, y[:9])


@pytest.mark.parametrize("unit", [1e-250, 1e250])
def test_importances_do_not_depend_on_the_unit_of_the_target(unit, fitted):
    expected = fitted["regressor"].importances(TABLE, RENT, n_repeats=1).importances
    found = regressor().fit(TABLE, RENT * unit).importances(TABLE, RENT * unit, n_repeats=1)
    np.testing.assert_allclose(found.importances, expected, rtol=1e-3, atol=1e-4)


TARGETS = {
    "texts": (SIZE, lambda y: pa.array(y)),
    "dictionary": (SIZE, lambda y: pa.array(y).dictionary_encode()),
    "booleans": (SIZE == "large", pa.array),
    "chunks": (SIZE, lambda y: pa.chunked_array([y[:9], y[9:]])),
}


@pytest.mark.parametrize("kind", TARGETS)
def test_targets_of_pyarrow(kind):
    y, of = TARGETS[kind]
    model = classifier(epochs=2).fit(TABLE, of(y))
    assert model.classes_.tolist() == sorted({*y})
    some = [*y[1:].tolist(), None]
    with pytest.raises(ValueError, match="y must have no missing values"):
        classifier(epochs=2).fit(TABLE, pa.array(some))


def test_a_file_keeps_classes_beyond_int64(tmp_path):
    y = np.where(SIZE == "large", np.uint64(2**63 + 5), np.uint64(7))
    model = classifier(epochs=2).fit(TABLE, y)
    model.save(tmp_path / "m")
    loaded = TabularClassifier.load(tmp_path / "m")
    np.testing.assert_array_equal(loaded.predict(TABLE), model.predict(TABLE))
    assert loaded.classes_.dtype == np.uint64


def test_messages_show_a_class_as_it_was_given():
    with pytest.raises(ValueError, match=r"got 1 class, 'a' \(str\)"):
        classifier().fit(TABLE, np.array(["a"] * N))


def test_intervals_cover_as_often_as_they_say():
    covered = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(3000, 3))
        y = X[:, 0] + np.sin(2 * X[:, 1]) + rng.normal(0, 0.5, 3000)
        model = regressor(random_state=seed).fit(X[:1500], y[:1500])
        low, high = model.predict_interval(X[1500:], 0.9).T
        covered.append(np.mean((low <= y[1500:]) & (y[1500:] <= high)))
    assert abs(np.mean(covered) - 0.9) < 0.02


@pytest.mark.parametrize("name", ["classifier", "regressor"])
def test_importances_are_those_of_scikit_learn(name, fitted):
    frame, y = pd.DataFrame(TABLE), {"classifier": SIZE, "regressor": RENT}[name]
    model = clone(fitted[name]).fit(frame, y)
    expected = permutation_importance(model, frame, y, n_repeats=4, random_state=3)
    found = model.importances(frame, y, n_repeats=4, random_state=3)
    assert found.names == tuple(TABLE)
    np.testing.assert_allclose(found.importances, expected.importances, atol=1e-12)
    np.testing.assert_allclose(found.importances_mean, expected.importances_mean, atol=1e-12)
    np.testing.assert_allclose(found.importances_std, expected.importances_std, atol=1e-12)
    assert str(found).splitlines()[0].startswith("area")


def test_a_column_that_is_left_out_has_no_importance():
    table = {**TABLE, "city": ["Ulm"] * N}
    model = regressor(epochs=2).fit(table, RENT)
    assert list(model.left_out_) == ["city"]
    assert model.importances(table, RENT).importances[-1].tolist() == [0.0] * 5


def test_verbose_prints_a_line_for_each_net(capsys):
    regressor(epochs=2, n_members=2, verbose=True).fit({**TABLE, "city": ["Ulm"] * N}, RENT)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("column 'city' is left out: ")
    assert printed[1].startswith("net 1 of 2: 2 epochs in ")
    assert len(printed) == 3


def test_classes_are_held_out_in_their_shares():
    codes = np.random.default_rng(0).choice(4, 1000, p=[0.9, 0.07, 0.028, 0.002])
    found = folds(1000, 0.2, codes, most=9)
    assert len(found) == 4  # one row of each class is never held out, so a fifth fold is too small
    all_counts = np.bincount(codes)
    for training, held_out in found:
        assert len(held_out) == 200
        assert sorted([*training, *held_out]) == list(range(1000))
        counts = np.bincount(codes[held_out], minlength=4)
        assert (np.abs(counts - 0.2 * all_counts) <= 1).all()
    assert len(np.unique(np.concatenate([held_out for _, held_out in found]))) == 800
    rare = np.r_[np.zeros(10, int), 1, 2]
    assert set(rare[folds(12, 0.5, rare, most=1)[0][0]]) == {0, 1, 2}


def test_folds_of_numbers():
    found = folds(10, 0.2, None, most=9)
    assert [held_out.tolist() for _, held_out in found] == [[i, i + 1] for i in range(0, 8, 2)]
    assert len(folds(10, 0.2, None, most=3)) == 3
    assert len(folds(10, 0.7, None, most=3)) == 1


def test_updates_share_the_rows_evenly():
    assert [batch(n, 256) for n in (5, 256, 511, 512, 2400)] == [5, 256, 511, 256, 267]


def test_nets_begin_as_the_recipe_says():
    weights, biases = start([50, 200, 100, 3], seed=0)
    for W, n_in in zip(weights[:2], (50, 200), strict=True):
        assert np.std(W) == pytest.approx(1 / np.sqrt(n_in), rel=0.02)
    assert np.std(np.concatenate(biases[:2])) == pytest.approx(1.0, rel=0.1)
    assert not weights[2].any()
    assert not biases[2].any()


def test_the_core_needs_no_scikit_learn():
    script = "import sys, jitprop.tabular.fitting; assert 'sklearn' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_they_are_exported(fitted, tmp_path):
    model = fitted["classifier"]
    model.to_onnx(tmp_path / "net.onnx")
    model.to_c(tmp_path / "net.c", name="size")
    assert (tmp_path / "net.onnx").stat().st_size > 1000
    assert "void size_predict(" in (tmp_path / "net.c").read_text()
    with pytest.raises(ValueError, match="not fitted yet"):
        classifier().to_c(tmp_path / "other.c")
