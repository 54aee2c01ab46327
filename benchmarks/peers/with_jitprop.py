"""jitprop's Trainer."""

from functools import partial
from time import perf_counter

import jitprop

PACKAGES = ("jitprop", "numba", "numpy")


def prepare(work, n_threads=None):
    """Return a function: epochs -> weights, biases, loss of each epoch."""
    X, y = work.data()

    def train(epochs):
        trainer = jitprop.Trainer(
            work.sizes,
            activation=work.activation,
            output_activation=work.activation,
            reduction=work.reduction,
            optimizer=work.optimizer,
            learning_rate=work.learning_rate,
            batch_size=work.batch_size,
            shuffle=False,
            init=work.start(),
            dtype=work.dtype,
            n_threads=n_threads,
        )
        history = trainer.fit(X, y, epochs)
        return trainer.weights, trainer.biases, history.loss

    return train


def calls(net):
    """Return the calls of a net: {name: function}."""
    trainer = jitprop.Trainer(
        net.sizes,
        activation=net.activation,
        output_activation=net.output_activation,
        loss=net.loss,
        learning_rate=net.learning_rate,
        init=net.start(),
        dtype=net.dtype,
    )
    return {
        "predict": trainer.predict,
        "evaluate": trainer.evaluate,
        "gradients": trainer.gradients,
        "partial_fit": trainer.partial_fit,
        "fit": partial(trainer.fit, epochs=1),
        "parameters": lambda: [*trainer.weights, *trainer.biases],
    }


def prepare_fit(problem, clock=perf_counter, n_threads=None):
    """
    Return a function: number of the start, RMSE -> weights, biases, seconds.

    The first call for a start and an RMSE finds out how many epochs it takes.
    """
    epochs = {}

    def fit(number, rmse):
        start, key = problem.start(number), (number, rmse)
        if key not in epochs:
            losses = fitted(problem, start, 1000, n_threads).history.loss
            enough = (i for i, loss in enumerate(losses, 1) if 2 * loss <= rmse**2)
            epochs[key] = next(enough, len(losses))
        began = clock()
        trainer = fitted(problem, start, epochs[key], n_threads)
        seconds = clock() - began
        return trainer.weights, trainer.biases, seconds

    return fit


def fitted(problem, start, epochs, n_threads=None):
    """Return a Trainer that Levenberg-Marquardt has trained on a problem."""
    trainer = jitprop.Trainer(
        problem.sizes,
        activation="tanh",
        output_activation="identity",
        loss="half_squared_error",
        optimizer=jitprop.LevenbergMarquardt(),
        init=start,
        dtype="float64",
        n_threads=n_threads,
    )
    trainer.fit(problem.X, problem.y, epochs)
    return trainer
