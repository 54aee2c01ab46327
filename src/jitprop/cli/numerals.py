"""
Numbers as people write them: 1234.5, 1.234,50, 1 234.5, 1'234, $5, 5 %, (3.20).

A style is the pair of marks that a number is written with. What a column is written in shows in
all its texts together: "1.5" can only have a decimal point, "1.234" may also be a thousand.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc


class Style(NamedTuple):
    """The mark before the fraction, and the one between groups of digits, "" for none."""

    decimal: str
    thousands: str

    @property
    def pattern(self) -> str:
        """A regular expression that the whole of a number matches."""
        decimal, mark = re.escape(self.decimal), re.escape(self.thousands)
        whole = r"\d+"
        if mark:  # India groups by two digits above the thousands. No group begins with 0.
            whole = rf"(?:\d+|[1-9]\d{{0,2}}(?:{mark}\d{{2,3}})*{mark}\d{{3}})"
        number = rf"(?:{whole}(?:{decimal}\d*)?|{decimal}\d+)(?:[eE][+-]?\d+)?"
        return rf"^[+-]?(?:{number}|(?i:inf|infinity))$"

    def matches(self, texts: pa.Array) -> pa.Array:
        """Which texts are numbers in this style; null where a text is."""
        return pc.match_substring_regex(texts, self.pattern)

    def reads(self, texts: pa.Array) -> bool:
        """Whether all texts are numbers in this style, but for nulls."""
        return bool(pc.all(self.matches(texts), min_count=0).as_py())

    def parse(self, texts: pa.Array) -> npt.NDArray[np.float64]:
        """The numbers, nan where a text is null. All others must match."""
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
"""The simplest first, for either decimal mark."""

SAMPLE = 1000
"""Texts that tell most styles apart, before all are looked at."""

LONGEST = 60
"""Characters of the longest text that may be an amount."""

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
    """Texts with the plain minus, blank and apostrophe for their typographic kin."""
    if pc.all(pc.string_is_ascii(texts), min_count=0).as_py():
        return texts
    for found, plain in (("[\u00a0\u2007\u2009\u202f]", " "), ("\u2212", "-"), ("\u2019", "'")):
        texts = pc.replace_substring_regex(texts, found, plain)
    return pc.utf8_trim_whitespace(texts)


def bare(text: str) -> tuple[str, str] | None:
    """
    A number without its currency or percent sign, and that sign, "" for none.

    Brackets, as accountants write them, become a minus. None if this is no such text.
    """
    match = AMOUNT.fullmatch(text) if len(text) <= LONGEST else None
    if match is None or bool(match["open"]) != bool(match["close"]):
        return None
    signs = (match["first"] or "") + (match["second"] or "") + ("-" if match["open"] else "")
    signed = match["before"], match["after"]
    if len(signs) > 1 or all(signed):
        return None
    return signs + match["number"].strip(), signed[0] or signed[1] or ""


def is_money(sign: str) -> bool:
    """Whether a sign is that of a currency."""
    return re.fullmatch(MONEY, sign) is not None


def without_unit(text: str) -> tuple[str, str] | None:
    """A number without the word behind it, and that word, as of "12 kg"; None for other texts."""
    match = WITH_UNIT.fullmatch(text) if len(text) <= LONGEST else None
    return None if match is None else (match["number"].strip(), match["unit"].strip())


def styles(texts: pa.Array) -> list[Style]:
    """All styles that read every text, the simplest first."""
    some = texts.slice(0, SAMPLE)
    made: list[Style] = []
    for style in STYLES:
        # With a mark of thousands a style reads all that it does without.
        known = Style(style.decimal, "") in made
        if known or (style.reads(some) and style.reads(texts)):
            made.append(style)
    return made


def fits(style: Style, decimal: str | None, thousands: str | None) -> bool:
    """Whether a style has the marks given; None leaves a mark open."""
    return (
        decimal in (None, style.decimal)
        and (thousands is None or style.thousands in ("", thousands))
        and style.decimal != thousands
    )


def has_marks(texts: pa.Array) -> bool:
    """Whether any text has a point or a comma, so that styles of both decimals may differ."""
    return bool(pc.any(pc.match_substring_regex(texts, "[.,]"), min_count=0).as_py())
