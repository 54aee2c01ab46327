"""pyrenn's Levenberg-Marquardt, in NumPy and loops over rows."""

import contextlib
import io
import signal
from time import perf_counter

import numpy as np
import pyrenn

from fitting import as_layers, as_vector
from work import CannotError

PACKAGES = ("pyrenn",)
AT_MOST = 60  # seconds of the processor


def prepare_fit(problem, clock=perf_counter):
    """
    Return a function: number of the start, RMSE -> weights, biases, seconds.

    pyrenn repeats a step until the error falls, so at a minimum it never ends. A run ends here
    after a minute of the processor's time.
    """
    n_rows = len(problem.X)

    def fit(number, rmse):
        if not rmse:
            raise CannotError("does not end at a minimum")
        parameters, X, y = as_vector(*problem.start(number)), problem.X.T, problem.y.T
        with limited(), contextlib.redirect_stdout(io.StringIO()):
            began = clock()
            net = pyrenn.CreateNN([*problem.sizes])
            net["w"] = parameters
            # It divides inputs and targets by these. It would take their largest numbers.
            net["normP"], net["normY"] = np.ones(problem.sizes[0]), np.ones(1)
            # Its error is the sum of the squares.
            net = pyrenn.train_LM(X, y, net, k_max=10_000, E_stop=n_rows * rmse**2)
            seconds = clock() - began
        return *as_layers(net["w"], problem.sizes), seconds

    return fit


@contextlib.contextmanager
def limited():
    """Raise CannotError in the block after ``AT_MOST`` seconds."""

    def stop(*_):
        raise CannotError(f"did not get there in {AT_MOST} s")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, AT_MOST)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
