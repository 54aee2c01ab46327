"""
R's nnet: BFGS in C, called by one Rscript, which times itself.

Its hidden units are logistic. Since tanh(z) = 2 sigmoid(2 z) - 1, a net of tanh units is the same
function as one of logistic units with doubled weights and biases of the hidden layer, doubled
output weights, and an output bias that is smaller by the sum of the output weights.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path
from time import perf_counter, process_time

import numpy as np

from work import CannotError

PACKAGES = ()
SCRIPT = Path(__file__).with_name("nnet.R")
SECONDS = 0.2  # of the fits in one Rscript


def prepare_fit(problem, clock=perf_counter):
    """Return a function: number of the start, RMSE -> weights, biases, seconds."""
    version()

    def fit(number, rmse):
        with tempfile.TemporaryDirectory(prefix="peers-") as folder:
            parts = {
                "X": problem.X,
                "y": problem.y,
                "start": logistic(*problem.start(number)),
                "settings": [problem.hidden, len(problem.X) * rmse**2, SECONDS],
            }
            for name, values in parts.items():
                np.savetxt(Path(folder, f"{name}.csv"), values, "%.17g", delimiter=",")
            best, processor, *found = map(float, run(SCRIPT, folder).split())
        seconds = processor if clock is process_time else best
        return *tanh(np.array(found), problem.sizes), seconds

    return fit


def version():
    """Return the versions of R and nnet; raise CannotError without them."""
    return run("-e", 'cat(R.version.string, "nnet", format(packageVersion("nnet")))')


def run(*arguments):
    """Return what Rscript prints."""
    if shutil.which("Rscript") is None:
        raise CannotError("Rscript is not installed")
    done = subprocess.run(["Rscript", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotError(f"Rscript: {' '.join(done.stderr.split())}")
    return done.stdout


def logistic(weights, biases):
    """Return nnet's vector of a net: of each hidden unit, then of the output, bias and weights."""
    (W, V), (b, c) = weights, biases
    hidden = 2 * np.vstack([b, W])
    return np.concatenate([hidden.T.ravel(), c - V.sum(axis=0), 2 * V[:, 0]])


def tanh(vector, sizes):
    """Return the weights and biases of the net of tanh units that is the same function."""
    n_in, hidden, _ = sizes
    b, *W = vector[: hidden * (n_in + 1)].reshape(hidden, n_in + 1).T / 2
    V = vector[-hidden:, None] / 2
    return [np.array(W), V], [b, vector[-hidden - 1] + V.sum(axis=0)]
