"""The examples run as users run them, and print the numbers of the notebooks."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jitprop import Trainer

EXAMPLES = Path(__file__).parents[1] / "examples"
SECONDS = 300  # to wait for one process at most, which may have to compile

NOTEBOOK_1 = [
    ("hidden h", "0.55724785"),
    ("hidden h", "0.62010643"),
    ("output y", "0.67932855"),
    ("error E", "0.00042731"),
    ("dE/dy", "-0.04134291"),
    ("dE/dW2", "-0.00501868"),
    ("dE/dW2", "-0.0055848"),
    ("dE/dh", "-0.0045031"),
    ("dE/dh", "-0.0054037"),
    ("dE/dW1", "-0.00055551"),
    ("dE/dW1", "-0.00063649"),
    ("dE/dW1", "-0.0003333"),
    ("dE/dW1", "-0.00038189"),
]
NOTEBOOK_2 = [
    ("mean (o - y)^2, epoch 0", "0.38038349310856134"),
    ("mean (o - y)^2, epoch 1000", "0.24997670387612728"),
    ("mean (o - y)^2, epoch 2000", "0.24972913712906816"),
    ("mean (o - y)^2, epoch 3000", "0.24883556540840868"),
    ("mean (o - y)^2, epoch 4000", "0.2430179563469606"),
    ("mean (o - y)^2, epoch 5000", "0.2023128270301176"),
    ("mean (o - y)^2, epoch 6000", "0.1342851241018072"),
    ("mean (o - y)^2, epoch 7000", "0.03423820536202099"),
    ("mean (o - y)^2, epoch 8000", "0.012399204540152104"),
    ("mean (o - y)^2, epoch 9000", "0.006836030803331477"),
    ("output for [0 0]", "0.07125372"),
    ("output for [1 0]", "0.93446125"),
    ("output for [0 1]", "0.93473281"),
    ("output for [1 1]", "0.06774813"),
]
NOTEBOOK_3 = [
    ("a2", "0.653786"),
    ("loss", "0.059932"),
    ("W1 after the step", "0.4006445672678901"),
    ("b1 after the step", "0.3012891345357802"),
    ("W2 after the step", "0.7048779400938787"),
    ("b2 after the step", "0.20783656031705777"),
]


def start(name, folder, *arguments, **environment):
    """Run an example from a folder that holds only this file; warnings are errors."""
    alone = folder / "downloaded"
    alone.mkdir(exist_ok=True)
    script = shutil.copy(EXAMPLES / f"{name}.py", alone)
    return subprocess.run(
        [sys.executable, "-W", "error", script, *arguments],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


def output(name, folder, *arguments):
    done = start(name, folder, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def rows(printed, heading):
    """Return the rows of the table whose first column has this heading."""
    lines = printed.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith(f"  {heading}  ")) + 1
    last = lines.index("", first)
    return [re.split(r"\s{2,}", line.strip()) for line in lines[first:last]]


def check_beside(printed, notebook, rel):
    """Check that both columns agree with the notebook in all printed digits."""
    table = rows(printed, "quantity")
    assert [(quantity, figure) for quantity, _, figure in table] == notebook
    for _, computed, figure in table:
        assert len(computed) == len(figure)
        assert float(computed) == pytest.approx(float(figure), rel=rel, abs=0)


def check_accuracy(printed):
    accuracy, n_images = re.search(r"test accuracy  (0\.\d{4}), on (\d+) images", printed).groups()
    assert float(accuracy) >= 0.97
    assert n_images == "450"  # a quarter of 1,797, rounded up


def sigmoid(z):
    return 1 / (1 + math.exp(-z))


def error_1(step):
    """Return the error of notebook 1's net after adding ``step`` times its printed gradients."""
    dW1, dW2 = (-0.00055551, -0.00063649, -0.0003333, -0.00038189), (-0.00501868, -0.0055848)
    db1, db2 = (dW1[0] / 0.5, dW1[1] / 0.5), dW2[0] / 0.55724785
    h = [
        sigmoid(0.5 * (w + step * dw) + 0.3 * (v + step * dv) + b + step * db)
        for w, dw, v, dv, b, db in (
            (0.2, dW1[0], 0.1, dW1[2], 0.1, db1[0]),
            (0.4, dW1[1], 0.3, dW1[3], 0.2, db1[1]),
        )
    ]
    z = h[0] * (0.5 + step * dW2[0]) + h[1] * (0.6 + step * dW2[1]) + 0.1 + step * db2
    return (sigmoid(z) - 0.7) ** 2


def test_notebook_1(backend, tmp_path):
    printed = output("notebook_1_one_step", tmp_path, "--backend", backend)
    check_beside(printed, NOTEBOOK_1, rel=0)

    by_hand = {
        line[0].split(" = ")[0]: [float(value) for value in " ".join(line[1:]).split()]
        for line in rows(printed, "by hand")
    }
    delta2 = -0.04134291 * 0.67932855 * (1 - 0.67932855)
    delta1 = [-0.00055551 / 0.5, -0.00063649 / 0.5]
    expected = {
        "z1": [0.5 * 0.2 + 0.3 * 0.1 + 0.1, 0.5 * 0.4 + 0.3 * 0.3 + 0.2],
        "a1": [0.55724785, 0.62010643],
        "z2": [0.55724785 * 0.5 + 0.62010643 * 0.6 + 0.1],
        "a2": [0.67932855],
        "E": [0.00042731],
        "dE/da2": [-0.04134291],
        "delta2": [delta2],
        "dE/dW2": [-0.00501868, -0.0055848],
        "dE/db2": [delta2],
        "dE/da1": [-0.0045031, -0.0054037],
        "delta1": delta1,
        "dE/dW1": [-0.00055551, -0.00063649, -0.0003333, -0.00038189],
        "dE/db1": delta1,
    }
    assert by_hand.keys() == expected.keys()
    for name, values in expected.items():
        assert by_hand[name] == pytest.approx(values, abs=3e-8), name

    updates = [[float(value) for value in line[1:]] for line in rows(printed, "parameter")]
    before = [0.2, 0.4, 0.1, 0.3, 0.1, 0.2, 0.5, 0.6, 0.1]
    gradient = [v for name in ("W1", "b1", "W2", "b2") for v in expected[f"dE/d{name}"]]
    after = [b - 0.1 * g for b, g in zip(before, gradient, strict=True)]
    for comp, column in zip(zip(*updates, strict=True), (before, gradient, after), strict=True):
        assert list(comp) == pytest.approx(column, abs=3e-8)

    errors = {step: float(error) for step, error in rows(printed, "step")}
    assert errors["gradient subtracted"] < errors["before the step"] < errors["gradient added"]
    assert errors == pytest.approx(
        {
            "before the step": error_1(0),
            "gradient subtracted": error_1(-0.1),
            "gradient added": error_1(0.1),
        },
        abs=1e-8,
    )


def test_notebook_2(backend, tmp_path):
    # Sums in another order differ in the last bits, and 10,000 epochs add these differences up.
    check_beside(output("notebook_2_xor", tmp_path, "--backend", backend), NOTEBOOK_2, rel=1e-12)


def test_notebook_3(backend, tmp_path):
    printed = output("notebook_3_scalar", tmp_path, "--backend", backend)
    check_beside(printed, NOTEBOOK_3, rel=1e-15)

    a = sigmoid(0.7 * sigmoid(0.5 * 0.4 + 0.3) + 0.2)
    expected = {"half_squared_error": (a - 1) * a * (1 - a), "binary_cross_entropy": a - 1}
    deltas = {line[0]: (float(line[1]), float(line[3])) for line in rows(printed, "delta with")}
    assert deltas.keys() == expected.keys()
    for loss, delta in expected.items():
        assert deltas[loss] == pytest.approx((delta, delta), abs=1e-8)


def test_digits(backend, tmp_path):
    check_accuracy(output("digits", tmp_path, "--backend", backend))


def test_digits_without_scikit_learn_say_what_to_install(tmp_path):
    (tmp_path / "sklearn.py").write_text("raise ImportError('not here')")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = start("digits", tmp_path, PYTHONPATH=path)
    assert done.returncode == 1
    assert "pip install 'jitprop[sklearn]'" in done.stderr
    assert "Traceback" not in done.stderr


def cells(printed, columns):
    """Return the cells of a Markdown table's rows, without the headings."""
    lines = [line[2:-2].split(" | ") for line in printed.splitlines() if line.startswith("| ")][1:]
    assert {len(line) for line in lines} == {columns}
    return lines


@pytest.mark.long
def test_xor_atlas(tmp_path):
    members, epochs = 20, 300
    arguments = f"--members={members}", f"--epochs={epochs}", "--out=atlas.png"
    printed = output("xor_atlas", tmp_path, *arguments)
    table = {(hidden, rate): rest for hidden, rate, *rest in cells(printed, 5)}
    assert len(table) == 18
    assert (tmp_path / "atlas.png").read_bytes().startswith(b"\x89PNG")

    X, y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])
    solved = 0
    for seed in range(members):
        trainer = Trainer(
            [2, 2, 1], activation="tanh", reduction="sum", learning_rate=2.0, seed=seed
        )
        trainer.fit(X, y, epochs)
        solved += ((trainer.predict(X)[:, 0] > 0.5) == y).all()
    assert 0 < solved < members
    share, median, slowest = table["2 tanh", "2"]
    assert share == f"{100 * solved / members:.1f} %"
    assert 1 < int(median) < int(slowest) <= epochs
    # With the slowest setting no net solves XOR in 300 epochs, so there are no quantiles.
    assert table["2 sigmoid", "0.5"] == ["0.0 %", "-", "-"]


def test_deep_ensemble(tmp_path):
    printed = output("deep_ensemble", tmp_path, "--members=4", "--splits=1", "--out=bars.png")
    *models, nominal = cells(printed, 5)
    assert nominal == ["nominal", "", "", "68.3", "95.4"]
    assert (tmp_path / "bars.png").read_bytes().startswith(b"\x89PNG")
    scores = {name: [float(cell.split(" ± ")[0]) for cell in rest] for name, *rest in models}
    assert list(scores) == ["linear regression", "one net, on average", "ensemble of 4"]

    from sklearn.datasets import load_diabetes
    from sklearn.linear_model import LinearRegression

    X, y = load_diabetes(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))
    test, rest = order[: len(X) // 4], order[len(X) // 4 :]
    linear = LinearRegression().fit(X[rest], y[rest])
    unexplained = ((linear.predict(X[rest]) - y[rest]) ** 2).sum()
    errors = np.abs(linear.predict(X[test]) - y[test])
    deviation = np.sqrt(unexplained / (len(rest) - X.shape[1] - 1))
    rmse, _, within_1, within_2 = scores["linear regression"]
    assert rmse == pytest.approx(np.sqrt((errors**2).mean()), abs=0.06)
    assert within_1 == pytest.approx(100 * (errors < deviation).mean(), abs=0.06)
    assert within_2 == pytest.approx(100 * (errors < 2 * deviation).mean(), abs=0.06)

    # The error of a mean prediction is at most the mean of the predictions' errors.
    assert scores["ensemble of 4"][0] <= scores["one net, on average"][0] < y.std()
    for _, nll, within_1, within_2 in scores.values():
        assert 4.5 < nll < 6.5  # a constant prediction has log(70) + 1.4 = 5.7
        assert 45 < within_1 < within_2 <= 100


@pytest.mark.long
def test_demo(tmp_path):
    printed = output("demo", tmp_path)
    assert f"open {tmp_path / 'xor-lesson.html'} in a browser" in printed
    assert "XOR in 10,000 epochs" in (tmp_path / "xor-lesson.html").read_text("utf-8")
    check_beside(printed, NOTEBOOK_2, rel=1e-12)
    check_accuracy(printed)

    times = {name: float(microseconds) for name, microseconds in rows(printed, "backend")}
    ratio = int(re.search(r"numba is (\d+) times as fast as numpy", printed)[1])
    assert ratio == pytest.approx(times["numpy"] / times["numba"], rel=0.05)
    assert ratio > 10  # about 150 on a quiet machine; this one may be busy


def test_an_unknown_backend_is_refused(tmp_path):
    done = start("notebook_2_xor", tmp_path, "--backend", "cuda")
    assert done.returncode == 2
    assert "invalid choice: 'cuda'" in done.stderr


NOTEBOOKS = sorted((EXAMPLES / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_cells_of_a_notebook_print_what_it_shows(path):
    namespace = {"__name__": "__main__"}
    cells = json.loads(path.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) >= 2
    for cell in code:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec("".join(cell["source"]), namespace)
        shown = "".join(text for output in cell["outputs"] for text in output["text"])
        assert [line.rstrip() for line in printed.getvalue().splitlines()] == shown.splitlines()


def test_notebooks_are_those_of_the_pages():
    made = runpy.run_path(str(EXAMPLES.parent / "docs/to_notebooks.py"))
    for page, name in made["PAGES"].items():
        text = (made["DOCS"] / f"{page}.md").read_text()
        notebook = (EXAMPLES / "notebooks" / f"{name}.ipynb").read_text()
        assert made["notebook"](text) == notebook, "run `python docs/to_notebooks.py`"
    assert set(made["PAGES"].values()) == {path.stem for path in NOTEBOOKS}
