"""The numba backend: its choices, its scratch memory, and when it compiles."""

from __future__ import annotations

import itertools

import numba.core.event as numba_events
import numpy as np
import pytest

from jitprop import Trainer
from jitprop.backends import compiled, threads
from jitprop.data import cast
from jitprop.net.losses import CrossEntropy, HalfSquaredError
from jitprop.net.optimizers import SGD, Adam, RMSprop, Rprop
from jitprop.net.spec import Spec
from jitprop_kernels import compilers
from nets import HIDDEN, OPTIMIZERS, OUTPUTS, data


def spec(sizes, *, batch_size=None, optimizer=None, clip_norm=None):
    return Spec(
        layer_sizes=tuple(sizes),
        activations=("sigmoid",) * (len(sizes) - 1),
        loss=HalfSquaredError(),
        reduction="mean",
        optimizer=optimizer or SGD(),
        learning_rate=0.1,
        weight_decay=0.0,
        dropout=(0.0,) * (len(sizes) - 2),
        clip_norm=clip_norm,
        batch_size=batch_size,
    )


class CountCompiles(numba_events.Listener):
    def __init__(self):
        self.count = 0

    def on_start(self, event):
        self.count += 1

    def on_end(self, event):
        pass


ROUTES = {"lanes": [3, 5, 4, 2], "blocks": [40, 50, 30, 2]}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("route", ROUTES)
def test_one_compile_serves_every_net(route, dtype, rng):
    sizes = ROUTES[route]
    assert compiled.uses_lanes(spec(sizes)) == (route == "lanes")

    def use(
        sizes, loss, output, activation, optimizer, *,
        labels=False, ordered=False, weights=None, **more,
    ):  # fmt: skip
        X, y = data(sizes, 24, loss, labels, rng)
        X = X.astype(dtype)
        X.flags.writeable = not ordered  # numba has a separate type for read-only arrays
        trainer = Trainer(
            sizes, loss=loss, output_activation=output, activation=activation,
            optimizer=optimizer, learning_rate=1e-3, seed=0, **more,
        )  # fmt: skip
        order = [np.arange(24)] * 2 if ordered else None
        trainer.fit(X, y, 2, sample_weight=weights, order=order)
        trainer.predict(X)
        trainer.evaluate(X, y, sample_weight=weights)
        trainer.gradients(X, y, sample_weight=weights)

    use(sizes, "half_squared_error", "sigmoid", "tanh", "sgd")
    with numba_events.install_listener("numba:compile", CountCompiles()) as compiles:
        optimizers = *OPTIMIZERS.values(), RMSprop(), Rprop()
        cases = itertools.product(OUTPUTS, optimizers)
        for i, (loss, optimizer) in enumerate(cases):
            activation = HIDDEN[i % len(HIDDEN)]
            use(sizes, loss, OUTPUTS[loss][0], activation, optimizer, labels=i % 2 == 0)
        use(
            [*sizes[:2], 5, 5, 5, 2], "squared_error", "gelu", "relu", "adam",
            batch_size=20, clip_norm=0.1,
        )  # fmt: skip
        use(sizes, "squared_error", "gelu", "relu", "adam", ordered=True, reduction="sum")
        use(sizes, "squared_error", "gelu", "relu", "adam", weights=np.arange(24), dropout=0.5)
        use(sizes[-2:] if route == "lanes" else [50, 60], "squared_error", "elu", (), "sgd")
    assert compiles.count == 0


def test_the_listener_would_have_seen_a_compile(monkeypatch, tmp_path):
    from numba.core import config

    from jitprop_kernels.entry import try_compiler
    from jitprop_kernels.local import entry

    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))  # an earlier run kept its kernels

    @entry
    def add_one(x):
        return x + 1

    try_compiler()  # else it would be counted, too
    with numba_events.install_listener("numba:compile", CountCompiles()) as compiles:
        assert add_one(np.float64(1)) == 2
    assert compiles.count == 1


@pytest.mark.skipif(compilers.in_use() == "plain", reason="numba's own calls are not refused")
def test_inner_kernels_refuse_calls_from_python():
    from jitprop_kernels.elementary import log

    with pytest.raises(TypeError, match="inner kernel"):
        log(1.0)


def test_scratch_is_what_the_docstring_says(monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 2)
    sizes = [30, 40, 5]
    parameters = 30 * 40 + 40 + 40 * 5 + 5

    def scratch(optimizer, samples, n_threads=1, clip_norm=None):
        net = compiled.prepare(
            spec(sizes, optimizer=optimizer, clip_norm=clip_norm),
            samples, np.dtype(float), n_threads, 1,
        )  # fmt: skip
        own = {id(memory): len(memory) for memory in net.memory}
        return list(own.values()), len(net.gradients)

    # inputs; z or a, slope and delta; targets and errors; the samples' share; transposed weights;
    # and columns of gradients, which are computed as rows
    whole = 10 * (30 + 3 * 45 + 2 * 5 + 1) + 40 * 5 + 30 * 32
    assert scratch(SGD(), 10) == ([whole], 0)
    assert scratch(Adam(), 10) == scratch(SGD(momentum=0.5), 10) == ([whole], parameters)
    assert scratch(SGD(), 10, clip_norm=1.0) == ([whole], parameters)
    # Large batches pass in chunks of 256 samples, 64 at a time.
    reach = 64 * (30 + 3 * 45 + 2 * 5 + 1) + 40 * 5
    assert scratch(SGD(), 600) == ([reach + 30 * 32], 3 * parameters)
    assert scratch(SGD(), 600, n_threads=2) == ([reach + 30 * 32] * 2, 3 * parameters)


def test_the_route_goes_by_the_size_of_the_layers():
    assert compiled.uses_lanes(spec([3, 4, 1]))
    assert compiled.uses_lanes(spec([5, 5, 5, 5]))
    assert not compiled.uses_lanes(spec([8, 8]))
    assert compiled.uses_lanes(spec([3, 4, 1]), 8 * 200_000)
    assert not compiled.uses_lanes(
        spec([3, 4, 1]), 8 * 220_000
    )  # 20 numbers per sample: over 32 MB
    assert not compiled.uses_lanes(spec([784, 512, 10]))


def test_what_kernels_index_with_is_a_copy():
    order, labels = np.array([[1, 0, 2]]), np.array([0.0, 1.0, 1.0])
    assert not np.shares_memory(cast.order("order", order, (1, 3)), order)
    kept = cast.targets(labels, 3, 2, CrossEntropy(), labels.dtype)
    assert not np.shares_memory(kept, labels)
