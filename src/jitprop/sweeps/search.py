"""The sweep: settings and folds made into tasks, and what they find into a table."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from jitprop import checks
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
    Train every setting on every fold, and the best one on all samples.

    Settings that differ in seed, learning rate, weight decay, momentum or dropout, and the folds
    of each, are trained together as a `Fleet`; others, such as those with other layers, beside it.
    What comes out for a setting and a fold is what a `Trainer` with this setting gives that is
    fitted to this fold's rows: to rounding, and to the same bits whatever else is in the sweep
    and wherever it runs.

    Parameters
    ----------
    X : (n_samples, n_inputs) array-like
    y : (n_samples, n_targets) array-like, or (n_samples,)
        As in `Trainer.fit`.
    grid : dict of lists, or list of dicts
        Lists of values by name: all their combinations are tried, the last name's values
        changing first. Or one dict for each setting. Names are those of `Fleet`'s arguments
        (such as "layer_sizes"), and "epochs".
    cv : int, splitter or iterable, default 5
        The folds: how many; an object with ``split(X, y)``, as scikit-learn's; or pairs of (rows
        to train on, rows held out), as of ``splitter.split(X, y, groups)``. An int's are dealt at
        random, the same ones for the same number of samples; so that, if all settings' losses
        are cross-entropies, each class is in all of them alike.
    validation_data : (X, y) or (X, y, sample_weight), optional
        Instead of folds: samples to measure with; all of X is trained on.
    sample_weight : (n_samples,) array-like, optional
        As in `Trainer.fit`; it counts in the losses on rows held out, too.
    metrics : names or functions, default none
        As in `Trainer.fit`; taken on the rows held out, after training.
    monitor : str, default "validation_loss"
        By whose mean over the folds settings are compared; or ``"validation_"`` and the name of a
        metric. Losses of different kinds cannot be compared: if ``grid`` has some, name a metric.
    mode : {"auto", "min", "max"}, default "auto"
        Whether lower or higher is better; "auto" is "max" for r2 and accuracy, else "min".
    early_stopping : EarlyStopping, optional
        Stops each by itself, as in `Fleet.fit`; its "validation_loss" is that on the rows held
        out, which then flatters somewhat. The best setting is fitted to all samples for as many
        epochs as were kept in its folds on average.
    refit : bool, default True
        Train the best setting on all samples, in this process.
    executor : concurrent.futures.Executor, optional
        What runs the tasks, into which the work is cut; None is this process. A
        `dask.distributed` client, or what its ``get_executor()`` returns, takes them to a cluster.
        Data travel once to each worker.
    **settings
        Arguments of `Fleet` but ``members``, and ``epochs``, where ``grid`` has no others. A
        ``seed`` is that of each setting in each fold; None takes one from the operating system.
        With an executor, ``n_threads`` is 1 if it is not given.

    Returns
    -------
    SweepResult

    Raises
    ------
    TypeError, ValueError
        For bad input, before anything is trained; it says in which setting.
    concurrent.futures.BrokenExecutor
        From an executor of worker processes on this machine of which one has died. Dask tries
        the tasks of a worker that is lost on another.
    concurrent.futures.CancelledError
        Where tasks were cancelled by others.
    pickle.PicklingError, AttributeError, TypeError
        For functions of your own that the executor cannot send to its workers: a
        `ProcessPoolExecutor` sends those of a module, no lambdas; loky and Dask send both.

    Warns
    -----
    RuntimeWarning
        If each setting diverged in some fold, or has a number by which it cannot be compared: then
        there is no best one. If some settings have no such number though they did not diverge: they
        come last. If the best one diverged when it was fitted to all samples: its
        trainer is that of the last good epoch.

    Notes
    -----
    Members of a fleet have the same number of samples. So folds of different sizes, and settings
    that are alike in nothing but these five, are fleets of their own.

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
    places = ranks(sign * measured[monitor].mean(axis=1))
    result = SweepResult(tried, measured, monitor, places, None)
    best = result.best_index
    if best is None:
        warn(
            f"none of the {len(tried)} settings is the best: each diverged in some fold, or "
            f"{monitor} is not finite. Try smaller learning rates, or inputs and targets scaled "
            f"to about -1...1{see_own(_custom_functions(specs), '; or see {}')}"
        )
    else:
        _warn_of_nan(monitor, measured)
    if best is not None and refit:
        kept = None if early_stopping is None else measured["epochs_trained"][best].mean()
        trainer = _refitted(groups([tried[best]], settings)[0], data, kept)
        trainer._names = cast.names_of(X)
        result = replace(result, trainer=trainer)
    return result


def _custom_functions(specs: list[Spec]) -> list[str]:
    return list(dict.fromkeys(name for spec in specs for name in spec.custom_functions))


def _warn_of_nan(monitor: str, measured: Mapping[str, npt.NDArray[Any]]) -> None:
    """Settings that are last for no fault of their training."""
    lacking = ~np.isfinite(measured[monitor]) & ~measured["diverged"]
    if n := int(lacking.any(axis=1).sum()):
        warn(
            f"{monitor} is nan or infinite in some fold of {n} of {len(lacking)} settings, which "
            "did not diverge: they come last in the ranks"
        )


def _warn_of_targets(specs: list[Spec], data: Data) -> None:
    """Warn, once for all settings, of targets that the output of one cannot reach."""
    for spec in specs:
        if text := reach.warning([reach.with_weight(data.y, data.weights)], spec):
            warn(text, TargetWarning)
            return


def _sign(monitor: Any, mode: Any, measures: Mapping[str, Metric]) -> float:
    """1 where a lower number is better, else -1."""
    known = (VALIDATION_LOSS, *(VALIDATION + name for name in measures))
    checks.choice("monitor", monitor, known)
    checks.choice("mode", mode, ("auto", "min", "max"))
    higher = monitor.removeprefix(VALIDATION) in HIGHER_IS_BETTER
    return -1.0 if mode == "max" or (mode == "auto" and higher) else 1.0


@contextmanager
def _in(group: Group, tried: list[Setting]) -> Iterator[None]:
    """Let errors name the setting that they come from, if there are several."""
    try:
        yield
    except (TypeError, ValueError) as error:
        if len(tried) == 1:
            raise
        i = group.which[0]
        raise type(error)(f"in setting {i}, {checks.printable(str(tried[i]))}: {error}") from None


def _spec(group: Group, tried: list[Setting]) -> Spec:
    with _in(group, tried):
        return Fleet(members=1, **group.shared, **group.own[0])._spec


def _data(
    X: Any, y: Any, sample_weight: Any, validation_data: Any, cv: Any, specs: list[Spec]
) -> Data:
    """Arrays and folds, checked as far as it needs no setting."""
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
    """X and y of two dimensions, and weights; in one piece, as they are sent best."""
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
    """The samples' classes, if the settings agree that these are what y tells."""
    kinds = {type(spec.loss) for spec in specs}
    if kinds <= {BinaryCrossEntropy, CrossEntropy} and y.shape[1] == 1:
        return np.unique(y[:, 0], return_inverse=True)[1]
    return y.argmax(axis=1) if kinds == {CrossEntropy} else None


def _check(group: Group, spec: Spec, data: Data, tried: list[Setting]) -> None:
    """What the samples must be for these settings."""
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
            for i in range(len(data.folds)):  # some may have only classes that count 0
                for part in data.of([i]):
                    try:
                        _check_samples(part, spec, kind)
                    except ValueError as error:
                        raise ValueError(f"in fold {i}, {error}") from None


def _check_samples(given: Given, spec: Spec, dtype: Any) -> np.dtype[Any]:
    """Returns the dtype in which they are computed with."""
    x = cast.inputs(given[0], spec.layer_sizes[0], cast.dtype(dtype))
    y = cast.targets(given[1], len(x), spec.n_targets, spec.loss, x.dtype)
    cast.with_class_weights(given[2], y, spec.loss)
    return x.dtype


def _table(
    tasks: list[Task], found: list[Found], n_settings: int, data: Data
) -> dict[str, npt.NDArray[Any]]:
    """What the tasks found, as (settings, folds) arrays."""
    measured: dict[str, npt.NDArray[Any]] = {}
    for task, numbers in zip(tasks, found, strict=True):
        for name, values in numbers.items():
            shape = (n_settings, len(data.sizes()))
            table = measured.setdefault(name, np.zeros(shape, values.dtype))
            table[task.settings, task.folds] = values
    return measured


def _refitted(group: Group, data: Data, kept: float | None) -> Trainer:
    """A setting trained on all samples, for its own epochs or as many as were kept."""
    trainer = Fleet(members=1, **group.shared, **group.own[0])[0]
    trainer._warned = True  # of targets, with all settings
    epochs = group.epochs if kept is None else max(1, round(kept))
    try:
        trainer.fit(data.X, data.y, epochs, sample_weight=data.weights)
    except DivergenceError as error:
        warn(f"the best setting, on all samples: {error}")
    return trainer
