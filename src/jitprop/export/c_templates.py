"""
Templates of C for exported nets that train: a layer forward and back, and what programs call.

See `c_arithmetic` for what a template is. Words in capitals are filled in by `c_training`.
"""

from __future__ import annotations

DECLARED = """\
#ifdef __cplusplus
extern "C" {
#endif
/* From N_IN inputs x to N_OUT outputs y. */
void NAME_predict(const float x[], float y[]);
/* One update, from N_IN inputs x and N_TARGETS targets y. Returns the loss that they had before the
   update. If that is infinite or nan, nothing changes. */
float NAME_train(const float x[], const float y[], float rate);
BATCHES\
/* Copy the N_NUMBERS numbers that training changes: KINDS. */
void NAME_save(float to[]);
void NAME_load(const float from[]);
#ifdef __cplusplus
}
#endif
"""

BATCHES = """\
/* One update from n samples, which follow each other in x and y. Returns the REDUCTION of the
   losses. */
float NAME_train_batch(const float x[], const float y[], int n, float rate);
"""

APPLIED = """\
static void NAME_all_KIND(float *a, float *slopes, int nTAKEN)
{
    int i;
    for (i = 0; i < n; i++)
        a[i] = NAME_KIND_of(a[i], GIVENslopes + i);
}
"""

LAYER = """\
/* z = b + W x. In p stand the weights of the first input to all units, those of the second, and so
   on; and then b. */
static void NAME_layer(const float *x, int n_in, const float *p, float *z, int n_out)
{
    int i, j;
    for (j = 0; j < n_out; j++) {
        float b = p[n_in * n_out + j], sum = BEGIN;
        for (i = 0; i < n_in; i++)
            sum = NAME_fma(p[i * n_out + j], x[i], sum);
        z[j] = END;
    }
}
"""

BACK = """\
/* From the deltas d of a layer to those of the layer before, which take the place of its slopes. */
static void NAME_back(const float *d, int n_out, const float *p, float *slopes, int n_in)
{
    int i, j;
    for (i = 0; i < n_in; i++) {
        float sum = 0.0f;
        for (j = 0; j < n_out; j++)
            sum = NAME_fma(*p++, d[j], sum);
        slopes[i] *= sum;
    }
}
"""

FORWARD = """\
static void NAME_forward(const float *x)
{
STEPS
}
"""

PASS = """\
/* Forward and back, to the delta of each unit. Returns the loss. */
static float NAME_pass(const float *x, const float *y, float share)
{
    float loss;
    NAME_forward(x);
    loss = NAME_loss(y, share);
STEPS
    return loss;
}
"""

PLAIN = """\
/* Updates the parameter p, whose gradient is g. */
static void NAME_update(float *p, float g, float rateDECAY)
{
    *p = NAME_fma(-rate, g, KEEP*p);
}
"""

MOMENTUM = """\
/* Updates the parameter p, whose gradient is g, and its velocity. */
static void NAME_update(float *p, float g, float rateDECAY)
{
    float *v = NAME_v + (p - NAME_p), step = INNER;
    *v = NAME_fma(KEEP, *v, -step);
    *p = NAME_fma(OUTER, MOVE, *p);
}
"""

KEPT = """\
/* What decay leaves of a weight in one update. */
static float NAME_kept(float rate)
{
    volatile double decayed = (double)rate * WEIGHT_DECAY; /* volatile: it is rounded */
    return (float)(1.0 - decayed);
}
"""

STEP = """\
/* Updates a layer, from its inputs x and its deltas d. */
static void NAME_step(const float *x, int n_in, const float *d, int n_out, float *p, float rate)
{
    int i, j;
KEPT_LINE\
    for (i = 0; i < n_in; i++)
        for (j = 0; j < n_out; j++)
            NAME_update(p++, x[i] * d[j], rateOF_WEIGHTS);
    for (j = 0; j < n_out; j++)
        NAME_update(p++, d[j], rateOF_BIASES);
}
"""

BATCH = """\
/* Adds the gradient of one sample. */
static void NAME_add(const float *x, int n_in, const float *d, int n_out, float *g)
{
    int i, j;
    for (i = 0; i < n_in; i++)
        for (j = 0; j < n_out; j++, g++)
            *g = NAME_fma(x[i], d[j], *g);
    for (j = 0; j < n_out; j++)
        *g++ += d[j];
}

/* Updates the layer whose parameters begin at p, from the gradient of a batch. */
static void NAME_step_of_batch(int p, int n_in, int n_out, float rate)
{
    int end = p + n_in * n_out;
KEPT_LINE\
    for (; p < end; p++)
        NAME_update(NAME_p + p, NAME_g[p], rateOF_WEIGHTS);
    for (end += n_out; p < end; p++)
        NAME_update(NAME_p + p, NAME_g[p], rateOF_BIASES);
}
"""

PREDICT = """\
void NAME_predict(const float x[], float y[])
{
    int i;
    NAME_forward(x);
STEPS
    for (i = 0; i < N_OUT; i++)
        y[i] = NAME_a[AT_OUTPUT + i];
}
"""

TRAIN = """\
float NAME_train(const float x[], const float y[], float rate)
{
    float loss = NAME_pass(x, y, 1.0f);
    if (!(loss - loss == 0.0f))
        return loss;
STEPS
    return loss;
}
"""

TRAIN_BATCH = """\
float NAME_train_batch(const float x[], const float y[], int n, float rate)
{
    float loss = 0.0f;
    int i;
    for (i = 0; i < N_PARAMETERS; i++)
        NAME_g[i] = 0.0f;
    for (i = 0; i < n; i++) {
        loss += NAME_pass(x, y, SHARE);
ADDS
        x += N_IN;
        y += N_TARGETS;
    }
    if (n < 1 || !(loss - loss == 0.0f))
        return loss;
STEPS
    return LOSS;
}
"""

SAVE = """\
void NAME_save(float to[])
{
    int i;
    for (i = 0; i < N_PARAMETERS; i++)
        to[i] = NAME_p[i];
}

void NAME_load(const float from[])
{
    int i;
    for (i = 0; i < N_PARAMETERS; i++)
        NAME_p[i] = from[i];
}
"""

SAVE_BOTH = """\
void NAME_save(float to[])
{
    int i;
    for (i = 0; i < N_PARAMETERS; i++) {
        to[i] = NAME_p[i];
        to[N_PARAMETERS + i] = NAME_v[i];
    }
}

void NAME_load(const float from[])
{
    int i;
    for (i = 0; i < N_PARAMETERS; i++) {
        NAME_p[i] = from[i];
        NAME_v[i] = from[N_PARAMETERS + i];
    }
}
"""
