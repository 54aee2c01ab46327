"""
The second-order methods in plain NumPy, written to be read beside a textbook.

The training loss of n samples and K outputs is written with residuals r and rows R, one of each for
every sample i and output k, so that::

    g = R.T @ r              is the gradient of the loss,
    H = R.T @ R              is its Gauss-Newton matrix, or the generalised one.

With the share s of a sample (1/n for the reduction "mean" without weights, w / sum w with weights,
and 1 or w for "sum"), the error e = a - y of an output and the derivatives dz of its z with respect
to all parameters, a row is::

    half_squared_error      R = sqrt(s) f'(z) dz               r = sqrt(s) e
    squared_error           R = sqrt(2 s) f'(z) dz             r = sqrt(2 s) e
    huber                   R = sqrt(s c) f'(z) dz             r = sqrt(s c) e
                            with c = 1 where abs(e) <= delta, else delta / abs(e)
    binary_cross_entropy    R = sqrt(s h) dz                   r = sqrt(s / h) e,  h = a (1 - a)
    poisson                 R = sqrt(s h) dz                   r = sqrt(s / h) e,  h = a
    cross_entropy           R = sqrt(s p_k) (dz_k - sum_j p_j dz_j)
                                                               r = sqrt(s / p_k) (p_k - y_k)

For cross_entropy the K rows of a sample give diag(p) - p p.T, the exact second derivative of the
loss by z. The Huber loss is replaced by the parabola that touches it and lies above it.

Sources: Hagan and Menhaj, *Training Feedforward Networks with the Marquardt Algorithm*, IEEE
Transactions on Neural Networks 5, 1994. Schraudolph, *Fast Curvature Matrix-Vector Products for
Second-Order Gradient Descent*, Neural Computation 14, 2002. Holland and Welsch, *Robust Regression
Using Iteratively Reweighted Least-Squares*, Communications in Statistics 6, 1977.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from jitprop import functions, reference_descent
from jitprop._types import Array
from jitprop.data.samples import Arrays, Steps
from jitprop.net.descent import LBFGS, ScaledConjugateGradient
from jitprop.net.losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    HalfSquaredError,
    Huber,
    Poisson,
    SquaredError,
)
from jitprop.net.second_order import (
    BY_GRADIENT,
    BY_STEP,
    BY_TOLERANCE,
    LEAST_DAMPING,
    LEAST_SCALE,
    MOST_SCALE,
    NOT_ENDED,
    BayesianRegularization,
    Damped,
    LevenbergMarquardt,
)
from jitprop.net.spec import Spec
from jitprop.reference_net import (
    SMALLEST,
    backward,
    forward,
    output,
    output_delta,
    summed,
    targets,
    without_weightless,
)

ENDED, DAMPING, SCALES, ALPHA, BETA, CHANGE = range(6)
"""Rows of the slots: the first number of each is kept from epoch to epoch; of the scales, all."""


class Problem(NamedTuple):
    """
    What is minimised: the loss of all samples and the weight decay.

    Attributes
    ----------
    spec : Spec
    samples : tuple
        X, y, and weights or None.
    shares : (n,) float64 array
        The factor of each sample's loss.
    decays : (P,) float64 array
        The weight decay of each parameter: 0 for biases, unless the spec has ``decay_biases``.
    """

    spec: Spec
    samples: Arrays
    shares: Array
    decays: Array

    @classmethod
    def of(cls, spec: Spec, samples: Arrays) -> Problem:
        """Return the problem of these samples. Those of weight 0 are left out of all sums."""
        X, y, weights = samples
        w = np.ones(len(X)) if weights is None else weights.astype(np.float64)
        total = w.sum() if spec.reduction == "mean" else 1.0
        decays = spec.decays()
        shares = w / (total if total >= SMALLEST else 1.0)
        return cls(spec, (without_weightless(X, weights), y, weights), shares, decays)

    def loss(self, params: Array) -> float:
        """Return the loss of the data, summed over the samples."""
        spec, (X, y, weights) = self.spec, self.samples
        _, _, z = forward(spec, *spec.split(params), X)
        return summed(output_delta(spec, z, targets(spec, y, z.dtype))[1], weights)

    def objective(self, params: Array, loss: float) -> float:
        """Return the reduced loss plus 1/2 sum d W**2."""
        penalty = 0.5 * np.sum(self.decays * params.astype(np.float64) ** 2)
        return loss / divisor(self) + float(penalty)

    def rows(self, params: Array) -> tuple[Array, Array]:
        """
        Return R and r, float64, of the shapes (n K, P) and (n K,), output by output.

        The passes are those of the net's dtype.
        """
        spec, (X, y, _) = self.spec, self.samples
        weights, biases = spec.split(params)
        a, slopes, z = forward(spec, weights, biases, X)
        seeds, factors, r = self._outputs(z, targets(spec, y, z.dtype))
        R = np.empty((*r.shape, spec.n_parameters))
        for k in range(len(r)):
            deltas = backward(weights, slopes, seeds[k])
            for l, (w, b) in enumerate(spec.offsets):  # dz/dW = a delta, dz/db = delta
                inputs, delta = a[l].astype(np.float64), deltas[l].astype(np.float64)
                dW = inputs[:, :, np.newaxis] * delta[:, np.newaxis, :]
                R[k, :, w:b] = dW.reshape(len(X), -1)
                R[k, :, b : b + delta.shape[1]] = delta
            R[k] *= factors[k][:, np.newaxis]
        counted = np.tile(self.shares > 0, len(r))
        R, r = R.reshape(-1, spec.n_parameters), r.reshape(-1)
        return np.where(counted[:, np.newaxis], R, 0), np.where(counted, r, 0)

    def _outputs(self, z: Array, y: Array) -> tuple[Array, Array, Array]:
        """
        Return for each output k the delta that is passed back, its factor, and the residual.

        The shapes are (K, n, K), (K, n) and (K, n).
        """
        spec, K = self.spec, z.shape[1]
        a, slope = output(spec, z)
        if isinstance(spec.loss, Poisson):
            a = functions.exp(z)[0]
        e, s = (a - y).astype(np.float64).T, self.shares
        units = np.eye(K, dtype=z.dtype)[:, np.newaxis, :]
        match spec.loss:
            case CrossEntropy():
                h = floored(a.astype(np.float64).T)
                return units - a, np.sqrt(s * h), np.sqrt(s) / np.sqrt(h) * e
            case BinaryCrossEntropy() | Poisson():
                # The slope of a sigmoid is a (1 - a), and that of exp is a.
                h = floored((slope if isinstance(spec.loss, BinaryCrossEntropy) else a).T)
                seeds = np.broadcast_to(units, (K, *z.shape))
                return seeds, np.sqrt(s * h), np.sqrt(s) / np.sqrt(h) * e
            case Huber(delta=delta):
                scale = np.sqrt(s * np.where(np.abs(e) <= delta, 1, delta / floored(np.abs(e))))
            case SquaredError():
                scale = np.broadcast_to(np.sqrt(2 * s), e.shape)
            case _:
                scale = np.broadcast_to(np.sqrt(s), e.shape)
        return units * slope, scale, scale * e


def floored(h: Array) -> Array:
    """Return h in float64, at least the smallest normal number: it is divided by."""
    return np.maximum(h.astype(np.float64), SMALLEST)


def solve(matrix: Array, right: Array) -> Array | None:
    """Return the solution by Cholesky's factor; None if the matrix is not positive definite."""
    try:
        L = np.linalg.cholesky(matrix)
        solution: Array = np.linalg.solve(L.T, np.linalg.solve(L, right))
    except np.linalg.LinAlgError:
        return None
    return solution if np.isfinite(solution).all() else None


def damped_step(R: Array, r: Array, W: Array, decays: Array, damped: Array) -> Array | None:
    """
    Solve (R.T R + D) step = -(R.T r + d W) for D = diag(damped + d); None without a solution.

    With more parameters than rows it is solved by u = R step + r, which is as long as r:

        (I + R D**-1 R.T) u = r - R D**-1 (d W),    step = -D**-1 (d W + R.T u).
    """
    D, dW = damped + decays, decays * W
    if len(r) >= len(W):
        step = solve(R.T @ R + np.diag(D), R.T @ r + dW)
        return None if step is None else -step
    u = solve(np.eye(len(r)) + (R / D) @ R.T, r - R @ (dW / D))
    return None if u is None else -(dW + R.T @ u) / D


def next_damping(method: Damped, damping: float, gain: float) -> float:
    """
    Return the damping of the next epoch: see `LevenbergMarquardt`.

    ``gain`` is the fall of the objective by the one that the equations predicted.
    """
    factor = min(max(method.decrease, 1 - (2 * gain - 1) ** 3), 2.0)
    return min(max(damping * factor, LEAST_DAMPING), method.max_damping)


class Step(NamedTuple):
    """
    A step that lowers the objective.

    Attributes
    ----------
    params : (P,) array
        The parameters after it.
    loss, objective : float
        The summed loss and the objective after it.
    damping, next_damping : float
        The damping that it took, and that of the next epoch.
    rejected : int
        How many steps were tried before in vain.
    """

    params: Array
    loss: float
    objective: float
    damping: float
    next_damping: float
    rejected: int


def find_step(
    method: Damped, problem: Problem, params: Array, R: Array, r: Array, slots: Array
) -> Step | None:
    """
    Try steps with a growing damping until one lowers the objective; None if there is none.

    The slots have the first damping and the scales.
    """
    W, growth, rejected = params.astype(np.float64), method.increase, 0
    damping = float(slots[DAMPING, 0])
    scales = np.maximum(slots[SCALES].astype(np.float64), method.min_scale)
    before = problem.objective(params, problem.loss(params))
    gradient = R.T @ r + problem.decays * W
    # What float32 keeps of the largest damping is not too large.
    most = max(method.max_damping, float(slots.dtype.type(method.max_damping)))
    while damping <= most:
        step = damped_step(R, r, W, problem.decays, damping * scales)
        if step is not None:
            trial = (W + step).astype(params.dtype)
            loss = problem.loss(trial)
            objective = problem.objective(trial, loss)
            if objective < before:
                taken = trial.astype(np.float64) - W
                predicted = 0.5 * float(taken @ (damping * scales * taken - gradient))
                following = next_damping(method, damping, (before - objective) / predicted)
                return Step(trial, loss, objective, damping, following, rejected)
        damping, growth, rejected = damping * growth, 2 * growth, rejected + 1
    return None


def raise_scales(slots: Array, R: Array) -> None:
    """Raise the scales, in the slots, to the largest numbers of the diagonal of R.T R so far."""
    diagonal = np.minimum(np.sum(R**2, axis=0), MOST_SCALE)
    np.maximum(slots[SCALES], diagonal, out=slots[SCALES], casting="same_kind")


def train(spec: Spec, params: Array, slots: Array, steps: Steps) -> int:
    """
    Train epochs ``steps.start`` to ``steps.stop - 1``, one accepted step each.

    A method that has ended in an earlier call begins anew. Parameters change only with an accepted
    step.

    Returns
    -------
    int
        The first epoch that was not done. It is less than ``steps.stop`` if the method has ended,
        which ``slots[0, 0]`` shows, or if the loss was inf or nan before the first step.
    """
    if isinstance(spec.optimizer, ScaledConjugateGradient | LBFGS):
        return reference_descent.train(spec, params, slots, steps)
    if slots[ENDED, 0] != NOT_ENDED:
        slots[: SCALES + 1] = 0  # alpha and beta stay
    problem = Problem.of(spec, (steps.X, steps.y, steps.weights))
    loss = problem.loss(params)
    if not np.isfinite(loss):
        return steps.start
    if isinstance(spec.optimizer, BayesianRegularization):
        return bayesian_regularization(spec.optimizer, problem, params, slots, steps, loss)
    assert isinstance(spec.optimizer, LevenbergMarquardt)
    return levenberg_marquardt(spec.optimizer, problem, params, slots, steps, loss)


def levenberg_marquardt(
    method: LevenbergMarquardt,
    problem: Problem,
    params: Array,
    slots: Array,
    steps: Steps,
    loss: float,
) -> int:
    """
    Train by the Levenberg-Marquardt method: see its class for the equations.

    ``loss`` is the summed loss of ``params``.
    """
    if slots[DAMPING, 0] == 0:
        slots[DAMPING, 0] = method.damping
    objective = problem.objective(params, loss)
    for epoch in range(steps.start, steps.stop):
        R, r = problem.rows(params)
        raise_scales(slots, R)
        gradient_norm = float(np.abs(R.T @ r + problem.decays * params.astype(np.float64)).max())
        if gradient_norm <= method.min_gradient:
            slots[ENDED, 0] = BY_GRADIENT
            return epoch
        step = find_step(method, problem, params, R, r, slots)
        if step is None:
            slots[ENDED, 0] = BY_STEP
            return epoch
        params[:] = step.params
        slots[DAMPING, 0] = step.next_damping
        steps.losses[epoch] = step.loss
        if steps.told is not None:
            steps.told[epoch] = step.damping, gradient_norm, step.rejected
        before, objective = objective, step.objective
        if before - objective < method.tolerance * before:
            slots[ENDED, 0] = BY_TOLERANCE
            return epoch + 1
    return steps.stop


def bayesian_regularization(
    method: BayesianRegularization,
    problem: Problem,
    params: Array,
    slots: Array,
    steps: Steps,
    loss: float,
) -> int:
    """
    Train by Bayesian regularization: see its class for the equations.

    The equations of a step are in units of the reduced loss, which is q E_D. So H = q J.T v J, the
    decay of each parameter is d = q alpha / beta, and A = (beta / q) (H + d I). With the
    eigenvalues h of H, gamma is the sum of h / (h + d).
    """
    N, factor = counted(problem)
    q, P = factor / divisor(problem), len(params)
    E_D, E_W = loss / factor, half_square(params)
    if slots[DAMPING, 0] == 0:
        slots[DAMPING, 0] = method.damping
    if slots[ALPHA, 0] == 0 or slots[BETA, 0] == 0:
        slots[ALPHA, 0] = within(0.01 * P / (2 * E_W) if E_W > 0 else 0.01)
        slots[BETA, 0] = within(N / (2 * E_D) if E_D > 0 else MOST_SCALE)
        slots[CHANGE, 0] = 1
    settled = np.sqrt(method.tolerance)
    R, r = problem.rows(params)
    for epoch in range(steps.start, steps.stop):
        alpha, beta = float(slots[ALPHA, 0]), float(slots[BETA, 0])
        d = q * alpha / beta
        problem = problem._replace(decays=np.full(P, d))
        raise_scales(slots, R)
        gradient_norm = float(np.abs(R.T @ r + d * params.astype(np.float64)).max())
        if gradient_norm <= method.min_gradient and slots[CHANGE, 0] <= settled:
            slots[ENDED, 0] = BY_GRADIENT
            return epoch
        before = problem.objective(params, factor * E_D)
        step = find_step(method, problem, params, R, r, slots)
        if step is None:
            slots[ENDED, 0] = BY_STEP
            return epoch
        params[:] = step.params
        E_D, E_W = step.loss / factor, half_square(params)
        R, r = problem.rows(params)
        h = np.maximum(np.linalg.eigvalsh(R.T @ R), 0)
        gamma = min(max(float(np.sum(h / (h + d))), 1e-10), P, (1 - 1e-10) * N)
        log_det_A = P * np.log(beta / q) + float(np.sum(np.log(h + d)))
        evidence = -alpha * E_W - beta * E_D - log_det_A / 2
        evidence += P / 2 * np.log(alpha) + N / 2 * np.log(beta) - N / 2 * np.log(2 * np.pi)
        slots[ALPHA, 0] = within(gamma / (2 * E_W) if E_W > 0 else MOST_SCALE)
        slots[BETA, 0] = within((N - gamma) / (2 * E_D) if E_D > 0 else MOST_SCALE)
        new = q * float(slots[ALPHA, 0]) / float(slots[BETA, 0])
        slots[CHANGE, 0] = abs(new - d) / max(new, d)
        slots[DAMPING, 0] = step.next_damping
        steps.losses[epoch] = step.loss
        if steps.told is not None:
            told = step.damping, gradient_norm, step.rejected, gamma, evidence, alpha, beta
            steps.told[epoch] = told
        if before - step.objective < method.tolerance * before and slots[CHANGE, 0] <= settled:
            slots[ENDED, 0] = BY_TOLERANCE
            return epoch + 1
    return steps.stop


def divisor(problem: Problem) -> float:
    """Return what the summed loss is divided by for the reduced one."""
    made = problem.spec.divisor(len(problem.samples[0]), problem.samples[2])
    return made if made >= SMALLEST else 1.0


def counted(problem: Problem) -> tuple[float, float]:
    """
    Return N, the number of values to be predicted, and how many E_D the summed loss is.

    Samples of weight 0 do not count. E_D has the weights divided by the mean of the others.
    """
    spec, (X, _, weights) = problem.spec, problem.samples
    n, mean = len(X), 1.0
    if weights is not None:
        n = max(1, int(np.count_nonzero(weights)))
        total = float(weights.sum(dtype=np.float64))
        mean = total / n if total >= SMALLEST else 1.0
    return float(n * spec.layer_sizes[-1]), mean * (2 if isinstance(spec.loss, SquaredError) else 1)


def half_square(params: Array) -> float:
    """Return E_W = 1/2 sum W**2 over all parameters."""
    return float(np.sum(params.astype(np.float64) ** 2)) / 2


def within(x: float) -> float:
    """Return alpha or beta, moved into the range that both are kept in."""
    return min(max(x, LEAST_SCALE), MOST_SCALE)


def root_of_inverse(
    spec: Spec, params: Array, samples: Arrays, decays: Array, n_threads: int | None
) -> Array | None:
    """
    Return S, an upper triangle, (P, P), with S S.T = (R.T R + decays)**-1.

    Where the matrix is singular but for rounding, a small number is added to its diagonal: 1e-15
    of the largest one there, and ten times that until there is an inverse. None if none is found.
    """
    del n_threads
    R, _ = Problem.of(spec, samples).rows(params)
    matrix = R.T @ R + np.diag(decays)
    added, largest = 0.0, float(np.diag(matrix).max())
    for _ in range(40):
        try:
            L = np.linalg.cholesky(matrix + added * np.eye(len(params)))
        except np.linalg.LinAlgError:
            added = 1e-15 * largest if added == 0 else 10 * added
            continue
        return np.triu(np.linalg.inv(L).T)
    return None


def variances(spec: Spec, params: Array, X: Array, root: Array, n_threads: int | None) -> Array:
    """
    Return g.T S S.T g of each output, (n, K): its variance if S S.T is that of the parameters.

    g are the derivatives of the output by all parameters, and ``root`` is S.
    """
    del n_threads
    spec, K = replace(spec, loss=HalfSquaredError()), spec.layer_sizes[-1]
    out = np.empty((len(X), K))
    for i in range(0, len(X), 256):
        x = X[i : i + 256]
        n = len(x)
        samples = x, np.zeros((n, K), X.dtype), None
        G, _ = Problem(spec, samples, np.ones(n), np.zeros(len(params))).rows(params)
        out[i : i + 256] = np.sum((G @ root) ** 2, axis=1).reshape(K, n).T
    return out
