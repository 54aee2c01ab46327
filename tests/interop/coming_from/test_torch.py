"""PyTorch: the rows of its page, from the same weights on the same samples."""

import numpy as np
import pytest

from interop.coming_from.course import UPDATES, Problem, difference
from jitprop import (
    ELU,
    SGD,
    Adam,
    AdamW,
    CrossEntropy,
    Exponential,
    Huber,
    LeakyReLU,
    RMSprop,
    Rprop,
    Softplus,
    Trainer,
)

torch = pytest.importorskip("torch")
nn, optim = torch.nn, torch.optim


def peer_of(problem, activation):
    net = nn.Sequential(nn.Linear(3, 5), activation, nn.Linear(5, 2)).double()
    with torch.no_grad():
        for layer, W, b in zip((net[0], net[2]), *problem.init, strict=True):
            layer.weight.copy_(torch.tensor(W.T))
            layer.bias.copy_(torch.tensor(b))
    return net


def course(problem, make, loss, activation, gamma=1.0, clip=None):
    """Train the peer and return its parameters."""
    net = peer_of(problem, activation)
    optimizer = make(net.parameters())
    schedule = optim.lr_scheduler.ExponentialLR(optimizer, gamma)
    X, y = torch.tensor(problem.X), torch.tensor(problem.y)
    for _ in range(UPDATES):
        optimizer.zero_grad()
        loss(net(X), y).backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(net.parameters(), clip)
        optimizer.step()
        schedule.step()
    parameters = [p.detach().numpy() for p in net.parameters()]
    return [parameters[0].T, parameters[2].T, parameters[1], parameters[3]]


def compared(problem, peer, **settings):
    settings = {"activation": "tanh", "output_activation": "identity", **settings}
    net = Trainer([3, 5, 2], dtype="float64", init=problem.init, **settings)
    net.fit(problem.X, problem.y, UPDATES)
    start = [*problem.weights, *problem.biases]
    return difference([*net.weights, *net.biases], peer, start)


def half(prediction, target):
    return 0.5 * ((prediction - target) ** 2).sum(dim=1).mean()


OPTIMIZERS = {
    "SGD": (lambda p: optim.SGD(p, 0.1), {"learning_rate": 0.1}),
    "momentum": (
        lambda p: optim.SGD(p, 0.1, momentum=0.9),
        {"learning_rate": 0.1, "optimizer": SGD(momentum=0.9)},
    ),
    "Nesterov": (
        lambda p: optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
        {"learning_rate": 0.1, "optimizer": SGD(momentum=0.9, nesterov=True)},
    ),
    "weight decay": (
        lambda p: optim.SGD(p, 0.1, weight_decay=0.05),
        {"learning_rate": 0.1, "weight_decay": 0.05, "decay_biases": True},
    ),
    "Adam": (lambda p: optim.Adam(p, 0.01), {"learning_rate": 0.01, "optimizer": Adam()}),
    "Adam with weight decay": (
        lambda p: optim.Adam(p, 0.01, weight_decay=0.05),
        {"learning_rate": 0.01, "optimizer": "adam", "weight_decay": 0.05, "decay_biases": True},
    ),
    "AdamW": (
        lambda p: optim.AdamW(p, 0.01),
        {"learning_rate": 0.01, "optimizer": AdamW(), "weight_decay": 0.01, "decay_biases": True},
    ),
    "RMSprop": (
        lambda p: optim.RMSprop(p, 0.01),
        {"learning_rate": 0.01, "optimizer": RMSprop(rho=0.99)},
    ),
    "RMSprop with momentum": (
        lambda p: optim.RMSprop(p, 0.01, momentum=0.9),
        {"learning_rate": 0.01, "optimizer": RMSprop(rho=0.99, momentum=0.9)},
    ),
    "Rprop": (lambda p: optim.Rprop(p, 0.01), {"learning_rate": 0.01, "optimizer": Rprop()}),
}


@pytest.mark.parametrize("row", OPTIMIZERS)
def test_optimizers(row):
    make, settings = OPTIMIZERS[row]
    problem = Problem()
    peer = course(problem, make, half, nn.Tanh())
    assert compared(problem, peer, **settings) < 1e-13


FALLING = {
    "momentum": (
        lambda p: optim.SGD(p, 0.1, momentum=0.9),
        SGD(momentum=0.9, rate_in_velocity=False),
    ),
    "Nesterov": (
        lambda p: optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
        SGD(momentum=0.9, nesterov=True, rate_in_velocity=False),
    ),
    "RMSprop with momentum": (
        lambda p: optim.RMSprop(p, 0.1, momentum=0.9),
        RMSprop(rho=0.99, momentum=0.9, rate_in_velocity=False),
    ),
}


@pytest.mark.parametrize("row", FALLING)
def test_momentum_with_a_falling_rate(row):
    make, optimizer = FALLING[row]
    problem = Problem()
    peer = course(problem, make, half, nn.Tanh(), gamma=0.8)
    rate = Exponential(0.1, 0.8)
    assert compared(problem, peer, learning_rate=rate, optimizer=optimizer) < 1e-13


LOSSES = {
    # PyTorch's mean is over samples and outputs, of which there are two: half the rate.
    "MSELoss": (nn.MSELoss(), "numbers", {"loss": "squared_error", "learning_rate": 0.05}),
    "L1Loss": (nn.L1Loss(), "numbers", {"loss": "absolute_error", "learning_rate": 0.05}),
    "HuberLoss": (
        nn.HuberLoss(delta=0.7),
        "numbers",
        {"loss": Huber(delta=0.7), "learning_rate": 0.05},
    ),
    "BCEWithLogitsLoss": (
        nn.BCEWithLogitsLoss(),
        "classes",
        {"loss": "binary_cross_entropy", "output_activation": "sigmoid", "learning_rate": 0.05},
    ),
    "CrossEntropyLoss": (
        nn.CrossEntropyLoss(),
        "classes",
        {"loss": "cross_entropy", "output_activation": "softmax", "learning_rate": 0.1},
    ),
    "label_smoothing": (
        nn.CrossEntropyLoss(label_smoothing=0.1),
        "classes",
        {
            "loss": CrossEntropy(label_smoothing=0.1),
            "output_activation": "softmax",
            "learning_rate": 0.1,
        },
    ),
}


@pytest.mark.parametrize("row", LOSSES)
def test_losses(row):
    loss, targets, settings = LOSSES[row]
    problem = Problem(targets)
    peer = course(problem, lambda p: optim.SGD(p, 0.1), loss, nn.Tanh())
    assert compared(problem, peer, **settings) < 1e-13


ACTIVATIONS = {
    "Sigmoid": (nn.Sigmoid(), "sigmoid"),
    "Tanh": (nn.Tanh(), "tanh"),
    "ReLU": (nn.ReLU(), "relu"),
    "LeakyReLU": (nn.LeakyReLU(), "leaky_relu"),
    "LeakyReLU(0.2)": (nn.LeakyReLU(0.2), LeakyReLU(0.2)),
    "ELU": (nn.ELU(), "elu"),
    "ELU(0.5)": (nn.ELU(0.5), ELU(0.5)),
    "Softplus": (nn.Softplus(), "softplus"),
    "Softplus(2)": (nn.Softplus(2.0), Softplus(2.0)),
    "SiLU": (nn.SiLU(), "silu"),
    "GELU": (nn.GELU(), "gelu"),
    "GELU('tanh')": (nn.GELU("tanh"), "gelu_tanh"),
    "SELU": (nn.SELU(), "selu"),
    "Mish": (nn.Mish(), "mish"),
    "Softsign": (nn.Softsign(), "softsign"),
    "Hardsigmoid": (nn.Hardsigmoid(), "hard_sigmoid"),
}


@pytest.mark.parametrize("row", ACTIVATIONS)
def test_activations(row):
    module, name = ACTIVATIONS[row]
    problem = Problem()
    peer = course(problem, lambda p: optim.SGD(p, 0.1), half, module)
    # The slope of its Hardsigmoid is 1/6 of float32.
    limit = 1e-7 if row == "Hardsigmoid" else 1e-13
    assert compared(problem, peer, activation=name, learning_rate=0.1) < limit


def test_clip_grad_norm_differs_by_its_1e_6():
    problem = Problem()
    peer = course(problem, lambda p: optim.SGD(p, 0.1), half, nn.Tanh(), clip=0.5)
    assert 1e-9 < compared(problem, peer, learning_rate=0.1, clip_norm=0.5) < 1e-5


def test_initial_weights_are_uniform_up_to_the_root_of_the_inputs():
    layer = nn.Linear(400, 300)
    for array in (layer.weight, layer.bias):
        numbers = array.detach().numpy()
        assert 0.98 / 20 < np.abs(numbers).max() <= 1 / 20 + 1e-9
