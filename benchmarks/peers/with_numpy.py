"""
NumPy code for one net. Every array is allocated once, and every operation writes into one.

All parameters are one vector, and so are all gradients. So an update needs few operations.
"""

from functools import cache
from itertools import count, pairwise

import numpy as np
from threadpoolctl import ThreadpoolController

PACKAGES = ("numpy",)


def prepare(work, n_threads=None):
    """
    Return a function: epochs -> weights, biases, loss of each epoch.

    ``n_threads`` is the number of BLAS threads; None means NumPy's default, all.
    """
    limited = ThreadpoolController().wrap(limits=n_threads, user_api="blas")
    X, y = work.data()
    L = len(work.sizes) - 1
    # Multiplying the derivatives by the outputs by this scales all other derivatives too.
    scale = 1 / work.batch_size if work.reduction == "mean" else 1.0
    activate = {"sigmoid": sigmoid, "tanh": tanh}[work.activation]
    ones = np.ones(work.batch_size, work.dtype)
    batches = [
        (X[i : i + work.batch_size], y[i : i + work.batch_size])
        for i in range(0, work.n_samples, work.batch_size)
    ]

    @limited
    def train(epochs):
        start = [array.ravel() for array in (*work.start()[0], *work.start()[1])]
        params = np.concatenate(start)
        gradient = np.empty_like(params)
        W, b = split(params, work.sizes)
        dW, db = split(gradient, work.sizes)
        update = {"sgd": sgd, "adam": adam}[work.optimizer](params, gradient, work.learning_rate)
        a, slope, d = ([empty(work, n) for n in work.sizes[1:]] for _ in range(3))
        losses = np.empty(epochs)
        for epoch in range(epochs):
            squares = 0.0
            for x, t in batches:
                inputs = [x, *a]
                for l in range(L):
                    np.dot(inputs[l], W[l], out=a[l])
                    a[l] += b[l]
                    activate(a[l], slope[l])
                delta = np.subtract(a[-1], t, out=d[-1])
                squares += np.vdot(delta, delta)
                if scale != 1:
                    delta *= scale
                for l in reversed(range(L)):
                    d[l] *= slope[l]
                    np.dot(inputs[l].T, d[l], out=dW[l])
                    np.dot(ones, d[l], out=db[l])
                    if l > 0:
                        np.dot(d[l], W[l].T, out=d[l - 1])
                update()
            losses[epoch] = squares * work.loss_scale
        return W, b, losses

    return train


def calls(net):
    """Return the calls of a net: {name: function}. Only results are allocated at each call."""
    params = np.concatenate([array.ravel() for array in (*net.start()[0], *net.start()[1])])
    gradient = np.empty_like(params)
    W, b = split(params, net.sizes)
    dW, db = split(gradient, net.sizes)
    activate = {"sigmoid": logistic, "relu": relu}[net.activation]
    activate_outputs = {"sigmoid": logistic, "softmax": softmax}[net.output_activation]
    mean_loss = {"half_squared_error": squared_error, "cross_entropy": cross_entropy}[net.loss]

    @cache
    def buffers(n_samples):
        return [np.empty((n_samples, n_units), net.dtype) for n_units in net.sizes[1:-1]]

    @cache
    def ones(n_samples):
        return np.ones(n_samples, net.dtype)

    def forward(X):
        hidden = buffers(len(X))
        for l, a in enumerate(hidden):
            np.dot(X, W[l], out=a)
            a += b[l]
            activate(a)
            X = a
        outputs = np.dot(X, W[-1])
        outputs += b[-1]
        activate_outputs(outputs)
        return hidden, outputs

    def predict(X):
        return forward(X)[1]

    def evaluate(X, y):
        return mean_loss(forward(X)[1], y)

    def backward(X, y):
        """Write the gradient of a sigmoid net, and return the loss."""
        n_samples = len(X)
        hidden, a = forward(X)
        delta = a - y
        loss = 0.5 / n_samples * np.vdot(delta, delta)
        inputs = [X, *hidden, a]
        delta *= 1 / n_samples
        for l in reversed(range(len(W))):
            slope = 1 - inputs[l + 1]
            slope *= inputs[l + 1]
            delta *= slope
            np.dot(inputs[l].T, delta, out=dW[l])
            np.dot(ones(n_samples), delta, out=db[l])
            if l > 0:
                delta = np.dot(delta, W[l].T)
        return loss

    def gradients(X, y):
        loss = backward(X, y)
        return loss, *split(gradient.copy(), net.sizes)

    def step(X, y):
        loss = backward(X, y)
        np.multiply(gradient, net.learning_rate, out=gradient)
        np.subtract(params, gradient, out=params)
        return loss

    return {
        "predict": predict,
        "evaluate": evaluate,
        "gradients": gradients,
        "partial_fit": step,
        "fit": step,
        "parameters": lambda: [*W, *b],
    }


def logistic(a):
    """a <- 1 / (1 + exp(-a))."""
    np.negative(a, out=a)
    np.exp(a, out=a)
    a += 1
    np.reciprocal(a, out=a)


def relu(a):
    """a <- max(a, 0)."""
    np.maximum(a, 0, out=a)


def softmax(a):
    """a <- exp(a) / sum(exp(a)) of each row."""
    a -= a.max(axis=1, keepdims=True)
    np.exp(a, out=a)
    a /= a.sum(axis=1, keepdims=True)


def squared_error(outputs, y):
    """Return the mean over samples of half the squared error. It overwrites the outputs."""
    outputs -= y
    return 0.5 / len(y) * np.vdot(outputs, outputs)


def cross_entropy(outputs, y):
    """Return the mean over samples of the cross entropy. It overwrites the outputs."""
    np.log(outputs, out=outputs)
    return -np.vdot(outputs, y) / len(y)


def split(vector, sizes):
    """Return views of a vector: the weights and biases of each layer."""
    weights, biases, at = [], [], 0
    for a, b in pairwise(sizes):
        weights.append(vector[at : at + a * b].reshape(a, b))
        at += a * b
    for b in sizes[1:]:
        biases.append(vector[at : at + b])
        at += b
    return weights, biases


def empty(work, n_units):
    """Allocate an array for one number per sample of a batch and unit."""
    return np.empty((work.batch_size, n_units), work.dtype)


def sigmoid(a, slope):
    """a <- 1 / (1 + exp(-a)), slope <- a (1 - a)."""
    np.negative(a, out=a)
    np.exp(a, out=a)
    a += 1
    np.reciprocal(a, out=a)
    np.subtract(1, a, out=slope)
    slope *= a


def tanh(a, slope):
    """a <- tanh(a), slope <- 1 - a**2."""
    np.tanh(a, out=a)
    np.multiply(a, a, out=slope)
    np.subtract(1, slope, out=slope)


def sgd(params, gradient, learning_rate):
    """Return a function for p <- p - rate g. It overwrites g."""

    def update():
        np.multiply(gradient, learning_rate, out=gradient)
        np.subtract(params, gradient, out=params)

    return update


def adam(params, gradient, learning_rate, beta_1=0.9, beta_2=0.999, epsilon=1e-8):
    """Return Adam's update, in the form at the end of section 2 of its paper. It overwrites g."""
    mean, mean_square, step = (np.zeros_like(params) for _ in range(3))
    numbers = count(1)

    def update():
        t = next(numbers)
        np.multiply(mean, beta_1, out=mean)
        np.multiply(gradient, 1 - beta_1, out=step)
        np.add(mean, step, out=mean)
        np.multiply(mean_square, beta_2, out=mean_square)
        np.multiply(gradient, gradient, out=gradient)
        np.multiply(gradient, 1 - beta_2, out=gradient)
        np.add(mean_square, gradient, out=mean_square)
        np.sqrt(mean_square, out=step)
        np.add(step, epsilon, out=step)
        np.divide(mean, step, out=step)
        rate = learning_rate * (1 - beta_2**t) ** 0.5 / (1 - beta_1**t)
        np.multiply(step, rate, out=step)
        np.subtract(params, step, out=params)

    return update
