"""
Models of Keras 3, beside Keras itself on JAX in float64.

To 1e-9 are compared: the layers, and the updates of `optimizer.apply`, with JAX's gradients of the
losses' formulas. Settings such as rates are numbers that float32 holds, as Keras keeps some of them
so. What Keras 3.15 computes in float32, with floatx "float64" too, is compared to 1e-6: tanh, the
losses and `fit`. On PyTorch products of matrices are float32 too.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest

jax = pytest.importorskip("jax")
jax.config.update("jax_enable_x64", True)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    keras = pytest.importorskip("keras")

from jitprop import Fleet, convert  # noqa: E402

# Keras 3.15 makes NumPy arrays of its variables in a way that NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

layers, optimizers, losses = keras.layers, keras.optimizers, keras.losses
X = np.random.default_rng(0).normal(size=(8, 3))
Y = np.random.default_rng(1).uniform(0.1, 0.9, (8, 3))
Y /= Y.sum(axis=1, keepdims=True)
RATE, HALF = 2.0**-4, 0.5


@pytest.fixture(autouse=True, scope="module")
def float64():
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")  # the first layer of a process has set it
    yield
    keras.config.set_floatx(before[0])
    keras.config.set_dtype_policy(before[1])


def model(output="linear", activation="softsign", k=3, **settings):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            layers.Input((3,)),
            layers.Dense(5, activation=activation, bias_initializer="random_normal", **settings),
            layers.Dense(k, activation=output, **settings),
        ]
    )


FORMULAS = {
    "mse": lambda y, a: jax.numpy.mean((a - y) ** 2),
    "huber": lambda y, a: jax.numpy.mean(
        jax.numpy.where(abs(a - y) <= 1, (a - y) ** 2 / 2, abs(a - y) - 0.5)
    ),
    "mae": lambda y, a: jax.numpy.mean(abs(a - y)),
    "binary": lambda y, a: -jax.numpy.mean(y * jax.numpy.log(a) + (1 - y) * jax.numpy.log(1 - a)),
    "categorical": lambda y, a: (
        -jax.numpy.mean(((0.875 * y + 0.125 / 3) * jax.numpy.log(a)).sum(axis=1))
    ),
    "sparse": lambda y, a: -jax.numpy.mean(jax.numpy.log(a[np.arange(len(a)), y])),
    "logits": lambda y, a: -jax.numpy.mean((y * jax.nn.log_softmax(a)).sum(axis=1)),
    "sum": lambda y, a: ((a - y) ** 2).mean(axis=1).sum(),
}
"""The losses of Keras, in float64. Keras' own functions have parts in float32."""


def update(net, y, loss="mse"):
    """Do one update of Keras' optimizer with JAX's gradients."""
    fixed = [v.value for v in net.non_trainable_variables]

    def total(values):
        out, _, added = net.stateless_call(values, fixed, X, return_losses=True)
        return FORMULAS[loss](y, out) + sum(added)

    gradients = jax.grad(total)([v.value for v in net.trainable_variables])
    net.optimizer.apply(gradients, net.trainable_variables)


def difference(net, trainer):
    found = np.concatenate([a.ravel() for a in convert.to_keras_weights(trainer)])
    expected = np.concatenate([a.ravel() for a in net.get_weights()])
    return np.abs(found - expected).max() / np.abs(expected).max()


def check_updates(net, y=Y, loss="mse"):
    """Convert after 3 updates, then do 20 on both sides."""
    for _ in range(3):
        update(net, y, loss)
    trainer = convert.from_keras(net)
    for _ in range(20):
        update(net, y, loss)
    trainer.fit(X, y, epochs=20)
    assert difference(net, trainer) < 1e-9
    return trainer


EPSILON = 2.0**-23
ADAM = {"learning_rate": 2.0**-6, "beta_1": 0.875, "beta_2": 0.984375, "epsilon": EPSILON}
RMSPROP = {"learning_rate": 2.0**-7, "rho": 0.875, "epsilon": EPSILON}
OPTIMIZERS = {
    "SGD": lambda: optimizers.SGD(RATE),
    "momentum": lambda: optimizers.SGD(RATE, momentum=HALF),
    "Nesterov": lambda: optimizers.SGD(RATE, momentum=HALF, nesterov=True),
    "SGD, decay": lambda: optimizers.SGD(RATE, weight_decay=2.0**-5),
    "SGD, clipped": lambda: optimizers.SGD(RATE, global_clipnorm=2.0**-6),
    "Adam": lambda: optimizers.Adam(**ADAM),
    "Adam, clipped": lambda: optimizers.Adam(**ADAM, global_clipnorm=2.0**-6),
    "Adam, decay": lambda: optimizers.Adam(**ADAM, weight_decay=2.0**-5),
    "AdamW": lambda: optimizers.AdamW(**ADAM, weight_decay=2.0**-5),
    "RMSprop": lambda: optimizers.RMSprop(**RMSPROP),
    "RMSprop, momentum": lambda: optimizers.RMSprop(**RMSPROP, momentum=HALF),
}
LOSSES = {
    "mse": ("linear", "mse"),
    "mae": ("sigmoid", "mean_absolute_error"),
    "huber": ("linear", "huber"),
    "binary": ("sigmoid", "binary_crossentropy"),
    "categorical": ("softmax", losses.CategoricalCrossentropy(label_smoothing=0.125)),
    "sum": ("sigmoid", losses.MeanSquaredError(reduction="sum")),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("loss", ["mse", "categorical"])
def test_20_updates_of_each_optimizer_go_on_from_its_state(optimizer, loss):
    output, name = LOSSES[loss]
    net = model(output)
    net.compile(OPTIMIZERS[optimizer](), name)
    check_updates(net, loss=loss)


@pytest.mark.parametrize("loss", LOSSES)
def test_20_updates_of_each_loss(loss):
    output, name = LOSSES[loss]
    net = model(output)
    net.compile(optimizers.Adam(**ADAM), name)
    check_updates(net, loss=loss)


@pytest.mark.parametrize("loss", LOSSES)
def test_20_epochs_of_fit_of_keras_itself(loss):
    output, name = LOSSES[loss]
    net = model(output)
    net.compile(optimizers.SGD(RATE, momentum=HALF), name)
    net.fit(X, Y, batch_size=8, epochs=3, verbose=0)
    trainer = convert.from_keras(net)
    net.fit(X, Y, batch_size=8, epochs=20, verbose=0)
    trainer.fit(X, Y, epochs=20)
    assert difference(net, trainer) < 1e-6


@pytest.mark.parametrize("k", [1, 2])
def test_20_updates_with_the_mean_over_few_outputs(k):
    net = model(k=k)
    net.compile(optimizers.RMSprop(**RMSPROP), "mse")
    check_updates(net, Y[:, :k])


def test_sparse_labels():
    labels = Y.argmax(axis=1)
    net = model("softmax")
    net.compile(optimizers.SGD(RATE), "sparse_categorical_crossentropy")
    check_updates(net, labels, "sparse")


def test_logits_become_probabilities():
    net = model()
    net.compile(optimizers.SGD(RATE), losses.CategoricalCrossentropy(from_logits=True))
    trainer = check_updates(net, loss="logits")
    expected = np.asarray(jax.nn.softmax(np.asarray(net(X))))
    np.testing.assert_allclose(trainer.predict(X), expected, rtol=0, atol=1e-9)


def test_l2_regularizers_are_weight_decay():
    both = {
        "kernel_regularizer": keras.regularizers.L2(2.0**-5),
        "bias_regularizer": keras.regularizers.L2(2.0**-5),
    }
    for settings in (both, {"kernel_regularizer": keras.regularizers.L2(2.0**-5)}):
        net = model(**settings)
        net.compile(optimizers.Adam(**ADAM), "mse")
        check_updates(net)


def test_layers_without_biases_and_layers_that_are_not_trained():
    net = keras.Sequential(
        [
            layers.Input((3,)),
            layers.Dense(5, activation="softsign", use_bias=False),
            layers.Dense(4, activation="sigmoid", trainable=False),
            layers.Dense(3),
        ]
    )
    net.compile(optimizers.Adam(**ADAM), "mse")
    for _ in range(3):
        update(net, Y)
    trainer = convert.from_keras(net)
    for _ in range(20):
        update(net, Y)
    frozen = trainer.weights[1].copy()
    trainer.fit(X, Y, epochs=20)
    assert np.array_equal(trainer.weights[1], frozen)
    assert not trainer.biases[0].any()
    np.testing.assert_allclose(trainer.predict(X), np.asarray(net(X)), rtol=0, atol=1e-9)


ACTIVATIONS = [
    "linear", "relu", "sigmoid", "tanh", "softplus", "softsign", "elu", "selu", "gelu", "silu",
    "swish", "mish", "hard_sigmoid", "leaky_relu",
]  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_predictions_with_each_activation(name, tmp_path):
    net = model(activation=name)
    net.save(tmp_path / "net.keras")
    trainer = convert.from_keras(tmp_path / "net.keras")
    atol = 1e-6 if name == "tanh" else 1e-12  # Keras 3.15's tanh is float32, on JAX too
    np.testing.assert_allclose(trainer.predict(X), np.asarray(net(X)), rtol=0, atol=atol)


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.ReLU(),
        lambda: layers.ReLU(negative_slope=0.125),
        lambda: layers.LeakyReLU(),
        lambda: layers.LeakyReLU(negative_slope=0.125),
        lambda: layers.ELU(alpha=0.5),
        lambda: layers.Activation("softsign"),
    ],
)
def test_predictions_with_layers_in_a_functional_model_with_names(make):
    given = keras.Input((3,), name="given")
    hidden = layers.Dense(5, name="first one")(given)
    hidden = layers.Dropout(0.25)(make()(hidden))
    hidden = layers.Dense(4, name="a")(layers.Flatten()(hidden))
    net = keras.Model(given, layers.Softmax()(layers.Dense(3, name="dense")(hidden)))
    trainer = convert.from_keras(net)
    assert trainer.dropout == (0.25, 0.0)
    np.testing.assert_allclose(trainer.predict(X), np.asarray(net(X)), rtol=0, atol=1e-12)


def test_float32_stays_float32():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        net = model("sigmoid")
        net.compile("adam", "binary_crossentropy")
        trainer = convert.from_keras(net)
    finally:
        keras.config.set_dtype_policy(before)
    assert trainer.dtype == np.float32
    expected = np.asarray(net(X.astype(np.float32)))
    np.testing.assert_allclose(trainer.predict(X), expected, rtol=0, atol=1e-6)


def test_parameters_go_back_into_a_model():
    net = model()
    trainer = convert.from_keras(net)
    trainer.fit(X, Y, epochs=2)
    net.set_weights(convert.to_keras_weights(trainer))
    np.testing.assert_allclose(trainer.predict(X), np.asarray(net(X)), rtol=0, atol=1e-12)


def test_models_become_a_fleet():
    nets = [model(), model()]
    nets[1].layers[0].kernel.assign(nets[0].layers[0].kernel.value * 2)
    for net in nets:
        net.compile(optimizers.Adam(**ADAM), "mse")
        update(net, Y)
    fleet = convert.from_keras(nets)
    assert isinstance(fleet, Fleet)
    for net in nets:
        update(net, Y)
    fleet.fit(X, Y, epochs=1)
    assert all(difference(net, member) < 1e-9 for net, member in zip(nets, fleet, strict=True))


class Own(keras.layers.Layer):
    def call(self, x):
        return 2 * x


REFUSED = {
    "of the class 'BatchNormalization'": lambda: [layers.BatchNormalization()],
    "of the class 'PReLU'": lambda: [layers.PReLU()],
    "of the class 'Lambda'": lambda: [layers.Lambda(lambda x: x)],
    "not Keras' own": lambda: [Own()],
    "two activations behind one Dense": lambda: [
        layers.Dense(3, activation="tanh"),
        layers.ReLU(),
    ],
    "the activation 'relu6'": lambda: [layers.Dense(3, activation="relu6")],
    "max_value or threshold": lambda: [layers.Dense(3), layers.ReLU(max_value=6.0)],
    "kernel_constraint": lambda: [layers.Dense(3, kernel_constraint="non_neg")],
    "activity_regularizer in layer": lambda: [layers.Dense(3, activity_regularizer="l2")],
    "the dtype 'mixed_float16' in layer": lambda: [layers.Dense(3, dtype="mixed_float16")],
    "Dropout before the activation": lambda: [
        layers.Dense(3),
        layers.Dropout(0.5),
        layers.ReLU(),
        layers.Dense(3),
    ],
}


@pytest.mark.parametrize("message", REFUSED)
def test_layers_that_jitprop_does_not_have_are_refused_by_name(message):
    net = keras.Sequential([layers.Input((3,)), layers.Dense(4), *REFUSED[message]()])
    with pytest.raises(ValueError, match=message):
        convert.from_keras(net)


def test_a_layer_that_is_used_again_is_refused():
    dense = layers.Dense(3)
    net = keras.Sequential([layers.Input((3,)), dense, layers.Activation("tanh"), dense])
    with pytest.raises(ValueError, match="must use each layer once"):
        convert.from_keras(net)


def relu(x):
    return 2 * x


def test_functions_with_a_name_of_keras_are_refused():
    net = model(activation=relu)
    with pytest.raises(
        ValueError, match=r"the function relu \(function\), which is not Keras' own"
    ):
        convert.from_keras(net)
    net = model()
    net.compile("sgd", losses.mean_squared_error)
    assert convert.from_keras(net).loss.name == "squared_error"


def test_branches_are_refused():
    given = keras.Input((3,))
    hidden = layers.Dense(3)(given)
    for output in (layers.Add()([hidden, given]), layers.Concatenate()([hidden, hidden])):
        with pytest.raises(ValueError, match="must be a chain of layers"):
            convert.from_keras(keras.Model(given, output))


TRAINING = {
    "optimizer 'Nadam'": {"optimizer": "nadam", "loss": "mse"},
    "has amsgrad": {"optimizer": lambda: optimizers.Adam(amsgrad=True), "loss": "mse"},
    "has centered": {"optimizer": lambda: optimizers.RMSprop(centered=True), "loss": "mse"},
    "has clipnorm": {"optimizer": lambda: optimizers.SGD(clipnorm=1.0), "loss": "mse"},
    "has clipvalue": {"optimizer": lambda: optimizers.SGD(clipvalue=1.0), "loss": "mse"},
    "has use_ema": {"optimizer": lambda: optimizers.Adam(use_ema=True), "loss": "mse"},
    "weight_decay in its optimizer RMSprop": {
        "optimizer": lambda: optimizers.RMSprop(weight_decay=0.1), "loss": "mse",
    },
    "schedule 'ExponentialDecay'": {
        "optimizer": lambda: optimizers.SGD(optimizers.schedules.ExponentialDecay(0.1, 5, 0.9)),
        "loss": "mse",
    },
    "does not save its delta": {"optimizer": "sgd", "loss": lambda: losses.Huber(delta=0.25)},
    "loss 'log_cosh'": {"optimizer": "sgd", "loss": "log_cosh"},
    "loss 'Poisson'": {"optimizer": "sgd", "loss": lambda: losses.Poisson()},
    "output activation softmax": {"optimizer": "sgd", "loss": "categorical_crossentropy"},
}  # fmt: skip


@pytest.mark.parametrize("message", TRAINING)
def test_training_that_jitprop_does_not_have_is_refused_by_name(message):
    net = model()
    given = TRAINING[message]
    net.compile(**{k: v() if callable(v) else v for k, v in given.items()})
    with pytest.raises(ValueError, match=message):
        convert.from_keras(net)
    trainer = convert.from_keras(net, optimizer="adam", loss="squared_error")
    np.testing.assert_allclose(trainer.predict(X), np.asarray(net(X)), rtol=0, atol=1e-12)


def test_decay_that_leaves_variables_out_is_refused():
    net = model()
    optimizer = optimizers.AdamW()
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    net.compile(optimizer, "mse")
    with pytest.raises(ValueError, match="exclude_from_weight_decay"):
        convert.from_keras(net)


def test_an_older_file_is_refused(tmp_path):
    path = tmp_path / "net.h5"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model().save(path)
    with pytest.raises(ValueError, match=r"save it under a name that ends in \.keras"):
        convert.from_keras(path)
