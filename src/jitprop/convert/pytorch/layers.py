"""The layers of PyTorch's modules and state_dicts, and the modules of jitprop's activations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from jitprop import checks
from jitprop._types import Array
from jitprop.net.activations import ELU, NAMED, Activation, LeakyReLU, Numbered, Softplus

PLAIN = {
    "Identity": "identity",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "ReLU": "relu",
    "SiLU": "silu",
    "SELU": "selu",
    "Mish": "mish",
    "Softsign": "softsign",
    "Hardsigmoid": "hard_sigmoid",
}
"""jitprop's names of the modules that are activations without settings."""


@dataclass
class Chain:
    """
    The layers of a net, as they are read.

    Attributes
    ----------
    weights : list of tensors or arrays
        (n_out, n_in), as PyTorch has them.
    biases : list of tensors, arrays or None
    activations : list
    dropout : list of float
    """

    weights: list[Any] = field(default_factory=list)
    biases: list[Any] = field(default_factory=list)
    activations: list[Activation] = field(default_factory=list)
    dropout: list[float] = field(default_factory=list)

    def add(self, weight: Any, bias: Any) -> None:
        """Add a layer, which is linear until something follows."""
        self.weights.append(weight)
        self.biases.append(bias)
        self.activations.append("identity")
        self.dropout.append(0.0)


def array(tensor: Any) -> Array:
    """Return a tensor as an array; arrays stay as they are."""
    if not hasattr(tensor, "detach"):
        return np.asarray(tensor)
    if str(tensor.dtype) not in ("torch.float32", "torch.float64"):
        raise ValueError(
            f"a module must have parameters in float32 or float64; got {tensor.dtype}: convert it "
            "by model.float()"
        )
    if tensor.is_meta:
        raise ValueError("a module must have numbers; its parameters are on the device meta")
    found: Array = tensor.detach().cpu().numpy()
    return found


def of_state_dict(state: Mapping[str, Any], activations: Any) -> Chain:
    """
    Read the weights and biases of Linear modules.

    Raises
    ------
    TypeError, ValueError
        For other arrays, and for another number of activations than of layers.
    """
    if not checks.is_list(activations):
        raise TypeError(
            "activations must be a list of the activation of each layer, output layer last, for a "
            f"state_dict, which does not know them; got {checks.shown(activations)}"
        )
    layers: dict[str, dict[str, Any]] = {}
    for name, value in state.items():
        layer, _, kind = str(name).rpartition(".")
        shape = getattr(value, "shape", None)
        if shape is None or len(shape) != {"weight": 2, "bias": 1}.get(kind):
            found = checks.shown(value) if shape is None else f"shape {tuple(shape)}"
            raise ValueError(
                "a state_dict must have the weights, (n_out, n_in), and biases, (n_out,), of "
                f"Linear modules alone; {checks.quoted(name)} has {found}"
            )
        layers.setdefault(layer, {})[kind] = value
    chain = Chain()
    for layer, parts in layers.items():
        if "weight" not in parts:
            raise ValueError(f"a state_dict must have {checks.quoted(f'{layer}.weight')}")
        chain.add(parts["weight"], parts.get("bias"))
    if not layers or len(activations) != len(layers):
        raise ValueError(
            f"activations must have one for each of the {len(layers)} layers of the state_dict; "
            f"got {len(activations)}"
        )
    chain.activations = list(activations)
    return chain


def of_module(model: Any) -> Chain:
    """
    Read a Sequential.

    Raises
    ------
    TypeError
        For anything but a module of PyTorch's own.
    ValueError
        For modules that jitprop does not have, or in another order.
    """
    if type(model).__module__.split(".")[0] != "torch":
        raise TypeError(
            f"model must be a torch.nn.Sequential; got {checks.printable(type(model).__name__)}: "
            "pass a Sequential within it, or its state_dict() with activations"
        )
    chain = Chain()
    behind = ""  # the kind of the module before, within a layer
    for module in _flattened(model):
        kind = type(module).__name__
        if kind == "Linear":
            chain.add(module.weight, module.bias)
            behind = kind
        elif kind == "Flatten" and not chain.weights and module.start_dim == 1:
            continue
        elif not chain.weights:
            raise ValueError(f"a module must begin with a Linear; got {kind}")
        elif kind == "Dropout":
            if behind == "Dropout":
                raise ValueError("two Dropout modules behind one Linear cannot be converted")
            chain.dropout[-1], behind = float(module.p), kind
        elif kind != "Identity":
            if behind != "Linear":
                raise ValueError(
                    f"{kind} must stand behind a Linear; this one stands behind {behind}"
                )
            chain.activations[-1], behind = _activation(module), kind
    if not chain.weights:
        raise ValueError("a module must have at least one Linear")
    for activation in chain.activations[:-1]:
        if activation in ("softmax", LOG_SOFTMAX):
            raise ValueError(f"{activation} must stand behind the last Linear")
    return chain


HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
"""Where modules keep functions that change what they compute."""


def _flattened(module: Any) -> Iterator[Any]:
    """Yield the modules of a Sequential and of those within, if they compute as PyTorch's own."""
    kind = type(module).__name__
    if not type(module).__module__.startswith("torch.nn.modules.") or "forward" in vars(module):
        raise ValueError(
            f"a module must be a chain of PyTorch's own modules; got {checks.printable(kind)} of "
            f"{checks.quoted(type(module).__module__)}"
        )
    tensors = [each for each in vars(module)["_parameters"].values() if each is not None]
    if any(vars(module).get(name) for name in HOOKS) or any(
        each._backward_hooks for each in tensors
    ):
        raise ValueError(
            f"a module must have no hooks, which are set by weight_norm, spectral_norm and pruning "
            f"too; this {kind} has some: remove them before"
        )
    if kind != "Sequential":
        yield module
        return
    for each in module:
        yield from _flattened(each)


def _activation(module: Any) -> Activation:
    """Return jitprop's activation for a module."""
    kind = type(module).__name__
    if type(module).__module__.startswith("torch.nn.modules"):
        if kind in PLAIN:
            return PLAIN[kind]
        if kind == "GELU":
            return "gelu_tanh" if module.approximate == "tanh" else "gelu"
        if kind in ("Softmax", "LogSoftmax") and module.dim in (1, -1):
            return "softmax" if kind == "Softmax" else LOG_SOFTMAX
        if kind == "LeakyReLU":
            return LeakyReLU(module.negative_slope)
        if kind == "ELU":
            return ELU(module.alpha)
        if kind == "Softplus":
            if module.threshold < 20:
                raise ValueError(f"Softplus must have the threshold 20; got {module.threshold}")
            return Softplus(module.beta)
    raise ValueError(
        f"a module must be a chain of Linear modules and activations that jitprop has; got {module}"
    )


LOG_SOFTMAX = "log_softmax"
"""Stands for LogSoftmax until the loss, NLLLoss, is known."""

WITH_SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "gelu": ("GELU", {}),
    "gelu_tanh": ("GELU", {"approximate": "tanh"}),
    "softmax": ("Softmax", {"dim": 1}),
}


def module_of(activation: Any) -> tuple[str, dict[str, Any]]:
    """Return the class of the module of an activation, and its arguments."""
    kinds = {name: kind for kind, name in PLAIN.items()}
    if isinstance(activation, str):
        activation = NAMED.get(activation, activation)
    if isinstance(activation, Numbered):
        return type(activation).__name__, asdict(activation)
    if isinstance(activation, str) and activation in kinds:
        return kinds[activation], {}
    if isinstance(activation, str) and activation in WITH_SETTINGS:
        return WITH_SETTINGS[activation]
    raise ValueError(
        f"the activation must be one that PyTorch has as a module; got {checks.shown(activation)}"
    )
