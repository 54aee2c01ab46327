"""The model of a trainer: its settings, state and history in one object."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from jitprop import backends, checks
from jitprop._types import Array
from jitprop.data import cast, mapped, reach
from jitprop.data.mapped import Rows
from jitprop.data.samples import Samples
from jitprop.interrupts import Interrupts
from jitprop.net import initializers
from jitprop.net.optimizers import SGD
from jitprop.net.second_order import is_second_order
from jitprop.net.seeds import streams
from jitprop.net.spec import Spec
from jitprop.net.state import State
from jitprop.training import posterior as posteriors
from jitprop.training.errors import TargetWarning
from jitprop.training.evaluation import Evaluation, lent
from jitprop.training.history import Course
from jitprop.training.kept import Kept
from jitprop.training.nets import Nets
from jitprop.training.posterior import Pending, Posterior
from jitprop.warn import warn

PREPARED = (
    "the command line trained this net on columns that it had prepared: numbers are standardised, "
    "a category is an input, and an output that is a quantity is standardised too. `jitprop info` "
    "shows how, and `jitprop predict` and `jitprop export` do it"
)
"""The warning about a net whose inputs are not the columns of a table."""


@dataclass(kw_only=True)
class BaseModel:
    """
    The part that a trainer's model and a fleet's model have in common.

    Attributes
    ----------
    spec : Spec
    shuffle : bool
    dtype : dtype or None
        None until the first fit decides it.
    backend : str
        The argument ``backend``: "auto", "numba" or "numpy".
    n_threads : int or None
    init : str or None
        The name of the method that drew the parameters. None if they were given as arrays or read
        from a file.
    names : tuple of str or None
        The names of the columns of the first data frame.
    prepared : bool
        Whether the command line trained the net on columns that it had prepared.
    warned : bool
        Whether this net has already warned of targets that the output cannot reach.
    state : State or fleet.FleetState
        All that training changes, such as the parameters and the optimizer's state.
    nets : Nets
        The nets that the model has prepared, and lends to one call at a time.
    """

    spec: Spec
    shuffle: bool
    dtype: np.dtype[Any] | None
    backend: str
    n_threads: int | None
    init: str | None = None
    names: tuple[str, ...] | None = None
    prepared: bool = False
    warned: bool = False
    state: Any
    nets: Nets = field(default_factory=Nets, repr=False, compare=False)

    def check_names(self, X: Any) -> None:
        """
        Refuse a data frame whose columns differ from those of the first one.

        Warn of a data frame if the net needs prepared columns.
        """
        cast.check_names(X, self.names)
        if self.prepared and hasattr(X, "columns"):
            warn(f"{PREPARED}. A data frame's columns are not prepared here", UserWarning)

    def warn_of_targets(self, pieces: Iterable[Array]) -> None:
        """Warn once if the output cannot reach all targets."""
        if not self.warned and (text := reach.warning(pieces, self.spec)):
            warn(text, TargetWarning)
            self.warned = True


def checked(shuffle: Any, dtype: Any, backend: Any, n_threads: Any) -> dict[str, Any]:
    """
    Check arguments that `Trainer` and `Fleet` have in common, and return them as a model has them.

    Raises
    ------
    TypeError, ValueError
        For a bad argument.
    """
    return {
        "shuffle": checks.boolean("shuffle", shuffle),
        "dtype": cast.dtype(dtype),
        "backend": backends.check(backend),
        "n_threads": checks.optional_integer("n_threads", n_threads, low=1),
    }


@dataclass(kw_only=True)
class Model(BaseModel):
    """
    A net with its settings, its state and its history.

    Attributes
    ----------
    state : State
        All that training changes, such as the parameters and the optimizer's state.
    course : Course
        The history of all fits.
    seed : int or None
        None if the net was read from a file.
    kept : sequence of Kept
        The states of the callbacks of the last fit.
    posterior : Posterior, Pending or None
        How sure the net is of its predictions, where the last fit found that out.
    """

    state: State
    course: Course
    seed: int | None
    kept: Sequence[Kept] = ()
    posterior: Posterior | Pending | None = None

    @classmethod
    def make(
        cls,
        spec: Spec,
        *,
        shuffle: Any = True,
        dtype: Any = None,
        seed: Any = None,
        backend: Any = "auto",
        n_threads: Any = None,
        history_limit: Any = None,
    ) -> Model:
        """
        Check arguments of `Trainer`, and make a model from them. Its parameters are 0.

        Raises
        ------
        TypeError, ValueError
            For a bad argument.
        """
        shared = checked(shuffle, dtype, backend, n_threads)
        drawn = secrets.randbits(64) if seed is None else checks.integer("seed", seed, low=0)
        seeds = streams(drawn)
        size, n_slots = spec.n_parameters, spec.n_slots
        started_as = shared["dtype"] or np.dtype(np.float64)
        state = State(
            params=cast.zeros("layer_sizes", (size,), started_as),
            slots=cast.zeros("layer_sizes", (n_slots, size), started_as),
            rng=np.random.default_rng(seeds.shuffle),
            dropout_key=seeds.dropout_key,
            split=int(seeds.split.generate_state(1)[0]),
        )
        if spec.input_scale_rate is not None:
            spec.scaled(state.slots).s[...] = 1.0
        return cls(
            spec=spec,
            **shared,
            state=state,
            course=Course(checks.optional_integer("history_limit", history_limit, low=1)),
            seed=drawn,
        )

    def begin(self, init: Any) -> None:
        """Draw the parameters, or copy given ones, as `Trainer`'s argument ``init`` says."""
        self.init = name = initializers.named(init)
        if name is None:
            self.set_parameters(*init)
            return
        assert self.seed is not None, "a net that was read from a file has its parameters"
        rng = np.random.default_rng(streams(self.seed).init)
        weights, biases = initializers.draw(name, self.spec.shapes, [rng])
        self.set_parameters([W[0] for W in weights], [b[0] for b in biases])

    def set_parameters(
        self, weights: Sequence[npt.ArrayLike], biases: Sequence[npt.ArrayLike]
    ) -> None:
        """Copy weights and biases into the net, as `Trainer.set_parameters` does."""
        params = self.state.params
        made = cast.parameters(weights, biases, self.spec.shapes, params.dtype)
        for views, arrays in zip(self.spec.split(params), made, strict=True):
            for view, array in zip(views, arrays, strict=True):
                view[:] = array

    def samples(self, X: Any, y: Any, sample_weight: Any, dtype: np.dtype[Any] | None) -> Samples:
        """Check and cast samples, as `Trainer.fit` takes them."""
        self.check_names(X)
        return self._samples(cast.inputs(X, self.spec.layer_sizes[0], dtype), y, sample_weight)

    def _samples(self, inputs: Rows, y: Any, sample_weight: Any) -> Samples:
        spec, n, dtype = self.spec, len(inputs), inputs.dtype
        targets = cast.targets(y, n, spec.n_targets, spec.loss, dtype)
        weights = cast.weights(sample_weight, n, dtype)
        return Samples(inputs, targets, cast.with_class_weights(weights, targets, spec.loss))

    def warn_of(self, samples: Samples) -> None:
        """Warn once if the output cannot reach all targets of these samples."""
        _, y, weights = samples
        self.warn_of_targets(
            reach.with_weight(y[rows], None if weights is None else weights[rows])
            for rows in mapped.row_slices(y)
        )

    def brief(self, X: Any) -> Any:
        """
        Take a `backends.brief.Brief` for these samples; None if calls on them are not brief.

        It does not train a net with a second-order method. Give it back after the call, if it did
        what it was asked for.
        """
        if type(X) is not np.ndarray or X.ndim != 2:
            return None
        state, spec, (n, n_inputs) = self.state, self.spec, X.shape
        found = self.nets.take(X.shape)
        if found is not None and found.serves(state):
            return found
        if n_inputs != spec.layer_sizes[0]:
            return None
        low, high = spec.loss.target_range
        if not self.warned:
            least, most = reach.range_of(spec)
            low, high = max(low, least), min(high, most)
        if is_second_order(spec.optimizer):  # what is brief then does not train
            spec = replace(spec, optimizer=SGD())
        return backends.load(self.backend).brief(spec, n, state, (low, high))

    def give_back(self, brief: Any) -> None:
        """Keep it for the next call on as many samples."""
        self.nets.give_back(brief.key, brief, brief.size)

    def predict(self, X: Any) -> Array:
        """Compute the outputs, (n_samples, n_outputs), as `Trainer.predict` does."""
        params = self.state.params
        self.check_names(X)
        inputs, look = cast.inputs_to_look_at(X, self.spec.layer_sizes[0], params.dtype)
        with self._evaluation(inputs) as evaluation:
            return evaluation.predict(params, inputs, look)

    def predict_with_std(self, X: Any) -> tuple[Array, Array]:
        """Compute the outputs and their standard deviations, as `Trainer.predict` does."""
        state, spec = self.state, self.spec
        known = posteriors.check(spec, self.found_posterior(), state.params)
        mean = self.predict(X)
        inputs, std = cast.inputs(X, spec.layer_sizes[0], state.params.dtype), np.empty_like(mean)
        backend = backends.load(self.backend)
        with Interrupts() as interrupts, backends.one_blas_thread(backend):
            for rows in mapped.row_slices(inputs):
                given = state.params, inputs[rows], known.root, self.n_threads
                std[rows] = np.sqrt(known.noise + backend.variances(spec, *given))
                interrupts.check()
        return mean, std

    def find_posterior(self, samples: Samples) -> None:
        """Find out how sure the net is of its predictions, at the end of a fit, or keep how to."""
        if posteriors.is_known(self.spec):
            self.posterior = posteriors.later(self.state, samples)
            if self.posterior is None:
                self.posterior = self._posterior(self.state, samples)

    def found_posterior(self) -> Posterior | None:
        """Return how sure the net is of its predictions; None if that is not known."""
        found = self.posterior
        if not isinstance(found, Pending):
            return found
        if not np.array_equal(found.state.params, self.state.params):
            return None
        self.posterior = made = self._posterior(*found)
        return made

    def _posterior(self, state: State, samples: Samples) -> Posterior | None:
        backend = backends.load(self.backend)
        with Interrupts() as interrupts, backends.one_blas_thread(backend), interrupts.heard():
            return posteriors.posterior(backend, self.spec, state, samples, self.n_threads)

    def loss(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Compute the loss, as `Trainer.evaluate` does."""
        params = self.state.params
        self.check_names(X)
        inputs, look = cast.inputs_to_look_at(X, self.spec.layer_sizes[0], params.dtype)
        samples = self._samples(inputs, y, sample_weight)
        with self._evaluation(inputs) as evaluation:
            return evaluation.loss(params, samples, look)

    def gradient(self, X: Any, y: Any, sample_weight: Any = None) -> tuple[float, Array]:
        """Compute the loss and its gradient by all parameters, (P,). See `Trainer.gradients`."""
        params = self.state.params
        samples = self.samples(X, y, sample_weight, params.dtype)
        gradient = np.zeros_like(params)
        with self._evaluation(samples.X, backward=True) as evaluation:
            return evaluation.gradient(params, samples, gradient), gradient

    def _evaluation(self, X: Rows, backward: bool = False) -> AbstractContextManager[Evaluation]:
        backend = backends.load(self.backend)
        return lent(self.nets, backend, self.spec, X, self.n_threads, backward)


M = TypeVar("M", bound=BaseModel)


def as_copy(model: M, **changes: Any) -> M:
    """
    Return a copy of the model with these changes.

    The copy shares all other attributes. It warns of targets anew, since it belongs to another net.
    """
    return replace(model, warned=False, nets=Nets(), **changes)


def model_of(trainer: Any) -> Model:
    """
    Return the model of a trainer.

    Raises
    ------
    TypeError
        If ``trainer`` is not a `Trainer`.
    """
    model = getattr(trainer, "_model", None)
    if not isinstance(model, Model):
        raise TypeError(f"trainer must be a Trainer; got {checks.shown(trainer)}")
    return model
