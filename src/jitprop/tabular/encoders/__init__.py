"""
How one column becomes numbers: an encoder for each kind of column.

An encoder is learned from the training rows. It gives the features of any later rows, nan where a
number or a date is missing. `jitprop.tabular.columns` then scales all features alike.
"""

from typing import TypeAlias

from jitprop.tabular.encoders.categories import CategoryEncoder
from jitprop.tabular.encoders.dates import DateEncoder
from jitprop.tabular.encoders.numbers import NumberEncoder
from jitprop.tabular.encoders.texts import TextEncoder

Encoder: TypeAlias = CategoryEncoder | DateEncoder | NumberEncoder | TextEncoder

__all__ = ["CategoryEncoder", "DateEncoder", "Encoder", "NumberEncoder", "TextEncoder"]
