"""
The entry of scaled conjugate gradients and of L-BFGS.

They are one entry, because nearly all of its machine code is that of the gradient.
"""

from __future__ import annotations

from jitprop_kernels import codes
from jitprop_kernels._jit import jit
from jitprop_kernels._types import Route
from jitprop_kernels.plan import Plan
from jitprop_kernels.records import Descent, Seat
from jitprop_kernels.second_order import conjugate, quasi_newton
from jitprop_kernels.second_order.objective import dismiss, help_on
from jitprop_kernels.sizes import RUNNING


@jit()
def train_by_gradients(
    plan: Plan, route: Route, work: Descent, seat: Seat, start: int, stop: int
) -> int:
    """
    Train epochs from ``start`` to ``stop`` by the plan's optimizer, one step each.

    ``work.system`` has the `sizes.DESCENT_NUMBERS` of `objective`, and those of the method behind;
    ``work.gradients`` has the `sizes.DESCENT_VECTORS`, and one more of each thread if there are
    several. Several threads may run it, as `network.gradient`.

    Returns
    -------
    int
        The first epoch that was not done. It is less than ``stop`` if the method has ended, which
        ``slots`` shows; if the first loss is not finite; or if threads were asked to leave.
    """
    seat.gate[RUNNING] = 1
    if seat.rank != 0:
        help_on(plan, route, work, seat)
        return start
    if plan.optimizer == codes.CONJUGATE:
        reached = conjugate.descend(plan, route, work, seat, start, stop)
    else:
        reached = quasi_newton.descend(plan, route, work, seat, start, stop)
    dismiss(work, seat)
    return reached
