"""The small integers by which kernels know an activation, a loss, an optimizer."""

SIGMOID = 0
TANH = 1
RELU = 2
LEAKY_RELU = 3
ELU = 4
SOFTPLUS = 5
GELU = 6
SILU = 7
IDENTITY = 8
SOFTMAX = 9

HALF_SQUARED_ERROR = 0
SQUARED_ERROR = 1
BINARY_CROSS_ENTROPY = 2
CROSS_ENTROPY = 3

SGD = 0
MOMENTUM = 1
NESTEROV = 2
ADAM = 3
ADAMW = 4
