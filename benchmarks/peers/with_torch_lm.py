"""torch-levenberg-marquardt: PyTorch's functional derivatives, in eager mode."""

from time import perf_counter

import torch
from torch_levenberg_marquardt.training import LevenbergMarquardtModule

from with_torch import layers

PACKAGES = ("torch", "torch-levenberg-marquardt")
AT_MOST = 300  # steps


def prepare_fit(problem, clock=perf_counter, n_threads=None, **options):
    """
    Return a function: number of the start, RMSE -> weights, biases, seconds.

    ``n_threads`` None means PyTorch's default, all. ``options`` are those of
    LevenbergMarquardtModule.
    """
    n_threads = n_threads or torch.get_num_threads()
    X, y = torch.from_numpy(problem.X), torch.from_numpy(problem.y)

    def fit(number, rmse):
        before = torch.get_num_threads()
        torch.set_num_threads(n_threads)
        weights, biases = problem.start(number)
        began = clock()
        hidden, output = layers(weights, biases)
        net = torch.nn.Sequential(hidden, torch.nn.Tanh(), output)
        trained = LevenbergMarquardtModule(net, **options)
        for _ in range(AT_MOST):
            _, loss, ended, _ = trained.training_step(X, y)
            if ended or loss.item() <= rmse**2:
                break
        seconds = clock() - began
        torch.set_num_threads(before)
        linears = hidden, output
        return (
            [linear.weight.detach().numpy().T for linear in linears],
            [linear.bias.detach().numpy() for linear in linears],
            seconds,
        )

    return fit
