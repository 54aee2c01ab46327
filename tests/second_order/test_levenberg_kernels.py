"""Levenberg-Marquardt's kernels: the factor, every route, and the same bits by any threads."""

from __future__ import annotations

import numpy as np
import pytest

from jitprop import Trainer
from jitprop.backends import descent, threads
from jitprop_kernels.local import entry
from jitprop_kernels.records import Seat
from jitprop_kernels.second_order import cholesky, normal
from jitprop_kernels.second_order.cholesky import Equations
from jitprop_kernels.second_order.jacobian import Rows
from jitprop_kernels.sizes import GATE_SIZE
from jitprop_kernels.target import INTERPRETED


@entry
def solve(system, n, row, pivots, solution, gate):
    at, seat = Equations(n, row, 0, pivots, solution), Seat(0, 1, gate)
    cholesky.to_upper(system, at, seat)
    found = cholesky.factor(system, at, seat)
    if found == cholesky.FACTORED:
        cholesky.substitute_back(system, at)
    return found


def solved(A, b):
    """Return what the kernel says, x, and the lower triangle of A behind it."""
    n, row = len(b), -(-(len(b) + 1) // 4) * 4
    system = np.zeros(row * row + 3 * row)
    matrix = system[: row * row].reshape(row, row)
    matrix[:n, :n] = np.tril(A)
    matrix[:n, n] = b
    solution = row * row + 2 * row
    found = solve(system, n, row, row * row, solution, np.zeros(GATE_SIZE, np.int64))
    return found, system[solution : solution + n], np.tril(matrix[:n, :n], -1)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 31, 32, 33, 64, 65, 100, 200])
def test_equations_are_solved(n):
    rng = np.random.default_rng(n)
    R, b = rng.normal(size=(n + 3, n)), rng.normal(size=n)
    A = R.T @ R + 0.1 * np.eye(n)
    found, x, lower = solved(A, b)
    assert found == cholesky.FACTORED
    np.testing.assert_allclose(A @ x, b, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(lower, np.tril(A, -1))


@pytest.mark.parametrize("bad", [0, 40, 69])
def test_a_matrix_that_is_not_definite_is_told(bad):
    rng = np.random.default_rng(0)
    R = rng.normal(size=(80, 70))
    A = R.T @ R
    A[bad, bad] -= 1e4
    assert solved(A, np.ones(70))[0] == cholesky.NOT_DEFINITE
    A[bad, bad] = np.nan
    assert solved(A, np.ones(70))[0] == cholesky.NOT_DEFINITE


def test_a_singular_matrix_is_told():
    R = np.ones((5, 3))
    assert solved(R.T @ R, np.ones(3))[0] == cholesky.NOT_DEFINITE


@entry
def add_products(array, n, width, system, row, rank, ranks, gate):
    normal.add_products(Rows(array, 0, n, width, width), system, row, Seat(rank, ranks, gate))


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("n", range(1, 25))
def test_products_are_added_once_to_each_place(n, ranks, rng):
    width, row = 12, -(-(n + 1) // 4) * 4
    R, before = rng.integers(-9, 9, (row, width)).astype(float), rng.integers(-9, 9, (row, row))
    H = before.astype(float)
    for rank in range(ranks):
        gate = np.zeros(GATE_SIZE, np.int64)
        add_products(R.reshape(-1), n, width, H.reshape(-1), row, rank, ranks, gate)
    expected = np.einsum("is,js->ij", R, R) + before
    read = np.tril(np.ones((n + 1, n + 1), bool))
    read[n, n] = False
    np.testing.assert_array_equal(H[: n + 1, : n + 1][read], expected[: n + 1, : n + 1][read])


def trained(sizes, n, dtype, n_threads, epochs=3, **settings):
    rng = np.random.default_rng(1)
    X = rng.uniform(-1, 1, (n, sizes[0])).astype(dtype)
    y = np.sin(3 * X[:, :1] + np.arange(sizes[-1])).astype(dtype)
    trainer = Trainer(
        sizes, activation="tanh", output_activation="identity", optimizer="lm", seed=0,
        dtype=dtype, backend="numba", n_threads=n_threads, **settings,
    )  # fmt: skip
    return trainer, trainer.fit(X, y, epochs)


CASES = {
    "lanes": ([2, 6, 1], 900),
    "lanes, outputs": ([3, 5, 3], 700),
    "blocks": ([8, 30, 2], 500),
    "blocks, deep": ([4, 20, 20, 1], 700),
    "dual": ([8, 60, 2], 100),
    "dual, lanes": ([3, 10, 8, 1], 40),
}


@pytest.mark.skipif(INTERPRETED, reason="interpreted kernels have one thread")
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("case", CASES)
def test_threads_give_the_same_bits(case, dtype, monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 2)
    one, history = trained(*CASES[case], dtype, 1, weight_decay=1e-5)
    two, other = trained(*CASES[case], dtype, 2, weight_decay=1e-5)
    np.testing.assert_array_equal(two.parameters, one.parameters)
    for name in ("damping", "gradient_norm", "rejected_steps"):
        np.testing.assert_array_equal(other.metrics[name], history.metrics[name])


def test_the_cases_are_what_they_are_called():
    for case, (sizes, n) in CASES.items():
        trainer, _ = trained(sizes, n, np.float64, 1, epochs=1)
        net = descent.prepare(trainer._model.spec, n, np.dtype(np.float64), 1, 1)
        assert net.method.before[0].dual == ("dual" in case), case
        assert (len(net.route) == 0) == ("lanes" in case), case
        assert ("dual" in case) or len(net.parts) > 1, case


@pytest.mark.parametrize(("sizes", "n"), [([2, 40, 1], 500), ([2, 100, 1], 60)])
def test_memory_is_the_matrix_and_a_block(sizes, n):
    """8 P**2 bytes for the matrix; for the dual system 8 (N**2 + 2 N P), N rows."""
    trainer, _ = trained(sizes, 10, np.float64, 1, epochs=1)
    spec, P = trainer._model.spec, trainer.parameters.size
    net = descent.prepare(spec, n, np.dtype(np.float64), 1, 1)
    N = n if n < P else P
    most = N**2 + (2 * N * P if n < P else 0) + 40 * (N + P)
    assert N**2 <= net.method.system.size <= most
    assert net.method.rows.size * 8 <= descent.ROWS_BYTES + 40 * (P + 4) * 8
