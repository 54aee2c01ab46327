"""
Saving a trainer, and going on to the same bits.

What goes into the file, whose layout `jitprop.sealed` describes:

- "settings": `Trainer`'s arguments, without ``seed`` and ``init``; see `jitprop.encoding`.
- "state": epochs and updates done, the random state, all that training changes. Its arrays
  are the tensors "parameters", (P,), and "optimizer", (n_slots, P).
- "history": its columns, as lists; "nan", "inf" and "-inf" stand for what JSON has no number for.
  Columns that would be too long are null there and tensors "history." + name.
- "callbacks": what the callbacks of the last fit keep, for one that resumes it; see
  `jitprop.kept`. Arrays in it are tensors "callbacks.0", "callbacks.1", ...
- "extra": what the one who saves wants to find again.

Reading makes a `Trainer` from the settings, by its constructor, so that each is checked as an
argument of the user is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import cache
from inspect import signature
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jitprop import cast, checks, encoding, kept, optimizers, sealed
from jitprop._types import Array
from jitprop.errors import CheckpointError
from jitprop.state import State

if TYPE_CHECKING:
    from jitprop.trainer import Trainer

FORMAT = 1
"""Of the content. A file with a greater one is refused; fields that a file lacks get their
defaults, so that only a change of meaning needs a new number."""

TENSORS = {"params": "parameters", "slots": "optimizer"}
"""What the arrays of a `State` are called in a file."""

NOT_SAVED = ("init", "seed")
"""Arguments of `Trainer` that say how a net begins, which is over."""


def write(
    path: str | os.PathLike[str], trainer: Trainer, extra: Mapping[str, Any] | None = None
) -> None:
    """
    Save a trainer, atomically.

    Parameters
    ----------
    path : str or path-like
    trainer : Trainer
    extra : mapping of str to what JSON knows, optional

    Raises
    ------
    OSError
        As `open` and writing do.
    TypeError, ValueError
        For what cannot be saved: parameters that are not finite, a nameless object.
    """
    state = trainer._state
    if not state.is_finite():
        raise ValueError("a trainer is saved with finite parameters; these have inf or nan")
    tensors = {name: getattr(state, key) for key, name in TENSORS.items()}
    history, columns = encoding.encoded_history(trainer.history)
    callbacks, arrays = kept.encoded(trainer._states())
    content = {
        "format": FORMAT,
        "settings": {name: encoding.encoded(name, value) for name, value in _settings(trainer)},
        "state": {
            field.name: encoding.encoded(field.name, getattr(state, field.name))
            for field in fields(state)
            if field.name not in TENSORS
        },
        "history": history,
        "callbacks": callbacks,
        "extra": None if extra is None else dict(extra),
    }
    sealed.write(path, content, tensors | columns | arrays)


def read(
    path: str | os.PathLike[str], custom_objects: Mapping[str, Any] | None = None
) -> tuple[Trainer, dict[str, Any] | None]:
    """
    The trainer that was saved, and what was saved with it.

    Parameters
    ----------
    path : str or path-like
    custom_objects : mapping of str to object, optional
        The user's own functions and objects, by the names under which they were saved.

    Returns
    -------
    trainer : Trainer
    extra : dict or None

    Raises
    ------
    CheckpointError
        For a file that cannot be trusted; see `Trainer.load`.
    OSError
        Where there is no such file, or it may not be read.
    """
    if custom_objects is not None and not isinstance(custom_objects, Mapping):
        raise TypeError(
            f"custom_objects must be a dict of objects by name; got {checks.shown(custom_objects)}"
        )
    path = os.fspath(path)
    try:
        content, tensors = sealed.read(path, _layout)
        return _trainer(content, tensors, custom_objects or {}), content.get("extra")
    except (ValueError, TypeError, OverflowError, MemoryError, RecursionError) as error:
        reason = str(error) or type(error).__name__
        raise CheckpointError(f"{path!r} cannot be loaded: {reason}") from error


def _settings(trainer: Trainer) -> Iterator[tuple[str, Any]]:
    """`Trainer`'s arguments, as they are now."""
    spec = trainer._spec
    for name in _arguments():
        if name == "activation":
            yield name, spec.activations[:-1]
        elif name == "output_activation":
            yield name, spec.activations[-1]
        elif hasattr(spec, name):
            yield name, getattr(spec, name)
        else:
            yield name, getattr(trainer, f"_{name}")


@cache
def _arguments() -> tuple[str, ...]:
    """Names of those arguments of `Trainer` that are saved."""
    from jitprop.trainer import Trainer  # which imports this

    return tuple(name for name in signature(Trainer).parameters if name not in NOT_SAVED)


class Shape(NamedTuple):
    """What the settings in a file say of the tensors, before any is read."""

    sizes: list[int]
    n_parameters: int
    n_slots: int
    dtype: np.dtype[Any]


def shape(content: dict[str, Any]) -> Shape:
    """Of the net whose settings these are, if this version knows their format."""
    number = content.get("format")
    if not isinstance(number, int) or number < 1:
        raise ValueError(f"its format is {checks.shown(number)}, not a number from 1 to {FORMAT}")
    if number > FORMAT:
        raise ValueError(
            f"its format is {number}, and this version of jitprop knows none beyond {FORMAT}: "
            "a newer version wrote it, and can read it"
        )
    settings = encoding.objects(content, "settings")
    sizes = settings.get("layer_sizes")
    if not isinstance(sizes, list):
        raise ValueError(f"layer_sizes must be a list of ints; got {checks.shown(sizes)}")
    sizes = [checks.integer("layer_sizes", n, low=1) for n in sizes]
    return Shape(
        sizes,
        n_parameters=sum((n_in + 1) * n_out for n_in, n_out in pairwise(sizes)),
        n_slots=optimizers.resolve(encoding.decoded(settings.get("optimizer"), {})).n_slots,
        dtype=cast.dtype(settings.get("dtype")) or np.dtype(np.float64),
    )


def _layout(content: dict[str, Any]) -> sealed.Layout:
    """Which tensors go with the settings."""
    if "kind" in content:
        raise ValueError("it holds a fleet, which Fleet.load reads")
    net = shape(content)
    columns = encoding.history_tensors(encoding.objects(content, "history"))
    return {
        TENSORS["params"]: (net.dtype, (net.n_parameters,)),
        TENSORS["slots"]: (net.dtype, (net.n_slots, net.n_parameters)),
        **{name: (np.dtype(np.float64), shape) for name, shape in columns.items()},
        **kept.layout(content.get("callbacks", [])),
    }


def _trainer(
    content: dict[str, Any], tensors: dict[str, Array], custom_objects: Mapping[str, Any]
) -> Trainer:
    """A trainer of these settings, in this state."""
    from jitprop.trainer import Trainer  # which imports this

    settings = encoding.objects(content, "settings")
    encoding.check_known("settings", settings, _arguments())
    trainer = Trainer(
        **{name: encoding.decoded(value, custom_objects) for name, value in settings.items()},
        seed=0,
    )
    state = trainer._state
    for key, name in TENSORS.items():
        getattr(state, key)[...] = tensors[name]
    if not state.is_finite():
        raise ValueError("inf or nan is in its tensors")
    saved = encoding.objects(content, "state")
    encoding.check_known("state", saved, [f.name for f in fields(State) if f.name not in TENSORS])
    for name, value in saved.items():
        present = getattr(state, name)
        if isinstance(present, np.random.Generator):
            good = _set_random(present.bit_generator, value)
        else:
            setattr(state, name, made := encoding.decoded(value, custom_objects))
            good = type(made) is type(present) and (type(made) is not int or 0 <= made < 2**64)
        if not good:
            raise ValueError(f"its {name} cannot be {checks.shown(value)}")
    if max(state.epochs, state.updates) >= 2**62:
        raise ValueError("its epochs and updates cannot be counted on")
    trainer._course = [encoding.decoded_history(content["history"], tensors)]
    trainer._kept = kept.decoded(content.get("callbacks", []), tensors)
    return trainer


def _set_random(bits: np.random.BitGenerator, value: Any) -> bool:
    """Whether it could be brought into this state."""
    try:
        numbers = [*value["state"].values(), value["has_uint32"], value["uinteger"]]
        if not all(type(number) is int and number >= 0 for number in numbers):
            return False  # NumPy 1 would warn
        bits.state = value
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
        return False
    return bool(bits.state == value)  # NumPy cuts what is too large
