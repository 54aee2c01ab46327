"""What each member of a fleet has of its own: one value for all, or an array."""

from __future__ import annotations

import secrets
from typing import Any

import numpy as np

from jitprop import checks
from jitprop._types import Array
from jitprop.schedules import ReduceOnPlateau


def per_member(name: str, value: Any, n_members: int, check: Any) -> Array:
    """
    One value for all members, or a list or array with one for each, as a (members,) float64 array.

    ``check`` raises for a value that is none, under the name it is given.
    """
    if not (checks.is_list(value) or (isinstance(value, np.ndarray) and value.ndim > 0)):
        return np.full(n_members, check(name, value), np.float64)
    if isinstance(value, np.ndarray) and value.ndim > 1:
        raise ValueError(
            f"{name} must be one value or ({n_members},) values; got shape {value.shape}"
        )
    if len(value) != n_members:
        raise ValueError(
            f"{name} must be one value, or one for each of the {n_members} members; "
            f"got {len(value)} values"
        )
    return np.array([check(f"{name}[{i}]", v) for i, v in enumerate(value)], np.float64)


def seeds_of(seed: Any, k: int) -> list[int]:
    """Each member's, from the first one's, from all of them, or from the operating system."""
    if seed is None:
        seed = secrets.randbits(64)
    if not (checks.is_list(seed) or (isinstance(seed, np.ndarray) and seed.ndim > 0)):
        first = checks.integer("seed", seed, low=0)
        return list(range(first, first + k))
    if len(seed) != k:
        raise ValueError(
            f"seed must be one int, or one for each of the {k} members; got {len(seed)} values"
        )
    return [checks.integer(f"seed[{i}]", value, low=0) for i, value in enumerate(seed)]


def shares(value: Any, k: int, n_hidden: int) -> Array:
    """(K, hidden layers), from one number, one for each member, or all of them."""
    array = np.asarray(value) if not isinstance(value, float | int) else None
    if array is None or array.ndim < 2:
        return np.repeat(per_member("dropout", value, k, below_1)[:, None], n_hidden, axis=1)
    if array.shape not in ((k, n_hidden), (1, n_hidden)):
        raise ValueError(
            f"dropout must be one number, ({k},) numbers, or of shape {(k, n_hidden)} or "
            f"{(1, n_hidden)}; got shape {array.shape}"
        )
    flat = [below_1("dropout", p) for p in array.reshape(-1).tolist()]
    return np.broadcast_to(np.reshape(flat, array.shape), (k, n_hidden)).astype(np.float64)


def above_0(name: str, value: Any) -> float:
    """A learning rate."""
    if isinstance(value, ReduceOnPlateau):
        raise TypeError(
            f"{name} cannot be a ReduceOnPlateau: a fleet's schedule depends on the epoch alone, "
            "and is that of all members"
        )
    return checks.number(name, value, above=0.0)


def at_least_0(name: str, value: Any) -> float:
    """A weight decay."""
    return checks.number(name, value, low=0.0)


def below_1(name: str, value: Any) -> float:
    """A momentum, or the share of units that are dropped."""
    return checks.number(name, value, low=0.0, below=1.0)
