#!/usr/bin/env bash
# thinc 9.1.1: RAdam counts its first update as its second.
#
# One would expect: the first update of RAdam is -learning rate * gradient, as in the paper: the mean of
# one gradient, with its bias corrected, is that gradient.
# What happens: thinc adds 1 to a count that already holds the update, so each correction is that of the
# next update. The first moves by 0.1 / (1 - 0.9**2) = 0.53 of that. The change from plain momentum to
# adapted steps comes one update early. thinc's Adam counts right.
set -euo pipefail
"$(dirname "$0")/with-packages" thinc==9.1.1 numpy==2.2.6 <<'PY'
import numpy as np
from thinc.api import Adam, RAdam

LR, B1, B2, EPS = 0.1, 0.9, 0.999, 1e-8
GRADIENT = np.array([1.0, 2.0, 0.5])


def updates(optimizer):
    """What eight updates with one gradient add to three weights."""
    weights, made = np.zeros(3, np.float32), []
    for _ in range(8):
        before = weights.copy()
        weights, _ = optimizer((1, "W"), weights, GRADIENT.astype(np.float32))
        made.append(weights - before)
    return np.array(made)


def radam(offset):
    """RAdam by hand, with adapted steps from a length of 5 on; offset is added to the count."""
    made = []
    for update in range(1, 9):
        m, v = (1 - B1**update) * GRADIENT, (1 - B2**update) * GRADIENT**2
        t, longest = update + offset, 2 / (1 - B2) - 1
        length = longest - 2 * t * B2**t / (1 - B2**t)
        step = LR * m / (1 - B1**t)
        if length >= 5:
            step *= np.sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length))
            step /= np.sqrt(v / (1 - B2**t)) + EPS
        made.append(-step)
    return np.array(made)


settings = {"beta1": B1, "beta2": B2, "eps": EPS, "L2": 0.0, "grad_clip": 0.0}
found = updates(RAdam(LR, **settings))
print("update   thinc     paper")
for n, (ours, paper) in enumerate(zip(found[:, 0], radam(0)[:, 0]), 1):
    print(f"{n:6} {ours:9.5f} {paper:9.5f}")
np.testing.assert_allclose(found, radam(1), rtol=1e-3)
np.testing.assert_allclose(radam(0)[0], -LR * GRADIENT)
np.testing.assert_allclose(found[0], -LR * GRADIENT * 0.1 / 0.19, rtol=1e-5)
np.testing.assert_allclose(updates(Adam(LR, **settings))[0], -LR, rtol=1e-5)
PY
