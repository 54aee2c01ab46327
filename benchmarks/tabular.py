"""
Time the estimators of `jitprop.tabular` on a small table of numbers, text, dates and gaps.

asv calls `setup` before each sample and does not time it. It compiles the kernels or loads them.
"""

import numpy as np
import pandas as pd

from jitprop.tabular import TabularClassifier, TabularRegressor

ROWS = 500


def table():
    """Return a frame with a column of each kind."""
    rng = np.random.default_rng(0)
    size = rng.normal(size=ROWS)
    return pd.DataFrame(
        {
            "size": size,
            "weight": np.where(rng.random(ROWS) < 0.1, np.nan, size + rng.normal(size=ROWS)),
            "city": rng.choice(["Rome", "Oslo", "Lima", "Cairo"], ROWS),
            "is_new": rng.random(ROWS) < 0.3,
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 700, ROWS), "D"),
        }
    )


class Tabular:
    params = ("classes", "numbers")
    param_names = ("target",)
    timeout = 300

    def setup(self, target):
        self.X = table()
        self.y = self.X["size"] * (self.X["city"] == "Oslo") + self.X["is_new"]
        kind = TabularRegressor
        if target == "classes":
            self.y, kind = self.y > 0.3, TabularClassifier
        self.model = kind(random_state=0).fit(self.X, self.y)

    def time_fit(self, target):
        self.model.fit(self.X, self.y)

    def time_predict_500_rows(self, target):
        self.model.predict(self.X)

    def time_predict_one_row(self, target):
        self.model.predict(self.X[:1])
