"""
Time Levenberg-Marquardt in jitprop and second-order training in other systems, in one run.

All begin at the same weights, and the time counts until the same RMSE is reached, as NumPy computes
it from the weights that they return. See README.md.
"""

import argparse
import importlib
import math
import sys
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from multiprocessing import get_context
from time import perf_counter, process_time

import numpy as np
from threadpoolctl import threadpool_limits

import report
from fitting import as_layers, as_vector, problems, read
from limits import N_CORES
from run import say
from work import CannotError

# column: (module, options of its `prepare_fit`); the best of several options counts
SYSTEMS = {
    "jitprop": ("with_jitprop", [{"n_threads": None}]),
    "pyrenn": ("with_pyrenn", [{}]),
    "torch-levenberg-marquardt": (
        "with_torch_lm",
        [{"n_threads": 1, "solve_method": "cholesky"}, {"n_threads": None}],
    ),
    "SciPy": ("with_scipy", [{"n_threads": 1}, {"n_threads": None}]),
    "nnet": ("with_nnet", [{}]),
}
AGREE = 1.05  # the final RMSEs of one start differ at most by this factor
ABOVE = 1.01  # the RMSE to be reached, relative to the worst final one
DRAWN = 100  # starts to look at, at most
EPOCHS = 100  # of each net of the fleet


def main():
    """Choose the starts, time the fits and print the tables."""
    args = arguments()
    modules, cannot = load(args.systems)
    n_starts, seconds = (1, 0.1) if args.quick else (3, 1.0)
    columns = [system for system in SYSTEMS if system in modules]
    rows = []
    for problem in args.csv or problems():
        ready = prepare(problem, modules, cannot, args.one_core)
        say(f"{problem.name} {problem}: looking for starts")
        goals, looked = agreed(problem, ready, n_starts)
        say(f"{problem.name} {problem}: timing")
        times = measure(problem, ready, goals, seconds)
        rows.append([problem.name, str(problem), *described(goals, looked)])
        rows[-1] += [cell(times.get(column), times["jitprop"]) for column in columns]
    unit = "Milliseconds of one core" if args.one_core else "Milliseconds"
    print(f"{unit} from the initial weights to the RMSE, and how many times jitprop's:\n")
    print(markdown(["", "net", "RMSE", "starts", *columns], rows))
    if not args.csv:
        print(f"\n{fleets(*((100, 1) if args.quick else (1000, 5)), args.one_core)}")
    print(notes(cannot, modules))


def arguments():
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one start and short rounds")
    parser.add_argument(
        "--one-core", action="store_true", help="processor time of one thread: for a busy machine"
    )
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=[*SYSTEMS])
    parser.add_argument(
        "--csv", nargs="+", type=problem_of, metavar="FILE:HIDDEN",
        help="fit these tables instead; the last column is the target",
    )  # fmt: skip
    args = parser.parse_args()
    args.systems = ["jitprop", *(system for system in args.systems if system != "jitprop")]
    return args


def problem_of(text):
    """Return the problem of an argument such as uGauss1.csv:5."""
    path, _, hidden = text.rpartition(":")
    return read(path, int(hidden))


def load(systems):
    """Return the modules that can be imported, and {(system, reason): names of problems}."""
    modules, cannot = {}, defaultdict(list)
    for system in systems:
        try:
            modules[system] = importlib.import_module(SYSTEMS[system][0])
        except ImportError as error:
            cannot[system, str(error)] = ["all"]
    return modules, cannot


def prepare(problem, modules, cannot, one_core):
    """Return the functions that fit, {system: list}; add systems that cannot to ``cannot``."""
    ready, clock = {}, process_time if one_core else perf_counter
    for system, module in modules.items():
        options = SYSTEMS[system][1]
        if one_core and "n_threads" in options[0]:
            options = [options[0] | {"n_threads": 1}]
        try:
            ready[system] = [module.prepare_fit(problem, clock, **o) for o in options]
        except CannotError as error:
            cannot[system, str(error)].append(problem.name)
    return ready


def agreed(problem, ready, n_starts):
    """
    Return {number of a start: RMSE to be reached}, and how many starts were looked at.

    Each system trains from a start until it ends by itself. From one start, different methods may
    go to different minima. Only a start counts whose final RMSEs differ by at most 5 percent. The
    RMSE to be reached is 1 percent above the worst of them, so that no system is timed while it
    creeps to its end.
    """
    goals = {}
    for number in range(DRAWN):
        found = {}
        for system, fits in ready.items():
            try:
                weights, biases, _ = fits[0](number, 0.0)
                found[system] = problem.rmse(weights, biases)
            except CannotError:
                continue
        say(f"  {number}: " + ", ".join(f"{system} {rmse:.5f}" for system, rmse in found.items()))
        worst = max(found.values())
        if worst <= AGREE * min(found.values()):
            goals[number] = ABOVE * worst
        if len(goals) == n_starts:
            break
    if not goals:
        sys.exit(f"{problem.name} {problem}: the systems agree from none of {DRAWN} starts")
    return goals, number + 1


def measure(problem, ready, goals, seconds):
    """
    Return the best seconds of each system from each start: {system: {number: seconds}}.

    A start is missing where the system did not reach the RMSE.
    """
    times = {system: {} for system in ready}
    for number, rmse in goals.items():
        left = [[system, fit, 0.0] for system, fits in ready.items() for fit in fits]
        for n_round in range(20):
            for entry in left.copy():
                system, fit, spent = entry
                try:
                    took = seconds_to(problem, fit, number, rmse)
                except CannotError as error:
                    say(f"  {number}: {system} {error}")
                    left.remove(entry)
                    continue
                times[system][number] = min(took, times[system].get(number, math.inf))
                entry[2] = spent + took
                if n_round and entry[2] > seconds:
                    left.remove(entry)  # slow systems run in the first rounds only
    return times


def seconds_to(problem, fit, number, rmse):
    """Return the seconds of a fit; raise CannotError if its RMSE is not small enough."""
    weights, biases, seconds = fit(number, rmse)
    reached = problem.rmse(weights, biases)
    if not reached <= rmse * (1 + 1e-9):
        raise CannotError(f"ended at an RMSE of {reached:.5f}, above {rmse:.5f}")
    return seconds


def described(goals, looked):
    """Return two cells: the RMSEs to be reached, and the number of starts."""
    low, high = min(goals.values()), max(goals.values())
    rmse = f"{low:.4f}" if f"{low:.4f}" == f"{high:.4f}" else f"{low:.4f} to {high:.4f}"
    return rmse, f"{len(goals)} of {looked}"


def cell(times, ours):
    """Return the mean milliseconds of a system, and their ratio to jitprop's for these starts."""
    both = [number for number in times or () if number in ours]
    if not both:
        return "-"
    mean, base = (sum(t[number] for number in both) / len(both) for t in (times, ours))
    text = report.three_digits(mean * 1e3)
    if times is ours:
        return text
    part = "" if len(both) == len(ours) else f", {len(both)} of {len(ours)} starts"
    return f"{text} ({report.three_digits(mean / base)} x{part})"


def markdown(head, rows):
    """Return a table in Markdown."""
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def fleets(members, n_rounds, one_core):
    """Return the table of many starts of the first problem."""
    problem = problems()[0]
    starts = [problem.start(number) for number in range(members)]
    clock, n_threads = (process_time, 1) if one_core else (perf_counter, None)
    workers = ProcessPoolExecutor(N_CORES, get_context("spawn"), threadpool_limits, (1, "blas"))
    with ThreadPoolExecutor(N_CORES) as threads, workers as processes:
        ways = {
            "jitprop Fleet": partial(with_fleet, n_threads),
            "loop over Trainer": partial(with_trainers, n_threads),
            "SciPy, a pool of threads": partial(with_pool, threads),
            "SciPy, a pool of processes": partial(with_pool, processes),
        }
        if one_core:
            ways = dict(list(ways.items())[:2])
        best, found = dict.fromkeys(ways, math.inf), {}
        for fit in ways.values():
            fit(problem, starts[:20])  # compiles, or starts the processes
        for n_round in range(n_rounds):
            for way, fit in ways.items():
                if n_round and way.startswith("SciPy"):
                    continue
                say(f"W13 {members:,} starts: {way}")
                began = clock()
                found[way] = fit(problem, starts)
                best[way] = min(best[way], clock() - began)
    rmses = {way: np.array([problem.rmse(*net) for net in nets]) for way, nets in found.items()}
    apart = np.abs(rmses["jitprop Fleet"] / rmses["loop over Trainer"] - 1) > 1e-3
    rows = [
        [
            way,
            report.three_digits(seconds / members * 1e3),
            f"{seconds / best['jitprop Fleet']:.2f}",
            *(f"{value:.4f}" for value in (rmses[way].min(), np.median(rmses[way]))),
        ]
        for way, seconds in best.items()
    ]
    head = ["", "ms per start", "times Fleet's", "lowest RMSE", "median RMSE"]
    return "\n".join(
        [
            f"W13, {members:,} starts of {problem}, at most {EPOCHS} steps each:\n",
            markdown(head, rows),
            f"\nFleet's RMSE and Trainer's differ by over 0.1 percent in {apart.sum()} starts.",
        ]
    )


def with_fleet(n_threads, problem, starts):
    """Train all starts by one call of Fleet.fit."""
    from jitprop import Fleet, LevenbergMarquardt

    stacked = [
        [np.stack(arrays) for arrays in zip(*part, strict=True)]
        for part in zip(*starts, strict=True)
    ]
    fleet = Fleet(
        problem.sizes, members=len(starts), init=stacked, activation="tanh",
        output_activation="identity", optimizer=LevenbergMarquardt(), dtype="float64",
        n_threads=n_threads,
    )  # fmt: skip
    fleet.fit(problem.X, problem.y, EPOCHS)
    return [
        ([weights[i] for weights in fleet.weights], [biases[i] for biases in fleet.biases])
        for i in range(len(starts))
    ]


def with_trainers(n_threads, problem, starts):
    """Train them by a loop over Trainer.fit."""
    from with_jitprop import fitted

    return [
        (trainer.weights, trainer.biases)
        for trainer in (fitted(problem, start, EPOCHS, n_threads) for start in starts)
    ]


def with_pool(pool, problem, starts):
    """Train them by SciPy in a pool of threads or processes, with one BLAS thread each."""
    from with_scipy import least_of

    fit = partial(least_of, problem, max_nfev=EPOCHS)
    with threadpool_limits(1, "blas"):
        found = list(pool.map(fit, [as_vector(*start) for start in starts], chunksize=10))
    return [as_layers(vector, problem.sizes) for vector in found]


def notes(cannot, modules):
    """Return the notes: systems that were skipped, the date and the versions."""
    lines = [f"{system} skipped: {reason}." for system, reason in cannot]
    where = report.ran(modules.values())
    if "nnet" in modules:
        with suppress(CannotError):
            where.append(modules["nnet"].version())
    return "\n" + "\n".join([*lines, "; ".join(where) + "."])


if __name__ == "__main__":
    main()
