"""
Saving and loading of fleets, in one file like that of `jitprop.files.saving` for a trainer.

Settings are stored as `Fleet`'s arguments. What each member has of its own is stored in tensors,
one row for each member. The file's layout knows no integers, so these are stored as float64. An
integer that may be above 2**53 is stored as several words of 32 bits.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from jitprop import checks
from jitprop._types import Array
from jitprop.files import encoding, plausible, saving, sealed
from jitprop.files.saving import FORMAT, check_kind, checked_objects, refusing, shape
from jitprop.fleet.model import FleetModel, make_settings
from jitprop.fleet.stopping import Found
from jitprop.net.optimizers import SGD, Optimizer
from jitprop.net.spec import with_l2
from jitprop.net.state import all_finite
from jitprop.training import kept
from jitprop.training.history import VALIDATION_LOSS

KIND = "fleet"
STOPPING = "stopping."
FOUND = ("best", "best_epoch", "first", "last", "restored")
"""The state of early stopping of each member, in tensors named "stopping." + name."""
WORD = 32
"""Bits of a word."""
RANDOM_WORDS = 10
"""A generator's words: 4 of PCG64's state, 4 of its increment, 1 that says whether half of a random
number is left over, and 1 for that half."""

CONTENT = (
    "format",
    "kind",
    "members",
    "seed_words",
    "shuffled",
    "schedule",
    "settings",
    "stopping",
    "callbacks",
    "feature_names",
)


SPEC = (
    "layer_sizes",
    "activation",
    "output_activation",
    "loss",
    "reduction",
    "optimizer",
    "decay_biases",
    "clip_norm",
    "batch_size",
    "learning_rate_factors",
    "input_scale_rate",
)
MODEL = ("shuffle", "dtype", "backend", "n_threads")
"""The arguments of `Fleet` that all members share: those of the spec and those of the model."""


def write(path: str | os.PathLike[str], model: FleetModel) -> None:
    """
    Save a fleet's model atomically; see `Fleet.save`.

    Raises
    ------
    OSError, TypeError, ValueError
    """
    state, spec, settings = model.state, model.spec, model.settings
    if not all_finite(state.params, state.slots):
        raise ValueError("a fleet must have finite parameters to be saved; these have inf or nan")
    shared = {
        "activation": spec.activations[:-1],
        "output_activation": spec.activations[-1],
        **{name: getattr(spec, name) for name in SPEC if hasattr(spec, name)},
        **{name: getattr(model, name) for name in MODEL},
        **({saving.L2: spec.l2} if spec.l2 > 0.0 else {}),
    }
    scheduled = callable(settings.rates)
    seeds = _words(state.seeds)
    tensors = {
        "parameters": state.params,
        "optimizer": state.slots,
        "seeds": seeds,
        "epochs": state.epochs.astype(np.float64),
        "updates": state.updates.astype(np.float64),
        "weight_decay": settings.decays,
        "momentum": settings.momenta,
        "dropout": settings.dropout,
    }
    if not scheduled:
        tensors["learning_rate"] = settings.rates
    if state.generators:
        tensors["random"] = np.stack([_random(state.generator(i)) for i in range(len(model))])
    entries, arrays = kept.encoded(model.kept)
    content = {
        "format": FORMAT,
        "kind": KIND,
        "members": len(model),
        "seed_words": seeds.shape[1],
        "shuffled": bool(state.generators),
        "schedule": encoding.encoded("learning_rate", settings.rates) if scheduled else None,
        "settings": {name: encoding.encoded(name, value) for name, value in shared.items()},
        "stopping": None if model.found is None else _stopping(model.found, tensors),
        "callbacks": entries,
        "feature_names": encoding.encoded("feature_names", model.names),
    }
    sealed.write(path, content, tensors | arrays)


def _stopping(found: Found, tensors: dict[str, Array]) -> dict[str, Any]:
    """Return the settings of early stopping, and add its arrays to the tensors."""
    for name in FOUND:
        tensors[STOPPING + name] = getattr(found, name).astype(np.float64)
    if found.params is not None:
        tensors[STOPPING + "parameters"] = found.params
    return {
        "monitor": found.monitor,
        "higher_is_better": found.higher_is_better,
        "parameters": found.params is not None,
    }


def read(
    path: str | os.PathLike[str], custom_objects: Mapping[str, Any] | None = None
) -> FleetModel:
    """
    Read a fleet's model from a file; see `Fleet.load`.

    Raises
    ------
    CheckpointError, OSError, MemoryError, TypeError
    """
    custom_objects = checked_objects(custom_objects)
    with refusing(path), sealed.reading(path) as file:
        file.check(_layout(file.content))
        return _model(file, custom_objects)


def _layout(content: dict[str, Any]) -> sealed.Layout:
    """Return the dtype and shape of each tensor that a file with these settings must have."""
    check_kind(content, KIND)
    net = shape(content)
    k = checks.integer("members", content.get("members"), low=1)
    words = checks.integer("seed_words", content.get("seed_words"), low=1)
    double = np.dtype(np.float64)
    layout: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {
        "parameters": (net.dtype, (k, net.n_parameters)),
        "optimizer": (net.dtype, (k, net.n_slots, net.n_parameters)),
        "seeds": (double, (k, words)),
        "dropout": (double, (k, len(net.sizes) - 2)),
    }
    for name in ("epochs", "updates", "weight_decay", "momentum"):
        layout[name] = double, (k,)
    if content.get("schedule") is None:
        layout["learning_rate"] = double, (k,)
    if checks.boolean("shuffled", content.get("shuffled")):
        layout["random"] = double, (k, RANDOM_WORDS)
    if content.get("stopping") is not None:
        layout |= {STOPPING + name: (double, (k,)) for name in FOUND}
        if checks.boolean("parameters", encoding.objects(content, "stopping").get("parameters")):
            layout[STOPPING + "parameters"] = net.dtype, (k, net.n_parameters)
    return layout | kept.layout(content.get("callbacks", []))


def _model(file: sealed.Reading, custom_objects: Mapping[str, Any]) -> FleetModel:
    """
    Make the model that the file describes.

    The parameters and the optimizer's state are the largest tensors. They are read after the
    settings and the counts were checked.
    """
    content, k = file.content, file.content["members"]
    encoding.check_known("content", content, CONTENT)
    saved = saving.settings_of(content)
    l2 = saved.pop(saving.L2, 0.0)
    encoding.check_known("settings", saved, SPEC + MODEL)
    given = {name: encoding.decoded(value, custom_objects) for name, value in saved.items()}
    dropout, words = file.tensor("dropout"), file.tensor("seeds")
    seeds = _numbers("seeds", words)
    if words.shape != _words(seeds).shape:
        raise ValueError("its seeds must have no more words than the largest seed needs")
    spec, settings = make_settings(
        **{name: given[name] for name in SPEC if name in given},
        members=k,
        learning_rate=_rates(file, custom_objects),
        weight_decay=file.tensor("weight_decay"),
        dropout=dropout if dropout.shape[1] else 0.0,
    )
    spec = with_l2(spec, l2)
    settings.momenta[...] = _momenta(file, spec.optimizer)
    shared = {name: given[name] for name in MODEL if name in given}
    model = FleetModel.make(spec, settings, seeds=seeds, **shared)
    state = model.state
    for name in ("epochs", "updates"):
        numbers = file.tensor(name)
        if not ((numbers >= 0) & (numbers < 2.0**53) & (numbers == np.floor(numbers))).all():
            raise ValueError(f"its {name} must be whole numbers from 0 to 2**53")
        getattr(state, name)[...] = numbers
    plausible.check_counts(state.epochs, state.updates)
    if content["shuffled"]:
        for i, words in enumerate(file.tensor("random")):
            if not saving.set_random(state.generator(i).bit_generator, _random_of(words)):
                raise ValueError("its random states must be states of PCG64")
    file.tensor("parameters", state.params)
    file.tensor("optimizer", state.slots)
    if not all_finite(state.params, state.slots):
        raise ValueError("its tensors must be finite; they have inf or nan")
    plausible.check_slots(spec, state.slots)
    if content.get("stopping") is not None:
        model.found = _found(encoding.objects(content, "stopping"), file, state.epochs)
    entries, most = content.get("callbacks", []), int(state.epochs.max())
    model.kept = kept.decoded(entries, file.tensors(kept.TENSOR), most)
    model.names = saving.feature_names(content, spec.layer_sizes[0])
    return model


def _rates(file: sealed.Reading, custom_objects: Mapping[str, Any]) -> Any:
    """Read the members' learning rates, or their schedule."""
    saved = file.content.get("schedule")
    if saved is None:
        return file.tensor("learning_rate")
    schedule = encoding.decoded(saved, custom_objects)
    if not callable(schedule):
        raise ValueError(f"its schedule cannot be {checks.shown(saved)}")
    return schedule


def _momenta(file: sealed.Reading, optimizer: Optimizer) -> Array:
    """
    Read the members' momenta, and check them against the optimizer's.

    With SGD a member's momentum is at most the optimizer's. With other optimizers it is equal.
    """
    momenta, most = file.tensor("momentum"), getattr(optimizer, "momentum", 0.0)
    least = 0.0 if isinstance(optimizer, SGD) else most
    if not ((momenta >= least) & (momenta <= most)).all():
        raise ValueError(f"its momentum must be from {least:g} to {most:g}, as its optimizer says")
    if getattr(optimizer, "nesterov", False) and (momenta == 0).any():
        raise ValueError("nesterov=True needs a momentum above 0 for each member")
    return momenta


def _found(stopping: dict[str, Any], file: sealed.Reading, epochs: npt.NDArray[np.int64]) -> Found:
    """Read the state of early stopping, which `_stopping` wrote."""
    encoding.check_known("stopping", stopping, ("monitor", "higher_is_better", "parameters"))
    monitor, higher = stopping.get("monitor"), stopping.get("higher_is_better")
    if monitor not in ("loss", VALIDATION_LOSS):
        raise ValueError(f"early stopping cannot have monitored {checks.shown(monitor)}")
    numbers = {name: file.tensor(STOPPING + name) for name in FOUND[1:]}
    for name, array in numbers.items():
        if not ((array == np.floor(array)) & (abs(array) < 2.0**53)).all():
            raise ValueError(f"its {STOPPING}{name} must be whole numbers")
    higher, best = checks.boolean("higher_is_better", higher), file.tensor(STOPPING + "best")
    plausible.check_stopping(higher, {"best": best, **numbers}, epochs, stopping["parameters"])
    params = file.tensor(STOPPING + "parameters") if stopping["parameters"] else None
    if params is not None and not all_finite(params):
        raise ValueError("its tensors must be finite; they have inf or nan")
    return Found(
        monitor,
        higher,
        best=best,
        params=params,
        **{name: array.astype(np.int64) for name, array in numbers.items()},
    )


def _words(numbers: list[int]) -> npt.NDArray[np.float64]:
    """Split integers into words of 32 bits, the lowest first: (numbers, words)."""
    n = max(1, max(-(-number.bit_length() // WORD) for number in numbers))
    words = [[number >> WORD * i & (1 << WORD) - 1 for i in range(n)] for number in numbers]
    return np.array(words, np.float64)


def _numbers(name: str, words: Array) -> list[int]:
    """Make integers of words of 32 bits, the reverse of `_words`."""
    if ((words != np.floor(words)) | (words < 0) | (words >= 2.0**WORD)).any():
        raise ValueError(f"its {name} must be whole numbers")
    rows = words.astype(np.int64).tolist()
    return [sum(word << WORD * i for i, word in enumerate(row)) for row in rows]


def _random(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return the state of a generator as words, (RANDOM_WORDS,)."""
    state: Any = rng.bit_generator.state
    numbers = [state["state"]["state"], state["state"]["inc"]]
    words = [number >> WORD * i & (1 << WORD) - 1 for number in numbers for i in range(4)]
    return np.array([*words, state["has_uint32"], state["uinteger"]], np.float64)


def _random_of(words: Array) -> dict[str, Any]:
    """Return the state of a generator from its words, the reverse of `_random`."""
    state, increment = _numbers("random states", words[:8].reshape(2, 4))
    halves = _numbers("random states", words[8:].reshape(2, 1))
    return {
        "bit_generator": "PCG64",
        "state": {"state": state, "inc": increment},
        "has_uint32": halves[0],
        "uinteger": halves[1],
    }
