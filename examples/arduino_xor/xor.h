/* A 2-4-1 net, written by jitprop. */
#ifndef XOR_PREDICT_H
#define XOR_PREDICT_H

#define XOR_INPUTS 2
#define XOR_OUTPUTS 1
#define XOR_TARGETS 1
#define XOR_NUMBERS 17 /* that save and load copy */

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

#endif
