"""
Saves a trainer's model to a file, from which training resumes with the same results bit for bit.

`jitprop.files.sealed` describes the layout of the file. Its content is

- "format": the number `FORMAT`;
- "settings": `Trainer`'s arguments except ``seed`` and ``init``, which say how a net begins; see
  `jitprop.files.encoding`. And "l2", if it is not 0, of a net that came from scikit-learn;
- "state": the numbers of epochs and updates, the random state, and everything else that training
  changes. Its arrays are the tensors "parameters", (P,), and "optimizer", (n_slots, P);
- "history": its columns, as lists. JSON cannot hold nan and infinities, so they are the texts
  "nan", "inf" and "-inf". Columns that are too long are null here, and tensors "history." + name;
- "callbacks": what the callbacks of the last fit keep, for a fit that resumes it; see
  `jitprop.training.kept`. Their arrays are the tensors "callbacks.0", "callbacks.1", ...;
- "feature_names": the names of the columns, if the net was trained on a data frame;
- "posterior": how sure the net is of its predictions: the variance "noise", and the tensor
  "posterior", (P, P), the root of the parameters' covariance; see `jitprop.training.posterior`.
  Null if that is not known;
- "extra": anything that the caller of `write` wants to read again.

Reading makes a `Model` from the settings as `Trainer` does. So each setting is checked like an
argument of the user's.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from inspect import signature
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from jitprop import checks
from jitprop.checks import shown
from jitprop.files import encoding, plausible, sealed
from jitprop.files.encoding import check_known
from jitprop.net import optimizers, schedules
from jitprop.net.spec import make_spec, rows_of_scales, with_l2
from jitprop.net.state import State
from jitprop.training import callbacks, kept, posterior
from jitprop.training.errors import CheckpointError
from jitprop.training.history import Course
from jitprop.training.model import Model
from jitprop.training.posterior import Posterior

FORMAT = 3
"""
The format of the content. A file with a greater number is refused. Fields that are missing in a
file get their defaults, so only a change of their meaning needs a new number. In format 1, "gelu"
was the activation that is "gelu_tanh" now: see `settings_of`. Up to format 2, Adam had no
"epsilon_hat", and its form was that with True: see `encoding.BEFORE`.
"""

TENSORS = {"params": "parameters", "slots": "optimizer"}
"""The names in a file of a `State`'s arrays."""

STATE = "rng", "dropout_key", "split", "epochs", "updates", "plateau"
"""The attributes of a `State` that are in a file besides."""

POSTERIOR = "posterior"
"""The name of the part and of the tensor with a `Posterior`."""

COMMAND_LINE = "jitprop.cli"
"""
The key in "extra" under which the command line saves how it prepared columns for the net. The value
is null if such a net was loaded and saved again in Python, which does not know the columns.
"""

KINDS = {
    "trainer": "a trainer, which Trainer.load reads",
    "fleet": "a fleet, which Fleet.load reads",
    "table": "a net for tables, which TabularClassifier.load or TabularRegressor.load reads",
}
"""What a file of each kind holds, for messages."""

CONTENT = (
    "format",
    "settings",
    "state",
    "history",
    "callbacks",
    "feature_names",
    "posterior",
    "extra",
)

LIMITS = {"epochs": 2**62, "updates": 2**62, "dropout_key": 2**63, "split": 2**32}
"""The integers of a `State` are from 0 to below these limits."""

SPEC = tuple(signature(make_spec).parameters)
MODEL = tuple(name for name in signature(Model.make).parameters if name not in ("spec", "seed"))
"""The names of the settings in a file, from which a `Spec` and then a `Model` are made."""

L2 = "l2"
"""The name of a setting that only a net from scikit-learn has."""


def write(
    path: str | os.PathLike[str], model: Model, extra: Mapping[str, Any] | None = None
) -> None:
    """
    Save a trainer's model atomically.

    Parameters
    ----------
    path : str or path-like
    model : Model
    extra : mapping of str to values that JSON can hold, optional

    Raises
    ------
    OSError
        If the file cannot be written.
    TypeError, ValueError
        If the model cannot be saved: for parameters that are not finite, and for a custom object
        without a name.
    """
    state = model.state
    if not state.is_finite():
        raise ValueError("a trainer must have finite parameters to be saved; these have inf or nan")
    tensors = {name: getattr(state, key) for key, name in TENSORS.items()}
    history, columns = encoding.encoded_history(model.course.history())
    entries, arrays = kept.encoded(model.kept)
    known = model.found_posterior()
    if known is not None and np.array_equal(known.params, state.params):
        arrays = arrays | {POSTERIOR: known.root}
        noise: dict[str, float] | None = {"noise": known.noise}
    else:
        noise = None
    if extra is None and model.prepared:
        extra = {COMMAND_LINE: None}
    content = {
        "format": FORMAT,
        "settings": {name: encoding.encoded(name, value) for name, value in _settings(model)},
        "state": {name: encoding.encoded(name, getattr(state, name)) for name in STATE},
        "history": history,
        "callbacks": entries,
        "feature_names": encoding.encoded("feature_names", model.names),
        POSTERIOR: noise,
        "extra": None if extra is None else dict(extra),
    }
    sealed.write(path, content, tensors | columns | arrays)


def read(
    path: str | os.PathLike[str], custom_objects: Mapping[str, Any] | None = None
) -> tuple[Model, dict[str, Any] | None]:
    """
    Load a model, and the ``extra`` that was saved with it.

    Parameters
    ----------
    path : str or path-like
    custom_objects : mapping of str to object, optional
        Custom functions and objects, by the names under which they were saved.

    Returns
    -------
    model : Model
    extra : dict or None

    Raises
    ------
    CheckpointError
        For a file that cannot be loaded; see `Trainer.load`.
    OSError
        If the file does not exist or cannot be read.
    """
    custom_objects = checked_objects(custom_objects)
    with refusing(path), sealed.reading(path) as file:
        file.check(_layout(file.content))
        model, extra = _model(file, custom_objects), _extra(file.content)
        model.prepared = COMMAND_LINE in (extra or {})
        return model, extra


def checked_objects(given: Any) -> Mapping[str, Any]:
    """
    Check the argument ``custom_objects`` of `Trainer.load` and `Fleet.load`.

    Raises
    ------
    TypeError
        For anything but a mapping and None.
    """
    if given is not None and not isinstance(given, Mapping):
        raise TypeError(f"custom_objects must be a dict of objects by name; got {shown(given)}")
    return given or {}


@contextlib.contextmanager
def refusing(path: str | os.PathLike[str]) -> Iterator[None]:
    """A context that turns errors of a bad file into a `CheckpointError` with its name."""
    name = os.fspath(checks.path("path", path))
    try:
        yield
    except (ValueError, TypeError, OverflowError, RecursionError, MemoryError) as error:
        # Nothing is allocated that is larger than the file, so this does not mean a bad file.
        if isinstance(error, MemoryError) or isinstance(error.__cause__, MemoryError):
            raise MemoryError(f"there is not enough memory to load {name!r}") from error
        reason = checks.printable(str(error) or type(error).__name__, 2 * checks.LONGEST)
        raise CheckpointError(f"{name!r} cannot be loaded: {reason}") from error


def _settings(model: Model) -> Iterator[tuple[str, Any]]:
    """Yield the names and the present values of `Trainer`'s arguments."""
    spec = model.spec
    # These are stored under other names.
    renamed = {
        "activation": spec.activations[:-1],
        "output_activation": spec.activations[-1],
        "history_limit": model.course.limit,
    }
    for names, holder in ((SPEC, spec), (MODEL, model)):
        for name in names:
            yield name, renamed[name] if name in renamed else getattr(holder, name)
    if spec.l2 > 0.0:
        yield L2, spec.l2


class Shape(NamedTuple):
    """The sizes of a net's tensors, as its settings in a file determine them."""

    sizes: list[int]
    n_parameters: int
    n_slots: int
    dtype: np.dtype[Any]


def shape(content: dict[str, Any]) -> Shape:
    """
    Check the format, and return the sizes that the settings determine.

    Raises
    ------
    TypeError, ValueError
        For another format, and for bad settings among those that are needed here.
    """
    check_format(content, FORMAT)
    settings = encoding.objects(content, "settings")
    sizes = settings.get("layer_sizes")
    if not isinstance(sizes, list):
        raise ValueError(f"layer_sizes must be a list of ints; got {shown(sizes)}")
    sizes = [checks.integer("layer_sizes", n, low=1) for n in sizes]
    n_parameters = sum((n_in + 1) * n_out for n_in, n_out in pairwise(sizes))
    n_slots = optimizers.resolve(encoding.decoded(settings.get("optimizer"), {})).n_slots
    if settings.get("input_scale_rate") is not None and len(sizes) > 1:
        n_slots += rows_of_scales(sizes[0], n_parameters)
    return Shape(
        sizes,
        n_parameters=n_parameters,
        n_slots=n_slots,
        dtype=np.dtype(_dtype(settings.get("dtype")) or np.float64),
    )


def settings_of(content: dict[str, Any]) -> dict[str, Any]:
    """Return the settings in a file, with the present names of what earlier formats meant."""
    settings = dict(encoding.objects(content, "settings"))
    if content["format"] < 2:
        for name in ("activation", "output_activation"):
            given = settings.get(name)
            if isinstance(given, list):
                settings[name] = ["gelu_tanh" if each == "gelu" else each for each in given]
            elif given == "gelu":
                settings[name] = "gelu_tanh"
    return settings


def _dtype(name: Any) -> Any:
    """Check a dtype in a file. NumPy would accept other names of it and would parse any text."""
    if name is None or name == "float32" or name == "float64":
        return name
    raise ValueError(f"dtype must be null, 'float32' or 'float64'; got {shown(name)}")


def check_format(content: dict[str, Any], latest: int) -> None:
    """
    Check that this version reads the format of a file.

    Raises
    ------
    ValueError
        If not.
    """
    number = content.get("format")
    if type(number) is not int or number < 1:
        raise ValueError(f"its format must be a number from 1 to {latest}; it is {shown(number)}")
    if number > latest:
        raise ValueError(
            f"its format is {number}, and this version of jitprop reads formats up to {latest}: "
            "a newer version wrote it, and can read it"
        )


def check_kind(content: dict[str, Any], kind: str) -> None:
    """
    Check that a file holds what is to be read; "trainer" stands for a file without a kind.

    Raises
    ------
    ValueError
        If not, naming what reads the file.
    """
    found = content.get("kind", "trainer")
    if found != kind:
        known = isinstance(found, str) and found in KINDS
        raise ValueError(f"it holds {KINDS[found] if known else shown(found)}")


def _layout(content: dict[str, Any]) -> sealed.Layout:
    """Return the tensors that belong to the settings, the history and the callbacks."""
    check_kind(content, "trainer")
    net = shape(content)
    columns = encoding.history_tensors(encoding.objects(content, "history"))
    known = {} if content.get(POSTERIOR) is None else {POSTERIOR: np.dtype(np.float64)}
    P = net.n_parameters
    return {
        TENSORS["params"]: (net.dtype, (net.n_parameters,)),
        TENSORS["slots"]: (net.dtype, (net.n_slots, net.n_parameters)),
        **{name: (np.dtype(np.float64), shape) for name, shape in columns.items()},
        **kept.layout(content.get("callbacks", [])),
        **{name: (dtype, (P, P)) for name, dtype in known.items()},
    }


def _model(file: sealed.Reading, custom_objects: Mapping[str, Any]) -> Model:
    """
    Make the model of a file whose tensors were checked.

    Large tensors are read last, so that memory is only used for them once the rest is known to be
    good.
    """
    content = file.content
    check_known("content", content, CONTENT)
    settings = settings_of(content)
    l2 = settings.pop(L2, 0.0)
    check_known("settings", settings, SPEC + MODEL)
    given = {name: encoding.decoded(value, custom_objects) for name, value in settings.items()}
    spec = with_l2(make_spec(**{name: given[name] for name in SPEC if name in given}), l2)
    model = Model.make(spec, seed=0, **{name: given[name] for name in MODEL if name in given})
    state = model.state
    _set_state(state, encoding.objects(content, "state"))
    plausible.check_counts(state.epochs, state.updates)
    schedules.check_plateau(state.plateau, spec.learning_rate)
    history = encoding.objects(content, "history")
    # It may have fewer epochs than the state: a net taken out of a fleet has no history of before.
    encoding.check_history(history, min(state.epochs, model.course.limit or state.epochs))
    entries = content.get("callbacks", [])
    model.kept = kept.decoded(entries, file.tensors(kept.TENSOR), state.epochs)
    for each in model.kept:
        if each.name == callbacks.EarlyStopping.__qualname__ and set(each.state) == callbacks.STATE:
            callbacks.check_state(each.state, state.params.size, state.epochs)
    for key, name in TENSORS.items():
        file.tensor(name, getattr(state, key))
    if not state.is_finite():
        raise ValueError("its tensors must be finite; they have inf or nan")
    plausible.check_slots(spec, state.slots)
    model.posterior = _posterior(file, model)
    past = encoding.decoded_history(history, file.tensors(encoding.TENSOR))
    model.course = Course(model.course.limit, past)
    model.seed = None
    model.names = feature_names(content, spec.layer_sizes[0])
    return model


def _posterior(file: sealed.Reading, model: Model) -> Posterior | None:
    """Return how sure the net is, as `jitprop.training.posterior` has found out; or None."""
    saved = file.content.get(POSTERIOR)
    if saved is None:
        return None
    if not isinstance(saved, dict) or not posterior.is_known(model.spec):
        raise ValueError(f"its posterior cannot be {shown(saved)}")
    check_known(POSTERIOR, saved, ("noise",))
    noise = checks.number("noise", saved.get("noise"), low=0.0)
    root = file.tensor(POSTERIOR)
    if not np.isfinite(root).all():
        raise ValueError("its posterior must be finite; it has inf or nan")
    return Posterior(model.state.params.copy(), noise, root)


def feature_names(content: dict[str, Any], n_inputs: int) -> tuple[str, ...] | None:
    """
    Return the names of the columns; None if the net was not trained on a data frame.

    Raises
    ------
    ValueError
        Unless they are as many texts as there are inputs.
    """
    names = content.get("feature_names")
    if names is None:
        return None
    good = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not good or len(names) != n_inputs:
        raise ValueError(f"its feature_names must be {n_inputs} texts; got {shown(names)}")
    return tuple(names)


def _set_state(state: State, saved: dict[str, Any]) -> None:
    """Set everything in a state but its arrays to what was saved."""
    check_known("state", saved, STATE)
    if missing := sorted({"rng", "epochs", "updates"} - set(saved)):
        raise ValueError(f"its state has no {missing[0]}")
    for name, value in saved.items():
        if name == "rng":
            good = set_random(state.rng.bit_generator, value)
        elif name == "plateau":
            good = isinstance(value, list)
            state.plateau = tuple(value) if good else ()
        else:
            good = type(value) is int and 0 <= value < LIMITS[name]
            if good:
                setattr(state, name, value)
        if not good:
            raise ValueError(f"its {name} cannot be {shown(value)}")


def _extra(content: dict[str, Any]) -> dict[str, Any] | None:
    extra = content.get("extra")
    if extra is not None and not isinstance(extra, dict):
        raise ValueError(f"its extra must be an object or null; got {shown(extra)}")
    return extra


def set_random(bits: np.random.BitGenerator, value: Any) -> bool:
    """Set the state of a bit generator, and return whether it was a possible one."""
    try:
        inner = value["state"]
        numbers = [inner["state"], inner["inc"], value["has_uint32"], value["uinteger"]]
        if not all(type(number) is int and number >= 0 for number in numbers):
            return False  # NumPy 1 would warn
        if numbers[1] % 2 == 0 or numbers[2] > 1:
            return False  # PCG64's increment is odd, and it keeps one unused 32-bit half or none
        bits.state = value
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
        return False
    return bool(bits.state == value)  # NumPy truncates integers that are too large
