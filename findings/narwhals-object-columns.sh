#!/usr/bin/env bash
# narwhals 2.29.0: of an object column of pandas, the first 100 values alone decide whether it is String.
#
# One would guess: a pandas column of dtype object that holds numbers beside texts is Object, wherever
# the numbers stand. And a column without any text is not String.
# What happens: a number behind the first 100 values is not seen, and 100 missing values count as texts.
# So the same column is String or Object after its rows are sorted in another way.
set -euo pipefail
"$(dirname "$0")/with-packages" narwhals==2.29.0 pandas==3.0.0 numpy==2.2.6 <<'PY'
import narwhals as nw
import pandas as pd


def dtype(values):
    return str(nw.from_native(pd.Series(values, dtype=object), series_only=True).dtype)


mixed = ["north"] * 100 + [3]
found = {
    "100 texts, then a number": dtype(mixed),
    "the same, backwards": dtype(mixed[::-1]),
    "100 gaps, then a number": dtype([None] * 100 + [3]),
    "99 gaps, then a number": dtype([None] * 99 + [3]),
}
for name, kind in found.items():
    print(f"{name:25} {kind}")
assert list(found.values()) == ["String", "Object", "String", "Object"]
PY
