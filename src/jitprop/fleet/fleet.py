"""The fleet: many nets of one shape, trained in one call."""

from __future__ import annotations

import copy
import operator
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Self, TypeVar, overload

import numpy as np
import numpy.typing as npt

from jitprop import backends, checks, elementary
from jitprop._types import Array
from jitprop.checks import quoted
from jitprop.data import cast, reach, validation
from jitprop.files import pickles
from jitprop.fleet import choice, saving
from jitprop.fleet.course import Course
from jitprop.fleet.data import Data, inputs, samples
from jitprop.fleet.engines import Engine, Members
from jitprop.fleet.history import FleetHistory
from jitprop.fleet.model import FleetModel, make_settings
from jitprop.fleet.settings import rates_of, seeds_of
from jitprop.fleet.state import FleetState, FleetWhole
from jitprop.fleet.stopping import Found, Stopping, told_and_stopping
from jitprop.hints import hinting
from jitprop.interrupts import Interrupts
from jitprop.net.activations import Activation
from jitprop.net.losses import Loss
from jitprop.net.optimizers import SGD, Optimizer
from jitprop.net.scales import scales
from jitprop.net.schedules import LearningRate
from jitprop.net.second_order import has_ended
from jitprop.net.spec import check_batch
from jitprop.trainer import Factors, Trainer, trainer_of
from jitprop.training import running
from jitprop.training.attributes import Attributes, Views
from jitprop.training.callback_list import CallbackList
from jitprop.training.callbacks import Callback, EarlyStopping
from jitprop.training.callbacks import resolve as resolve_callbacks
from jitprop.training.errors import see_own
from jitprop.training.history import VALIDATION_LOSS
from jitprop.training.kept import Kept, apart
from jitprop.training.model import Model, as_copy
from jitprop.training.progress import Progress
from jitprop.warn import warn

R = TypeVar("R")
PerMember = float | npt.ArrayLike
NOTHING: tuple[()] = ()


class Fleet(Attributes):
    """
    Many multilayer perceptrons of one shape, trained at once, each as if it were alone.

    A member's results depend only on its own seed, settings and data, bit for bit. They do not
    depend on the number of members, on its position among them or on the number of threads. Up to
    rounding they are those of a `Trainer` with the same settings.

    Parameters
    ----------
    layer_sizes, activation, output_activation, loss, reduction, optimizer, decay_biases, \
clip_norm, batch_size, learning_rate_factors, input_scale_rate, shuffle, dtype, backend
        As for `Trainer`. All members share them.
    members : int
        The number of members, K, from 1 to 1,000,000.
    learning_rate : float, (K,) array-like, schedule or None, default None
        None is the optimizer's default, as for `Trainer`. All members share a schedule, which
        depends on the epoch alone: a `ReduceOnPlateau` is refused. A second-order method takes None
        alone.
    weight_decay : float or (K,) array-like, default 0.0
    momentum : float or (K,) array-like, optional
        For SGD, in place of the optimizer's momentum.
    dropout : float, (K,) or (K, hidden layers) array-like, default 0.0
        The dropout of all hidden layers, or of each one. Of shape (1, hidden layers), all members
        share it.
    seed : int or (K,) ints, optional
        With one int, member i has seed + i. It starts and shuffles as ``Trainer(seed=seed + i)``
        does. None takes an int from the operating system.
    init : str or (weights, biases), default "glorot_uniform"
        As for `Trainer`. If an array's first dimension is K, each member has its own.
    n_threads : int or None, default None
        The largest number of threads. Each trains some of the members. None uses as many as the
        process may use, if there is enough work. Results do not depend on it, bit for bit.

    Attributes
    ----------
    parameters : (K, P) array, float32 or float64
        The parameters of each member, in the order of `Trainer.parameters`.
    weights, biases : tuples of arrays
        Views of the parameters of each layer: (K, n_in, n_out) and (K, n_out).
    seeds : list of int
    learning_rate : (K,) float64 array or schedule
        The only setting that can be changed.
    layer_sizes : tuple of int
    epochs_trained : (K,) int64 array

    Raises
    ------
    TypeError, ValueError
        For a bad argument. The message says its name, what was expected and what it got.

    Notes
    -----
    Memory in bytes, for K nets of P parameters, numbers of b bytes, and an optimizer that keeps s
    numbers for each parameter:

    ==========================================  ====================================
    What                                        Bytes
    ==========================================  ====================================
    the fleet                                   K (P (1 + s) b + 100)
    a fit of nets in lanes                      K (3 P (1 + s) b + 150) more
    a fit of nets one by one                    K (2 P (1 + s) b + 150) more
    losses                                      8 K an epoch
    validation losses                           8 K an epoch
    early stopping that restores the best       K P b
    early stopping, validation data             4 MB
    shuffling: generators                       1,700 K; the fleet keeps 1,000 K
    shuffling: orders                           8 MB, or 8 K a sample if that is more
    a schedule                                  8 MB
    ==========================================  ====================================

    Early stopping keeps the parameters of the best epochs during a fit, and those of the last
    epochs after it. Besides, each thread has scratch for one batch and one gradient: of one net,
    or in lanes of as many nets as share a vector.

    Examples
    --------
    >>> from jitprop import Fleet
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> fleet = Fleet([2, 4, 1], members=100, learning_rate=5.0, seed=0)
    >>> history = fleet.fit(X, y, epochs=5000)
    >>> solved = (fleet.predict(X).round()[..., 0] == y).all(axis=1)
    >>> bool(solved.mean() > 0.8)
    True
    """

    _model: FleetModel
    _under_way: Course | None = None

    @hinting("Fleet")
    def __init__(
        self,
        layer_sizes: Sequence[int],
        *,
        members: int,
        activation: Activation | Sequence[Activation] = "sigmoid",
        output_activation: Activation = "sigmoid",
        loss: str | Loss = "half_squared_error",
        reduction: str = "mean",
        optimizer: str | Optimizer = "sgd",
        learning_rate: LearningRate | PerMember | None = None,
        weight_decay: PerMember = 0.0,
        decay_biases: bool = False,
        momentum: PerMember | None = None,
        dropout: PerMember = 0.0,
        clip_norm: float | None = None,
        batch_size: int | None = None,
        learning_rate_factors: Factors | None = None,
        input_scale_rate: float | None = None,
        shuffle: bool = True,
        dtype: npt.DTypeLike | None = None,
        seed: int | Sequence[int] | None = None,
        init: str | tuple[Sequence[npt.ArrayLike], Sequence[npt.ArrayLike]] = "glorot_uniform",
        backend: str = "auto",
        n_threads: int | None = None,
    ) -> None:
        spec, settings = make_settings(
            members=members,
            optimizer=optimizer,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            momentum=momentum,
            dropout=dropout,
            layer_sizes=layer_sizes,
            activation=activation,
            output_activation=output_activation,
            loss=loss,
            reduction=reduction,
            decay_biases=decay_biases,
            clip_norm=clip_norm,
            batch_size=batch_size,
            learning_rate_factors=learning_rate_factors,
            input_scale_rate=input_scale_rate,
        )
        self._model = FleetModel.make(
            spec,
            settings,
            seeds=seeds_of(seed, len(settings.decays)),
            shuffle=shuffle,
            dtype=dtype,
            backend=backend,
            n_threads=n_threads,
        )
        self._model.begin(init)

    @classmethod
    def _of(cls, model: FleetModel) -> Self:
        """Make a fleet of this model, with the model's arrays, not copied."""
        made = cls.__new__(cls)
        made._model = model
        return made

    # Attributes.

    @property
    def parameters(self) -> Array:
        """All weights and biases of each member, (K, P). The array is the fleet's own memory."""
        return self._model.state.params

    @property
    def weights(self) -> tuple[Array, ...]:
        """Views of each layer's weights, (K, n_in, n_out)."""
        return Views(self._model.split()[0])

    @property
    def biases(self) -> tuple[Array, ...]:
        """Views of each layer's biases, (K, n_out)."""
        return Views(self._model.split()[1])

    @property
    def weight_decay(self) -> npt.NDArray[np.float64]:
        """A copy of each member's weight decay, (K,)."""
        return self._model.settings.decays.copy()

    @property
    def momentum(self) -> npt.NDArray[np.float64]:
        """A copy of each member's momentum, (K,)."""
        return self._model.settings.momenta.copy()

    @property
    def dropout(self) -> npt.NDArray[np.float64]:
        """A copy of each member's dropout in each hidden layer, (K, hidden layers)."""
        return self._model.settings.dropout.copy()

    @property
    def input_scales(self) -> Array:
        """A copy of each member's scales of the inputs, (K, n_inputs); see `Trainer`."""
        model = self._model
        return scales(model.spec, model.state.params, model.state.slots)

    @property
    def members(self) -> int:
        """The number of members, K."""
        return len(self)

    @property
    def seed(self) -> list[int]:
        """Each member's seed, the same as ``seeds``."""
        return self.seeds

    @property
    def seeds(self) -> list[int]:
        """Each member's seed."""
        return list(self._model.state.seeds)

    @property
    def epochs_trained(self) -> npt.NDArray[np.int64]:
        """How many epochs each member was trained, over all calls of `fit`: (K,) int64."""
        return self._model.state.epochs.copy()

    @property
    def learning_rate(self) -> Any:
        """
        A copy of each member's learning rate, (K,), or the schedule of all members.

        It can be set to what the argument ``learning_rate`` takes, between calls of `fit` and by
        callbacks.
        """
        rates = self._model.settings.rates
        return rates if callable(rates) else rates.copy()

    @learning_rate.setter
    def learning_rate(self, value: LearningRate | PerMember | None) -> None:
        self._model.settings.rates = rates_of(value, self._model.spec.optimizer, len(self))

    def __len__(self) -> int:
        """The number of members, K."""
        return len(self._model)

    def __getstate__(self) -> dict[str, Any]:
        # A fit of this fleet is not a fit of its copy.
        return pickles.stamped(self.__dict__ | {"_model": self._whole(), "_under_way": None})

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(pickles.opened("Fleet", state))

    def __copy__(self) -> Self:
        # Two fleets never share what training changes.
        return copy.deepcopy(self)

    def _states(self) -> tuple[Found | None, Sequence[Kept]]:
        """Return the states of early stopping and of the callbacks, in this fit or the last one."""
        if self._under_way is None:
            return self._model.found, self._model.kept
        whole: FleetWhole | None = running.published(self)
        stopping, callback_list = self._under_way.stopping, self._under_way.callbacks
        found = None if stopping is None else stopping.found
        return found, callback_list.states() if whole is None else whole.kept

    def __repr__(self) -> str:
        s = self._model.spec
        return (
            f"Fleet({list(s.layer_sizes)}, members={len(self)}, activations={list(s.activations)}, "
            f"loss={s.loss.name!r}, optimizer={s.optimizer!r})"
        )

    @overload
    def __getitem__(self, key: int) -> Trainer: ...

    @overload
    def __getitem__(self, key: slice | Sequence[int] | npt.NDArray[Any]) -> Fleet: ...

    def __getitem__(self, key: Any) -> Trainer | Fleet:
        """
        Return one member as a `Trainer`, or several as a `Fleet`.

        Arrays are copied, and training can go on.

        Parameters
        ----------
        key : int, slice, list of int or array
            An int gives a `Trainer`. A slice, several numbers or a mask give a `Fleet`.

        Returns
        -------
        Trainer or Fleet

        Raises
        ------
        TypeError, IndexError
            For a key that is none of these, or for a member that does not exist.
        """
        k = len(self)
        if hasattr(key, "__array__"):
            key = cast.read("the numbers of members", key)
        if isinstance(key, slice | list) or (isinstance(key, np.ndarray) and key.ndim > 0):
            return self._of(self._take(np.arange(k)[key]))
        try:
            i = operator.index(key)
        except TypeError:
            raise TypeError(
                f"the {k} members are fleet[i], fleet[i:j], fleet[[i, j]] or fleet[mask]; "
                f"got {checks.shown(key)}"
            ) from None
        if not -k <= i < k:
            raise IndexError(f"member {i} of a fleet of {k}")
        with running.changing():
            return self._trainer(i % k)

    def __iter__(self) -> Iterator[Trainer]:
        """Yield each member as a `Trainer`."""
        return (self[i] for i in range(len(self)))

    # Methods.

    def set_parameters(
        self, weights: Sequence[npt.ArrayLike], biases: Sequence[npt.ArrayLike]
    ) -> None:
        """
        Copy weights and biases into the members. The optimizer's state does not change.

        Parameters
        ----------
        weights : sequence of (n_in, n_out) or (K, n_in, n_out) array-likes
        biases : sequence of (n_out,) or (K, n_out) array-likes

        Raises
        ------
        TypeError, ValueError
            For a wrong number of arrays, a wrong shape, or values that are not finite numbers.
        """
        self._model.set_parameters(weights, biases)

    @hinting("Fleet.fit")
    def fit(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        epochs: int | None = None,
        *,
        epochs_total: int | None = None,
        sample_weight: npt.ArrayLike | None = None,
        validation_data: tuple[npt.ArrayLike, ...] | None = None,
        callbacks: Any = NOTHING,
        progress: bool = False,
    ) -> FleetHistory:
        """
        Train all members for some epochs. Another call goes on from there.

        Parameters
        ----------
        X : (n_samples, n_inputs) or (K, n_samples, n_inputs) array-like
            All members share it, or each member has its own.
        y : (n_samples, n_targets) or (K, n_samples, n_targets) array-like
            Labels and single outputs may be (n_samples,) or (K, n_samples). A shape that can be
            read both as (n_samples, n_targets) and as (K, n_samples) is read as the former.
        epochs : int
            How many more epochs to train, at least 1. Callbacks start anew, and so do second-order
            methods that have ended.
        epochs_total : int, optional
            In place of ``epochs``: resume, and train until `epochs_trained` of each member is this
            number, at least 1. Members that an `EarlyStopping` stopped stay stopped, and so do
            those whose second-order method has ended. The others continue with the patience that
            they have left. The other callbacks resume from their states. If so many epochs are done
            already, nothing is trained.
        sample_weight : (n_samples,) or (K, n_samples) array-like, optional
            As in `Trainer.fit`. Weights of 0 select the folds of a cross-validation. Integer
            weights count the samples of a bootstrap.
        validation_data : (X, y) or (X, y, sample_weight), optional
            Samples that are not trained on. Each member's loss on them after each epoch is
            computed.
        callbacks : Callback, function or list of these, default ()
            An `EarlyStopping` on "validation_loss" or "loss" stops each member by itself. The
            others then take less time. Its results are in the history, not in its attributes.
            All other callbacks get the fleet, and the epoch's number in this call. Their ``logs``
            have (K,) arrays: "loss", and "validation_loss" with validation data. Members that have
            stopped have nan. Return values are ignored. `stop` ends the fit.
        progress : bool, default False
            Show a progress bar, as `Trainer.fit` does, with the mean losses of the members.

        Returns
        -------
        FleetHistory

        Raises
        ------
        TypeError, ValueError
            For bad input. The fleet does not change.
        KeyboardInterrupt
            On Ctrl-C. The fleet keeps complete epochs, all but those of the last tenths of a
            second, and the next `fit` goes on from there. The same holds when a callback or the
            handler of a signal raises an error. An `EarlyStopping` that restores the best epochs
            does so here too.
        RuntimeError
            If the fleet is in a fit already, from a callback or from another thread. It is raised
            before the input is checked. Other threads may save, copy and pickle the fleet during a
            fit. They get the end of its last complete epochs.
        ImportError
            For ``progress=True`` without tqdm.

        Warns
        -----
        RuntimeWarning
            If the loss or the parameters of some members became inf or nan. These members keep
            their last good epoch, or their best one if an `EarlyStopping` restores it. The history
            lists them, and the others go on. Also if the number that an `EarlyStopping` monitors
            was nan or infinite in every epoch of some members. These keep their last epoch.
        """
        others = sample_weight, validation_data, epochs_total
        plain = callbacks is NOTHING and progress is False and all(one is None for one in others)
        if plain and type(epochs) is int and epochs == 1:
            made = self._fit_briefly(X, y)
            if made is not None:
                return made
        history = self._fit(
            X, y, epochs, sample_weight, validation_data, callbacks, progress, epochs_total
        )
        if history.best_epoch is not None:
            self._warn_of_no_best(history, resolve_callbacks(callbacks))
        if history.diverged:
            spec = self._model.spec
            uses_rate = spec.optimizer.uses_rate != "never"
            smaller = "a smaller learning_rate for them, or " if uses_rate else ""
            warn(
                f"{len(history.diverged)} of {len(self)} members diverged, the first in epoch "
                f"{min(history.diverged.values())}: they keep their last good epoch, and the "
                f"others went on. Try {smaller}inputs and targets "
                f"scaled to about -1...1{see_own(spec.custom_functions, '; or see {}')}"
            )
        return history

    def _warn_of_no_best(self, history: FleetHistory, callbacks: list[Callback]) -> None:
        no_best = (history.best_epoch == -1) & (history.epochs > 0)
        no_best[list(history.diverged)] = False
        monitor = [c.monitor for c in callbacks if isinstance(c, EarlyStopping)]
        if no_best.any():
            warn(
                f"EarlyStopping monitors {quoted(monitor[0])}, which was nan or infinite in every "
                f"epoch of {no_best.sum()} of {len(self)} members: they have no best epoch, and "
                "keep the parameters of their last one"
            )

    @running.one_at_a_time("fleet")
    def _fit(
        self,
        X: Any,
        y: Any,
        epochs: Any,
        sample_weight: Any,
        validation_data: Any,
        callbacks: Any,
        progress: Any = False,
        epochs_total: Any = None,
    ) -> FleetHistory:
        """Do all that `fit` does, except for its warnings at the end."""
        model = self._model
        to_train = checks.epochs(epochs, epochs_total, model.state.epochs)
        if epochs_total is not None:
            to_train = np.where(has_ended(model.spec.optimizer, model.state.slots), 0, to_train)
        progress = checks.boolean("progress", progress)
        model.check_names(X)
        data = samples(X, y, sample_weight, model.spec, len(self), model.dtype)
        check_batch(model.spec, data.n_samples)
        kind = data.X.array.dtype
        names = model.names or cast.names_of(X)
        held_out = None
        if validation_data is not None:
            held_out = self._validation(validation_data, kind, names)
        known = ["loss"] if held_out is None else ["loss", VALIDATION_LOSS]
        others, how = told_and_stopping(callbacks, known)
        found, kept = (None, ()) if epochs_total is None else (model.found, model.kept)
        callback_list = CallbackList(self, others, kept)
        state = model.state.cast(kind)
        data = data.unshared(state.params)
        if held_out is not None:
            held_out = held_out.unshared(state.params)
        engine = self._engine(data.n_samples)
        course = Course(
            engine,
            model,
            state,
            data,
            held_out,
            to_train,
            None if how is None else Stopping(how, state, found),
            callback_list,
        )
        bar = Progress(course.epochs) if progress else None
        weights = None if data.weights is None else data.weights.array
        model.warn_of_targets(reach.with_weight(y, weights) for y in [data.y.array])
        fit = running.of(self)
        with Interrupts() as interrupts:  # no signal interrupts the beginning or the end
            with running.changing():
                before = model.state, model.dtype, model.names
                model.state, model.dtype = state, kind
                model.names = names
                self._under_way, ended = course, False
            try:
                backend = backends.load(model.backend)
                with backends.one_blas_thread(backend, bool(callback_list)):
                    course.run(fit, interrupts, bar)
                with interrupts.heard(), fit.telling():
                    callback_list.on_fit_end()
                ended = True
            except BaseException as error:
                with interrupts.heard(), fit.telling():
                    callback_list.on_fit_error(error)
                raise
            finally:
                with running.changing():
                    fit.publish(None)
                    self._under_way = None
                    if not course.done.any():  # the first epoch decides the dtype
                        model.state, model.dtype, model.names = before
                    if ended or course.done.any():
                        model.found = None if course.stopping is None else course.stopping.found
                        model.kept = apart(callback_list.states())
                        model.losses = course.last_losses(model.losses)
                if bar is not None:
                    bar.close()
        self._give_back(engine, data.n_samples)
        return course.history()

    def stop(self) -> None:
        """
        End the current fit of all members after the current epoch.

        A callback, another function that the fit calls, or another thread may call it. `fit` then
        returns as it does after its last epoch. Without callbacks other than `EarlyStopping`,
        epochs are trained in blocks of about a tenth of a second, and the fit ends after the
        current block. If it is called before the first epoch, as in `Callback.on_fit_begin`,
        nothing is trained. Outside a fit it has no effect on later fits.
        """
        if self._under_way is not None:
            self._under_way.stop()

    def predict(self, X: npt.ArrayLike) -> Array:
        """
        Compute the outputs of all members.

        Parameters
        ----------
        X : (n_samples, n_inputs) or (K, n_samples, n_inputs) array-like

        Returns
        -------
        (K, n_samples, n_outputs) array, of the fleet's dtype

        Raises
        ------
        TypeError, ValueError
            For bad input.
        """
        found: Array | None = self._briefly("predict", X)
        if found is not None:
            return found
        self._model.check_names(X)

        def outputs(members: Members) -> Array:
            part = inputs(X, self.layer_sizes[0], len(self), members.params.dtype)
            n, kind = part.array.shape[-2], part.array.dtype
            out = np.empty((len(self), n, self._model.spec.layer_sizes[-1]), kind)
            with self._computing(n) as engine:
                engine.predict(members, part, out)
            return out

        return self._of_whole_epochs(outputs)

    def predict_mean_std(self, X: npt.ArrayLike) -> tuple[Array, Array]:
        """
        Compute the mean and standard deviation of the members' outputs, as of an ensemble.

        The standard deviation of K outputs o[k] is sqrt(mean (o[k] - mean o)**2), with the factor
        1/K. For classifiers the outputs are probabilities. With the loss "gaussian_nll" member k
        gives a mean m[k] and a variance v[k] = exp(s[k]). The result is the mean of their mixture,
        mean m, and its standard deviation, sqrt(mean v + mean (m[k] - mean m)**2).

        Parameters
        ----------
        X : (n_samples, n_inputs) or (K, n_samples, n_inputs) array-like

        Returns
        -------
        mean, std : (n_samples, n_targets) arrays, of the fleet's dtype

        Raises
        ------
        TypeError, ValueError
            For bad input.

        References
        ----------
        Lakshminarayanan, Pritzel and Blundell, *Simple and Scalable Predictive Uncertainty
        Estimation using Deep Ensembles*, NIPS 2017: section 2.4.
        """
        out = self.predict(X)
        if self._model.spec.loss.name != "gaussian_nll":
            return out.mean(axis=0), out.std(axis=0)
        k = out.shape[2] // 2
        means, variances = out[..., :k], elementary.exp(out[..., k:]).astype(out.dtype)
        return means.mean(axis=0), np.sqrt(means.var(axis=0) + variances.mean(axis=0))

    def evaluate(
        self, X: npt.ArrayLike, y: npt.ArrayLike, *, sample_weight: npt.ArrayLike | None = None
    ) -> npt.NDArray[np.float64]:
        """
        Compute each member's loss, as `Trainer.evaluate` does.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        (K,) float64 array

        Raises
        ------
        TypeError, ValueError
            For bad input.
        """
        found: Array | None = None if sample_weight is not None else self._briefly("evaluate", X, y)
        if found is not None:
            return found
        self._model.check_names(X)
        spec = self._model.spec

        def losses(members: Members) -> npt.NDArray[np.float64]:
            data = samples(X, y, sample_weight, spec, len(self), members.params.dtype)
            with self._computing(data.n_samples) as engine:
                made = engine.evaluate(members, data)
            made /= data.divisors(spec, np.arange(len(self)))
            return made

        return self._of_whole_epochs(losses)

    def best(
        self, X: npt.ArrayLike | None = None, y: npt.ArrayLike | None = None, n: int = 1
    ) -> Fleet:
        """
        Return the members with the smallest losses, the best one first.

        Parameters
        ----------
        X, y : optional
            The samples on which the losses are computed, as in `evaluate`. Without them, a member's
            loss is that of its last epoch in the last `fit`, as in `FleetHistory.loss`; or of its
            best epoch, if an `EarlyStopping` restored it. A file does not keep these losses.
        n : int, default 1
            The number of members.

        Returns
        -------
        Fleet
            It has n members. ``fleet.best()[0]`` is the best one as a `Trainer`.

        Raises
        ------
        TypeError, ValueError
            For bad input, if fewer than n members have a finite loss, and without samples if the
            fleet was not trained since it was made or loaded.
        """
        n = checks.integer("n", n, low=1)
        if n > len(self):
            raise ValueError(f"n must be at most the {len(self)} members; got {n}")
        if X is not None and y is not None:
            losses, of = self.evaluate(X, y), "loss on these samples"
        elif X is not None or y is not None:
            raise TypeError("X and y must be given together, or neither of them")
        else:
            losses, of = self._last_losses(), "last training loss"
        finite = np.isfinite(losses)
        if finite.sum() < n:
            raise ValueError(
                f"n must be at most the {finite.sum()} of {len(self)} members whose {of} is "
                f"finite; got {n}"
            )
        return self._of(self._take(np.argsort(np.where(finite, losses, np.inf), kind="stable")[:n]))

    def _last_losses(self) -> Array:
        """Return each member's last training loss, (K,). In a callback it is that of this fit."""
        with running.changing():
            losses = self._model.losses
            if self._under_way is not None:
                losses = self._under_way.last_losses(losses)
        if losses is None:
            raise ValueError("X and y must be given: this fleet has no losses of a fit yet")
        return losses

    def save(self, path: str | os.PathLike[str]) -> None:
        """
        Write the fleet to one file, with all that is needed to go on training bit for bit.

        Parameters
        ----------
        path : str or path-like
            A safetensors file, as `Trainer.save` writes it: completely, or not at all.

        Raises
        ------
        OSError
            As from `Trainer.save`.
        TypeError, ValueError
            For what cannot be saved: parameters that are not finite, or a function without a name.
        """
        saving.write(path, self._whole())

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        custom_objects: Mapping[str, Any] | None = None,
    ) -> Self:
        """
        Read a fleet that `save` wrote.

        Parameters
        ----------
        path : str or path-like
        custom_objects : mapping of str to object, optional
            As for `Trainer.load`.

        Returns
        -------
        Fleet

        Raises
        ------
        CheckpointError
            For a file that holds no fleet, was altered, or has contents that `save` never writes.
        OSError, MemoryError, TypeError
            As from `Trainer.load`.
        """
        return cls._of(saving.read(path, custom_objects))

    # Internals.

    def _validation(self, given: Any, kind: np.dtype[Any], names: tuple[str, ...] | None) -> Data:
        parts = validation.parts(given)
        try:
            cast.check_names(parts[0], names)
            return samples(*parts, self._model.spec, len(self), kind)
        except (TypeError, ValueError) as error:
            raise type(error)(f"in validation_data, {error}") from None

    def _of_whole_epochs(self, compute: Callable[[Members], R]) -> R:
        """
        Compute something from members that are at the end of an epoch, as `Trainer` does.

        During a fit of another thread it uses copies. If such a fit begins or changes the members
        during the computation, the computation is repeated on copies.
        """
        model, everyone = self._model, np.arange(len(self))
        with running.changing():
            state, elsewhere = model.state, running.published_elsewhere(self) is not None
            members = state.members(model.settings, everyone if elsewhere else None)
            updates = state.updates.copy()
        made = compute(members)
        with running.changing():
            trained = (state.updates != updates).any()
            if elsewhere or not (trained or running.published_elsewhere(self) is not None):
                return made
            members = model.state.members(model.settings, everyone)
        return compute(members)

    def _brief(self, X: Any) -> Any:
        """Take a `Brief` for these samples; None if calls on them are not brief."""
        if type(X) is not np.ndarray or X.ndim != 2:
            return None
        model, state, spec, (n, n_inputs) = (
            self._model,
            self._model.state,
            self._model.spec,
            X.shape,
        )
        found = model.nets.take(X.shape)
        if found is not None and found.serves(state):
            return found
        if n_inputs != spec.layer_sizes[0] or n == 0:
            return None
        if not choice.uses_lanes(backends.load(model.backend), spec, n):
            return None
        from jitprop.fleet.brief import brief  # it needs the kernels, which may be missing

        low, high = spec.loss.target_range
        if not model.warned:
            least, most = reach.range_of(spec)
            low, high = max(low, least), min(high, most)
        return brief(spec, n, model.settings, state, (low, high))

    def _briefly(self, name: str, *given: Any) -> Any:
        """Predict or evaluate the brief way; return None where that cannot be."""
        brief = self._brief(given[0])
        if brief is None:
            return None
        brief.prepare(name)
        with running.changing():  # no thread writes to the members meanwhile
            state = self._model.state
            loaded = brief.serves(state) and not running.is_in_a_fit(self)
            if loaded:
                brief.load(state, name)
        made = getattr(brief, name)(*given) if loaded else None
        self._model.nets.give_back(brief.key, brief, brief.size())
        return made

    def _fit_briefly(self, X: Any, y: Any) -> FleetHistory | None:
        """Train one epoch of one small batch, if nothing else is to be done."""
        model, brief = self._model, self._brief(X)
        if brief is None:
            return None
        rates, losses = model.settings.rates, None
        if brief.is_batch and not callable(rates):
            brief.prepare("train")
            with Interrupts(), running.changing():
                state = model.state
                plain = model.dtype is not None and model.found is None and not model.kept
                if plain and brief.serves(state) and not running.is_in_a_fit(self):
                    brief.load(state, "train")
                    losses = brief.train(X, y, rates)
                if losses is not None:
                    brief.commit(state)
        model.nets.give_back(brief.key, brief, brief.size())
        if losses is None:
            return None
        model.losses = losses[0]
        ended = ("",) * len(self)
        return FleetHistory(losses, None, np.ones(len(self), np.int64), None, {}, ended)

    def _engine(self, n_samples: int) -> Engine:
        """Take the engine for so many samples that the model keeps, or make one."""
        model = self._model
        engine: Engine | None = model.nets.take(model.spec.batch(n_samples))
        if engine is None:
            backend = backends.load(model.backend)
            engine = choice.choose(backend, model.spec, len(self), n_samples, model.n_threads)
        return engine

    def _give_back(self, engine: Engine, n_samples: int) -> None:
        """Keep an engine for the next call."""
        nets, spec = self._model.nets, self._model.spec
        if not spec.custom_functions:
            nets.give_back(spec.batch(n_samples), engine, engine.size())

    @contextmanager
    def _computing(self, n_samples: int) -> Iterator[Engine]:
        """Lend an engine. BLAS has one thread meanwhile if the backend uses it."""
        engine, backend = self._engine(n_samples), backends.load(self._model.backend)
        if backend.COMPILED:
            yield engine
        else:
            with Interrupts() as interrupts, backends.one_blas_thread(backend), interrupts.heard():
                yield engine
        self._give_back(engine, n_samples)

    def _trainer(self, i: int) -> Trainer:
        """Return member i as a trainer, with copies of its arrays."""
        model, state, settings = self._model, self._model.state, self._model.settings
        optimizer = model.spec.optimizer
        if isinstance(optimizer, SGD):
            optimizer = replace(optimizer, momentum=float(settings.momenta[i]))
        spec = replace(
            model.spec,
            optimizer=optimizer,
            learning_rate=settings.rates if callable(settings.rates) else float(settings.rates[i]),
            weight_decay=float(settings.decays[i]),
            dropout=tuple(settings.dropout[i].tolist()),
        )
        member = Model.make(
            spec,
            shuffle=model.shuffle,
            dtype=model.dtype,
            seed=state.seeds[i],
            backend=model.backend,
            n_threads=model.n_threads,
        )
        member.names = model.names
        member.state.params[:] = state.params[i]
        # A member without momentum keeps no velocity. The rows of scales are the last ones.
        first = state.slots.shape[1] - len(member.state.slots)
        member.state.slots[:] = state.slots[i][first:]
        member.state.epochs, member.state.updates = int(state.epochs[i]), int(state.updates[i])
        if i in state.generators:
            whole: FleetWhole | None = running.published(self)
            now = state.generators[i].bit_generator.state
            random = now if whole is None else whole.random.get(i, now)
            member.state.rng.bit_generator.state = random
        if (found := self._states()[0]) is not None:
            epochs = member.state.epochs
            member.kept = [Kept(EarlyStopping.__qualname__, epochs, found.member(i))]
        return trainer_of(member)

    def _take(self, numbers: npt.NDArray[np.int64]) -> FleetModel:
        """Return a model of some members, with copies of their settings and their state."""
        if numbers.ndim != 1 or len(numbers) == 0:
            raise IndexError(
                f"select members by a list of at least one number; got shape {numbers.shape}"
            )
        with running.changing():
            model = replace(self._model, found=self._states()[0])
            return model.take(numbers, self._take_state(numbers))

    def _take_state(self, numbers: npt.NDArray[np.int64]) -> FleetState:
        """
        Return a copy of the state of some members.

        During a fit it is the state at the end of an epoch.
        """
        state = self._model.state.take(numbers)
        whole: FleetWhole | None = running.published(self)
        if whole is not None and whole.random:
            taken = {number: i for i, number in enumerate(numbers.tolist())}
            random = whole.random.items()
            state.set_random({taken[i]: value for i, value in random if i in taken})
        return state

    def _whole(self) -> FleetModel:
        """
        Return the model at the end of a complete epoch.

        Its arrays are the fleet's own only if nothing can change them meanwhile. Otherwise they are
        copies.
        """
        with running.changing():
            found, kept = self._states()
            if running.published(self) is None and not running.may_change(self):
                return as_copy(self._model, found=found, kept=kept)
            model = self._take(np.arange(len(self)))
            model.kept = kept
            return model

    def _go_back_to(self, whole: FleetWhole) -> None:
        """Go back to the state that a fit published last. See `jitprop.training.running`."""
        if self._under_way is not None and self._under_way.stopping is not None:
            self._model.found = self._under_way.stopping.found
        self._model.kept, self._under_way = whole.kept, None
        self._model.state.set_random(dict(whole.random))
