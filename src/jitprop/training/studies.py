"""Callbacks that report a fit to other programs: MLflow and Optuna."""

from __future__ import annotations

from typing import Any

import numpy as np

from jitprop import checks
from jitprop.checks import quoted
from jitprop.training.callbacks import Callback

SETTINGS = (
    "layer_sizes",
    "activation",
    "output_activation",
    "loss",
    "reduction",
    "optimizer",
    "learning_rate",
    "learning_rate_factors",
    "input_scale_rate",
    "batch_size",
    "shuffle",
    "weight_decay",
    "decay_biases",
    "dropout",
    "clip_norm",
    "dtype",
    "seed",
)
"""The attributes of a trainer that a run of MLflow shows."""


class MLflowLogger(Callback):
    """
    Log the settings of a net and the numbers of each epoch to the active run of MLflow.

    If there is no active run, MLflow begins one. Pass the logger to `Trainer.fit`, or to an
    estimator of `jitprop.sklearn` as its ``callbacks``. An estimator's settings are not logged:
    ``mlflow.log_params(model.get_params())`` does it.

    Raises
    ------
    ImportError
        If mlflow is not installed.

    Notes
    -----
    A metric of MLflow has the name that it has in the ``logs`` of callbacks, such as
    "validation_loss", and the number of the epoch as its step. The settings are logged when the
    first fit with this logger begins. MLflow never changes a setting that a run has.

    Examples
    --------
    ::

        with mlflow.start_run():
            trainer.fit(X, y, epochs=100, callbacks=MLflowLogger())
    """

    def __init__(self) -> None:
        self._described = False
        _mlflow()

    def on_fit_begin(self, trainer: Any) -> None:
        """Log the settings of the net."""
        if not self._described:
            _mlflow().log_params({name: getattr(trainer, name) for name in SETTINGS})
            self._described = True

    def on_epoch_end(self, trainer: Any, epoch: int, logs: dict[str, float]) -> None:
        """Log the numbers of the epoch."""
        del trainer
        _mlflow().log_metrics({name: _number(logs[name], self) for name in logs}, step=epoch)

    __call__ = on_epoch_end


class OptunaPruning(Callback):
    """
    Report a number of each epoch to a trial of Optuna, and end the trial if Optuna prunes it.

    Pass it to `Trainer.fit`, or to an estimator of `jitprop.sklearn` as its ``callbacks``. The fit
    of a pruned trial raises ``optuna.TrialPruned``, which ``study.optimize`` expects.

    Parameters
    ----------
    trial : optuna.Trial
    monitor : str, default "validation_loss"
        The name of the number in the ``logs`` of callbacks. The study must have one objective, and
        the same direction as the number.

    Raises
    ------
    ImportError
        If optuna is not installed.
    TypeError
        If ``monitor`` is no text.

    Examples
    --------
    ::

        def objective(trial):
            rate = trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True)
            trainer = Trainer([20, 32, 1], optimizer="adam", learning_rate=rate, seed=0)
            pruning = OptunaPruning(trial)
            history = trainer.fit(X, y, 100, validation_data=(X_val, y_val), callbacks=pruning)
            return history.validation_loss.min()


        optuna.create_study(pruner=optuna.pruners.MedianPruner()).optimize(objective, 50)
    """

    def __init__(self, trial: Any, monitor: str = "validation_loss") -> None:
        if not isinstance(monitor, str):
            raise TypeError(
                f"monitor must be a name such as 'validation_loss'; got {checks.shown(monitor)}"
            )
        self.trial, self.monitor = trial, monitor
        _optuna()

    def on_epoch_end(self, trainer: Any, epoch: int, logs: dict[str, float]) -> None:
        """Report the number, and raise ``optuna.TrialPruned`` if the trial should end."""
        del trainer
        if self.monitor not in logs:
            raise ValueError(
                f"monitor must be one of {', '.join(map(quoted, logs))}; got {quoted(self.monitor)}"
            )
        self.trial.report(_number(logs[self.monitor], self), epoch)
        if self.trial.should_prune():
            raise _optuna().TrialPruned(f"pruned after epoch {epoch}")

    __call__ = on_epoch_end


def _number(value: Any, callback: Callback) -> float:
    if np.ndim(value):
        raise TypeError(
            f"{type(callback).__name__} follows the fit of one net, not of a fleet, whose logs "
            "hold arrays"
        )
    return float(value)


def _mlflow() -> Any:
    try:
        import mlflow
    except ImportError as error:
        raise ImportError("MLflowLogger needs mlflow: pip install mlflow") from error
    return mlflow


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise ImportError("OptunaPruning needs optuna: pip install optuna") from error
    return optuna
