"""
Arithmetic in C for exported nets that train: fma, exp and log, with the bits of the kernels.

The texts are templates, see `c99.filled`: ``NAME`` is the prefix of names, and ``float`` becomes
``double`` for float64. What differs otherwise stands here by dtype. The polynomials are those of
``jitprop_kernels.elementary``, whose comments say where they come from.

A compiler may turn a product and a sum into one operation with one rounding, which gives other
digits. Each product that goes into a sum is therefore written with NAME_fma, which rounds once, or
with NAME_times, whose product no compiler joins to the sum. The fma of small C libraries cannot be
trusted: those of newlib 3.3 and avr-libc 2.0 round twice.
"""

from __future__ import annotations

# What a machine must have: sums and products in the net's own type, rounded as IEEE 754 says.
DEMANDS = {
    "float32": """\
#if defined(__FAST_MATH__) || FLT_MANT_DIG != 24 || (FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16)
#error "floats must have 24 bits, no -ffast-math; on x86 -msse2 -mfpmath=sse"
#endif
""",
    "float64": """\
#if defined(__FAST_MATH__) || DBL_MANT_DIG != 53 || FLT_EVAL_METHOD < 0 || FLT_EVAL_METHOD == 2
#error "doubles must have 53 bits (not on an AVR), no -ffast-math; on x86 -msse2 -mfpmath=sse"
#endif
""",
}

FMA = {
    "float32": """\
/* x y + z, rounded once: by an instruction, by a library that is known to do so, or by integers. */
#if defined(__FP_FAST_FMAF) || defined(__FMA__) || defined(__ARM_FEATURE_FMA)
#define NAME_fma __builtin_fmaf
#elif defined(__GLIBC__)
#define NAME_fma fmaf
#else
typedef struct {
    uint32_t high, low;
} NAME_wide;

/* abs(x) is the result times 2^e, and 2^23 <= result; 0 for 0. If x < 0, negative is turned. */
static uint32_t NAME_parts(float x, int *e, int *negative)
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
static NAME_wide NAME_moved(NAME_wide x, int n)
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

static NAME_wide NAME_less(NAME_wide x, NAME_wide y)
{
    x.high -= y.high + (uint32_t)(x.low < y.low);
    x.low -= y.low;
    return x;
}

static float NAME_fma(float x, float y, float z)
{
    int e, ey, ez, negative = 0, of_z = 0;
    uint32_t mx = NAME_parts(x, &e, &negative), my = NAME_parts(y, &ey, &negative);
    uint32_t mz = NAME_parts(z, &ez, &of_z), found;
    uint64_t xy;
    NAME_wide product, sum;
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
        sum = NAME_moved(sum, e - ez);
    } else {
        product = NAME_moved(product, ez - e);
        e = ez;
    }
    if (negative == of_z) {
        sum.low += product.low;
        sum.high += product.high + (uint32_t)(sum.low < product.low);
    } else if (product.high > sum.high
               || (product.high == sum.high && product.low >= sum.low)) {
        sum = NAME_less(product, sum);
    } else {
        sum = NAME_less(sum, product);
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
        sum = NAME_moved(sum, -189 - e);
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
""",
    "float64": """\
/* x y + z, rounded once: by an instruction, by a library that is known to do so, or by integers. */
#if defined(__FP_FAST_FMA) || defined(__FMA__) || defined(__aarch64__)
#define NAME_fma __builtin_fma
#elif defined(__GLIBC__)
#define NAME_fma fma
#else
typedef struct {
    uint64_t high, low;
} NAME_wide;

static NAME_wide NAME_moved(NAME_wide x, int n)
{
    /* Shifted right; the last bit says whether any bit that was lost was 1. */
    uint64_t lost = 0;
    if (n > 127) {
        lost = x.high | x.low;
        x.high = x.low = 0;
    } else if (n > 63) {
        lost = x.low | (n > 64 ? x.high << (128 - n) : 0);
        x.low = x.high >> (n - 64);
        x.high = 0;
    } else if (n > 0) {
        lost = x.low << (64 - n);
        x.low = x.low >> n | x.high << (64 - n);
        x.high >>= n;
    }
    x.low |= (uint64_t)(lost != 0);
    return x;
}

static NAME_wide NAME_less(NAME_wide x, NAME_wide y)
{
    x.high -= y.high + (uint64_t)(x.low < y.low);
    x.low -= y.low;
    return x;
}

static NAME_wide NAME_product(uint64_t x, uint64_t y)
{
    uint64_t x0 = x & 0xFFFFFFFFU, x1 = x >> 32, y0 = y & 0xFFFFFFFFU, y1 = y >> 32;
    uint64_t low = x0 * y0, one = x1 * y0 + (low >> 32), other = x0 * y1 + (one & 0xFFFFFFFFU);
    NAME_wide product;
    product.high = x1 * y1 + (one >> 32) + (other >> 32);
    product.low = other << 32 | (low & 0xFFFFFFFFU);
    return product;
}

static double NAME_fma(double x, double y, double z)
{
    const uint64_t top = (uint64_t)1 << 63, hidden = (uint64_t)1 << 52;
    uint64_t bits[3], m[3], sign, found;
    NAME_wide product, sum;
    int e[3], i, shift;
    double value;
    memcpy(bits, &x, sizeof x);
    memcpy(bits + 1, &y, sizeof y);
    memcpy(bits + 2, &z, sizeof z);
    for (i = 0; i < 3; i++) {
        /* The number is m 2^e, and 2^52 <= m < 2^53. */
        e[i] = (int)(bits[i] >> 52 & 2047);
        m[i] = bits[i] & (hidden - 1);
        if (i < 2 && (e[i] == 2047 || (e[i] == 0 && m[i] == 0)))
            return x * y + z; /* of infinity, nan or 0 */
        if (e[i] == 2047)
            return z;
        if (e[i] == 0 && m[i] == 0)
            return x * y;
        m[i] |= e[i] ? hidden : 0;
        for (e[i] = e[i] ? e[i] - 1075 : -1074; m[i] < hidden; e[i]--)
            m[i] <<= 1;
    }
    /* Product and z as 128 bits: 2^125 <= m < 2^127. */
    product = NAME_product(m[0] << 10, m[1] << 11);
    e[0] += e[1] - 21;
    sum.high = m[2] << 10;
    sum.low = 0;
    e[2] -= 74;
    shift = e[0] - e[2];
    if (shift > 0)
        sum = NAME_moved(sum, shift);
    else
        product = NAME_moved(product, -shift);
    e[0] = shift > 0 ? e[0] : e[2];
    sign = (bits[0] ^ bits[1]) & top;
    if (sign == (bits[2] & top)) {
        sum.low += product.low;
        sum.high += product.high + (uint64_t)(sum.low < product.low);
    } else if (product.high > sum.high
               || (product.high == sum.high && product.low >= sum.low)) {
        sum = NAME_less(product, sum);
    } else {
        sum = NAME_less(sum, product);
        sign ^= top;
    }
    if (sum.high == 0 && sum.low == 0)
        return 0.0;
    for (; !(sum.high >> 63); e[0]--) {
        sum.high = sum.high << 1 | sum.low >> 63;
        sum.low <<= 1;
    }
    /* To 53 bits, or fewer if it is below the normal numbers; a half goes to the even one. */
    shift = e[0] < -1149 ? -1074 - e[0] : 75;
    sum = NAME_moved(sum, shift - 2);
    e[0] += shift;
    found = sum.low >> 2 | sum.high << 62;
    found += (uint64_t)((sum.low & 3) > 2 - (found & 1));
    if (e[0] > 971)
        found = (uint64_t)2047 << 52;
    else if (found >= hidden)
        found += (uint64_t)(e[0] + 1074) << 52;
    found = (found > (uint64_t)2047 << 52 ? (uint64_t)2047 << 52 : found) | sign;
    memcpy(&value, &found, sizeof value);
    return value;
}
#endif
""",
}

TIMES = """\
/* x y, rounded: no compiler joins it to a sum that it goes into. */
static float NAME_times(float x, float y)
{
#ifdef NAME_fma
    return NAME_fma(x, y, -0.0f);
#else
    return x * y; /* there is no instruction that would do both */
#endif
}
"""

# The parts of e**x for x <= 0: e**x = scale + scale p.
EXP_PARTS = {
    "float32": """\
/* For x <= 0, with x = k ln 2 + r: p = e^r - 1 and the scale 2^k, which is 0 if it is too small. */
static float NAME_exp_parts(float x, float *scale)
{
    float t, k, r, r2, q01, q23, q;
    uint32_t bits;
    x = x < -88.0f ? -88.0f : x;
    t = NAME_fma(x, 1.4426950408889634f, 12582912.0f);
    k = t - 12582912.0f;
    r = NAME_fma(-k, -2.12194440e-4f, NAME_fma(-k, 0.693359375f, x));
    r2 = r * r;
    q01 = NAME_fma(r, 0.16666520631709496887f, 0.49999993447796486827f);
    q23 = NAME_fma(r, 0.0083687168797281399469f, 0.041668388045313996659f);
    q = NAME_fma(r2, NAME_fma(r2, 0.0013814598646664034453f, q23), q01);
    memcpy(&bits, &t, sizeof t);
    bits = (bits << 23) + 0x3F800000U;
    memcpy(scale, &bits, sizeof bits);
    return NAME_fma(r2, q, r);
}
""",
    "float64": """\
/* For x <= 0, with x = k ln 2 + r: p = e^r - 1 and the scale 2^k, which is 0 if it is too small. */
static double NAME_exp_parts(double x, double *scale)
{
    double t, k, r, r2, r4, q01, q23, q45, q67, q89, q;
    uint64_t bits;
    x = x < -709.0 ? -709.0 : x;
    t = NAME_fma(x, 1.4426950408889634, 6755399441055744.0);
    k = t - 6755399441055744.0;
    r = NAME_fma(-k, 1.90821492927058770002e-10, NAME_fma(-k, 6.93147180369123816490e-01, x));
    r2 = r * r;
    r4 = r2 * r2;
    q01 = NAME_fma(r, 0.16666666666666412523, 0.50000000000000106271);
    q23 = NAME_fma(r, 0.0083333333334944616641, 0.04166666666653015859);
    q45 = NAME_fma(r, 0.00019841269506578687653, 0.0013888888943630112946);
    q67 = NAME_fma(r, 2.7557586373840163694e-6, 0.000024801493098906550659);
    q89 = NAME_fma(r, 2.5000061602835666699e-8, 2.7630248379211443975e-7);
    q = NAME_fma(r4, NAME_fma(r4, q89, NAME_fma(r2, q67, q45)), NAME_fma(r2, q23, q01));
    memcpy(&bits, &t, sizeof t);
    bits = (bits << 52) + ((uint64_t)0x3FF << 52);
    memcpy(scale, &bits, sizeof bits);
    return NAME_fma(r2, q, r);
}
""",
}

EXP_OF_NEGATIVE = """\
/* e^x for x <= 0. */
static float NAME_exp_of_negative(float x)
{
    float scale, p = NAME_exp_parts(x, &scale);
    return NAME_fma(scale, p, scale);
}
"""

EXP = """\
static float NAME_exp(float x)
{
    float root = NAME_exp_of_negative(-0.5f * fabsf(x));
    root = x > 0.0f ? 1.0f / root : root;
    return NAME_times(root, root);
}
"""

# log((1 + f) 2**k), 1 + f from sqrt(1/2) to sqrt(2).
LOG_REDUCED = {
    "float32": """\
static float NAME_log_reduced(float f, float k)
{
    float s = f / (2.0f + f), z = s * s, h = NAME_times(0.5f * f, f), r;
    r = NAME_fma(z, 0.29871862250152361691f, 0.39977536980589432079f);
    r = NAME_times(z, NAME_fma(z, r, 0.66666776415108612243f));
    r = NAME_fma(s, h + r, k * -2.12194440e-4f);
    return NAME_fma(k, 0.693359375f, f - (h - r));
}
""",
    "float64": """\
static double NAME_log_reduced(double f, double k)
{
    double s = f / (2.0 + f), z = s * s, z2 = z * z, h = NAME_times(0.5 * f, f), r01, r23, r45, r;
    r01 = NAME_fma(z, 0.39999999999414320878, 0.66666666666667344604);
    r23 = NAME_fma(z, 0.22222198563483838328, 0.28571428742474908102);
    r45 = NAME_fma(z, 0.15314035835547095425, 0.1818356486670316539);
    r = NAME_fma(z2, NAME_fma(z2, 0.14796105429979660471, r45), r23);
    r = NAME_times(z, NAME_fma(z2, r, r01));
    r = NAME_fma(s, h + r, k * 1.90821492927058770002e-10);
    return NAME_fma(k, 6.93147180369123816490e-01, f - (h - r));
}
""",
}

LOG1P = """\
/* log(1 + x) for 0 <= x <= 1. */
static float NAME_log1p(float x)
{
    float w = 1.0f + x, high = w > 1.4142135623730951f ? 1.0f : 0.0f;
    float y = NAME_log_reduced((high > 0.0f ? 0.5f * w : w) - 1.0f, high);
    return y + (x - (w - 1.0f)) / w;
}
"""

LOG = {
    "float32": """\
/* log(x) for x >= 1. */
static float NAME_log(float x)
{
    uint32_t bits, exponent;
    float mantissa;
    if (!(x - x == 0.0f))
        return x;
    memcpy(&bits, &x, sizeof x);
    exponent = (bits - 0x3F3504F3U) >> 23;
    bits -= exponent << 23;
    memcpy(&mantissa, &bits, sizeof bits);
    return NAME_log_reduced(mantissa - 1.0f, (float)exponent);
}
""",
    "float64": """\
/* log(x) for x >= 1. */
static double NAME_log(double x)
{
    uint64_t bits, exponent;
    double mantissa;
    if (!(x - x == 0.0))
        return x;
    memcpy(&bits, &x, sizeof x);
    exponent = (bits - (((uint64_t)0x3FE6A09E << 32) + 0x667F3BCDU)) >> 52;
    bits -= exponent << 52;
    memcpy(&mantissa, &bits, sizeof bits);
    return NAME_log_reduced(mantissa - 1.0, (double)exponent);
}
""",
}

# e = exp(-x**2 / 2), and returned the normal distribution's Phi(-x) / e, for 0 <= x <= 40.
GAUSSIAN_PARTS = {
    "float32": """\
static float NAME_gaussian_parts(float x, float *e)
{
    float square, rest, scale, p, t, s, s2, q0, q1, q2, q3, q4, s4, q;
    square = x * x;
    rest = -0.5f * NAME_fma(x, x, -square);
    p = NAME_exp_parts(-0.5f * square, &scale);
    *e = NAME_fma(scale, NAME_fma(rest, p + 1.0f, p), scale);
    t = 1.0f / (x + 4.0f);
    s = NAME_fma(-8.0f, t, 1.0f);
    s2 = s * s;
    q0 = NAME_fma(s, -0.6078966102997972f, 0.7552851354541043f);
    q1 = NAME_fma(s, -0.18652284224541127f, 0.38713688280395236f);
    q2 = NAME_fma(s, -0.007529126094162279f, 0.060404506918515205f);
    q3 = NAME_fma(s, 0.0015754588141825578f, -0.0035184789548015757f);
    q4 = NAME_fma(s, -0.00012568807251920307f, 0.00019316080076215317f);
    s4 = s2 * s2;
    q = NAME_fma(s4, NAME_fma(s4, q4, NAME_fma(s2, q3, q2)), NAME_fma(s2, q1, q0));
    return NAME_times(q, t);
}
""",
    "float64": """\
static double NAME_gaussian_parts(double x, double *e)
{
    double square, rest, scale, p, t, s, s2, q0, q1, q2, q3, q4, q5, q6, q7, q8, q9, q10,
        q11, s4, s8, low, middle, high, q;
    square = x * x;
    rest = -0.5 * NAME_fma(x, x, -square);
    p = NAME_exp_parts(-0.5 * square, &scale);
    *e = NAME_fma(scale, NAME_fma(rest, p + 1.0, p), scale);
    t = 1.0 / (x + 5.0);
    s = NAME_fma(-10.0, t, 1.0);
    s2 = s * s;
    q0 = NAME_fma(s, -0.66538250289005684905, 0.76919304975006295954);
    q1 = NAME_fma(s, -0.31353315667128774802, 0.49530561596997606613);
    q2 = NAME_fma(s, -0.069118638706868326504, 0.16502036617040747023);
    q3 = NAME_fma(s, -0.0029933767620158884033, 0.020795066799256423393);
    q4 = NAME_fma(s, 0.00054489899397653952817, -0.00079786938929704626028);
    q5 = NAME_fma(s, -0.000049762462228534737946, -0.000059375806985768950843);
    q6 = NAME_fma(s, 3.9798236420336540306e-6, 0.00001668163626525395823);
    q7 = NAME_fma(s, -3.3460959672905692678e-7, -2.770706003289815479e-6);
    q8 = NAME_fma(s, 4.0217133859257850668e-8, 4.3625687706162138377e-7);
    q9 = NAME_fma(s, -8.5746103120382926199e-9, -7.0090700238100698762e-8);
    q10 = NAME_fma(s, 2.2182190262995858085e-9, 1.0756945017867782791e-8);
    q11 = NAME_fma(s, -3.7706343086300372585e-10, -1.14756026909289707e-9);
    s4 = s2 * s2;
    s8 = s4 * s4;
    low = NAME_fma(s4, NAME_fma(s2, q3, q2), NAME_fma(s2, q1, q0));
    middle = NAME_fma(s4, NAME_fma(s2, q7, q6), NAME_fma(s2, q5, q4));
    high = NAME_fma(s4, NAME_fma(s2, q11, q10), NAME_fma(s2, q9, q8));
    q = NAME_fma(s8, NAME_fma(s8, high, middle), low);
    return NAME_times(q, t);
}
""",
}
