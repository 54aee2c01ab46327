"""The variances of a net's outputs, from those of its parameters."""

from __future__ import annotations

from jitprop_kernels._jit import jit
from jitprop_kernels._types import Array, Route
from jitprop_kernels.blocks import multiply
from jitprop_kernels.elementary import smaller
from jitprop_kernels.meeting import asked
from jitprop_kernels.network import pack_weights
from jitprop_kernels.plan import N_OUT, Plan
from jitprop_kernels.records import Descent, Matrix, Product, Seat
from jitprop_kernels.second_order.cholesky import PANEL
from jitprop_kernels.second_order.jacobian import (
    Rows,
    pass_forward,
    put_roots,
    put_rows,
    width_of,
)
from jitprop_kernels.second_order.passes import (
    load_tile,
    n_samples_of,
    n_tiles_of,
    stays,
    summed_loss,
)
from jitprop_kernels.simd import fma


@jit()
def variances(
    plan: Plan, route: Route, work: Descent, turned: int, root: Array, out: Array, seat: Seat
) -> int:
    """
    Write g^T C g of each sample's outputs to ``out``, (n_samples * n_outputs,).

    g are an output's derivatives by all parameters, and C = S S^T is the covariance of the
    parameters. ``root`` is S, (P * P,), an upper triangle. The plan's loss is half the squared
    error, so that rows of R are the derivatives. ``rows`` has room for R and for S^T R of a tile,
    of each thread.
    """
    P, K, memory = work.params.size, plan.layers[len(plan.layers) - 1, N_OUT], work.memory
    T, rows = type(memory[0]), work.rows
    stride = width_of(memory, smaller(plan.batch_size, n_samples_of(plan, work)))
    at = seat.rank * (2 * P + 1) * stride
    to = at + (P + 1) * stride
    pack_weights(plan, route, work.params, memory, True)
    if stays(plan, work, seat):
        load_tile(plan, route, work, 0, 1.0)
        summed_loss(plan, route, work, work.params, seat, 1.0)
        pack_weights(plan, route, work.params, memory, True)
    for tile in range(seat.rank, n_tiles_of(plan, work), seat.ranks):
        if asked(seat.gate):
            return 0
        part, outputs = pass_forward(plan, route, work, tile, 1.0, seat)
        width, first = width_of(memory, part.size), tile * plan.batch_size
        for k in range(K):
            mine = Rows(rows, at, P, width, stride)
            put_roots(plan, memory, outputs, k, T(1.0), mine)
            put_rows(plan, route, work, part, mine, turned)
            for i in range(0, P, PANEL):
                height = smaller(PANEL, P - i)
                target = Matrix(rows, to + i * stride, stride, 1)
                multiply(
                    Product(
                        height=height,
                        width=width,
                        depth=i + height,
                        A=Matrix(root, i, 1, P),
                        B=Matrix(rows, at, stride, 1),
                        C=target,
                        D=target,
                        alpha=1.0,
                        beta=0.0,
                        times=False,
                        rows_outside=True,
                    )
                )
            for i in range(part.size):
                total = 0.0
                for q in range(to + i, to + i + P * stride, stride):
                    total = fma(rows[q], rows[q], total)
                out[(first + i) * K + k] = total
    return 1
