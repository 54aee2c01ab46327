"""Nets of scikit-learn, and of the estimators of `jitprop.sklearn`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from jitprop import checks
from jitprop._types import Array
from jitprop.convert._converted import Converted, Slot, one_or_fleet
from jitprop.convert._settings import with_settings
from jitprop.fleet import Fleet
from jitprop.net.losses import BinaryCrossEntropy, CrossEntropy, HalfSquaredError, Poisson
from jitprop.net.optimizers import SGD, Adam
from jitprop.net.spec import Spec
from jitprop.trainer import Trainer
from jitprop.training.model import Model, model_of

ACTIVATIONS = {"identity": "identity", "sigmoid": "logistic", "tanh": "tanh", "relu": "relu"}
"""What scikit-learn calls the activations that it has for hidden layers."""


def from_sklearn(estimator: Any, **settings: Any) -> Trainer | Fleet:
    """
    Return a trainer that goes on where a fitted estimator stopped.

    It has the estimator's layers, activations, dtype, loss and batch size, and what its
    ``_optimizer`` holds: the settings, the present learning rate, the velocities of "sgd", and the
    means of "adam" with the number of updates. On the same batches, further epochs are those of
    ``partial_fit``, up to rounding.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor, or a list of them
        A fitted estimator of scikit-learn or of `jitprop.sklearn`. A list of estimators with the
        same layers and settings becomes a `Fleet`.
    **settings
        Arguments of `Trainer` that are used in place of the estimator's, or beside them, such as
        ``batch_size``, ``optimizer`` or ``seed``. Another optimizer begins without a state.

    Returns
    -------
    Trainer or Fleet
        The targets of a classifier's net are 0, 1, ...: the places of the labels in the
        estimator's ``classes_``.

    Raises
    ------
    TypeError
        For anything but a fitted estimator.
    ValueError
        For an estimator with several members, which has a `Fleet` already; and for
        ``class_weight="balanced"`` of `jitprop.sklearn`, which depends on the samples.

    Notes
    -----
    scikit-learn's ``alpha`` adds alpha W / n to the gradient of a batch of n samples. So it is no
    ``weight_decay``, which does not depend on n. The trainer keeps it as its attribute ``l2``. The
    shuffles are the trainer's own, and so are schedules: the present rate stays. An estimator with
    the solver "lbfgs" or "lm" has no optimizer to go on with: its trainer has that of
    ``Trainer()``.

    Examples
    --------
    >>> from sklearn.neural_network import MLPClassifier
    >>> from jitprop.convert import from_sklearn
    >>> X, y = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], ["no", "yes", "yes", "no"]
    >>> model = MLPClassifier([8], solver="lbfgs", max_iter=200, random_state=0).fit(X, y)
    >>> trainer = from_sklearn(model)
    >>> trainer.layer_sizes, trainer.activation, trainer.output_activation
    ((2, 8, 1), ('relu',), 'sigmoid')
    >>> model.classes_[trainer.predict(X).ravel().round().astype(int)].tolist()
    ['no', 'yes', 'yes', 'no']
    """
    return one_or_fleet(estimator, lambda each: with_settings(_converted(each), settings))


def _converted(estimator: Any) -> Converted:
    """Read one estimator."""
    if not (hasattr(estimator, "coefs_") and hasattr(estimator, "out_activation_")):
        raise TypeError(
            "estimator must be a fitted MLPClassifier or MLPRegressor; "
            f"got {checks.shown(estimator)}{_hint(estimator)}"
        )
    if hasattr(estimator, "fleet_"):
        raise ValueError(
            "estimator must have one net; this one has several, which are a Fleet already: "
            "estimator.fleet_"
        )
    from jitprop.sklearn import net, parameters

    n_hidden = len(estimator.coefs_) - 1
    spec = net.spec_of(estimator) if hasattr(estimator, "dropout") else None
    output, loss = net.OUTPUTS.get(estimator.out_activation_, (estimator.out_activation_, None))
    size = estimator.batch_size
    names = getattr(estimator, "feature_names_in_", None)
    made = Converted(
        source=f"this {type(estimator).__name__}",
        weights=estimator.coefs_,
        biases=estimator.intercepts_,
        activations=[*parameters.activations(estimator.activation, n_hidden), output],
        dtype=net.dtype(estimator),
        loss=_with_class_weight(estimator, loss or parameters.loss(estimator)),
        l2=float(estimator.alpha),
        dropout=() if spec is None else spec.dropout,
        batch_size=200 if isinstance(size, str) else int(size),
        shuffle=bool(estimator.shuffle),
        feature_names=None if names is None else tuple(names),
    )
    descent = getattr(estimator, "_optimizer", None)
    if descent is None:
        return made
    training = _of_optimizer(descent) if spec is None else _of_descent(descent, spec)
    return replace(made, **training)


def _hint(estimator: Any) -> str:
    """For an error message: where to find the net in a model that contains one."""
    if hasattr(estimator, "best_estimator_"):
        return ": pass its best_estimator_"
    if hasattr(estimator, "steps"):
        return ": pass its last step, estimator[-1], and do the other steps before"
    return ", which is not fitted" if hasattr(estimator, "hidden_layer_sizes") else ""


def _with_class_weight(estimator: Any, loss: Any) -> Any:
    """Return the loss with the class weights of an estimator of `jitprop.sklearn`."""
    weights = getattr(estimator, "class_weight", None)
    if weights is None:
        return loss
    if not isinstance(weights, Mapping):
        raise ValueError(
            "class_weight must be None or a dict of a number for each class; "
            f"got {checks.shown(weights)}, which depends on the samples"
        )
    of_classes = [float(weights.get(label, 1.0)) for label in estimator.classes_.tolist()]
    if loss == "cross_entropy":
        return CrossEntropy(class_weight=of_classes)
    return BinaryCrossEntropy(class_weight=of_classes)


def _of_optimizer(optimizer: Any) -> dict[str, Any]:
    """Read an optimizer of scikit-learn, whose lists hold all weights and then all biases."""

    def halves(arrays: Any) -> Slot:
        return arrays[: len(arrays) // 2], arrays[len(arrays) // 2 :]

    if hasattr(optimizer, "ms"):
        adam = Adam(optimizer.beta_1, optimizer.beta_2, optimizer.epsilon, epsilon_hat=True)
        slots = [halves(optimizer.ms), halves(optimizer.vs)]
        rate = float(optimizer.learning_rate_init)
        updates = int(optimizer.t)
        return {"optimizer": adam, "learning_rate": rate, "slots": slots, "updates": updates}
    momentum = float(optimizer.momentum)
    sgd = SGD(momentum, bool(optimizer.nesterov) and momentum > 0.0)
    slots = [halves(optimizer.velocities)][: sgd.n_slots]
    return {"optimizer": sgd, "learning_rate": float(optimizer.learning_rate), "slots": slots}


def _of_descent(descent: Any, spec: Spec) -> dict[str, Any]:
    """Read an optimizer of `jitprop.sklearn`."""
    slots = [spec.split(slot) for slot in descent.slots]
    return {
        "optimizer": descent.optimizer,
        "learning_rate": float(descent.learning_rate),
        "slots": slots,
        "updates": int(descent.updates),
    }


def to_sklearn(trainer: Trainer, classes: npt.ArrayLike | None = None) -> Any:
    """
    Return a fitted MLPClassifier or MLPRegressor of scikit-learn with the trainer's net.

    It predicts what the trainer predicts, up to rounding, and it is of scikit-learn's own class, as
    sklearn2pmml and others require. Where scikit-learn has all of the trainer's settings, they and
    the optimizer's state go with it, and ``partial_fit`` goes on where the trainer stopped. These
    are `SGD`, with the rate inside the velocity, or `Adam` with ``epsilon_hat=True``; a learning
    rate that is a number; a batch size that is a number; the reduction "mean"; the loss of the
    output: "half_squared_error" of "identity", "poisson" of "exp", the cross-entropies without
    settings; and no weight decay, dropout, clipping, factors or scales. Otherwise the settings of
    training are scikit-learn's defaults.

    Parameters
    ----------
    trainer : Trainer
        Its hidden layers have one activation: "identity", "sigmoid", "tanh" or "relu". Its outputs
        are "identity" or "exp" for a regressor, "sigmoid" or "softmax" for a classifier.
    classes : (n_classes,) array-like, optional
        The labels in the order of the net's outputs, sorted, since scikit-learn sorts them; for
        one output, the labels of 0 and 1. None is 0, 1, ... Several sigmoid outputs say for each
        label whether a sample has it, and take None alone. A net with sigmoid outputs that was not
        trained by "binary_cross_entropy" needs ``classes``, because only a classifier of
        scikit-learn has such outputs.

    Returns
    -------
    MLPClassifier or MLPRegressor
        Two softmax outputs become one sigmoid output, which is scikit-learn's form for two classes.

    Raises
    ------
    TypeError, ValueError
        For what scikit-learn does not have, naming it.
    ImportError
        Without scikit-learn.

    Examples
    --------
    >>> from jitprop import Trainer
    >>> from jitprop.convert import to_sklearn
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> trainer = Trainer([2, 8, 1], loss="binary_cross_entropy", learning_rate=5.0, seed=0)
    >>> history = trainer.fit(X, y, epochs=1000)
    >>> model = to_sklearn(trainer, classes=["no", "yes"])
    >>> model.predict(X).tolist()
    ['no', 'yes', 'yes', 'no']
    """
    model = model_of(trainer)
    spec = model.spec
    hidden = _hidden_activation(spec.activations[:-1])
    output = spec.activations[-1]
    weights, biases = ([np.array(a) for a in arrays] for arrays in spec.split(model.state.params))
    if output in ("sigmoid", "softmax"):
        labels = _labels(spec, classes)
        if output == "softmax" and labels is not None and len(labels) == 2:
            weights[-1] = weights[-1][:, 1:] - weights[-1][:, :1]
            biases[-1] = biases[-1][1:] - biases[-1][:1]
        made = _classifier(labels, len(biases[-1]), hidden, spec)
    elif output in ("identity", "exp"):
        if classes is not None:
            raise ValueError(
                "classes must be None for a net whose outputs are no probabilities; "
                f"its output_activation is {output!r}"
            )
        made = _regressor(hidden, spec)
    else:
        raise ValueError(
            "the output_activation must be one of identity, exp, sigmoid and softmax, which "
            f"scikit-learn has; got {checks.shown(output)}"
        )
    _fill(made, model, weights, biases)
    return made


def _hidden_activation(activations: Sequence[Any]) -> str | None:
    """Return scikit-learn's name of the activation of all hidden layers; None without any."""
    for activation in activations:
        if not isinstance(activation, str) or activation not in ACTIVATIONS:
            raise ValueError(
                f"the activation must be one of {', '.join(ACTIVATIONS)}, which scikit-learn has; "
                f"got {checks.shown(activation)}"
            )
    if len(set(activations)) > 1:
        raise ValueError(
            "all hidden layers must have the same activation, as in scikit-learn; "
            f"got {', '.join(activations)}"
        )
    return ACTIVATIONS[activations[0]] if activations else None


def _labels(spec: Spec, classes: Any) -> npt.NDArray[Any] | None:
    """Return the labels; None if each output says whether a sample has a label."""
    n_outputs, output = spec.layer_sizes[-1], spec.activations[-1]
    if output == "sigmoid" and classes is None and not isinstance(spec.loss, BinaryCrossEntropy):
        raise ValueError(
            "a net with sigmoid outputs becomes a classifier, since scikit-learn's regressor has "
            f"identity outputs: its loss must be 'binary_cross_entropy', not {spec.loss.name!r}, "
            "or classes must be given, such as classes=[0, 1]"
        )
    if output == "sigmoid" and n_outputs > 1:
        if classes is not None:
            raise ValueError(
                f"classes must be None for {n_outputs} sigmoid outputs, each of which says whether "
                "a sample has a label"
            )
        return None
    n_classes = 2 if output == "sigmoid" else n_outputs
    labels = np.arange(n_classes) if classes is None else np.asarray(classes)
    if labels.shape != (n_classes,):
        raise ValueError(
            f"classes must be {n_classes} labels for this net; got shape {labels.shape}"
        )
    if not np.array_equal(np.unique(labels), labels):
        raise ValueError(
            "classes must be sorted and different, as scikit-learn sorts them; "
            f"got {checks.shown(labels.tolist())}"
        )
    return labels


def _classifier(
    labels: npt.NDArray[Any] | None, n_outputs: int, hidden: str | None, spec: Spec
) -> Any:
    from sklearn.neural_network import MLPClassifier
    from sklearn.preprocessing import LabelBinarizer

    same = n_outputs == spec.layer_sizes[-1] and spec.loss in (BinaryCrossEntropy(), CrossEntropy())
    made = MLPClassifier(**_of_net(spec, hidden), **(_of_training(spec) if same else {}))
    made._label_binarizer = LabelBinarizer().fit(
        np.eye(n_outputs, dtype=np.int64) if labels is None else labels
    )
    made.classes_ = made._label_binarizer.classes_
    made.out_activation_ = "logistic" if labels is None or len(labels) == 2 else "softmax"
    return made


def _regressor(hidden: str | None, spec: Spec) -> Any:
    from sklearn.neural_network import MLPRegressor

    output, settings = spec.activations[-1], _of_net(spec, hidden)
    if output == "exp":
        if "loss" not in MLPRegressor().get_params():
            raise ImportError("exp outputs need scikit-learn 1.7 or newer")
        settings["loss"] = "poisson"
    same = spec.loss == (Poisson() if output == "exp" else HalfSquaredError())
    made = MLPRegressor(**settings, **(_of_training(spec) if same else {}))
    made.out_activation_ = output
    return made


def _of_net(spec: Spec, hidden: str | None) -> dict[str, Any]:
    """Return an estimator's arguments that describe the net."""
    sizes = {"hidden_layer_sizes": spec.layer_sizes[1:-1]}
    return sizes if hidden is None else {**sizes, "activation": hidden}


def _of_training(spec: Spec) -> dict[str, Any]:
    """Return an estimator's arguments of training; none if scikit-learn lacks a setting."""
    optimizer, rate, size = spec.optimizer, spec.learning_rate, spec.batch_size
    beyond = (
        spec.reduction != "mean"
        or spec.weight_decay != 0.0
        or any(spec.dropout)
        or spec.clip_norm is not None
        or spec.learning_rate_factors is not None
        or spec.input_scale_rate is not None
    )
    if beyond or size is None or not isinstance(rate, float):
        return {}
    shared = {"alpha": spec.l2, "learning_rate_init": rate, "batch_size": size}
    if isinstance(optimizer, SGD) and (optimizer.rate_in_velocity or optimizer.momentum == 0.0):
        return {
            **shared,
            "solver": "sgd",
            "momentum": optimizer.momentum,
            "nesterovs_momentum": optimizer.nesterov,
        }
    if type(optimizer) is Adam and optimizer.epsilon_hat:
        names = ("beta_1", "beta_2", "epsilon")
        return {**shared, "solver": "adam", **{name: getattr(optimizer, name) for name in names}}
    return {}


def _fill(made: Any, model: Model, weights: list[Array], biases: list[Array]) -> None:
    """Set the attributes of a fitted estimator."""
    from sklearn.utils import check_random_state

    made.coefs_, made.intercepts_ = weights, biases
    made._best_coefs = [W.copy() for W in weights]
    made._best_intercepts = [b.copy() for b in biases]
    made.n_layers_, made.n_outputs_ = len(weights) + 1, len(biases[-1])
    made.n_features_in_ = len(weights[0])
    if model.names is not None:
        made.feature_names_in_ = np.array(model.names, object)
    made.n_iter_, made.t_ = model.state.epochs, 0
    made.loss_curve_ = [float(loss) for loss in model.course.history().loss]
    made.loss_ = made.loss_curve_[-1] if made.loss_curve_ else np.nan
    made.best_loss_ = min(made.loss_curve_, default=np.inf)
    made.validation_scores_ = made.best_validation_score_ = None
    made._no_improvement_count = 0
    made._random_state = check_random_state(made.random_state)
    if made.batch_size != "auto":  # it has the settings of training
        made._optimizer = _optimizer(made, model)


def _optimizer(made: Any, model: Model) -> Any:
    """Return scikit-learn's optimizer with the state of the trainer's."""
    from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer

    params = made.coefs_ + made.intercepts_
    kept = [[*weights, *biases] for weights, biases in map(model.spec.split, model.state.slots)]
    kept = [[np.array(array) for array in arrays] for arrays in kept]
    rate = made.learning_rate_init
    if made.solver == "adam":
        adam = AdamOptimizer(params, rate, made.beta_1, made.beta_2, made.epsilon)
        adam.ms, adam.vs = kept
        adam.t = model.state.updates
        return adam
    sgd = SGDOptimizer(
        params, rate, made.learning_rate, made.momentum, made.nesterovs_momentum, made.power_t
    )
    if kept:
        (sgd.velocities,) = kept
    return sgd
