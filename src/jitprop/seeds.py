"""The random streams of one net: how it begins says nothing of how its samples are shuffled."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Streams(NamedTuple):
    """Seeds of their own, all from one."""

    init: np.random.SeedSequence
    shuffle: np.random.SeedSequence
    dropout: np.random.SeedSequence
    split: np.random.SeedSequence
    """Of samples held out for validation."""

    @property
    def dropout_key(self) -> int:
        """63 bits, of which dropout makes its numbers."""
        return int(self.dropout.generate_state(1, np.uint64)[0] >> np.uint64(1))


def streams(seed: int | None) -> Streams:
    """Make them from the seed, or from the operating system's."""
    return Streams(*np.random.SeedSequence(seed).spawn(len(Streams._fields)))
