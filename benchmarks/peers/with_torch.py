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
        linears = layers(*work.start())
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


def calls(net):
    """Return the calls of a net: {name: function}. They use PyTorch's default threads, all."""
    linears = layers(*net.start())
    activation = {"sigmoid": torch.nn.Sigmoid, "relu": torch.nn.ReLU}[net.activation]
    modules = [m for linear in linears for m in (linear, activation())][:-1]
    if net.loss == "cross_entropy":
        scores, mean_loss = torch.nn.Sequential(*modules), torch.nn.functional.cross_entropy
        model = torch.nn.Sequential(*modules, torch.nn.Softmax(dim=1))
    else:
        scores = model = torch.nn.Sequential(*modules, torch.nn.Sigmoid())

        def mean_loss(outputs, y):
            return torch.nn.functional.mse_loss(outputs, y, reduction="sum") * (0.5 / len(y))

    params = [*(m.weight for m in linears), *(m.bias for m in linears)]
    update = torch.optim.SGD(params, lr=net.learning_rate)

    @torch.inference_mode()
    def predict(X):
        return model(torch.from_numpy(X)).numpy()

    def loss(X, y):
        return mean_loss(scores(torch.from_numpy(X)), torch.from_numpy(y))

    @torch.inference_mode()
    def evaluate(X, y):
        return loss(X, y).item()

    def gradients(X, y):
        value = loss(X, y)
        found = [g.numpy() for g in torch.autograd.grad(value, params)]
        return value.item(), [g.T for g in found[: len(linears)]], found[len(linears) :]

    def step(X, y):
        update.zero_grad()
        value = loss(X, y)
        value.backward()
        update.step()
        return value.item()

    return {
        "predict": predict,
        "evaluate": evaluate,
        "gradients": gradients,
        "partial_fit": step,
        "fit": step,
        "parameters": lambda: [p.detach().numpy().T for p in params],
    }


def layers(weights, biases):
    """Return linear layers with these parameters."""
    linears = []
    for W, b in zip(weights, biases, strict=True):
        linear = torch.nn.utils.skip_init(torch.nn.Linear, *W.shape)
        linear.weight = torch.nn.Parameter(torch.from_numpy(W.T.copy()))
        linear.bias = torch.nn.Parameter(torch.from_numpy(b))
        linears.append(linear)
    return linears
