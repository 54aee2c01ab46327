"""
What an estimator keeps for its next call: the vector of its parameters, and prepared nets.

The estimator owns both, in an attribute that its pickles, copies and clones do not have.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from operator import is_, itemgetter
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from jitprop._types import Array
from jitprop.net.activations import Numbered
from jitprop.net.custom import CustomActivation
from jitprop.net.losses import Loss
from jitprop.net.spec import Spec
from jitprop.training.nets import Nets

Shapes = tuple[tuple[int, ...], ...]

FIXED = (str, int, float, type(None), np.generic, Loss, CustomActivation, Numbered)
"""Classes whose objects never change."""

NOT_LOOKED_INTO = ("callbacks", "scoring", "class_weight", "random_state")
"""Parameters that no prepared net depends on."""


class Settings(NamedTuple):
    """
    The parameters of an estimator at one time.

    Attributes
    ----------
    values : tuple
    lists : tuple of (list, tuple)
        Those that are lists, which can change, and what was in them.
    """

    values: tuple[Any, ...]
    lists: tuple[tuple[list[Any], tuple[Any, ...]], ...]

    def are_those_of(self, model: Any) -> bool:
        """Return whether no parameter of the estimator has changed since."""
        try:
            now = _values_of(model)
        except KeyError:  # someone has deleted a parameter
            return False
        return all(map(is_, self.values, now)) and all(
            len(a) == len(b) and all(map(is_, a, b)) for a, b in self.lists
        )


def settings_of(model: Any) -> Settings | None:
    """Return the parameters; None if one of them may change without anyone noticing."""
    try:
        values = _values_of(model)
    except KeyError:  # a subclass stores a parameter elsewhere
        return None
    lists = []
    for name, value in zip(_names_and_getter(type(model))[0], values, strict=True):
        if type(value) is list:
            lists.append((value, tuple(value)))
            value = tuple(value)
        if name not in NOT_LOOKED_INTO and not _is_fixed(value):
            return None
    return Settings(values, tuple(lists))


def _is_fixed(value: Any) -> bool:
    return isinstance(value, FIXED) or (type(value) is tuple and all(map(_is_fixed, value)))


Getter = Callable[[dict[str, Any]], tuple[Any, ...]]

_getters: WeakKeyDictionary[type, tuple[list[str], Getter]] = WeakKeyDictionary()


def _names_and_getter(cls: Any) -> tuple[list[str], Getter]:
    """Return the names of a class's parameters, and a getter. scikit-learn takes 70 us for it."""
    found = _getters.get(cls)
    if found is None:
        names = cls._get_param_names()
        found = _getters[cls] = names, itemgetter(*names)
    return found


def _values_of(model: Any) -> tuple[Any, ...]:
    """Return the values of all parameters. It raises KeyError if one is not an attribute."""
    return _names_and_getter(type(model))[1](model.__dict__)


class Prepared(NamedTuple):
    """
    What an estimator keeps for its next call.

    Attributes
    ----------
    nets : Nets
    checked : Settings or None
        The parameters that a fit has checked. Others must be checked by the next fit.
    params : (P,) array or None
        The vector of which ``coefs_`` and ``intercepts_`` were views when a fit had set them.
    arrays : tuple of arrays
        These views, first all weights and then all biases.
    shapes : tuple
        Theirs.
    """

    nets: Nets
    checked: Settings | None = None
    params: Array | None = None
    arrays: tuple[Array, ...] = ()
    shapes: Shapes = ()

    def around(self, params: Array, coefs: list[Array], intercepts: list[Array]) -> Prepared:
        """Return the same with another vector and its views."""
        arrays = (*coefs, *intercepts)
        return self._replace(
            params=params, arrays=arrays, shapes=tuple(array.shape for array in arrays)
        )

    def vector(self, model: Any) -> tuple[Array, Shapes] | None:
        """
        Return the estimator's parameters as one vector, and the shapes of their arrays.

        It is the estimator's own, or a copy if a user has replaced arrays; None if these are not
        all of one dtype.
        """
        coefs, intercepts = model.coefs_, model.intercepts_
        if not (type(coefs) is type(intercepts) is list):
            return None
        arrays = (*coefs, *intercepts)
        if len(arrays) == len(self.arrays) and all(map(is_, arrays, self.arrays)):
            return self.params, self.shapes  # type: ignore[return-value]
        if not _are_layers(coefs, intercepts):
            return None
        return _joined(coefs, intercepts), tuple(array.shape for array in arrays)


def of(model: Any) -> Prepared:
    """Return what the estimator keeps; something empty if it is new."""
    return model._prepared or Prepared(Nets())


def after_loading(model: Any) -> Prepared:
    """
    Make ``coefs_`` and ``intercepts_`` views of one vector again, which pickles do not keep.

    Arrays that are read-only or in a file stay as they are: several processes may share them.
    """
    coefs, intercepts = model.__dict__.get("coefs_"), model.__dict__.get("intercepts_")
    made = Prepared(Nets())
    if "fleet_" in model.__dict__ or not (type(coefs) is type(intercepts) is list):
        return made
    if not _are_layers(coefs, intercepts):
        return made
    if not all(type(a) is np.ndarray and a.flags.writeable for a in (*coefs, *intercepts)):
        return made
    params, at = _joined(coefs, intercepts), 0
    views: tuple[list[Array], list[Array]] = ([], [])
    for layer in zip(coefs, intercepts, strict=True):
        for array, into in zip(layer, views, strict=True):
            into.append(params[at : at + array.size].reshape(array.shape))
            at += array.size
    model.coefs_, model.intercepts_ = views
    return made.around(params, *views)


def _are_layers(coefs: list[Any], intercepts: list[Any]) -> bool:
    """Return whether these are the weights and biases of a net, all of one dtype."""
    if not coefs or len(coefs) != len(intercepts):
        return False
    kind = getattr(coefs[0], "dtype", None)
    return kind in (np.float32, np.float64) and all(
        isinstance(W, np.ndarray)
        and isinstance(b, np.ndarray)
        and W.dtype == b.dtype == kind
        and W.ndim == 2
        and b.shape == W.shape[1:]
        for W, b in zip(coefs, intercepts, strict=True)
    )


def _joined(coefs: list[Array], intercepts: list[Array]) -> Array:
    pairs = zip(coefs, intercepts, strict=True)
    made: Array = np.concatenate([part.ravel() for pair in pairs for part in pair])
    return made


class OfSpec(Nets):
    """
    Those of an estimator's nets that are for one spec and number of threads.

    Parameters of an estimator may change between two calls, unlike a trainer's.
    """

    def __init__(self, nets: Nets, spec: Spec, n_threads: int | None) -> None:
        self._all, self._of = nets, (spec, n_threads)

    def take(self, key: Hashable) -> Any:
        """Return a net that was given back, or None."""
        return self._all.take((self._of, key))

    def give_back(self, key: Hashable, net: Any, n_bytes: int) -> None:
        """Keep a net for the next call."""
        self._all.give_back((self._of, key), net, n_bytes)
