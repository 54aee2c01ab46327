"""
Activations and losses in C for exported nets that train, with the bits of the kernels.

Templates, see `c_arithmetic`. An activation returns its value for z, and writes the slope, which is
its derivative. A loss makes deltas of slopes: see ``jitprop_kernels.losses``.
"""

from __future__ import annotations

TANH = {
    "float32": """\
static float NAME_tanh_of(float z, float *slope)
{
    float x = fabsf(z), u, p, q, gap, n, a;
    x = x > 9.1f ? 9.1f : x;
    u = x * x;
    p = NAME_fma(x * u, NAME_fma(u, 0.00011425296204404269f, 0.02977377465226547f), x);
    q = NAME_fma(u, 2.4579486897207006e-06f, 0.0024130915316984223f);
    q = NAME_times(u, NAME_fma(u, q, 0.22621414595828407f));
    gap = 2.0f - (p - q);
    n = NAME_fma(p + p, q, p + p + (p + p));
    a = n / NAME_fma(gap, gap, n);
    *slope = NAME_fma(-a, a, 1.0f);
    return copysignf(a, z);
}
""",
    "float64": """\
static double NAME_tanh_of(double z, double *slope)
{
    double x = fabs(z), scale, p = NAME_exp_parts(-(x + x), &scale), d, a;
    d = 1.0 / NAME_fma(scale, p, scale + 1.0);
    a = NAME_times(NAME_fma(scale, p, scale - 1.0), d);
    d = d + d;
    *slope = NAME_fma(scale, p, scale) * d * d;
    return z >= 0.0 ? -a : a;
}
""",
}

# By name of the function: the value for z, returned, and the slope. k is the activation's number.
ACTIVATIONS = {
    "sigmoid_of": """\
static float NAME_sigmoid_of(float z, float *slope)
{
    float scale, p = NAME_exp_parts(-fabsf(z), &scale);
    float e = NAME_fma(scale, p, scale);
    float high = 1.0f / NAME_fma(scale, p, 1.0f + scale);
    *slope = e * high * high;
    return NAME_times(z >= 0.0f ? 1.0f : e, high);
}
""",
    "relu_of": """\
static float NAME_relu_of(float z, float *slope)
{
    *slope = z > 0.0f ? 1.0f : 0.0f;
    return z < 0.0f ? 0.0f : z;
}
""",
    "leaky_relu_of": """\
static float NAME_leaky_relu_of(float z, float k, float *slope)
{
    *slope = z > 0.0f ? 1.0f : k;
    return NAME_times(z, *slope);
}
""",
    "elu_of": """\
static float NAME_elu_of(float z, float k, float *slope)
{
    float scale, p = NAME_exp_parts(z > 0.0f ? 0.0f : z, &scale);
    *slope = z > 0.0f ? 1.0f : k * NAME_fma(scale, p, scale);
    return z > 0.0f ? z : NAME_times(k, NAME_fma(scale, p, scale - 1.0f));
}
""",
    "softplus_of": """\
static float NAME_softplus_of(float z, float k, float *slope)
{
    float x = fabsf(z), t = -NAME_times(k, x), e = NAME_exp_of_negative(t), high;
    e = NAME_fma(e, t < -1e4f ? 0.0f : NAME_fma(-k, x, -t), e);
    high = 1.0f / (1.0f + e);
    *slope = z >= 0.0f ? high : e * high;
    return NAME_fma(NAME_log1p(e), 1.0f / k, z < 0.0f ? 0.0f : z);
}
""",
    "gelu_tanh_of": """\
static float NAME_gelu_tanh_of(float z, float *slope)
{
    float z2 = z * z, s_slope, s, inner;
    inner = NAME_fma(0.044715f * z2, z, z);
    s = NAME_sigmoid_of(1.5957691216057308f * inner, &s_slope);
    inner = 1.5957691216057308f * NAME_fma(0.134145f, z2, 1.0f);
    *slope = NAME_fma(z * s_slope, inner, s);
    return NAME_times(z, s);
}
""",
    "silu_of": """\
static float NAME_silu_of(float z, float *slope)
{
    float s_slope, s = NAME_sigmoid_of(z, &s_slope);
    *slope = NAME_fma(z, s_slope, s);
    return NAME_times(z, s);
}
""",
    "selu_of": """\
static float NAME_selu_of(float z, float *slope)
{
    float scale, p = NAME_exp_parts(z > 0.0f ? 0.0f : z, &scale);
    float below = NAME_fma(scale, p, scale - 1.0f);
    *slope = z > 0.0f ? 1.0507009873554805f : 1.7580993408473768f * NAME_fma(scale, p, scale);
    return z > 0.0f ? NAME_times(1.0507009873554805f, z) : NAME_times(1.7580993408473768f, below);
}
""",
    "mish_of": """\
static float NAME_mish_of(float z, float *slope)
{
    float x, e, square, n, d, t, rest;
    z = z < -1e4f ? -1e4f : z;
    x = z > 1e4f ? 1e4f : z;
    e = NAME_exp_of_negative(-fabsf(z));
    square = NAME_times(e, e);
    n = z >= 0.0f ? NAME_fma(2.0f, e, 1.0f) : NAME_fma(2.0f, e, square);
    d = 1.0f / (n + 2.0f * (z >= 0.0f ? square : 1.0f));
    t = n * d;
    rest = (z >= 0.0f ? square : e) * (1.0f + e);
    *slope = NAME_fma(4.0f * x * d, rest * d, t);
    return NAME_times(z, t);
}
""",
    "softsign_of": """\
static float NAME_softsign_of(float z, float *slope)
{
    float x = fabsf(z), high = 1.0f / (1.0f + x);
    *slope = high * high;
    return copysignf(x > 1152921504606846976.0f ? 1.0f : NAME_times(x, high), z);
}
""",
    "hard_sigmoid_of": """\
static float NAME_hard_sigmoid_of(float z, float *slope)
{
    float x = z + 3.0f;
    *slope = z > -3.0f && z < 3.0f ? 0.16666666666666666f : 0.0f;
    return (x < 0.0f ? 0.0f : x > 6.0f ? 6.0f : x) / 6.0f;
}
""",
    "gelu_of": """\
static float NAME_gelu_of(float z, float *slope)
{
    float x = fabsf(z), e, g, tail, below;
    x = x > 40.0f ? 40.0f : x;
    g = NAME_gaussian_parts(x, &e);
    tail = NAME_times(g, e);
    below = NAME_times(e, NAME_fma(-0.3989422804014327f, x, g));
    *slope = z < 0.0f ? below : 1.0f - below;
    return z < 0.0f ? NAME_times(-x, tail) : NAME_times(z, 1.0f - tail);
}
""",
    "exp_of": """\
static float NAME_exp_of(float z, float *slope)
{
    return *slope = NAME_exp(z);
}
""",
    "identity_of": """\
static float NAME_identity_of(float z, float *slope)
{
    *slope = 1.0f;
    return z;
}
""",
}

# By loss: from a and slope, or from z, to the delta d of each output; t is its target, e its loss.
LOSSES = {
    "half_squared_error": """\
        float r = a[i] - t;
        e = NAME_times(0.5f * r, r);
        d[i] = share * d[i] * r;""",
    "squared_error": """\
        float r = a[i] - t;
        e = NAME_times(r, r);
        d[i] = share * 2.0f * d[i] * r;""",
    "piecewise": """\
        float r = a[i] - t, g = r > EDGE ? ABOVE : -r > EDGE ? -BELOW : r;
        e = NAME_times(g, r - CORNER * g);
        d[i] = share * g * d[i];""",
    "binary_cross_entropy": """\
        float z = a[i];
        a[i] = NAME_sigmoid_of(z, d + i);
        e = NAME_fma(-t, z, z < 0.0f ? 0.0f : z) + NAME_log1p(NAME_exp_of_negative(-fabsf(z)));
        d[i] = share * (a[i] - t);""",
    "poisson": """\
        float z = a[i];
        a[i] = NAME_exp(z);
        e = NAME_fma(-t, z, a[i]);
        d[i] = share * (a[i] - t);""",
}

LOSS = """\
/* The loss of one sample; and the deltas of the outputs, in place of their slopes. */
static float NAME_loss(const float *y, float share)
{
    float *a = NAME_a + AT_OUTPUT, *d = NAME_d + AT_OUTPUT, loss = 0.0f;
    int i;
    for (i = 0; i < N_OUT; i++) {
        float t = WANTED, e;
BODY
        loss += e;
    }
    return loss;
}
"""

CROSS_ENTROPY = """\
/* The loss of one sample; and the deltas of the outputs, in place of their slopes. */
static float NAME_loss(const float *y, float share)
{
    float *a = NAME_a + AT_OUTPUT, *d = NAME_d + AT_OUTPUT;
    float largest = a[0], sum = 0.0f, loss = 0.0f, log_sum;
    int i;
    for (i = 0; i < N_OUT; i++)
        largest = a[i] > largest ? a[i] : largest;
    for (i = 0; i < N_OUT; i++) {
        a[i] -= largest;
        d[i] = NAME_exp_of_negative(a[i]);
        sum += d[i];
    }
    log_sum = NAME_log(sum);
    sum = 1.0f / sum;
    for (i = 0; i < N_OUT; i++) {
        float t = WANTED;
        loss += t != 0.0f ? NAME_times(t, log_sum - a[i]) : 0.0f;
        d[i] = share * (NAME_times(d[i], sum) - t);
    }
    return loss;
}
"""

GAUSSIAN = """\
/* The loss of one sample; and the deltas of the outputs, in place of their slopes. */
static float NAME_loss(const float *y, float share)
{
    float *a = NAME_a + AT_OUTPUT, *d = NAME_d + AT_OUTPUT, loss = 0.0f;
    int i;
    for (i = 0; i < N_TARGETS; i++) {
        float r = a[i] - y[i], s = a[i + N_TARGETS], precision = NAME_exp(-s);
        float square = r * r * precision;
        loss += NAME_times(0.5f, square);
        loss += NAME_times(0.5f, s);
        d[i] = share * (r * precision);
        d[i + N_TARGETS] = share * NAME_fma(-0.5f, square, 0.5f);
    }
    return loss;
}
"""

SOFTMAX = """\
static void NAME_all_softmax(float *a, float *e, int n)
{
    float largest = a[0], sum = 0.0f;
    int i;
    for (i = 0; i < n; i++)
        largest = a[i] > largest ? a[i] : largest;
    for (i = 0; i < n; i++) {
        e[i] = NAME_exp_of_negative(a[i] - largest);
        sum += e[i];
    }
    sum = 1.0f / sum;
    for (i = 0; i < n; i++)
        a[i] = e[i] * sum;
}
"""
