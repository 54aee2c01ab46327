"""The calls of a fleet of tiny nets on few samples: a kernel's time, and little more."""

from __future__ import annotations

from typing import Any

import numpy as np

import jitprop_kernels as kernels
from jitprop._types import Array
from jitprop.backends.brief import BRIEF
from jitprop.fleet.data import Data, Part
from jitprop.fleet.lanes import Call, Lanes, from_lanes, samples_of, settings_of, to_lanes
from jitprop.fleet.settings import MemberSettings
from jitprop.fleet.state import FleetState
from jitprop.net.losses import CrossEntropy
from jitprop.net.spec import Spec


class Brief:
    """
    Calls on the same number of samples, which all members share, without weights.

    Samples are copied to arrays of this object, so the record of each kernel is written once. A
    method returns None where it cannot do what is asked, and then nothing has changed. The usual
    way then does it, or says what is wrong.

    Parameters
    ----------
    spec : Spec
    n_samples : int
    settings : MemberSettings
    state : FleetState
    bounds : (float, float)
        The least and the greatest target that need no word.

    Attributes
    ----------
    is_batch : bool
        Whether the samples are one batch. Otherwise `train` must not be called.
    """

    def __init__(
        self,
        spec: Spec,
        n_samples: int,
        settings: MemberSettings,
        state: FleetState,
        bounds: tuple[float, float],
    ) -> None:
        self.dtype = dtype = state.params.dtype
        self._engine = Lanes(spec, len(state.params), 1)
        self._members = members = state.members(settings)._replace(updates=state.updates.copy())
        self._low, self._high = bounds
        k, n_out = len(members.numbers), spec.layer_sizes[-1]
        self._X = np.zeros((n_samples, spec.layer_sizes[0]), dtype)
        self._y = np.zeros((n_samples, spec.n_targets), dtype)
        self._targets: dict[tuple[int, ...], Array] = {self._y.shape: self._y}
        if spec.n_targets == 1:
            self._targets[n_samples,] = self._y[:, 0]
        self._out = np.zeros((k, n_samples, n_out), dtype)
        self._losses, self._faults, self._rates = np.zeros((1, k)), np.zeros(k), np.zeros(k)
        self._divisor = spec.divisor(n_samples, None)
        data = Data(Part(self._X, False), Part(self._y, False), None)
        self._samples, self._settings = samples_of(data, members.numbers), settings_of(members)
        self._calls: dict[str, tuple[Call, kernels.Bound]] = {}
        self.key = self._X.shape
        self.is_batch = spec.batch(n_samples) == n_samples

    def size(self) -> int:
        """Return the bytes of memory that this object holds."""
        return self._engine.size() + 2 * self._out.nbytes + self._X.nbytes + self._y.nbytes

    def serves(self, state: FleetState) -> bool:
        """Return whether it was made for members of this dtype, which the first fit decides."""
        return bool(self.dtype == state.params.dtype)

    def prepare(self, name: str) -> None:
        """Bind the entry with this name, which may have to be compiled."""
        if name not in self._calls:
            self._calls[name] = self._bound(name)

    def load(self, state: FleetState, name: str) -> None:
        """Copy the members to the memory of the entry with this name."""
        call, _ = self._calls[name]
        to_lanes(state.params[:, None], call.params, call.v)
        if name == "train":
            to_lanes(state.slots, call.slots, call.v)
            self._members.updates[:] = state.updates

    def predict(self, X: Array) -> Array | None:
        """Return the outputs of the members that were loaded, (K, n_samples, n_outputs)."""
        if not self._takes(X):
            return None
        self._run("predict")
        return self._out.copy()

    def evaluate(self, X: Array, y: Any) -> Array | None:
        """Return the loss of each member that was loaded, (K,)."""
        if not self._takes(X) or not self._takes_targets(y):
            return None
        self._run("evaluate")
        losses: Array = self._losses[0] / self._divisor
        return losses

    def train(self, X: Array, y: Any, rates: Array) -> Array | None:
        """Train copies of the members for one update. Return their losses, (1, K)."""
        if not self._takes(X) or not self._takes_targets(y):
            return None
        self._rates[:] = rates
        call = self._run("train")
        whole = all(np.isfinite(array).all() for array in (self._faults, call.params, call.slots))
        return self._losses.copy() if whole else None

    def commit(self, state: FleetState) -> None:
        """Write the trained members to the fleet's own arrays."""
        call, _ = self._calls["train"]
        from_lanes(call.params, state.params[:, None], call.v)
        from_lanes(call.slots, state.slots, call.v)
        state.epochs += 1
        state.updates += 1

    def _bound(self, name: str) -> tuple[Call, kernels.Bound]:
        n = len(self._X)
        y = None if name == "predict" else Part(self._y, False)
        call = self._engine.call(name, self._members, n, y)
        given = self._samples, self._settings
        if name == "predict":
            arrays = call.params, *given, self._out.reshape(-1)
            return call, call.bind(kernels.predict_members, arrays)
        if name == "evaluate":
            arrays = call.params, *given, self._losses[0]
            return call, call.bind(kernels.evaluate_members, arrays)
        work = kernels.FleetWork(
            params=call.params,
            slots=call.slots,
            samples=self._samples,
            settings=self._settings,
            losses=self._losses[0],
            divisors=np.full(len(self._rates), float(self._divisor)),
            faults=self._faults,
            rates=self._rates,
            rate_step=0,
            later_params=call.params[:0],
            later_slots=call.slots[:0],
        )
        return call, call.bind(kernels.train_members, (work,))

    def _run(self, name: str) -> Call:
        call, bound = self._calls[name]
        try:
            bound()
        finally:
            call.gate[:] = 0
        return call

    def _takes(self, X: Array) -> bool:
        """Copy the inputs. Their shape was looked at."""
        if X.dtype != self.dtype:
            return False
        self._X[...] = X
        return bool(np.isfinite(self._X).all())

    def _takes_targets(self, y: Any) -> bool:
        if type(y) is not np.ndarray or not (y.dtype == self.dtype or y.dtype.kind in "biu"):
            return False
        target = self._targets.get(y.shape)
        if target is None:
            return False
        target[...] = y
        if not np.isfinite(target).all():
            return False
        return bool(self._low <= target.min() and target.max() <= self._high)


def brief(
    spec: Spec,
    n_samples: int,
    settings: MemberSettings,
    state: FleetState,
    bounds: tuple[float, float],
) -> Brief | None:
    """Return a `Brief`; None where the work is too long for one, or y may hold labels."""
    if 3 * n_samples * state.params.size > BRIEF:
        return None
    if isinstance(spec.loss, CrossEntropy) or spec.custom_functions:
        return None
    return Brief(spec, n_samples, settings, state, bounds)
