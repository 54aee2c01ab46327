"""
Time scikit-learn's estimators and jitprop's estimators of the same names, in one run.

First both fit each case once and must give the same model. Then they are timed in turns,
scikit-learn with one BLAS thread and with all, and the best time of each counts. See README.md.
"""

import argparse
import importlib.metadata
import math
import platform
import sys
import time
import warnings
from datetime import date

import numpy as np
import sklearn.neural_network
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from threadpoolctl import threadpool_limits

import jitprop.sklearn
from limits import N_CORES
from report import processor
from run import say

DIGITS, LABELS = load_digits(return_X_y=True)
DIGITS /= 16
XOR = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], float), [0, 1, 1, 0]
REST = 0.2
"""Seconds to wait before each timing, since the BLAS threads of the other spin for a while."""

GRID = {
    "hidden_layer_sizes": [(16,), (32,), (64,)],
    "activation": ["relu", "tanh"],
    "alpha": [1e-4, 1e-2],
    "learning_rate_init": [1e-3, 1e-2],
}


def classifier(module, X, y, **settings):
    """Fit one classifier."""
    return module.MLPClassifier(random_state=0, **settings).fit(X, y)


def search(module, X, y, n_jobs=2, **settings):
    """Fit a grid search."""
    model = module.MLPClassifier(random_state=0, **settings)
    return GridSearchCV(model, GRID, cv=5, n_jobs=n_jobs).fit(X, y)


# name: (function, X, y, settings, tolerance of the parameters or None to compare scores)
WORKS = {
    "defaults, digits, float64": (classifier, DIGITS, LABELS, {}, 1e-6),
    "defaults, digits, float32": (classifier, DIGITS.astype(np.float32), LABELS, {}, None),
    "hidden (32,), batch 32, digits, float64": (
        classifier,
        DIGITS,
        LABELS,
        {"hidden_layer_sizes": (32,), "batch_size": 32, "max_iter": 50},
        1e-6,
    ),
    "hidden (32,), batch 32, digits, float32": (
        classifier,
        DIGITS.astype(np.float32),
        LABELS,
        {"hidden_layer_sizes": (32,), "batch_size": 32, "max_iter": 50},
        None,
    ),
    "XOR, hidden (4,) logistic, SGD, 10,000 epochs": (
        classifier,
        *XOR,
        {
            "hidden_layer_sizes": (4,),
            "activation": "logistic",
            "solver": "sgd",
            "learning_rate_init": 0.5,
            "max_iter": 10_000,
            "tol": 0.0,
            "n_iter_no_change": 10_000,
        },
        1e-6,
    ),
    "GridSearchCV, 24 settings x 5 folds, digits": (
        search,
        DIGITS,
        LABELS,
        {"max_iter": 30},
        1e-6,
    ),
}


def main():
    """Check the models, time the fits and print the table."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each is timed")
    parser.add_argument("--only", default="", help="works with this in their names")
    parser.add_argument(
        "--one-core", action="store_true", help="processor time of one core: for a busy machine"
    )
    args = parser.parse_args()
    clock = time.process_time if args.one_core else time.perf_counter
    modules = sklearn.neural_network, jitprop.sklearn
    print("| fit | scikit-learn, s | jitprop, s | ratio |\n| --- | --- | --- | --- |", flush=True)
    for name, (fit, X, y, settings, tolerance) in WORKS.items():
        if args.only not in name:
            continue
        say(name)
        if args.one_core and fit is search:
            settings = settings | {"n_jobs": 1}
        ref, comp = (fit(module, X, y, **settings) for module in modules)
        if fault := difference(ref, comp, X, y, tolerance):
            sys.exit(f"{name}: {fault}")
        turns = (modules[0], 1), (modules[0], None), (modules[1], None)
        if args.one_core:
            turns = (modules[0], 1), (modules[1], 1)
        best = dict.fromkeys(modules, math.inf)
        for module, n_threads in turns * args.rounds:
            time.sleep(REST)
            with threadpool_limits(n_threads, "blas"):
                began = clock()
                fit(module, X, y, **settings)
                best[module] = min(best[module], clock() - began)
        ref, comp = best.values()
        print(f"| {name} | {ref:.3g} | {comp:.3g} | {ref / comp:.1f} |", flush=True)
    print("\n" + "; ".join(ran()) + ".")


def difference(ref, comp, X, y, tolerance):
    """
    Return the difference of two fitted models as a text, or None if they are the same.

    In float32, rounding errors grow over hundreds of epochs, so only the scores are compared.
    """
    if isinstance(ref, GridSearchCV):
        name = "mean_test_score"
        if ref.best_params_ != comp.best_params_:
            return f"the best settings are {ref.best_params_} and {comp.best_params_}"
        if not np.allclose(ref.cv_results_[name], comp.cv_results_[name], atol=1e-12):
            return "the scores differ"
        ref, comp = ref.best_estimator_, comp.best_estimator_
    if tolerance is None:
        scores = ref.score(X, y), comp.score(X, y)
        return f"scores {scores}" if abs(scores[0] - scores[1]) > 0.01 else None
    if ref.n_iter_ != comp.n_iter_:
        return f"{ref.n_iter_} and {comp.n_iter_} epochs"
    pairs = zip([*ref.coefs_, *ref.intercepts_], [*comp.coefs_, *comp.intercepts_], strict=True)
    worst = max(np.abs(a - b).max() / np.abs(a).max() for a, b in pairs)
    return f"parameters differ by {worst:.2g}" if not worst <= tolerance else None


def ran():
    """Return the date, the machine and the versions."""
    packages = "jitprop", "scikit-learn", "numba", "numpy"
    return [
        f"{date.today():%d %B %Y}",
        f"{processor()}, {N_CORES} core{'s' * (N_CORES > 1)}",
        f"Python {platform.python_version()}",
        *(f"{package} {importlib.metadata.version(package)}" for package in packages),
    ]


if __name__ == "__main__":
    main()
