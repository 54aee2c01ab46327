#!/usr/bin/env bash
# pyrenn 0.1: a net's outputs for integer samples are those for samples cut to 0 and 1.
#
# One would guess: np.array([0, 1, 2, 3, 4]) and np.array([0.0, 1.0, 2.0, 3.0, 4.0]) are the same
# samples.
# It does: inputs are divided by the largest of the training data, and the quotients are written back
# into the array that came. In one of integers all quotients below 1 become 0, so that four of five
# samples have one output, and training on integers learns from the same 0s. No warning, and the
# outputs look like those of a net that has not learned.
set -euo pipefail
"$(dirname "$0")/with-packages" pyrenn==0.1 numpy==2.2.6 <<'PY'
import numpy as np
import pyrenn

x, y = np.array([[0.0, 1.0, 2.0, 3.0, 4.0]]), np.array([[0.0, 10.0, 20.0, 30.0, 40.0]])
np.random.seed(0)
net = pyrenn.train_LM(x, y, pyrenn.CreateNN([1, 3, 1]), k_max=30, E_stop=1e-6)
as_floats, as_ints = pyrenn.NNOut(x, net), pyrenn.NNOut(x.astype(int), net)
print("float samples  ", as_floats.round(2))
print("integer samples", as_ints.round(2))
assert np.abs(as_floats - y).max() < 1
assert np.ptp(as_ints[:4]) == 0
assert as_ints[4] == as_floats[4]
PY
