"""Dates and times in texts: how they are read, and the order of day and month."""

from __future__ import annotations

import numpy as np
import pytest

from jitprop.cli import dates


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2024-02-29", "2024-02-29"),
        ("1999-1-1", "1999-01-01"),
        ("2024-02-29T12:30:00Z", "2024-02-29T12:30"),
        ("2024-02-29T12:30:00.123+01:00", "2024-02-29T11:30:00.123"),
        ("2024-02-29 23:30-0130", "2024-03-01T01:00"),
        ("2024-02-29 12:30:59,25", "2024-02-29T12:30:59.25"),
        ("2024-02-29 24:00", "2024-03-01"),
        ("29.2.2024", "2024-02-29"),
        ("1.12.24", "2024-12-01"),
        ("1.12.69", "1969-12-01"),
        ("1.12.68", "2068-12-01"),
        ("2/29/2024 1:30 PM", "2024-02-29T13:30"),
        ("2/29/2024 12:05 a.m.", "2024-02-29T00:05"),
        ("Feb 29, 2024", "2024-02-29"),
        ("1 september 2024", "2024-09-01"),
        ("29-Feb-24", "2024-02-29"),
        ("Thu, 29 Feb 2024 12:30:00 GMT", "2024-02-29T12:30"),
        ("Thu Feb 29 12:30:00 UTC 2024", "2024-02-29T12:30"),
        ("May 2024", "2024-05-01"),
        ("2024 May", "2024-05-01"),
        ("2024-02", "2024-02-01"),
        ("12:30", "1970-01-01T12:30"),
        ("30.2.2024", "NaT"),
        ("soon", "NaT"),
        (None, "NaT"),
    ],
)
def test_texts_are_read_as_dates(text, date):
    assert text is None or dates.is_date(text) == (text != "soon")
    np.testing.assert_array_equal(dates.read([text]), np.array([date], "datetime64[us]"))


@pytest.mark.parametrize(
    ("texts", "day_first", "example"),
    [
        (["1/2/2024", "3/4/2024"], False, "1/2/2024"),
        (["13/2/2024", "3/4/2024"], True, ""),
        (["1/2/2024", "3/14/2024"], False, ""),
        (["1/1/2024"], False, ""),
        (["29.2.2024"], True, ""),
        (["2024-02-01"], False, ""),
        ([], False, ""),
    ],
)
def test_a_column_shows_whether_the_day_comes_first(texts, day_first, example):
    assert dates.order(texts) == (day_first, example)


def test_the_order_of_day_and_month_is_that_of_the_column():
    texts = ["1/2/2024", "13/2/2024", "2/13/2024", "1.2.2024"]
    months = dates.read(texts).astype("datetime64[M]").astype(str)
    assert months.tolist() == ["2024-01", "2024-02", "2024-02", "2024-02"]
    months = dates.read(texts, day_first=True).astype("datetime64[M]").astype(str)
    assert months.tolist() == ["2024-02"] * 4
