"""The forms of optimizers that other systems use: by hand, in PyTorch's numbers, on every route."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from jitprop import SGD, Adam, AdamW, Cosine, EachUpdate, Fleet, RMSprop, Trainer
from jitprop.files import encoding
from nets import data

FORMS = {
    "adam": Adam(epsilon=1e-3),
    "adamw": AdamW(epsilon=1e-3),
    "adam with epsilon_hat": Adam(epsilon=1e-3, epsilon_hat=True),
    "adamw with epsilon_hat": AdamW(epsilon=1e-3, epsilon_hat=True),
    "sgd": SGD(),
    "momentum": SGD(momentum=0.9, rate_in_velocity=False),
    "nesterov": SGD(momentum=0.9, nesterov=True, rate_in_velocity=False),
    "rmsprop with momentum": RMSprop(epsilon=1e-3, momentum=0.7, rate_in_velocity=False),
    "rmsprop, epsilon in root": RMSprop(epsilon=1e-3, epsilon_in_root=True),
    "rmsprop with momentum, epsilon in root": RMSprop(
        epsilon=1e-3, momentum=0.7, epsilon_in_root=True
    ),
    "rmsprop with both": RMSprop(
        epsilon=1e-3, momentum=0.7, epsilon_in_root=True, rate_in_velocity=False
    ),
}

# PyTorch 2.13.0, float64: a net w x + b that begins with w = 0.7 and b = -0.2, one sample x = 2
# with y = 3, the loss 1/2 (w x + b - y)**2, and three updates with the rates below: w and b after
# each. Adam(eps=0.1, betas=(0.8, 0.95)), and so on: the arguments are those of the object here.
RATES = 0.05, 0.02, 0.01
TORCH = {
    "Adam": (
        Adam(beta_1=0.8, beta_2=0.95, epsilon=0.1),
        [
            (0.7486486486486486, -0.15263157894736842),
            (0.7679993987630023, -0.13381031135664445),
            (0.7776338426081806, -0.12444603389788854),
        ],
    ),
    "SGD": (
        SGD(momentum=0.9, rate_in_velocity=False),
        [
            (0.88, -0.11),
            (0.9988, -0.05059999999999999),
            (1.07332, -0.013339999999999992),
        ],
    ),
    "SGD with nesterov": (
        SGD(momentum=0.9, nesterov=True, rate_in_velocity=False),
        [
            (1.042, -0.029000000000000005),
            (1.17214, 0.03606999999999999),
            (1.2372397, 0.06861985),
        ],
    ),
    "RMSprop": (
        RMSprop(rho=0.8, epsilon=0.1, rate_in_velocity=False),
        [
            (0.8052650696684635, -0.10055077982602949),
            (0.8341684280010332, -0.0729842571410603),
            (0.8466083547363662, -0.06107182841167959),
        ],
    ),
    "RMSprop with momentum": (
        RMSprop(rho=0.8, epsilon=0.1, momentum=0.7, rate_in_velocity=False),
        [
            (0.8052650696684635, -0.10055077982602949),
            (0.863642647508203, -0.04513847549234856),
            (0.8959793008052068, -0.014354114150862409),
        ],
    ),
}

# The same with weight_decay=0.1, which acts on biases there.
TORCH_DECAYED = {
    "SGD": (
        SGD(),
        [
            (0.8765, -0.109),
            (0.9289869999999999, -0.081662),
            (0.9525317729999999, -0.069343458),
        ],
    ),
    "SGD with momentum": (
        SGD(momentum=0.9, rate_in_velocity=False),
        [
            (0.8765, -0.109),
            (0.9925269999999999, -0.048901999999999994),
            (1.0650235829999999, -0.011170517999999989),
        ],
    ),
    "Adam": (
        Adam(beta_1=0.8, beta_2=0.95, epsilon=0.1),
        [
            (0.7486225895316804, -0.15260416666666668),
            (0.767957710564403, -0.13377470720051293),
            (0.7775824070812694, -0.1244073795755781),
        ],
    ),
    "AdamW": (
        AdamW(beta_1=0.8, beta_2=0.95, epsilon=0.1),
        [
            (0.7451486486486487, -0.15163157894736842),
            (0.7630144673975817, -0.13250097501197),
            (0.771890741257505, -0.12299875439401108),
        ],
    ),
    "RMSprop": (
        RMSprop(rho=0.8, epsilon=0.1, momentum=0.7, rate_in_velocity=False),
        [
            (0.8051431381319127, -0.10042987419276754),
            (0.8633343431181761, -0.0450238280516607),
            (0.8955116592455915, -0.014275989409124331),
        ],
    ),
}

# name: (sizes, samples, batch size). Batches of 512 and more pass in chunks.
ROUTES = {
    "lanes": ([5, 4, 3], 50, 16),
    "blocks": ([40, 70, 33, 5], 131, 50),
    "chunks": ([20, 40, 5], 1100, 600),
}

every_form = pytest.mark.parametrize("optimizer", FORMS.values(), ids=list(FORMS))
both_dtypes = pytest.mark.parametrize("dtype", ["float64", "float32"])

LINE = {"output_activation": "identity", "learning_rate": 0.05, "dtype": "float64"}
X, Y, BEGIN = [[2.0]], [[3.0]], (0.7, -0.2)


def line(backend, **arguments):
    """Return a net for w x + b; a sample x with target y has the loss E = 1/2 (w x + b - y)**2."""
    return Trainer([1, 1], init=([[[0.7]]], [[-0.2]]), backend=backend, **LINE | arguments)


def lines(backend, **arguments):
    """Return a fleet of three such nets."""
    fleet = Fleet([1, 1], members=3, backend=backend, **LINE | arguments)
    fleet.set_parameters([np.full((3, 1, 1), 0.7)], [np.full((3, 1), -0.2)])
    return fleet


def gradient(p):
    """The gradient of such a net's loss."""
    e = p[0] * 2.0 + p[1] - 3.0
    return e * 2.0, e


@pytest.mark.parametrize("make", [line, lines])
@pytest.mark.parametrize("decay", [{}, {"weight_decay": 0.1, "decay_biases": True}], ids=bool)
@pytest.mark.parametrize("name", TORCH | TORCH_DECAYED)
def test_pytorchs_numbers(backend, make, name, decay):
    table = TORCH_DECAYED if decay else TORCH
    if name not in table:
        return
    optimizer, expected = table[name]
    net = make(backend, optimizer=optimizer, **decay)
    for rate, p in zip(RATES, expected, strict=True):
        net.learning_rate = rate
        net.fit(X, Y, 1)
        np.testing.assert_allclose(np.atleast_2d(net.parameters)[-1], p, rtol=1e-14)


@pytest.mark.parametrize("make", [line, lines])
@pytest.mark.parametrize("cls", [Adam, AdamW])
@pytest.mark.parametrize("hat", [False, True])
def test_adam_by_hand(backend, make, cls, hat):
    b1, b2, epsilon, rate, decay = 0.8, 0.95, 0.1, 0.05, 0.1
    net = make(backend, optimizer=cls(b1, b2, epsilon, hat), weight_decay=decay)
    p, m, v = list(BEGIN), [0.0, 0.0], [0.0, 0.0]
    for t in 1, 2, 3:
        for i, g in enumerate(gradient(p)):
            own = decay if i == 0 else 0.0
            if cls is AdamW:
                p[i] -= rate * own * p[i]
            else:
                g += own * p[i]
            m[i] = b1 * m[i] + (1 - b1) * g
            v[i] = b2 * v[i] + (1 - b2) * g * g
            m_hat, v_hat = m[i] / (1 - b1**t), v[i] / (1 - b2**t)
            added = epsilon / (1 - b2**t) ** 0.5 if hat else epsilon
            p[i] -= rate * m_hat / (v_hat**0.5 + added)
        net.fit(X, Y, 1)
        np.testing.assert_allclose(np.atleast_2d(net.parameters)[-1], p, rtol=1e-14)


@pytest.mark.parametrize("make", [line, lines])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("inside", [False, True])
def test_momentum_by_hand(backend, make, nesterov, inside):
    optimizer, decay = SGD(0.9, nesterov, inside), 0.1
    net = make(backend, optimizer=optimizer, weight_decay=decay)
    p, v = list(BEGIN), [0.0, 0.0]
    for rate in RATES:
        for i, g in enumerate(gradient(p)):
            g += decay * p[i] if i == 0 else 0.0
            if inside:
                v[i] = 0.9 * v[i] - rate * g
                p[i] += 0.9 * v[i] - rate * g if nesterov else v[i]
            else:
                v[i] = 0.9 * v[i] + g
                p[i] -= rate * (g + 0.9 * v[i] if nesterov else v[i])
        net.learning_rate = rate
        net.fit(X, Y, 1)
        np.testing.assert_allclose(np.atleast_2d(net.parameters)[-1], p, rtol=1e-14)


@pytest.mark.parametrize("make", [line, lines])
@pytest.mark.parametrize("momentum", [0.0, 0.7])
@pytest.mark.parametrize("in_root", [False, True])
@pytest.mark.parametrize("inside", [False, True])
def test_rmsprop_by_hand(backend, make, momentum, in_root, inside):
    rho, epsilon, decay = 0.8, 0.1, 0.1
    optimizer = RMSprop(rho, momentum, epsilon, in_root, inside)
    net = make(backend, optimizer=optimizer, weight_decay=decay)
    p, v, u = list(BEGIN), [0.0, 0.0], [0.0, 0.0]
    for rate in RATES:
        for i, g in enumerate(gradient(p)):
            g += decay * p[i] if i == 0 else 0.0
            v[i] = rho * v[i] + (1 - rho) * g * g
            scaled = g / ((v[i] + epsilon) ** 0.5 if in_root else v[i] ** 0.5 + epsilon)
            if inside:
                u[i] = momentum * u[i] - rate * scaled
                p[i] += u[i]
            else:
                u[i] = momentum * u[i] + scaled
                p[i] -= rate * u[i]
        net.learning_rate = rate
        net.fit(X, Y, 1)
        np.testing.assert_allclose(np.atleast_2d(net.parameters)[-1], p, rtol=1e-14)


def test_optaxs_numbers(backend):
    # optax 0.2.8, float64: rmsprop(0.05, decay=0.8, eps=0.1), without and with momentum=0.7, and
    # the parameters after three updates of the net above.
    for momentum, expected in (
        (0.0, (0.9440531144466208, 0.03377387651183427)),
        (0.7, (1.1185167020509157, 0.1997338368408769)),
    ):
        net = line(backend, optimizer=RMSprop(0.8, momentum, 0.1, epsilon_in_root=True))
        net.fit(X, Y, 3)
        np.testing.assert_allclose(net.parameters, expected, rtol=1e-14)


def test_members_keep_the_form_with_momenta_of_their_own(backend):
    # Momentum 0 among them: there both forms are the same.
    momenta = [0.0, 0.5, 0.9]
    arguments = {"learning_rate": Cosine(0.5, 4), "dtype": "float64", "backend": backend}
    X, y = data([2, 4, 1], 9, "half_squared_error", False, np.random.default_rng(0))
    form = SGD(momentum=0.5, rate_in_velocity=False)
    fleet = Fleet([2, 4, 1], members=3, seed=[0, 1, 2], optimizer=form, momentum=momenta,
        **arguments)  # fmt: skip
    fleet.fit(X, y, 4)
    for i, momentum in enumerate(momenta):
        optimizer = SGD(momentum, rate_in_velocity=False)
        alone = Trainer([2, 4, 1], seed=i, optimizer=optimizer, **arguments)
        alone.fit(X, y, 4)
        assert_close(fleet.parameters[i], alone.parameters, "float64")
        assert fleet[i].optimizer == optimizer


def test_without_momentum_both_forms_are_one(backend):
    X, y = data([2, 4, 1], 9, "half_squared_error", False, np.random.default_rng(0))
    for cls in SGD, RMSprop:
        nets = [
            Trainer([2, 4, 1], optimizer=cls(rate_in_velocity=inside), seed=0, backend=backend)
            for inside in (True, False)
        ]
        for net in nets:
            net.fit(X, y, 3)
        assert nets[0].parameters.tobytes() == nets[1].parameters.tobytes()


def settings(optimizer, route, **more):
    sizes, n, batch_size = ROUTES[route]
    return sizes, n, {
        "optimizer": optimizer, "batch_size": batch_size, "weight_decay": 0.01, "dropout": 0.1,
        "clip_norm": 0.5, "learning_rate": EachUpdate(Cosine(0.01, epochs=9)), "seed": 3,
        "activation": "tanh", "learning_rate_factors": [(0.5, 2.0), *[1.0] * (len(sizes) - 2)],
        **more,
    }  # fmt: skip


@both_dtypes
@every_form
@pytest.mark.parametrize(
    ("route", "more"),
    [
        ("lanes", {"decay_biases": True}),
        ("blocks", {"decay_biases": True}),
        ("chunks", {"decay_biases": True}),
        ("lanes", {}),
        ("lanes", {"input_scale_rate": 3.0}),
        ("lanes", {"clip_norm": None}),
        ("blocks", {}),
        ("blocks", {"input_scale_rate": 3.0, "clip_norm": None}),
        ("chunks", {"clip_norm": None, "dropout": 0.0}),
    ],
)
def test_kernels_agree_with_the_reference(rng, route, more, optimizer, dtype):
    sizes, n, arguments = settings(optimizer, route, dtype=dtype, **more)
    X, y = data(sizes, n, "half_squared_error", False, rng)
    weights = rng.uniform(0.5, 2.0, n)
    nets = [Trainer(sizes, backend=backend, **arguments) for backend in ("numba", "numpy")]
    for net in nets:
        net.fit(X, y, 4, sample_weight=weights)
    assert_close(*(net.parameters for net in nets), dtype)


@both_dtypes
@every_form
@pytest.mark.parametrize("decay_biases", [False, True])
@pytest.mark.parametrize("sizes", [[2, 4, 1], [20, 30, 5]])
def test_fleets_agree_with_the_reference(rng, sizes, optimizer, dtype, decay_biases):
    X, y = data(sizes, 23, "half_squared_error", False, rng)
    fleets = [
        Fleet(
            sizes, members=5, backend=backend, optimizer=optimizer, dtype=dtype, batch_size=7,
            weight_decay=[0.0, 0.01, 0.02, 0.1, 0.2], dropout=0.1, seed=3,
            learning_rate=EachUpdate(Cosine(0.01, epochs=9)),
            learning_rate_factors=[(0.5, 2.0), 1.0], decay_biases=decay_biases,
        )
        for backend in ("numba", "numpy")
    ]  # fmt: skip
    for fleet in fleets:
        fleet.fit(X, y, 2)
        fleet.fit(X, y, 2)
    assert_close(*(fleet.parameters for fleet in fleets), dtype)


def assert_close(found, expected, dtype):
    tolerance = 1e-10 if dtype == "float64" else 1e-4
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@both_dtypes
def test_members_with_other_numbers_of_updates_have_their_own_epsilon(dtype):
    X, y = data([2, 4, 1], 9, "half_squared_error", False, np.random.default_rng(0))
    arguments = {"optimizer": Adam(epsilon=0.1), "learning_rate": 0.01, "dtype": dtype}
    fleet = Fleet([2, 4, 1], members=3, seed=[0, 1, 2], **arguments)
    fleet._model.state.updates[:] = updates = 0, 3, 70  # as if members had stopped before others
    fleet.fit(X, y, 3)
    for i, number in enumerate(updates):
        alone = Trainer([2, 4, 1], seed=i, **arguments)
        alone._model.state.updates = number
        alone.fit(X, y, 3)
        assert_close(fleet.parameters[i], alone.parameters, dtype)


@both_dtypes
@pytest.mark.parametrize("hat", [False, True])
def test_a_parameter_without_gradient_stays_even_with_the_smallest_epsilon(backend, dtype, hat):
    smallest = float(np.finfo(dtype).smallest_subnormal)
    for make in line, lines:
        net = make(backend, dtype=dtype, optimizer=Adam(epsilon=smallest, epsilon_hat=hat))
        before = np.atleast_2d(net.parameters)[-1].copy()
        net.fit([[0.0]], Y, 1)  # the weight's gradient is 0
        after = np.atleast_2d(net.parameters)[-1]
        assert after[0] == before[0]
        assert after[1] > before[1]


@pytest.mark.parametrize("cls", [Adam, AdamW])
def test_what_was_saved_before_epsilon_hat_came_has_that_form(cls):
    encoded = encoding.encoded("optimizer", cls(beta_1=0.5))
    assert encoded.pop("epsilon_hat") is False
    assert encoding.decoded(encoded, {}) == cls(beta_1=0.5, epsilon_hat=True)
    pickled = cls.__new__(cls)
    pickled.__dict__.update(beta_1=0.5, beta_2=0.999, epsilon=1e-8)
    old = pickle.loads(pickle.dumps(pickled))
    assert old == cls(beta_1=0.5, epsilon_hat=True)
    for now in cls(), cls(epsilon_hat=True):
        assert pickle.loads(pickle.dumps(now)) == now
        assert encoding.decoded(encoding.encoded("optimizer", now), {}) == now
