"""Recognise dates and times in texts, in the common forms."""

from __future__ import annotations

import re
from collections.abc import Sequence

MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|"
    r"sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
DAY = r"(?:(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?\.?,? )?"
CLOCK = r"(?:[01]?\d|2[0-4]):[0-5]\d(?::[0-5]\d(?:[.,]\d+)?|:60)?(?: ?[ap]\.?m\.?)?"
ZONE = r"(?: ?(?:z|utc|gmt|[+-]\d\d:?(?:\d\d)?))?"
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
    _form(rf"{MONTH}[- ,]+{YEAR}|[12]\d{{3}}[- ]{MONTH}"),
    # Thu Feb 29 12:30:00 2024, as Unix writes it.
    _form(rf"{DAY}{MONTH} +(?P<day>\d\d?) {CLOCK}{ZONE} [12]\d{{3}}"),
    # Months: 2024-02.
    _form(rf"{YEAR}-(?P<month>\d\d)"),
    # Hours: 12:30, 12:30:59, 1:30 pm.
    _form(CLOCK),
)


MAX_LENGTH = 60
"""No date has more characters."""


def are(texts: Sequence[str]) -> bool:
    """Return whether there is a text, and all of them are dates or times."""
    return bool(texts) and all(map(is_date, texts))


def is_date(text: str) -> bool:
    """Return whether a text has one of the forms, with a month up to 12 and a day up to 31."""
    for form in FORMS if len(text) <= MAX_LENGTH else ():
        match = form.fullmatch(text)
        if match is not None:
            found = match.groupdict()
            month, day = (int(found.get(part) or 1) for part in ("month", "day"))
            if 1 <= month <= 12 and 1 <= day <= 31:
                return True
    return False


def digits(numbers: Sequence[int]) -> bool:
    """Return whether there is a number, and all are dates of eight digits, such as 20240229."""
    return len(numbers) > 0 and all(
        1900 <= n // 10_000 <= 2100 and 1 <= n // 100 % 100 <= 12 and 1 <= n % 100 <= 31
        for n in numbers
    )
