"""
Exit with 1 unless the last ``asv run`` measured every benchmark with every parameter.

asv exits with 2 if a benchmark raises an error and with 1 if it finds no benchmark. But it exits
with 0 if a benchmark's setup skips it or if it returns no number, so this script looks at the
results. The run must have saved them: ``--python=same`` does so only with ``--set-commit-hash``.
"""

import json
import math
import sys
from pathlib import Path


def main(results):
    """Print which benchmarks gave no number; return whether there are any."""
    suite = results / "benchmarks.json"  # asv writes this file at the start of a run
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
    """Return whether a result is a number: None means that it failed, nan that it was skipped."""
    return value is not None and math.isfinite(value)


if __name__ == "__main__":
    sys.exit(main(Path(__file__).parents[1] / ".asv" / "results"))
