"""PyTorch in eager mode, with torch.nn and torch.optim."""

import torch

PACKAGES = ("torch",)


def prepare(work, n_threads=None):
    """
    Return a function: epochs -> weights, biases, loss of each epoch.

    ``n_threads`` None means PyTorch's default, all.
    """
    n_threads = n_threads or torch.get_num_threads()
    X, y = map(torch.from_numpy, work.data())
    batches = list(zip(X.split(work.batch_size), y.split(work.batch_size), strict=True))
    scale = 0.5 / work.batch_size if work.reduction == "mean" else 0.5
    activation = {"sigmoid": torch.nn.Sigmoid, "tanh": torch.nn.Tanh}[work.activation]
    optimizer = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[work.optimizer]
    squared_error = torch.nn.MSELoss(reduction="sum")

    def train(epochs):
        before = torch.get_num_threads()
        torch.set_num_threads(n_threads)
        linears = []
        for W, b in zip(*work.start(), strict=True):
            linear = torch.nn.utils.skip_init(torch.nn.Linear, *W.shape)
            linear.weight = torch.nn.Parameter(torch.from_numpy(W.T.copy()))
            linear.bias = torch.nn.Parameter(torch.from_numpy(b))
            linears.append(linear)
        net = torch.nn.Sequential(*(m for linear in linears for m in (linear, activation())))
        update = optimizer(net.parameters(), lr=work.learning_rate)
        losses = []
        for _ in range(epochs):
            total = 0.0
            for x, t in batches:
                update.zero_grad()
                loss = squared_error(net(x), t) * scale
                loss.backward()
                update.step()
                total += loss.item()
            losses.append(total / len(batches))
        torch.set_num_threads(before)
        weights = [linear.weight.detach().numpy().T for linear in linears]
        return weights, [linear.bias.detach().numpy() for linear in linears], losses

    return train
