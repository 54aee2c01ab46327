"""The benchmarks of results, on small folders that are made up in the formats of the real ones."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest

RESULTS = Path(__file__).parents[1] / "benchmarks/results"


@pytest.fixture
def module(monkeypatch):
    """Return a function that imports a script of the folder by its name."""
    monkeypatch.syspath_prepend(str(RESULTS))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(RESULTS)):
            del sys.modules[name]


def run(script, monkeypatch, capsys, *arguments):
    """Run a script, and return its table without the heading, row by row, and all it printed."""
    monkeypatch.setattr(sys, "argv", [script.__name__, *map(str, arguments)])
    script.main()
    printed = capsys.readouterr().out
    lines = [line for line in printed.splitlines() if line.startswith("| ")]
    return [line.strip("| ").split(" | ") for line in lines[2:]], printed


def dt(path, kind, inputs, outputs, parts, rows):
    """Write a file in PROBEN1's format, with outputs of this kind."""
    counts = {"bool_in": 0, "real_in": inputs, "bool_out": 0, "real_out": 0}
    counts[f"{kind}_out"] = outputs
    names = ("training", "validation", "test")
    counts |= {f"{name}_examples": n for name, n in zip(names, parts, strict=True)}
    lines = [f"{name}={count}" for name, count in counts.items()]
    lines += [" ".join(map(str, row)) + " " for row in rows]
    path.write_text("\n".join(lines) + "\n\n")
    return path


def test_a_file_of_proben1_is_read(module, tmp_path):
    rows = [[0.5, -1, 1, 0], [0.25, 1, 0, 1], [0, 0, 1, 0], [1, 0.125, 0, 1]]
    proben1 = module("proben1")
    problem = proben1.read(dt(tmp_path / "a.dt", "bool", 2, 2, (2, 1, 1), rows))
    assert problem.has_classes
    assert problem.train.X.tolist() == [[0.5, -1], [0.25, 1]]
    assert problem.train.y.tolist() == [[1, 0], [0, 1]]
    assert problem.validation.X.tolist() == [[0, 0]]
    assert problem.validation.y.tolist() == [[1, 0]]
    assert problem.test.X.tolist() == [[1, 0.125]]
    assert problem.test.y.tolist() == [[0, 1]]


@pytest.mark.parametrize(("kind", "outputs"), [("real", 3), ("bool", 1)])
def test_outputs_that_are_no_classes(kind, outputs, module, tmp_path):
    """hearta1.dt and heartac1.dt call their one real output bool."""
    rows = [[0.1] * (1 + outputs)] * 3
    path = dt(tmp_path / "a.dt", kind, 1, outputs, (1, 1, 1), rows)
    assert not module("proben1").read(path).has_classes


def test_a_file_with_a_row_too_few_is_refused(module, tmp_path):
    path = dt(tmp_path / "a.dt", "real", 1, 1, (2, 1, 1), [[0, 1]] * 3)
    with pytest.raises(
        ValueError, match=re.escape("must have rows and columns (4, 2); got (3, 2)")
    ):
        module("proben1").read(path)


def test_the_errors_of_proben1(module):
    proben1 = module("proben1")
    part = proben1.Part(np.zeros((4, 1)), np.array([[1, 0], [1, 0], [0, 1], [0, 1.0]]))
    outputs = np.array(
        [
            [[0.6, 0.4], [0.4, 0.6], [0.1, 0.2], [0, 1]],  # the second is wrong
            [[0, 1], [0, 1], [-1, -2], [0, 1]],  # the first three are wrong
        ]
    )
    classes = proben1.Problem(True, part, part, part)
    assert proben1.error(classes, outputs).tolist() == [25, 75]
    # Squares: 0.16 + 0.16 + 0.36 + 0.36 + 0.01 + 0.64 = 1.69, over 4 samples of 2 outputs.
    # Of the second run: 1 + 1 + 1 + 1 + 1 + 9 = 14.
    targets = proben1.Problem(False, part, part, part)
    assert proben1.error(targets, outputs) == pytest.approx([100 * 1.69 / 8, 100 * 14 / 8])
    assert proben1.error(targets, outputs[0]) == pytest.approx(100 * 1.69 / 8)


def test_mean_and_standard_deviation(module):
    table = module("results_table")
    # Deviations -2, 0 and 2: the variance of 60 runs is that of a sample, 8 / 2.
    assert table.shown(np.array([1.0, 3.0, 5.0]), 2) == "3.00 (2.00)"
    assert [table.places(printed) for printed in ("0.0410", "14.05", "3")] == [4, 2, 0]
    assert table.markdown(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_proben1_prints_a_row_for_each_file(module, tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    X = rng.uniform(0, 1, (24, 3)).round(3)
    above = X[:, 0] > 0.5
    dt(tmp_path / "cancer1.dt", "bool", 3, 2, (12, 6, 6), np.c_[X, above, ~above].tolist())
    dt(tmp_path / "heartac1.dt", "bool", 3, 1, (12, 6, 6), np.c_[X, X[:, 1] * X[:, 2]].tolist())
    (tmp_path / "other.dt").write_text("of no interest")
    rows, printed = run(module("proben1"), monkeypatch, capsys, tmp_path, "--runs", 2)
    assert [row[:3] for row in rows] == [
        ["cancer1", "4+2", "1.38 (0.49)"],
        ["heartac1", "2", "2.47 (0.38)"],
    ]
    for row in rows:
        for cell in (row[3], row[5]):
            assert re.fullmatch(r"\d+\.\d\d \(\d+\.\d\d\)", cell)
        assert min(float(row[i]) for i in (4, 6, 7)) >= 0
    assert "of 2 runs" in printed
    assert "numba" in printed.splitlines()[-1]


@pytest.mark.parametrize("arguments", [[], ["--runs", "1"], ["--only", "cancer1"]])
def test_proben1_says_what_it_needs(arguments, module, tmp_path, monkeypatch, capsys):
    dt(tmp_path / "card1.dt", "bool", 1, 2, (1, 1, 1), [[0, 1, 0]] * 3)
    folder = tmp_path if arguments else tmp_path / "none"
    with pytest.raises(SystemExit):
        run(module("proben1"), monkeypatch, capsys, folder, *arguments)
    assert "must hold .dt files" in capsys.readouterr().err


def test_a_file_of_nnbenchmark_is_read(module, tmp_path):
    (tmp_path / "a.csv").write_text("x1,x2,y\n1,-0.5,10\n3,0.5,30\n")
    X, y = module("nnbenchmark").read(tmp_path / "a.csv")
    assert X.tolist() == [[1, -0.5], [3, 0.5]]
    assert y.tolist() == [[10], [30]]


def test_the_error_of_nnbenchmark_is_in_the_units_of_the_target(module):
    y = np.array([[10.0], [30.0]])
    predicted = np.array([[16.0], [38.0]])  # wrong by 6 and 8
    assert module("nnbenchmark").rmse(y, predicted) == pytest.approx(50**0.5)
    assert module("nnbenchmark").rmse(y, y) == 0


@pytest.mark.parametrize(
    ("ours", "printed", "reached"),
    [
        (0.28304, "0.283", True),
        (0.2836, "0.283", False),
        (0.2830, "0.2826", False),
        (0.28264, "0.2826", True),
        (0.0404, "0.0405", True),
        (2.8194, "2.819", True),
        (2.8196, "2.819", False),
    ],
)
def test_errors_are_compared_as_they_are_printed(ours, printed, reached, module):
    assert module("nnbenchmark").reaches(ours, printed) is reached


def test_nnbenchmark_prints_a_row_for_each_file(module, tmp_path, monkeypatch, capsys):
    x = np.linspace(-1, 1, 12)
    rows = [f"{a:.3f},{b:.4f}" for a, b in zip(x, 100 * np.sin(3 * x), strict=True)]
    for name in ("uDmod1", "uNeuroOne", "other"):
        (tmp_path / f"{name}.csv").write_text("\n".join(["x,y", *rows]))
    nnbenchmark = module("nnbenchmark")
    table, printed = run(nnbenchmark, monkeypatch, capsys, tmp_path, "--starts", 4)
    assert len(nnbenchmark.HEADING) == 11
    assert [row[:4] for row in table] == [
        ["uDmod1", "12", "6", "0.0410"],
        ["uNeuroOne", "12", "2", "0.2826"],
    ]
    for row in table:
        smallest, median, milliseconds = (float(row[i]) for i in (4, 8, 10))
        assert smallest <= median < 50  # the standard deviation of y is 71
        assert milliseconds >= 0
        assert row[5] == ("yes" if smallest <= float(row[3]) else "no")
        assert row[9] == ("yes" if median <= min(float(row[6]), float(row[7])) else "no")
    assert "4 starts" in printed


@pytest.mark.parametrize("arguments", [[], ["--starts", "0"], ["--only", "uDmod1"]])
def test_nnbenchmark_says_what_it_needs(arguments, module, tmp_path, monkeypatch, capsys):
    (tmp_path / "uGauss1.csv").write_text("x,y\n0,1\n1,0\n")
    folder = tmp_path if arguments else tmp_path / "none"
    with pytest.raises(SystemExit):
        run(module("nnbenchmark"), monkeypatch, capsys, folder, *arguments)
    assert "must hold .csv files" in capsys.readouterr().err


def test_which_optimizer_prints_the_seconds_of_each(module, monkeypatch, capsys):
    which = module("which_optimizer")
    monkeypatch.setattr(which, "NETS", {19: [4, 3, 1]})
    rows, printed = run(which, monkeypatch, capsys, "--seconds", 0.1, "--most", 100)
    assert [row[:2] for row in rows] == [["19", "100"]]
    assert len(rows[0]) == 3 + len(which.WAYS)
    cells = [cell.strip("*") for cell in rows[0][3:]]
    assert all(cell == "-" or float(cell) > 0 for cell in cells)
    assert sum(cell.startswith("**") for cell in rows[0]) == 1
    assert "numba" in printed.splitlines()[-1]


def test_the_seconds_until_an_error_is_reached(module):
    which = module("which_optimizer")
    found = which.Course(np.array([1.0, 2.0, 4.0]), np.array([0.5, 0.1, 0.2]))
    assert [which.reached(found, error) for error in (0.5, 0.3, 0.05)] == [1.0, 2.0, np.inf]
    assert which.reached(None, 0.5) == np.inf
    X, y = which.samples(1000)
    assert (X.min() >= -1, X.max() <= 1) == (True, True)
    assert (y.mean(), y.std()) == (pytest.approx(0, abs=1e-12), pytest.approx(1))


def uci_set(folder, name, X, y, test=None):
    """Write a set as the UCI ones are kept."""
    test = np.zeros((1, len(y)), bool) if test is None else test
    np.savez(folder / f"{name}.npz", X=X, y=y, test=test)


def small_sets(module, tmp_path, monkeypatch):
    """Make two sets of 60 rows the only ones of `tables.py`: classes a, b, c, and numbers."""
    data = module("tables_data")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    uci_set(tmp_path, "kinds", X, np.array(["a", "b", "c"])[np.digitize(X[:, 0], [-0.5, 0.5])])
    uci_set(tmp_path, "numbers", X, 1000 + 100 * X[:, 1])
    for found in ("kinds", "numbers"):
        monkeypatch.setitem(data.SETS, found, data.Set(found, "uci", found, None, found == "kinds"))
    return data


def test_tables_prints_means_ranks_and_seconds(module, tmp_path, monkeypatch, capsys):
    small_sets(module, tmp_path, monkeypatch)
    tables = module("tables")
    records = tmp_path / "records.jsonl"
    arguments = [tmp_path, "--records", records, "--splits", 0, 1, "--threads", 1]
    arguments += ["--sets", "kinds", "numbers", "--systems", "hist-gb", "sklearn-mlp"]
    rows, printed = run(tables, monkeypatch, capsys, *arguments)
    assert len(records.read_text().splitlines()) == 8
    assert [row[0] for row in rows[:2]] == ["HistGradientBoosting", "scikit-learn's MLP"]
    assert float(rows[0][1]) + float(rows[1][1]) == pytest.approx(3)  # the mean ranks 1 and 2
    assert rows[0][3:6] == ["1.000"] * 3
    sets = [row for row in rows if row[0] in ("kinds", "numbers")]
    assert [row[:4] for row in sets] == [["kinds", "60", "3", "2"]] * 2 + [
        ["numbers", "60", "3", "2"]
    ]
    assert "scikit-learn" in printed.splitlines()[-1]

    before = records.read_text()
    again, _ = run(tables, monkeypatch, capsys, *arguments)  # nothing is run twice
    assert records.read_text() == before
    assert again == rows


def test_tables_of_jitprop_takes_frames_as_they_are(module, tmp_path, monkeypatch, capsys):
    small_sets(module, tmp_path, monkeypatch)
    arguments = [tmp_path, "--records", tmp_path / "r.jsonl", "--splits", 0, "--systems", "jitprop"]
    rows, _ = run(module("tables"), monkeypatch, capsys, *arguments, "--sets", "kinds", "numbers")
    numbers = [float(row[4].strip("*")) for row in rows if row[0] in ("kinds", "numbers")]
    error, _, rmse = numbers
    assert 0 <= error < 60  # chance is 67
    assert rmse < 0.7  # the mean's is 1


def test_the_parts_of_tables(module, tmp_path, monkeypatch):
    data = small_sets(module, tmp_path, monkeypatch)
    table = data.read(data.SETS["kinds"], tmp_path, 40)
    assert table.X.shape == (40, 3)
    assert sorted(set(table.y)) == [0, 1, 2]
    again = data.read(data.SETS["kinds"], tmp_path, 40)
    assert again.X.equals(table.X)
    first, second = data.splits(table, True, 2)
    assert (len(first.train.y), len(first.test.y)) == (30, 10)
    assert not first.test.X.equals(second.test.X)
    both = np.vstack([first.train.X, first.test.X])
    assert sorted(map(tuple, both)) == sorted(map(tuple, table.X.to_numpy()))


def test_the_numbers_of_tables(module):
    tables, data = module("tables"), module("tables_data")
    test = data.Table(None, np.array([0, 1, 1, 0]))
    outputs = np.array([[0.8, 0.2], [0.6, 0.4], [0.1, 0.9], [0.0, 1.0]])
    found = tables.scores(data.Split(None, test), True, outputs)
    assert found["error"] == 50
    expected = -np.log([0.8, 0.4, 0.9, tables.SMALLEST]).mean()
    assert found["log_loss"] == pytest.approx(expected)
    test = data.Table(None, np.array([10.0, 30.0]))  # the standard deviation is 10
    found = tables.scores(data.Split(None, test), False, np.array([16.0, 38.0]))
    assert found == {"rmse": pytest.approx(50**0.5 / 10)}


def test_equal_numbers_share_a_rank(module):
    ranks = module("tables").ranks(np.array([[3.0, 1.0, 2.0], [1.0, 1.0, 2.0]]))
    assert ranks.tolist() == [[3, 1, 2], [1.5, 1.5, 3]]


def test_the_last_of_two_records_counts(module, tmp_path):
    tables = module("tables")
    lines = [f'{{"set": "a", "split": 0, "system": "b", "error": {e}}}' for e in (1.0, 2.0)]
    (tmp_path / "r").write_text("\n".join(lines) + "\n")
    assert tables.records(tmp_path / "r") == {tables.Key("a", 0, "b"): {"error": 2.0}}


def test_a_set_has_only_the_splits_that_all_systems_have(module):
    tables, data = module("tables"), module("tables_data")
    numbers = {("b", 0): 1.0, ("b", 1): 3.0, ("c", 0): 5.0}
    found = {tables.Key("OJ", i, system): {"error": e} for (system, i), e in numbers.items()}
    row = tables.row(data.SETS["OJ"], None, found, ["b", "c"])
    assert (row.n_splits, row.means) == (1, {"b": {"error": 1.0}, "c": {"error": 5.0}})
    assert tables.row(data.SETS["OJ"], None, found, ["b"]).means["b"]["error"] == 2


def test_uncertainty_prints_its_three_tables(module, tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2))
    test = np.array([rng.permutation(200) < 20 for _ in range(2)])
    uci_set(tmp_path, "energy", X, 20 + 10 * X[:, 0] + rng.normal(size=200), test)
    uncertainty = module("uncertainty")
    monkeypatch.setattr(uncertainty, "SAMPLES", 4000)
    arguments = [tmp_path, "--only", "energy", "--splits", 2, "--cover-splits", 1]
    rows, printed = run(uncertainty, monkeypatch, capsys, *arguments)
    assert rows[0][:6] == ["energy", "200", "1.185", "1.80", "1.66", "2.09"]
    assert {rows[0][7], rows[0][9]} <= {"yes", "no"}
    assert rows[3][:4] == ["energy", "2.04", "1.99", "1.38"]
    assert rows[-2][:2] == ["energy", "50"]
    for cell in rows[-2][2:]:
        assert 60 < float(cell) <= 100
    assert rows[-1] == ["all", "", *rows[-2][2:]]
    assert "of 2 splits" in printed


@pytest.mark.parametrize(("ours", "said"), [(2.966, "equal"), (2.964, "yes"), (2.976, "no")])
def test_errors_are_below_as_they_are_printed(ours, said, module):
    assert module("uncertainty").below(np.array([ours]), ("3.228", "2.97"), 2) == said


def test_a_negative_log_likelihood(module):
    uncertainty = module("uncertainty")
    likely = uncertainty.Likely(np.array([1.0, 2.0]), np.array([1.0, 2.0]))
    found = uncertainty.negative_log_likelihood(np.array([1.0, 4.0]), likely)
    assert found == pytest.approx(np.log(2 * np.pi) / 2 + np.log(4) / 4 + 1 / 4)


@pytest.mark.parametrize("arguments", [[], ["--splits", "0"], ["--only", "concrete"]])
def test_uncertainty_says_what_it_needs(arguments, module, tmp_path, monkeypatch, capsys):
    uci_set(tmp_path, "energy", np.zeros((4, 1)), np.zeros(4))
    folder = tmp_path if arguments else tmp_path / "none"
    with pytest.raises(SystemExit):
        run(module("uncertainty"), monkeypatch, capsys, folder, *arguments)
    assert "must hold .npz files" in capsys.readouterr().err
