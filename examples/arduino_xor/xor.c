/* A 2-4-1 net of tanh sigmoid layers, written by jitprop. */

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif
/* From 2 inputs x to 1 outputs y. */
void xor_predict(const float x[], float y[]);
/* One update, from 2 inputs x and 1 targets y. Returns the loss that they had before the
   update. If that is infinite or nan, nothing changes. */
float xor_train(const float x[], const float y[], float rate);
/* Copy the 17 numbers that training changes: the parameters. */
void xor_save(float to[]);
void xor_load(const float from[]);
#ifdef __cplusplus
}
#endif

#if defined(__FAST_MATH__) || FLT_MANT_DIG != 24 || (FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16)
#error "floats must have 24 bits, no -ffast-math; on x86 -msse2 -mfpmath=sse"
#endif

/* RAM: 4 P + 8 U = 108 bytes, for P = 17 parameters and U = 5 units.
   Flash: 4 P = 68 bytes for the first parameters, and the code. */
static float xor_p[17] = {
    3.9806908e-01f, -6.51329e-01f, 2.9023707e-01f, -3.5959524e-01f, -8.0627775e-01f, 6.251566e-01f,
    -6.980009e-01f, 6.887124e-01f, 0.0e+00f, 0.0e+00f, 0.0e+00f, 0.0e+00f,
    -6.1314844e-02f, -3.4761757e-01f, -3.8372153e-01f, -8.6896783e-01f, 0.0e+00f
};
static float xor_a[5]; /* what each unit puts out */
static float xor_d[5]; /* its slope, then its delta */

/* x y + z, rounded once: by an instruction, by a library that is known to do so, or by integers. */
#if defined(__FP_FAST_FMAF) || defined(__FMA__) || defined(__ARM_FEATURE_FMA)
#define xor_fma __builtin_fmaf
#elif defined(__GLIBC__)
#define xor_fma fmaf
#else
typedef struct {
    uint32_t high, low;
} xor_wide;

/* abs(x) is the result times 2^e, and 2^23 <= result; 0 for 0. If x < 0, negative is turned. */
static uint32_t xor_parts(float x, int *e, int *negative)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof x);
    *negative ^= (int)(bits >> 24) >> 7;
    *e = (int)(bits << 1 >> 24) - 150; /* an 8-bit processor shifts by 8, 16 and 24 at once */
    bits &= 0x7FFFFF;
    if (*e > -150)
        return bits | 0x800000;
    *e = -149;
    for (; bits && bits < 0x800000; --*e)
        bits <<= 1;
    return bits;
}

/* Shifted right; the last bit says whether any bit that was lost was 1. */
static xor_wide xor_moved(xor_wide x, int n)
{
    uint32_t lost = 0;
    for (; n > 7 && (x.high | x.low); n -= 8) {
        lost |= x.low << 24;
        x.low = x.low >> 8 | x.high << 24;
        x.high >>= 8;
    }
    for (; n > 0 && (x.high | x.low); n--) {
        lost |= x.low << 31;
        x.low = x.low >> 1 | x.high << 31;
        x.high >>= 1;
    }
    x.low |= (uint32_t)(lost != 0);
    return x;
}

static xor_wide xor_less(xor_wide x, xor_wide y)
{
    x.high -= y.high + (uint32_t)(x.low < y.low);
    x.low -= y.low;
    return x;
}

static float xor_fma(float x, float y, float z)
{
    int e, ey, ez, negative = 0, of_z = 0;
    uint32_t mx = xor_parts(x, &e, &negative), my = xor_parts(y, &ey, &negative);
    uint32_t mz = xor_parts(z, &ez, &of_z), found;
    uint64_t xy;
    xor_wide product, sum;
    if (mx == 0 || my == 0 || e == 105 || ey == 105)
        return x * y + z; /* of 0, infinity or nan */
    if (ez == 105)
        return z;
    if (mz == 0)
        return x * y;
    /* Product and z as 64 bits: 2^61 <= m < 2^63. */
    xy = (uint64_t)(mx << 8) * (my << 8 >> 1);
    product.high = (uint32_t)(xy >> 32);
    product.low = (uint32_t)xy;
    sum.high = mz << 8 >> 1;
    sum.low = 0;
    e += ey - 15;
    ez -= 39;
    if (e > ez) {
        sum = xor_moved(sum, e - ez);
    } else {
        product = xor_moved(product, ez - e);
        e = ez;
    }
    if (negative == of_z) {
        sum.low += product.low;
        sum.high += product.high + (uint32_t)(sum.low < product.low);
    } else if (product.high > sum.high
               || (product.high == sum.high && product.low >= sum.low)) {
        sum = xor_less(product, sum);
    } else {
        sum = xor_less(sum, product);
        negative = !negative;
    }
    if (sum.high == 0 && sum.low == 0)
        return 0.0f;
    for (; !(sum.high >> 24); e -= 8) {
        sum.high = sum.high << 8 | sum.low >> 24;
        sum.low <<= 8;
    }
    for (; !(sum.high >> 31); e--) {
        sum.high = sum.high << 1 | sum.low >> 31;
        sum.low <<= 1;
    }
    /* To 24 bits, or fewer if it is below the normal numbers; a half goes to the even one. */
    if (e < -189) {
        sum = xor_moved(sum, -189 - e);
        e = -189;
    }
    found = sum.high >> 8;
    found += (uint32_t)((sum.high & 128) && (((sum.high & 127) | sum.low) || (found & 1)));
    if (e > 64)
        found = 0x7F800000U;
    else if (found >= 0x800000)
        found += (uint32_t)(e + 189) << 24 >> 1;
    found = found > 0x7F800000U ? 0x7F800000U : found;
    memcpy(&x, &found, sizeof x);
    return negative ? -x : x;
}
#endif

/* x y, rounded: no compiler joins it to a sum that it goes into. */
static float xor_times(float x, float y)
{
#ifdef xor_fma
    return xor_fma(x, y, -0.0f);
#else
    return x * y; /* there is no instruction that would do both */
#endif
}

static float xor_tanh_of(float z, float *slope)
{
    float x = fabsf(z), u, p, q, gap, n, a;
    x = x > 9.1f ? 9.1f : x;
    u = x * x;
    p = xor_fma(x * u, xor_fma(u, 0.00011425296204404269f, 0.02977377465226547f), x);
    q = xor_fma(u, 2.4579486897207006e-06f, 0.0024130915316984223f);
    q = xor_times(u, xor_fma(u, q, 0.22621414595828407f));
    gap = 2.0f - (p - q);
    n = xor_fma(p + p, q, p + p + (p + p));
    a = n / xor_fma(gap, gap, n);
    *slope = xor_fma(-a, a, 1.0f);
    return copysignf(a, z);
}

static void xor_all_tanh(float *a, float *slopes, int n)
{
    int i;
    for (i = 0; i < n; i++)
        a[i] = xor_tanh_of(a[i], slopes + i);
}

/* For x <= 0, with x = k ln 2 + r: p = e^r - 1 and the scale 2^k, which is 0 if it is too small. */
static float xor_exp_parts(float x, float *scale)
{
    float t, k, r, r2, q01, q23, q;
    uint32_t bits;
    x = x < -88.0f ? -88.0f : x;
    t = xor_fma(x, 1.4426950408889634f, 12582912.0f);
    k = t - 12582912.0f;
    r = xor_fma(-k, -2.12194440e-4f, xor_fma(-k, 0.693359375f, x));
    r2 = r * r;
    q01 = xor_fma(r, 0.16666520631709496887f, 0.49999993447796486827f);
    q23 = xor_fma(r, 0.0083687168797281399469f, 0.041668388045313996659f);
    q = xor_fma(r2, xor_fma(r2, 0.0013814598646664034453f, q23), q01);
    memcpy(&bits, &t, sizeof t);
    bits = (bits << 23) + 0x3F800000U;
    memcpy(scale, &bits, sizeof bits);
    return xor_fma(r2, q, r);
}

static float xor_sigmoid_of(float z, float *slope)
{
    float scale, p = xor_exp_parts(-fabsf(z), &scale);
    float e = xor_fma(scale, p, scale);
    float high = 1.0f / xor_fma(scale, p, 1.0f + scale);
    *slope = e * high * high;
    return xor_times(z >= 0.0f ? 1.0f : e, high);
}

static void xor_all_sigmoid(float *a, float *slopes, int n)
{
    int i;
    for (i = 0; i < n; i++)
        a[i] = xor_sigmoid_of(a[i], slopes + i);
}

/* z = b + W x. In p stand the weights of the first input to all units, those of the second, and so
   on; and then b. */
static void xor_layer(const float *x, int n_in, const float *p, float *z, int n_out)
{
    int i, j;
    for (j = 0; j < n_out; j++) {
        float b = p[n_in * n_out + j], sum = b;
        for (i = 0; i < n_in; i++)
            sum = xor_fma(p[i * n_out + j], x[i], sum);
        z[j] = sum;
    }
}

static void xor_forward(const float *x)
{
    xor_layer(x, 2, xor_p + 0, xor_a + 0, 4);
    xor_all_tanh(xor_a + 0, xor_d + 0, 4);
    xor_layer(xor_a + 0, 4, xor_p + 12, xor_a + 4, 1);
    xor_all_sigmoid(xor_a + 4, xor_d + 4, 1);
}

/* The loss of one sample; and the deltas of the outputs, in place of their slopes. */
static float xor_loss(const float *y, float share)
{
    float *a = xor_a + 4, *d = xor_d + 4, loss = 0.0f;
    int i;
    for (i = 0; i < 1; i++) {
        float t = y[i], e;
        float r = a[i] - t;
        e = xor_times(0.5f * r, r);
        d[i] = share * d[i] * r;
        loss += e;
    }
    return loss;
}

/* From the deltas d of a layer to those of the layer before, which take the place of its slopes. */
static void xor_back(const float *d, int n_out, const float *p, float *slopes, int n_in)
{
    int i, j;
    for (i = 0; i < n_in; i++) {
        float sum = 0.0f;
        for (j = 0; j < n_out; j++)
            sum = xor_fma(*p++, d[j], sum);
        slopes[i] *= sum;
    }
}

/* Forward and back, to the delta of each unit. Returns the loss. */
static float xor_pass(const float *x, const float *y, float share)
{
    float loss;
    xor_forward(x);
    loss = xor_loss(y, share);
    xor_back(xor_d + 4, 1, xor_p + 12, xor_d + 0, 4);
    return loss;
}

/* Updates the parameter p, whose gradient is g. */
static void xor_update(float *p, float g, float rate)
{
    *p = xor_fma(-rate, g, *p);
}

/* Updates a layer, from its inputs x and its deltas d. */
static void xor_step(const float *x, int n_in, const float *d, int n_out, float *p, float rate)
{
    int i, j;
    for (i = 0; i < n_in; i++)
        for (j = 0; j < n_out; j++)
            xor_update(p++, x[i] * d[j], rate);
    for (j = 0; j < n_out; j++)
        xor_update(p++, d[j], rate);
}

void xor_predict(const float x[], float y[])
{
    int i;
    xor_forward(x);
    for (i = 0; i < 1; i++)
        y[i] = xor_a[4 + i];
}

float xor_train(const float x[], const float y[], float rate)
{
    float loss = xor_pass(x, y, 1.0f);
    if (!(loss - loss == 0.0f))
        return loss;
    xor_step(x, 2, xor_d + 0, 4, xor_p + 0, rate);
    xor_step(xor_a + 0, 4, xor_d + 4, 1, xor_p + 12, rate);
    return loss;
}

void xor_save(float to[])
{
    int i;
    for (i = 0; i < 17; i++)
        to[i] = xor_p[i];
}

void xor_load(const float from[])
{
    int i;
    for (i = 0; i < 17; i++)
        xor_p[i] = from[i];
}
