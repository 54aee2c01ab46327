"""Random streams that are made for many seeds at once equal those made for each seed."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jitprop import Fleet, Trainer
from jitprop.net.initializers import WEIGHTS
from jitprop.net.seeds import Streams, generator, streams, words


@pytest.mark.parametrize("stream", Streams._fields)
@settings(max_examples=20, deadline=None, derandomize=True, database=None)
@given(st.lists(st.integers(0, 2**128 - 1), min_size=1, max_size=5))
@example([0, 1, 2**32 - 1, 2**32, 2**64 - 1, 2**64, 2**96, 2**128 - 1])
@example([7, 2**128, 2**300 + 1])
def test_words_are_those_of_seed_sequences(stream, seeds):
    ref = [getattr(streams(seed), stream).generate_state(4, np.uint64) for seed in seeds]
    np.testing.assert_array_equal(words(seeds, stream), ref)


def test_a_generator_is_the_default_one_and_can_be_copied():
    ref = np.random.default_rng(streams(3).shuffle)
    comp = generator(words([5, 3], "shuffle")[1])
    for rng in (copy.deepcopy(comp), pickle.loads(pickle.dumps(comp)), comp):
        assert rng.bit_generator.state == ref.bit_generator.state


@pytest.mark.parametrize("init", WEIGHTS)
def test_members_begin_as_trainers(init):
    fleet = Fleet([3, 4, 2], members=5, seed=2**64 - 3, init=init)
    for i, member in enumerate(fleet.parameters):
        ref = Trainer([3, 4, 2], seed=2**64 - 3 + i, init=init).parameters
        np.testing.assert_array_equal(member, ref)


def test_uniform_weights_are_those_of_numpy():
    rng = np.random.default_rng(streams(4).init)
    bound = (6 / 7) ** 0.5
    ref = rng.uniform(-bound, bound, (3, 4))
    np.testing.assert_allclose(Trainer([3, 4], seed=4).weights[0], ref, rtol=1e-15)
