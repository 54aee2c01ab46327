"""
Nets that are prepared for a number of samples, and kept for the next call.

The model of a trainer owns them. A call takes one and gives it back, so two threads never use the
same one. Preparing takes 0.1 ms, which is 20 times as long as a prediction of one sample.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

MOST = 4
"""So many nets are kept at most; the one that was not used for longest goes first."""

KEPT_BYTES = 1 << 20
"""A net with more scratch memory is not kept: its work takes far longer than to prepare it."""


class Nets:
    """
    The nets that a model keeps. Those of a fleet's model are its engines.

    They depend on the settings and the dtype of the model, but not on its parameters or learning
    rate. Copies and pickles of the model begin without them. A net with functions of the user's own
    is not given back: such a function may read a variable that has changed by the next call.
    """

    def __init__(self) -> None:
        self._nets: dict[Hashable, Any] = {}

    def take(self, key: Hashable) -> Any:
        """Return the net that was given back under this key; None if there is none."""
        return self._nets.pop(key, None)

    def give_back(self, key: Hashable, net: Any, n_bytes: int) -> None:
        """Keep a net for the next call, unless it is large."""
        if n_bytes <= KEPT_BYTES:
            self._nets[key] = net
            while len(self._nets) > MOST:
                # Another thread may have taken the oldest one meanwhile.
                self._nets.pop(next(iter(self._nets.copy()), None), None)

    def __reduce__(self) -> tuple[type[Nets], tuple[()]]:
        return Nets, ()
