"""No engine ignores a field of the spec."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from jitprop import SGD, Adam, AdamW, RMSprop, Rprop, backends
from jitprop.fleet import choice
from jitprop.fleet.data import Data, Part
from jitprop.fleet.engines import Loop, Members
from jitprop.net.losses import BinaryCrossEntropy, Huber
from jitprop.net.spec import SklearnRules, Spec

K, N = 5, 11
PLAIN = Spec(
    layer_sizes=(3, 4, 2),
    activations=("tanh", "sigmoid"),
    loss=BinaryCrossEntropy(),
    reduction="mean",
    optimizer=SGD(),
    learning_rate=0.1,
    weight_decay=0.0,
    dropout=(0.0,),
    clip_norm=None,
    batch_size=4,
)
# For each field, one or more values that must change the result.
OTHERS = {
    "layer_sizes": [(3, 5, 2)],
    "activations": [("relu", "sigmoid")],
    "loss": [Huber(delta=0.1), BinaryCrossEntropy(label_smoothing=0.2)],
    "reduction": ["sum"],
    "optimizer": [
        SGD(momentum=0.9),
        SGD(momentum=0.9, nesterov=True),
        Adam(beta_1=0.8),
        AdamW(),
        Adam(epsilon=0.1, epsilon_hat=True),
        SGD(momentum=0.9, rate_in_velocity=False),
        RMSprop(momentum=0.5),
        RMSprop(momentum=0.5, epsilon=0.1, epsilon_in_root=True, rate_in_velocity=False),
        Rprop(),
        Rprop(backtracking=True),
    ],
    "learning_rate": [0.3],
    "weight_decay": [0.5],
    "decay_biases": [True],
    "dropout": [(0.5,)],
    "clip_norm": [0.01],
    "batch_size": [3, None],
    "input_scale_rate": [2.0],
    "learning_rate_factors": [((0.5, 2.0), (0.0, 1.0))],
    "sklearn": [
        SklearnRules(l2=0.5),
        SklearnRules(reported_l2=0.5),
        SklearnRules(clipped_above=0.4),
        SklearnRules(batches_by_size=True),
    ],
}


def trained(engine, spec, weighted, scale):
    """Train members with an engine; return their parameters and losses in one array."""
    rng = np.random.default_rng(0)
    data = Data(
        Part(rng.normal(size=(N, 3)), per_member=False),
        Part(rng.integers(0, 2, (K, N, 2)).astype(float), per_member=True),
        Part(rng.integers(1, 4, (K, N)).astype(float), per_member=True) if weighted else None,
    )
    momentum = getattr(spec.optimizer, "momentum", 0.0)
    members = Members(
        numbers=np.arange(K),
        params=scale * rng.normal(size=(K, spec.n_parameters)),
        slots=np.zeros((K, spec.n_slots, spec.n_parameters)),
        updates=np.zeros(K, np.int64),
        decays=np.full(K, spec.weight_decay),
        momenta=np.full(K, momentum),
        dropout=np.tile(spec.dropout, (K, 1)),
        keys=np.arange(K),
    )
    losses = np.empty((3, K))
    engine.train(members, data, None, losses, np.full((3, K), spec.learning_rate))
    engine.close()
    return np.concatenate([members.params.T, losses])


def test_the_walk_is_over_all_fields():
    assert OTHERS.keys() == {field.name for field in fields(Spec)}
    assert len(OTHERS["sklearn"]) == len(fields(SklearnRules))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in OTHERS.items() for value in values]
)
def test_the_chosen_engine_does_all_that_a_spec_says(name, value, weighted):
    rules = value if name == "sklearn" else SklearnRules()
    weighted = weighted or rules.batches_by_size  # it concerns weights only
    before = replace(PLAIN, weight_decay=0.5) if name == "decay_biases" else PLAIN
    spec = replace(before, **{name: value})
    if isinstance(spec.optimizer, Rprop):
        spec = replace(spec, batch_size=None)
    scale = 100.0 if rules.clipped_above < np.inf else 1.0  # then some probabilities round to 0
    numpy, numba = backends.load("numpy"), backends.load("numba")
    ref = trained(Loop(numpy, spec, 1), spec, weighted, scale)
    comp = trained(choice.choose(numba, spec, K, N, 1), spec, weighted, scale)
    np.testing.assert_allclose(comp, ref, rtol=1e-11, atol=1e-12)
    plain = trained(Loop(numpy, before, 1), before, weighted, scale)
    assert ref.shape != plain.shape or np.abs(ref - plain).max() > 1e-6, "it makes no difference"
