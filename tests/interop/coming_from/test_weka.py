"""Weka's MultilayerPerceptron, trained from the same weights on the same order of samples."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from jitprop import SGD, Trainer

JAR = Path("/usr/share/java/weka.jar")
HIDDEN, EPOCHS = 4, 50

pytestmark = pytest.mark.skipif(
    not JAR.exists() or shutil.which("java") is None, reason="Debian's weka is not installed"
)


class Random:
    """java.util.Random, by its documented formula."""

    def __init__(self, seed):
        self.state = (seed ^ 0x5DEECE66D) % 2**48

    def bits(self, n):
        self.state = (self.state * 0x5DEECE66D + 11) % 2**48
        return self.state >> (48 - n)

    def integer(self, bound):
        if bound & (bound - 1) == 0:
            return bound * self.bits(31) >> 31
        while True:
            drawn = self.bits(31)
            if drawn - drawn % bound + bound - 1 < 2**31:
                return drawn % bound

    def weight(self):
        return ((self.bits(26) << 27) + self.bits(27)) / 2**53 * 0.1 - 0.05


def shuffled(random, n):
    """Return the order in which Weka takes the samples in every epoch."""
    rows = list(range(n))
    for i in range(n - 1, 0, -1):
        j = random.integer(i + 1)
        rows[i], rows[j] = rows[j], rows[i]
    return rows


def start(random, n_in, n_out):
    """Return weights and biases in the order in which Weka draws them."""
    W, V = np.empty((n_in, HIDDEN)), np.empty((HIDDEN, n_out))
    c = np.array([random.weight() for _ in range(n_out)])
    b = np.array([random.weight() for _ in range(HIDDEN)])
    for layer in (W, V):
        for place in np.ndindex(layer.shape):
            layer[place] = random.weight()
    return [W, V], [b, c]


def to_unit(x):
    """Scale each column to [-1, 1]."""
    middle, half = (x.max(axis=0) + x.min(axis=0)) / 2, (x.max(axis=0) - x.min(axis=0)) / 2
    return (x - middle) / half


def weights_of_weka(path):
    options = f"-t {path} -no-cv -L 0.3 -M 0.2 -N {EPOCHS} -H {HIDDEN} -S 0".split()
    done = subprocess.run(
        ["java", "-cp", JAR, "weka.classifiers.functions.MultilayerPerceptron", *options],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    nodes = []
    for part in re.split(r"(?:Sigmoid|Linear) Node \d+", done.stdout)[1:]:
        numbers = re.findall(r"(?:Threshold|Attrib \S+|Node \d+) +(-?\d\S*)", part)
        nodes.append([float(number) for number in numbers])
    return nodes


@pytest.mark.parametrize("kind", ["numeric class", "nominal class"])
def test_the_same_course(tmp_path, kind):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 3))
    if kind == "numeric class":
        y = X[:, :1] * X[:, 1:2]
        targets, named = to_unit(y), [repr(float(v)) for v in y[:, 0]]
        activations = {"output_activation": "identity"}
    else:
        labels = rng.integers(3, size=20)
        targets, named = np.eye(3)[labels], [f"c{label}" for label in labels]
        activations = {"output_activation": "sigmoid"}
    path = tmp_path / "samples.arff"
    attributes = "".join(f"@attribute x{i} numeric\n" for i in range(3))
    of_class = "numeric" if kind == "numeric class" else "{c0,c1,c2}"
    rows = [",".join(map(repr, map(float, x))) + f",{c}" for x, c in zip(X, named, strict=True)]
    path.write_text(
        f"@relation r\n{attributes}@attribute class {of_class}\n@data\n" + "\n".join(rows) + "\n"
    )
    random = Random(0)
    order = shuffled(random, len(X))
    net = Trainer(
        [3, HIDDEN, targets.shape[1]],
        learning_rate=0.3,
        optimizer=SGD(momentum=0.2),
        batch_size=1,
        dtype="float64",
        init=start(random, 3, targets.shape[1]),
        **activations,
    )
    net.fit(to_unit(X), targets, EPOCHS, order=lambda epoch: np.array(order))

    nodes = weights_of_weka(path)
    n_out = targets.shape[1]
    ours = [[c, *v] for c, v in zip(net.biases[1], net.weights[1].T, strict=True)]
    ours += [[b, *w] for b, w in zip(net.biases[0], net.weights[0].T, strict=True)]
    assert len(nodes) == n_out + HIDDEN
    for found, wanted in zip(ours, nodes, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)
