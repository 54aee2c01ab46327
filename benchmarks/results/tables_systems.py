"""
The systems of `tables.py`, each with its defaults and with what its documentation advises for text.

All get the same frame: numbers as float64 with gaps, dates, and text as pandas' "category".

- ``jitprop``: `TabularClassifier` and `TabularRegressor`, with the frame as it is. ``jitprop-5`` is
  the mean of five nets (``n_members=5``).
- ``realmlp``: pytabkit's RealMLP_TD_S. It takes no gaps in numbers: they become the median.
- ``catboost``: columns of text are its `cat_features`; a gap is the text "missing".
- ``lightgbm`` and ``hist-gb`` (scikit-learn's HistGradientBoosting) know categories and gaps.
- ``sklearn-mlp``: scikit-learn's MLP after one-hot columns and standardised numbers. Gaps get the
  median, and the target of a regression is standardised.

All but jitprop get a date as a number of days.
"""

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler


class Wanted(NamedTuple):
    """What to make: a model for classes or numbers, its seed and its number of threads."""

    has_classes: bool
    seed: int
    threads: int


class System(NamedTuple):
    """
    A system.

    Attributes
    ----------
    name : str
        As the tables show it.
    package : str
        What must be importable.
    make : callable
        ``make(wanted, categories)`` returns an estimator; `categories` are names of text columns.
    prepare : callable
        ``prepare(frame)`` returns the frame as the estimator takes it. Its time counts.
    """

    name: str
    package: str
    make: Callable[[Wanted, list[str]], Any]
    prepare: Callable[[pd.DataFrame], pd.DataFrame]

    @property
    def is_there(self) -> bool:
        """Whether the system is installed."""
        try:
            return importlib.util.find_spec(self.package) is not None
        except ModuleNotFoundError:
            return False


def _of(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def _as_it_is(frame: pd.DataFrame) -> pd.DataFrame:
    return frame


def _days(frame: pd.DataFrame) -> pd.DataFrame:
    """Return dates as days since 1970, and names of columns as x0, x1, ..."""
    frame = frame.set_axis([f"x{i}" for i in range(frame.shape[1])], axis=1)
    dates = frame.select_dtypes("datetime").columns
    days = {name: frame[name].to_numpy("datetime64[D]").astype(np.float64) for name in dates}
    return frame.assign(**days)


def _with_text(frame: pd.DataFrame) -> pd.DataFrame:
    """Return categories as text without gaps."""
    frame = _days(frame)
    text = frame.select_dtypes("category").columns
    return frame.assign(**{c: frame[c].astype(object).fillna("missing") for c in text})


def _jitprop(members: int) -> Callable[[Wanted, list[str]], Any]:
    def make(wanted: Wanted, categories: list[str]) -> Any:
        name = "TabularClassifier" if wanted.has_classes else "TabularRegressor"
        return _of("jitprop.tabular", name)(
            n_members=members, random_state=wanted.seed, n_threads=wanted.threads
        )

    return make


def _realmlp(wanted: Wanted, categories: list[str]) -> Any:
    kind = "Classifier" if wanted.has_classes else "Regressor"
    model = _of("pytabkit", f"RealMLP_TD_S_{kind}")(
        device="cpu", random_state=wanted.seed, n_threads=wanted.threads
    )
    filled = ColumnTransformer(
        [("text", "passthrough", categories)],
        remainder=SimpleImputer(strategy="median", keep_empty_features=True),
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    return make_pipeline(filled, model)


def _catboost(wanted: Wanted, categories: list[str]) -> Any:
    name = "CatBoostClassifier" if wanted.has_classes else "CatBoostRegressor"
    return _of("catboost", name)(
        cat_features=categories,
        random_seed=wanted.seed,
        thread_count=wanted.threads,
        verbose=False,
        allow_writing_files=False,
    )


def _lightgbm(wanted: Wanted, categories: list[str]) -> Any:
    name = "LGBMClassifier" if wanted.has_classes else "LGBMRegressor"
    return _of("lightgbm", name)(random_state=wanted.seed, n_jobs=wanted.threads, verbose=-1)


def _hist_gb(wanted: Wanted, categories: list[str]) -> Any:
    kind = HistGradientBoostingClassifier if wanted.has_classes else HistGradientBoostingRegressor
    return kind(random_state=wanted.seed)


def _sklearn_mlp(wanted: Wanted, categories: list[str]) -> Any:
    columns = ColumnTransformer(
        [("text", OneHotEncoder(handle_unknown="ignore", sparse_output=False), categories)],
        remainder=make_pipeline(
            SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()
        ),
    )
    if wanted.has_classes:
        return make_pipeline(columns, MLPClassifier(random_state=wanted.seed))
    net = MLPRegressor(random_state=wanted.seed)
    return make_pipeline(columns, TransformedTargetRegressor(net, transformer=StandardScaler()))


SYSTEMS = {
    "jitprop": System("jitprop", "jitprop.tabular", _jitprop(1), _as_it_is),
    "jitprop-5": System("jitprop, 5 nets", "jitprop.tabular", _jitprop(5), _as_it_is),
    "realmlp": System("RealMLP_TD_S", "pytabkit", _realmlp, _days),
    "catboost": System("CatBoost", "catboost", _catboost, _with_text),
    "lightgbm": System("LightGBM", "lightgbm", _lightgbm, _days),
    "hist-gb": System("HistGradientBoosting", "sklearn", _hist_gb, _days),
    "sklearn-mlp": System("scikit-learn's MLP", "sklearn", _sklearn_mlp, _days),
}
