"""Nets of PyTorch train on here, update by update, and nets of ours go there."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from jitprop import (
    SGD,
    Adam,
    AdamW,
    CustomActivation,
    Fleet,
    RMSprop,
    Rprop,
    Trainer,
)
from jitprop.convert import from_torch, to_torch

N, N_IN, UPDATES = 24, 4, 10
BATCHES = [slice(0, 8), slice(8, 16), slice(16, 24)]

rng = np.random.default_rng(0)
X = rng.normal(size=(N, N_IN))


def module(*parts, dtype=torch.float64, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(*parts).to(dtype)


def net(n_outputs=2, *output, seed=0, dtype=torch.float64):
    torch.manual_seed(seed)
    layers = nn.Linear(N_IN, 5), nn.Tanh(), nn.Linear(5, 6), nn.Sigmoid(), nn.Linear(6, n_outputs)
    return module(*layers, *output, dtype=dtype, seed=seed)


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.3),
    "sgd, decay": lambda p: torch.optim.SGD(p, lr=0.3, weight_decay=0.05),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "momentum, decay": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.05),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.02),
    "adam, settings": lambda p: torch.optim.Adam(p, lr=0.02, betas=(0.8, 0.95), eps=1e-2),
    "adam, decay": lambda p: torch.optim.Adam(p, lr=0.02, weight_decay=0.05),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.02, weight_decay=0.05),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01),
    "rmsprop, momentum": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.7, eps=1e-2),
    "rmsprop, decay": lambda p: torch.optim.RMSprop(p, lr=0.01, alpha=0.9, weight_decay=0.05),
}

LOSSES = {
    "mse": (nn.MSELoss(), 2, ()),
    "mse, sum": (nn.MSELoss(reduction="sum"), 3, ()),
    "l1": (nn.L1Loss(), 3, ()),
    "huber": (nn.HuberLoss(delta=0.3), 3, ()),
    "smooth l1": (nn.SmoothL1Loss(beta=0.3), 3, ()),
    "bce": (nn.BCELoss(), 3, (nn.Sigmoid(),)),
    "bce with logits": (nn.BCEWithLogitsLoss(), 3, ()),
    "cross entropy": (nn.CrossEntropyLoss(), 3, ()),
    "cross entropy, sum": (nn.CrossEntropyLoss(reduction="sum"), 3, ()),
    "smoothing": (nn.CrossEntropyLoss(label_smoothing=0.2), 3, ()),
    "weights": (nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 0.5]).double()), 3, ()),
    "nll": (nn.NLLLoss(), 3, (nn.LogSoftmax(dim=1),)),
    "poisson": (nn.PoissonNLLLoss(), 3, ()),
}


def targets(loss, n_outputs):
    draw = np.random.default_rng(1)
    kind = type(loss).__name__
    if kind in ("CrossEntropyLoss", "NLLLoss"):
        return draw.integers(0, n_outputs, N)
    if kind == "PoissonNLLLoss":
        return draw.poisson(2.0, (N, n_outputs)).astype(float)
    return draw.uniform(size=(N, n_outputs))


def train(model, loss, optimizer, y, start=0, stop=UPDATES, rate=None):
    """Train PyTorch's net."""
    for i in range(start, stop):
        rows = BATCHES[i % len(BATCHES)]
        for group in optimizer.param_groups if rate else ():
            group["lr"] = rate(i)
        optimizer.zero_grad()
        loss(model(torch.from_numpy(X[rows])), torch.from_numpy(y[rows])).backward()
        optimizer.step()


def train_ours(trainer, y, start=0, stop=UPDATES, rate=None):
    for i in range(start, stop):
        rows = BATCHES[i % len(BATCHES)]
        if rate:
            trainer.learning_rate = rate(i)
        trainer.partial_fit(X[rows], y[rows])


def assert_same(trainer, model, tolerance=1e-9):
    linear = [m for m in model.modules() if isinstance(m, nn.Linear)]
    for l, layer in enumerate(linear):
        for mine, theirs in (
            (trainer.weights[l], layer.weight.T),
            (trainer.biases[l], np.zeros(1) if layer.bias is None else layer.bias),
        ):
            theirs = theirs if isinstance(theirs, np.ndarray) else theirs.detach().numpy()
            np.testing.assert_allclose(mine, np.broadcast_to(theirs, mine.shape), rtol=0,
                atol=tolerance)  # fmt: skip


# Predictions.

ACTIVATIONS = [
    nn.Identity(), nn.Sigmoid(), nn.Tanh(), nn.ReLU(), nn.LeakyReLU(), nn.ELU(), nn.SELU(),
    nn.Softplus(), nn.GELU(), nn.GELU(approximate="tanh"), nn.SiLU(), nn.Mish(), nn.Softsign(),
    nn.Hardsigmoid(), nn.LeakyReLU(0.2), nn.ELU(0.5), nn.Softplus(beta=2.0),
]  # fmt: skip


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_predictions(activation, dtype):
    model = module(nn.Linear(N_IN, 20), activation, nn.Linear(20, 3), activation,
        dtype=getattr(torch, dtype))  # fmt: skip
    trainer = from_torch(model)
    given = (3 * X).astype(dtype)
    expected = model(torch.from_numpy(given)).detach().numpy()
    assert trainer.dtype == dtype
    tolerance = 1e-6 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(trainer.predict(given), expected, rtol=tolerance, atol=tolerance)
    back = to_torch(trainer)(torch.from_numpy(given)).detach().numpy()
    np.testing.assert_allclose(back, expected, rtol=tolerance, atol=tolerance)


def test_softmax_outputs():
    model = net(3, nn.Softmax(dim=1))
    trainer = from_torch(model)
    expected = model(torch.from_numpy(X)).detach().numpy()
    np.testing.assert_allclose(trainer.predict(X), expected, rtol=0, atol=1e-12)
    assert trainer.loss.name == "cross_entropy"
    assert str(to_torch(trainer)[-1]) == "Softmax(dim=1)"


def test_nested_and_flattened_and_dropped():
    inner = nn.Sequential(nn.Linear(N_IN, 5), nn.Identity(), nn.ReLU(), nn.Dropout(0.25))
    model = module(nn.Flatten(), inner, nn.Linear(5, 2, bias=False))
    trainer = from_torch(model)
    assert trainer.activation == ("relu",)
    assert trainer.dropout == (0.25,)
    assert trainer.learning_rate_factors == ((1.0, 1.0), (1.0, 0.0))
    expected = model.eval()(torch.from_numpy(X)).detach().numpy()
    np.testing.assert_allclose(trainer.predict(X), expected, rtol=0, atol=1e-12)
    trainer.fit(X, X[:, :2], 3)
    assert not trainer.biases[1].any()
    made = to_torch(trainer)
    assert [type(m).__name__ for m in made] == ["Linear", "ReLU", "Dropout", "Linear", "Sigmoid"][
        :4
    ]
    assert not made.training


# Training.


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("stop", [0, UPDATES])
def test_updates_by_each_optimizer(optimizer, stop):
    """Train 20 updates on both sides; or 10 in PyTorch, and then 10 on both sides."""
    loss, n_outputs, output = nn.MSELoss(), 3, (nn.Tanh(),)
    model, y = net(n_outputs, *output), targets(loss, n_outputs)
    own = OPTIMIZERS[optimizer](model.parameters())
    train(model, loss, own, y, 0, stop)
    before = [p.detach().clone() for p in model.parameters()]
    trainer = from_torch(model, loss=loss, optimizer=own)
    train(model, loss, own, y, stop, 2 * UPDATES)
    train_ours(trainer, y, stop, 2 * UPDATES)
    assert_same(trainer, model)
    after = [p.detach() for p in model.parameters()]
    assert max(float((a - b).abs().max()) for a, b in zip(before, after, strict=True)) > 0.01


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("optimizer", ["momentum", "adam, settings", "rmsprop, momentum"])
def test_updates_by_each_loss(name, optimizer):
    loss, n_outputs, output = LOSSES[name]
    model, y = net(n_outputs, *output), targets(loss, n_outputs)
    own = OPTIMIZERS[optimizer](model.parameters())
    train(model, loss, own, y)
    trainer = from_torch(model, loss=loss, optimizer=own)
    train(model, loss, own, y, UPDATES, 2 * UPDATES)
    train_ours(trainer, y, UPDATES, 2 * UPDATES)
    assert_same(trainer, model)


@pytest.mark.parametrize("optimizer", ["momentum", "nesterov", "rmsprop, momentum", "adamw"])
def test_a_falling_rate(optimizer):
    """The rate is outside the velocity. With SGD ours is that of PyTorch divided by k."""
    loss, k = nn.MSELoss(), 3
    model, y = net(k), targets(loss, k)
    own = OPTIMIZERS[optimizer](model.parameters())

    def rate(i):
        return 0.05 * 0.8**i

    train(model, loss, own, y, 0, UPDATES, rate)
    trainer = from_torch(model, loss=loss, optimizer=own)
    train(model, loss, own, y, UPDATES, 2 * UPDATES, rate)
    divisor = k if isinstance(trainer.optimizer, SGD) else 1
    train_ours(trainer, y, UPDATES, 2 * UPDATES, lambda i: rate(i) / divisor)
    assert_same(trainer, model)


def test_rprop():
    loss = nn.MSELoss()
    model, y = net(3), targets(loss, 3)
    own = torch.optim.Rprop(model.parameters(), lr=0.01)
    for stop in (0, 15):
        for _ in range(stop):
            own.zero_grad()
            loss(model(torch.from_numpy(X)), torch.from_numpy(y)).backward()
            own.step()
        trainer = from_torch(model, loss=loss, optimizer=own)
        assert trainer.optimizer == Rprop()
        other = torch.optim.Rprop(model.parameters(), lr=0.01)
        other.load_state_dict(own.state_dict())
        for _ in range(20):
            trainer.partial_fit(X, y)
            other.zero_grad()
            loss(model(torch.from_numpy(X)), torch.from_numpy(y)).backward()
            other.step()
        assert_same(trainer, model)
        model, own = net(3), None
        own = torch.optim.Rprop(model.parameters(), lr=0.01)


def groups(model, lr=0.02):
    """Return groups of parameters: weights decay and biases do not, the last layer is slower."""
    first, middle, last = (m for m in model if isinstance(m, nn.Linear))
    return [
        {"params": [first.weight, middle.weight], "weight_decay": 0.05},
        {"params": [first.bias, middle.bias]},
        {"params": [last.weight], "lr": lr / 2, "weight_decay": 0.05},
        {"params": [last.bias], "lr": lr / 4},
    ]


@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW", "RMSprop"])
def test_groups_of_parameters(kind):
    loss = nn.MSELoss()
    model, y = net(2), targets(loss, 2)
    own = getattr(torch.optim, kind)(groups(model), lr=0.02, weight_decay=0.0)
    train(model, loss, own, y)
    trainer = from_torch(model, loss=loss, optimizer=own)
    assert not trainer.decay_biases
    assert trainer.learning_rate_factors == ((1.0, 1.0), (1.0, 1.0), (0.5, 0.25))
    train(model, loss, own, y, UPDATES, 2 * UPDATES)
    train_ours(trainer, y, UPDATES, 2 * UPDATES)
    assert_same(trainer, model)


@pytest.mark.parametrize("frozen", ["requires_grad", "not held"])
def test_parameters_that_are_not_trained_stay(frozen):
    loss = nn.MSELoss()
    model, y = net(2), targets(loss, 2)
    if frozen == "requires_grad":
        model[0].weight.requires_grad_(False)
        own = torch.optim.Adam(model.parameters(), lr=0.02, weight_decay=0.05)
    else:
        own = torch.optim.Adam([p for p in model.parameters() if p is not model[0].weight],
            lr=0.02, weight_decay=0.05)  # fmt: skip
    train(model, loss, own, y)
    trainer = from_torch(model, loss=loss, optimizer=own)
    train(model, loss, own, y, UPDATES, 2 * UPDATES)
    train_ours(trainer, y, UPDATES, 2 * UPDATES)
    assert_same(trainer, model)
    assert trainer.learning_rate_factors[0] == (0.0, 1.0)


def test_a_state_dict_with_its_optimizer():
    loss = nn.CrossEntropyLoss()
    model, y = net(3), targets(loss, 3)
    own = OPTIMIZERS["adam"](model.parameters())
    train(model, loss, own, y)
    trainer = from_torch(
        model.state_dict(),
        activations=["tanh", "sigmoid", "identity"],
        loss=loss,
        optimizer=own,
    )
    assert trainer.output_activation == "softmax"
    train(model, loss, own, y, UPDATES, 2 * UPDATES)
    train_ours(trainer, y, UPDATES, 2 * UPDATES)
    assert_same(trainer, model)


def test_a_list_becomes_a_fleet():
    loss = nn.MSELoss()
    models = [net(2, seed=i) for i in range(3)]
    y = targets(loss, 2)
    own = [torch.optim.AdamW(m.parameters(), lr=0.01 * (1 + i)) for i, m in enumerate(models)]
    for i, (model, optimizer) in enumerate(zip(models, own, strict=True)):
        train(model, loss, optimizer, y, 0, 3 + i)
    fleet = from_torch(models, loss=loss, optimizer=own)
    assert isinstance(fleet, Fleet)
    for model, optimizer in zip(models, own, strict=True):
        for _ in range(UPDATES):
            train(model, loss, optimizer, y, 0, 1)
    fleet.fit(X[BATCHES[0]], y[BATCHES[0]], UPDATES)
    for member, model in zip(fleet, models, strict=True):
        assert_same(member, model)


def test_settings_are_taken_over():
    for name, expected, decay in (
        ("nesterov", SGD(0.9, nesterov=True, rate_in_velocity=False), 0.0),
        ("adam, settings", Adam(0.8, 0.95, 1e-2), 0.0),
        ("adamw", AdamW(), 0.05),
        ("rmsprop", RMSprop(0.99, rate_in_velocity=False), 0.0),
    ):
        model = net(2)
        trainer = from_torch(model, optimizer=OPTIMIZERS[name](model.parameters()))
        assert trainer.optimizer == expected
        assert (trainer.weight_decay, trainer.decay_biases) == (decay, decay > 0)


def test_settings_may_be_given_beside_the_modules():
    trainer = from_torch(net(2), batch_size=8, seed=3, dropout=0.5)
    assert (trainer.batch_size, trainer.seed, trainer.dropout) == (8, 3, (0.5, 0.5))


def test_dropout_goes_to_torch_and_back():
    trainer = Trainer([4, 5, 6, 2], dropout=[0.1, 0.2], dtype="float32", seed=0)
    model = to_torch(trainer)
    assert from_torch(model).dropout == (0.1, 0.2)
    assert np.array_equal(from_torch(model).parameters, trainer.parameters)


def test_the_example_of_to_torch():
    found = doctest.DocTestFinder().find(to_torch, "to_torch")
    for example in found[0].examples:
        example.options.pop(doctest.SKIP, None)
    assert doctest.DocTestRunner().run(found[0]) == (0, 4)


# Refused.


class Own(nn.Module):
    pass


def test_modules_that_jitprop_lacks_are_refused_by_name():
    linear = nn.Linear(4, 3)
    for parts, message in (
        ((linear, nn.BatchNorm1d(3)), r"got BatchNorm1d"),
        ((linear, nn.Hardtanh()), "got Hardtanh"),
        ((nn.Dropout(0.5), linear), "begin with a Linear; got Dropout"),
        ((linear, nn.ReLU(), nn.Tanh()), "Tanh must stand behind a Linear; .* behind ReLU"),
        ((linear, nn.Dropout(0.5), nn.Tanh()), "Tanh must stand behind a Linear; .* Dropout"),
        ((linear, nn.ReLU(), nn.Dropout(0.5)), "Dropout behind the output layer"),
        ((linear, nn.Softmax(dim=1), nn.Linear(3, 2)), "softmax must stand behind the last"),
        ((linear, nn.Softmax(dim=0)), "got Softmax"),
        ((linear, nn.LogSoftmax(dim=1)), "LogSoftmax needs loss=NLLLoss"),
        ((linear, nn.Softplus(threshold=5)), "Softplus must have the threshold 20; got 5"),
        ((nn.ReLU(),), "begin with a Linear; got ReLU"),
        ((), "at least one Linear"),
    ):
        with pytest.raises(ValueError, match=message):
            from_torch(nn.Sequential(*parts))
    with pytest.raises(
        TypeError, match=r"torch\.nn\.Sequential; got Own: pass a Sequential within"
    ):
        from_torch(Own())
    with pytest.raises(ValueError, match=r"got torch\.bfloat16: convert it by model\.float"):
        from_torch(nn.Sequential(linear).bfloat16())


class Linear(nn.Linear):
    """Has the name of a module of PyTorch, and computes something else."""

    def forward(self, x):
        return 3 * super().forward(x)


def with_own_forward(linear):
    linear.forward = lambda x: 3 * x
    return linear


def with_hook(linear):
    linear.register_forward_hook(lambda module, inputs, output: 3 * output)
    return linear


def with_hook_of_gradient(linear):
    linear.weight.register_hook(lambda gradient: 3 * gradient)
    return linear


def test_modules_that_compute_something_else_are_refused_by_name():
    for change, message in (
        (lambda linear: Linear(4, 3), r"PyTorch's own modules; got Linear of .*test_torch"),
        (with_own_forward, "PyTorch's own modules; got Linear"),
        (nn.utils.parametrizations.weight_norm, "got ParametrizedLinear"),
        (with_hook, "no hooks, .* this Linear has some"),
        (with_hook_of_gradient, "no hooks"),
        (nn.utils.spectral_norm, "no hooks"),
        (lambda linear: prune.l1_unstructured(linear, "weight", 0.5), "no hooks"),
        (lambda linear: linear.to("meta"), "on the device meta"),
    ):
        with pytest.raises(ValueError, match=message):
            from_torch(nn.Sequential(change(nn.Linear(4, 3)), nn.Tanh(), nn.Linear(3, 2)))
    model = nn.Sequential(nn.Linear(4, 3))
    model.register_forward_pre_hook(lambda module, inputs: (3 * inputs[0],))
    with pytest.raises(ValueError, match="this Sequential has some"):
        from_torch(model)


def test_frozen_parameters_stay_without_an_optimizer():
    model = net()
    model[0].requires_grad_(False)
    trainer = from_torch(model, loss=nn.MSELoss())
    assert trainer.learning_rate_factors == ((0.0, 0.0), (1.0, 1.0), (1.0, 1.0))
    state = from_torch(model.state_dict(), activations=["tanh", "sigmoid", "identity"])
    assert state.learning_rate_factors is None


def test_losses_that_jitprop_lacks_are_refused_by_name():
    for loss, output, message in (
        (nn.KLDivLoss(), (), "loss must be one of MSELoss.*got KLDivLoss"),
        (nn.MSELoss(reduction="none"), (), "reduction 'mean' or 'sum'; got 'none'"),
        (nn.BCEWithLogitsLoss(pos_weight=torch.ones(2)), (), "must have pos_weight=None"),
        (nn.BCELoss(weight=torch.ones(2)), (nn.Sigmoid(),), "must have weight=None"),
        (nn.BCELoss(), (), "BCELoss needs a net that ends in sigmoid; this one ends in identity"),
        (nn.CrossEntropyLoss(), (nn.Softmax(dim=1),), "ends in identity; this one ends in softmax"),
        (nn.CrossEntropyLoss(ignore_index=1), (), "must have ignore_index=-100"),
        (nn.CrossEntropyLoss(torch.ones(2), label_smoothing=0.1), (), "weight and label_smoothing"),
        (nn.PoissonNLLLoss(log_input=False), (), "must have log_input=True"),
        (nn.MSELoss(), (nn.LogSoftmax(dim=1),), "LogSoftmax needs loss=NLLLoss"),
    ):
        with pytest.raises(ValueError, match=message):
            from_torch(net(2, *output), loss=loss)


def test_optimizers_that_jitprop_lacks_are_refused_by_name():
    def last(kind, **settings):
        return lambda m: getattr(torch.optim, kind)(m.parameters(), lr=0.1, **settings)

    def two(m, **settings):
        return torch.optim.Adam([{"params": m[0].parameters()},
            {"params": m[2].parameters(), **settings}])  # fmt: skip

    for make, message in (
        (last("NAdam"), "one of SGD, Adam, AdamW, RMSprop, Rprop; got NAdam"),
        (last("Adam", amsgrad=True), "Adam must have amsgrad=False"),
        (last("SGD", maximize=True), "SGD must have maximize=False"),
        (last("SGD", momentum=0.9, dampening=0.1), "SGD must have dampening=0"),
        (last("RMSprop", centered=True), "RMSprop must have centered=False"),
        (lambda m: two(m, betas=(0.5, 0.9)), "the same betas"),
        (lambda m: two(m, weight_decay=0.1), "weight_decay must be the same for all weights"),
        (lambda m: torch.optim.SGD(net(2).parameters(), lr=0.1), "holds none of them"),
        (last("SGD"), None),
    ):
        model = net(2)
        if message is None:
            from_torch(model, optimizer=make(model))
            continue
        with pytest.raises(ValueError, match=message):
            from_torch(model, optimizer=make(model))


def test_parameters_with_fewer_updates_are_refused():
    loss = nn.MSELoss()
    model, y = net(2), targets(loss, 2)
    model[0].weight.requires_grad_(False)
    own = torch.optim.Adam(model.parameters(), lr=0.1)
    train(model, loss, own, y)
    model[0].weight.requires_grad_(True)
    with pytest.raises(ValueError, match="the same number of updates; got 0 and 10"):
        from_torch(model, optimizer=own)


def test_shared_parameters_are_refused():
    linear = nn.Linear(3, 3)
    model = nn.Sequential(linear, nn.Tanh(), linear)
    with pytest.raises(ValueError, match="some are shared"):
        from_torch(model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(ValueError, match="some are shared"):
        from_torch(model)
    with pytest.raises(ValueError, match="some are shared"):
        from_torch(model.state_dict(), activations=["tanh", "identity"])


def test_activations_that_torch_lacks_are_refused():
    with pytest.raises(ValueError, match="PyTorch has as a module; got 'exp'"):
        to_torch(Trainer([2, 1], output_activation="exp", loss="poisson"))
    custom = CustomActivation(lambda z: 2 * z, lambda z: 2.0, name="double")
    with pytest.raises(ValueError, match="PyTorch has as a module; got"):
        to_torch(Trainer([2, 3, 1], activation=custom))
