"""Draw what two moons, handwritten digits and a noisy wave taught three nets: pictures.png."""

import numpy as np
from matplotlib import pyplot as plt

from _backend import from_command_line
from digits import EPOCHS, digits_trainer, load
from jitprop import Trainer, plot


def moons(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return points on two half circles, each around an end of the other, and which of them."""
    rng = np.random.default_rng(0)
    label = np.arange(n) % 2
    angle, side = rng.uniform(0, np.pi, n), 1 - 2 * label
    circle = np.stack([side * np.cos(angle) + label, side * np.sin(angle) + label / 2], axis=1)
    return circle + rng.normal(0, 0.15, (n, 2)), label


def curve(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return x, and a wave of x with noise."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (n, 1))
    return x, np.sin(4 * x) + rng.normal(0, 0.2, (n, 1))


def main(backend: str) -> None:
    """Train three nets and draw them into one figure."""
    figure, axes = plt.subplots(2, 3, figsize=(15, 8.5), dpi=100, layout="constrained")

    X, y = moons(300)
    trainer = Trainer(
        [2, 16, 16, 1], activation="tanh", loss="binary_cross_entropy", optimizer="adam",
        learning_rate=0.01, batch_size=32, seed=0, backend=backend,
    )  # fmt: skip
    history = trainer.fit(X, y, epochs=100)
    plot.loss_curves(history, axes[0, 0]).set_title("two moons: loss")
    plot.decision_boundary(trainer, X, y, axes[0, 1]).set_title("two moons: what the net answers")

    X_train, X_test, y_train, y_test = load()
    trainer = digits_trainer(backend)
    trainer.fit(X_train, y_train, EPOCHS)
    images = plot.weights(trainer, 0, axes[0, 2], image_shape=(8, 8))
    images.set_title("digits: weights of the 64 hidden units")
    plot.confusion_matrix(y_test, trainer.predict(X_test), ax=axes[1, 0]).set_title(
        "digits: images not trained on"
    )
    plot.weights(trainer, 1, axes[1, 1]).set_title("digits: weights of the 10 outputs")

    x, y = curve(200)
    trainer = Trainer(
        [1, 20, 1], activation="tanh", output_activation="identity", optimizer="adam",
        learning_rate=0.02, seed=0, backend=backend,
    )  # fmt: skip
    trainer.fit(x, y, epochs=500)
    plot.predicted_against_true(y, trainer.predict(x), axes[1, 2]).set_title("a wave with noise")

    figure.savefig("pictures.png")
    print("wrote pictures.png")


if __name__ == "__main__":
    main(from_command_line(__doc__))
