"""Settings that each member of a fleet has of its own, given as one value for all or as a list."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
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
class MemberSettings:
    """
    The settings of each member of a fleet.

    Attributes
    ----------
    rates : (K,) float64 array, or schedule
        Learning rates. A schedule is that of all members.
    decays : (K,) float64 array
        Weight decays.
    momenta : (K,) float64 array
    dropout : (K, hidden layers) float64 array
    """

    rates: Any
    decays: Array
    momenta: Array
    dropout: Array

    def take(self, numbers: Any) -> MemberSettings:
        """Return copies of the settings of some members."""
        rates = self.rates if callable(self.rates) else self.rates[numbers]
        decays, momenta = self.decays[numbers], self.momenta[numbers]
        return MemberSettings(rates, decays, momenta, self.dropout[numbers])


def momenta_of(value: Any, optimizer: Optimizer, n_members: int) -> tuple[Array, Optimizer]:
    """
    Check the argument ``momentum``.

    Returns
    -------
    momenta : (K,) float64 array
    optimizer : Optimizer
        The optimizer of all members. It has the largest momentum.

    Raises
    ------
    TypeError, ValueError
    """
    if value is None:
        return np.full(n_members, getattr(optimizer, "momentum", 0.0)), optimizer
    if not isinstance(optimizer, SGD):
        raise ValueError(f"momentum is a setting of SGD; the optimizer is {optimizer!r}")
    made = per_member("momentum", value, n_members, below_1)
    if optimizer.nesterov and (made == 0).any():
        raise ValueError("nesterov=True needs a momentum above 0 for each member")
    return made, replace(optimizer, momentum=float(made.max()))


def rates_of(value: Any, optimizer: Optimizer, n_members: int) -> Any:
    """
    Check the argument ``learning_rate``; None is the optimizer's default.

    Returns
    -------
    (K,) float64 array, or the schedule

    Raises
    ------
    TypeError, ValueError
    """
    if value is None:
        value = optimizer.default_rate
    if isinstance(value, ReduceOnPlateau):
        raise TypeError(
            "learning_rate cannot be a ReduceOnPlateau: all members of a fleet share one schedule, "
            "which depends on the epoch alone"
        )
    if callable(value) and not isinstance(value, type):
        check_rate(value, optimizer)
        return value
    rates = per_member("learning_rate", value, n_members, above_0)
    for rate in rates.tolist() if optimizer.uses_rate == "never" else ():
        check_rate(rate, optimizer)
    return rates


def member_count(members: Any) -> int:
    """Check the argument ``members`` and return it as an int."""
    k = checks.integer("members", members, low=1)
    if k > MOST_MEMBERS:
        raise ValueError(f"members must be an integer from 1 to {MOST_MEMBERS:,}; got {k}")
    return k


def per_member(name: str, value: Any, n_members: int, check: Any) -> Array:
    """
    Check a setting that is one value for all members or a list with one for each.

    Parameters
    ----------
    name : str
        The name of the argument, for error messages.
    value : object
    n_members : int
    check : callable
        Takes the name and one value. Returns a float, or raises an error.

    Returns
    -------
    (K,) float64 array

    Raises
    ------
    TypeError, ValueError
    """
    values = _list_of(name, value, n_members)
    if values is None:
        return np.full(n_members, check(name, value), np.float64)
    return np.array([check(f"{name}[{i}]", v) for i, v in enumerate(values)], np.float64)


def seeds_of(seed: Any, k: int) -> list[int]:
    """
    Return each member's seed, from the argument ``seed``.

    From an int, member i gets ``seed + i``. For None the operating system gives the int.

    Raises
    ------
    TypeError, ValueError
    """
    if seed is None:
        seed = secrets.randbits(64)
    values = _list_of("seed", seed, k)
    if values is None:
        first = checks.integer("seed", seed, low=0)
        return list(range(first, first + k))
    return [checks.integer(f"seed[{i}]", value, low=0) for i, value in enumerate(values)]


def dropout_of(value: Any, k: int, n_hidden: int) -> Array:
    """
    Check the argument ``dropout``: one number, one for each member, or (K, hidden layers) numbers.

    Returns
    -------
    (K, hidden layers) float64 array

    Raises
    ------
    TypeError, ValueError
    """
    array = cast.real("dropout", value) if checks.is_list(value) else None
    if array is None or array.ndim < 2:
        return np.repeat(per_member("dropout", value, k, below_1)[:, None], n_hidden, axis=1)
    if array.shape not in ((k, n_hidden), (1, n_hidden)):
        raise ValueError(
            f"dropout must be one number, {k} numbers, one for each member, or an array of shape "
            f"{(k, n_hidden)}, one number for each member and hidden layer, or "
            f"{(1, n_hidden)}, the same for all members; got shape {array.shape}"
        )
    flat = [below_1("dropout", p) for p in array.reshape(-1).tolist()]
    return np.broadcast_to(np.reshape(flat, array.shape), (k, n_hidden)).astype(np.float64)


def _list_of(name: str, value: Any, k: int) -> Any:
    """Return a list or array with a value for each member; None if the value is not a list."""
    if hasattr(value, "__array__"):  # a pandas series has it too
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
    """Check a learning rate."""
    return checks.number(name, value, above=0.0)


def at_least_0(name: str, value: Any) -> float:
    """Check a weight decay."""
    return checks.number(name, value, low=0.0)


def below_1(name: str, value: Any) -> float:
    """Check a momentum, or the probability with which a unit is dropped."""
    return checks.number(name, value, low=0.0, below=1.0)
