"""
Saving a fleet: one file as `jitprop.files.saving` writes for a trainer.

Settings are `Fleet`'s arguments. What each member has of its own is in tensors, a row a member:
whole numbers, which the file's layout does not know, as float64, those above 2**53 by their words
of 32 bits.
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
from jitprop.files.saving import FORMAT, checked_objects, refusing, shape
from jitprop.fleet.model import FleetModel, settings
from jitprop.fleet.stopping import Found
from jitprop.net.optimizers import SGD, Optimizer
from jitprop.net.state import all_finite
from jitprop.training import kept
from jitprop.training.history import VALIDATION_LOSS

KIND = "fleet"
STOPPING = "stopping."
FOUND = ("best", "best_epoch", "first", "last", "restored")
"""What early stopping finds out about each member, in tensors of "stopping." + name."""
WORD = 32
RANDOM_WORDS = 10
"""State and increment of PCG64, 4 each, whether it keeps half a number, and that half."""

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
    "clip_norm",
    "batch_size",
)
MODEL = ("shuffle", "dtype", "backend", "n_threads")
"""The arguments of `Fleet` that all members share, by what is made of them."""


def write(path: str | os.PathLike[str], model: FleetModel) -> None:
    """Save a fleet's model, atomically; see `Fleet.save`."""
    state, spec, own = model.state, model.spec, model.own
    if not all_finite(state.params, state.slots):
        raise ValueError("a fleet is saved with finite parameters; these have inf or nan")
    shared = {
        "activation": spec.activations[:-1],
        "output_activation": spec.activations[-1],
        **{name: getattr(spec, name) for name in SPEC if hasattr(spec, name)},
        **{name: getattr(model, name) for name in MODEL},
    }
    scheduled = callable(own.rates)
    seeds = _words(state.seeds)
    tensors = {
        "parameters": state.params,
        "optimizer": state.slots,
        "seeds": seeds,
        "epochs": state.epochs.astype(np.float64),
        "updates": state.updates.astype(np.float64),
        "weight_decay": own.decays,
        "momentum": own.momenta,
        "dropout": own.dropout,
    }
    if not scheduled:
        tensors["learning_rate"] = own.rates
    if state.generators:
        tensors["random"] = np.stack([_random(state.generator(i)) for i in range(len(model))])
    entries, arrays = kept.encoded(model.kept)
    content = {
        "format": FORMAT,
        "kind": KIND,
        "members": len(model),
        "seed_words": seeds.shape[1],
        "shuffled": bool(state.generators),
        "schedule": encoding.encoded("learning_rate", own.rates) if scheduled else None,
        "settings": {name: encoding.encoded(name, value) for name, value in shared.items()},
        "stopping": None if model.found is None else _stopping(model.found, tensors),
        "callbacks": entries,
        "feature_names": encoding.encoded("feature_names", model.names),
    }
    sealed.write(path, content, tensors | arrays)


def _stopping(found: Found, tensors: dict[str, Array]) -> dict[str, Any]:
    """What early stopping found: its settings; its arrays go to the tensors."""
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
    """The model that was saved; see `Fleet.load`."""
    custom_objects = checked_objects(custom_objects)
    with refusing(path), sealed.reading(path) as file:
        file.check(_layout(file.content))
        return _model(file, custom_objects)


def _layout(content: dict[str, Any]) -> sealed.Layout:
    """Which tensors go with the settings."""
    if content.get("kind") != KIND:
        raise ValueError("it holds no fleet; a trainer is read by Trainer.load")
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
    A model of these settings, in this state.

    Parameters and what the optimizer keeps are read last, when all else is known to be good.
    """
    content, k = file.content, file.content["members"]
    encoding.check_known("content", content, CONTENT)
    saved = encoding.objects(content, "settings")
    encoding.check_known("settings", saved, SPEC + MODEL)
    given = {name: encoding.decoded(value, custom_objects) for name, value in saved.items()}
    dropout, words = file.tensor("dropout"), file.tensor("seeds")
    seeds = _numbers(words)
    if words.shape != _words(seeds).shape:
        raise ValueError("its seeds must have no words of zeros alone above them")
    spec, own = settings(
        **{name: given[name] for name in SPEC if name in given},
        members=k,
        learning_rate=_rates(file, custom_objects),
        weight_decay=file.tensor("weight_decay"),
        dropout=dropout if dropout.shape[1] else 0.0,
    )
    own.momenta[...] = _momenta(file, spec.optimizer)
    shared = {name: given[name] for name in MODEL if name in given}
    model = FleetModel.make(spec, own, seeds=seeds, **shared)
    state = model.state
    for name in ("epochs", "updates"):
        numbers = file.tensor(name)
        if not ((numbers >= 0) & (numbers < 2.0**53) & (numbers == np.floor(numbers))).all():
            raise ValueError(f"its {name} are not all whole numbers from 0 to 2**53")
        getattr(state, name)[...] = numbers
    plausible.check_counts(state.epochs, state.updates)
    if content["shuffled"]:
        for i, words in enumerate(file.tensor("random")):
            if not saving.set_random(state.generator(i).bit_generator, _random_of(words)):
                raise ValueError("its random states cannot be")
    file.tensor("parameters", state.params)
    file.tensor("optimizer", state.slots)
    if not all_finite(state.params, state.slots):
        raise ValueError("inf or nan is in its tensors")
    plausible.check_slots(spec.optimizer, state.slots)
    if content.get("stopping") is not None:
        model.found = _found(encoding.objects(content, "stopping"), file, state.epochs)
    entries, most = content.get("callbacks", []), int(state.epochs.max())
    model.kept = kept.decoded(entries, file.tensors(kept.TENSOR), most)
    model.names = saving.feature_names(content, spec.layer_sizes[0])
    return model


def _rates(file: sealed.Reading, custom_objects: Mapping[str, Any]) -> Any:
    """The members' learning rates, or their schedule."""
    saved = file.content.get("schedule")
    if saved is None:
        return file.tensor("learning_rate")
    schedule = encoding.decoded(saved, custom_objects)
    if not callable(schedule):
        raise ValueError(f"its schedule cannot be {checks.shown(saved)}")
    return schedule


def _momenta(file: sealed.Reading, optimizer: Optimizer) -> Array:
    """The members' momenta: those of SGD are at most its own, which other optimizers have."""
    momenta, most = file.tensor("momentum"), getattr(optimizer, "momentum", 0.0)
    least = 0.0 if isinstance(optimizer, SGD) else most
    if not ((momenta >= least) & (momenta <= most)).all():
        raise ValueError(f"its momentum must be from {least:g} to {most:g}, as its optimizer says")
    if getattr(optimizer, "nesterov", False) and (momenta == 0).any():
        raise ValueError("nesterov=True needs a momentum above 0 of each member")
    return momenta


def _found(stopping: dict[str, Any], file: sealed.Reading, epochs: npt.NDArray[np.int64]) -> Found:
    """And back."""
    encoding.check_known("stopping", stopping, ("monitor", "higher_is_better", "parameters"))
    monitor, higher = stopping.get("monitor"), stopping.get("higher_is_better")
    if monitor not in ("loss", VALIDATION_LOSS):
        raise ValueError(f"early stopping cannot have monitored {checks.shown(monitor)}")
    numbers = {name: file.tensor(STOPPING + name) for name in FOUND[1:]}
    for name, array in numbers.items():
        if not ((array == np.floor(array)) & (abs(array) < 2.0**53)).all():
            raise ValueError(f"its {STOPPING}{name} are not all whole numbers")
    higher, best = checks.boolean("higher_is_better", higher), file.tensor(STOPPING + "best")
    plausible.check_stopping(higher, {"best": best, **numbers}, epochs, stopping["parameters"])
    params = file.tensor(STOPPING + "parameters") if stopping["parameters"] else None
    if params is not None and not all_finite(params):
        raise ValueError("inf or nan is in its tensors")
    return Found(
        monitor,
        higher,
        best=best,
        params=params,
        **{name: array.astype(np.int64) for name, array in numbers.items()},
    )


def _words(numbers: list[int]) -> npt.NDArray[np.float64]:
    """Whole numbers by their words of 32 bits, the lowest first: (numbers, words)."""
    n = max(1, max(-(-number.bit_length() // WORD) for number in numbers))
    words = [[number >> WORD * i & (1 << WORD) - 1 for i in range(n)] for number in numbers]
    return np.array(words, np.float64)


def _numbers(words: Array) -> list[int]:
    """And back."""
    if ((words != np.floor(words)) | (words < 0) | (words >= 2.0**WORD)).any():
        raise ValueError("its seeds are not whole numbers")
    rows = words.astype(np.int64).tolist()
    return [sum(word << WORD * i for i, word in enumerate(row)) for row in rows]


def _random(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """The state of a generator."""
    state: Any = rng.bit_generator.state
    numbers = [state["state"]["state"], state["state"]["inc"]]
    words = [number >> WORD * i & (1 << WORD) - 1 for number in numbers for i in range(4)]
    return np.array([*words, state["has_uint32"], state["uinteger"]], np.float64)


def _random_of(words: Array) -> dict[str, Any]:
    """And back."""
    state, increment = _numbers(words[:8].reshape(2, 4))
    ((has_half,), (half,)) = (_numbers(word.reshape(1, 1)) for word in words[8:])
    return {
        "bit_generator": "PCG64",
        "state": {"state": state, "inc": increment},
        "has_uint32": has_half,
        "uinteger": half,
    }
