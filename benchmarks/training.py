"""
Time the fits of `peers/work.py` by backend, and on one thread where a fit may use several.

asv calls `setup` before each sample and does not time it. It compiles the kernels or loads them, so
no time includes compiling. Both backends do the same work; NumPy uses one thread.
"""

from benchmarks.peers.work import WORKS
from jitprop import Trainer

# A call has a fixed cost of 0.1 ms, with threads 1 ms. This many updates keep it near 1 %. XOR has
# fewer than that, since NumPy would need seconds.
UPDATES = {"W1": 10_000, "W2": 100, "W3": 2000, "W4": 400, "W5": 200, "W6": 40}
# asv compares results of the same name, so the name includes every setting.
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
    """The fits that use several threads in `Fit` where there are several."""

    params = ([name for name in NAMES if name[:2] in ("W2", "W5", "W6")], ["numba"])
    n_threads = 1
