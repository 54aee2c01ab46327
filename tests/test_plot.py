"""Plots: the data of their lines, markers, texts and limits."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb

from jitprop import History, Trainer, plot

EXAMPLE = Path(__file__).parents[1] / "examples" / "pictures.py"


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def history_of(loss, validation=np.nan, rate=0.1):
    n = len(loss)
    validation_loss, rates = (np.broadcast_to(x, n) for x in (validation, rate))
    return History(np.array(loss, float), validation_loss, {}, rates, np.full(n, 1e-3))


def net(*sizes, softmax=False, **settings):
    if softmax:
        settings |= {"output_activation": "softmax", "loss": "cross_entropy"}
    return Trainer(sizes, seed=0, backend="numpy", **settings)


def bar_of(ax):
    """Return the Axes of the colour bar."""
    (bar,) = [other for other in ax.figure.axes if other is not ax]
    return bar


def contrast(colour, background):
    """Return the contrast of two colours, 1 to 21 (Web Content Accessibility Guidelines 2.1)."""
    luminance = []
    for c in (np.array(to_rgb(colour)), np.array(to_rgb(background))):
        linear = np.where(c <= 0.03928, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
        luminance.append(linear @ (0.2126, 0.7152, 0.0722))
    return (max(luminance) + 0.05) / (min(luminance) + 0.05)


def says(error, words, call, *args, **kwargs):
    before = plt.get_fignums()
    with pytest.raises(error) as caught:
        call(*args, **kwargs)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert plt.get_fignums() == before  # no empty figure remains


# Loss curves.


def test_loss_curves_draw_epochs_from_0():
    history = net(2, 3, 1).fit([[0, 1], [1, 0]], [0, 1], 5)
    ax = plot.loss_curves(history)
    (line,) = ax.lines
    assert line.get_xdata().tolist() == [0, 1, 2, 3, 4]
    assert line.get_ydata().tolist() == history.loss.tolist()
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch, counted from 0", "loss")
    assert ax.get_yscale() == "linear"
    assert ax.get_legend() is None  # one curve needs no legend
    ax.figure.canvas.draw()
    assert all(tick == int(tick) for tick in ax.get_xticks())


@pytest.mark.parametrize(
    ("loss", "scale"),
    [([5, 0.05], "log"), ([5, 0.06], "linear"), ([5, 0.0], "linear"), ([5, -1], "linear")],
)
def test_losses_over_decades_get_a_logarithmic_axis(loss, scale):
    assert plot.loss_curves(history_of(loss)).get_yscale() == scale


def test_validation_loss_and_a_changing_learning_rate_are_drawn_too():
    loss, validation = np.array([3.0, 2.0, 1.0]), np.array([4.0, np.nan, 0.01])
    ax = plot.loss_curves(history_of(loss, validation, np.array([0.1, 0.1, 0.05])))
    training, validated = ax.lines
    assert training.get_ydata().tolist() == [3, 2, 1]
    assert np.array_equal(validated.get_ydata(), validation, equal_nan=True)
    assert training.get_linestyle() != validated.get_linestyle()
    assert ax.get_yscale() == "log"
    right = bar_of(ax)
    assert right.lines[0].get_ydata().tolist() == [0.1, 0.1, 0.05]
    assert right.get_ylabel() == "learning rate"
    names = [text.get_text() for text in right.get_legend().get_texts()]
    assert names == ["training", "validation", "learning rate"]


def test_a_constant_learning_rate_and_no_validation_are_not_drawn():
    nothing = np.full(2, np.nan)
    ax = plot.loss_curves(history_of(np.array([3.0, 2.0]), nothing, np.array([0.1, 0.1])))
    assert len(ax.lines) == 1
    assert len(ax.figure.axes) == 1


def test_one_epoch_is_a_mark():
    assert plot.loss_curves(history_of([3.0])).lines[0].get_marker() == "o"


# Decision boundaries.


def linear(w, b, **settings):
    """Return a net of one sigmoid, whose boundary is the line w x + b = 0."""
    return net(2, 1, init=([np.array(w, float).reshape(2, 1)], [np.array([b], float)]), **settings)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_boundary_of_one_sigmoid_is_a_line(dtype):
    trainer = linear([2, -4], 1, dtype=dtype)
    X, y = np.array([[0, 0], [1, 0], [0, 1], [2, 3.0]]), np.array([1, 1, 0, 0])
    ax = plot.decision_boundary(trainer, X, y)
    mesh, contour, *samples = ax.collections
    values = np.asarray(mesh.get_array()).reshape(mesh.get_coordinates().shape[0] - 1, -1)
    assert values[0, -1] == pytest.approx(1 / (1 + np.exp(-(2 * 2.2 - 4 * -0.3 + 1))))
    assert mesh.get_clim() == (0, 1)
    x, height = np.concatenate([path.vertices for path in contour.get_paths()]).T
    assert 2 * x - 4 * height + 1 == pytest.approx(0, abs=0.02)
    assert [s.get_offsets().tolist() for s in samples] == [X[2:].tolist(), X[:2].tolist()]
    assert (*ax.get_xlim(), *ax.get_ylim()) == pytest.approx((-0.2, 2.2, -0.3, 3.3))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("input 0", "input 1")
    assert "probability of class 1" in bar_of(ax).get_ylabel()


def test_classes_differ_in_mark_and_stand_beside_the_bar():
    ax = plot.decision_boundary(linear([1, 1], 0), [[0, 1], [1, -1]], [0, 1])
    samples = ax.collections[-2:]
    marks = [s for s in bar_of(ax).collections if len(s.get_offsets()) == 1][-2:]
    for sample, mark in zip(samples, marks, strict=True):
        same = [s.get_paths()[0].vertices.tolist() for s in (sample, mark)]
        assert same[0] == same[1]
        assert sample.get_facecolor().tolist() == mark.get_facecolor().tolist()
    assert samples[0].get_paths()[0].vertices.shape != samples[1].get_paths()[0].vertices.shape
    assert marks[0].get_offsets()[0, 1] < 0.5 < marks[1].get_offsets()[0, 1]


def test_a_net_that_never_doubts_has_no_boundary_to_draw():
    ax = plot.decision_boundary(linear([0, 0], 3), [[0, 1]], [1])
    assert len(ax.collections) == 3  # the plane, and the markers of two classes


@pytest.mark.parametrize("as_rows", [False, True])
def test_regions_of_softmax(as_rows):
    # z = (x0, x1, 0), so the class is that of the largest of both coordinates and 0.
    trainer = net(2, 3, softmax=True, init=([np.eye(2, 3)], [np.zeros(3)]))
    X, y = np.array([[3.0, 1], [1, 2], [-1, -2]]), np.array([0, 1, 2])
    ax = plot.decision_boundary(trainer, X, np.eye(3)[y] if as_rows else y.reshape(-1, 1))
    regions = np.asarray(ax.collections[0].get_array()).reshape(300, 300)
    across, up = np.meshgrid(np.linspace(*ax.get_xlim(), 300), np.linspace(*ax.get_ylim(), 300))
    ref = np.argmax([across, up, 0 * up], axis=0)
    assert (regions == ref).mean() > 0.999  # rounding decides on the boundaries
    for k, samples in enumerate(ax.collections[-3:]):
        assert samples.get_offsets().tolist() == X[[k]].tolist()
    assert bar_of(ax).get_yticks().tolist() == [0, 1, 2]


def test_many_classes_have_colours_too():
    ax = plot.decision_boundary(net(2, 30, softmax=True), np.eye(2), [0, 29])
    colours = {tuple(s.get_facecolor()[0]) for s in ax.collections[-30:] if len(s.get_facecolor())}
    assert len(colours) == 30


def test_one_sample_has_a_plane_around_it():
    ax = plot.decision_boundary(linear([1, 1], 0), [[5, 6]], [1])
    assert (*ax.get_xlim(), *ax.get_ylim()) == pytest.approx((4.9, 5.1, 5.9, 6.1))


# Weights.


def test_weights_are_a_matrix_with_white_at_0():
    W = np.array([[1.0, -3.0, 0.5], [0.0, 2.0, 1.0]])
    ax = plot.weights(net(2, 3, 1, init=([W, np.zeros((3, 1))], [np.zeros(3), [0.0]])), 0)
    (image,) = ax.images
    assert np.array_equal(image.get_array(), W)
    assert image.get_clim() == (-3, 3)
    assert image.to_rgba(0.0)[:3] == pytest.approx((1, 1, 1), abs=0.05)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("output unit", "input unit")
    assert bar_of(ax).get_ylabel() == "weight"
    ax.figure.canvas.draw()
    assert all(t == int(t) for t in [*ax.get_xticks(), *ax.get_yticks()])


def test_weights_of_0_are_white():
    zeros = net(2, 1, init=([np.zeros((2, 1))], [[0.0]]))
    assert plot.weights(zeros, 0).images[0].get_clim() == (-1, 1)


def test_units_are_drawn_as_images():
    W = np.arange(30.0).reshape(6, 5) - 7
    ax = plot.weights(net(6, 5, init=([W], [np.zeros(5)])), 0, image_shape=(2, 3))
    cells = np.ma.filled(ax.images[0].get_array(), np.nan)
    assert cells.shape == (2 * 3 + 1, 3 * 4 + 1)  # 3 images in a row, with gaps
    for unit in range(5):
        top, left = 3 * (unit // 3) + 1, 4 * (unit % 3) + 1
        assert np.array_equal(cells[top : top + 2, left : left + 3].ravel(), W[:, unit])
    assert np.isfinite(cells).sum() == W.size
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["0", "3"]
    assert ax.get_yticks().tolist() == [1.5, 4.5]


# Predictions.


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_predicted_against_true(shape):
    y, p = np.array([1.0, 2, 3, 10]), np.array([1.5, 2, 2, 11.0])
    ax = plot.predicted_against_true(y.reshape(shape), p)
    assert ax.collections[0].get_offsets().tolist() == np.c_[y, p].tolist()
    assert ax.get_xlim() == ax.get_ylim() == pytest.approx((0.5, 11.5))
    assert ax.lines[0].get_xydata().tolist() == [[0.5, 0.5], [11.5, 11.5]]
    assert ax.get_aspect() == 1
    assert ax.texts[0].get_text() == "$R^2$ = 0.955"  # 1 - 2.25 / 50
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("true", "predicted")


def test_constant_true_values_have_no_r2():
    assert plot.predicted_against_true([2, 2], [2, 3]).texts[0].get_text() == "$R^2$ = -"


@pytest.mark.parametrize(
    ("y", "p"),
    [
        ([0, 0, 1, 2, 2, 2], [0, 1, 1, 2, 2, 0]),
        (np.eye(3)[[0, 0, 1, 2, 2, 2]], 0.6 * np.eye(3)[[0, 1, 1, 2, 2, 0]] + 0.1),
        (np.array([[0], [0], [1], [2], [2], [2]]), [0, 1, 1, 2, 2, 0]),
    ],
)
def test_counts_of_a_confusion_matrix(y, p):
    ax = plot.confusion_matrix(y, p)
    expected = [[1, 1, 0], [0, 1, 0], [1, 0, 2]]
    assert ax.images[0].get_array().tolist() == expected
    cells = {text.get_position(): int(text.get_text()) for text in ax.texts}
    assert cells == {(j, i): expected[i][j] for i in range(3) for j in range(3)}
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class", "true class")
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0", "1", "2"]


def test_probabilities_of_one_output_are_two_classes():
    ax = plot.confusion_matrix([0, 1, 1, 0], [[0.2], [0.9], [0.4], [0.5]])
    assert ax.images[0].get_array().tolist() == [[2, 0], [1, 1]]


def test_counts_can_be_read_on_any_blue():
    y = np.repeat(np.arange(16), np.arange(16) * 7)
    ax = plot.confusion_matrix(y, y)
    image = ax.images[0]
    for text in ax.texts:
        background = image.to_rgba(int(text.get_text()))[:3]
        assert contrast(text.get_color(), background) > 4.4


def test_classes_have_names():
    ax = plot.confusion_matrix([0, 0], [0, 0], ["no", "yes", "a long name for a class"])
    assert ax.images[0].get_array().shape == (3, 3)
    for axis in (ax.xaxis, ax.yaxis):
        names = [tick.get_text() for tick in axis.get_ticklabels()]
        assert names == ["no", "yes", "a long name for a class"]


def test_many_classes_are_colours_without_numbers():
    ax = plot.confusion_matrix(np.arange(17), np.arange(17))
    assert len(ax.texts) == 0
    assert bar_of(ax).get_ylabel() == "samples"


# All plots.

NET = net(2, 4, 1)
ALL = {
    "loss_curves": lambda **a: plot.loss_curves(history_of([2.0, 1.0]), **a),
    "decision_boundary": lambda **a: plot.decision_boundary(NET, np.eye(2), [0, 1], **a),
    "weights": lambda **a: plot.weights(NET, 0, **a),
    "predicted_against_true": lambda **a: plot.predicted_against_true([1, 2], [2, 1], **a),
    "confusion_matrix": lambda **a: plot.confusion_matrix([0, 1], [1, 1], **a),
}


@pytest.mark.parametrize("draw", ALL.values(), ids=ALL)
def test_pictures_go_where_they_are_told(draw, monkeypatch):
    monkeypatch.setattr(plt, "show", None)
    figure, axes = plt.subplots(1, 2)
    assert draw(ax=axes[1]) is axes[1]
    assert axes[1].has_data()
    assert not axes[0].has_data()
    assert plt.get_fignums() == [figure.number]
    new = draw()
    assert new.figure is not figure
    for drawn in (figure, new.figure):
        drawn.canvas.draw()  # draws without a warning


@pytest.mark.parametrize("draw", ALL.values(), ids=ALL)
def test_what_is_no_axes_is_refused(draw):
    says(TypeError, ["ax", "Axes", "Figure"], draw, ax=mpl.figure.Figure())


BAD = {
    "history": (TypeError, ["history", "list"], plot.loss_curves, [1, 2]),
    "empty": (ValueError, ["history", "one epoch"], plot.loss_curves, history_of([])),
    "trainer": (TypeError, ["trainer", "str"], plot.weights, "net", 0),
    "3 inputs": (
        ValueError, ["2 inputs", "[3, 1]"], plot.decision_boundary, net(3, 1), np.eye(3), [0, 1, 0],
    ),
    "identity": (
        ValueError, ["'identity'"],
        plot.decision_boundary, net(2, 1, output_activation="identity"), np.eye(2), [0, 1],
    ),
    "X": (ValueError, ["X", "2 columns"], plot.decision_boundary, NET, np.eye(3), [0, 1, 1]),
    "y": (ValueError, ["y", "2 rows", "3"], plot.decision_boundary, NET, np.eye(2), [0, 1, 1]),
    "class": (ValueError, ["y", "from 0 to 1"], plot.decision_boundary, NET, np.eye(2), [0, 2]),
    "layer": (ValueError, ["layer", "0 to 1", "2"], plot.weights, NET, 2),
    "layer below": (ValueError, ["layer", "-1"], plot.weights, NET, -1),
    "lengths": (ValueError, ["p", "2", "3"], plot.predicted_against_true, [1, 2], [1, 2, 3]),
    "columns": (
        ValueError, ["p", "(2, 2)"], plot.predicted_against_true, [1, 2], np.eye(2),
    ),
    "nan": (ValueError, ["p[1] is nan"], plot.predicted_against_true, [1, 2], [1, np.nan]),
    "text": (TypeError, ["y", "text"], plot.predicted_against_true, ["a", "b"], [1, 2]),
    "negative": (ValueError, ["y[1] is -1"], plot.confusion_matrix, [0, -1], [0, 1]),
    "half": (ValueError, ["p[0] is 0.5"], plot.confusion_matrix, [0, 1], [0.5, 2]),
    "huge": (ValueError, ["y[1] is 1e+09"], plot.confusion_matrix, [0, 10**9], [0, 1]),
    "rows": (ValueError, ["p", "2", "1"], plot.confusion_matrix, [0, 1], [0]),
    "names": (TypeError, ["labels"], plot.confusion_matrix, [0, 1], [0, 1], [0, 1]),
    "few names": (ValueError, ["y", "0 to 0"], plot.confusion_matrix, [0, 1], [0, 1], ["no"]),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
def test_bad_input(case):
    error, words, call, *args = case
    says(error, words, call, *args)


@pytest.mark.parametrize("shape", [8, (2,), (2, 2), (1.5, 2)])
def test_bad_image_shapes(shape):
    with pytest.raises((TypeError, ValueError), match="image_shape"):
        plot.weights(NET, 0, image_shape=shape)


def test_without_matplotlib_pictures_say_what_to_install():
    code = """
import sys
sys.modules['matplotlib'] = None
from jitprop import plot
try:
    plot.confusion_matrix([0, 1], [0, 1])
except ImportError as error:
    assert "pip install 'jitprop[plot]'" in str(error), error
else:
    raise AssertionError('no ImportError')
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


@pytest.mark.long
def test_the_example_draws_all(tmp_path):
    alone = tmp_path / "downloaded"
    alone.mkdir()
    command = [sys.executable, "-W", "error", shutil.copy(EXAMPLE, alone), "--backend", "numpy"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    (picture,) = tmp_path.glob("*.png")
    assert done.stdout.split() == ["wrote", picture.name]
    height, width, _ = plt.imread(picture).shape
    assert (width, height) == (1500, 850)


def test_matplotlib_is_imported_when_first_drawn_with_and_not_before():
    code = "import sys; from jitprop import plot; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


@pytest.mark.parametrize("largest", [1e308, 1.7e308, 1e-200])
def test_predictions_at_the_ends_of_float64_are_drawn_in_a_unit(largest):
    y = np.array([-1.0, -0.5, 0.5, 1.0]) * largest
    ax = plot.predicted_against_true(y, y * np.array([1, 0.9, 1, 1]))
    ax.figure.canvas.draw()
    unit = float(f"1e{math.floor(math.log10(largest))}")
    assert ax.get_xlabel() == f"true, in units of {unit:.0e}"
    np.testing.assert_allclose(ax.collections[0].get_offsets()[:, 0], y / unit)
    assert "0.999" in ax.texts[0].get_text()
