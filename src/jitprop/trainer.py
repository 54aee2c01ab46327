"""The trainer. It checks and casts its input once, and a backend computes."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal, NamedTuple, Self, TypeAlias, TypeVar, overload

import numpy as np
import numpy.typing as npt

from jitprop import backends, checks
from jitprop._types import Array
from jitprop.data import cast, validation
from jitprop.data.batches import Batches, Given
from jitprop.data.samples import Samples
from jitprop.files import pickles, saving
from jitprop.hints import hinting
from jitprop.interrupts import Interrupts
from jitprop.metrics import Metric
from jitprop.metrics import resolve as resolve_metrics
from jitprop.net import schedules
from jitprop.net.activations import Activation
from jitprop.net.losses import Loss
from jitprop.net.optimizers import Optimizer
from jitprop.net.scales import scales
from jitprop.net.schedules import LearningRate, is_known
from jitprop.net.second_order import has_ended, is_second_order, reason
from jitprop.net.spec import check_batch, make_spec, with_learning_rate
from jitprop.teaching.trace import Trace, trace
from jitprop.training import running
from jitprop.training.attributes import Attributes, Views
from jitprop.training.callbacks import Callback, OnEpochEnd
from jitprop.training.callbacks import resolve as resolve_callbacks
from jitprop.training.fitting import Fit, Whole
from jitprop.training.history import Course, History, Room
from jitprop.training.kept import Kept
from jitprop.training.model import Model, as_copy
from jitprop.training.progress import Progress
from jitprop.training.sources import Arrays, Indices, Source, Stream
from jitprop.training.sources import Order as OrderOfEpoch
from jitprop.training.watching import Watch

R = TypeVar("R")
Factors: TypeAlias = "Sequence[float | Sequence[float]] | npt.NDArray[Any]"
Order: TypeAlias = "npt.ArrayLike | Callable[[int], npt.ArrayLike]"


class Gradients(NamedTuple):
    """
    The loss of one batch and its gradients by all weights and biases, in the trainer's dtype.

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

    With a[0] = X, layer l computes a[l + 1] = f_l(a[l] @ W[l] + b[l]). The loss of a sample is the
    sum over its outputs. The loss of a batch is the mean or the sum of its samples' losses, as
    ``reduction`` says. Gradients are the exact derivatives of the batch's loss.

    Parameters
    ----------
    layer_sizes : sequence of int
        The number of units of each layer, from the inputs to the outputs: at least two layers.
    activation : str, object or sequence of them, default "sigmoid"
        One for all hidden layers, or one for each: "sigmoid", "tanh", "relu", "leaky_relu" (slope
        0.01), "elu" (alpha 1), "selu" (initialised with "lecun_normal"), "softplus", "gelu"
        (z times the normal distribution), "gelu_tanh" (its approximation), "silu", "mish",
        "softsign", "hard_sigmoid", "identity"; a `LeakyReLU`, `ELU` or `Softplus` with another
        number; or a `CustomActivation`.
    output_activation : str or object, default "sigmoid"
        One of these, "exp", or "softmax". Softmax needs the loss "cross_entropy".
    loss : str or Loss, default "half_squared_error"
        The loss of a sample with outputs a and targets y, as a name or as an object with settings:

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
        Whether the loss of a batch, and so its gradient, is the mean or the sum over its samples.
    optimizer : str or object, default "sgd"
        "sgd", "adam", "adamw", "rmsprop" or "rprop"; or a second-order method, "lm" of Levenberg
        and Marquardt, "bayesian", "scg" or "lbfgs". With settings: an `SGD`, `Adam`, `AdamW`,
        `RMSprop`, `Rprop`, `LevenbergMarquardt`, `BayesianRegularization`,
        `ScaledConjugateGradient` or `LBFGS`.
    learning_rate : float, schedule, callable or None, default None
        A number above 0, or a `Step`, `Exponential`, `InverseScaling`, `Cosine` (with warm-up),
        `OneCycle`, `CosineLog` or `ReduceOnPlateau`. Or an `EachUpdate` of one, which is asked
        before each update. Or a function that takes the epoch's number, counted from 0
        over all calls of `fit`, and returns the rate of that epoch, at least 0. It is called once
        for each epoch, before the epoch is trained. None is 0.1 for SGD and Rprop, and 0.001 for
        Adam, AdamW and RMSprop. A second-order method takes None alone, and shows 1.0. The
        attribute can be set between calls of `fit` and by callbacks.
    weight_decay : float, default 0.0
        Adds ``weight_decay * W`` to the gradient of the weights, but not to that of the biases.
        `AdamW` applies it in another way. A second-order method minimises the loss and
        1/2 ``weight_decay`` sum W**2. Losses and `gradients` do not contain it.
    decay_biases : bool, default False
        Whether ``weight_decay`` acts on biases as it does on weights, as in PyTorch, Keras, optax
        and R's nnet. `BayesianRegularization` takes False alone: it lets all parameters decay.
    dropout : float or sequence of float, default 0.0
        One for all hidden layers, or one for each, in [0, 1). It is the probability p with which a
        unit is left out of an update, drawn anew for each sample. The other units are multiplied by
        1 / (1 - p), so `predict`, `evaluate` and `gradients` use no dropout (Srivastava et al.,
        *Dropout*, JMLR 15, 2014). The losses that `fit` reports are those with dropout.
    clip_norm : float or None, default None
        The largest norm of a batch's gradient g, above 0. The norm sqrt(sum g**2) is that of all
        weights and biases together, before weight decay. A gradient with a larger norm is
        multiplied by clip_norm / norm. This is Keras' global_clipnorm. PyTorch's
        ``clip_grad_norm_`` also adds 1e-6 to the norm. Losses and `gradients` are not clipped. In
        float64 the square of a norm beyond 1e154 overflows, and the norm is taken for inf: such a
        batch changes the parameters by momentum and weight decay alone.
    learning_rate_factors : sequence of float or (float, float), optional
        An entry for each layer of weights, from the inputs on: what its learning rate is multiplied
        by, one number, or a pair for its weights and for its biases, each at least 0. It is the
        rate that the optimizer uses, also for the decay of `AdamW`: this is a parameter group of
        PyTorch. With 0 the parameters stay as they are, bit for bit, and so does what the optimizer
        keeps for them. ``clip_norm`` counts their gradient all the same. None is 1 for all. `Rprop`
        and second-order methods take None alone.
    input_scale_rate : float or None, default None
        A number above 0 gives each input a scale s that is trained too. The first weights then are
        W = diag(s) V: training changes V and s, and ``parameters`` holds W. With the gradient G of
        the loss by W, those by V and s are diag(s) G and sum_j V_ij G_ij. The optimizer updates
        both, V by the rate of the first weights, and s by the learning rate times this number.
        ``weight_decay`` acts on V, and not on s. ``clip_norm`` counts G. `input_scales` returns s,
        which begins with 1, and also begins anew with 1 where W has been set since the last
        update, as by `set_parameters` or by an `EarlyStopping` that restores the best epoch. It
        takes 2 P numbers more, rarely up to 4 P. `Rprop` and second-order methods take None alone.
        Source: the scaling layer of RealMLP (Holzmüller, Grinsztajn and Steinwart, *Better by
        Default*, NeurIPS 2024).
    batch_size : int or None, default None
        Samples of an update. A shorter last batch is trained too. None is all samples. `Rprop` and
        second-order methods need all samples in one batch.
    shuffle : bool, default True
        Whether each epoch presents the samples in a new random order. Full batches are not
        shuffled, because their gradient does not depend on the order.
    dtype : {None, "float32", "float64"} or NumPy dtype, default None
        The dtype of parameters and computation. With None the first `fit` decides: float32 if its X
        is float32, else float64.
    seed : int or None, default None
        The seed of the initial parameters, the shuffles and the dropped units. None takes a seed
        from the operating system.
    init : str or (weights, biases), default "glorot_uniform"
        "glorot_uniform", "glorot_normal", "he_uniform", "he_normal" or "lecun_normal", with biases
        0. "uniform" draws all weights and biases from [0, 1). A seed draws the same bits on every
        machine. Or the arrays themselves, as in `set_parameters`.
    backend : {"auto", "numba", "numpy"}, default "auto"
        "auto" is numba, or NumPy with a warning if numba cannot be imported.
    n_threads : int or None, default None
        The largest number of threads. In a fit they serve the route for wide layers, and each gets
        at least 32 samples of a batch. In `predict`, `evaluate` and `gradients` each gets 256
        samples at a time. None uses as many as there is work for and the process may use. While
        other processes need the processor that may be one. Results do not depend on it, bit for
        bit. The NumPy backend has one thread.
    history_limit : int or None, default None
        `history` keeps at most so many of the last epochs, at least 1. None keeps all. With a
        limit, memory, files and pickles do not grow, however long `partial_fit` goes on. What `fit`
        returns has all epochs of the call.

    Attributes
    ----------
    parameters : (P,) array, float32 or float64
        W[0] (row by row), b[0], W[1], b[1], ... It stays the same array, with two exceptions. If
        ``dtype`` is None, a first `fit` on float32 samples replaces it. And `fit` replaces a
        read-only array by a copy.
    weights, biases : tuples of arrays
        Views of the parameters, (n_in, n_out) and (n_out,). Writing to them changes the net.
    learning_rate : float, schedule or callable
        The only setting that can be changed. The other settings can be read under their names:
        ``loss`` and ``optimizer`` as objects, ``activation`` and ``dropout`` as tuples. ``seed`` is
        an int, also if it was drawn.
    feature_names_in_ : (n_inputs,) array of str
        The names of the columns, after a fit with a data frame. Later frames must have the same
        names in the same order.
    epochs_trained : int
        How many epochs were trained, over all calls of `fit`.

    Raises
    ------
    TypeError, ValueError
        For a bad argument. The message says its name, what was expected and what it got.

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
        activation: Activation | Sequence[Activation] = "sigmoid",
        output_activation: Activation = "sigmoid",
        loss: str | Loss = "half_squared_error",
        reduction: str = "mean",
        optimizer: str | Optimizer = "sgd",
        learning_rate: LearningRate | None = None,
        weight_decay: float = 0.0,
        decay_biases: bool = False,
        dropout: float | Sequence[float] = 0.0,
        clip_norm: float | None = None,
        batch_size: int | None = None,
        learning_rate_factors: Factors | None = None,
        input_scale_rate: float | None = None,
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
            decay_biases=decay_biases,
            dropout=dropout,
            clip_norm=clip_norm,
            batch_size=batch_size,
            learning_rate_factors=learning_rate_factors,
            input_scale_rate=input_scale_rate,
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
        """Make a trainer of this model, with the model's arrays, not copied."""
        made = cls.__new__(cls)
        made._model = model
        return made

    # Attributes.

    @property
    def parameters(self) -> Array:
        """All weights and biases in one flat vector, (P,). The array is the net's own memory."""
        return self._model.state.params

    @property
    def weights(self) -> tuple[Array, ...]:
        """Views of the weights, each (n_in, n_out). ``weights[0][:] = W`` writes to the net."""
        return Views(self._model.spec.split(self._model.state.params)[0])

    @property
    def biases(self) -> tuple[Array, ...]:
        """Views of the biases, each (n_out,)."""
        return Views(self._model.spec.split(self._model.state.params)[1])

    @property
    def weight_decay(self) -> float:
        """The factor of W that is added to the gradient of the weights."""
        return self._model.spec.weight_decay

    @property
    def dropout(self) -> tuple[float, ...]:
        """The probability with which a unit is dropped, for each hidden layer."""
        return self._model.spec.dropout

    @property
    def input_scales(self) -> Array:
        """A copy of the scales of the inputs, (n_inputs,): 1 without an ``input_scale_rate``."""
        state = self._model.state
        return scales(self._model.spec, state.params, state.slots)

    @property
    def seed(self) -> int | None:
        """
        The seed, which makes the same net again, also if it was drawn.

        It is None for a trainer that was read from a file.
        """
        return self._model.seed

    @property
    def history_limit(self) -> int | None:
        """How many of the last epochs `history` keeps. None is all."""
        return self._model.course.limit

    @property
    def epochs_trained(self) -> int:
        """How many epochs were trained, over all calls of `fit`."""
        return self._model.state.epochs

    @property
    def learning_rate(self) -> LearningRate:
        """
        The learning rate, or its schedule.

        A new one takes effect in the next `fit`. One that a callback sets takes effect in the next
        epoch.
        """
        return self._model.spec.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: LearningRate | None) -> None:
        self._model.spec = with_learning_rate(self._model.spec, value)
        self._model.state.plateau = ()

    @property
    def history(self) -> History:
        """
        The history of all fits, one after the other. During a fit it has its epochs so far.

        Its ``ended`` is why a second-order method ended in the last fit. It is known of a trainer
        that was read from a file, too.
        """
        model = self._model
        history = model.course.history()
        ended = reason(model.spec.optimizer, model.state.slots)
        return replace(history, ended=ended) if ended else history

    def _whole(self) -> Model:
        """
        Return the model at the end of a complete epoch.

        During a fit it has the state that the fit has published. Only the fit's callbacks get the
        trainer as it is. The arrays are the trainer's own only if nothing can change them
        meanwhile. Otherwise they are copies.
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
        # A fit of this trainer is not a fit of its copy.
        return pickles.stamped(self.__dict__ | {"_model": self._whole(), "_under_way": None})

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(pickles.opened("Trainer", state))

    def __copy__(self) -> Self:
        # Two trainers never share what training changes.
        return copy.deepcopy(self)

    def _go_back_to(self, whole: Whole) -> None:
        """Go back to the state that a fit published last. See `jitprop.training.running`."""
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

    # Methods.

    def set_parameters(
        self, weights: Sequence[npt.ArrayLike], biases: Sequence[npt.ArrayLike]
    ) -> None:
        """
        Copy weights and biases into the net. The optimizer's state does not change.

        Parameters
        ----------
        weights : sequence of (n_in, n_out) array-likes
        biases : sequence of (n_out,) array-likes

        Raises
        ------
        TypeError, ValueError
            For a wrong number of arrays, a wrong shape, or values that are not finite numbers.
        """
        self._model.set_parameters(weights, biases)

    @hinting("Trainer.fit")
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
        Train for some epochs. Another call goes on, bit for bit as one longer call would.

        Parameters
        ----------
        X : (n_samples, n_inputs) array-like, or batches
            Lists, arrays of any real dtype and layout, or data frames. Masked values are refused.
            In a frame, categories that are numbers are read as these numbers. X is never written
            to. It is not copied if it is C-contiguous and of the trainer's dtype. A `numpy.memmap`
            or a view of one is not copied either: where it must be cast, some rows are read at a
            time.

            Without ``y``, X gives batches of (X, y) or (X, y, sample_weight). It is an iterable,
            such as a list or a loader, or a function that returns an iterator for each epoch, such
            as a generator function. Each batch is one update, whatever its size. ``batch_size`` and
            ``shuffle`` have no effect then, and ``sample_weight``, ``order`` and
            ``validation_fraction`` are refused.

            Samples that are views of the trainer's parameters are copied first, in a list of
            batches too. Batches of an iterator are read when they come.
        y : (n_samples, n_outputs) array-like
            Or (n_samples,) for one output, and for class labels 0, 1, ... with "cross_entropy".
        epochs : int
            How many more epochs to train, at least 1. Callbacks start anew. A second-order method
            may end earlier; in the next call it begins anew.
        epochs_total : int, optional
            In place of ``epochs``: resume, and train until `epochs_trained` is this number, at
            least 1. A second-order method that has ended stays so, and nothing is trained.
            Callbacks resume from the states that they had when the trainer was saved or its last
            fit ended. So an interrupted fit goes on as if it had not been interrupted, bit for bit;
            see `Callback.get_state`. The first call may use ``epochs_total`` too. If so many epochs
            are done already, nothing is trained, and the History is empty.
        sample_weight : (n_samples,) array-like, optional
            Weights w of at least 0, not all 0. With losses l of its samples, the loss of a batch is
            sum w l / sum w, or sum w l with ``reduction="sum"``. So an integer weight has the
            effect of so many equal rows in one batch. A batch whose weights are all 0 has the
            gradient 0. A sample of weight 0 may have any finite numbers: overflows in it do not
            count.
        validation_data : (X, y) or (X, y, sample_weight), optional
            Samples that are not trained on. After each epoch the loss on them is computed.
        validation_fraction : float, optional
            In place of ``validation_data``: the fraction of the samples to hold out at random,
            above 0 and below 1. The choice is drawn from the trainer's seed. It is the same in
            every `fit` on the same number of samples. The other samples keep their order, and are
            copied if they are in memory. ``order`` is that of these samples.
        metrics : str, function or list of these, default ()
            Computed after each epoch on the training data and on the validation data. On the
            training data it takes as long as `predict`; training data that come in batches have no
            metrics. Names are "mse", "mae", "r2", "accuracy" and "log_loss" (see
            `jitprop.metrics`). With ``"validation_"`` before it, as in "validation_accuracy", a
            metric is computed on the validation data alone. Functions take (y, prediction), return
            a number, and are named by their ``__name__``. ``prediction`` is what `predict` returns.
            y is (n_samples, n_outputs), or int labels if labels were given. Metrics ignore the
            weights of samples.
        callbacks : Callback, function or list of these, default ()
            Called after each epoch; see `jitprop.Callback`. With one `EarlyStopping` and no other
            callback, many epochs are trained in one call of the kernels, with the same results.
            Return values are ignored. `stop` ends the fit.
        order : (epochs, n_samples) int array or callable, optional
            The order in which each epoch presents the samples, in place of a shuffle. With
            ``epochs_total`` the array has a row for each of all these epochs. Or a function that
            takes the epoch's number, counted from 0 over all calls of `fit`, and returns the order.
            It is called ahead of training, for up to a million samples.
        progress : bool, default False
            Show a progress bar in a terminal or notebook, drawn at most ten times a second. In
            other outputs, such as a log file, write a line every ten seconds. It needs tqdm
            (``pip install 'jitprop[progress]'``).

        Returns
        -------
        History
            The epochs of this call. With weights the losses are sum w l / sum w over all samples,
            or sum w l. `history` has the epochs of all calls.

        Raises
        ------
        TypeError, ValueError
            For bad input. The trainer does not change. What a function returns for a later epoch is
            checked when it is called: then the trainer keeps the complete epochs before. The same
            holds if a callback or a metric raises an error, which `fit` passes on, and if batches
            are bad, are empty or raise an error.
        DivergenceError
            If the loss becomes inf or nan. The trainer keeps the last good epoch. With an
            `EarlyStopping` that restores the best epoch, it has the parameters of that epoch.
        KeyboardInterrupt
            On Ctrl-C, within 0.3 s however long a batch takes (with the NumPy backend, after the
            operation under way); the trainer keeps its whole epochs, or blocks of epochs, with
            their history, and the next `fit` goes on from there. An `EarlyStopping` that restores
            the best epoch does so here too; ``epochs_total`` resumes with the last one all the
            same. An error that a handler of your own raises, of any signal, ends the fit in the
            same way. Python runs handlers in the main thread alone: a fit in another thread goes
            on.
        RuntimeError
            If the trainer is in a fit already, from a callback or from another thread. It is raised
            before the input is checked. Other threads may save, copy and pickle the trainer during
            a fit. They get the end of its last complete epoch.
        ImportError
            For ``backend="numba"`` if numba cannot be imported, and for ``progress`` without tqdm.

        Warns
        -----
        TargetWarning
            Once, if the output activation cannot reach all targets: a sigmoid cannot reach 2.

        Notes
        -----
        Memory beside X and y, in numbers of the trainer's dtype. The net has P parameters, U units
        besides the inputs, and a widest layer of w units. The optimizer keeps s numbers for each
        parameter (SGD 0, SGD with momentum 1, Adam 2). Batches have m samples:

        ============================================  ======================================
        What                                          Numbers
        ============================================  ======================================
        the net                                       (1 + s) P
        two copies, to go back to                     2 (1 + s) P
        with callbacks, a copy for other threads      (1 + s) P
        scratch for a batch                           m (n_inputs + 3 U + 2 n_outputs + 1)
        the gradient                                  P
        wide layers: copies of the weights            at most 2 P
        wide layers: each thread                      32 w; 288 w if rows of w are 4 KB or more
        ============================================  ======================================

        Narrow layers take the route for wide ones too, if the scratch for a batch is beyond 32 MB.
        On this route batches of 512 samples or more pass in chunks, if P is at most 256 times the
        number of units, inputs included. Then each thread has scratch for 64 samples in place of m,
        and its own copies of the weights. The gradients take P ceil(m / 256) numbers.

        Further memory:

        ============================================  ======================================
        What                                          Memory
        ============================================  ======================================
        history                                       24 bytes an epoch
        each further number that is watched           8 bytes an epoch
        shuffling                                     16 bytes a sample, or 16 MB if more
        an ``order``, or labels                       a copy
        a file that must be cast                      a million numbers
        named metrics                                 a million numbers, or one epoch's predictions
        ============================================  ======================================

        A second-order method takes further memory, as its class says.

        The history of a trainer that is fitted again and again has room for twice its epochs. For
        batches, scratch is kept for the largest of those whose sizes are within a factor of 2. A
        step or an epoch allocates nothing. Between calls a trainer keeps the scratch of the last
        four numbers of samples, each of at most 1 MB.
        """
        alone = sample_weight is None and validation_data is None and validation_fraction is None
        alone = alone and order is None and epochs_total is None and progress is False
        alone = alone and isinstance(metrics, tuple) and isinstance(callbacks, tuple)
        once = type(epochs) is int and epochs == 1
        if once and alone and not metrics and not callbacks and (room := self._fit_briefly(X, y)):
            return room.history()
        with running.fit_of(self, "trainer"):
            model = self._model
            n_epochs = int(checks.epochs(epochs, epochs_total, model.state.epochs))
            if epochs_total is not None and has_ended(model.spec.optimizer, model.state.slots):
                n_epochs = 0
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
                    sample_weight=sample_weight,
                    validation_fraction=validation_fraction,
                    order=order,
                )
                given.unshare(model.state.params)
                dtype = model.dtype or given.first(partial(model.samples, dtype=None)).X.dtype
            names = model.names or cast.names_of(X)
            if validation_data is not None:
                held_out = self._validation(validation_data, dtype, names)
                held_out = held_out.unshared(model.state.params)
            named = resolve_metrics(metrics, validation_alone=True)
            resolved = resolve_callbacks(callbacks)
            kept = model.kept if epochs_total is not None else ()
            backend, state = backends.load(model.backend), model.state.cast(dtype)
            source: Source
            if isinstance(given, Samples):
                given = given.unshared(state.params)
                model.warn_of(given)
                watch = Watch(self, backend, model, given, held_out, named, resolved, kept)
                source = Arrays(
                    backend,
                    model.spec,
                    given,
                    n_epochs,
                    presented,
                    model.shuffle,
                    model.n_threads,
                    model.nets,
                )
            else:
                watch = Watch(self, backend, model, None, held_out, named, resolved, kept)
                make = partial(self._batch, batches=given, dtype=dtype)
                source = Stream(backend, model.spec, given, make, model.n_threads)
            fit = Fit(source, state, n_epochs, lambda: model.spec.learning_rate, watch)
            bar = Progress(n_epochs) if progress else None
            under_way = running.of(self)
            with Interrupts() as interrupts:  # state and history must always have the same epochs
                with running.changing():
                    fit.record = model.course.begin(n_epochs, [*watch.names, *watch.told])
                    if epochs_total is not None:  # a method that has ended stays so
                        fit.record.ended = reason(model.spec.optimizer, state.slots)
                    before = model.state, model.dtype, model.names
                    model.state, model.dtype = state, dtype
                    model.names = names
                    self._under_way = fit
                try:
                    with backends.one_blas_thread(backend, bool(watch)):
                        fit.run(under_way, interrupts, bar)
                        if isinstance(given, Samples):
                            with interrupts.heard():
                                model.find_posterior(given)
                finally:
                    with running.changing():
                        under_way.publish(None)
                        self._under_way = None
                        model.course.end()
                        # The first epoch decides the dtype and the names, or a method's end.
                        if fit.record.done == 0 and not fit.record.ended:
                            model.state, model.dtype, model.names = before
                        if fit.kept is not None:
                            model.kept = fit.kept
            return fit.record.history()

    def partial_fit(
        self, X: npt.ArrayLike, y: npt.ArrayLike, *, sample_weight: npt.ArrayLike | None = None
    ) -> Trainer:
        """
        Train for one epoch on some samples, where the samples come in parts.

        It does what ``fit(X, y, 1)`` does, with ``batch_size`` and ``shuffle``. It counts as an
        epoch, in `history` and for a schedule of the learning rate.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`. Labels need not be of all classes. There are no validation data, so a
            `ReduceOnPlateau` must monitor "loss".

        Returns
        -------
        Trainer
            The trainer itself, as with scikit-learn's estimators. The loss is
            ``history.loss[-1]``.

        Raises
        ------
        TypeError, ValueError, DivergenceError, KeyboardInterrupt, ImportError
            As from `fit`.
        """
        if y is None:
            raise TypeError("y must be an array of real numbers; got None")
        # A subclass may do more in its own `fit`.
        quick = sample_weight is None and type(self).fit is Trainer.fit
        if not quick or not self._fit_briefly(X, y):
            self.fit(X, y, 1, sample_weight=sample_weight)
        return self

    def stop(self) -> None:
        """
        End the current fit after the current epoch.

        A callback, a metric, another function that the fit calls, or another thread may call it.
        `fit` then returns as it does after its last epoch. Without metrics and callbacks of your
        own, the numba backend trains epochs in blocks of about a tenth of a second, and the fit
        ends after the current block; docs/watching.md says when. If it is called before the first
        epoch, as in `Callback.on_fit_begin`, nothing is trained. Outside a fit it has no effect on
        later fits.
        """
        if self._under_way is not None:
            self._under_way.stop()

    @overload
    def predict(self, X: npt.ArrayLike, *, return_std: Literal[False] = False) -> Array: ...

    @overload
    def predict(self, X: npt.ArrayLike, *, return_std: Literal[True]) -> tuple[Array, Array]: ...

    def predict(self, X: npt.ArrayLike, *, return_std: bool = False) -> Array | tuple[Array, Array]:
        """
        Compute the outputs of the net, and how sure it is of them.

        Parameters
        ----------
        X : (n_samples, n_inputs) array-like
        return_std : bool, default False
            Whether to compute standard deviations too. It needs a net that was trained by
            `LevenbergMarquardt` or `BayesianRegularization`, with the loss "half_squared_error" or
            "squared_error", of at most 2,000 parameters. See `Notes`.

        Returns
        -------
        mean : (n_samples, n_outputs) array, of the trainer's dtype
            The outputs. With softmax they are the probabilities of the classes.
        std : array of the same shape and dtype
            Only with ``return_std=True``: the standard deviation of a new observation.

        Raises
        ------
        TypeError, ValueError
            For bad input; and for ``return_std=True`` where nothing is known of it, saying what is
            needed.

        Notes
        -----
        The end of each fit computes the variance s**2 of the noise, and the covariance C of the P
        parameters. With the Jacobian J of the outputs, E_D = 1/2 sum v (a - y)**2 and the number of
        targets N, samples times outputs, they are

        - for `LevenbergMarquardt`: s**2 = 2 E_D / (N - P) and C = s**2 (J.T v J + d I)**-1, with
          the weight decay d in units of E_D. N must be larger than P;
        - for `BayesianRegularization`: s**2 = 1 / beta and C = (beta J.T v J + alpha I)**-1.

        An output with the derivatives g by the parameters has the variance s**2 + g.T C g. It is
        right where the net is nearly linear in the parameters, over their likely errors. v are the
        ``sample_weight``, divided by their mean; s**2 belongs to a new observation of weight 1.
        Where J.T v J is singular, 1e-15 of its largest diagonal number is added to the diagonal.

        C takes 8 P**2 bytes, in the trainer and in its files and copies. It is of no use after the
        parameters have changed, and then it is not saved. A net out of a `Fleet` has none before
        its own `fit`. Sources: Seber and Wild, *Nonlinear Regression*, 1989, section 5.1; MacKay,
        Neural Computation 4, 1992.

        Examples
        --------
        >>> import numpy as np
        >>> from jitprop import Trainer
        >>> X = np.linspace(0.0, 1.0, 50)[:, np.newaxis]
        >>> y = 3.0 * X + 0.1 * np.random.default_rng(0).standard_normal((50, 1))
        >>> trainer = Trainer([1, 1], output_activation="identity", optimizer="lm", seed=0)
        >>> history = trainer.fit(X, y, epochs=50)
        >>> mean, std = trainer.predict([[0.5], [5.0]], return_std=True)
        >>> bool(0.08 < std[0, 0] < 0.12), bool(std[1, 0] > 2 * std[0, 0])
        (True, True)
        """
        if checks.boolean("return_std", return_std):
            return self._of_whole_epochs(lambda model: model.predict_with_std(X))
        found = self._briefly(X, lambda brief: brief.predict(X))
        if found is None:
            found = self._of_whole_epochs(lambda model: model.predict(X))
        return found

    def evaluate(
        self, X: npt.ArrayLike, y: npt.ArrayLike, *, sample_weight: npt.ArrayLike | None = None
    ) -> float:
        """
        Compute the loss: the mean or the sum over the samples, as ``reduction`` says.

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
        found = None
        if sample_weight is None:
            found = self._briefly(X, lambda brief: brief.evaluate(X, y))
        if found is None:
            found = self._of_whole_epochs(lambda model: model.loss(X, y, sample_weight))
        return found

    def gradients(
        self, X: npt.ArrayLike, y: npt.ArrayLike, *, sample_weight: npt.ArrayLike | None = None
    ) -> Gradients:
        """
        Compute the loss and the gradients of one full batch by backpropagation. Nothing is updated.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        Gradients
            ``loss``, and its derivatives ``weights`` and ``biases``, lists of arrays with the
            shapes of the trainer's. They do not contain weight decay.

        Raises
        ------
        TypeError, ValueError
            For bad input.
        """
        if sample_weight is None:
            found = self._briefly(X, lambda brief: brief.gradient(X, y))
            if found is not None:
                return Gradients(*found)
        loss, gradient = self._of_whole_epochs(lambda model: model.gradient(X, y, sample_weight))
        return Gradients(loss, *self._model.spec.split(gradient))

    def trace(
        self, x: npt.ArrayLike, y: npt.ArrayLike, *, sample_weight: npt.ArrayLike | None = None
    ) -> Trace:
        """
        Compute one update on these samples as one batch, and show every number. Nothing changes.

        Parameters
        ----------
        x : (n_samples, n_inputs) array-like, or one sample, (n_inputs,)
        y : as in `fit`, or of the one sample: (n_outputs,) array-like, or its class label
        sample_weight : as in `fit`

        Returns
        -------
        Trace
            Every z, a and delta, the gradients, and what `fit` with this batch would add to each
            parameter, with the formula of each. It is shown as a table. With dropout it drops the
            units that the next update would drop, while `gradients` drops none.

        Raises
        ------
        TypeError, ValueError
            For bad input.
        DivergenceError
            If the loss or an updated parameter is inf or nan.

        Notes
        -----
        `jitprop.reference` computes it, for any backend. The kernels' numbers are the same up to
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
        Write one file with all that is needed to go on training bit for bit.

        The file has the safetensors format. `jitprop.files.saving` and `jitprop.files.sealed`
        describe its layout. It is written completely or not at all: if the process or the machine
        stops meanwhile, an older file at ``path`` stays as it was. A process that is killed may
        leave a file ``.jitprop-*.tmp`` beside it.

        During a fit the end of the last complete epoch is saved. A callback saves the trainer as it
        is then.

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
        The arrays are written without a copy, so saving takes little memory besides.
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
            The trainer's custom functions and objects, by name. A file has their names alone.

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
            If ``custom_objects`` is no dict.

        Notes
        -----
        The inputs of a net that ``jitprop train`` made are not the columns of a table: numbers are
        standardised, and each category is an input. Such a net warns when it is given a data frame.
        ``jitprop predict`` prepares the columns.
        """
        model, _ = saving.read(path, custom_objects)
        return cls._of(model)

    # Internals.

    def _briefly(self, X: Any, call: Callable[[Any], R | None]) -> R | None:
        """
        Call a method of a `backends.brief.Brief` for X; None if it cannot do it.

        A fit of another thread may change the parameters meanwhile. So the result is not used if
        such a fit is under way, or has come and gone.
        """
        updates = self._model.state.updates
        if running.is_in_a_fit(self):
            return None
        brief = self._model.brief(X)
        found = None if brief is None else call(brief)
        if found is None:
            return None
        self._model.give_back(brief)
        changed = self._model.state.updates != updates
        return None if changed or running.is_in_a_fit(self) else found

    def _fit_briefly(self, X: Any, y: Any) -> Room | None:
        """
        Train for one epoch of one small batch, if nothing else is to be done.

        Return where its epoch stands in the history; None if it was not done.

        The lock keeps other threads from copying the trainer, or from beginning a fit, meanwhile.
        """
        model, rate = self._model, self._model.spec.learning_rate
        if is_second_order(model.spec.optimizer):
            return None
        if not is_known(rate):
            return None
        began = time.perf_counter()
        with running.changing():
            busy = running.is_in_a_fit(self) or running.updates_here(self)
            if busy or model.dtype is None or model.kept:
                return None
            end = running.updating(self)
            try:
                brief, room = model.brief(X), model.course.room()
                if brief is None or room is None:
                    return None
                schedules.fill(rates := np.empty(1), rate, model.state.epochs)
                rate = float(rates[0])
                room.seconds[room.place] = 0.0
                if not brief.train(X, y, rate, (room.losses, room.rates, room.written)):
                    return None
            finally:
                end()
        room.seconds[room.place] = time.perf_counter() - began
        model.give_back(brief)
        return room

    def _states(self) -> Sequence[Kept]:
        """Return the states of the callbacks, in the current fit or the last one."""
        under_way = self._under_way
        return self._model.kept if under_way is None else under_way.watch.callbacks.states()

    def _batch(
        self, X: Any, y: Any, sample_weight: Any, batches: Batches, dtype: np.dtype[Any]
    ) -> Samples:
        """Check and cast a batch of a stream."""
        samples = self._model.samples(X, y, sample_weight, dtype)
        self._model.names = self._model.names or cast.names_of(X)
        if batches.epoch == 0:  # once is enough: the check takes a tenth of a small batch's time
            self._model.warn_of(samples)
        return samples

    def _validation(
        self, data: Any, dtype: np.dtype[Any], names: tuple[str, ...] | None
    ) -> Samples:
        """Check and cast ``validation_data``. Its columns must have the names of X's columns."""
        parts = validation.parts(data)
        try:
            cast.check_names(parts[0], names)
            return self._model.samples(*parts, dtype)
        except (TypeError, ValueError) as error:
            raise type(error)(f"in validation_data, {error}") from None

    def _of_whole_epochs(self, compute: Callable[[Model], R]) -> R:
        """
        Compute something from the model at the end of an epoch.

        During a fit of another thread it uses the state that the fit has published. If such a fit
        begins or changes the parameters during the computation, the computation is repeated on a
        copy. A copy in every call would take as long as predicting one sample.
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
    """Return a trainer of this model, with the model's arrays, not copied."""
    return Trainer._of(model)
