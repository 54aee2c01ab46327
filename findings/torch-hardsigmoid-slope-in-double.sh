#!/usr/bin/env bash
# PyTorch 2.13.0: the slope of Hardsigmoid on float64 tensors is 1/6 rounded to float32.
#
# One would guess: in float64 the slope between -3 and 3 is 1/6 to the last digit, since the forward
# pass divides by 6 in float64.
# It does: the backward pass multiplies by the float32 next to 1/6, in every dtype. The gradient is
# off by 3e-8 of its value, so torch.autograd.gradcheck with rtol=1e-9 fails, and a net trained in
# float64 differs from one that is differentiated through relu6(z + 3) / 6.
set -euo pipefail
"$(dirname "$0")/with-packages" torch==2.13.0 numpy==2.2.6 <<'PY'
import numpy as np
import torch


def value_and_slope(function):
    """Of z = 1 in float64."""
    z = torch.ones(1, dtype=torch.float64, requires_grad=True)
    a = function(z)
    a.backward()
    return a.item(), z.grad.item()


value, slope = value_and_slope(torch.nn.functional.hardsigmoid)
same_value, exact = value_and_slope(lambda z: torch.nn.functional.relu6(z + 3) / 6)
print("Hardsigmoid  ", value, slope)
print("relu6 / 6    ", same_value, exact)
assert value == same_value == 4 / 6
assert exact == 1 / 6
assert slope == float(np.float32(1 / 6)) != 1 / 6
z = torch.ones(3, dtype=torch.float64, requires_grad=True)
strict = {"rtol": 1e-9, "atol": 0.0}
assert torch.autograd.gradcheck(lambda z: torch.nn.functional.relu6(z + 3) / 6, z, **strict)
assert not torch.autograd.gradcheck(
    torch.nn.functional.hardsigmoid, z, raise_exception=False, **strict
)
PY
