"""
The small integers by which kernels know an activation, a loss, an optimizer.

An activation or a loss of the user's own has the address of its function instead (`custom`), which
is greater than all of these.
"""

SIGMOID = 0
TANH = 1
RELU = 2
LEAKY_RELU = 3
ELU = 4
SOFTPLUS = 5
GELU_TANH = 6
SILU = 7
SELU = 8
MISH = 9
SOFTSIGN = 10
GELU = 11
HARD_SIGMOID = 12
EXP = 13
IDENTITY = 14
SOFTMAX = 15

# Losses of z, which need no slope;
BINARY_CROSS_ENTROPY = 0
CROSS_ENTROPY = 1
POISSON = 2
GAUSSIAN_NLL = 3
# and, from here on, those of the output a.
HALF_SQUARED_ERROR = 4
SQUARED_ERROR = 5
PIECEWISE = 6

SGD = 0
MOMENTUM = 1
NESTEROV = 2
ADAM = 3
ADAMW = 4
RMSPROP = 5
RPROP = 6
RPROP_PLUS = 11

# Full-batch methods, each with an entry of its own (`second_order`).
LEVENBERG = 7
BAYESIAN = 8
CONJUGATE = 9
LBFGS = 10
