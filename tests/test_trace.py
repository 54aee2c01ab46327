"""The trace of a step agrees with both backends, and its formulas give its numbers."""

from __future__ import annotations

import copy
import io
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
import rich.console

from jitprop import (
    SGD,
    Adam,
    AdamW,
    CrossEntropy,
    DivergenceError,
    RMSprop,
    Rprop,
    Trainer,
    functions,
)
from nets import CORE_LOSSES, HIDDEN, KINDS, OPTIMIZERS, OUTPUTS, data

LAYERS = ("weights", "biases", "z", "a", "delta", "d_weights", "d_biases")
UPDATES = ("update_weights", "update_biases")


def net(backend, sizes=(3, 5, 4, 3), **arguments):
    """Return a net without zero biases, so that no relu unit has z = 0."""
    trainer = Trainer(sizes, backend=backend, seed=0, **arguments)
    p = trainer.parameters
    p[:] = np.random.default_rng(1).normal(scale=0.6, size=p.size)
    return trainer


def assert_same_as_the_backend(trainer, X, y, **given):
    """Check that the trace has the backend's gradients, and the updates of a copy's fit."""
    trace = trainer.trace(X, y, **given)
    gradients = trainer.gradients(X, y, **given)
    np.testing.assert_allclose(trace.loss, gradients.loss, rtol=1e-12)
    np.testing.assert_allclose(trace.a[-1], trainer.predict(X), rtol=1e-12, atol=1e-15)
    fitted = copy.deepcopy(trainer)
    fitted.fit(X, y, 1, **given)
    for l in range(len(trainer.weights)):
        for found, expected in (
            (trace.d_weights[l], gradients.weights[l]),
            (trace.d_biases[l], gradients.biases[l]),
            (trace.weights[l] + trace.update_weights[l], fitted.weights[l]),
            (trace.biases[l] + trace.update_biases[l], fitted.biases[l]),
        ):
            scale = np.abs(expected).max()
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12 * scale)
    return trace


def assert_formulas_hold(trace, slots):
    """Check every formula, evaluated with the reference's functions and the optimizer's slots."""
    numpy = ("log", "sqrt", "sum", "abs", "sign", "where", "clip", "hstack")
    known = {"softmax": functions.softmax} | {name: getattr(np, name) for name in numpy}
    for name, function in functions.ACTIVATIONS.items():
        known[name] = lambda *given, function=function: function(*given)[0]
        known[f"{name}_slope"] = lambda *given, function=function: function(*given)[1]
    known |= {
        name: getattr(trace, name)
        for name in ("z", "a", "y", "w", "mask", "delta", "loss", "learning_rate")
    }
    known |= {"W": trace.weights, "b": trace.biases}
    known |= {"d_weights": trace.d_weights, "d_biases": trace.d_biases}
    for name, formula in trace.formulas.items():
        scope = dict(known)
        expected = trace[name]
        atol = 1e-14 * np.abs(expected).max()
        if name.startswith("update"):
            atol = 1e-15  # a difference of two parameters has an error of their last bits
            part, l = int(name.startswith("update_biases")), int(name[-2])
            scope |= {n: slot[part][l] for n, slot in slots.items()}
        *lines, last = formula.replace("'(", "_slope(").split("\n")
        for line in lines:
            exec(line, scope)
        if formula:
            value = eval(last, scope)
            np.testing.assert_allclose(value, expected, rtol=1e-12, atol=atol, err_msg=name)


@pytest.mark.parametrize(("activation", "loss"), KINDS)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_losses_and_activations(activation, loss, reduction, backend, rng):
    outputs = OUTPUTS[loss]
    if (
        loss in CORE_LOSSES or len(outputs) > 2
    ):  # one output for each activation, so that all are tested
        outputs = [outputs[(HIDDEN.index(activation) + 1) % len(outputs)]]
    for output in outputs:
        X, y = data([3, 4], 7, loss, False, rng)
        trainer = net(
            backend,
            (3, 5, 4, 4),
            activation=activation,
            output_activation=output,
            loss=loss,
            reduction=reduction,
        )
        assert_formulas_hold(assert_same_as_the_backend(trainer, X, y), {})


KEPT = {SGD: "v", Adam: "mv", AdamW: "mv", RMSprop: "vu", Rprop: "dse"}


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_class_weights_and_smoothing(reduction, backend, rng):
    loss = CrossEntropy(label_smoothing=0.1, class_weight=[1, 2, 0.5])
    X, y = data([3, 3], 7, "cross_entropy", True, rng)
    trainer = net(backend, loss=loss, output_activation="softmax", reduction=reduction)
    trace = assert_same_as_the_backend(trainer, X, y)
    assert_formulas_hold(trace, {})
    np.testing.assert_array_equal(trace["w"], np.array([1, 2, 0.5])[y])


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_sample_weights(reduction, backend, rng):
    X, y = data([3, 3], 7, "half_squared_error", False, rng)
    weights = rng.uniform(0, 2, size=7)
    trainer = net(backend, reduction=reduction)
    trace = assert_same_as_the_backend(trainer, X, y, sample_weight=weights)
    assert_formulas_hold(trace, {})
    np.testing.assert_array_equal(trace["w"], weights)


def test_dropout(backend, rng):
    X, y = data([3, 3], 7, "half_squared_error", False, rng)
    trainer = net(backend, (3, 50, 40, 3), dropout=[0.0, 0.4], learning_rate=0.5)
    trainer.fit(X, y, 2)
    trace = trainer.trace(X, y)
    assert trace.mask[0] is None
    assert set(np.unique(trace.mask[1])) == {0.0, 1 / 0.6}
    assert_formulas_hold(trace, {})
    fitted = copy.deepcopy(trainer)
    np.testing.assert_allclose(fitted.fit(X, y, 1).loss, trace.loss, rtol=1e-12)
    for l in range(3):
        after = trace.weights[l] + trace.update_weights[l]
        np.testing.assert_allclose(after, fitted.weights[l], rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(
            -0.5 * trace.d_weights[l], trace.update_weights[l], rtol=1e-9, atol=1e-14
        )


@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
@pytest.mark.parametrize(
    "optimizer",
    [
        *OPTIMIZERS.values(),
        Adam(epsilon=0.1, epsilon_hat=True),
        AdamW(epsilon=0.1, epsilon_hat=True),
        RMSprop(),
        RMSprop(momentum=0.7),
        RMSprop(epsilon=0.1, epsilon_in_root=True),
        RMSprop(rate_in_velocity=False),
        RMSprop(momentum=0.7, epsilon=0.1, epsilon_in_root=True, rate_in_velocity=False),
        SGD(momentum=0.9, rate_in_velocity=False),
        SGD(momentum=0.9, nesterov=True, rate_in_velocity=False),
        Rprop(step_max=0.02),
        Rprop(backtracking=True),
    ],
    ids=str,
)
@pytest.mark.parametrize("decay_biases", [False, True])
def test_optimizers(optimizer, weight_decay, decay_biases, backend, rng):
    X, y = data([3, 3], 6, "cross_entropy", True, rng)
    trainer = net(
        backend,
        optimizer=optimizer,
        weight_decay=weight_decay,
        decay_biases=decay_biases,
        output_activation="softmax",
        loss="cross_entropy",
        learning_rate=0.01,
    )
    for epochs in (0, 3, 1, 1, 1):  # the optimizer's state is 0, then it is not
        if epochs:
            trainer.fit(X, y, epochs)
        kept = zip(KEPT[type(optimizer)], trainer._model.state.slots, strict=False)
        kept = [(letter, slot[0] + 0 * slot if letter == "e" else slot) for letter, slot in kept]
        slots = {letter: trainer._model.spec.split(slot) for letter, slot in kept}
        assert_formulas_hold(assert_same_as_the_backend(trainer, X, y), slots)


@pytest.mark.parametrize("clip_norm", [1e-3, 1e3])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_clipping(optimizer, clip_norm, backend, rng):
    X, y = data([3, 3], 6, "half_squared_error", False, rng)
    trainer = net(backend, optimizer=optimizer, weight_decay=0.01, clip_norm=clip_norm)
    kept = zip(KEPT[type(trainer._model.spec.optimizer)], trainer._model.state.slots, strict=False)
    slots = {letter: trainer._model.spec.split(slot) for letter, slot in kept}
    assert_formulas_hold(assert_same_as_the_backend(trainer, X, y), slots)


@pytest.mark.parametrize("sizes", [(4, 2), (40, 50, 30, 2)], ids=str)
def test_depths_and_wide_layers(sizes, backend, rng):
    X, y = data(sizes, 5, "half_squared_error", False, rng)
    trainer = net(backend, sizes, activation="tanh")
    trace = assert_same_as_the_backend(trainer, X, y)
    L = len(sizes) - 1
    assert [len(getattr(trace, name)) for name in LAYERS] == [L, L, L, L + 1, L, L, L]
    for l in range(L):
        assert trace.z[l].shape == trace.delta[l].shape == trace.a[l + 1].shape == (5, sizes[l + 1])


def test_the_batch_is_one_whatever_batch_size_says(backend, rng):
    X, y = data([3, 3], 7, "half_squared_error", False, rng)
    trainer, whole = net(backend, batch_size=2), net(backend)
    for name in UPDATES:
        for comp, ref in zip(
            getattr(trainer.trace(X, y), name), getattr(whole.trace(X, y), name), strict=True
        ):
            np.testing.assert_array_equal(comp, ref)


def test_the_learning_rate_is_that_of_the_epoch(backend, rng):
    X, y = data([3, 3], 7, "half_squared_error", False, rng)
    trainer = net(backend, learning_rate=lambda epoch: 0.1 / (epoch + 1))
    trainer.fit(X, y, 3)
    assert assert_same_as_the_backend(trainer, X, y).learning_rate == 0.1 / 4


def test_the_trainer_is_not_changed(backend, rng):
    X, y = data([3, 3], 7, "half_squared_error", False, rng)
    traced, other = (net(backend, optimizer="adam", batch_size=2) for _ in range(2))
    for _ in range(2):
        trace = traced.trace(X, y)
        for name in (*LAYERS, *UPDATES):
            for array in getattr(trace, name):
                array[:] = 9.0  # these arrays are copies
        np.testing.assert_array_equal(traced.parameters, other.parameters)
        for trainer in (traced, other):
            trainer.fit(X, y, 3)
    np.testing.assert_array_equal(traced.parameters, other.parameters)
    assert traced.epochs_trained == 6
    assert X.max() < 9.0


def test_notebook_1(backend):
    init = ([[[0.2, 0.4], [0.1, 0.3]], [[0.5], [0.6]]], [[0.1, 0.2], [0.1]])
    trainer = Trainer([2, 2, 1], loss="squared_error", init=init, backend=backend)
    for trace in (trainer.trace([0.5, 0.3], 0.7), trainer.trace([[0.5, 0.3]], [[0.7]])):
        for value, printed in (
            (trace.a[1], [[0.55724785, 0.62010643]]),
            (trace.a[2], [[0.67932855]]),
            (trace.loss, 0.00042731),
            (trace.d_weights[1], [[-0.00501868], [-0.0055848]]),
            (trace.d_weights[0], [[-0.00055551, -0.00063649], [-0.0003333, -0.00038189]]),
        ):
            np.testing.assert_array_equal(np.round(value, 8), printed)
        assert trace.formulas["delta[1]"] == "2 * (a[2] - y) * sigmoid'(z[1])"
        assert trace.formulas["delta[0]"] == "(delta[1] @ W[1].T) * sigmoid'(z[0])"


def test_a_label_is_shown_as_a_row(backend):
    trainer = net(backend, (2, 3), output_activation="softmax", loss="cross_entropy")
    for y in (1, [0.0, 1.0, 0.0]):
        np.testing.assert_array_equal(trainer.trace([0.5, 0.3], y).y, [[0, 1, 0]])


def test_dtypes(backend):
    x, y = np.full((1, 3), 0.5, np.float32), [[0.1, 0.2, 0.3]]
    trainer = net(backend)
    trace = trainer.trace(x, y)
    assert trace.d_weights[0].dtype == np.float32  # the dtype that the fit would have
    assert trainer.parameters.dtype == np.float64
    assert trainer.trace(x.astype(float), y).d_weights[0].dtype == np.float64
    fitted = net(backend)
    fitted.fit(x, y, 1)
    np.testing.assert_allclose(
        trace.weights[0] + trace.update_weights[0], fitted.weights[0], rtol=1e-6
    )


@pytest.fixture
def shown():
    trainer = net("numpy", (3, 40, 3), output_activation="softmax", loss="cross_entropy")
    return trainer.trace(np.full((20, 3), 0.5), np.arange(20) % 3)


def test_printed_as_text(shown):
    lines = str(shown).splitlines()
    assert lines[0].split() == ["quantity", "formula", "value"]
    assert re.search(r"^z\[0\] +a\[0\] @ W\[0\] \+ b\[0\]  ", str(shown), re.MULTILINE)
    assert (
        str(shown).count("(20 x 40)") == 3
    )  # z, a and delta of the hidden layer are printed in part
    assert max(map(len, lines)) < 110
    assert len(lines) < 110
    first = re.findall(r"[-\d.]+", next(line for line in lines if line.startswith("delta[1]")))
    np.testing.assert_allclose([float(v) for v in first[-3:]], shown.delta[1][0], rtol=1e-5)


def test_printed_without_rich():
    code = """
import sys
sys.modules['rich'] = None
from jitprop import Trainer
print(Trainer([1, 1], backend='numpy').trace([0.5], [1.0]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    assert "d_weights[0]" in done.stdout


@pytest.mark.parametrize("width", [80, 120])
def test_printed_by_rich(shown, width):
    console = rich.console.Console(width=width, file=io.StringIO())
    console.print(shown)
    text = console.file.getvalue()
    for name in shown.formulas:
        assert f" {name} " in text
    assert max(map(len, text.splitlines())) <= width


def test_shown_in_a_notebook():
    from xml.etree import ElementTree

    trace = net("numpy").trace(np.full((2, 3), 0.5), np.full((2, 3), 0.1))
    trace.formulas["y"] = "<&>"
    table = ElementTree.fromstring(trace._repr_html_())
    rows = [[cell.text for cell in row] for row in table]
    assert [row[0] for row in rows] == ["quantity", *trace.formulas]
    assert ["loss", trace.formulas["loss"], f"{trace.loss:.6g}"] in rows
    assert next(row for row in rows if row[0] == "y")[1] == "<&>"


def test_quantities_by_name(shown):
    assert shown["delta[1]"] is shown.delta[1]
    assert shown["W[0]"] is shown.weights[0]
    assert shown["loss"] == shown.loss
    with pytest.raises(KeyError, match=r"'delta\[2\]' is unknown"):
        shown["delta[2]"]


def test_bad_input_leaves_the_trainer_as_it_was(backend):
    trainer = net(backend)
    before = pickle.dumps(trainer._model.state)
    for x, y, message in (
        ([[1.0, 2.0]], [[1.0, 1.0, 1.0]], "X must have 3 columns"),
        ([1.0, 2.0, np.nan], [1.0, 1.0, 1.0], "X must be finite"),
        ([1.0, 2.0, 3.0], [1.0, 1.0], "y must have shape"),
    ):
        with pytest.raises(ValueError, match=message):
            trainer.trace(x, y)
    assert pickle.dumps(trainer._model.state) == before


def test_a_step_that_diverges_is_refused(backend):
    trainer = net(backend, output_activation="identity")
    before = pickle.dumps(trainer._model.state)
    with pytest.raises(DivergenceError):
        trainer.trace([1.0, 1.0, 1.0], [1e200, 1.0, 1.0])
    assert pickle.dumps(trainer._model.state) == before
