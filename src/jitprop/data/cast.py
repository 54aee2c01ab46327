"""
Checks and casts of arrays at the border. Kernels trust what has passed here.

A function either raises an error or returns C-contiguous data of the requested dtype. The error
names the argument, what was expected and what was passed. The returned array may be the caller's
own, so it is never written to. For a file of the caller's it may be a `Mapped`, which reads such
arrays from the file when they are needed.
"""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from jitprop import checks
from jitprop._types import Array
from jitprop.data import mapped
from jitprop.data.mapped import Rows
from jitprop.interrupts import from_a_handler
from jitprop.net.losses import BinaryCrossEntropy, CrossEntropy, Loss

PROBABILITY_TOLERANCE = 1e-5
"""How far from 1 the sum of a row of probabilities may be: enough for float32 softmax outputs."""


def real(name: str, data: Any) -> Array:
    """
    Return any array, list or data frame of real numbers as an array of a real dtype.

    Raises
    ------
    TypeError, ValueError
        For anything else. The message says how to make numbers of it, where that is known.
    """
    if hasattr(data, "toarray") and not hasattr(data, "__array__"):
        raise TypeError(
            f"{name} must be an array of real numbers; got a sparse matrix: convert it by "
            f"{name}.toarray()"
        )
    array = read(name, data)
    if array.dtype == object and _is_numeric_frame(data):
        array = read(name, data, np.dtype(np.float64))
    if array.dtype.kind not in "biuf":
        kind = {"c": "complex numbers", "U": "text", "S": "text", "O": "Python objects"}
        raise TypeError(
            f"{name} must be an array of real numbers; "
            f"got {kind.get(array.dtype.kind, 'other values')} "
            f"(dtype {checks.printable(str(array.dtype))})"
            f"{_way_out(name, data, array)}"
        )
    return array


def read(name: str, data: Any, dtype: np.dtype[Any] | None = None, *, of: str = "numbers") -> Array:
    """
    Let NumPy make an array of any array, list or data frame; the dtype is not checked.

    ``of`` says what the array should hold, "numbers" or "ints", for the error message.

    Raises
    ------
    ValueError
        If values are masked, or if NumPy cannot make an array of it.
    """
    if _is_masked(data):
        raise ValueError(f"{name} must have no masked values; got {checks.shown(data)}")
    try:
        return np.asarray(data, dtype)
    except Exception as error:  # a ragged list, or an object whose __array__ raises any error
        if from_a_handler(error):  # such as the user's time limit
            raise
        raise ValueError(
            f"{name} must be an array of {of}; NumPy says: {checks.printable(str(error))}"
            f"{_missing(name, data)}"
        ) from error


@contextlib.contextmanager
def naming(**arguments: Any) -> Iterator[None]:
    """
    A context in which another library reads arguments; errors then name the unreadable argument.

    Before, masked values and arrays that raise an error are refused. A list may contain such an
    array, or an int that float64 cannot hold: if the library raises an error for it, the argument
    is read again by `read`, whose error names it. TypeErrors and ValueErrors of the library pass
    unchanged. Data frames and sparse matrices are not checked, since `read` does not know them.

    Parameters
    ----------
    **arguments : array-like
        The arguments by name, in the order in which the library reads them.

    Raises
    ------
    ValueError
        As `read` raises it.
    """
    plain = {
        name: data
        for name, data in arguments.items()
        if not (hasattr(data, "columns") or hasattr(data, "toarray"))
    }
    for name, data in plain.items():
        if _is_masked(data) or hasattr(data, "__array__"):
            read(name, data)
    try:
        yield
    except (TypeError, ValueError, Warning):
        raise
    except Exception as error:
        if not from_a_handler(error):  # such as the user's time limit
            for name, data in plain.items():
                read(name, data, np.dtype(np.float64) if isinstance(error, OverflowError) else None)
        raise


def _is_masked(data: Any) -> bool:
    """Whether an array holds a masked value; lists are searched at any depth."""
    ma = sys.modules.get("numpy.ma")  # who has a masked array has imported it: 10 ms
    if isinstance(data, getattr(ma, "MaskedArray", ())):
        return bool(np.ma.is_masked(data))
    if not isinstance(data, list | tuple) or {*map(type, data)} <= {int, float, bool}:
        return False
    return any(map(_is_masked, data))


NUMBERED = "classes, y = numpy.unique(y, return_inverse=True)"
"""The code that turns any labels into 0, 1, ..."""


def _way_out(name: str, data: Any, array: Array) -> str:
    """For an error message: what to do with text in the targets or in a column of a frame."""
    text = array.dtype.kind == "U" or any(isinstance(x, str) for x in array.ravel()[:100])
    if text and name == "y":
        return (
            f": turn text labels into numbers by {NUMBERED}; or use "
            "jitprop.sklearn.MLPClassifier, which takes labels of any kind"
        )
    for column in _columns(data):
        values = np.asarray(data[column])
        if values.dtype.kind in "biufc":
            continue
        polars = type(data).__module__.startswith("polars")
        dummies = "X.to_dummies" if polars else "pandas.get_dummies"
        kind, way = "text or other objects", f", as {dummies} does with categories"
        if values.dtype.kind in "mM":
            kind, way = "dates", ", such as days"
        return (
            f": column {checks.quoted(str(column))} holds {kind} (dtype {values.dtype}). Leave it "
            f"out, or convert it to numbers{way}"
        )
    return ": convert it to numbers, or leave it out" if text else ""


def _missing(name: str, data: Any) -> str:
    """For an error message: what to do with missing values in a frame of nullable numbers."""
    for column in _columns(data) if hasattr(data, "isna") else ():
        if np.any(data[column].isna()):
            return (
                f": column {checks.quoted(str(column))} has missing values. Fill them, as "
                f"{name}.fillna({name}.mean()) does, or leave their rows out"
            )
    return ""


def _columns(data: Any) -> tuple[Any, ...]:
    """The names of a data frame's columns; () for anything else."""
    # A pyarrow table's attribute "columns" holds the columns themselves.
    names = getattr(data, "column_names", None) or getattr(data, "columns", ())
    return tuple(names) if isinstance(names, Iterable) else ()


def names_of(X: Any) -> tuple[str, ...] | None:
    """Return the names of a data frame's columns if all are text; None for anything else."""
    names = _columns(X)
    return names if names and all(isinstance(name, str) for name in names) else None


def check_names(X: Any, known: tuple[str, ...] | None) -> None:
    """
    Refuse a data frame whose columns do not have the names ``known`` in the same order.

    Anything but a data frame with text names passes, and so does everything if ``known`` is None.

    Raises
    ------
    ValueError
        Naming the columns that are missing or new.
    """
    if known is None or (names := names_of(X)) is None or names == known:
        return
    if sorted(names) == sorted(known):
        reason = "the columns are the same, in another order"
    else:
        present, expected = set(names), set(known)
        missing = [name for name in known if name not in present]
        new = [name for name in names if name not in expected]
        listed = ", ".join(map(checks.quoted, (missing or new)[:5]))
        reason = f"columns [{listed}] are {'missing' if missing else 'new'}"
    raise ValueError(
        "X must have the columns that the net was trained on, in the same order, as "
        f"X[list(feature_names_in_)] has them: {reason}"
    )


def way_to_2d(name: str, array: Array) -> str:
    """For an error message: how to make a 2-dimensional array of a 1-dimensional one."""
    if array.ndim != 1:
        return ""
    one = f"numpy.reshape({name}, (1, -1))"
    return f"; for one sample use {one}, for one input numpy.reshape({name}, (-1, 1))"


def _is_numeric_frame(data: Any) -> bool:
    """
    Whether this is a data frame or series that holds only numbers.

    NumPy makes an array of objects of one with mixed or nullable dtypes, unless told the dtype.
    """
    dtypes = getattr(data, "dtypes", None)
    if dtypes is None:
        return False
    return all(getattr(dtype, "kind", "O") in "biuf" for dtype in np.atleast_1d(dtypes))


def finite(name: str, array: Array, dtype: np.dtype[Any]) -> Array:
    """
    Return the array C-contiguous and in this dtype.

    Raises
    ------
    ValueError
        For inf and nan, and for a number too large for the dtype, naming its position.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        cast = np.ascontiguousarray(array, dtype)
    check_finite(name, array, cast)
    return cast


def _finite_rows(name: str, array: Array, dtype: np.dtype[Any]) -> Rows:
    """As `finite`, for arrays that may be files: these are read here, and again when used."""
    with np.errstate(over="ignore", invalid="ignore"):
        cast = mapped.cast(array, dtype)
    check_finite(name, array, cast)
    return cast


def check_finite(name: str, array: Any, cast: Rows) -> None:
    """Check rows; ``array`` has them before the cast, for the error message."""
    for rows in mapped.row_slices(cast):
        some = cast[rows]
        with np.errstate(over="ignore", invalid="ignore"):
            # The sum of finite numbers is nearly always finite, and needs no second array.
            total = some.sum()
        if np.isfinite(total) or np.isfinite(some).all():
            continue
        i, *rest = (int(i) for i in np.argwhere(~np.isfinite(some))[0])
        where = (rows.start + i, *rest)
        value = array[where]
        reason = "" if not np.isfinite(value) else f", which is beyond {cast.dtype}"
        raise ValueError(f"{name} must be finite; {name}{list(where)} is {value}{reason}")


def zeros(name: str, shape: tuple[int, ...], dtype: Any) -> Array:
    """
    Return an array of zeros.

    Raises
    ------
    ValueError
        Where memory cannot hold it. The message names the argument that asks for it.
    """
    try:
        return np.zeros(shape, dtype)
    except (MemoryError, ValueError, OverflowError) as error:
        size = math.prod(shape) * np.dtype(dtype).itemsize
        raise ValueError(f"{name} asks for {size:.3g} bytes of memory: {error}") from error


def inputs(X: Any, n_inputs: int, dtype: np.dtype[Any] | None) -> Rows:
    """
    Check X and return it as (n_samples, n_inputs), with at least one sample and all finite.

    Its dtype becomes ``dtype``. With None, float32 stays and any other dtype becomes float64.

    Raises
    ------
    TypeError, ValueError
        For anything else, naming X.
    """
    rows, is_own = inputs_to_look_at(X, n_inputs, dtype)
    if is_own:
        check_finite("X", rows, rows)
    return rows


def inputs_to_look_at(X: Any, n_inputs: int, dtype: np.dtype[Any] | None) -> tuple[Rows, bool]:
    """
    As `inputs`; an array that needs no cast is not looked at, so it may have inf or nan.

    It can be large, and who computes with it reads it anyway. The second result says whether
    this is so.

    Raises
    ------
    TypeError, ValueError
        For anything else, naming X.
    """
    array = real("X", X)
    if array.ndim != 2:
        raise ValueError(
            f"X must be 2-dimensional, (n_samples, {n_inputs}); got shape {array.shape}"
            f"{way_to_2d('X', array)}"
        )
    if array.shape[1] != n_inputs:
        raise ValueError(
            f"X must have {n_inputs} columns, as layer_sizes says; got shape {array.shape}"
        )
    if array.shape[0] == 0:
        raise ValueError(f"X must have at least one sample; got shape {array.shape}")
    if dtype is None:
        single = array.dtype.newbyteorder("=") == np.float32
        dtype = np.dtype(np.float32 if single else np.float64)
    if array.dtype == dtype and array.flags.c_contiguous and not mapped.is_mapped(array):
        return array, True
    return _finite_rows("X", array, dtype), False


def targets(y: Any, n_samples: int, n_targets: int, loss: Loss, dtype: np.dtype[Any]) -> Rows:
    """
    Check y and return it as (n_samples, n_targets), or as (n_samples,) class labels.

    Class labels are allowed with `CrossEntropy`, as (n_samples,) or as one column. With any other
    loss, y of the shape (n_samples,) becomes one column.

    Raises
    ------
    TypeError, ValueError
        For anything else, and for targets outside the loss's range, naming y.
    """
    array = real("y", y)
    classes = isinstance(loss, CrossEntropy)
    labels = classes and (array.ndim == 1 or array.shape[1:] == (1,))
    expected = f"({n_samples}, {n_targets})"
    if n_targets == 1 or classes:
        expected += f" or ({n_samples},)"
    if array.ndim not in (1, 2) or array.shape[0] != n_samples:
        raise ValueError(
            f"y must have shape {expected}, one row for each of the {n_samples} rows of X; "
            f"got shape {array.shape}"
        )
    if labels:
        # A copy, which the user cannot change: kernels use labels as indices without a check.
        made = finite("y", array.reshape(-1), dtype).copy()
        # The array before the cast: float32 would round 0.999999999 to the label 1.
        class_labels(array.reshape(-1), n_targets)
        return made
    if array.ndim == 1 and n_targets == 1:
        array = array.reshape(-1, 1)
    if array.shape != (n_samples, n_targets):
        raise ValueError(f"y must have shape {expected}; got shape {array.shape}")
    rows = _finite_rows("y", array, dtype)
    if classes or loss.target_range != (-np.inf, np.inf):
        for some in mapped.row_slices(rows):
            _check_range(rows[some], some.start, loss)
    return rows


def class_labels(y: Array, n_classes: int) -> Array:
    """
    Return class labels, (n_samples,), as they are.

    Raises
    ------
    ValueError
        Unless all are whole numbers from 0 to n_classes - 1.
    """
    bad = (y != np.floor(y)) | (y < 0) | (y >= n_classes)
    if bad.any():
        i = int(np.argmax(bad))
        hint = ""
        if (y == np.floor(y)).all() and np.unique(y).size <= n_classes:
            from_1 = y.min() == 1 and y.max() <= n_classes
            hint = f" ({'use y - 1' if from_1 else f'{NUMBERED} makes these of other labels'})"
        raise ValueError(
            f"y must hold class labels, integers from 0 to {n_classes - 1}{hint}; "
            f"y[{i}] is {_exactly(y[i])}"
        )
    return y


def _exactly(number: Any) -> str:
    """A number in few digits; in all digits if fewer would show another number."""
    short = f"{number:g}"
    return short if float(short) == number or number != number else repr(float(number))


def _check_range(array: Array, first: int, loss: Loss) -> None:
    """Check the range of some rows of y; their numbers begin with ``first``."""
    low, high = loss.target_range
    if (low > -np.inf and array.min() < low) or (high < np.inf and array.max() > high):
        expected = f"lie within [{low:g}, {high:g}]" if high < np.inf else f"be at least {low:g}"
        i, j = (int(i) for i in np.argwhere((array < low) | (array > high))[0])
        hint = ""
        if isinstance(loss, BinaryCrossEntropy) and len(two := np.unique(array)) == 2:
            hint = f"; for two classes y is 0 or 1: use y == {two[1]:g}"
        raise ValueError(
            f"y must {expected} for {loss.name}; y[{first + i}, {j}] is {array[i, j]:g}{hint}"
        )
    if isinstance(loss, CrossEntropy):
        sums = array.sum(axis=1, dtype=np.float64)
        off = np.abs(sums - 1) > PROBABILITY_TOLERANCE
        if off.any():
            i = int(np.argmax(off))
            raise ValueError(
                "y must hold class labels, or rows of probabilities that sum to 1, for "
                f"cross_entropy; y[{first + i}] sums to {sums[i]:g}"
            )


def weights(sample_weight: Any, n_samples: int, dtype: np.dtype[Any]) -> Array | None:
    """
    Check sample_weight and return it as (n_samples,); None stays None.

    Raises
    ------
    TypeError, ValueError
        For another shape, for weights below 0, and for a sum that is 0 or not finite.
    """
    if sample_weight is None:
        return None
    array = real("sample_weight", sample_weight)
    if array.shape != (n_samples,):
        raise ValueError(
            f"sample_weight must have shape ({n_samples},), one weight for each row of X; "
            f"got shape {array.shape}"
        )
    array = finite("sample_weight", array, dtype)
    if (array < 0).any():
        i = int(np.argmax(array < 0))
        raise ValueError(f"sample_weight must not be negative; sample_weight[{i}] is {array[i]:g}")
    check_total("sample_weight", array, np.dtype(np.float64))
    return array


def check_total(name: str, weights: Array, dtype: np.dtype[Any]) -> None:
    """
    Check the sum of weights.

    Raises
    ------
    ValueError
        If the sum is 0, infinite, or so small that the dtype cannot hold its inverse.
    """
    with np.errstate(over="ignore"):
        total = weights.sum(dtype=np.float64)
    smallest, largest = np.finfo(dtype).tiny, np.finfo(dtype).max
    if not smallest <= total <= largest:
        raise ValueError(
            f"{name} must have a finite sum above 0, from {smallest:.2g} to {largest:.2g}; "
            f"the weights sum to {total:g}"
        )


def with_class_weights(weights: Array | None, y: Rows, loss: Loss) -> Array | None:
    """
    Return the weights of samples times those of their classes, if the loss has class weights.

    Raises
    ------
    ValueError
        If all products are 0, or their sum is not finite.
    """
    if getattr(loss, "class_weight", None) is None:
        return weights
    with np.errstate(over="ignore", invalid="ignore"):
        found = [loss.sample_weights(y[rows]) for rows in mapped.row_slices(y)]
        class_weights = np.concatenate([part for part in found if part is not None])
        product = class_weights if weights is None else weights * class_weights
    if not product.any():
        raise ValueError(
            "y must have a sample whose sample_weight and class_weight are both above 0; "
            "all samples have the weight 0"
        )
    check_total("sample_weight times class_weight", product, np.dtype(np.float64))
    return product


def order(name: str, value: Any, shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """
    Check indices of samples and return them as int64.

    Parameters
    ----------
    name : str
        For error messages.
    value : array-like of ints from 0 to n_samples - 1
    shape : tuple
        The shape that ``value`` must have; its last number is n_samples.

    Raises
    ------
    TypeError, ValueError
        For anything else.
    """
    array = read(name, value, of="ints")
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be an array of ints; got dtype {array.dtype}")
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}; got shape {array.shape}")
    # A copy, which the user cannot change: kernels use it as indices without a check.
    indices = np.array(array, np.int64, order="C")
    if array.size and (array.min() < 0 or array.max() >= shape[-1]):
        raise ValueError(
            f"{name} must hold indices of samples, from 0 to {shape[-1] - 1}; "
            f"got values from {array.min()} to {array.max()}"
        )
    return indices


def parameters(
    weights: Any,
    biases: Any,
    shapes: list[tuple[int, int]],
    dtype: np.dtype[Any],
    members: int | None = None,
) -> tuple[list[Array], list[Array]]:
    """
    Check weights and biases and return copies, one of each for every layer.

    Parameters
    ----------
    weights : list of (n_in, n_out) array-likes
    biases : list of (n_out,) array-likes
        A number will do where n_out is 1.
    shapes : list of (n_in, n_out)
    dtype : dtype
        Of the copies.
    members : int, optional
        If given, each array may also have a first dimension of this length.

    Raises
    ------
    TypeError, ValueError
        For anything else, naming the array.
    """
    made: tuple[list[Array], list[Array]] = ([], [])
    groups: tuple[tuple[str, Any, list[tuple[int, ...]]], ...] = (
        ("weights", weights, [*shapes]),
        ("biases", biases, [(n_out,) for _, n_out in shapes]),
    )
    for (name, values, wanted), out in zip(groups, made, strict=True):
        if not checks.is_list(values):
            raise TypeError(
                f"{name} must be a list of {len(shapes)} arrays; got {checks.shown(values)}"
            )
        if len(values) != len(shapes):
            raise ValueError(f"{name} must have {len(shapes)} arrays; got {len(values)}")
        for l, shape in enumerate(wanted):
            array = real(f"{name}[{l}]", values[l])
            if shape == (1,) and array.ndim == 0:
                array = array.reshape(1)
            if array.shape != shape and (members is None or array.shape != (members, *shape)):
                or_each = (
                    ""
                    if members is None
                    else (f", or {(members, *shape)} for each of the {members} members")
                )
                raise ValueError(
                    f"{name}[{l}] must have shape {shape}{or_each}; got shape {array.shape}"
                )
            out.append(finite(f"{name}[{l}]", array, dtype).copy())
    return made


def dtype(value: Any) -> np.dtype[Any] | None:
    """
    Return float32 or float64 as a NumPy dtype; None stays None.

    Raises
    ------
    TypeError, ValueError
        For anything else.
    """
    if value is None:
        return None
    try:
        made: np.dtype[Any] = np.dtype(value)
    except (TypeError, ValueError, SyntaxError) as error:  # NumPy parses text such as "(2,)f8"
        raise TypeError(
            f"dtype must be None, 'float32' or 'float64'; got {checks.shown(value)}"
        ) from error
    if made not in (np.float32, np.float64):
        raise ValueError(
            f"dtype must be None, 'float32' or 'float64'; got {checks.printable(str(made))}"
        )
    return made
