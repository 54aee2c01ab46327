"""
Parse numbers as people write them: 1234.5, 1.234,50, 1 234.5, 1'234, $5, 5 %, (3.20).

A style is a decimal mark and a thousands separator. Only all texts of a column together show its
style: "1.5" must have a decimal point, but "1.234" may also be one thousand.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc


class Style(NamedTuple):
    """A decimal mark and a thousands separator, "" for none."""

    decimal: str
    thousands: str

    @property
    def pattern(self) -> str:
        """A regular expression for a number in this style."""
        decimal, mark = re.escape(self.decimal), re.escape(self.thousands)
        integer = r"\d+"
        if mark:  # Indian numbers have groups of two digits. The first group does not begin with 0.
            integer = rf"(?:\d+|[1-9]\d{{0,2}}(?:{mark}\d{{2,3}})*{mark}\d{{3}})"
        number = rf"(?:{integer}(?:{decimal}\d*)?|{decimal}\d+)(?:[eE][+-]?\d+)?"
        return rf"^[+-]?(?:{number}|(?i:inf|infinity))$"

    def matches(self, texts: pa.Array) -> pa.Array:
        """Return which texts are numbers in this style; null where a text is null."""
        return pc.match_substring_regex(texts, self.pattern)

    def reads(self, texts: pa.Array) -> bool:
        """Return whether all texts that are not null are numbers in this style."""
        return bool(pc.all(self.matches(texts), min_count=0).as_py())

    def parse(self, texts: pa.Array) -> npt.NDArray[np.float64]:
        """Parse the texts; nan where one is null. All others must be numbers in this style."""
        if self.thousands:
            texts = pc.replace_substring(texts, self.thousands, "")
        if self.decimal != ".":
            texts = pc.replace_substring(texts, self.decimal, ".")
        made = pc.cast(texts, pa.float64()).to_numpy(zero_copy_only=False)
        return np.asarray(made, np.float64)


PLAIN = Style(".", "")

STYLES = (
    PLAIN,
    Style(",", ""),
    Style(".", ","),
    Style(",", "."),
    Style(".", " "),
    Style(",", " "),
    Style(".", "'"),
    Style(",", "'"),
)
"""All styles; for each decimal mark, the simplest comes first."""

SAMPLE = 1000
"""The number of texts to try first. They exclude most styles, and the others try all texts."""

MAX_LENGTH = 60
"""A longer text is not read as a number with a sign or a unit."""

MONEY = (
    r"(?:US|R|A|C|NZ|HK|S)?\$|[€£¥₹₩₽₺₴₪฿₫]|kr\.?|zł|Kč|Ft|Fr\.|"
    "USD|EUR|GBP|CHF|JPY|CNY|INR|AUD|CAD|NZD|SEK|NOK|DKK|PLN|CZK|HUF|BRL|MXN|ZAR|KRW|TRY|RUB"
)

AMOUNT = re.compile(
    rf"(?P<open>\()?\s*(?P<first>[+-])?\s*(?P<before>{MONEY})?\s*(?P<second>[+-])?\s*"
    r"(?P<number>[\d.,][\d.,' ]*(?:[eE][+-]?\d+)?)\s*"
    rf"(?P<after>%|{MONEY})?\s*(?P<close>\))?"
)

WITH_UNIT = re.compile(r"(?P<number>[+-]?[\d.,][\d.,' ]*)\s*(?P<unit>[^\W\d_][^\d]*)")


def normalised(texts: pa.Array) -> pa.Array:
    """Replace typographic minus signs, spaces and apostrophes by the plain ones."""
    if pc.all(pc.string_is_ascii(texts), min_count=0).as_py():
        return texts
    for found, plain in (("[\u00a0\u2007\u2009\u202f]", " "), ("\u2212", "-"), ("\u2019", "'")):
        texts = pc.replace_substring_regex(texts, found, plain)
    return pc.utf8_trim_whitespace(texts)


def split_sign(text: str) -> tuple[str, str] | None:
    """
    Split a text into a number and its currency or percent sign, "" for none.

    Brackets around the number mean a minus, as in accounting. None if the text is no amount.
    """
    match = AMOUNT.fullmatch(text) if len(text) <= MAX_LENGTH else None
    if match is None or bool(match["open"]) != bool(match["close"]):
        return None
    signs = (match["first"] or "") + (match["second"] or "") + ("-" if match["open"] else "")
    before, after = match["before"], match["after"]
    if len(signs) > 1 or (before and after):
        return None
    return signs + match["number"].strip(), before or after or ""


def is_money(sign: str) -> bool:
    """Return whether a sign is a currency."""
    return re.fullmatch(MONEY, sign) is not None


def split_unit(text: str) -> tuple[str, str] | None:
    """Split a text such as "12 kg" into its number and its unit; None for other texts."""
    match = WITH_UNIT.fullmatch(text) if len(text) <= MAX_LENGTH else None
    return None if match is None else (match["number"].strip(), match["unit"].strip())


def styles(texts: pa.Array) -> list[Style]:
    """Return all styles that read every text, the simplest first."""
    some = texts.slice(0, SAMPLE)
    made: list[Style] = []
    for style in STYLES:
        # A style with a thousands separator reads all that the same style without one reads.
        known = Style(style.decimal, "") in made
        if known or (style.reads(some) and style.reads(texts)):
            made.append(style)
    return made


def fits(style: Style, decimal: str | None, thousands: str | None) -> bool:
    """Return whether a style agrees with these marks; None agrees with any mark."""
    return (
        decimal in (None, style.decimal)
        and (thousands is None or style.thousands in ("", thousands))
        and style.decimal != thousands
    )


def has_marks(texts: pa.Array) -> bool:
    """Return whether any text has a point or a comma, which the decimal mark gives a meaning."""
    return bool(pc.any(pc.match_substring_regex(texts, "[.,]"), min_count=0).as_py())
