"""A fleet as one object: what `Fleet` holds, and what its files take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from jitprop import backends, checks
from jitprop._types import Array
from jitprop.data import cast
from jitprop.fleet.settings import Own, at_least_0, count, momenta_of, per_member, rates_of, shares
from jitprop.fleet.state import FleetState
from jitprop.fleet.stopping import Found
from jitprop.net import initializers, optimizers
from jitprop.net.seeds import generator, words
from jitprop.net.spec import Spec, make_spec
from jitprop.training.kept import Kept
from jitprop.training.model import BaseModel, as_copy

TOGETHER = 4096
"""Members whose parameters are drawn together: enough, and what they take in float64 is little."""


def settings(
    *,
    members: Any,
    optimizer: Any = "sgd",
    learning_rate: Any = None,
    weight_decay: Any = 0.0,
    momentum: Any = None,
    dropout: Any = 0.0,
    **shared: Any,
) -> tuple[Spec, Own]:
    """
    What a fleet's members share, and what each has of its own, from `Fleet`'s arguments.

    Raises
    ------
    TypeError, ValueError
    """
    k = count(members)
    own_momenta, method = momenta_of(momentum, optimizers.resolve(optimizer), k)
    spec = make_spec(optimizer=method, **shared)
    own = Own(
        rates_of(learning_rate, method, k),
        per_member("weight_decay", weight_decay, k, at_least_0),
        own_momenta,
        shares(dropout, k, len(spec.layer_sizes) - 2),
    )
    # What engines must know: whether any unit is dropped.
    return replace(spec, dropout=tuple(own.dropout.max(axis=0).tolist())), own


@dataclass(kw_only=True)
class FleetModel(BaseModel):
    """
    K nets: their settings and their states.

    Attributes
    ----------
    own : Own
        What each member has of its own.
    state : FleetState
        All that training changes.
    found : Found or None
        What early stopping found out in the last fit.
    kept : sequence of Kept
        What the other callbacks of the last fit keep.
    """

    own: Own
    state: FleetState
    found: Found | None = None
    kept: Sequence[Kept] = ()

    @classmethod
    def make(
        cls,
        spec: Spec,
        own: Own,
        *,
        seeds: list[int],
        shuffle: Any = True,
        dtype: Any = None,
        backend: Any = "auto",
        n_threads: Any = None,
    ) -> FleetModel:
        """
        Make a model whose parameters are 0, from arguments of `Fleet`, each checked.

        Raises
        ------
        TypeError, ValueError
        """
        shuffle, kind = checks.boolean("shuffle", shuffle), cast.dtype(dtype)
        backend = backends.check(backend)
        n_threads = checks.optional_integer("n_threads", n_threads, low=1)
        k, size, n_slots = len(own.decays), spec.n_parameters, spec.optimizer.n_slots
        started_as = kind or np.dtype(np.float64)
        state = FleetState(
            params=cast.zeros("members", (k, size), started_as),
            slots=cast.zeros("members", (k, n_slots, size), started_as),
            seeds=seeds,
            epochs=np.zeros(k, np.int64),
            updates=np.zeros(k, np.int64),
            keys=np.zeros(k, np.int64),
        )
        if own.dropout.any():
            state.keys[:] = words(seeds, "dropout")[:, 0] >> np.uint64(1)
        return cls(
            spec=spec,
            shuffle=shuffle,
            dtype=kind,
            backend=backend,
            n_threads=n_threads,
            own=own,
            state=state,
        )

    def __len__(self) -> int:
        """K."""
        return len(self.state.params)

    def split(self) -> tuple[list[Array], list[Array]]:
        """Views of the weights, (K, n_in, n_out), and of the biases, (K, n_out), of each layer."""
        layers = list(zip(self.spec.shapes, self.spec.offsets, strict=True))
        params = self.state.params
        return (
            [params[:, w:b].reshape(-1, *shape) for shape, (w, b) in layers],
            [params[:, b : b + n_out] for (_, n_out), (_, b) in layers],
        )

    def begin(self, init: Any) -> None:
        """Draw the parameters, or take those that are given: `Fleet`'s argument ``init``."""
        self.init = name = initializers.named(init)
        if name is None:
            self.set_parameters(*init)
            return
        weights, biases = self.split()
        views, seeds = [*weights, *biases], self.state.seeds
        for first in range(0, len(self), TOGETHER):
            some = slice(first, first + TOGETHER)
            generators = map(generator, words(seeds[some], "init"))
            weights, biases = initializers.draw(name, self.spec.shapes, generators)
            for view, array in zip(views, [*weights, *biases], strict=True):
                view[some] = array

    def set_parameters(
        self, weights: Sequence[npt.ArrayLike], biases: Sequence[npt.ArrayLike]
    ) -> None:
        """Copy weights and biases into the members; see `Fleet.set_parameters`."""
        made = cast.parameters(
            weights, biases, self.spec.shapes, self.state.params.dtype, members=len(self)
        )
        for views, arrays in zip(self.split(), made, strict=True):
            for view, array in zip(views, arrays, strict=True):
                view[:] = array

    def some(self, numbers: npt.NDArray[np.int64], state: FleetState) -> FleetModel:
        """A model of some members, with copies of all they have; ``state`` is theirs already."""
        found = None if self.found is None else self.found.some(numbers)
        return as_copy(self, own=self.own.some(numbers), state=state, found=found, kept=())
