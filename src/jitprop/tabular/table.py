"""
Tables from pandas, polars, pyarrow, dicts and arrays, in one form.

The same values give the same table, whatever library holds them.
"""

from __future__ import annotations

import datetime
import numbers
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, TypeAlias

import numpy as np

from jitprop import checks
from jitprop._types import Array
from jitprop.checks import BRIEF, printable

Kind: TypeAlias = Literal["number", "boolean", "category", "text", "date"]

HELD = {
    "number": "numbers",
    "boolean": "booleans",
    "category": "categories",
    "text": "text",
    "date": "dates",
}
"""What a column of each kind holds, in words for messages."""


def quoted(name: str) -> str:
    """A column's name, safe and short, for messages."""
    return printable(repr(name), BRIEF)


@dataclass(frozen=True)
class Column:
    """
    One column of a table.

    Attributes
    ----------
    name : str
    kind : {"number", "boolean", "category", "text", "date"}
    values : (n_rows,) array
        A number is float64, nan where it is missing. A boolean is float64: 0, 1, or nan. A category
        or a text is a str in an array of objects, None where it is missing. A date is
        datetime64[us] in UTC, NaT where it is missing.
    """

    name: str
    kind: Kind
    values: Array

    def __post_init__(self) -> None:
        self.values.flags.writeable = False

    @property
    def missing(self) -> Array:
        """Which values are missing, (n_rows,) bool."""
        if self.values.dtype == object:
            return np.fromiter((v is None for v in self.values), bool, len(self.values))
        return np.isnat(self.values) if self.kind == "date" else np.isnan(self.values)


class Table:
    """
    Columns of equal length.

    Parameters
    ----------
    columns : sequence of Column
        With different names.
    named : bool, default True
        Whether the caller's data had names. An array's columns are named "x0", "x1", ..., and those
        of a frame whose labels are the numbers 0, 1, ... too.

    Raises
    ------
    ValueError
        For two columns of one name, or columns of different lengths.

    Examples
    --------
    >>> from jitprop.tabular.table import table_of
    >>> table = table_of({"size": [1.5, None, 3], "colour": ["red", "blue", None]})
    >>> table.names, table.n_rows
    (['size', 'colour'], 3)
    >>> table["size"].values
    array([1.5, nan, 3. ])
    """

    def __init__(self, columns: Sequence[Column], named: bool = True) -> None:
        self._columns = {column.name: column for column in columns}
        self.named = named
        _check_differ([column.name for column in columns])
        lengths = {len(column.values) for column in columns}
        if len(lengths) > 1:
            raise ValueError(f"columns must be equally long; got lengths {sorted(lengths)}")
        self.n_rows = lengths.pop() if lengths else 0

    @property
    def names(self) -> list[str]:
        """The names of the columns, in order."""
        return list(self._columns)

    def __iter__(self) -> Iterator[Column]:
        return iter(self._columns.values())

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __getitem__(self, name: str) -> Column:
        return self._columns[name]

    def rows(self, indices: Any) -> Table:
        """Return the table of some rows, by an array of integers or a slice."""
        made = [Column(c.name, c.kind, c.values[indices]) for c in self]
        return Table(made, self.named)


def _check_differ(names: list[str]) -> None:
    if len({*names}) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"column {quoted(twice)} occurs twice: names must differ")


def table_of(X: Any) -> Table:
    """
    Read a table from any of the usual containers.

    Parameters
    ----------
    X : DataFrame of pandas, polars or any library that narwhals reads, pyarrow Table, mapping of \
names to columns, Table, or array of shape (n_rows, n_columns)

    Returns
    -------
    Table

    Raises
    ------
    ValueError
        For values of other kinds, such as lists, and for data without two dimensions.
    TypeError
        For other objects.
    ImportError
        For a frame, if narwhals is not installed.

    Notes
    -----
    A column's kind follows its dtype; a column of Python objects is looked at value by value.
    Durations and times of day become seconds. Dates with a time zone are converted to UTC. Numbers
    beside texts in one column are read as texts.
    """
    if isinstance(X, Table):
        return X
    if isinstance(X, Mapping):
        return Table([_of_values(str(name), values) for name, values in X.items()])
    if hasattr(X, "toarray") and not hasattr(X, "__array__"):
        raise TypeError("X must not be a sparse matrix: pass X.toarray()")
    if not isinstance(X, np.ndarray | list | tuple):
        frame = _frame(X)
        if frame is not None:
            labels = list(frame.columns)
            # As scikit-learn has it, only texts are names.
            named = any(isinstance(label, str) for label in labels)
            names = [str(x) if named or not isinstance(x, int) else f"x{x}" for x in labels]
            _check_differ(names)
            columns = [_of_series(name, frame[:, i]) for i, name in enumerate(names)]
            return Table(columns, named)
    array = X if isinstance(X, np.ndarray) else np.asarray(X)
    if array.dtype.kind in "US" and not isinstance(X, np.ndarray):
        array = np.asarray(X, dtype=object)  # NumPy made texts of numbers
    if array.ndim != 2:
        raise ValueError(
            f"X must have two dimensions, (n_rows, n_columns); got shape {array.shape}. "
            "Reshape your data: X.reshape(-1, 1) makes one column, X.reshape(1, -1) one row"
        )
    columns = [_of_values(f"x{i}", array[:, i]) for i in range(array.shape[1])]
    return Table(columns, named=False)


def _frame(X: Any) -> Any:
    """Return a narwhals DataFrame, or None for what is not a frame."""
    module = type(X).__module__.split(".")[0]
    try:
        import narwhals.stable.v2 as nw
    except ImportError as error:
        if module in ("pandas", "polars", "pyarrow"):
            raise ImportError(
                "frames need narwhals: pip install 'jitprop[frame]'; or pass a dict of columns"
            ) from error
        return None
    try:
        found = nw.from_native(X, pass_through=True, allow_series=True)
    except ValueError:
        labels = X.column_names if hasattr(X, "column_names") else X.columns
        _check_differ([str(label) for label in labels])
        raise
    if isinstance(found, nw.LazyFrame):
        raise TypeError("X must be a frame in memory: pass X.collect()")
    if isinstance(found, nw.Series):
        raise ValueError(
            f"X must have two dimensions; got one column ({type(X).__name__}): pass a frame"
        )
    return found if isinstance(found, nw.DataFrame) else None


def _of_series(name: str, series: Any) -> Column:
    """Read one column of a frame, by its dtype."""
    import narwhals.stable.v2 as nw

    dtype = series.dtype
    if str(getattr(series.to_native(), "dtype", "")) == "object":
        # narwhals takes a column of pandas for texts if its first 100 values are texts or missing.
        return _of_objects(name, series.to_list())
    if dtype.is_numeric() and not isinstance(dtype, nw.Decimal):
        return Column(name, "number", _floats(series))
    if dtype == nw.Boolean:
        return Column(name, "boolean", _floats(series))
    if isinstance(dtype, nw.Categorical | nw.Enum):
        return Column(name, "category", _strings(series.to_list()))
    if dtype == nw.String:
        return Column(name, "text", _strings(series.to_list()))
    if isinstance(dtype, nw.Date | nw.Datetime):
        stamps = series.cast(nw.Datetime("us")) if isinstance(dtype, nw.Date) else series
        return Column(name, "date", _microseconds(stamps.dt.timestamp("us"), "datetime64[us]"))
    if isinstance(dtype, nw.Duration):
        spans = _microseconds(series.dt.total_microseconds(), "timedelta64[us]")
        return Column(name, "number", _seconds(spans))
    if isinstance(dtype, nw.List | nw.Struct | nw.Array | nw.Binary):
        raise ValueError(_unknown(name, str(dtype)))
    return _of_objects(name, series.to_list())


def _floats(series: Any) -> Array:
    import narwhals.stable.v2 as nw

    present = ~series.is_null().to_numpy()
    made = np.full(len(series), np.nan)
    made[present] = _where(series, present).cast(nw.Float64).to_numpy()
    return made


def _microseconds(series: Any, dtype: str) -> Array:
    present = ~series.is_null().to_numpy()
    made = np.full(len(series), "NaT", dtype)
    made[present] = _where(series, present).to_numpy().astype(np.int64).astype(dtype)
    return made


def _where(series: Any, present: Array) -> Any:
    # narwhals takes an empty list for an expression.
    return series.filter(present.tolist()) if len(present) else series


def _seconds(spans: Array) -> Array:
    """Durations in seconds; nan for NaT."""
    whole = spans.astype("timedelta64[us]")
    made: Array = np.where(np.isnat(whole), np.nan, whole.view(np.int64) / 1e6)
    return made


def _of_values(name: str, values: Any) -> Column:
    """Read one column of an array, a list or another sequence."""
    if isinstance(values, np.ma.MaskedArray):
        raise ValueError(f"column {quoted(name)} must have no masked values: fill them with nan")
    if hasattr(values, "to_pylist"):  # of pyarrow
        values = values.to_pylist()
    if not isinstance(values, np.ndarray):
        if isinstance(values, str | bytes | Set | Mapping) or not hasattr(values, "__len__"):
            raise ValueError(
                f"column {quoted(name)} must be a list or an array; got {checks.shown(values)}"
            )
        given = values if hasattr(values, "__array__") else list(values)
        values = np.empty(len(given), object)
        values[:] = list(given)
    if values.ndim != 1:
        raise ValueError(f"column {quoted(name)} must have one dimension; got shape {values.shape}")
    kind = values.dtype.kind
    if kind == "b":
        return Column(name, "boolean", values.astype(np.float64))
    if kind in "iuf":
        return Column(name, "number", values.astype(np.float64))
    if kind == "M":
        return Column(name, "date", values.astype("datetime64[us]"))
    if kind == "m":
        return Column(name, "number", _seconds(values))
    if kind == "U":
        return Column(name, "text", values.astype(object))
    if kind == "c":
        raise ValueError(f"Complex data not supported: column {quoted(name)} holds complex numbers")
    if kind != "O":
        raise ValueError(_unknown(name, str(values.dtype)))
    return _of_objects(name, values.tolist())


def _is_missing(value: Any) -> bool:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, float | np.floating):
        return bool(value != value)
    return isinstance(value, np.datetime64 | np.timedelta64) and bool(np.isnat(value))


TIMES = (datetime.date, np.datetime64)
SPANS = (datetime.timedelta, np.timedelta64, datetime.time)


def _of_objects(name: str, values: Sequence[Any]) -> Column:
    """Read a column of Python objects, by the types of those that are not missing."""
    present = np.fromiter((not _is_missing(v) for v in values), bool, len(values))
    held = [value for value, there in zip(values, present, strict=True) if there]
    if held and type(held[0]).__name__ == "Period":
        held = [value.to_timestamp() for value in held]
    types = {type(value) for value in held}

    def all_are(*kinds: type) -> bool:
        return all(issubclass(t, kinds) for t in types)

    if all_are(bool, np.bool_) and held:
        return Column(name, "boolean", _placed(present, np.array(held, np.float64)))
    if all_are(numbers.Real, Decimal, np.bool_) and not any(
        issubclass(t, np.timedelta64) for t in types
    ):
        try:
            floats = np.array([float(value) for value in held], np.float64)
        except OverflowError:
            raise ValueError(f"column {quoted(name)} holds a number beyond float64") from None
        return Column(name, "number", _placed(present, floats))
    if all_are(*TIMES):
        stamps = np.array([_stamp(value) for value in held], "datetime64[us]")
        dates = np.full(len(values), "NaT", "datetime64[us]")
        dates[present] = stamps
        return Column(name, "date", dates)
    if all_are(*SPANS):
        return Column(name, "number", _placed(present, np.array([_span(v) for v in held])))
    if any(issubclass(t, complex | np.complexfloating) for t in types):
        raise ValueError(f"Complex data not supported: column {quoted(name)} holds complex numbers")
    if not any(issubclass(t, str | numbers.Real) for t in types):
        raise ValueError(_unknown(name, ", ".join(sorted(t.__name__ for t in types))))
    return Column(name, "text", _strings(values))


def _placed(present: Array, floats: Array) -> Array:
    made = np.full(len(present), np.nan)
    made[present] = floats
    return made


def _stamp(value: Any) -> np.datetime64:
    """A date or time as datetime64 in UTC."""
    if isinstance(value, datetime.datetime):
        if value.tzinfo is not None:
            value = value.astimezone(datetime.UTC)
        value = value.replace(tzinfo=None)
        if hasattr(value, "to_datetime64"):
            return np.datetime64(value.to_datetime64(), "us")
    return np.datetime64(value, "us")


def _span(value: Any) -> float:
    """A duration or a time of day in seconds."""
    if isinstance(value, datetime.time):
        minutes = 60 * value.hour + value.minute
        return 60.0 * minutes + value.second + value.microsecond / 1e6
    if hasattr(value, "to_timedelta64"):
        value = value.to_timedelta64()
    return float(_seconds(np.array([value], "timedelta64[us]"))[0])


def _strings(values: Sequence[Any]) -> Array:
    """Texts as an array of objects; None where one is missing."""
    made = np.empty(len(values), object)
    made[:] = [
        value if type(value) is str else None if _is_missing(value) else str(value)
        for value in values
    ]
    return made


def _unknown(name: str, what: str) -> str:
    return (
        f"column {quoted(name)} must hold numbers, booleans, text, categories or dates; "
        f"got {printable(what, BRIEF)}: convert the column or leave it out"
    )
