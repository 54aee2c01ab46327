#!/usr/bin/env bash
# optax 0.2.8: the first update of rprop is 0, and so is the one after each change of sign.
#
# One would guess: Rprop moves every weight against the sign of its gradient by its present step, from
# the first update on; where the sign of the gradient changes, iRprop- leaves out one update.
# It does: an update moves only where the gradient before had the same sign. The gradient before the
# first counts as 0, so nothing moves; after a change of sign the update is left out, and the next one
# too. On a gradient that alternates nothing ever moves.
set -euo pipefail
"$(dirname "$0")/with-packages" optax==0.2.8 jax==0.10.2 numpy==2.2.6 <<'PY'
import jax.numpy as jnp
import numpy as np
import optax


def updates(gradients):
    """What rprop adds to a weight, update by update."""
    rprop, weight = optax.rprop(0.1), jnp.ones(1)
    state, made = rprop.init(weight), []
    for gradient in gradients:
        update, state = rprop.update(jnp.array([gradient]), state, weight)
        made.append(abs(float(update[0])))
    return np.array(made)


same = updates([1.0, 1.0, 1.0])
print("one sign      ", same)
np.testing.assert_allclose(same, [0.0, 0.1, 0.12], rtol=1e-6)
changed = updates([1.0, 1.0, -1.0, -1.0, -1.0])
print("one change    ", changed)
assert changed[2] == changed[3] == 0 < changed[4]
alternating = updates([1.0, -1.0] * 10)
print("alternating   ", alternating)
assert not alternating.any()
PY
