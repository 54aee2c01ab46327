"""
Time of a fit: the works of the peers, by backend, and on one thread where a fit may take several.

asv calls `setup` before each sample, untimed: it compiles the kernels or loads them from disk, so
no time here holds any compiling. Both backends do the same work, NumPy on one thread.
"""

from benchmarks.peers.work import WORKS
from jitprop import Trainer

# Enough that a call's fixed cost, 0.1 ms and with threads 1 ms, stays near 1 %; except on XOR,
# where that would keep NumPy busy for seconds.
UPDATES = {"W1": 10_000, "W2": 100, "W3": 2000, "W4": 400, "W5": 200, "W6": 40}
# asv compares what has the same name: it says all that makes the work.
NAMES = {f"{work.name} {work}, {UPDATES[work.name]:,} updates": work for work in WORKS}


class Fit:
    params = (list(NAMES), ["numba", "numpy"])
    param_names = ("work", "backend")
    n_threads = None

    def setup(self, name, backend):
        work = NAMES[name]
        self.X, self.y = work.data()
        self.epochs = UPDATES[work.name] // work.n_batches
        self.trainer = Trainer(
            work.sizes,
            activation=work.activation,
            output_activation=work.activation,
            reduction=work.reduction,
            optimizer=work.optimizer,
            learning_rate=work.learning_rate,
            batch_size=work.batch_size,
            shuffle=False,
            dtype=work.dtype,
            init=work.start(),
            backend=backend,
            n_threads=self.n_threads,
        )
        self.trainer.fit(self.X, self.y, epochs=1)

    def time_fit(self, name, backend):
        self.trainer.fit(self.X, self.y, self.epochs)


class FitOnOneThread(Fit):
    """The works for which `Fit` takes more where it has them."""

    params = ([name for name in NAMES if name[:2] in ("W2", "W5", "W6")], ["numba"])
    n_threads = 1
