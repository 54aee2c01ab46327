"""All kinds of tables in `jitprop train` and `jitprop predict`, and how labels are spelled."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jitprop.cli import column_types, main, models, tables
from jitprop.cli.models import KEY
from jitprop.cli.reading import Reading
from jitprop.files import saving

N = 60
QUICK = "--epochs", "3", "--no-plot", "--hidden", "4"
SURE = (
    "--no-plot", "--hidden", "none", "--learning-rate", "0.1", "--epochs", "60",
    "--validation", "0", "--weight-decay", "0.0001",
)  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys, *arguments, code=0):
    """Run a command; return what it wrote to stdout and to stderr."""
    assert main(arguments) == code, capsys.readouterr()
    return capsys.readouterr()


def there_and_back(capsys, table, *options, out="p.csv"):
    """Train and predict on the same table; return the predictions as text, and the notes."""
    _, err = run(capsys, "train", table, "--target", "y", *SURE, *options)
    run(capsys, "predict", "model.safetensors", table, "--out", out)
    if out.endswith(".csv"):
        return pd.read_csv(out, dtype=str, keep_default_na=False)["y"].tolist(), err
    return pd.read_parquet(out)["y"], err


def test_probabilities_are_float64(capsys, rng):
    pd.DataFrame({"x": rng.random(N), "y": ["a", "b"] * (N // 2)}).to_csv("t.csv", index=False)
    run(capsys, "train", "t.csv", "--target", "y", *QUICK)
    run(capsys, "predict", "model.safetensors", "t.csv", "--proba", "--out", "p.parquet")
    made = pd.read_parquet("p.parquet")[["y=a", "y=b"]]
    assert (made.dtypes == np.float64).all()
    assert (made.sum(axis=1) == 1).all()


@pytest.mark.parametrize(
    "labels",
    [
        ("01", "1"),
        ("1.1", "1.10"),
        ("true", "false"),
        ("True", "False"),
        ("9007199254740993", "9007199254740992"),
        ("18446744073709551615", "18446744073709551614"),
        ("None", "A"),
        ("1,5", "2,5"),
        ("10", "9"),
        ("-1", "1.0"),
    ],
)
def test_labels_come_back_as_the_table_spells_them(capsys, labels):
    y = [labels[i % 2] for i in range(N)]
    rows = [f"{i % 2};{i * i % 7};{label}" for i, label in enumerate(y)]
    Path("t.csv").write_text("\n".join(["x;z;y", *rows]))
    made, err = there_and_back(capsys, "t.csv", "--task", "classification")
    assert made == y
    assert "left out" not in err
    made, _ = there_and_back(capsys, "t.csv", "--task", "classification", out="p.parquet")
    assert [str(label) for label in made] == y
    made = run(capsys, "predict", "model.safetensors", "t.csv", "--proba")[0].splitlines()[0]
    assert all(f"y={label}" in made for label in labels)


@pytest.mark.parametrize(
    ("labels", "dtype"),
    [
        ([True, False], "bool"),
        ([2**53 + 1, 2**53], "int64"),
        (np.array([2**64 - 1, 2**63], np.uint64), "uint64"),
        (["01", "1"], None),
        (["true", "None"], None),
        ([1.0, 2.5], "float64"),
    ],
)
def test_labels_of_parquet_come_back_in_their_type(capsys, labels, dtype):
    y = np.asarray(labels)[np.arange(N) % 2]
    pd.DataFrame({"x": np.arange(N) % 2, "z": np.arange(N) ** 2 % 7, "y": y}).to_parquet("t")
    made, _ = there_and_back(capsys, "t", "--task", "classification", out="p.parquet")
    assert made.tolist() == y.tolist()
    assert dtype is None or made.dtype == dtype


def test_equal_numbers_that_are_spelled_differently_are_said_to_be_two(capsys):
    rows = [f"{i % 7},{['1.1', '1.10'][i % 2]}" for i in range(N)]
    Path("t.csv").write_text("\n".join(["x,y", *rows]))
    _, err = run(capsys, "train", "t.csv", "--target", "y", "--task", "classification", *QUICK)
    assert "the classes '1.1' and '1.10' of 'y' are the same number, spelled differently" in err


@pytest.mark.parametrize("typed", [False, True])
def test_a_european_table_teaches_what_a_plain_one_does(capsys, rng, typed):
    x = rng.normal(2000, 900, N).round(2)
    frame = pd.DataFrame({"x": x, "y": (3 * x).round(2)})
    frame.to_csv("plain.csv", index=False)
    ref, err = there_and_back(capsys, "plain.csv")
    assert "note" not in err
    texts = frame.map(lambda v: f"{v:,.2f}".translate(str.maketrans(",.", ".,")))
    (texts.to_parquet if typed else lambda name: texts.to_csv(name, sep=";"))("t")
    comp, err = there_and_back(capsys, "t")
    assert comp == ref
    assert "numbers of 'x', 'y': " in err
    assert "is read as" in err
    # The model reads the plain table in the style of its training table.
    _, err = run(capsys, "predict", "model.safetensors", "plain.csv", code=2)
    assert "must hold numbers with the decimal mark ',' (say --decimal if it is another)" in err
    run(capsys, "predict", "model.safetensors", "plain.csv", "--decimal", ".", "--out", "p.csv")
    assert pd.read_csv("p.csv", dtype=str)["y"].tolist() == ref


def test_predictions_are_as_many_as_the_rows_of_a_table_of_one_column(capsys):
    Path("t.csv").write_text("x,y\n" + "\n".join(f"{i % 3},{i % 3 * 2.5}" for i in range(N)))
    run(capsys, "train", "t.csv", "--target", "y", *SURE)
    Path("new.csv").write_text("x\n0\n\n2\n \n1\n")
    out, err = run(capsys, "predict", "model.safetensors", "new.csv")
    made = [float(line) for line in out.splitlines()[1:]]
    assert "2 of its 5 values are missing and are replaced by the median" in err
    np.testing.assert_allclose(made, [0, 2.5, 5, 2.5, 2.5], atol=0.3)


def test_marks_of_missing_values_hold_for_parquet_too(capsys, rng):
    frame = pd.DataFrame({"x": [-999.0, *rng.random(29)], "t": ["?", "u", "v"] * 10})
    frame["y"] = rng.random(30)
    frame.to_parquet("t")
    run(capsys, "train", "t", "--target", "y", "--missing", "-999", "--missing", "?", *QUICK)
    _, made = models.load(Path("model.safetensors"))
    assert [column.missing for column in made.columns] == [True, True]
    assert made.columns[1].categories == ("u", "v")
    _, err = run(capsys, "predict", "model.safetensors", "t")
    assert err == "note: columns that the model does not use are ignored: 'y'\n"


def test_the_class_none_stays_unless_it_is_said_to_be_missing(capsys):
    pd.DataFrame({"x": range(0, 3 * N, 3), "y": ["None", "A", "B"] * 20}).to_csv("t.csv")
    run(capsys, "train", "t.csv", "--target", "y", *QUICK)
    assert models.load(Path("model.safetensors"))[1].target.labels == ("A", "B", "None")
    _, err = run(capsys, "train", "t.csv", "--target", "y", "--missing", "None", *QUICK)
    assert "rows without a value of the target 'y' are left out: 20" in err
    assert models.load(Path("model.safetensors"))[1].target.labels == ("A", "B")


def test_ids_are_left_out_with_a_word(capsys, rng):
    frame = pd.DataFrame({"rownames": range(1, N + 1), "x": rng.random(N), "y": rng.random(N)})
    frame.to_csv("t.csv", index=False)
    _, err = run(capsys, "train", "t.csv", "--target", "y", *QUICK)
    assert "column 'rownames' is left out" in err
    assert [c.name for c in models.load(Path("model.safetensors"))[1].columns] == ["x"]
    run(capsys, "train", "t.csv", "--target", "y", "--keep", "rownames", *QUICK)
    assert [c.name for c in models.load(Path("model.safetensors"))[1].columns] == ["rownames", "x"]


def test_zip_codes_stay_text_in_later_tables(capsys):
    zips = ["1010", "NA", "3030"]
    rows = [f"{zips[i % 3]},{i % 3}.5" for i in range(N)]
    Path("t.csv").write_text("\n".join(["zip,y", *rows]))
    made, _ = there_and_back(capsys, "t.csv", "--text", "zip")
    np.testing.assert_allclose(np.array(made, float), np.arange(N) % 3 + 0.5, atol=0.3)
    _, saved = models.load(Path("model.safetensors"))
    assert saved.columns[0].categories == ("1010", "3030", "NA")
    assert saved.reading.text == ("zip",)


def test_a_target_in_percent_comes_back_as_numbers(capsys):
    Path("t.csv").write_text("x,y\n" + "\n".join(f"{i % 3},{i % 3 * 10 + 5}%" for i in range(N)))
    made, err = there_and_back(capsys, "t.csv", "--task", "regression")
    assert "numbers of 'y': '5%' is read as 5" in err
    np.testing.assert_allclose(np.array(made, float), np.arange(N) % 3 * 10 + 5, atol=1)


@pytest.mark.parametrize("name", ["p.xlsx", "p.json", "p.tsv", "p.csv.gz", "p.feather"])
def test_predictions_are_written_in_the_kinds_there_are(capsys, name):
    Path("t.csv").write_text("x,y\n" + "\n".join(f"{i % 3},{i % 3 * 2.5}" for i in range(N)))
    run(capsys, "train", "t.csv", "--target", "y", *QUICK)
    _, err = run(capsys, "predict", "model.safetensors", "t.csv", "--out", name, code=2)
    assert err == f"error: --out {name}: the name must end in .csv or in .parquet\n"
    assert not Path(name).exists()


def test_a_model_file_from_before_readings_were_kept_reads_as_it_did(capsys):
    rows = [f"{i % 7},{['u', 'None'][i % 2]},{i % 2}" for i in range(N)]
    Path("t.csv").write_text("\n".join(["x,t,y", *rows]))
    run(capsys, "train", "t.csv", "--target", "y", "--missing", "None", *QUICK)
    ref = run(capsys, "predict", "model.safetensors", "t.csv", "--proba")[0]
    trainer, extra = saving.read("model.safetensors")
    old = {**extra[KEY], "missing": [], "target": {"task": "classification", "name": "y"}}
    old["target"]["labels"] = [0.0, 1.0]
    del old["reading"]
    saving.write("model.safetensors", trainer, {KEY: old})
    assert models.load(Path("model.safetensors"))[1].reading == Reading(".", "", ("None",))
    assert run(capsys, "predict", "model.safetensors", "t.csv", "--proba")[0] == ref


@pytest.mark.skipif(sys.platform == "win32", reason="has no such files")
@pytest.mark.parametrize("place", ["-", "/dev/stdin"])
def test_a_table_from_a_pipe(capsys, place):
    rows = "x,y\n" + "\n".join(f"{i % 3},{i % 3 * 2.5}" for i in range(N))
    Path("t.csv").write_text(rows)
    run(capsys, "train", "t.csv", "--target", "y", *QUICK)
    ref = run(capsys, "predict", "model.safetensors", "t.csv")[0]
    done = subprocess.run(
        [sys.executable, "-m", "jitprop", "predict", "model.safetensors", place],
        input=rows,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout == ref


def test_a_table_too_wide_for_a_model_file_is_refused_at_once(capsys, monkeypatch):
    """Looking at 30,000 columns one by one took more than a minute."""
    monkeypatch.setattr(tables, "MAX_COLUMNS", 4)
    names = [f"c{i}" for i in range(5)]
    rows = [f"{i},{i % 7},{i % 5},{i % 3},{i % 4},1,{i % 2}" for i in range(N)]
    Path("t.csv").write_text("\n".join([",".join([*names, "constant", "y"]), *rows]))
    with monkeypatch.context() as patch:
        patch.setattr(column_types, "infer", None)
        _, err = run(capsys, "train", "t.csv", "--target", "y", *QUICK, code=2)
    assert err.startswith("error: the table has 6 columns with more than one value, but a model")
    assert "room for at most 4: leave some out with --drop" in err
    run(capsys, "train", "t.csv", "--target", "y", "--drop", "c0,c1", *QUICK)
    _, err = run(capsys, "train", "t.csv", "--target", "y", "--drop", "c0", *QUICK, code=2)
    assert "has 5 columns" in err


@pytest.mark.skipif(sys.platform == "win32", reason="command lines are text there")
def test_names_are_found_in_a_locale_of_ascii(capsys):
    """Python then decodes each byte outside ASCII to a surrogate."""
    rows = [f"{i},{i % 3},{['ä', 'ö', '?'][i % 3]},{i % 2}" for i in range(N)]
    Path("t.csv").write_text("\n".join(["größe,länge,straße,ÿ", *rows]), encoding="utf-8")

    def typed(text):
        return text.encode().decode("ascii", "surrogateescape")

    options = ["--target", "ÿ", "--drop", "länge", "--text", "straße", "--keep", "größe"]
    run(capsys, "train", "t.csv", *map(typed, options), "--missing", typed("ö"), *QUICK)
    made = models.load(Path("model.safetensors"))[1]
    assert made.target.name == "ÿ"
    assert [column.name for column in made.columns] == ["größe", "straße"]
    assert made.missing == ("ö",)
    _, err = run(capsys, "train", "t.csv", "--target", "\udcff", *QUICK, code=2)
    assert err.startswith("error: there is no column")
