#!/usr/bin/env bash
# torch-levenberg-marquardt 1.2: with HuberLoss or L1Loss, one sample that is fitted exactly ends all training.
#
# One would guess: a sample with no error has a derivative of 0 and changes nothing. Near 0, Huber's
# loss is half the squared error, so it trains as MSELoss does.
# What happens: the residual is the square root of the loss, and PyTorch's derivative of the root of 0
# is infinite. Infinite times 0 is not a number, so no step is finite, and the damping grows until
# training stops. No warning, and the loss that each step returns looks like that of a net that has
# converged. Here the output layer begins at 0, and half of the targets are 0.
set -euo pipefail
"$(dirname "$0")/with-packages" torch==2.13.0 torch-levenberg-marquardt==1.2 numpy==2.2.6 <<'PY'
import torch
from torch import nn
from torch_levenberg_marquardt.loss import HuberLoss, MSELoss
from torch_levenberg_marquardt.training import LevenbergMarquardtModule

X = torch.linspace(-1, 1, 41)[:, None]
y = X.relu()
losses = {}
for loss in (MSELoss(), HuberLoss()):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(1, 5), nn.Tanh(), nn.Linear(5, 1))
    nn.init.zeros_(net[2].weight)
    nn.init.zeros_(net[2].bias)
    trained = LevenbergMarquardtModule(net, loss_fn=loss)
    found = [trained.training_step(X, y)[1].item() for _ in range(20)]
    losses[type(loss).__name__] = found
    print(f"{type(loss).__name__:9} first step {found[0]:.6f}, 20th step {found[-1]:.6f}")
assert losses["MSELoss"][-1] < 0.1 * losses["MSELoss"][0]
assert losses["HuberLoss"][-1] == losses["HuberLoss"][0]
PY
