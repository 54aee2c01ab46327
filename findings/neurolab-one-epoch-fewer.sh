#!/usr/bin/env bash
# neurolab 0.3.5: net.train(epochs=N) makes N - 1 updates of the weights.
#
# One would guess: N epochs of gradient descent on a full batch are N updates, and the list of errors
# that comes back has one number for each.
# It does: the list has N numbers, and the weights have moved N - 1 times; epochs=1 trains nothing.
# With adapt=True, sample by sample, each epoch does train.
set -euo pipefail
"$(dirname "$0")/with-packages" neurolab==0.3.5 numpy==1.26.4 <<'PY'
import numpy as np
import neurolab as nl

x, t = np.array([[-0.5], [0.2], [0.6]]), np.array([[0.1], [-0.3], [0.4]])


def train(epochs, adapt=False):
    """The one weight of a linear unit after so many epochs, and the number of errors."""
    net = nl.net.newff([[-1, 1]], [1], [nl.trans.PureLin()])
    net.layers[0].np["w"][:], net.layers[0].np["b"][:] = 0.5, 0.0
    net.trainf = nl.train.train_gd
    errors = net.train(x, t, epochs=epochs, show=0, goal=0, lr=0.1, adapt=adapt)
    return float(net.layers[0].np["w"][0, 0]), len(errors)


def by_hand(updates):
    """Gradient descent on 1/2 sum (w x + b - t)**2, neurolab's own error."""
    w, b = 0.5, 0.0
    for _ in range(updates):
        e = w * x + b - t
        w, b = w - 0.1 * float((e * x).sum()), b - 0.1 * float(e.sum())
    return w


for epochs in (1, 2, 3, 10):
    weight, n_errors = train(epochs)
    print(f"epochs={epochs}: {n_errors} errors, weight {weight:.12f}; "
          f"by hand {by_hand(epochs - 1):.12f} after {epochs - 1} updates, "
          f"{by_hand(epochs):.12f} after {epochs}")
    assert n_errors == epochs
    assert abs(weight - by_hand(epochs - 1)) < 1e-12
    assert abs(weight - by_hand(epochs)) > 1e-4
assert train(1)[0] == 0.5
assert train(1, adapt=True)[0] != 0.5
PY
