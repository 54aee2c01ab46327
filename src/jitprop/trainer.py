"""The trainer: checks and casts once, hands the arrays to a backend, returns plain arrays."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, Self, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from jitprop import backends, checks
from jitprop._types import Array
from jitprop.backends.threads import one_blas_thread
from jitprop.data import cast, validation
from jitprop.data.batches import Batches, Given
from jitprop.data.samples import Samples
from jitprop.files import pickles, saving
from jitprop.hints import hinting
from jitprop.interrupts import Interrupts
from jitprop.metrics import Metric
from jitprop.metrics import resolve as resolve_metrics
from jitprop.net.custom import CustomActivation
from jitprop.net.losses import Loss
from jitprop.net.optimizers import Optimizer
from jitprop.net.schedules import LearningRate
from jitprop.net.spec import check_batch, make_spec, with_learning_rate
from jitprop.teaching.trace import Trace, trace
from jitprop.training import running
from jitprop.training.attributes import Attributes, Views
from jitprop.training.callbacks import Callback, OnEpochEnd
from jitprop.training.callbacks import resolve as resolve_callbacks
from jitprop.training.fitting import Fit, Whole
from jitprop.training.history import Course, History
from jitprop.training.kept import Kept
from jitprop.training.model import Model, as_copy
from jitprop.training.progress import Progress
from jitprop.training.sources import Arrays, Indices, Source, Stream
from jitprop.training.sources import Order as OrderOfEpoch
from jitprop.training.watching import Watch

R = TypeVar("R")
Order: TypeAlias = "npt.ArrayLike | Callable[[int], npt.ArrayLike]"


class Gradients(NamedTuple):
    """
    Loss of one batch, and its derivatives by every weight and bias, in the trainer's dtype.

    Attributes
    ----------
    loss : float
    weights : list of (n_in, n_out) arrays
    biases : list of (n_out,) arrays
    """

    loss: float
    weights: list[Array]
    biases: list[Array]


class Trainer(Attributes):
    """
    A multilayer perceptron and its training by backpropagation.

    With a[0] = X, layer l computes a[l + 1] = f_l(a[l] @ W[l] + b[l]). A sample's loss is the sum
    over its outputs; ``reduction`` makes the mean or the sum of a batch's samples. Gradients are
    the exact derivatives of that number.

    Parameters
    ----------
    layer_sizes : sequence of int
        Units of each layer, inputs first, outputs last: at least those two.
    activation : str, CustomActivation or sequence of them, default "sigmoid"
        Of all hidden layers, or one for each: "sigmoid", "tanh", "relu", "leaky_relu" (0.01),
        "elu" (1), "softplus", "gelu" (the tanh form), "silu", "identity", or one of your own.
    output_activation : str or CustomActivation, default "sigmoid"
        One of these; or "exp"; or "softmax", which goes with the loss "cross_entropy" alone.
    loss : str or Loss, default "half_squared_error"
        Of a sample with outputs a and targets y, as a name or as an object with settings:

        - "half_squared_error", 1/2 sum (a - y)**2;
        - "squared_error", sum (a - y)**2;
        - "absolute_error", sum abs(a - y);
        - "huber", `Huber` (delta): the first up to an error of delta, beyond it a line;
        - "quantile", `Quantile` (q): sum of q (y - a) where y > a, else (1 - q) (a - y);
        - "poisson", sum (rate - y log rate), for "exp" outputs, the rates, or "identity" outputs,
          their logarithms;
        - "gaussian_nll", 1/2 sum [s + (y - mean)**2 exp(-s)], for "identity" outputs: a mean for
          each of k targets, then a log-variance s for each, so that ``layer_sizes`` ends in 2 k;
        - "binary_cross_entropy", `BinaryCrossEntropy` (label_smoothing, class_weight):
          -sum [y log a + (1 - y) log(1 - a)], for sigmoid outputs;
        - "cross_entropy", `CrossEntropy` (label_smoothing, class_weight): -sum y log a, for softmax
          outputs;
        - `CustomLoss`: a function of your own.

        Poisson and the cross-entropies are computed from z, so that no output gives log(0), and
        their delta is a - y, with the rate as a. Sources: `jitprop.net.losses`.
    reduction : {"mean", "sum"}, default "mean"
        How the samples of a batch combine, in the loss and so in the gradient.
    optimizer : str or object, default "sgd"
        "sgd", "adam", "adamw", "rmsprop", "rprop"; or, with settings of its own, an `SGD`, `Adam`,
        `AdamW`, `RMSprop` or `Rprop`.
    learning_rate : float, schedule, callable or None, default None
        A number above 0; None is 0.1 for SGD and Rprop, 0.001 for Adam, AdamW and RMSprop. Or a
        `Step`, `Exponential`, `InverseScaling`, `Cosine` (with warm-up), `OneCycle` or
        `ReduceOnPlateau`; or a function that takes the epoch's number (counted from 0 over all
        calls of `fit`) and returns the rate of that epoch, at least 0. It is called once for each
        epoch, ahead of training. May be set anew between calls of `fit`, and by callbacks.
    weight_decay : float, default 0.0
        Adds ``weight_decay * W`` to the gradient, of weights and not of biases; for AdamW see
        there. Losses and `gradients` are those of the data alone.
    dropout : float or sequence of float, default 0.0
        In [0, 1), of all hidden layers or one for each: the probability p with which a unit has no
        part in an update, drawn for each sample anew. Kept units count 1 / (1 - p) times, so that
        `predict`, `evaluate` and `gradients` need no dropout and have none (Srivastava et al.,
        *Dropout*, JMLR 15, 2014); the losses of `fit` are those of the units kept.
    clip_norm : float or None, default None
        Above 0: the largest norm that the gradient g of a batch may have. A longer one becomes
        g clip_norm / norm, norm = sqrt(sum g**2) being that of all weights and biases together,
        before weight decay: Keras' global_clipnorm; PyTorch's ``clip_grad_norm_``, which adds 1e-6
        to the norm. Losses and `gradients` are not clipped. In float64 a norm beyond 1e154, whose
        square overflows, is taken for inf: that batch changes nothing but by momentum and decay.
    batch_size : int or None, default None
        Samples per update; a last short batch is trained too. None is all samples.
    shuffle : bool, default True
        Present the samples in a new random order each epoch. Full batches are not shuffled:
        their gradient does not depend on the order.
    dtype : {None, "float32", "float64"} or NumPy dtype, default None
        Of parameters and computation. None is settled by the first `fit`: float32 if its X is
        float32, else float64.
    seed : int or None, default None
        Of the initial parameters, the shuffles and the units dropped; None takes one from the
        operating system.
    init : str or (weights, biases), default "glorot_uniform"
        "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_normal", each with
        biases 0; "uniform", all from [0, 1); or the arrays themselves, as in `set_parameters`.
    backend : {"auto", "numba", "numpy"}, default "auto"
        "auto" is numba, or NumPy with a warning where numba cannot be imported.
    n_threads : int or None, default None
        At most this many threads train, on the route for wide layers; each gets 32 samples of a
        batch or more. None is as many as a batch has work for, of those that the process may use.
        Where other processes want the processor it may be one. Results do not depend on it, to
        the bit. The NumPy backend has one thread.
    history_limit : int or None, default None
        `history` keeps the last so many epochs, at least 1; None is all. With a limit memory, files
        and pickles do not grow, however long `partial_fit` goes on. What `fit` returns holds all
        epochs of the call.

    Attributes
    ----------
    parameters : (P,) array, float32 or float64
        All of W[0] (row by row), b[0], W[1], b[1], ... The same array all along, but for two cases:
        with ``dtype`` None a first `fit` on float32 samples replaces it, and `fit` replaces an
        array that was made read-only by a copy.
    weights, biases : tuples of arrays
        Views of it: (n_in, n_out) and (n_out,). Writing to them changes the net.
    learning_rate : float, schedule or callable
        The one setting that may be set. The others can be read under their names: ``loss`` and
        ``optimizer`` as objects, ``activation`` and ``dropout`` as tuples; ``seed`` as a number,
        which was drawn if none was given.
    feature_names_in_ : (n_inputs,) array of str
        The names of the columns, after a fit with a data frame. Later frames must have the same,
        in the same order.
    epochs_trained : int
        Over all calls of `fit`.

    Raises
    ------
    TypeError, ValueError
        For an argument that is not as above, named with what was expected and what came.

    References
    ----------
    Rumelhart, Hinton and Williams, *Learning representations by back-propagating errors*, Nature
    323, 1986. Clipping: Pascanu, Mikolov and Bengio, *On the difficulty of training recurrent
    neural networks*, ICML 2013. The equations, line by line: `jitprop.reference`.

    Examples
    --------
    >>> from jitprop import Trainer
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> trainer = Trainer([2, 8, 1], learning_rate=5.0, seed=0)
    >>> history = trainer.fit(X, y, epochs=5000)
    >>> trainer.predict(X).round(0).ravel().tolist()
    [0.0, 1.0, 1.0, 0.0]
    """

    _model: Model
    _under_way: Fit | None = None

    @hinting("Trainer")
    def __init__(
        self,
        layer_sizes: Sequence[int],
        *,
        activation: str | CustomActivation | Sequence[str | CustomActivation] = "sigmoid",
        output_activation: str | CustomActivation = "sigmoid",
        loss: str | Loss = "half_squared_error",
        reduction: str = "mean",
        optimizer: str | Optimizer = "sgd",
        learning_rate: LearningRate | None = None,
        weight_decay: float = 0.0,
        dropout: float | Sequence[float] = 0.0,
        clip_norm: float | None = None,
        batch_size: int | None = None,
        shuffle: bool = True,
        dtype: npt.DTypeLike | None = None,
        seed: int | None = None,
        init: str | tuple[Sequence[npt.ArrayLike], Sequence[npt.ArrayLike]] = "glorot_uniform",
        backend: str = "auto",
        n_threads: int | None = None,
        history_limit: int | None = None,
    ) -> None:
        spec = make_spec(
            layer_sizes=layer_sizes,
            activation=activation,
            output_activation=output_activation,
            loss=loss,
            reduction=reduction,
            optimizer=optimizer,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            dropout=dropout,
            clip_norm=clip_norm,
            batch_size=batch_size,
        )
        self._model = Model.make(
            spec,
            shuffle=shuffle,
            dtype=dtype,
            seed=seed,
            backend=backend,
            n_threads=n_threads,
            history_limit=history_limit,
        )
        self._model.begin(init)

    @classmethod
    def _of(cls, model: Model) -> Self:
        """A trainer of this model, whose arrays become its own."""
        made = cls.__new__(cls)
        made._model = model
        return made

    # What a user may look at.

    @property
    def parameters(self) -> Array:
        """All weights and biases, one flat vector: (P,), the net's own memory."""
        return self._model.state.params

    @property
    def weights(self) -> tuple[Array, ...]:
        """Views of the weights, (n_in, n_out) each: ``weights[0][:] = W`` writes to the net."""
        return Views(self._model.spec.split(self._model.state.params)[0])

    @property
    def biases(self) -> tuple[Array, ...]:
        """Views of the biases, (n_out,) each."""
        return Views(self._model.spec.split(self._model.state.params)[1])

    @property
    def weight_decay(self) -> float:
        """What times W is added to the gradient."""
        return self._model.spec.weight_decay

    @property
    def dropout(self) -> tuple[float, ...]:
        """The probability with which a unit is dropped, of each hidden layer."""
        return self._model.spec.dropout

    @property
    def seed(self) -> int | None:
        """
        The seed, which makes the same net again where none was given too.

        None of a trainer that was read from a file.
        """
        return self._model.seed

    @property
    def history_limit(self) -> int | None:
        """How many of the last epochs `history` keeps; None for all."""
        return self._model.course.limit

    @property
    def epochs_trained(self) -> int:
        """Epochs trained, over all calls of `fit`."""
        return self._model.state.epochs

    @property
    def learning_rate(self) -> LearningRate:
        """The learning rate; a new one holds from the next `fit` on, in a callback at once."""
        return self._model.spec.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: LearningRate | None) -> None:
        self._model.spec = with_learning_rate(self._model.spec, value)
        self._model.state.plateau = ()

    @property
    def history(self) -> History:
        """The course of all fits, one after the other; during a fit, with its epochs so far."""
        return self._model.course.history()

    def _whole(self) -> Model:
        """
        The model with whole epochs, whoever asks, and whatever fit is under way.

        Its arrays are the trainer's own where nobody can change them meanwhile.
        """
        with running.changing():
            state, done, kept = self._model.state, None, self._states()
            whole: Whole | None = running.published(self)
            if whole is not None:
                state, done, kept = whole.snapshot.state(state), whole.done, whole.kept
            elif running.may_change(self):
                state = state.snapshot().state(state)
            course = Course(self._model.course.limit, self._model.course.history(done))
            return as_copy(self._model, state=state, course=course, kept=kept)

    def __getstate__(self) -> dict[str, Any]:
        # A copy is in no fit.
        return pickles.stamped(self.__dict__ | {"_model": self._whole(), "_under_way": None})

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(pickles.opened("Trainer", state))

    def __copy__(self) -> Self:
        # Two trainers never share what training changes.
        return copy.deepcopy(self)

    def _go_back_to(self, whole: Whole) -> None:
        """Return to the last state that a fit published: see `jitprop.training.running`."""
        self._under_way, self._model.kept = None, whole.kept
        self._model.course.end(whole.done)
        self._model.state.restore(whole.snapshot)

    def __repr__(self) -> str:
        s = self._model.spec
        return (
            f"Trainer({list(s.layer_sizes)}, activations={list(s.activations)}, loss={s.loss}, "
            f"optimizer={s.optimizer!r}, learning_rate={checks.plain(s.learning_rate)}, "
            f"epochs_trained={self._model.state.epochs})"
        )

    # What a user does.

    def set_parameters(
        self, weights: Sequence[npt.ArrayLike], biases: Sequence[npt.ArrayLike]
    ) -> None:
        """
        Copy weights and biases into the net; the optimizer's state stays.

        Parameters
        ----------
        weights : sequence of (n_in, n_out) arrays
        biases : sequence of (n_out,) arrays

        Raises
        ------
        TypeError, ValueError
            For another number of arrays, another shape, or values that are not finite numbers.
        """
        self._model.set_parameters(weights, biases)

    @hinting("Trainer.fit")
    @running.one_at_a_time("trainer")
    def fit(
        self,
        X: npt.ArrayLike | Given,
        y: npt.ArrayLike | None = None,
        epochs: int | None = None,
        *,
        epochs_total: int | None = None,
        sample_weight: npt.ArrayLike | None = None,
        validation_data: Sequence[npt.ArrayLike] | None = None,
        validation_fraction: float | None = None,
        metrics: str | Metric | Sequence[str | Metric] = (),
        callbacks: Callback | OnEpochEnd | Sequence[Callback | OnEpochEnd] = (),
        order: Order | None = None,
        progress: bool = False,
    ) -> History:
        """
        Train for some epochs; called again it goes on, to the bits of one longer call.

        Parameters
        ----------
        X : (n_samples, n_inputs) array-like, or batches
            Lists, arrays of any real dtype and layout, data frames. Masked values are refused. In a
            frame, categories that are numbers are read as these numbers. Never written to; not
            copied if it is C-contiguous and of the trainer's dtype, nor if it is a `numpy.memmap`
            or a view of one, which else is read and cast some rows at a time.

            Without ``y``, batches: an iterable such as a list or a loader, or a function that
            returns an iterator for each epoch (a generator's, uncalled), of (X, y) or
            (X, y, sample_weight) each, as here. Each is one update, whatever its size;
            ``batch_size`` and ``shuffle`` do not matter then, and the arguments
            ``sample_weight``, ``order`` and ``validation_fraction`` are for arrays.

            Samples that are views of the trainer's parameters are copied first, in a list of
            batches too. Batches that come later are read when they come.
        y : (n_samples, n_outputs) array-like
            Or (n_samples,) for one output, and for class labels 0, 1, ... with "cross_entropy".
        epochs : int
            How many more, at least 1. Callbacks begin anew.
        epochs_total : int, optional
            Instead of ``epochs``: resume, and train until `epochs_trained` is this number, at
            least 1. Callbacks take up the state that they had when the trainer was saved or its
            last fit ended, so that a fit that was interrupted goes on to the bits of one that never
            was; see `Callback.get_state`. The first call may say the same. If so many epochs are
            done already, nothing is trained, and an empty History comes back.
        sample_weight : (n_samples,) array-like, optional
            Numbers w of at least 0, not all 0. A batch's loss is sum w l / sum w over its samples'
            losses l, with ``reduction="sum"`` it is sum w l; so an integer weight does what so many
            equal rows in one batch would do. A batch whose weights are all 0 has the gradient 0.
            A sample of weight 0 may hold any finite numbers: nothing that overflows in it counts.
        validation_data : (X, y) or (X, y, sample_weight), optional
            Samples that are not trained on; after each epoch their loss is taken.
        validation_fraction : float, optional
            Instead of these: the share of the samples to be held out at random, above 0 and below
            1. It is drawn from the trainer's seed, and is the same in every `fit` on the same
            number of samples. What remains, in its order, is what is trained on, a copy if it is in
            memory; ``order`` counts that.
        metrics : names or functions, default none
            Taken after each epoch on the training data, which costs what `predict` does (but not
            on batches), and on the validation data: "mse", "mae", "r2", "accuracy", "log_loss" (see
            `jitprop.metrics`), or functions of (y, prediction) that return a number and go by
            their ``__name__``. ``prediction`` is that of `predict`; y is (n_samples, n_outputs), or
            int labels if labels were given. Samples count alike, whatever their weights.
        callbacks : Callback objects or functions, default none
            Told of each epoch. See `jitprop.Callback`; what they return is ignored, and `stop` ends
            the fit.
        order : (epochs, n_samples) int array or callable, optional
            The samples' order of presentation in each epoch, instead of a shuffle, with
            ``epochs_total`` a row for each of all these epochs; or a function
            that takes the epoch's number (counted from 0 over all calls of `fit`) and returns it.
            It is called ahead of training, for up to a million samples.
        progress : bool, default False
            Draw a bar in a terminal or notebook, at most ten times a second; elsewhere, as in a log
            file, write a line every ten seconds. Needs tqdm (extra ``progress``).

        Returns
        -------
        History
            The epochs of this call; losses with weights are sum w l / sum w over all samples,
            or sum w l. `history` has those of all calls.

        Raises
        ------
        TypeError, ValueError
            For bad input; the trainer is as before. What a function gives for a later epoch is
            seen when its turn comes: the trainer keeps a whole number of epochs before it. So
            it does when a callback or a metric raises an error, which comes out as it is, and
            when batches are bad, come to none, or raise an error.
        DivergenceError
            If the loss becomes inf or nan; the trainer keeps the last good epoch, or with an
            `EarlyStopping` that restores the best one, the parameters of that.
        KeyboardInterrupt
            On Ctrl-C, within 0.3 s however long a batch takes (with the NumPy backend, after the
            operation under way); the trainer keeps its whole epochs, with their history, and the
            next `fit` goes on from there. An `EarlyStopping` that restores the best epoch does so
            here too; ``epochs_total`` resumes with the last one all the same. An error that a
            handler of your own raises, of any signal, ends the fit in the same way. Python runs
            handlers in the main thread alone: a fit in another thread goes on.
        RuntimeError
            From a callback, or from another thread, while the trainer is in a fit. It is raised
            before any input is looked at. Meanwhile other threads may save, copy and pickle the
            trainer: they get its last whole epoch.
        ImportError
            For ``backend="numba"`` where numba cannot be imported, and ``progress`` without tqdm.

        Warns
        -----
        TargetWarning
            Once, if the output activation cannot reach all targets, as a sigmoid does not reach 2.

        Notes
        -----
        What a fit takes beside X and y, in numbers of the trainer's dtype, for P parameters, an
        optimizer that keeps s numbers of each (SGD 0, with momentum 1, Adam 2), batches of m
        samples, U units without the inputs and T threads:

        - (1 + s) P for the net, and as much twice again, to go back to; with callbacks once more,
          for other threads to see;
        - scratch for one batch, m (n_inputs + 3 U + 2 n_outputs + 1) and P for the gradient. On the
          route for wide layers, which narrow ones take too where this is beyond 32 MB, large
          batches of nets that are not large (m >= 512, P <= 256 units, inputs among them) pass in
          chunks instead: for each thread 64 samples take the place of m, and the gradient is
          P ceil(m / 256);
        - on that route copies of the weights: at most 2 P, with chunks for each thread; and for
          each thread 32 times the widest layer, 288 times if that has rows of 4 KB or more.

        To these come 24 bytes an epoch, and 8 more for each number that is watched; with shuffling
        16 a sample or 16 MB if that is more, and an ``order`` or labels of your own once more;
        to a file that is cast, a million numbers of it. The history of a trainer that is fitted
        again and again has room for twice its epochs. Of batches scratch is kept for the largest
        of those whose sizes are within a factor of 2.
        Nothing is allocated for a step or an epoch.
        """
        model = self._model
        n_epochs = int(checks.epochs(epochs, epochs_total, model.state.epochs))
        progress = checks.boolean("progress", progress)
        if validation_data is not None and validation_fraction is not None:
            raise ValueError("validation_data and validation_fraction exclude each other")
        given: Samples | Batches
        presented: Indices | OrderOfEpoch | None = None
        held_out = None
        if y is not None:
            given = model.samples(X, y, sample_weight, model.dtype)
            dtype = given.X.dtype
            if validation_fraction is not None:
                n, seed = len(given.X), model.state.split
                rows, others = validation.hold_out(n, validation_fraction, seed)
                given, held_out = given.take(rows), given.take(others)
                validation.check_counted("validation_fraction", given.weights, held_out.weights)
            check_batch(model.spec, len(given.X))
            if callable(order):
                presented = order
            elif order is not None:
                total = n_epochs if epochs_total is None else epochs_total
                rows = cast.order("order", order, (total, len(given.X)))
                presented = rows[total - n_epochs :]
        else:
            check_batch(model.spec, None)
            given = Batches(X, n_epochs)
            given.refuse(
                sample_weight=sample_weight, validation_fraction=validation_fraction, order=order
            )
            given.unshare(model.state.params)
            dtype = model.dtype or given.first(partial(model.samples, dtype=None)).X.dtype
        names = model.names or cast.names_of(X)
        if validation_data is not None:
            held_out = self._validation(validation_data, dtype, names)
            held_out = held_out.unshared(model.state.params)
        named, resolved = resolve_metrics(metrics), resolve_callbacks(callbacks)
        kept = model.kept if epochs_total is not None else ()
        backend, state = backends.load(model.backend), model.state.cast(dtype)
        source: Source
        if isinstance(given, Samples):
            given = given.unshared(state.params)
            model.warn_of(given)
            watch = Watch(self, backend, model.spec, given, held_out, named, resolved, kept)
            source = Arrays(
                backend,
                model.spec,
                given,
                n_epochs,
                presented,
                model.shuffle,
                model.n_threads,
            )
        else:
            watch = Watch(self, backend, model.spec, None, held_out, named, resolved, kept)
            make = partial(self._batch, batches=given, dtype=dtype)
            source = Stream(backend, model.spec, given, make, model.n_threads)
        fit = Fit(source, state, n_epochs, lambda: model.spec.learning_rate, watch)
        bar = Progress(n_epochs) if progress else None
        under_way = running.of(self)
        with Interrupts() as interrupts:  # so that state and history always have the same epochs
            with running.changing():
                fit.record = model.course.begin(n_epochs, watch.names)
                before = model.state, model.dtype, model.names
                model.state, model.dtype = state, dtype
                model.names = names
                self._under_way = fit
            try:
                with one_blas_thread():
                    fit.run(under_way, interrupts, bar)
            finally:
                with running.changing():
                    under_way.publish(None)
                    self._under_way = None
                    model.course.end()
                    if fit.record.done == 0:  # the first epoch settles the dtype and the names
                        model.state, model.dtype, model.names = before
                    if fit.kept is not None:
                        model.kept = fit.kept
        return fit.record.history()

    def partial_fit(
        self, X: npt.ArrayLike, y: npt.ArrayLike, *, sample_weight: npt.ArrayLike | None = None
    ) -> Trainer:
        """
        Train for one epoch on some samples, of many that come in parts.

        As ``fit(X, y, 1)`` does: in batches of ``batch_size``, shuffled if ``shuffle`` says so. It
        counts as an epoch, in `history` and for a schedule of the learning rate.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`. Labels may be of some classes only. There are no validation data: a
            `ReduceOnPlateau` goes by "loss".

        Returns
        -------
        Trainer
            This one, as of scikit-learn's estimators, so that calls may follow each other. The
            loss is ``history.loss[-1]``.

        Raises
        ------
        TypeError, ValueError, DivergenceError, KeyboardInterrupt, ImportError
            As `fit` does.
        """
        if y is None:
            raise TypeError("y must be an array of real numbers; got None")
        self.fit(X, y, 1, sample_weight=sample_weight)
        return self

    def stop(self) -> None:
        """
        End the fit under way after the epoch that is being trained.

        To be called from a callback, from a metric or another function that the fit calls, or from
        another thread. `fit` then returns as it does after its last epoch. Where nothing is
        watched, epochs are trained in blocks of about a tenth of a second, and the fit ends after
        such a block. Called before the first epoch, as in `Callback.on_fit_begin`, nothing is
        trained. Outside a fit it does nothing: the next fit does not remember it.
        """
        if self._under_way is not None:
            self._under_way.stop()

    def predict(self, X: npt.ArrayLike) -> Array:
        """
        Outputs of the net.

        Parameters
        ----------
        X : (n_samples, n_inputs) array-like

        Returns
        -------
        (n_samples, n_outputs) array, of the trainer's dtype
            With softmax, the probability of each class.

        Raises
        ------
        TypeError, ValueError
            For bad input.
        """
        return self._of_whole_epochs(lambda model: model.predict(X))

    def evaluate(
        self, X: npt.ArrayLike, y: npt.ArrayLike, *, sample_weight: npt.ArrayLike | None = None
    ) -> float:
        """
        The loss, samples combined by ``reduction``.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        float

        Raises
        ------
        TypeError, ValueError
            For bad input.
        """
        return self._of_whole_epochs(lambda model: model.loss(X, y, sample_weight))

    def gradients(
        self, X: npt.ArrayLike, y: npt.ArrayLike, *, sample_weight: npt.ArrayLike | None = None
    ) -> Gradients:
        """
        Loss and gradient of one full batch, by backpropagation; nothing is updated.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        Gradients
            ``loss``, and ``weights`` and ``biases``, lists of arrays shaped as the trainer's: the
            derivatives of ``loss``, so without weight decay.

        Raises
        ------
        TypeError, ValueError
            For bad input.
        """
        loss, gradient = self._of_whole_epochs(lambda model: model.gradient(X, y, sample_weight))
        return Gradients(loss, *self._model.spec.split(gradient))

    def trace(
        self, x: npt.ArrayLike, y: npt.ArrayLike, *, sample_weight: npt.ArrayLike | None = None
    ) -> Trace:
        """
        One update on these samples as one batch, with every number in sight; nothing is changed.

        Parameters
        ----------
        x : (n_samples, n_inputs) array-like, or one sample, (n_inputs,)
        y : as in `fit`, or of the one sample: (n_outputs,) array-like, or its class label
        sample_weight : as in `fit`

        Returns
        -------
        Trace
            Every z, a and delta, the gradients, and what `fit` with this batch would add to each
            parameter; with the formula of each. It is shown as a table. With dropout, units are
            dropped that the next update would drop, of which `gradients` knows nothing.

        Raises
        ------
        TypeError, ValueError
            For bad input.
        DivergenceError
            If the loss or an updated parameter is inf or nan.

        Notes
        -----
        Computed by `jitprop.reference`, for any backend; the kernels' numbers are the same up to
        the order of their sums.

        Examples
        --------
        >>> trainer = Trainer([1, 1], init=([[[2.0]]], [[0.0]]), output_activation="identity")
        >>> trace = trainer.trace([3.0], [5.0])
        >>> trace.formulas["delta[0]"], trace.delta[0]
        ("(a[1] - y) * identity'(z[0])", array([[1.]]))
        >>> trace.update_weights[0]
        array([[-0.3]])
        """
        return trace(self._whole(), x, y, sample_weight)

    def save(self, path: str | os.PathLike[str]) -> None:
        """
        Write all that is needed to go on training to the same bits, as one file.

        The file is in the safetensors format, its layout is in `jitprop.files.saving` and
        `jitprop.files.sealed`. It is whole or not there: if the process or the machine stops
        meanwhile, the file that was at ``path`` stays as it was. A process that is killed may
        leave a ``.jitprop-*.tmp`` beside it.

        While the trainer is in a fit, what is saved is the end of its last whole epoch; a callback
        saves the trainer as it is.

        Parameters
        ----------
        path : str or path-like
            A file that is there is replaced. The new one has its owner, group and permissions;
            where the system forbids the old group, the new group may do only what all others may.
            Nobody who may not read the old one may read the new one meanwhile.

        Raises
        ------
        OSError
            As `open` and writing do, naming the file: no such folder, no permission, no space. A
            file that may not be written to, such as one of mode 0444, is not replaced. Nor is one
            that a symbolic link leads to which belongs to another user and stands in a folder that
            its group or all may write to.
        ValueError
            If the parameters are not finite.

        Notes
        -----
        The arrays are written as they are: saving takes little memory beside them.
        """
        saving.write(path, self._whole())

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, custom_objects: Mapping[str, Any] | None = None
    ) -> Self:
        """
        The trainer that was saved: it goes on as if never stopped, to the bit.

        A subclass loads as itself, without a call of its ``__init__``.

        Nothing in the file is run, and room is made only for what the file has the size to hold.

        Parameters
        ----------
        path : str or path-like
        custom_objects : dict of str to object, optional
            Functions and objects of your own that the trainer was made with. A file holds their
            names alone.

        Returns
        -------
        Trainer

        Raises
        ------
        CheckpointError
            For a file that `save` did not write, or a newer version did; that is truncated or
            altered; that has settings or a state which no `save` writes; or that needs
            ``custom_objects``. It says which file, and why.
        OSError
            Where there is no such file, or it may not be read.
        MemoryError
            Where there is too little memory for the net, naming the file.
        TypeError
            For ``custom_objects`` that are no dict.

        Notes
        -----
        The inputs of a net that ``jitprop train`` made are not the columns of a table: numbers are
        standardised, and each category is an input. Such a net warns when it is given a data frame.
        ``jitprop predict`` prepares the columns.
        """
        model, _ = saving.read(path, custom_objects)
        return cls._of(model)

    # How it is done.

    def _states(self) -> Sequence[Kept]:
        """What callbacks keep, of the fit under way or of the last one."""
        under_way = self._under_way
        return self._model.kept if under_way is None else under_way.watch.callbacks.states()

    def _batch(
        self, X: Any, y: Any, sample_weight: Any, batches: Batches, dtype: np.dtype[Any]
    ) -> Samples:
        """A batch of a stream, checked and cast."""
        samples = self._model.samples(X, y, sample_weight, dtype)
        self._model.names = self._model.names or cast.names_of(X)
        if batches.epoch == 0:  # a tenth of the time of a small batch
            self._model.warn_of(samples)
        return samples

    def _validation(
        self, data: Any, dtype: np.dtype[Any], names: tuple[str, ...] | None
    ) -> Samples:
        """The same of ``validation_data``, whose columns have the ``names`` of those of X."""
        parts = validation.parts(data)
        try:
            cast.check_names(parts[0], names)
            return self._model.samples(*parts, dtype)
        except (TypeError, ValueError) as error:
            raise type(error)(f"in validation_data, {error}") from None

    def _of_whole_epochs(self, compute: Callable[[Model], R]) -> R:
        """
        Compute something from the model, whose parameters are those of a whole epoch.

        In the fit of another thread they are what that fit has published. If such a fit began
        meanwhile and changed them, it is computed again, from a copy. To copy them first in every
        call would cost as much as to predict one sample.
        """
        model, state = self._model, self._model.state
        whole: Whole | None = running.published_elsewhere(self)
        if whole is not None:
            return compute(replace(model, state=whole.snapshot.state(state)))
        updates = state.updates
        made = compute(model)
        if state.updates == updates and running.published_elsewhere(self) is None:
            return made
        return compute(self._whole())


def trainer_of(model: Model) -> Trainer:
    """Return a trainer of this model, whose arrays become its own."""
    return Trainer._of(model)
