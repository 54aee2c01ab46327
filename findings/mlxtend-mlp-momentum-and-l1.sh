#!/usr/bin/env bash
# mlxtend 0.25.0: MultiLayerPerceptron adds its momentum without the learning rate, and l1 trains nothing.
#
# One would expect: eta scales each update, the part from the momentum too, and l1, "L1 regularization
# strength", shrinks the weights as l2 does.
# What happens: the update is eta * gradient + momentum * (gradient of the update before). The second
# part lacks eta. With eta=0.001 and momentum=0.9 it is 900 times the plain step, and eta hardly
# matters. Nor is it a running sum: a gradient counts for two updates only. The penalty of l1 appears
# in cost_, but not in the gradient: the weights are the same bits for any l1.
set -euo pipefail
"$(dirname "$0")/with-packages" mlxtend==0.25.0 scikit-learn==1.9.1 numpy==2.4.6 <<'PY'
import numpy as np
from mlxtend.classifier import MultiLayerPerceptron

rng = np.random.default_rng(0)
X, y = rng.normal(size=(12, 2)), np.arange(12) % 2
ETA, MOMENTUM = 0.001, 0.9


def train(epochs, **settings):
    """A net after so many updates on all samples at once."""
    return MultiLayerPerceptron(eta=ETA, epochs=epochs, hidden_layers=[3], random_seed=1, **settings).fit(X, y)


def gradient(net):
    """The gradient of the summed cross-entropy for the weights of the output layer."""
    hidden = 1 / (1 + np.exp(-(X @ net.w_["1"] + net.b_["1"])))
    e = np.exp(hidden @ net.w_["out"] + net.b_["out"])
    return hidden.T @ (e / e.sum(axis=1, keepdims=True) - np.eye(2)[y])


nets = [train(epochs, momentum=MOMENTUM) for epochs in range(5)]
w, g = [net.w_["out"] for net in nets], [gradient(net) for net in nets]
np.testing.assert_allclose(w[1] - w[0], -ETA * g[0])
for t in (1, 2, 3):
    update = w[t + 1] - w[t]
    expected = -ETA * sum(MOMENTUM**k * g[t - k] for k in range(t + 1))
    ratio = np.linalg.norm(update) / np.linalg.norm(expected)
    print(f"update {t + 1} is {ratio:.0f} times that of momentum with eta")
    np.testing.assert_allclose(update, -ETA * g[t] - MOMENTUM * g[t - 1])
    assert ratio > 100

plain, l1, l2 = train(20), train(20, l1=10.0), train(20, l2=10.0)
for name, net in (("no penalty", plain), ("l1=10", l1), ("l2=10", l2)):
    print(f"{name:10} sum of |w| {np.abs(net.w_['out']).sum():.6f}, cost {net.cost_[-1]:.4f}")
assert all((l1.w_[key] == plain.w_[key]).all() for key in plain.w_)
assert l1.cost_[-1] > plain.cost_[-1] + 0.1
assert np.abs(l2.w_["out"]).sum() < 0.95 * np.abs(plain.w_["out"]).sum()
PY
