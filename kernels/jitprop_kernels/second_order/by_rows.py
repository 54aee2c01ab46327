"""
The entry of Levenberg-Marquardt and of Bayesian regularization, and of what a fit ends with.

They are one entry, because nearly all of its machine code forms and solves the same equations.
"""

from __future__ import annotations

from jitprop_kernels import codes
from jitprop_kernels._jit import jit
from jitprop_kernels._types import Array, Route
from jitprop_kernels.plan import Plan
from jitprop_kernels.records import Descent, Places, Seat
from jitprop_kernels.second_order.bayesian import train_bayesian
from jitprop_kernels.second_order.inverse import root_of_inverse
from jitprop_kernels.second_order.levenberg import train_levenberg


@jit()
def train_by_rows(
    plan: Plan,
    route: Route,
    work: Descent,
    places: Places,
    out: Array,
    seat: Seat,
    start: int,
    stop: int,
) -> int:
    """
    Train epochs from ``start`` to ``stop`` by the plan's optimizer, one accepted step each.

    If ``out`` is not empty, train nothing: see `inverse.root_of_inverse`.

    Returns
    -------
    int
        The first epoch that was not done: see `levenberg.train_levenberg`.
    """
    if out.size > 0:
        return root_of_inverse(plan, route, work, places, out, seat)
    if plan.optimizer == codes.BAYESIAN:
        return train_bayesian(plan, route, work, places, seat, start, stop)
    return train_levenberg(plan, route, work, places, seat, start, stop)
