"""Recognise and read dates and times in texts, in the common forms."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

MONTHS = "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"
MONTH = (
    r"(?P<name>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|"
    r"sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
DAY = r"(?:(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?\.?,? )?"
CLOCK = (
    r"(?P<hour>[01]?\d|2[0-4]):(?P<minute>[0-5]\d)"
    r"(?::(?P<second>[0-5]\d(?:[.,]\d+)?|60))?(?: ?(?P<half>[ap])\.?m\.?)?"
)
ZONE = r"(?: ?(?:z|utc|gmt|(?P<sign>[+-])(?P<hours>\d\d):?(?P<minutes>\d\d)?))?"
TIME = rf"(?:[t ,]+{CLOCK}{ZONE})?"
YEAR = r"(?P<year>[12]\d{3})"
SHORT_YEAR = r"(?P<year>[12]\d{3}|\d\d)"


def _form(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


FORMS = (
    # Years first: 2024-02-29, 2024/2/29, 2024-02-29T12:30:00Z.
    _form(rf"{YEAR}(?P<mark>[-/.])(?P<month>\d\d?)(?P=mark)(?P<day>\d\d?){TIME}"),
    # Days first: 29.2.2024, 29/02/24.
    _form(rf"(?P<day>\d\d?)(?P<mark>[-/.])(?P<month>\d\d?)(?P=mark){SHORT_YEAR}{TIME}"),
    # Months first: 2/29/2024.
    _form(rf"(?P<month>\d\d?)(?P<mark>[-/])(?P<day>\d\d?)(?P=mark){SHORT_YEAR}{TIME}"),
    # With names: 29 Feb 2024, 29-Feb-24, Thu, 29 February 2024 12:30.
    _form(rf"{DAY}(?P<day>\d\d?)(?:st|nd|rd|th)?[-. ,/]+{MONTH}[-. ,/]+{SHORT_YEAR}{TIME}"),
    # Feb 29, 2024; February 29th 2024.
    _form(rf"{DAY}{MONTH}[ -](?P<day>\d\d?)(?:st|nd|rd|th)?,?[ -]{YEAR}{TIME}"),
    # Feb 2024, Feb-2024, 2024 Feb.
    _form(rf"{MONTH}[- ,]+{YEAR}"),
    _form(rf"{YEAR}[- ]{MONTH}"),
    # Thu Feb 29 12:30:00 2024, as Unix writes it.
    _form(rf"{DAY}{MONTH} +(?P<day>\d\d?) {CLOCK}{ZONE} {YEAR}"),
    # Months: 2024-02.
    _form(rf"{YEAR}-(?P<month>\d\d)"),
    # Hours: 12:30, 12:30:59, 1:30 pm.
    _form(CLOCK),
)


MONTHS_FIRST = (FORMS[0], FORMS[2], FORMS[1], *FORMS[3:])
"""The same, with months before days where both would fit."""

DIGITS = re.compile(r"\d{8}", re.ASCII)
"""Dates such as 20240229."""

MAX_LENGTH = 60
"""No date has more characters."""


def are(texts: Sequence[str]) -> bool:
    """Return whether there is a text, and all of them are dates or times."""
    return bool(texts) and all(map(is_date, texts))


def is_date(text: str) -> bool:
    """Return whether a text has one of the forms, with a month up to 12 and a day up to 31."""
    return _found(text, FORMS) is not None


class Order(NamedTuple):
    """
    The order of day and month in a column's dates, such as 3/2/2024.

    Attributes
    ----------
    day_first : bool
        Whether a text is a date only if the day comes first, as 29/2/2024.
    example : str
        A text that is another date if the day comes first, where no text of the column shows
        whether it does; else "".
    """

    day_first: bool
    example: str


def order(texts: Iterable[str]) -> Order:
    """Return the order of day and month that a column's texts show."""
    days = months = False
    example = ""
    for text in texts:
        day, month = (_found(text, [form]) for form in FORMS[1:3])
        days |= month is None and day is not None
        months |= day is None and month is not None
        if day and month and day["day"] != month["day"]:
            example = example or text
    return Order(days, "" if days or months else example)


def read(texts: Sequence[str | None], day_first: bool = False) -> npt.NDArray[np.datetime64]:
    """
    Read texts as dates.

    Parameters
    ----------
    texts : sequence of str or None
    day_first : bool, default False
        Whether 3/2/2024 is 3 February, if that is open.

    Returns
    -------
    (n,) array of datetime64[us]
        In UTC, if the text names a zone. NaT for None, for a text that is no date, and for one such
        as 30 February. A time without a date is one of 1 January 1970. A year of two digits is one
        from 1969 to 2068, as in POSIX.
    """
    forms = FORMS if day_first else MONTHS_FIRST
    nothing = np.datetime64("NaT", "us")
    known: dict[str | None, np.datetime64] = {None: nothing}
    for text in {*texts} - {None}:
        found = _found(str(text), forms)
        known[text] = nothing if found is None else _date(found)
    return np.array([known[text] for text in texts], "datetime64[us]")


def _found(text: str, forms: Sequence[re.Pattern[str]]) -> Mapping[str, str | None] | None:
    """Return the parts of a date by the first form that fits; None if none does."""
    for form in forms if len(text) <= MAX_LENGTH else ():
        match = form.fullmatch(text)
        if match is not None:
            found = match.groupdict()
            month, day = (int(found.get(part) or 1) for part in ("month", "day"))
            if 1 <= month <= 12 and 1 <= day <= 31:
                return found
    return None


def _date(found: Mapping[str, str | None]) -> np.datetime64:
    """Return the date of the parts of a text."""
    whole = {part: int(found.get(part) or 0) for part in ("hour", "minute", "hours", "minutes")}
    year = found.get("year") or "1970"
    century = 0 if len(year) > 2 else 1900 if int(year) > 68 else 2000
    name = found.get("name")
    month = MONTHS.index(name[:3].lower()) + 1 if name else int(found.get("month") or 1)
    try:
        day = datetime.datetime(int(year) + century, month, int(found.get("day") or 1))
    except ValueError:  # such as 30 February
        return np.datetime64("NaT", "us")
    hour, half = whole["hour"], (found.get("half") or "").lower()
    if half and hour <= 12:
        hour = hour % 12 + 12 * (half == "p")
    zone = 60 * whole["hours"] + whole["minutes"]
    minutes = 60 * hour + whole["minute"] + (zone if found.get("sign") == "-" else -zone)
    second, _, fraction = (found.get("second") or "0").replace(",", ".").partition(".")
    microseconds = int(second) * 1_000_000 + int(fraction[:6].ljust(6, "0"))
    return np.datetime64(day, "us") + np.timedelta64(60_000_000 * minutes + microseconds, "us")


def with_dashes(text: str) -> str:
    """Return a date of eight digits with dashes, and any other text as it is."""
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if DIGITS.fullmatch(text) else text


def digits(numbers: Sequence[int]) -> bool:
    """Return whether there is a number, and all are dates of eight digits, such as 20240229."""
    return len(numbers) > 0 and all(
        1900 <= n // 10_000 <= 2100 and 1 <= n // 100 % 100 <= 12 and 1 <= n % 100 <= 31
        for n in numbers
    )
