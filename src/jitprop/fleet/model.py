"""The model of a fleet: `Fleet` holds one, and its files are written from one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from jitprop._types import Array
from jitprop.data import cast
from jitprop.fleet.settings import (
    MemberSettings,
    at_least_0,
    dropout_of,
    member_count,
    momenta_of,
    per_member,
    rates_of,
)
from jitprop.fleet.state import FleetState
from jitprop.fleet.stopping import Found
from jitprop.net import initializers, optimizers
from jitprop.net.seeds import generator, words
from jitprop.net.spec import Spec, check_method, make_spec
from jitprop.training.kept import Kept
from jitprop.training.model import BaseModel, as_copy, checked

MEMBERS_DRAWN = 4096
"""Parameters are drawn for so many members at a time. All at once would take K P numbers of
float64 besides those of the fleet."""


def make_settings(
    *,
    members: Any,
    optimizer: Any = "sgd",
    learning_rate: Any = None,
    weight_decay: Any = 0.0,
    momentum: Any = None,
    dropout: Any = 0.0,
    **shared: Any,
) -> tuple[Spec, MemberSettings]:
    """
    Check arguments of `Fleet`. Return the settings that all members share, and those of each one.

    The shared spec has the largest dropout of any member in each hidden layer: it tells engines
    whether units are dropped at all.

    Raises
    ------
    TypeError, ValueError
    """
    k = member_count(members)
    own_momenta, method = momenta_of(momentum, optimizers.resolve(optimizer), k)
    spec = make_spec(optimizer=method, **shared)
    settings = MemberSettings(
        rates_of(learning_rate, method, k),
        per_member("weight_decay", weight_decay, k, at_least_0),
        own_momenta,
        dropout_of(dropout, k, len(spec.layer_sizes) - 2),
    )
    spec = replace(spec, dropout=tuple(settings.dropout.max(axis=0).tolist()))
    check_method(replace(spec, weight_decay=float(settings.decays.max())))
    return spec, settings


@dataclass(kw_only=True)
class FleetModel(BaseModel):
    """
    K nets: their settings and their state.

    Attributes
    ----------
    settings : MemberSettings
        The settings of each member.
    state : FleetState
        Everything that training changes.
    found : Found or None
        The state of early stopping after the last fit.
    kept : sequence of Kept
        The states of the other callbacks after the last fit.
    losses : (K,) float64 array or None
        Each member's last training loss: see `Course.last_losses`. None before the first fit.
    """

    settings: MemberSettings
    state: FleetState
    found: Found | None = None
    kept: Sequence[Kept] = ()
    losses: Array | None = None

    @classmethod
    def make(
        cls,
        spec: Spec,
        settings: MemberSettings,
        *,
        seeds: list[int],
        shuffle: Any = True,
        dtype: Any = None,
        backend: Any = "auto",
        n_threads: Any = None,
    ) -> FleetModel:
        """
        Check arguments of `Fleet`, and return a model whose parameters are 0.

        Raises
        ------
        TypeError, ValueError
        """
        shared = checked(shuffle, dtype, backend, n_threads)
        k, size, n_slots = len(settings.decays), spec.n_parameters, spec.n_slots
        started_as = shared["dtype"] or np.dtype(np.float64)
        state = FleetState(
            params=cast.zeros("members", (k, size), started_as),
            slots=cast.zeros("members", (k, n_slots, size), started_as),
            seeds=seeds,
            epochs=np.zeros(k, np.int64),
            updates=np.zeros(k, np.int64),
            keys=np.zeros(k, np.int64),
        )
        if spec.input_scale_rate is not None:
            spec.scaled(state.slots).s[...] = 1.0
        if settings.dropout.any():
            state.keys[:] = words(seeds, "dropout")[:, 0] >> np.uint64(1)
        return cls(
            spec=spec,
            **shared,
            settings=settings,
            state=state,
        )

    def __len__(self) -> int:
        """The number of members, K."""
        return len(self.state.params)

    def split(self) -> tuple[list[Array], list[Array]]:
        """Return views of each layer's weights, (K, n_in, n_out), and biases, (K, n_out)."""
        layers = list(zip(self.spec.shapes, self.spec.offsets, strict=True))
        params = self.state.params
        return (
            [params[:, w:b].reshape(-1, *shape) for shape, (w, b) in layers],
            [params[:, b : b + n_out] for (_, n_out), (_, b) in layers],
        )

    def begin(self, init: Any) -> None:
        """Draw the parameters, or copy the given ones, as `Fleet`'s argument ``init`` says."""
        self.init = name = initializers.named(init)
        if name is None:
            self.set_parameters(*init)
            return
        weights, biases = self.split()
        views, seeds = [*weights, *biases], self.state.seeds
        for first in range(0, len(self), MEMBERS_DRAWN):
            members = slice(first, first + MEMBERS_DRAWN)
            generators = map(generator, words(seeds[members], "init"))
            weights, biases = initializers.draw(name, self.spec.shapes, generators)
            for view, array in zip(views, [*weights, *biases], strict=True):
                view[members] = array

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

    def take(self, numbers: npt.NDArray[np.int64], state: FleetState) -> FleetModel:
        """Return a model of some members, with copies of their settings, and with their state."""
        found = None if self.found is None else self.found.take(numbers)
        settings = self.settings.take(numbers)
        losses = None if self.losses is None else self.losses[numbers]
        return as_copy(self, settings=settings, state=state, found=found, kept=(), losses=losses)
