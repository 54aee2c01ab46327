"""Forecasts of time series by a net."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

STEPS = np.arange(90)
SERIES = np.sin(STEPS / 5) + STEPS / 100


def test_skforecast(same):
    recursive = pytest.importorskip("skforecast.recursive")

    def forecast(net):
        made = recursive.ForecasterRecursive(net, lags=5)
        made.fit(pd.Series(SERIES))
        return made.predict(8)

    same(forecast, "regressor")


def test_sktime(same):
    compose = pytest.importorskip("sktime.forecasting.compose")

    def forecast(net):
        made = compose.make_reduction(net, window_length=5, strategy="recursive")
        return made.fit(pd.Series(SERIES), fh=np.arange(1, 9)).predict()

    same(forecast, "regressor")


def test_darts(same):
    models = pytest.importorskip("darts.models")
    series = pytest.importorskip("darts").TimeSeries.from_values(SERIES)
    same(
        lambda net: models.SKLearnModel(5, model=net).fit(series).predict(8).values(),
        "regressor",
    )


def test_darts_trains_one_net_for_all_outputs(ours):
    """For scikit-learn's own estimator, which lacks the tag multi_output, it trains eight."""
    models = pytest.importorskip("darts.models")
    series = pytest.importorskip("darts").TimeSeries.from_values(SERIES)
    model = models.SKLearnModel(5, output_chunk_length=8, model=ours("regressor"))
    model.fit(series)
    assert model.model.n_outputs_ == 8
    assert model.predict(8).values().shape == (8, 1)
