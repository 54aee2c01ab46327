"""
The recipe of the nets for tables: RealMLP-TD-S.

Its numbers were tuned on 118 sets and tested on 90 others: Holzmueller, Grinsztajn and Steinwart,
*Better by Default: Strong Pre-Tuned MLPs and Boosted Trees on Tabular Data*, NeurIPS 2024,
arXiv:2407.04491, table A.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from jitprop import elementary
from jitprop._types import Array
from jitprop.net.losses import CrossEntropy, Loss, SquaredError
from jitprop.net.optimizers import Adam
from jitprop.net.schedules import CosineLog, EachUpdate
from jitprop.net.seeds import streams
from jitprop.trainer import Trainer


@dataclass(frozen=True)
class Recipe:
    """
    The settings of a net for tables and of its training.

    Attributes
    ----------
    activation : str
        The activation of all hidden layers.
    learning_rate : float
        The largest learning rate of the schedule. It is the rate of a weight V of the NTK form,
        W = V / sqrt(n_in). So the rate of W is this number times 1 / sqrt(n_in).
    hidden : tuple of int
        The number of units of each hidden layer.
    epochs : int
    batch_size : int
        See `batch`.
    bias_rate : float
        The learning rate of the biases, in units of ``learning_rate``.
    input_scale_rate : float
        The learning rate of the learnable scale of each input, in units of ``learning_rate``.
    beta_2 : float
        Of Adam.
    cycles : int
        The schedule has so many cycles, each twice as long as the one before.
    label_smoothing : float
        For classes.
    patience : float
        Training ends after this share of the epochs without a better one. RealMLP trains on. In
        one of the fits of 32 tables a better epoch would have come, with a loss smaller by 0.5 %;
        in one of six fits of 4,000 to 20,000 rows, with a squared error smaller by 3 %.
    """

    activation: str
    learning_rate: float
    hidden: tuple[int, ...] = (256, 256, 256)
    epochs: int = 256
    batch_size: int = 256
    bias_rate: float = 0.1
    input_scale_rate: float = 6.0
    beta_2: float = 0.95
    cycles: int = 4
    label_smoothing: float = 0.1
    patience: float = 0.25


CLASSES = Recipe("selu", 0.04)
"""The recipe for classification."""

QUANTITIES = Recipe("mish", 0.07)
"""The recipe for regression."""


def batch(n_rows: int, batch_size: int) -> int:
    """
    Return the number of rows of an update.

    An epoch has as many updates as ``batch_size`` goes into the rows, at least one. They share all
    rows evenly. RealMLP drops the rest of an epoch's rows instead, which gives as many updates. A
    last batch of a few rows would be an update of noise.
    """
    return -(-n_rows // max(1, n_rows // batch_size))


def start(sizes: list[int], seed: int) -> tuple[list[Array], list[Array]]:
    """
    Draw the initial weights and biases.

    Weights are normal with the standard deviation 1 / sqrt(n_in), and biases with 1. The last layer
    is 0, so that the net begins with the mean, or with equal probabilities.
    """
    rng = np.random.default_rng(streams(seed).init)
    shapes = list(pairwise(sizes))
    weights, biases = [], []
    for n_in, n_out in shapes[:-1]:
        n = (n_in + 1) * n_out
        drawn = elementary.normal(rng.random(n + n % 2))[:n].reshape(n_in + 1, n_out)
        weights.append(drawn[:-1] / math.sqrt(n_in))
        biases.append(drawn[-1])
    weights.append(np.zeros(shapes[-1]))
    biases.append(np.zeros(sizes[-1]))
    return weights, biases


def trainer(
    recipe: Recipe, sizes: list[int], classes: bool, n_rows: int, seed: int, **settings: Any
) -> Trainer:
    """
    Return a net that is ready to train.

    Parameters
    ----------
    recipe : Recipe
    sizes : list of int
        The number of units of each layer.
    classes : bool
        Whether the outputs are the probabilities of classes; else they are quantities.
    n_rows : int
        The number of rows to train with.
    seed : int
        Of the initial weights and of the shuffles.
    **settings
        More arguments of `Trainer`.
    """
    loss: Loss = CrossEntropy(recipe.label_smoothing) if classes else SquaredError()
    return Trainer(
        sizes,
        activation=recipe.activation,
        output_activation="softmax" if classes else "identity",
        loss=loss,
        optimizer=Adam(beta_2=recipe.beta_2),
        learning_rate=EachUpdate(CosineLog(recipe.learning_rate, recipe.epochs, recipe.cycles)),
        input_scale_rate=recipe.input_scale_rate,
        learning_rate_factors=[(1.0 / math.sqrt(n_in), recipe.bias_rate) for n_in in sizes[:-1]],
        batch_size=batch(n_rows, recipe.batch_size),
        dtype="float32",
        seed=seed,
        init=start(sizes, seed),
        **settings,
    )
