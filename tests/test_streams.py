"""Fits on batches from iterables, and partial_fit on one part of the data after another."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from jitprop import Adam, Callback, DivergenceError, Trainer
from jitprop.backends import compiled, plans
from jitprop.net import schedules

SIZES = {"lanes": [3, 4, 2], "blocks": [20, 70, 5]}


def data(sizes, n, dtype=np.float64, seed=5):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, sizes[0])).astype(dtype), rng.random((n, sizes[-1])).astype(dtype)


def cut(arrays, *at):
    """Split the arrays into parts that end at these rows."""
    ends = [*at, len(arrays[0])]
    return [tuple(a[low:high] for a in arrays) for low, high in zip([0, *ends], ends, strict=False)]


def make(sizes=(3, 4, 2), **settings):
    return Trainer(sizes, **{"optimizer": "adam", "seed": 1, "backend": "numpy"} | settings)


def bits(trainer):
    s = trainer._model.state
    return s.params.tobytes(), s.slots.tobytes(), s.rng.bit_generator.state, s.epochs, s.updates


class Tensor:
    """A tensor of another library that NumPy can convert to an array."""

    def __init__(self, array):
        self._array = array

    def __array__(self, dtype=None, copy=None):
        return np.array(self._array, dtype)


class Loader:
    """A loader like PyTorch's: an object to iterate over in every epoch, which yields lists."""

    def __init__(self, parts):
        self.parts = parts

    def __iter__(self):
        return iter([[Tensor(a) for a in part] for part in self.parts])

    def __len__(self):
        return len(self.parts)


KINDS = {
    "list": lambda parts: parts,
    "loader": Loader,
    "function": lambda parts: lambda: (part for part in parts),
    "function of lists": lambda parts: lambda: parts,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("route", SIZES)
def test_batches_train_as_arrays_do_to_the_bit(kind, route, backend):
    sizes = SIZES[route]
    X, y = data(sizes, 50)
    ref, comp = (make(sizes, backend=backend, batch_size=20, shuffle=False) for _ in range(2))
    expected = ref.fit(X, y, 3)
    found = comp.fit(KINDS[kind](cut((X, y), 20, 40)), epochs=3)
    assert bits(comp) == bits(ref)
    assert found.loss.tolist() == expected.loss.tolist()


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_weights_come_with_the_batches(reduction, backend):
    X, y = data([3, 2], 50)
    w = np.random.default_rng(1).random(50)
    settings = {"backend": backend, "batch_size": 20, "shuffle": False, "reduction": reduction}
    ref, comp = (make(**settings) for _ in range(2))
    expected = ref.fit(X, y, 3, sample_weight=w)
    found = comp.fit(cut((X, y, w), 20, 40), epochs=3)
    assert bits(comp) == bits(ref)
    assert found.loss == pytest.approx(expected.loss, rel=1e-14)


VIEWS = {
    "X": lambda net: (net.weights[0], np.ones((3, 2))),
    "y": lambda net: (np.eye(3), net.weights[1][:3]),
    "weights": lambda net: (np.eye(3), np.ones((3, 2)), net.biases[0][:3]),
    "rows": lambda net: (list(net.weights[0]), np.ones((3, 2))),
}


@pytest.mark.parametrize("part", VIEWS)
@pytest.mark.parametrize("kind", [list, tuple])
@pytest.mark.parametrize("dtype", [None, "float32"])
def test_batches_that_are_the_parameters_are_copied(part, kind, dtype, backend):
    def net():
        made = make((3, 3, 2), backend=backend, dtype=dtype, output_activation="identity")
        made.biases[0][:] = 1.0, 2.0, 3.0
        return made

    other = np.eye(3), np.zeros((3, 2))
    ref, comp = net(), net()
    expected = ref.fit([other, copy.deepcopy(VIEWS[part](ref))], epochs=5)
    given = kind([other, VIEWS[part](comp)])
    found = comp.fit(given, epochs=5)
    assert found.loss.tolist() == expected.loss.tolist()
    assert bits(comp) == bits(ref)


def test_a_generator_lasts_for_one_epoch():
    parts = cut(data([3, 2], 50), 20)
    ref, comp = make(), make()
    ref.fit(parts, epochs=1)
    comp.fit((part for part in parts), epochs=1)
    assert bits(comp) == bits(ref)
    with pytest.raises(ValueError, match="exhausted after one; epochs is 2"):
        comp.fit((part for part in parts), epochs=2)
    assert bits(comp) == bits(ref)


@pytest.mark.parametrize("route", SIZES)
def test_what_a_batch_does_depends_on_it_alone(route):
    """Large and small batches follow each other; their sizes are around those where sums change."""
    sizes = SIZES[route]
    ends = np.cumsum([5, 600, 12, 13, 511, 512, 513, 700, 300, 1, 520, 8])
    parts = cut(data(sizes, int(ends[-1]) + 9), *ends.tolist())
    at_once, singly = (make(sizes, backend="numba") for _ in range(2))
    at_once.fit(parts, epochs=1)
    for part in parts:
        singly.fit([part], epochs=1)
    assert bits(at_once)[:2] == bits(singly)[:2]
    # Full-batch fits on arrays give the same bits.
    arrays = make(sizes, backend="numba")
    for part in parts:
        arrays.fit(*part, 1)
    assert bits(arrays) == bits(singly)


def test_a_net_is_prepared_once_for_batches_of_one_size(monkeypatch):
    prepared = []
    prepare = compiled.prepare
    monkeypatch.setattr(
        compiled, "prepare", lambda spec, n, *a: prepared.append(n) or prepare(spec, n, *a)
    )
    make(backend="numba").fit(cut(data([3, 2], 95), *range(10, 95, 10)), epochs=3)
    assert prepared == [10, 5]
    prepared.clear()
    ends = np.cumsum([33, 35, 40, 50, 60, 63, 62])
    make(backend="numba").fit(cut(data([3, 2], 344 + 40), *ends), epochs=3)
    assert prepared == [33, 63]


@pytest.mark.parametrize("sizes", [(3, 4, 2), (3, 40, 2)], ids=str)
def test_a_batch_beside_the_limit_of_a_route_has_the_same_bits_after_any_others(sizes, monkeypatch):
    spec = make(sizes)._model.spec
    numbers = plans.numbers(spec)
    monkeypatch.setattr(
        plans, "LANES_BYTES", 40 * numbers * 8
    )  # batches of up to 40 samples take the lanes route
    assert compiled.uses_lanes(spec, 40 * 8) == (sizes[1] == 4)
    assert not compiled.uses_lanes(spec, 41 * 8)
    for size in (39, 40, 41, 42):
        X, y = data(sizes, size)
        alone = make(sizes, backend="numba", optimizer="sgd", learning_rate=0.5)
        alone.fit([(X, y)], epochs=1)
        for before in (33, 40, 41, 63):
            other = make(sizes, backend="numba", optimizer="sgd", learning_rate=0.5)
            start = other.parameters.copy()

            def batches(before=before, other=other, start=start, X=X, y=y):
                for n in (before, before + 1, before - 1):
                    yield data(sizes, n, seed=9)
                other.parameters[:] = start
                yield X, y

            other.fit(batches, epochs=1)
            np.testing.assert_array_equal(other.parameters, alone.parameters)


def test_going_on_is_one_longer_fit():
    parts = cut(data([3, 2], 50), 13, 40)
    ref, comp = make(), make()
    expected = ref.fit(parts, epochs=5)
    found = [comp.fit(parts, epochs=n) for n in (2, 3)]
    assert bits(comp) == bits(ref)
    assert comp.history.loss.tolist() == expected.loss.tolist()
    assert [len(h.loss) for h in found] == [2, 3]


def test_the_first_batch_settles_the_dtype():
    X, y = data([3, 2], 40, np.float32)
    trainer = make()
    trainer.fit([(X[:20], y[:20]), (X[20:].astype(float), y[20:].tolist())], epochs=1)
    ref = make(batch_size=20, shuffle=False)
    ref.fit(X, y, 1)
    assert trainer.parameters.dtype == np.float32
    assert bits(trainer) == bits(ref)


def test_labels_may_be_of_some_classes_only(backend):
    sizes = [3, 4, 3]
    X, _ = data(sizes, 30)
    y = np.repeat([0, 1, 2], 10)
    settings = {"output_activation": "softmax", "loss": "cross_entropy", "backend": backend}
    ref, comp = (make(sizes, batch_size=10, shuffle=False, **settings) for _ in range(2))
    ref.fit(X, y, 2)
    comp.fit(cut((X, y), 10, 20), epochs=2)
    assert bits(comp) == bits(ref)


def test_a_batch_may_be_the_net_itself():
    ref, comp = (make([2, 2], optimizer="sgd") for _ in range(2))
    ref.fit(ref.weights[0].copy(), np.eye(2), 1)
    comp.fit(lambda: [(comp.weights[0], np.eye(2))], epochs=1)
    assert bits(comp) == bits(ref)


# Validation, metrics and callbacks work as in any fit.


def test_callbacks_validation_schedules_and_the_history():
    X, y = data([3, 2], 60)
    settings = {"learning_rate": schedules.Step(0.1, every=2), "batch_size": 20, "shuffle": False}
    ref, comp = (make(**settings) for _ in range(2))
    seen = []

    def watch(trainer, epoch, logs):
        seen.append((trainer.epochs_trained, epoch, logs["loss"], logs["validation_mse"]))
        if epoch == 3:
            trainer.stop()

    held = data([3, 2], 10, seed=6)
    extra = {"validation_data": held, "metrics": ["mse"], "callbacks": [watch]}
    expected = ref.fit(X, y, 9, **extra)
    before, seen[:] = list(seen), []
    found = comp.fit(cut((X, y), 20, 40), epochs=9, **extra)
    assert seen == before
    assert len(seen) == len(found.loss) == 4
    assert bits(comp) == bits(ref)
    for name in ("loss", "validation_loss", "learning_rate"):
        assert getattr(found, name).tolist() == getattr(expected, name).tolist()
    assert found.metrics.keys() == {"validation_mse"}
    assert comp.history.loss.tolist() == found.loss.tolist()


@pytest.mark.parametrize(
    ("optimizer", "rate"), [("sgd", 1e20), ("sgd", 1e200), (Adam(beta_1=0.5), 1e200)]
)
def test_divergence_is_told_as_of_arrays(optimizer, rate, backend):
    X, y = data([3, 2], 60)
    settings = {
        "activation": "identity", "output_activation": "identity", "backend": backend,
        "optimizer": optimizer, "batch_size": 20, "shuffle": False,
    }  # fmt: skip
    errors, trainers = [], []
    for given in ((X, y), (cut((X, y), 20, 40), None)):
        trainer = make(**settings)
        trainer.fit(*given, 2)
        trainer.learning_rate = rate
        with pytest.raises(DivergenceError) as caught:
            trainer.fit(*given, 8)
        errors.append(caught.value)
        trainers.append(trainer)
    ref, comp = errors
    assert (comp.epoch, comp.kept_epochs, str(comp)) == (ref.epoch, ref.kept_epochs, str(ref))
    assert comp.history.loss.tolist() == ref.history.loss.tolist()
    assert bits(trainers[1]) == bits(trainers[0])


# Errors.


def broken(parts, epoch, error):
    """Return a function that yields the parts; in one epoch it raises an error after the first."""
    epochs = iter(range(1000))

    def batches():
        now = next(epochs)
        for k, part in enumerate(parts):
            if now == epoch and k == 1:
                raise error
            yield part

    return batches


@pytest.mark.parametrize("epoch", [0, 2])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("disk")], ids=str)
def test_an_error_leaves_the_last_whole_epoch(epoch, error, backend):
    parts = cut(data([3, 2], 50), 20, 40)
    ref, comp = (make(backend=backend) for _ in range(2))
    with pytest.raises(type(error)):
        comp.fit(broken(parts, epoch, error), epochs=5)
    if epoch:
        ref.fit(parts, epochs=epoch)
    assert bits(comp) == bits(ref)
    assert len(comp.history.loss) == epoch
    for trainer in (comp, ref):
        trainer.fit(parts, epochs=2)
    assert bits(comp) == bits(ref)


X3, Y2 = data([3, 2], 4)
BAD = {
    "columns": ((np.ones((4, 5)), Y2), ValueError, "X must have 3 columns"),
    "rows": ((X3, Y2[1:]), ValueError, "y must have shape (4, 2)"),
    "empty": ((X3[:0], Y2[:0]), ValueError, "X must have at least one sample"),
    "nan": ((X3 * np.nan, Y2), ValueError, "X must be finite; X[0, 0] is nan"),
    "text": ((X3.astype(str), Y2), TypeError, "X must be an array of real numbers"),
    "weights": ((X3, Y2, [1, 2]), ValueError, "sample_weight must have shape (4,)"),
    "one": ((X3,), ValueError, "(X, y) or (X, y, sample_weight); got 1 items"),
    "dict": ({"X": X3, "y": Y2}, TypeError, "(X, y) or (X, y, sample_weight); got {"),
}


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
@pytest.mark.parametrize("epoch", [0, 1])
def test_a_bad_batch_is_named(case, epoch):
    batch, error, words = case
    good = cut(data([3, 2], 50), 20)
    epochs = iter([good, [*good, batch]][1 - epoch :])
    ref, comp = make(), make()
    with pytest.raises(error) as caught:
        comp.fit(lambda: next(epochs), epochs=2)
    assert str(caught.value).startswith(f"in batch 2 of epoch {epoch} (both counted from 0), ")
    assert words in str(caught.value)
    if epoch:
        ref.fit(good, epochs=1)
    assert bits(comp) == bits(ref)


@pytest.mark.parametrize("epoch", [0, 1])
@pytest.mark.parametrize("dtype", [None, "float64"])
def test_an_epoch_without_batches_is_refused(epoch, dtype):
    good = cut(data([3, 2], 50), 20)
    ref, comp = make(dtype=dtype), make(dtype=dtype)
    epochs = iter([good, []] if epoch else [[]])
    with pytest.raises(ValueError, match=rf"at least one batch .* none in epoch {epoch} "):
        comp.fit(lambda: next(epochs), epochs=2)
    if epoch:
        ref.fit(good, epochs=1)
    assert bits(comp) == bits(ref)


NO_BATCHES = {
    "array": (X3, TypeError, "y must be an array"),
    "tensor": (Tensor(X3), TypeError, "y must be an array"),
    "text": ("batches.csv", TypeError, "y must be an array"),
    "number": (3, TypeError, "batches must be an iterable of (X, y)"),
    "None": (None, TypeError, "batches must be an iterable of (X, y)"),
    "function of None": (lambda: None, TypeError, "the function returned None"),
    "list of numbers": ([1, 2], TypeError, "in batch 0 of epoch 0"),
}


@pytest.mark.parametrize("case", NO_BATCHES.values(), ids=NO_BATCHES)
def test_what_gives_no_batches_is_refused(case):
    given, error, words = case
    trainer = make()
    before = bits(trainer)
    with pytest.raises(error) as caught:
        trainer.fit(given, epochs=2)
    assert words in str(caught.value)
    assert bits(trainer) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"sample_weight": [1, 1]}, "sample_weight goes with arrays X and y"),
        ({"order": [[0, 1]]}, "order goes with arrays X and y"),
        ({"validation_fraction": 0.2}, "validation_fraction goes with arrays X and y"),
        ({"metrics": "mse"}, "metrics of a fit from batches need validation_data"),
    ],
)
def test_arguments_that_batches_do_not_have(arguments, words):
    with pytest.raises(ValueError, match=words):
        make().fit(cut((X3, Y2), 2), epochs=1, **arguments)


def test_rprop_does_not_train_from_batches():
    with pytest.raises(ValueError, match="Rprop needs full batches"):
        make(optimizer="rprop").fit(cut((X3, Y2), 2), epochs=1)


def test_epochs_must_be_given():
    for arguments in ((X3, Y2), (cut((X3, Y2), 2),)):
        with pytest.raises(
            TypeError,
            match="epochs must be an integer of at least 1, as in fit",
        ):
            make().fit(*arguments)


# partial_fit.


def test_partial_fit_is_an_epoch_of_fit(backend):
    X, y = data([3, 2], 50)
    w = np.linspace(0, 1, 50)
    ref, comp = (make(batch_size=8, backend=backend) for _ in range(2))
    for low, high in ((0, 30), (30, 50), (0, 10)):
        some = slice(low, high)
        ref.fit(X[some], y[some], 1, sample_weight=w[some])
        assert comp.partial_fit(X[some], y[some], sample_weight=w[some]) is comp
    assert bits(comp) == bits(ref)
    assert comp.epochs_trained == len(comp.history.loss) == 3
    assert comp.history.loss.tolist() == ref.history.loss.tolist()


def test_partial_fit_is_shuffled_as_fit_is():
    X, y = data([3, 2], 50)
    shuffled, in_order = (make(batch_size=8, shuffle=s).partial_fit(X, y) for s in (True, False))
    assert bits(shuffled)[0] != bits(in_order)[0]


def test_many_parts_leave_few_pieces_of_history():
    trainer = make([3, 2])
    losses = [trainer.partial_fit(X3, Y2).history.loss[-1] for _ in range(300)]
    trainer.fit(X3, Y2, 7)
    losses += trainer.history.loss[-7:].tolist()
    assert trainer.history.loss.tolist() == losses


def test_partial_fit_within_a_fit_is_refused():
    class Trains(Callback):
        def on_fit_end(self, trainer):
            trainer.partial_fit(X3, Y2)

    trainer = make([3, 2])
    with pytest.raises(RuntimeError, match="in a fit already"):
        trainer.fit(X3, Y2, 2, callbacks=[Trains()])
    assert (trainer.epochs_trained, len(trainer.history.loss)) == (2, 2)
    trainer.partial_fit(X3, Y2)


def test_partial_fit_wants_y():
    with pytest.raises(TypeError, match="y must be an array of real numbers; got None"):
        make().partial_fit([(X3, Y2)], None)
