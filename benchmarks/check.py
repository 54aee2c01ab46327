"""
Exit with 1 unless the last ``asv run`` measured every benchmark, with every parameter.

asv itself exits with 2 where a benchmark raises, and with 1 where it finds none; but with 0 where
a benchmark is skipped from its setup, or returns no number. The run must have saved its results:
``--python=same`` does so only together with ``--set-commit-hash``.
"""

import json
import math
import sys
from pathlib import Path


def main(results):
    """Print what gave no number, and how many did; True for a fault."""
    suite = results / "benchmarks.json"  # asv writes it when a run begins
    names = json.loads(suite.read_text()).keys() - {"version"} if suite.exists() else set()
    measured = {}
    for path in results.glob("*/*-*.json"):
        saved = json.loads(path.read_text())
        for name, row in saved["results"].items():
            columns = dict(zip(saved["result_columns"], row, strict=False))
            if columns["started_at"] >= 1000 * suite.stat().st_mtime:
                measured[name] = columns["result"] or [None]
    good = {name for name in names if all(map(is_number, measured.get(name, [None])))}
    for name in sorted(names - good):
        print(f"{name}: {measured.get(name, 'did not run')}")
    print(f"{len(good)} of {len(names)} benchmarks gave their numbers")
    return not names or good < names


def is_number(value):
    """Not None, which is a failure, nor nan, which is a skip."""
    return value is not None and math.isfinite(value)


if __name__ == "__main__":
    sys.exit(main(Path(__file__).parents[1] / ".asv" / "results"))
