"""jitprop's Trainer."""

from functools import partial

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
