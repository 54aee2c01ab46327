"""scipy.optimize.least_squares(method="lm"), which is MINPACK, with a Jacobian made by NumPy."""

from time import perf_counter

import numpy as np
from scipy.optimize import least_squares
from threadpoolctl import threadpool_limits

from fitting import as_layers, as_vector

PACKAGES = ("scipy",)


class ReachedError(Exception):
    """Not a fault: the residuals are small enough. The argument is the vector of parameters."""


class Residuals:
    """
    The residuals and their Jacobian, in whole arrays.

    Both need the outputs of the hidden units. MINPACK asks for the Jacobian where it has just asked
    for the residuals, so they are kept.
    """

    def __init__(self, problem, rmse):
        self.sizes, self.X, self.y = problem.sizes, problem.X, problem.y[:, 0]
        n_rows, (n_in, hidden, _) = len(self.X), self.sizes
        self.enough = n_rows * rmse**2
        self.jacobian = np.ones((n_rows, n_in * hidden + 2 * hidden + 1))
        weights, self.of_biases, self.of_outputs, _ = np.split(
            self.jacobian, np.cumsum([n_in * hidden, hidden, hidden]), axis=1
        )
        self.of_weights = weights.reshape(n_rows, n_in, hidden)
        assert np.shares_memory(self.of_weights, self.jacobian)
        self.at = None

    def values(self, vector):
        """Return outputs minus targets."""
        (W, V), (b, c) = as_layers(vector, self.sizes)
        self.at, self.V = vector.copy(), V[:, 0]
        self.hidden = np.tanh(self.X @ W + b)
        values = self.hidden @ self.V + (c - self.y)
        if values @ values <= self.enough:
            raise ReachedError(self.at)
        return values

    def derivatives(self, vector):
        """Return the Jacobian, (rows, parameters). The next call overwrites it."""
        if not np.array_equal(vector, self.at):
            self.values(vector)
        np.multiply(1 - self.hidden**2, self.V, out=self.of_biases)
        np.multiply(self.X[:, :, None], self.of_biases[:, None, :], out=self.of_weights)
        self.of_outputs[:] = self.hidden
        return self.jacobian


def prepare_fit(problem, clock=perf_counter, n_threads=None, **options):
    """
    Return a function: number of the start, RMSE -> weights, biases, seconds.

    ``n_threads`` is the number of BLAS threads, None means all. ``options`` are those of
    least_squares.
    """

    def fit(number, rmse):
        parameters = as_vector(*problem.start(number))
        with threadpool_limits(n_threads, "blas"):
            began = clock()
            found = least_of(problem, parameters, rmse, **options)
            seconds = clock() - began
        return *as_layers(found, problem.sizes), seconds

    return fit


def least_of(problem, parameters, rmse=0.0, **options):
    """Return the vector of parameters at the first RMSE that is small enough, or at the end."""
    residuals = Residuals(problem, rmse)
    options = {"ftol": 1e-10, "xtol": 1e-10, "gtol": 1e-10, "max_nfev": 1000} | options
    try:
        return least_squares(
            residuals.values, parameters, residuals.derivatives, method="lm", **options
        ).x
    except ReachedError as reached:
        return reached.args[0]
