/*
 * The longest chain of operations in one update of W1 in which each needs the result of the one
 * before. An update takes at least as long, however wide the processor is. Compile it without
 * -ffast-math and with -ffp-contract=off, so that the operations are those written here.
 */

#include <math.h>
#include <string.h>

/* 1 / (1 + exp(-z)): split z into a multiple of ln 2 and a rest, evaluate a polynomial of the rest by
 * Estrin's scheme, and add the multiple to the exponent. */
static inline double sigmoid(double z)
{
    const double round = 0x1.8p52;
    double t = fma(z, -1.4426950408889634, round);
    double r = fma(t - round, -0.6931471805599453, -z);
    double r2 = r * r, r4 = r2 * r2;
    double p = fma(r2, fma(r, 1.0 / 6, 1.0 / 2), 1 + r);
    double q = fma(r2, fma(r, 1.0 / 5040, 1.0 / 720), fma(r, 1.0 / 120, 1.0 / 24));
    double s = fma(r2, fma(r, 1.0 / 39916800, 1.0 / 3628800), fma(r, 1.0 / 362880, 1.0 / 40320));
    p = fma(r4, fma(r4, s, q), p);
    long long power, bits;
    memcpy(&power, &t, 8);
    memcpy(&bits, &p, 8);
    bits += (long long)((unsigned long long)power << 52);
    memcpy(&p, &bits, 8);
    return 1 / (1 + p);
}

/* A sum of 3 to 5 products takes 3 steps, as a tree. The other operands are ready long before. */
static inline double sum_of_products(double w, double x)
{
    return fma(w, x, 0.125) * x + 0.25;
}

double chain(double w, double x, double y, long updates)
{
    for (long update = 0; update < updates; update++) {
        double h = sigmoid(sum_of_products(w, x));
        double a = sigmoid(sum_of_products(h, x));
        double d = (a - y) * (a * (1 - a));
        double e = d * x;                 /* x stands for v h (1 - h), which is ready before a */
        w = sum_of_products(e, x);        /* one of the sum's terms is the update */
    }
    return w;
}
