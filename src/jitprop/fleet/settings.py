"""What each member of a fleet has of its own: one value for all, or an array."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

import numpy as np

from jitprop import checks
from jitprop._types import Array
from jitprop.data import cast
from jitprop.net.optimizers import SGD, Optimizer
from jitprop.net.schedules import ReduceOnPlateau
from jitprop.net.spec import check_rate

MOST_MEMBERS = 1_000_000


@dataclass
class Own:
    """
    What members have of their own, of K of them.

    Attributes
    ----------
    rates : (K,) array, or schedule
        Learning rates.
    decays, momenta : (K,) arrays
    dropout : (K, hidden layers) array
    """

    rates: Any
    decays: Array
    momenta: Array
    dropout: Array

    def some(self, numbers: Any) -> Own:
        """What some of them have."""
        rates = self.rates if callable(self.rates) else self.rates[numbers]
        return Own(rates, self.decays[numbers], self.momenta[numbers], self.dropout[numbers])


def momenta_of(value: Any, optimizer: Optimizer, n_members: int) -> tuple[Array, Optimizer]:
    """Each member's, and the optimizer of them all."""
    if value is None:
        return np.full(n_members, getattr(optimizer, "momentum", 0.0)), optimizer
    if not isinstance(optimizer, SGD):
        raise ValueError(f"momentum is one of SGD; the optimizer is {optimizer!r}")
    made = per_member("momentum", value, n_members, below_1)
    if optimizer.nesterov and (made == 0).any():
        raise ValueError("nesterov=True needs a momentum above 0 of each member")
    return made, SGD(float(made.max()), optimizer.nesterov)


def rates_of(value: Any, optimizer: Optimizer, n_members: int) -> Any:
    """A schedule as it is, else each member's learning rate; None is the optimizer's default."""
    if value is None:
        value = optimizer.default_rate
    if isinstance(value, ReduceOnPlateau):
        raise TypeError(
            "learning_rate cannot be a ReduceOnPlateau: a fleet's schedule depends on the epoch "
            "alone, and is that of all members"
        )
    if callable(value) and not isinstance(value, type):
        check_rate(value, optimizer)
        return value
    return per_member("learning_rate", value, n_members, above_0)


def count(members: Any) -> int:
    """K."""
    k = checks.integer("members", members, low=1)
    if k > MOST_MEMBERS:
        raise ValueError(f"members must be an integer from 1 to {MOST_MEMBERS:,}; got {k}")
    return k


def per_member(name: str, value: Any, n_members: int, check: Any) -> Array:
    """
    One value for all members, or a list or array with one for each, as a (members,) float64 array.

    ``check`` raises for a value that is none, under the name it is given.
    """
    values = _of_each(name, value, n_members)
    if values is None:
        return np.full(n_members, check(name, value), np.float64)
    return np.array([check(f"{name}[{i}]", v) for i, v in enumerate(values)], np.float64)


def seeds_of(seed: Any, k: int) -> list[int]:
    """Each member's, from the first one's, from all of them, or from the operating system."""
    if seed is None:
        seed = secrets.randbits(64)
    values = _of_each("seed", seed, k)
    if values is None:
        first = checks.integer("seed", seed, low=0)
        return list(range(first, first + k))
    return [checks.integer(f"seed[{i}]", value, low=0) for i, value in enumerate(values)]


def shares(value: Any, k: int, n_hidden: int) -> Array:
    """(K, hidden layers), from one number, one for each member, or all of them."""
    array = cast.real("dropout", value) if checks.is_list(value) else None
    if array is None or array.ndim < 2:
        return np.repeat(per_member("dropout", value, k, below_1)[:, None], n_hidden, axis=1)
    if array.shape not in ((k, n_hidden), (1, n_hidden)):
        raise ValueError(
            f"dropout must be one number, or for the {k} members ({k},) numbers, or for their "
            f"hidden layers numbers of shape {(k, n_hidden)} or, the same for all, {(1, n_hidden)};"
            f" got shape {array.shape}"
        )
    flat = [below_1("dropout", p) for p in array.reshape(-1).tolist()]
    return np.broadcast_to(np.reshape(flat, array.shape), (k, n_hidden)).astype(np.float64)


def _of_each(name: str, value: Any, k: int) -> Any:
    """A list or array with a value for each member; None for what is one value."""
    if hasattr(value, "__array__"):  # a series too
        value = cast.read(name, value)
        if value.ndim > 1:
            raise ValueError(
                f"{name} must be one value, or ({k},) values, one for each of the {k} members; "
                f"got shape {value.shape}"
            )
    if not checks.is_list(value):
        return None
    if len(value) != k:
        raise ValueError(
            f"{name} must be one value, or one for each of the {k} members; got {len(value)} values"
        )
    return value


def above_0(name: str, value: Any) -> float:
    """A learning rate."""
    return checks.number(name, value, above=0.0)


def at_least_0(name: str, value: Any) -> float:
    """A weight decay."""
    return checks.number(name, value, low=0.0)


def below_1(name: str, value: Any) -> float:
    """A momentum, or the share of units that are dropped."""
    return checks.number(name, value, low=0.0, below=1.0)
