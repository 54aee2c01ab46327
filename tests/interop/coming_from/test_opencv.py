"""OpenCV's ANN_MLP, trained by BACKPROP from the same weights, with the same order of samples."""

import math

import numpy as np
import pytest

from jitprop import SGD, CustomActivation, Trainer

cv2 = pytest.importorskip("cv2")


def value(z):
    return 1.7159 * math.tanh(z / 3)


def slope(z):
    return 1.7159 / 3 * (1 - math.tanh(z / 3) ** 2)


SYMMETRIC = CustomActivation(value, slope)
"""What ANN_MLP computes as SIGMOID_SYM with its own alpha and beta."""


class Order:
    """The order of its samples: n swaps of two places before each epoch, by OpenCV's generator."""

    def __init__(self, n):
        self.rows = list(range(n))
        self.state = 2**64 - 1

    def draw(self):
        self.state = (self.state % 2**32) * 4164903690 + (self.state >> 32)
        return self.state % 2**32 % len(self.rows)

    def __call__(self, epoch):
        for _ in self.rows:
            i, j = self.draw(), self.draw()
            self.rows[i], self.rows[j] = self.rows[j], self.rows[i]
        return np.array(self.rows)


@pytest.mark.parametrize("momentum", [0.0, 0.3])
def test_a_net_without_hidden_layers_takes_the_same_course(tmp_path, momentum):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(12, 3)).astype(np.float32)  # all that ANN_MLP takes
    y = rng.uniform(-0.9, 0.9, size=(12, 2)).astype(np.float32)
    epochs, rate = 20, 0.05
    flags = cv2.ml.ANN_MLP_NO_INPUT_SCALE | cv2.ml.ANN_MLP_NO_OUTPUT_SCALE

    def settings(peer, count):
        peer.setTrainMethod(cv2.ml.ANN_MLP_BACKPROP)
        peer.setBackpropWeightScale(rate)
        peer.setBackpropMomentumScale(momentum)
        peer.setTermCriteria((cv2.TERM_CRITERIA_MAX_ITER, count, 0.0))

    peer = cv2.ml.ANN_MLP_create()
    peer.setLayerSizes(np.array([3, 2]))
    peer.setActivationFunction(cv2.ml.ANN_MLP_SIGMOID_SYM, 0, 0)
    settings(peer, 1)
    data = cv2.ml.TrainData_create(X, cv2.ml.ROW_SAMPLE, y)
    peer.train(data, flags)
    peer.save(str(tmp_path / "net.yml"))
    peer = cv2.ml.ANN_MLP_load(str(tmp_path / "net.yml"))  # begins its random numbers anew
    start = peer.getWeights(1)
    settings(peer, epochs)
    peer.train(data, flags | cv2.ml.ANN_MLP_UPDATE_WEIGHTS)
    end = peer.getWeights(1)

    net = Trainer(
        [3, 2],
        output_activation=SYMMETRIC,
        learning_rate=rate,
        optimizer=SGD(momentum=momentum),
        batch_size=1,
        dtype="float64",
        init=([start[:-1]], [start[-1]]),
    )
    net.fit(X, y, epochs, order=Order(len(X)))
    found = np.vstack([net.weights[0], net.biases[0]])
    assert np.abs(found - start).max() > 0.1
    np.testing.assert_allclose(found, end, rtol=0, atol=1e-13)
