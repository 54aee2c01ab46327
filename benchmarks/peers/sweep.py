"""
Check jitprop's choice of threads for nets of width 8 to 1024 and batches of 1 to 4096.

For each it prints two ratios: the time of a fit with n_threads=None over that of the better of one
thread and two, and over NumPy's. A first ratio above 1.15 or a second above 1 gets a mark, and the
exit code is then 1.
"""

import argparse
import sys

import numpy as np

import with_jitprop
import with_numpy
from run import epochs_in, timed
from work import Work

WIDTHS, BATCHES = (8, 32, 128, 512, 1024), (1, 4, 16, 64, 256, 1024, 4096)


def main():
    """Measure all cases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=0.3, help="of one fit, about")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--widths", type=int, nargs="+", default=WIDTHS)
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    args = parser.parse_args()
    print("| width | batch | us per update | over the better of 1 and 2 threads | over NumPy |")
    print("|---|---|---|---|---|")
    cliffs = 0
    for width in args.widths:
        for batch in args.batches:
            work = Work("", (width, width, 10), batch, 4, np.float32)
            chosen, one, two, numpy = best_times(work, args.seconds, args.rounds)
            ratios = chosen / min(one, two), chosen / numpy
            cliffs += ratios[0] > 1.15 or ratios[1] > 1
            cells = [f"{chosen * 1e6:,.0f}" if chosen > 1e-4 else f"{chosen * 1e6:.3g}"]
            cells += [
                f"{found:.2f}{'!' if found > most else ''}"
                for found, most in zip(ratios, (1.15, 1), strict=True)
            ]
            print(f"| {width} | {batch} | {' | '.join(cells)} |", flush=True)
    sys.exit(cliffs > 0)


def best_times(work, seconds, rounds):
    """Return the best time per update: with n_threads None, 1 and 2, and in NumPy."""
    trains = [with_jitprop.prepare(work, n_threads) for n_threads in (None, 1, 2)]
    trains += [with_numpy.prepare(work, n_threads) for n_threads in (1, None)]
    trains[0](1)  # compiles
    epochs = epochs_in(seconds, trains[0], 1)
    few = epochs_in(seconds / 3, trains[3], 1)  # enough for NumPy, whose calls have no fixed cost
    times = [
        [
            timed(train, n) / (n * work.n_batches)
            for train, n in zip(trains, [epochs] * 3 + [few] * 2, strict=True)
        ]
        for _ in range(rounds)
    ]
    best = np.min(times, axis=0)
    return best[0], best[1], best[2], min(best[3:])


if __name__ == "__main__":
    main()
