"""A small problem from which peers and jitprop start together, and 20 updates of it."""

import numpy as np

UPDATES = 20


class Problem:
    """Samples and initial parameters of a net 3-5-2."""

    def __init__(self, targets="numbers"):
        rng = np.random.default_rng(7)
        self.X = rng.normal(size=(20, 3))
        self.y = rng.normal(size=(20, 2))
        if targets == "classes":
            self.y = np.eye(2)[rng.integers(2, size=20)]
        self.weights = [rng.normal(size=(3, 5)), rng.normal(size=(5, 2))]
        self.biases = [rng.normal(size=5), rng.normal(size=2)]

    @property
    def init(self):
        return self.weights, self.biases


def difference(found, wanted, start):
    """Return the largest difference over the largest parameter; all must have moved."""
    found, wanted, start = (
        np.concatenate([a.ravel() for a in arrays]) for arrays in (found, wanted, start)
    )
    assert np.abs(found - start).max() > 1e-3
    return np.abs(found - wanted).max() / np.abs(wanted).max()
