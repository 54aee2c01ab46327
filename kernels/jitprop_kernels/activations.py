"""
Activation functions: the value and its derivative (the slope), side by side.

Each takes one number z and returns (a, slope), a = f(z) and slope = df/dz. Both come from the
same exponential, and stay accurate where the unit saturates: 1 - a would lose all digits there.
Only tanh in float32 gives that up, for speed. Three take a second number, of the type of z.
"""

from __future__ import annotations

from jitprop_kernels import codes
from jitprop_kernels._jit import jit
from jitprop_kernels._types import Array, Scalar
from jitprop_kernels.custom import call
from jitprop_kernels.elementary import (
    exp,
    exp_of_negative,
    exp_parts,
    expm1_of_negative,
    gaussian_parts,
    log1p_of_fraction,
)
from jitprop_kernels.simd import (
    fma,
    is_single,
    load_like,
    select,
    size_of,
    store,
    with_sign_of,
)

# lambda of SELU, and lambda alpha. As PyTorch and TensorFlow have them: alpha is
# 1.6732632423543772848170429916717.
SELU_SCALE, SELU_DEPTH = 1.0507009873554805, 1.7580993408473768


@jit()
def sigmoid(z: Scalar) -> tuple[Scalar, Scalar]:
    """a = 1 / (1 + exp(-z)), slope = a (1 - a). Errors below 2.5 and 4.5 ulp."""
    T = type(z)
    p, scale = exp_parts(-abs(z))
    e = fma(scale, p, scale)
    high = T(1.0) / fma(scale, p, T(1.0) + scale)  # does not wait for e
    return select(z >= T(0.0), T(1.0), e) * high, (e * high) * high


@jit()
def tanh_of_half(x: Scalar) -> tuple[Scalar, Scalar]:
    """P and q of tanh(x/2) = p / (2 + q), for a float32 x from 0 to 9.1: our own minimax fit."""
    T = type(x)
    u = x * x
    p = fma(x * u, fma(u, T(0.00011425296204404269), T(0.02977377465226547)), x)
    q2 = fma(u, T(2.4579486897207006e-06), T(0.0024130915316984223))
    q = u * fma(u, q2, T(0.22621414595828407))
    return p, q


@jit()
def tanh(z: Scalar) -> tuple[Scalar, Scalar]:
    """
    A = tanh(z), slope = 1 - a**2.

    In float64 errors are below 3 and 5 ulp, for units that saturate too. In float32 those of a are
    below 4.5 ulp, and below 2.1 for abs(z) >= 1. There the slope is computed as other
    libraries do, to 2e-7, and 0 where a rounds to 1. That takes two thirds of the time.
    """
    T = type(z)
    x = abs(z)
    if is_single(z):
        # With t = tanh(x/2) = p / r, tanh(x) = 2 t / (1 + t**2) = 2 p r / (2 p r + (r - p)**2).
        # This is never above 1, and is 1 where the square is too small to count, as it is at 9.1.
        # And an error of t hardly counts where t is close to 1.
        p, q = tanh_of_half(select(x > T(9.1), T(9.1), x))
        double, gap = p + p, T(2.0) - (p - q)
        n = fma(double, q, double + double)
        a = n / fma(gap, gap, n)
        return with_sign_of(z, a), fma(-a, a, T(1.0))
    else:
        p, scale = exp_parts(-(x + x))
        m = fma(scale, p, scale - T(1.0))  # exp(-2 abs(z)) - 1
        d = T(1.0) / fma(scale, p, scale + T(1.0))
        a, d = m * d, d + d
        return select(z >= T(0.0), -a, a), fma(scale, p, scale) * d * d


@jit()
def relu(z: Scalar) -> tuple[Scalar, Scalar]:
    """a = max(z, 0), slope = 1 where z > 0, else 0. nan stays nan."""
    T = type(z)
    return select(z < T(0.0), T(0.0), z), select(z > T(0.0), T(1.0), T(0.0))


@jit()
def leaky_relu(z: Scalar, below: Scalar) -> tuple[Scalar, Scalar]:
    """a = z where z > 0, else below z."""
    T = type(z)
    slope = select(z > T(0.0), T(1.0), below)
    return z * slope, slope


@jit()
def elu(z: Scalar, alpha: Scalar) -> tuple[Scalar, Scalar]:
    """
    a = z where z > 0, else alpha (exp(z) - 1); slope = 1 or alpha exp(z).

    Errors below 2 ulp.
    """
    T = type(z)
    x = select(z > T(0.0), T(0.0), z)
    a = select(z > T(0.0), z, alpha * expm1_of_negative(x))
    return a, select(z > T(0.0), T(1.0), alpha * exp_of_negative(x))


@jit()
def softplus(z: Scalar, beta: Scalar) -> tuple[Scalar, Scalar]:
    """
    a = log(1 + exp(beta z)) / beta = max(z, 0) + log(1 + exp(-beta abs(z))) / beta.

    The slope is sigmoid(beta z). Rounding beta z would cost as many ulp of e as beta z is large, so
    e gets back what it took. Errors below 3 ulp.
    """
    T = type(z)
    x = abs(z)
    t = -(beta * x)
    rounded = select(t < T(-1e4), T(0.0), fma(-beta, x, -t))  # infinities would make nan
    e = exp_of_negative(t)
    e = fma(e, rounded, e)
    high = T(1.0) / (T(1.0) + e)
    slope = select(z >= T(0.0), high, e * high)
    return fma(log1p_of_fraction(e), T(1.0) / beta, select(z < T(0.0), T(0.0), z)), slope


@jit()
def gelu_tanh(z: Scalar) -> tuple[Scalar, Scalar]:
    """
    The tanh form of `gelu`: a = z/2 (1 + tanh(v)), v = sqrt(2/pi) (z + 0.044715 z**3).

    Written z sigmoid(2 v), which is the same and keeps its digits for z << 0. Source: Hendrycks
    and Gimpel, *Gaussian Error Linear Units*, arXiv:1606.08415, section 2.
    """
    T = type(z)
    c = T(1.5957691216057308)  # 2 sqrt(2/pi)
    z2 = z * z
    s, s_slope = sigmoid(c * fma(T(0.044715) * z2, z, z))
    return z * s, fma(z * s_slope, c * fma(T(0.134145), z2, T(1.0)), s)


@jit()
def silu(z: Scalar) -> tuple[Scalar, Scalar]:
    """a = z sigmoid(z), slope = sigmoid(z) + z sigmoid'(z)."""
    s, s_slope = sigmoid(z)
    return z * s, fma(z, s_slope, s)


@jit()
def selu(z: Scalar) -> tuple[Scalar, Scalar]:
    """
    Scaled ELU: a = lambda z where z > 0, else lambda alpha (exp(z) - 1).

    Errors below 2.5 ulp. Source: Klambauer, Unterthiner, Mayr and Hochreiter, *Self-Normalizing
    Neural Networks*, arXiv:1706.02515, equation 2.
    """
    T = type(z)
    p, scale = exp_parts(select(z > T(0.0), T(0.0), z))
    below, slope = fma(scale, p, scale - T(1.0)), fma(scale, p, scale)
    a = select(z > T(0.0), T(SELU_SCALE) * z, T(SELU_DEPTH) * below)
    return a, select(z > T(0.0), T(SELU_SCALE), T(SELU_DEPTH) * slope)


@jit()
def mish(z: Scalar) -> tuple[Scalar, Scalar]:
    """
    a = z tanh(softplus(z)), slope = tanh(softplus(z)) + z tanh'(softplus(z)) sigmoid(z).

    With e = exp(-abs(z)), tanh(softplus(z)) = n / d, where n = 1 + 2 e and d = n + 2 e**2 for
    z >= 0, and n = e (2 + e) and d = n + 2 below. Errors of a are below 3.5 ulp, and so are those
    of the slope but for z from -3 to -0.5, where it changes its sign: there they are below one
    epsilon. Source: Misra, *Mish: A Self Regularized Non-Monotonic Activation Function*,
    arXiv:1908.08681, section 2.
    """
    T = type(z)
    z = select(z < T(-1e4), T(-1e4), z)  # infinity times 0 would be nan
    x = select(z > T(1e4), T(1e4), z)
    e = exp_of_negative(-abs(z))
    square, positive = e * e, z >= T(0.0)
    n = select(positive, fma(T(2.0), e, T(1.0)), fma(T(2.0), e, square))
    d = T(1.0) / (n + T(2.0) * select(positive, square, T(1.0)))
    t = n * d
    # The second term is 4 z e (1 + e) / d**2, times e for z >= 0.
    rest = select(positive, square, e) * (T(1.0) + e)
    return z * t, fma((T(4.0) * x) * d, rest * d, t)


@jit()
def softsign(z: Scalar) -> tuple[Scalar, Scalar]:
    """
    a = z / (1 + abs(z)), slope = 1 / (1 + abs(z))**2. Errors below 2 and 3.5 ulp.

    Source: Glorot and Bengio, *Understanding the Difficulty of Training Deep Feedforward Neural
    Networks*, AISTATS 2010, section 3.
    """
    T = type(z)
    x = abs(z)
    high = T(1.0) / (T(1.0) + x)
    # From 2**60 on it rounds to 1. The product would be nan for infinity.
    a = select(x > T(1152921504606846976.0), T(1.0), x * high)
    return with_sign_of(z, a), high * high


@jit()
def hard_sigmoid(z: Scalar) -> tuple[Scalar, Scalar]:
    """
    a = z/6 + 1/2, clipped to 0 ... 1; slope = 1/6 where -3 < z < 3, else 0.

    Written (z + 3) / 6, which keeps its digits near z = -3. Errors below 1.5 ulp. nan stays nan.
    """
    T = type(z)
    x = z + T(3.0)
    x = select(x < T(0.0), T(0.0), x)
    sixth = select(z < T(3.0), T(1.0 / 6.0), T(0.0))
    return select(x > T(6.0), T(6.0), x) / T(6.0), select(z > T(-3.0), sixth, T(0.0))


@jit()
def gelu(z: Scalar) -> tuple[Scalar, Scalar]:
    """
    a = z Phi(z), slope = Phi(z) + z phi(z), of the standard normal distribution.

    Phi(z) = (1 + erf(z / sqrt(2))) / 2. With x = abs(z), Phi(-x) = g exp(-x**2 / 2)
    keeps its digits for z << 0. Errors of a are below 7 ulp.
    Those of the slope are below 4.5 ulp, but for z from -2 to 0, where it changes its sign: there
    they are below 2.5 epsilon. Source: Hendrycks and Gimpel, *Gaussian Error Linear Units*,
    arXiv:1606.08415, section 2.
    """
    T = type(z)
    x = abs(z)
    x = select(x > T(40.0), T(40.0), x)  # there e is 0; infinity times 0 would be nan
    e, g = gaussian_parts(x)
    tail = g * e
    a = select(z < T(0.0), -x * tail, z * (T(1.0) - tail))
    below = e * fma(T(-0.3989422804014327), x, g)  # 1 / sqrt(2 pi)
    return a, select(z < T(0.0), below, T(1.0) - below)


@jit(apart=True)
def exponentials(memory: Array, z: int, out: int, size: int, sign: float) -> None:
    """exp(sign z) of the numbers ``memory[z:z + size]`` into ``memory[out:]``; sign is 1 or -1."""
    for i in range(size):
        memory[out + i] = exp(type(memory[0])(sign) * memory[z + i])


@jit()
def exponential(memory: Array, z: int, slopes: int, size: int) -> None:
    """a = exp(z), and so is the slope, as `activate`."""
    exponentials(memory, z, slopes, size, 1.0)
    for i in range(size):
        memory[z + i] = memory[slopes + i]


@jit(apart=True)
def activate_apart(code: int, memory: Array, z: int, slopes: int, size: int) -> None:
    """
    As `activate`, with the activations that do not stand in `activate_by` itself.

    That one is compiled for each width of vectors and for each place that calls it.
    """
    if code == codes.SELU:
        for i in range(size):
            memory[z + i], memory[slopes + i] = selu(memory[z + i])
    elif code == codes.MISH:
        for i in range(size):
            memory[z + i], memory[slopes + i] = mish(memory[z + i])
    elif code == codes.GELU:
        for i in range(size):
            memory[z + i], memory[slopes + i] = gelu(memory[z + i])
    elif code == codes.HARD_SIGMOID:
        for i in range(size):
            memory[z + i], memory[slopes + i] = hard_sigmoid(memory[z + i])
    else:
        for i in range(size):
            memory[z + i], memory[slopes + i] = softsign(memory[z + i])


@jit()
def activate_by(
    like: Scalar, code: int, number: float, memory: Array, z: int, slopes: int, size: int
) -> None:
    """
    Replace z by f(z) in ``memory[z:z + size]`` and write the slopes to ``memory[slopes:]``.

    By vectors as wide as ``like``, of whose lanes size is a multiple. One branch a call. ``number``
    is the activation's, see `Plan`.
    """
    n, given = size_of(like), type(like)(number)
    if code == codes.SIGMOID:
        for i in range(0, size, n):
            value, slope = sigmoid(load_like(like, memory, z + i))
            store(memory, z + i, value)
            store(memory, slopes + i, slope)
    elif code == codes.TANH:
        for i in range(0, size, n):
            value, slope = tanh(load_like(like, memory, z + i))
            store(memory, z + i, value)
            store(memory, slopes + i, slope)
    elif code == codes.RELU:
        for i in range(0, size, n):
            value, slope = relu(load_like(like, memory, z + i))
            store(memory, z + i, value)
            store(memory, slopes + i, slope)
    elif code == codes.LEAKY_RELU:
        for i in range(0, size, n):
            value, slope = leaky_relu(load_like(like, memory, z + i), given)
            store(memory, z + i, value)
            store(memory, slopes + i, slope)
    elif code == codes.ELU:
        for i in range(0, size, n):
            value, slope = elu(load_like(like, memory, z + i), given)
            store(memory, z + i, value)
            store(memory, slopes + i, slope)
    elif code == codes.SOFTPLUS:
        for i in range(0, size, n):
            value, slope = softplus(load_like(like, memory, z + i), given)
            store(memory, z + i, value)
            store(memory, slopes + i, slope)
    elif code == codes.GELU_TANH:
        for i in range(0, size, n):
            value, slope = gelu_tanh(load_like(like, memory, z + i))
            store(memory, z + i, value)
            store(memory, slopes + i, slope)
    elif code == codes.SILU:
        for i in range(0, size, n):
            value, slope = silu(load_like(like, memory, z + i))
            store(memory, z + i, value)
            store(memory, slopes + i, slope)
    elif code < codes.EXP:
        activate_apart(code, memory, z, slopes, size)
    elif code == codes.EXP:
        exponential(memory, z, slopes, size)
    elif code <= codes.SOFTMAX:
        for i in range(0, size, n):
            store(memory, slopes + i, type(like)(1.0))
    else:
        call(code, memory, z, z, z, slopes, size)


@jit()
def activate(code: int, number: float, memory: Array, z: int, slopes: int, size: int) -> None:
    """`activate_by` single numbers, in loops of which LLVM makes vectors."""
    activate_by(type(memory[0])(0.0), code, number, memory, z, slopes, size)
