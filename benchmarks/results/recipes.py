"""
What we advise today for the problems of PROBEN1: one recipe for classes, one for functions.

Activations, dropout and weight decays were chosen by the validation losses of all problems
together. For functions, 8 or 16 units gave no smaller ones than 4.
"""

from typing import Any, NamedTuple

from jitprop import AdamW, LevenbergMarquardt


class Recipe(NamedTuple):
    hidden: int
    decays: tuple[float, ...]
    epochs: int
    patience: int
    settings: dict[str, Any]


CLASSIFICATION = Recipe(
    hidden=32,
    decays=(0.03, 0.3, 1.0),
    epochs=500,
    patience=30,
    settings={
        "activation": "relu",
        "output_activation": "softmax",
        "loss": "cross_entropy",
        "optimizer": AdamW(),
        "learning_rate": 0.003,
        "dropout": 0.3,
        "batch_size": 32,
    },
)
APPROXIMATION = Recipe(
    hidden=4,
    decays=(0.001, 0.003, 0.01),
    epochs=100,
    patience=10,
    settings={
        "activation": "tanh",
        "output_activation": "identity",
        "optimizer": LevenbergMarquardt(),
    },
)
