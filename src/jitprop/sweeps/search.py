"""`sweep`: it makes tasks of settings and folds, and a table of their results."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from jitprop import checks, elementary
from jitprop._types import Array
from jitprop.data import cast, reach, validation
from jitprop.fleet import Fleet
from jitprop.metrics import Metric
from jitprop.metrics import resolve as resolve_metrics
from jitprop.net.losses import BinaryCrossEntropy, CrossEntropy
from jitprop.net.spec import Spec, check_batch
from jitprop.sweeps import executors, folds
from jitprop.sweeps.result import SweepResult, ranks
from jitprop.sweeps.settings import Group, Setting, expand, groups
from jitprop.sweeps.tasks import Data, Found, Given, Task, cut
from jitprop.trainer import Trainer
from jitprop.training.callbacks import HIGHER_IS_BETTER, EarlyStopping
from jitprop.training.errors import DivergenceError, TargetWarning, see_own
from jitprop.training.history import VALIDATION, VALIDATION_LOSS
from jitprop.training.watching import check_monitor
from jitprop.warn import warn


def sweep(
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    grid: Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]],
    *,
    cv: Any = None,
    validation_data: Sequence[npt.ArrayLike] | None = None,
    sample_weight: npt.ArrayLike | None = None,
    metrics: str | Metric | Sequence[str | Metric] = (),
    monitor: str = VALIDATION_LOSS,
    mode: str = "auto",
    early_stopping: EarlyStopping | None = None,
    refit: bool = True,
    executor: Any = None,
    **settings: Any,
) -> SweepResult:
    """
    Train every setting on every fold, and the best setting on all samples.

    This is a grid search with cross-validation. Settings that differ only in seed, learning rate,
    weight decay, momentum or dropout are trained together as one `Fleet`, with all their folds.
    Other settings, such as those with other layers, get a fleet of their own.

    The result for a setting and a fold is that of a `Trainer` with this setting, fitted to the rows
    of this fold, up to rounding. It is the same bit for bit whatever else is in the sweep and
    wherever it runs.

    Parameters
    ----------
    X : (n_samples, n_inputs) array-like
    y : (n_samples, n_targets) array-like, or (n_samples,)
        As in `Trainer.fit`.
    grid : dict of lists, or list of dicts
        A dict has lists of values by name. All their combinations are tried; the values of the last
        name change first. A list has a dict for each setting. Names are "epochs" and those of
        `Fleet`'s arguments, such as "layer_sizes".
    cv : int, splitter or iterable, default 5
        The folds: their number; an object with ``split(X, y)``, such as scikit-learn's; or pairs of
        (rows to train on, rows held out), such as ``splitter.split(X, y, groups)`` gives. For a
        number, rows are dealt at random, in the same way for the same number of samples. If the
        losses of all settings are cross-entropies, these folds are stratified by class.
    validation_data : (X, y) or (X, y, sample_weight), optional
        Samples to measure with, in place of folds. All of X is then trained on.
    sample_weight : (n_samples,) array-like, optional
        As in `Trainer.fit`. It is also used in the losses on the rows held out.
    metrics : names or functions, default none
        As in `Trainer.fit`. They are computed on the rows held out, after training.
    monitor : str, default "validation_loss"
        The number whose mean over the folds is compared: "validation_loss", or ``"validation_"``
        and the name of a metric. Different losses cannot be compared: if ``grid`` has some, name a
        metric.
    mode : {"auto", "min", "max"}, default "auto"
        Whether lower or higher is better. "auto" is "max" for r2 and accuracy, else "min".
    early_stopping : EarlyStopping, optional
        Stops each net by itself, as in `Fleet.fit`. Its "validation_loss" is the loss on the rows
        held out, which is then a somewhat optimistic estimate. The best setting is trained on all
        samples for the mean number of epochs that were kept in its folds.
    refit : bool, default True
        Whether to train the best setting on all samples, in this process.
    executor : concurrent.futures.Executor, optional
        Runs the tasks into which the work is cut; None runs them in this process. A
        `dask.distributed` client, or what its ``get_executor()`` returns, runs them on a cluster.
        Data are sent once to each worker.
    **settings
        ``epochs``, and arguments of `Fleet` except ``members``: values for all settings, which
        ``grid`` can override. ``seed`` is used for each setting in each fold; None takes a seed
        from the operating system. With an executor, the default of ``n_threads`` is 1.

    Returns
    -------
    SweepResult

    Raises
    ------
    TypeError, ValueError
        For bad input, before anything is trained. The message names the setting.
    concurrent.futures.BrokenExecutor
        If a worker process on this machine died. Dask retries the tasks of a lost worker on
        another one.
    concurrent.futures.CancelledError
        If tasks were cancelled by others.
    pickle.PicklingError, AttributeError, TypeError
        If the executor cannot send your own functions to its workers. A `ProcessPoolExecutor` sends
        functions of a module but no lambdas; loky and Dask send both.

    Warns
    -----
    RuntimeWarning
        - If there is no best setting: each one diverged in some fold, or its ``monitor`` is not
          finite.
        - If ``monitor`` is not finite for some settings that did not diverge. They come last.
        - If the best setting diverged when it was trained on all samples. The trainer then has the
          parameters of the last good epoch.

    Notes
    -----
    All members of a fleet have the same number of samples. So folds of different sizes become
    fleets of their own.

    Examples
    --------
    >>> import numpy as np
    >>> from jitprop import sweep
    >>> X = np.linspace(-1, 1, 60)[:, None]
    >>> y = np.sin(3 * X)
    >>> found = sweep(
    ...     X, y, {"layer_sizes": [[1, 2, 1], [1, 8, 1]], "learning_rate": [0.01, 0.1]},
    ...     activation="tanh", output_activation="identity", epochs=300, batch_size=10, seed=0,
    ... )
    >>> found.best
    {'layer_sizes': [1, 8, 1], 'learning_rate': 0.1}
    """
    measures = resolve_metrics(metrics)
    sign = _sign(monitor, mode, measures)
    if not (early_stopping is None or isinstance(early_stopping, EarlyStopping)):
        raise TypeError(
            f"early_stopping must be an EarlyStopping or None; got {checks.shown(early_stopping)}"
        )
    if early_stopping is not None:
        check_monitor("early_stopping", early_stopping.monitor, ["loss", VALIDATION_LOSS])
    refit = checks.boolean("refit", refit)
    executor = executors.resolve(executor)
    tried = expand(grid, settings)
    if settings.get("seed") is None:
        settings["seed"] = secrets.randbits(63)
    in_workers = {} if executor is None or settings.get("n_threads") else {"n_threads": 1}
    found = groups(tried, {**settings, **in_workers})
    specs = [_spec(group, tried) for group in found]
    data = _data(X, y, sample_weight, validation_data, cv, specs)
    for group, spec in zip(found, specs, strict=True):
        _check(group, spec, data, tried)
    _warn_of_targets(specs, data)
    tasks = [
        task
        for group, spec in zip(found, specs, strict=True)
        for task in cut(group, spec, data, measures, early_stopping)
    ]
    measured = _table(tasks, executors.run_all(executor, tasks, data), len(tried), data)
    order = ranks(sign * measured[monitor].mean(axis=1))
    result = SweepResult(tried, measured, monitor, order, None)
    best = result.best_index
    if best is None:
        warn(
            f"there is no best one of {len(tried)} settings: each diverged in some fold, or its "
            f"{monitor} is not finite. Try smaller learning rates, or inputs and targets scaled "
            f"to about -1...1{see_own(_custom_functions(specs), '; or see {}')}"
        )
    else:
        _warn_of_nan(monitor, measured)
    if best is not None and refit:
        kept = None if early_stopping is None else elementary.mean(measured["epochs_trained"][best])
        trainer = _refitted(groups([tried[best]], settings)[0], data, kept)
        trainer._model.names = cast.names_of(X)
        result = replace(result, trainer=trainer)
    return result


def _custom_functions(specs: list[Spec]) -> list[str]:
    return list(dict.fromkeys(name for spec in specs for name in spec.custom_functions))


def _warn_of_nan(monitor: str, measured: Mapping[str, npt.NDArray[Any]]) -> None:
    """Warn of settings that come last although they did not diverge."""
    lacking = ~np.isfinite(measured[monitor]) & ~measured["diverged"]
    if n := int(lacking.any(axis=1).sum()):
        warn(
            f"{monitor} is nan or infinite in some fold of {n} of {len(lacking)} settings, which "
            "did not diverge: they come last in the ranks"
        )


def _warn_of_targets(specs: list[Spec], data: Data) -> None:
    """Warn of targets that the output of some setting cannot reach, once for all settings."""
    for spec in specs:
        if text := reach.warning([reach.with_weight(data.y, data.weights)], spec):
            warn(text, TargetWarning)
            return


def _sign(monitor: Any, mode: Any, measures: Mapping[str, Metric]) -> float:
    """Return 1 where a lower number is better, else -1."""
    known = (VALIDATION_LOSS, *(VALIDATION + name for name in measures))
    checks.choice("monitor", monitor, known)
    checks.choice("mode", mode, ("auto", "min", "max"))
    higher = monitor.removeprefix(VALIDATION) in HIGHER_IS_BETTER
    return -1.0 if mode == "max" or (mode == "auto" and higher) else 1.0


@contextmanager
def _in(group: Group, tried: list[Setting]) -> Iterator[None]:
    """Add the setting to the message of an error, if there are several."""
    try:
        yield
    except (TypeError, ValueError) as error:
        if len(tried) == 1:
            raise
        i = group.indices[0]
        raise type(error)(f"in setting {i}, {checks.printable(str(tried[i]))}: {error}") from None


def _spec(group: Group, tried: list[Setting]) -> Spec:
    with _in(group, tried):
        return Fleet(members=1, **group.shared, **group.varied[0])._model.spec


def _data(
    X: Any, y: Any, sample_weight: Any, validation_data: Any, cv: Any, specs: list[Spec]
) -> Data:
    """Return the data and folds, with all checks that need no setting."""
    names = cast.names_of(X)
    X, y, weights = _arrays(X, y, sample_weight)
    if validation_data is not None:
        if cv is not None:
            raise ValueError("cv and validation_data exclude each other")
        parts = validation.parts(validation_data)
        try:
            cast.check_names(parts[0], names)
            return Data(X, y, weights, [], _arrays(*parts))
        except (TypeError, ValueError) as error:
            raise type(error)(f"in validation_data, {error}") from None
    pairs = folds.folds(5 if cv is None else cv, X, y, _classes(y, specs))
    for i, rows in enumerate(pairs):
        if weights is not None:
            validation.check_counted(f"fold {i} of cv", *(weights[part] for part in rows))
    return Data(X, y, weights, pairs, None)


def _arrays(X: Any, y: Any, sample_weight: Any) -> Given:
    """
    Check X, y and weights; return X and y C-contiguous and 2-dimensional.

    Other arrays than contiguous ones would be sent to workers inside the pickle.
    """
    x, targets = np.ascontiguousarray(cast.real("X", X)), cast.real("y", y)
    if x.ndim != 2 or len(x) == 0:
        raise ValueError(
            "X must be 2-dimensional, (n_samples, n_inputs), with samples; "
            f"got shape {x.shape}{cast.way_to_2d('X', x)}"
        )
    if targets.ndim not in (1, 2) or len(targets) != len(x):
        raise ValueError(
            f"y must have one row for each of the {len(x)} rows of X; got shape {targets.shape}"
        )
    weights = cast.weights(sample_weight, len(x), np.dtype(np.float64))
    return x, np.ascontiguousarray(targets.reshape(len(x), -1)), weights


def _classes(y: Array, specs: list[Spec]) -> folds.Rows | None:
    """The class of each sample, if y holds classes for all settings; else None."""
    kinds = {type(spec.loss) for spec in specs}
    if kinds <= {BinaryCrossEntropy, CrossEntropy} and y.shape[1] == 1:
        return np.unique(y[:, 0], return_inverse=True)[1]
    return y.argmax(axis=1) if kinds == {CrossEntropy} else None


def _check(group: Group, spec: Spec, data: Data, tried: list[Setting]) -> None:
    """Check the samples against these settings."""
    with _in(group, tried):
        kind = _check_samples((data.X, data.y, data.weights), spec, group.shared.get("dtype"))
        for n, _ in data.sizes():
            check_batch(spec, n)
        if data.validation is not None:
            try:
                _check_samples(data.validation, spec, kind)
            except (TypeError, ValueError) as error:
                raise type(error)(f"in validation_data, {error}") from None
        elif getattr(spec.loss, "class_weight", None) is not None:
            for i in range(len(data.folds)):  # all classes in a fold may have the weight 0
                for part in data.of([i]):
                    try:
                        _check_samples(part, spec, kind)
                    except ValueError as error:
                        raise ValueError(f"in fold {i}, {error}") from None


def _check_samples(given: Given, spec: Spec, dtype: Any) -> np.dtype[Any]:
    """Check samples for a net; return the dtype in which it computes."""
    x = cast.inputs(given[0], spec.layer_sizes[0], cast.dtype(dtype))
    y = cast.targets(given[1], len(x), spec.n_targets, spec.loss, x.dtype)
    cast.with_class_weights(given[2], y, spec.loss)
    return x.dtype


def _table(
    tasks: list[Task], found: list[Found], n_settings: int, data: Data
) -> dict[str, npt.NDArray[Any]]:
    """Collect what the tasks found in (settings, folds) arrays."""
    measured: dict[str, npt.NDArray[Any]] = {}
    for task, numbers in zip(tasks, found, strict=True):
        for name, values in numbers.items():
            shape = (n_settings, len(data.sizes()))
            table = measured.setdefault(name, np.zeros(shape, values.dtype))
            table[task.settings, task.folds] = values
    return measured


def _refitted(group: Group, data: Data, kept: float | None) -> Trainer:
    """Train a setting on all samples, for ``kept`` epochs or the setting's own number."""
    trainer = Fleet(members=1, **group.shared, **group.varied[0])[0]
    trainer._model.warned = True  # the sweep has warned of targets before
    epochs = group.epochs if kept is None else max(1, round(kept))
    try:
        trainer.fit(data.X, data.y, epochs, sample_weight=data.weights)
    except DivergenceError as error:
        warn(f"the best setting diverged when it was trained on all samples: {error}")
    return trainer
