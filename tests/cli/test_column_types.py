"""The types of columns are inferred, with a note where needed; ambiguous columns are refused."""

from __future__ import annotations

import json
import shlex

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jitprop.cli import column_types, columns, reading, tables, values
from jitprop.cli.reading import Reading
from jitprop.cli.refused import RefusedError

N = 24


class Notes(list):
    """The notes for the user."""

    def __call__(self, sentence):
        self.append(sentence)


def written(separator, **fields):
    """Return a CSV file; columns shorter than the longest are repeated."""
    n = max(map(len, fields.values()))
    rows = [[values_[i % len(values_)] for values_ in fields.values()] for i in range(n)]
    return "\n".join(separator.join(row) for row in [list(fields), *rows])


def table(tmp_path, content):
    path = tmp_path / "table"
    if isinstance(content, pd.DataFrame):
        content.to_parquet(path, index=False)
    else:
        path.write_text(content, encoding="utf-8")
    return tables.read(path, print)


def tell(tmp_path, content, target="y", **asked):
    notes = Notes()
    return column_types.infer(table(tmp_path, content), target, Reading(**asked), notes), notes


def numbers(tmp_path, separator, fields, **asked):
    """Return a column of numbers beside a target, and the notes."""
    inferred, notes = tell(tmp_path, written(separator, x=fields, y=["a", "b"]), **asked)
    column = inferred.frame["x"]
    assert column.dtype == np.float64, column
    return column.tolist(), notes


@pytest.mark.parametrize(
    ("separator", "fields", "right", "example"),
    [
        (";", ["1,5", "-0,25", "2"], [1.5, -0.25, 2], "'1,5' is read as 1.5"),
        (";", ["1.234,50", "7,00"], [1234.5, 7], "'1.234,50' is read as 1234.5"),
        (";", ["1.234.567", "89"], [1234567, 89], "'1.234.567' is read as 1234567"),
        (";", ["1 234,5", "1\u202f000"], [1234.5, 1000], "'1 234,5' is read as 1234.5"),
        (";", ["1'234.50", "7"], [1234.5, 7], '"1\'234.50" is read as 1234.5'),
        (";", ["1\u2019234", "7"], [1234, 7], '"1\'234" is read as 1234'),
        (",", ['"1,234.5"', "999.25"], [1234.5, 999.25], "'1,234.5' is read as 1234.5"),
        (",", ['"1,234,567"', "89"], [1234567, 89], "'1,234,567' is read as 1234567"),
        (",", ['"1,234"', "89"], [1234, 89], "'1,234' is read as 1234"),
        (",", ['"12,34,567"', "89"], [1234567, 89], "'12,34,567' is read as 1234567"),
        (",", ['"1,5"', '"2,75"'], [1.5, 2.75], "'1,5' is read as 1.5"),
        (",", ["$5.50", "$-3", "($2.25)"], [5.5, -3, -2.25], "'$5.50' is read as 5.5"),
        (",", ['"$1,234.50"', "$3.00"], [1234.5, 3], "'$1,234.50' is read as 1234.5"),
        (";", ["1.234,50 \u20ac", "3,00 \u20ac"], [1234.5, 3], "is read as 1234.5"),
        (";", ["EUR 5", "EUR 7"], [5, 7], "'EUR 5' is read as 5"),
        (",", ["5%", "7.5 %", "-1%"], [5, 7.5, -1], "'7.5 %' is read as 7.5"),
        (",", ["(5.5)", "3"], [-5.5, 3], "'(5.5)' is read as -5.5"),
    ],
)
def test_numbers_as_people_write_them(tmp_path, separator, fields, right, example):
    comp, (note,) = numbers(tmp_path, separator, fields)
    assert comp == right
    assert note.startswith("numbers of 'x': ")
    assert example in note


@pytest.mark.parametrize(
    ("fields", "right"),
    [
        (["1.5", "2", "-3e-5", "+4", ".5", "6."], [1.5, 2, -3e-5, 4, 0.5, 6]),
        (["1.234", "2.345"], [1.234, 2.345]),
        (["\u22125", "7"], [-5, 7]),
        (["1.5", '" "', "", " 2 ", '"3 "'], [1.5, np.nan, np.nan, 2, 3]),
        (["1.5", "NA", "nan", "None", "null", "#N/A"], [1.5] + [np.nan] * 5),
        (["18446744073709551615", "-5"], [2.0**64, -5]),
        (["0.1", "1e300"], [0.1, 1e300]),
        (["0", "1", "0.5"], [0, 1, 0.5]),
    ],
)
def test_plain_numbers_need_no_word(tmp_path, fields, right):
    comp, notes = numbers(tmp_path, ",", fields)
    np.testing.assert_array_equal(comp, right)
    assert notes == []


def test_numbers_are_those_that_python_reads(tmp_path, rng):
    x = rng.normal(size=1000) * 10.0 ** rng.integers(-300, 300, 1000)
    assert numbers(tmp_path, ",", list(map(repr, x.tolist())))[0] == x.tolist()


def test_one_note_for_all_columns_that_are_written_alike(tmp_path):
    content = written(";", a=["1,5"], b=["2,5", "3"], c=["4.5"], whole=["7", "8"], y=["u", "v"])
    inferred, notes = tell(tmp_path, content)
    assert notes == ["numbers of 'a', 'b': '1,5' is read as 1.5"]
    assert inferred.frame["c"].tolist() == [4.5, 4.5]


def test_other_columns_tell_what_a_point_or_comma_means(tmp_path):
    content = written(";", sure=["1,5"], x=["1.234", "2.345"], y=["u", "v"])
    assert tell(tmp_path, content)[0].frame["x"].tolist() == [1234, 2345]
    content = written(";", sure=["1,5"], x=["1,234", "2,345"], y=["u", "v"])
    assert tell(tmp_path, content)[0].frame["x"].tolist() == [1.234, 2.345]
    content = written(";", sure=["1.5"], x=["1,234", "2,345"], y=["u", "v"])
    assert tell(tmp_path, content)[0].frame["x"].tolist() == [1234, 2345]


def test_options_tell_it_too(tmp_path):
    comma = ["1,234", "2,345"]
    assert numbers(tmp_path, ";", comma, decimal=",")[0] == [1.234, 2.345]
    assert numbers(tmp_path, ";", comma, decimal=".")[0] == [1234, 2345]
    assert numbers(tmp_path, ";", comma, thousands=",")[0] == [1234, 2345]
    point = ["1.234", "2.345"]
    assert numbers(tmp_path, ";", point, thousands=".")[0] == [1234, 2345]
    comp, (note,) = numbers(tmp_path, ";", point)
    assert comp == [1.234, 2.345]
    assert "--thousands ." in note


@pytest.mark.parametrize(
    ("separator", "fields", "asked", "words"),
    [
        (";", ["1,234", "2,345"], {}, "'x' holds '1,234', .*--decimal , or --thousands ,"),
        (
            ";",
            ["1,5"],
            {"decimal": "."},
            "'x' must hold numbers with the decimal mark '.' .*; row 1",
        ),
        (
            ";",
            ["1,5"],
            {"decimal": ",", "thousands": ","},
            "--decimal and --thousands are both ','",
        ),
        (",", ["5%", "0.5"], {}, "'x' holds '0.5' and '5%': .*--text x"),
        (",", ["$5", "\u20ac5"], {}, "'x' holds '\\$5' and '\u20ac5'"),
        (
            ",",
            [*map(str, range(30)), "?"],
            {},
            r"except '\?' \(the first in row 31\): say --missing",
        ),
        (",", [*(f"{i},5".join('""') for i in range(30)), "-"], {}, "except '-'.*--missing '-'"),
        (",", [f"<{i}" for i in range(9)] + [str(i) for i in range(99)], {}, "except '<0'"),
        (
            ",",
            [*(f"1.{i % 12 + 1}.20{i}" for i in range(10, 40)), "soon"],
            {},
            "dates except 'soon'",
        ),
        (",", [f"{i} kg" for i in range(30)], {}, "the unit 'kg', .*--number x .*--text x"),
        (",", ["1", "many"], {"number": ("x",)}, "'x' must hold numbers; row 2 holds 'many'"),
        (",", ["1"], {"number": ("z",)}, "--number: there is no column 'z'; there are 'x', 'y'"),
        (",", ["1"], {"text": ("z",)}, "--text: there is no column 'z'"),
        (",", ["1"], {"keep": ("z",)}, "--keep: there is no column 'z'"),
        (",", ["1"], {"text": ("x",), "number": ("x",)}, "'x' is both in --text and in --number"),
    ],
)
def test_what_may_mean_two_things_is_refused(tmp_path, separator, fields, asked, words):
    with pytest.raises(RefusedError, match=words):
        numbers(tmp_path, separator, fields, **asked)


def test_number_takes_a_unit_or_a_zero_away(tmp_path):
    asked = {"number": ("x",)}
    weights = [f"{i}.5 kg" for i in range(30)]
    assert numbers(tmp_path, ",", weights, **asked)[0] == [i + 0.5 for i in range(30)]
    assert numbers(tmp_path, ",", ["007", "08"], **asked)[0] == [7, 8]
    digits = [f"202401{i:02}" for i in range(1, 31)]
    assert numbers(tmp_path, ",", digits, **asked)[0][0] == 20240101


@pytest.mark.parametrize(
    "fields",
    [
        ["12.34.5678", "10.99.1234"],
        ["1.2.3", "1.10.0"],
        ["192.168.0.1", "10.0.0.1"],
        ["A/5 21171", "113803"],
        ["T1", "T2"],
        ["5 mg", "10 mg"],
        ["yes", "no"],
        ["+49 30 1234", "+49 40 99"],
        ["1-2", "3-4"],
        ["31.2.x", "1"],
        ["99.99.2024", "1.1.2024"],
    ],
)
def test_texts_are_categories(tmp_path, fields):
    inferred, notes = tell(tmp_path, written(",", x=fields, y=["a", "b"]))
    assert values.kind(inferred.frame["x"]) == "text"
    assert inferred.frame["x"].tolist() == fields
    assert notes == []


def kinds_of(learned):
    return {column.name: column.kind for column in learned}


def test_codes_that_begin_with_0_are_text_with_a_word(tmp_path):
    inferred, (note,) = tell(tmp_path, written(",", zip=["01234", "20095"], y=["a", "b"]))
    assert inferred.frame["zip"].tolist() == ["01234", "20095"]
    assert "'zip' is read as text, since '01234' begins with 0" in note
    assert "--number zip" in note
    inferred, notes = tell(tmp_path, written(",", zip=["01234", "NA"], y=["a", "b"]), text=("zip",))
    assert inferred.frame["zip"].tolist() == ["01234", "NA"]
    assert notes == []


@pytest.mark.parametrize(
    "fields",
    [
        ["2024-02-29", "1999-1-1"],
        ["2024-02-29T12:30:00Z", "2024-02-29T12:30:00.123+01:00"],
        ["2024-02-29 12:30", ""],
        ["2024/02/29", "2024.02.29"],
        ["29.2.2024", "1.12.24"],
        ["29.02.2024 23:59:59", "NA"],
        ["2/29/2024", "12/1/2024"],
        ["1/2/2024", "3/4/2024"],  # day or month first: a date in either case
        ["2/29/2024 1:30 PM", "None"],
        ["29-02-2024", " "],
        ['"Feb 29, 2024"', '"March 1, 2024"'],
        ["29 Feb 2024", "1 september 2024"],
        ["29-Feb-24", "01-Mar-24"],
        ['"Thu, 29 Feb 2024 12:30:00 GMT"', ""],
        ["Thu Feb 29 12:30:00 2024", "Thu Feb 29 12:30:00 UTC 2024"],
        ["Feb 2024", "May 2024"],
        ["2024-02", "2024-12"],
        ["12:30", "1:30 pm"],
    ],
)
def test_dates_however_written_are_dates(tmp_path, fields):
    inferred, _ = tell(tmp_path, written(",", x=fields, y=["a", "b"]))
    assert values.kind(inferred.frame["x"]) == "date"
    inferred, _ = tell(tmp_path, written(",", x=fields, y=["a", "b"]), text=("x",))
    assert values.kind(inferred.frame["x"]) == "text"


@pytest.mark.parametrize("parquet", [False, True])
def test_dates_of_eight_digits_are_dates_with_a_word(tmp_path, parquet):
    digits = [int(f"2024{month:02}15") for month in range(1, 13)]
    frame = pd.DataFrame({"day": digits, "y": [1.5, 2.5] * 6})
    content = frame if parquet else frame.to_csv(index=False)
    inferred, (note,) = tell(tmp_path, content)
    assert values.kind(inferred.frame["day"]) == "date"
    assert "'day' is read as dates, such as 20240115; --number day" in note
    inferred, notes = tell(tmp_path, content, number=("day",))
    assert inferred.frame["day"].tolist() == digits
    assert notes == []


def test_blanks_are_neither_dates_nor_numbers(tmp_path):
    inferred, _ = tell(tmp_path, written(",", x=[" ", '" "', ""], z=["1", "2"], y=["a", "b"]))
    notes = Notes()
    learned = columns.learn(inferred.frame[["x", "z"]], np.arange(3), notes)
    assert [column.name for column in learned] == ["z"]
    assert notes == ["column 'x' is left out: it has no values"]


@pytest.mark.parametrize("typed", [False, True])
def test_marks_of_missing_values(tmp_path, typed):
    frame = pd.DataFrame(
        {
            "t": ["?", "u", "-999", "None"],
            "i": [1, -999, 3, 4],
            "f": [0.5, 1.5, -999.0, 2.5],
            "y": ["a", "b", "a", "?"],
        }
    )
    inferred, notes = tell(
        tmp_path, frame if typed else frame.to_csv(index=False), missing=("?", "-999", "n.d.")
    )
    assert inferred.frame["t"].isna().tolist() == [True, False, True, False]
    assert inferred.frame["i"].isna().tolist() == [False, True, False, False]
    assert inferred.frame["f"].isna().tolist() == [False, False, True, False]
    assert inferred.spelled.tolist() == ["a", "b", "a", None]
    assert notes == ["--missing 'n.d.': no field of the table has this value"]


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        (["01", "1"], "text"),
        (["1.1", "1.10"], "text"),
        (["true", "false"], "text"),
        (["True", "False"], "boolean"),
        (["9007199254740993", "9007199254740992"], "integer"),
        (["1", "-2"], "integer"),
        (["1.5", "2.0"], "number"),
        (["None", "A"], "text"),
        (["1,5", "2,5"], "text"),
        (["a b", "c"], "text"),
    ],
)
def test_the_target_is_spelled_as_in_the_file(tmp_path, fields, kind):
    inferred, _ = tell(tmp_path, written(";", x=["1", "2"], y=fields))
    assert inferred.spelled.tolist() == fields
    assert inferred.kind == kind
    assert not inferred.frame["y"].isna().any()


@pytest.mark.parametrize(
    ("values_", "spelled", "kind"),
    [
        ([True, False, None], ["True", "False", None], "boolean"),
        (
            pd.array([2**53 + 1, 2**53, None], "Int64"),
            [str(2**53 + 1), str(2**53), None],
            "integer",
        ),
        (np.array([2**64 - 1, 0, 1], np.uint64), [str(2**64 - 1), "0", "1"], "integer"),
        ([1.0, 2.5, None], ["1", "2.5", None], "number"),
        (["01", "true", "None"], ["01", "true", "None"], "text"),
        (["1", "2", None], ["1", "2", None], "text"),
        (pd.Categorical(["u", "v", None]), ["u", "v", None], "text"),
    ],
)
def test_the_target_is_spelled_as_a_typed_file_has_it(tmp_path, values_, spelled, kind):
    inferred, _ = tell(tmp_path, pd.DataFrame({"x": [1.5, 2, 3], "y": values_}))
    assert inferred.spelled.tolist() == spelled
    assert inferred.kind == kind


def test_missing_classes_are_named(tmp_path):
    content = written(",", x=["1", "2", "3"], y=["NA", "None", "a"])
    inferred, (note,) = tell(tmp_path, content)
    assert inferred.spelled.tolist() == [None, "None", "a"]
    assert "'NA' in the target 'y' means a missing value; --text y makes it a class" in note
    assert tell(tmp_path, content, text=("y",))[0].spelled.tolist() == ["NA", "None", "a"]
    assert tell(tmp_path, content, missing=("None",))[0].spelled.tolist() == [None, None, "a"]


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("n", range(1, N + 1)),
        ("rownames", range(N)),
        ("Unnamed: 0", range(N)),
        ("n", [*range(5, N), *range(5)]),  # shuffled
        ("PassengerId", range(0, 3 * N, 3)),
        ("id", np.arange(N)[::-1] * 1000 + 17),
        ("customer_id", np.arange(N) ** 2),
    ],
)
@pytest.mark.parametrize("typed", [False, True])
def test_integers_that_name_rows_are_left_out_with_a_word(tmp_path, name, ids, typed):
    frame = pd.DataFrame({name: ids, "x": np.arange(N) % 5, "y": np.arange(N) / 7})
    inferred, _ = tell(tmp_path, frame if typed else frame.to_csv(index=False))
    assert inferred.ids == {name}
    notes = Notes()
    left = columns.learn(inferred.frame[[name, "x"]], np.arange(N), notes, inferred.ids)
    assert [column.name for column in left] == ["x"]
    assert f"column {name!r} is left out" in notes[0]
    assert f"--keep {shlex.quote(name)}" in notes[0]
    inferred, _ = tell(tmp_path, frame if typed else frame.to_csv(index=False), keep=(name,))
    assert inferred.ids == frozenset()


@pytest.mark.parametrize(
    ("name", "values_"),
    [
        (
            "width",
            np.arange(N) ** 2,
        ),  # all differ, but with gaps, and the name is not that of an id
        ("id", np.arange(N) % 7),
        ("id", np.arange(N) + 0.5),
        ("paid", np.arange(N) * 3),
        ("grid", np.arange(N) * 3),
        ("n", [*range(N - 1), None]),
    ],
)
def test_other_numbers_are_no_ids(tmp_path, name, values_):
    frame = pd.DataFrame({name: values_, "y": np.arange(N) / 7})
    assert tell(tmp_path, frame.to_csv(index=False))[0].ids == frozenset()


def test_what_counts_up_is_learned_from_where_nothing_else_is(tmp_path):
    frame = pd.DataFrame({"x": range(N), "y": np.arange(N) ** 2})
    inferred, _ = tell(tmp_path, frame.to_csv(index=False))
    notes = Notes()
    (column,) = columns.learn(inferred.frame[["x"]], np.arange(N), notes, inferred.ids)
    assert column.name == "x"
    assert "no other column to learn from" in notes[0]


def test_ids_of_texts_can_be_kept():
    frame = pd.DataFrame({"id": [f"k{i}" for i in range(N)]})
    notes = Notes()
    (column,) = columns.learn(frame, np.arange(N), notes, keep=["id"])
    assert column.n_inputs == N
    with pytest.raises(RefusedError, match=r"--keep when: .* --text when"):
        columns.learn(
            pd.DataFrame({"when": ["2024-01-01"] * 2}), np.arange(2), notes, keep=["when"]
        )


def later(tmp_path, inferred, content, *learned):
    """Read a later table as a model does that was trained on the inferred table."""
    made = inferred.reading.to_json()
    kept = reading.from_json(json.loads(json.dumps(made)), inferred.reading.missing)
    frame = inferred.frame[list(learned)]
    notes = Notes()
    made = columns.learn(frame, np.arange(len(frame)), print)
    return column_types.read(table(tmp_path, content), kinds_of(made), kept, notes), notes


def test_later_tables_are_read_alike(tmp_path):
    content = written(
        ";", a=["1,5", "2,5"], b=["1.234", "2.345"], p=["5%", "6%"], zip=["01", "02"], y=["u", "v"]
    )
    inferred, _ = tell(tmp_path, content, missing=("?",))
    assert inferred.frame["b"].tolist() == [1234, 2345]
    # The separator is a comma now, and no column shows the decimal mark.
    new = 'zip,b,a,p\n01,"1.234",3,7%\n2,?,"4,25","7,5 %"\n'
    frame, _ = later(tmp_path, inferred, new, "a", "b", "p", "zip")
    assert frame["a"].tolist() == [3, 4.25]
    np.testing.assert_array_equal(frame["b"], [1234, np.nan])
    assert frame["p"].tolist() == [7, 7.5]
    assert frame["zip"].tolist() == ["01", "2"]


@pytest.mark.parametrize(
    ("trained", "new", "words"),
    [
        (
            "5%",
            "0.05",
            "had '%' beside its numbers in training and has no sign in this table, as in '0.05'",
        ),
        (
            "5 kg",
            "5 g",
            "had 'kg' beside its numbers in training and has 'g' in this table, as in '5 g'",
        ),
        ("5", "5 kg", "had no sign beside its numbers in training and has 'kg' in this table"),
        (
            "$5",
            "\u20ac5",
            "had '\\$' beside its numbers in training and has '\u20ac' in this table",
        ),
        (
            "0.05",
            "5%",
            "had no sign beside its numbers in training and has '%' in this table, as in '5%'",
        ),
        ("0.5", '"1,5"', "must hold numbers with the decimal mark '.' .*; row 1 holds '1,5'"),
        ('"1,5"', "1.5", "must hold numbers with the decimal mark ',' .*; row 1 holds '1.5'"),
        ("0.5", "many", "must hold numbers; row 1 holds 'many'"),
    ],
)
def test_later_numbers_of_another_kind_are_refused(tmp_path, trained, new, words):
    rows = f"x,y\n{trained},a\n{trained.replace('5', '7')},b\n"
    inferred, _ = tell(tmp_path, rows, number=("x",))
    with pytest.raises(RefusedError, match=words):
        later(tmp_path, inferred, f"x\n{new}\n{new}\n", "x")


@pytest.mark.parametrize(
    ("trained", "new", "right"), [("5 kg", "5.5 kg", 5.5), ("$5", "6", 6), ("5", "$6", 6)]
)
def test_later_numbers_may_have_what_they_had(tmp_path, trained, new, right):
    rows = f"x,y\n{trained},a\n{trained.replace('5', '7')},b\n"
    inferred, _ = tell(tmp_path, rows, number=("x",))
    assert later(tmp_path, inferred, f"x\n{new}\n", "x")[0]["x"].tolist() == [right]


def test_later_tables_may_be_of_another_kind_of_file(tmp_path):
    inferred, _ = tell(tmp_path, "n,t,y\n1,u,a\n2,v,b\n4,u,b\n", missing=("-9",))
    frame, notes = later(
        tmp_path, inferred, pd.DataFrame({"t": ["u", "-9"], "n": [3, -9]}), "n", "t"
    )
    np.testing.assert_array_equal(frame["n"], [3, np.nan])
    assert frame["t"].isna().tolist() == [False, True]
    inferred, _ = tell(tmp_path, pd.DataFrame({"n": [1.5, 2.5], "t": ["1", "2"], "y": ["a", "b"]}))
    assert values.kind(inferred.frame["t"]) == "text"
    frame, notes = later(tmp_path, inferred, "t,n\n1,3.5\n2,4.5\n", "n", "t")
    assert frame["n"].tolist() == [3.5, 4.5]
    assert frame["t"].tolist() == ["1", "2"]
    assert notes == []


def test_columns_that_a_file_has_typed_can_be_called_numbers_or_text(tmp_path):
    frame = pd.DataFrame({"b": [True, False], "i": [1, 2], "t": ["u", "v"], "y": ["a", "b"]})
    inferred, _ = tell(tmp_path, frame, number=("b",), text=("i",))
    assert inferred.frame["b"].tolist() == [1, 0]
    assert inferred.frame["i"].tolist() == ["1", "2"]
    with pytest.raises(RefusedError, match="'t' must hold numbers; row 1 holds 'u'"):
        tell(tmp_path, frame, number=("t",))


def test_many_numbers_that_a_typed_file_has_as_text_are_numbers(tmp_path):
    frame = pd.DataFrame({"x": [f"{i},5" for i in range(30)], "y": np.arange(30) / 7})
    inferred, notes = tell(tmp_path, frame)
    assert inferred.frame["x"].tolist() == [i + 0.5 for i in range(30)]
    assert "'x' has the type text in its file, but holds only numbers" in notes[0]
    assert "'0,5' is read as 0.5" in notes[1]
    digits = pd.DataFrame({"x": [f"{i}" for i in range(100, 130)], "y": np.arange(30) / 7})
    inferred, notes = tell(tmp_path, digits)
    assert inferred.frame["x"].tolist() == digits["x"].tolist()
    assert notes == []
    inferred, _ = tell(tmp_path, digits, number=("x",))
    assert inferred.frame["x"].tolist() == list(range(100, 130))


PIECES = st.lists(
    st.sampled_from(
        [
            *"0123456789.,' -+%$()e/:",
            "NA",
            "None",
            "inf",
            "kg",
            "2024",
            "Feb",
            "T",
            "true",
            "\u20ac",
            "\u2212",
            "\u00a0",
        ]
    ),
    max_size=5,
).map("".join)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(PIECES, min_size=2, max_size=6).flatmap(
        lambda few: st.lists(st.sampled_from(few), min_size=12, max_size=30)
    ),
    st.sampled_from(",;"),
    st.booleans(),
)
def test_any_column_is_read_alike_later_or_refused_in_words(fields, separator, typed):
    frame = pd.DataFrame(
        {"x": fields, "z": np.arange(len(fields)) % 5, "y": np.arange(len(fields)) % 2}
    )
    if typed:
        given_ = tables.Table(frame, typed=True, separator="")
    else:
        given_ = tables.Table(frame.astype(str).map(str.lstrip), typed=False, separator=separator)
    try:
        inferred = column_types.infer(given_, "y", Reading(), Notes())
        learned = columns.learn(
            inferred.frame[["x", "z"]], np.arange(len(fields)), Notes(), inferred.ids
        )
    except RefusedError:
        return
    frame = column_types.read(given_, kinds_of(learned), inferred.reading, Notes())
    for column in learned:
        pd.testing.assert_series_equal(frame[column.name], inferred.frame[column.name])


@pytest.mark.parametrize(
    "change",
    [
        {"decimal": "x"},
        {"decimal": 1},
        {"thousands": ";"},
        {"text": 1},
        {"signs": [1]},
        {"points": 1},
    ],
)
def test_an_altered_reading_is_refused(change):
    item = {**Reading(decimal=".").to_json(), **change}
    with pytest.raises((KeyError, TypeError, ValueError)):
        reading.from_json(item, ())


def test_the_reading_of_files_before_it_was_kept():
    assert reading.from_json(None, ["?"]) == Reading(".", "", missing=("?", "None"))


def test_a_mark_beside_few_numbers_is_noted(tmp_path):
    content = written(",", x=["1.5", "?", "2.5", "2.5"], y=["a", "b", "a", "b"])
    inferred, (note,) = tell(tmp_path, content)
    assert inferred.frame["x"].tolist() == ["1.5", "?", "2.5", "2.5"]
    assert "'x' is read as text, since '?' stands beside its numbers: say --missing '?'" in note
    assert tell(tmp_path, content, missing=("?",))[1] == []
    assert tell(tmp_path, content, text=("x",))[1] == []
    few = written(",", x=["1.5", "low", "high", "low"], y=["a", "b", "a", "b"])
    assert tell(tmp_path, few)[1] == []
