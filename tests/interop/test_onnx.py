"""ONNX files that PyTorch and skl2onnx export, beside the models that they come from."""

from __future__ import annotations

import contextlib
import io
import warnings

import numpy as np
import pytest

from jitprop import ELU, LeakyReLU, Softplus, convert

torch = pytest.importorskip("torch")
nn = torch.nn
X = np.random.default_rng(0).normal(size=(20, 3)) * 2

ACTIVATIONS = {
    "Sigmoid": (nn.Sigmoid(), "sigmoid"),
    "Tanh": (nn.Tanh(), "tanh"),
    "ReLU": (nn.ReLU(), "relu"),
    "LeakyReLU": (nn.LeakyReLU(), "leaky_relu"),
    "LeakyReLU(0.2)": (nn.LeakyReLU(0.2), LeakyReLU(0.2)),
    "ELU": (nn.ELU(), "elu"),
    "ELU(0.3)": (nn.ELU(0.3), ELU(0.3)),
    "SELU": (nn.SELU(), "selu"),
    "Softplus": (nn.Softplus(), "softplus"),
    "Softplus(2)": (nn.Softplus(beta=2.0), Softplus(2.0)),
    "GELU": (nn.GELU(), "gelu"),
    "GELU, tanh": (nn.GELU(approximate="tanh"), "gelu_tanh"),
    "SiLU": (nn.SiLU(), "silu"),
    "Mish": (nn.Mish(), "mish"),
    "Softsign": (nn.Softsign(), "softsign"),
    "Hardsigmoid": (nn.Hardsigmoid(), "hard_sigmoid"),
    "Identity": (nn.Identity(), "identity"),
    "ReLU, Dropout": (nn.Sequential(nn.ReLU(), nn.Dropout(0.5)), "relu"),
}


def exported(module, path, dtype, dynamo):
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        example = (torch.zeros(2, 3, dtype=dtype),)
        torch.onnx.export(module, example, path, dynamo=dynamo, verbose=False)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dynamo", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_pytorch_exports(tmp_path, name, dynamo, dtype):
    activation, expected = ACTIVATIONS[name]
    kind = getattr(torch, dtype)
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Linear(3, 5),
        activation,
        nn.Linear(5, 4, bias=False),
        activation,
        nn.Flatten(),
        nn.Linear(4, 2),
        nn.Softmax(dim=-1),
    ).to(kind)
    path = tmp_path / "net.onnx"
    exported(module.eval(), path, kind, dynamo)
    trainer = convert.from_onnx(path)
    assert trainer.activation == (expected, expected)
    assert trainer.dtype == dtype
    outputs = module(torch.tensor(X, dtype=kind)).detach().numpy()
    # PyTorch's softplus is z itself beyond 20, which is up to 2e-9 less.
    atol = 1e-6 if dtype == "float32" else 1e-8 if "Softplus" in name else 1e-12
    np.testing.assert_allclose(trainer.predict(X.astype(dtype)), outputs, rtol=0, atol=atol)


def test_a_residual_net_of_pytorch_is_refused(tmp_path):
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 3)

        def forward(self, x):
            return x + self.linear(x)

    exported(Residual().eval(), tmp_path / "net.onnx", torch.float32, True)
    with pytest.raises(ValueError, match=r"\('Add'\) joins two layers"):
        convert.from_onnx(tmp_path / "net.onnx")


MODELS = ["binary", "classes", "labels", "regression"]


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("zipmap", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_skl2onnx_converts(tmp_path, kind, zipmap, dtype):
    skl2onnx = pytest.importorskip("skl2onnx")
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    x = X.astype(dtype)
    y = {
        "binary": np.arange(20) % 2,
        "classes": np.arange(20) % 3,
        "labels": np.eye(3, dtype=int)[np.arange(20) % 3],
        "regression": x[:, 0],
    }[kind]
    model = MLPRegressor if kind == "regression" else MLPClassifier
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has not converged
        model = model(hidden_layer_sizes=(5,), max_iter=5, random_state=0).fit(x, y)
        options = None if kind == "regression" or kind == "labels" else {"zipmap": zipmap}
        made = skl2onnx.to_onnx(model, x[:1], options=options)
    (tmp_path / "net.onnx").write_bytes(made.SerializeToString())
    trainer = convert.from_onnx(tmp_path / "net.onnx")
    assert trainer.dtype == dtype
    k = trainer.layer_sizes[-1]
    regression = kind == "regression"
    expected = model.predict(x)[:, None] if regression else model.predict_proba(x)[:, -k:]
    atol = 1e-6 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(trainer.predict(x), expected, rtol=0, atol=atol)
