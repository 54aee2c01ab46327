#!/usr/bin/env bash
# mlxtend 0.25.0: MultiLayerPerceptron.predict_proba applies softmax twice.
#
# One would expect: predict_proba returns the outputs of the net, which softmax has made probabilities.
# The method promises "class probabilities", and fit trains these outputs with cross-entropy.
# What happens: predict_proba applies softmax to these probabilities once more. With two classes no
# probability is above e / (e + 1) = 0.73, with three none is above 0.58, however sure the net is. The
# predicted classes stay right, so nobody sees it. Thresholds and log losses computed from
# predict_proba are wrong.
set -euo pipefail
"$(dirname "$0")/with-packages" mlxtend==0.25.0 scikit-learn==1.9.1 numpy==2.4.6 <<'PY'
import numpy as np
from mlxtend.classifier import MultiLayerPerceptron


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


rng = np.random.default_rng(0)
for n_classes in (2, 3):
    y = np.arange(30) % n_classes
    X = np.column_stack([np.cos(2 * y), np.sin(2 * y)]) + rng.normal(0, 0.01, (30, 2))
    net = MultiLayerPerceptron(eta=0.2, epochs=500, hidden_layers=[5], random_seed=1).fit(X, y)
    hidden = 1 / (1 + np.exp(-(X @ net.w_["1"] + net.b_["1"])))
    by_hand = softmax(hidden @ net.w_["out"] + net.b_["out"])
    found = net.predict_proba(X)
    own = np.arange(30), y
    print(f"{n_classes} classes: probability of the true class, smallest to largest: "
          f"by hand {by_hand[own].min():.3f} to {by_hand[own].max():.3f}, "
          f"predict_proba {found[own].min():.3f} to {found[own].max():.3f}")
    assert by_hand[own].min() > 0.98
    assert found.max() < np.e / (np.e + n_classes - 1)
    np.testing.assert_allclose(found, softmax(by_hand))
    assert (net.predict(X) == y).all()
    # The net's own cost is that of the right probabilities; it reports half the mean.
    np.testing.assert_allclose(net.cost_[-1], -0.5 * np.log(by_hand[own]).mean())
PY
