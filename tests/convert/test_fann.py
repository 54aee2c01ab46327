"""Nets in text files of FANN 2.2. `tests/interop/test_fann.py` compares them with FANN itself."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from jitprop import SGD, Adam, Fleet, Step, Trainer, convert
from jitprop.net.losses import HalfSquaredError

SIGMOID, STEPWISE, SYMMETRIC, LINEAR, ELLIOT_SYMMETRIC, THRESHOLD = 3, 4, 5, 0, 11, 1


def text_of(weights, biases, kinds, steepness=0.5, **changes):
    """Return what fann_save writes of a layered net."""
    sizes = [len(weights[0]), *map(len, biases)]
    values = {
        "num_layers": len(sizes),
        "learning_rate": "0.250000",
        "connection_rate": "1.000000",
        "network_type": 0,
        "learning_momentum": "0.500000",
        "training_algorithm": 1,
        "train_error_function": 0,
        "layer_sizes": "".join(f"{n + 1} " for n in sizes),
        "scale_included": 0,
    }
    neurons, connections, first = ["(0, 0, 0.0e+00)"] * (sizes[0] + 1), [], 0
    for W, b, kind in zip(weights, biases, kinds, strict=True):
        neurons += [f"({len(W) + 1}, {kind}, {steepness:.20e})"] * len(b) + ["(0, 0, 0.0e+00)"]
        for column, bias in zip(W.T, b, strict=True):
            connections += [f"({first + i}, {w:.20e})" for i, w in enumerate([*column, bias])]
        first += len(W) + 1
    values["neurons (num_inputs, activation_function, activation_steepness)"] = " ".join(neurons)
    values["connections (connected_to_neuron, weight)"] = " ".join(connections)
    values |= changes
    return "FANN_FLO_2.1\n" + "".join(f"{k}={v}\n" for k, v in values.items() if v is not None)


@pytest.fixture
def net():
    rng = np.random.default_rng(0)
    sizes = [3, 4, 2]
    weights = [rng.normal(size=shape) for shape in itertools.pairwise(sizes)]
    return weights, [rng.normal(size=n) for n in sizes[1:]]


@pytest.fixture
def write(tmp_path):
    def write(text, name="net.net"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


X = np.random.default_rng(1).normal(size=(8, 3))
Y = np.random.default_rng(2).uniform(0.2, 0.8, (8, 2))


def test_the_parameters_of_a_sigmoid_of_steepness_one_half_are_those_of_the_file(net, write):
    trainer = convert.from_fann(write(text_of(*net, [SIGMOID, SIGMOID])))
    for found, given in zip((*trainer.weights, *trainer.biases), (*net[0], *net[1]), strict=True):
        assert np.array_equal(found, given)
    assert trainer.activation == ("sigmoid",)
    assert trainer.output_activation == "sigmoid"
    assert trainer.dtype == np.float64
    assert trainer.optimizer == SGD()
    assert (trainer.learning_rate, trainer.batch_size, trainer.reduction) == (0.25, None, "mean")
    assert trainer.loss == HalfSquaredError()


FORMULAS = {
    SIGMOID: lambda z: 1 / (1 + np.exp(-2 * z)),
    SYMMETRIC: np.tanh,
    LINEAR: lambda z: z,
    ELLIOT_SYMMETRIC: lambda z: z / (1 + np.abs(z)),
}


@pytest.mark.parametrize("kind", FORMULAS)
@pytest.mark.parametrize("s", [0.5, 0.8, 1.0])
def test_steepness_becomes_part_of_the_weights(net, write, kind, s):
    trainer = convert.from_fann(write(text_of(*net, [kind, SYMMETRIC], s)))
    (V, W), (b, c) = net
    hidden = FORMULAS[kind](s * (X @ V + b))
    np.testing.assert_allclose(
        trainer.predict(X), np.tanh(s * (hidden @ W + c)), rtol=1e-13, atol=1e-15
    )


def test_an_update_is_the_one_of_the_net_without_steepness(net, write):
    s, r = 0.8, 0.25
    trainer = convert.from_fann(write(text_of(*net, [LINEAR, SYMMETRIC], s)))
    (V, W), (b, c) = (list(map(np.copy, arrays)) for arrays in net)
    for _ in range(3):
        hidden = s * (X @ V + b)
        out = np.tanh(s * (hidden @ W + c))
        delta = 0.5 * (Y - out) * s * (1 - out**2)  # FANN halves the error of symmetric outputs
        back = s * (delta @ W.T)
        W += r / 8 * hidden.T @ delta
        c += r / 8 * delta.sum(axis=0)
        V += r / 8 * X.T @ back
        b += r / 8 * back.sum(axis=0)
    trainer.fit(X, Y, epochs=3)
    for found, expected in zip((*trainer.weights, *trainer.biases), (V, W, b, c), strict=True):
        np.testing.assert_allclose(found / s, expected, rtol=1e-12)


def test_incremental_training_has_momentum_and_takes_samples_in_order(net, write):
    text = text_of(*net, [SIGMOID, SIGMOID], training_algorithm=0, learning_momentum="0.100000")
    trainer = convert.from_fann(write(text))
    assert trainer.optimizer == SGD(momentum=float(np.float32(0.1)))
    assert trainer.batch_size == 1
    assert trainer.shuffle is False


def test_settings_take_the_place_of_the_files(net, write):
    path = write(text_of(*net, [SIGMOID, SYMMETRIC], training_algorithm=2, train_error_function=1))
    trainer = convert.from_fann(
        path, optimizer="adam", loss="squared_error", dtype="float32", batch_size=4, seed=3
    )
    assert trainer.optimizer == Adam()
    assert (trainer.learning_rate, trainer.batch_size, trainer.seed) == (0.001, 4, 3)
    assert trainer.dtype == np.float32
    trainer.fit(X, Y, epochs=1)


def test_a_learning_rate_that_is_given_is_in_the_numbers_of_fann(net, write):
    path = write(text_of(*net, [SYMMETRIC, SYMMETRIC], 1.0, learning_rate="0.000000"))
    assert convert.from_fann(path, learning_rate=4e-7).learning_rate == 2e-7
    with pytest.raises(ValueError, match="learning_rate must be a number"):
        convert.from_fann(path, learning_rate=Step(0.1, every=2))
    with pytest.raises(ValueError, match="has the learning rate 0, as FANN writes six decimals"):
        convert.from_fann(path)


def test_stepwise_is_refused_or_read_as_smooth(net, write):
    path = write(text_of(*net, [STEPWISE, STEPWISE]))
    with pytest.raises(ValueError, match=r"FANN_SIGMOID_STEPWISE in layer 1.*stepwise='smooth'"):
        convert.from_fann(path)
    smooth = convert.from_fann(path, stepwise="smooth")
    same = convert.from_fann(write(text_of(*net, [SIGMOID, SIGMOID]), "other.net"))
    assert np.array_equal(smooth.predict(X), same.predict(X))
    with pytest.raises(ValueError, match="stepwise 'sigmoid' is unknown"):
        convert.from_fann(path, stepwise="sigmoid")


def test_a_list_gives_a_fleet(net, write):
    weights, biases = net
    paths = [
        write(text_of([k * W for W in weights], biases, [SIGMOID, SIGMOID]), f"{k}.net")
        for k in (1, 2)
    ]
    fleet = convert.from_fann(paths)
    assert isinstance(fleet, Fleet)
    for member, path in zip(fleet, paths, strict=True):
        assert np.array_equal(member.predict(X), convert.from_fann(path).predict(X))
    fleet.fit(X, Y, epochs=2)
    alone = convert.from_fann(paths[1])
    alone.fit(X, Y, epochs=2)
    assert np.array_equal(fleet[1].parameters, alone.parameters)


def test_it_can_be_saved(net, write, tmp_path):
    trainer = convert.from_fann(write(text_of(*net, [SIGMOID, LINEAR])))
    trainer.save(tmp_path / "net.jitprop")
    assert np.array_equal(Trainer.load(tmp_path / "net.jitprop").predict(X), trainer.predict(X))


REFUSED = {
    "has shortcuts": {"network_type": 1},
    "has scaling parameters": {"scale_included": 1},
    "has FANN_ERRORFUNC_TANH.*or pass loss": {"train_error_function": 1},
    "FANN_TRAIN_RPROP.*or pass optimizer": {"training_algorithm": 2},
    "FANN_TRAIN_SARPROP": {"training_algorithm": 4},
    "from 0 to 4 as training_algorithm; it has '7'": {"training_algorithm": 7},
    "at least two layers": {"layer_sizes": "4 "},
    "must have 15 neurons": {"layer_sizes": "5 6 4"},
    "has no layer_sizes": {"layer_sizes": None},
    "has no scale_included": {"scale_included": None},
    "finite number as learning_rate; it has 'nan'": {"learning_rate": "nan"},
    "finite number as learning_rate; it has 'a lot'": {"learning_rate": "a lot"},
    "as layer_sizes; it has '-4'": {"layer_sizes": "-4 5 3"},
    "as layer_sizes; it has '99999999999999999999'": {"layer_sizes": "99999999999999999999 5 3"},
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_jitprop_does_not_have_is_refused_by_name(net, write, message):
    path = write(text_of(*net, [SIGMOID, SIGMOID], **REFUSED[message]))
    with pytest.raises(ValueError, match=f"FANN's file '.*net.net'.*{message}"):
        convert.from_fann(path)


def replaced(text, old, new):
    assert old in text
    return text.replace(old, new, 1)


def test_nets_of_another_form_are_refused(net, write):
    good = text_of(*net, [SIGMOID, SIGMOID])
    first = f"(0, {net[0][0][0, 0]:.20e})"
    bad = {
        "fixed-point library": replaced(good, "FANN_FLO_2.1", "FANN_FIX_2.0"),
        "must begin with FANN_FLO_2.1": replaced(good, "FANN_FLO_2.1", "FANN_FLO_1.1"),
        "FANN_THRESHOLD in layer 1": text_of(*net, [THRESHOLD, SIGMOID]),
        "one activation and one steepness in layer 1": replaced(good, "(4, 3, 5", "(4, 3, 7"),
        "all connections between its layers": replaced(good, "(4, 3,", "(3, 3,"),
        "all 26 connections": replaced(good, first, ""),
        "all of the layer before it, in order": replaced(good, first, "(1, 0.5)"),
        "2 numbers in each of its connections": replaced(good, first, "(0)"),
        "finite number as weight; it has 'nan'": replaced(good, first, "(0, nan)"),
        "finite number as weight; it has '1e999'": replaced(good, first, "(0, 1e999)"),
        "steepness above 0": text_of(*net, [SIGMOID, SIGMOID], -0.5),
        "has no connections": good[: good.index("connections")],
    }
    for message, text in bad.items():
        with pytest.raises(ValueError, match=message):
            convert.from_fann(write(text))
    with pytest.raises(ValueError, match=r"must begin with FANN_FLO_2\.1"):
        convert.from_fann(write(""))


def test_arguments_are_checked(net, write):
    path = write(text_of(*net, [SIGMOID, SIGMOID]))
    with pytest.raises(TypeError, match="path must be a str, bytes or path-like; got 5"):
        convert.from_fann(5)
    with pytest.raises(TypeError, match="activation belongs to the net that is read"):
        convert.from_fann(path, activation="tanh")
    with pytest.raises(TypeError, match="colour"):
        convert.from_fann(path, colour="red")
    with pytest.raises(ValueError, match="optimizer 'adma' is unknown"):
        convert.from_fann(path, optimizer="adma")
    with pytest.raises(FileNotFoundError):
        convert.from_fann(path.with_name("none.net"))
    with pytest.raises(ValueError, match="at least 1 net"):
        convert.from_fann([])
