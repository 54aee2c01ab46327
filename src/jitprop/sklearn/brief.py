"""
The quick way: calls with arrays that are already right.

An array is right if it is a plain NumPy array of the net's dtype, with a column for each feature,
and no names are to be compared. scikit-learn's checks take 0.2 ms and would change nothing about
it. The kernel looks at its numbers. A function returns None or False for anything else, and has
then changed nothing. The usual way does it, or says what is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from sklearn.utils import check_random_state

from jitprop import checks
from jitprop._types import Array
from jitprop.interrupts import Interrupts
from jitprop.net.spec import Spec
from jitprop.net.state import State, all_finite
from jitprop.sklearn import net, prepared
from jitprop.sklearn.descent import Descent, Patience, Shuffles, Tally, advances
from jitprop.sklearn.prepared import Prepared, Settings, Shapes
from jitprop.training import running
from jitprop.training.evaluation import lent
from jitprop.training.nets import Nets

DTYPES = np.float64, np.float32


@dataclass
class Ready:
    """
    A net that is prepared for a number of samples, and what it depends on.

    Attributes
    ----------
    brief : backends.brief.Brief or None
        None for many samples, and for a backend that has no brief calls.
    spec : Spec
    shapes : tuple
        Of ``coefs_`` and ``intercepts_``.
    settings : Settings
    output : str
        ``out_activation_``.
    """

    brief: Any
    spec: Spec
    shapes: Shapes
    settings: Settings
    output: str

    def serves(self, model: Any, shapes: Shapes) -> bool:
        """Return whether the estimator's net is still the one that this was prepared for."""
        return (
            self.shapes == shapes
            and self.output == model.out_activation_
            and self.settings.are_those_of(model)
        )


@dataclass
class ReadyToPredict(Ready):
    """
    The same for `outputs`.

    Attributes
    ----------
    n_threads : int or None
    nets : Nets
        Where the net is, if there is no ``brief``.
    """

    n_threads: int | None
    nets: Nets

    def outputs(self, X: Array, params: Array) -> Array | None:
        """Return the outputs; None if X has inf or nan."""
        if self.brief is not None:
            self.brief.use(params)
            found: Array | None = self.brief.predict(X)
            return found
        with lent(self.nets, net.backend(), self.spec, X, self.n_threads) as evaluation:
            try:
                return evaluation.predict(params, X, look=True)
            except ValueError:
                return None


@dataclass
class ReadyToTrain(Ready):
    """
    The same for `update`.

    Attributes
    ----------
    descent : Descent
    state : State
        Its parameters are others in each call; its slots are the descent's.
    loss, rate, written : arrays of one number
        Where the kernel writes the loss, the learning rate, and that it has written them.
    """

    descent: Descent
    state: State
    loss: npt.NDArray[np.float64]
    rate: npt.NDArray[np.float64]
    written: npt.NDArray[np.int64]


def outputs(model: Any, X: Any) -> Array | None:
    """Return the outputs of a net, (n_samples, n_outputs)."""
    kept: Prepared | None = model._prepared
    if kept is None or not _is_right(model, X):
        return None
    found = kept.vector(model)
    if found is None or X.dtype != found[0].dtype:
        return None
    params, shapes = found
    key = "outputs", X.shape, X.dtype
    ready = kept.nets.take(key)
    if ready is None or not ready.serves(model, shapes):
        ready = _ready_to_predict(model, X, params, shapes)
    if ready is None or (ready.brief is None and not X.flags.c_contiguous):
        return None
    made: Array | None = ready.outputs(X, params)
    kept.nets.give_back(key, ready, 0 if ready.brief is None else ready.brief.size)
    return made


def _is_right(model: Any, X: Any) -> bool:
    attributes = model.__dict__
    return (
        type(X) is np.ndarray
        and X.ndim == 2
        and len(X) > 0
        and X.shape[1] == attributes.get("n_features_in_")
        and "feature_names_in_" not in attributes
        and "fleet_" not in attributes
    )


def are_right(model: Any, X: Any, y: Any, first: bool) -> bool:
    """
    Return whether samples are finite arrays, which a fit may take without scikit-learn's checks.

    With ``first`` they may have any number of features.
    """
    plain = type(X) is type(y) is np.ndarray and X.ndim == 2 and y.ndim in (1, 2)
    if not plain or "feature_names_in_" in model.__dict__ or X.dtype not in DTYPES:
        return False
    fits = first or X.shape[1] == model.__dict__.get("n_features_in_")
    if not fits or X.size == 0 or y.size == 0 or len(X) != len(y):
        return False
    return y.dtype.kind in "biufU" and all_finite(*((X,) if y.dtype.kind == "U" else (X, y)))


def _spec(model: Any, X: Array, shapes: Shapes, descent: Descent | None = None) -> Spec | None:
    """Return the spec of the net; None if X or the present arrays do not go together with it."""
    spec = net.spec_of(model, None if descent is None else descent.optimizer)
    fits = shapes == (*spec.shapes, *((n_out,) for _, n_out in spec.shapes))
    return spec if fits and X.shape[1] == spec.layer_sizes[0] else None


def _ready_to_predict(model: Any, X: Array, params: Array, shapes: Shapes) -> ReadyToPredict | None:
    spec, settings = _spec(model, X, shapes), prepared.settings_of(model)
    n_threads = checks.optional_integer("n_threads", model.n_threads, low=1)
    if spec is None or settings is None:
        return None
    state = State(params, np.zeros((0, params.size), params.dtype), np.random.default_rng(0), 0, 0)
    brief = net.backend().brief(spec, len(X), state, spec.loss.target_range)
    output = model.out_activation_
    return ReadyToPredict(brief, spec, shapes, settings, output, n_threads, Nets())


def update(model: Any, X: Any, y: Any) -> bool:
    """
    Do all that ``partial_fit`` does, for one small batch; return whether it was done.

    The lock keeps other threads from reading attributes meanwhile, and signals wait.
    """
    kept: Prepared | None = model._prepared
    if kept is None or kept.checked is None or not _is_right(model, X):
        return False
    with Interrupts(), running.changing():
        if running.is_in_a_fit(model) or not kept.checked.are_those_of(model):
            return False
        targets, found = model._brief_targets(y), model._prepared.vector(model)
        if targets is None or found is None or X.dtype != found[0].dtype:
            return False
        key = "update", X.shape, X.dtype
        ready = kept.nets.take(key)
        if ready is None or not _serves(ready, model, found[1]):
            ready = _ready_to_train(model, X, *found)
        if ready is None or not _train(ready, model, X, targets, found[0]):
            return False
        kept.nets.give_back(key, ready, ready.brief.size)
    return True


def _serves(ready: ReadyToTrain, model: Any, shapes: Shapes) -> bool:
    descent = model._optimizer
    same = ready.descent is descent and ready.state.slots is descent.slots
    return same and ready.serves(model, shapes)


def _ready_to_train(model: Any, X: Array, params: Array, shapes: Shapes) -> ReadyToTrain | None:
    descent, n = model.__dict__.get("_optimizer"), len(X)
    if descent is None or not _is_plain(model, n):
        return None
    spec = _spec(model, X, shapes, descent)
    slots = descent.slots
    if spec is None or spec.loss.name == "poisson" or not slots.flags.writeable:
        return None
    if slots.dtype != X.dtype or slots.shape != (spec.n_slots, params.size):
        return None
    counts = np.zeros(2, np.int64)
    state = State(params, slots, np.random.default_rng(0), descent.dropout_key, 0, counts)
    brief = net.backend().brief(spec, n, state, spec.loss.target_range)
    if brief is None:
        return None
    return ReadyToTrain(
        brief,
        spec,
        shapes,
        model._prepared.checked,
        model.out_activation_,
        descent,
        state,
        loss=np.zeros(1),
        rate=np.zeros(1),
        written=np.zeros(1, np.int64),
    )


def _is_plain(model: Any, n_samples: int) -> bool:
    """Return whether ``partial_fit`` does nothing besides one update of a net that was trained."""
    special = (
        model.early_stopping,
        model.verbose,
        model.keep_optimizer,
        model.warm_start,
        model.callbacks is not None,
        getattr(model, "class_weight", None) is not None,
        not hasattr(model, "loss_curve_"),
    )
    whole = n_samples <= 200 if model.batch_size == "auto" else n_samples == model.batch_size
    return whole and not any(special)


def _train(ready: ReadyToTrain, model: Any, X: Array, targets: Array, params: Array) -> bool:
    """Do one update on a copy of the parameters, and set all attributes of the estimator."""
    descent, state = ready.descent, ready.state
    params = params.copy()
    ready.brief.use(params)
    state.updates, ready.written[0] = descent.updates, 0
    room = ready.loss, ready.rate, ready.written
    if not ready.brief.train(X, targets, float(descent.rates(1, 0, 0)[0]), room):
        return False
    descent.updates = state.updates
    random = _seeded(model)
    Shuffles(random, len(X), needed=False, advance=advances(model), rows=None).draw(1)
    net.unpack(model, ready.spec, params)
    model.n_iter_, model.stopped_, model._random_state = 0, False, random
    patience = Patience.of(model)
    reported = ready.loss / net.loss_divisor(ready.spec)
    last = patience.update(reported)
    tally = Tally(model, descent, patience, len(X), scored=False)
    tally.record(reported)
    model.stopped_ = last is not None and tally.stop_or_reduce_rate()
    return True


def _seeded(model: Any) -> np.random.RandomState:
    """
    Return the generator of the next fit, as `check_random_state` does.

    To make one takes 0.2 ms, so the estimator's own is seeded again.
    """
    seed, random = model.random_state, model._random_state
    if type(seed) is int:
        random.seed(seed)
    else:
        random = check_random_state(seed)
    return cast(np.random.RandomState, random)
