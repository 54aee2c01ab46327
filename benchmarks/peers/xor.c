/*
 * W1: a 3-4-1 sigmoid net on four rows, full batch, half the squared error summed, float64.
 * Parameters are changed in place. W is (inputs, hidden units), row by row.
 */

#include <math.h>
#include <string.h>

enum { INPUTS = 3, HIDDEN = 4, ROWS = 4 };

void train(const double (*restrict X)[INPUTS], const double *restrict y,
           double (*restrict W_out)[HIDDEN], double *restrict b_out, double *restrict v_out,
           double *restrict c_out, double *restrict losses, long epochs, double rate)
{
    /* Local variables, so that the compiler keeps them in registers. The samples are the last
     * index, so that the four of them share one register. */
    double x[INPUTS][ROWS], W[INPUTS][HIDDEN], b[HIDDEN], v[HIDDEN], c = *c_out;
    memcpy(W, W_out, sizeof W);
    memcpy(b, b_out, sizeof b);
    memcpy(v, v_out, sizeof v);
    for (int s = 0; s < ROWS; s++)
        for (int i = 0; i < INPUTS; i++)
            x[i][s] = X[s][i];

    for (long epoch = 0; epoch < epochs; epoch++) {
        double h[HIDDEN][ROWS], d[ROWS], e[HIDDEN][ROWS], loss = 0;
        for (int j = 0; j < HIDDEN; j++)
            for (int s = 0; s < ROWS; s++) {
                double z = b[j];
                for (int i = 0; i < INPUTS; i++)
                    z += W[i][j] * x[i][s];
                h[j][s] = 1 / (1 + exp(-z));
            }
        for (int s = 0; s < ROWS; s++) {
            double z = c;
            for (int j = 0; j < HIDDEN; j++)
                z += v[j] * h[j][s];
            double a = 1 / (1 + exp(-z));
            d[s] = (a - y[s]) * a * (1 - a);
            loss += 0.5 * (a - y[s]) * (a - y[s]);
        }
        losses[epoch] = loss;

        for (int j = 0; j < HIDDEN; j++)
            for (int s = 0; s < ROWS; s++)
                e[j][s] = d[s] * v[j] * h[j][s] * (1 - h[j][s]);
        for (int s = 0; s < ROWS; s++) {
            c -= rate * d[s];
            for (int j = 0; j < HIDDEN; j++) {
                v[j] -= rate * d[s] * h[j][s];
                b[j] -= rate * e[j][s];
                for (int i = 0; i < INPUTS; i++)
                    W[i][j] -= rate * e[j][s] * x[i][s];
            }
        }
    }
    memcpy(W_out, W, sizeof W);
    memcpy(b_out, b, sizeof b);
    memcpy(v_out, v, sizeof v);
    *c_out = c;
}
