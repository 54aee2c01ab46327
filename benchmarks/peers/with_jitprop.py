"""jitprop's Trainer."""

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
