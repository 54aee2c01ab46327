#!/usr/bin/env bash
# thinc 9.1.1: the loss of CategoricalCrossentropy is no cross-entropy, and each loss falls with the batch.
#
# One would expect: CategoricalCrossentropy().get_loss is the mean of -log(probability of the true
# class), and L2Distance().get_loss is the mean of the squared distances. The documentation says that
# normalize, on by default, "divides by number of examples". The same samples twice then give the same
# loss.
# What happens: the loss of both is the sum of the squares of get_grad. The gradient is already divided
# by the number n of samples, so the loss is divided by n squared: the same samples twice halve it, and a
# short last batch counts for more. A sample whose true class has probability 0.000001 costs 2, not 14.
# The gradients, and so the training, are right.
set -euo pipefail
"$(dirname "$0")/with-packages" thinc==9.1.1 numpy==2.2.6 <<'PY'
import numpy as np
from thinc.api import CategoricalCrossentropy, L2Distance

guesses = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.3, 0.6, 0.1]], np.float32)
labels = np.array([0, 2, 0])
truths = np.eye(3, dtype=np.float32)[labels]


def cross_entropy(p, labels):
    return -np.log(p[np.arange(len(p)), labels]).mean()


def squared_distance(p, t):
    return ((p - t) ** 2).sum(axis=1).mean()


for times in (1, 2, 4):
    p, t, y = np.tile(guesses, (times, 1)), np.tile(truths, (times, 1)), np.tile(labels, times)
    entropy, distance = CategoricalCrossentropy(), L2Distance()
    print(f"{len(p):2} samples: CategoricalCrossentropy {entropy.get_loss(p, y):.4f}, "
          f"by hand {cross_entropy(p, y):.4f}; "
          f"L2Distance {distance.get_loss(p, t):.4f}, by hand {squared_distance(p, t):.4f}")
    np.testing.assert_allclose(cross_entropy(p, y), cross_entropy(guesses, labels), rtol=1e-6)
    for loss in (entropy.get_loss(p, y), distance.get_loss(p, t)):
        np.testing.assert_allclose(loss, squared_distance(p, t) / len(p), rtol=1e-6)
    for found in (entropy.get_grad(p, y), distance.get_grad(p, t)):
        np.testing.assert_allclose(found, (p - t) / len(p), rtol=1e-6)

wrong = np.array([[1e-6, 1 - 1e-6]], np.float32)
found = CategoricalCrossentropy().get_loss(wrong, np.array([0]))
print(f"one sure and wrong sample: {found:.4f}, by hand {cross_entropy(wrong, [0]):.4f}")
assert abs(found - 2) < 1e-4 and cross_entropy(wrong, [0]) > 13
PY
