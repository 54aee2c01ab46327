"""The losses of PyTorch, and what each is divided by jitprop's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from jitprop import checks
from jitprop.convert.pytorch.layers import LOG_SOFTMAX, Chain, array
from jitprop.net.losses import CrossEntropy, Huber, Loss


class OfLoss(NamedTuple):
    """A loss, what PyTorch's is divided by it, and the reduction."""

    loss: str | Loss | None = None
    factor: float = 1.0
    reduction: str = "mean"


def read(module: Any, chain: Chain, n_outputs: int) -> OfLoss:
    """Read a loss; the chain gets the output activation that the loss contains."""
    output = chain.activations[-1]
    if module is None:
        if output == LOG_SOFTMAX:
            raise ValueError("LogSoftmax needs loss=NLLLoss(), with which it becomes 'softmax'")
        return OfLoss()
    kind = type(module).__name__
    if kind not in LOSSES or not type(module).__module__.startswith("torch.nn.modules"):
        raise ValueError(f"loss must be one of {', '.join(LOSSES)}; got {checks.shown(module)}")
    if module.reduction not in ("mean", "sum"):
        raise ValueError(
            f"{kind} must have the reduction 'mean' or 'sum'; got {module.reduction!r}"
        )
    if kind in CONTAINED:
        before, after = CONTAINED[kind]
        if output != before:
            raise ValueError(f"{kind} needs a net that ends in {before}; this one ends in {output}")
        chain.activations[-1] = after
    elif output == LOG_SOFTMAX:
        raise ValueError(f"LogSoftmax needs loss=NLLLoss(); got {kind}")
    loss, factor = LOSSES[kind](module)
    if module.reduction == "mean" and kind not in ("CrossEntropyLoss", "NLLLoss"):
        factor /= n_outputs
    return OfLoss(loss, factor, module.reduction)


CONTAINED = {
    "BCEWithLogitsLoss": ("identity", "sigmoid"),
    "CrossEntropyLoss": ("identity", "softmax"),
    "NLLLoss": (LOG_SOFTMAX, "softmax"),
    "BCELoss": ("sigmoid", "sigmoid"),
    "PoissonNLLLoss": ("identity", "identity"),
}
"""The output that a loss needs, and the output of the same net with jitprop's loss."""


def _smooth(module: Any) -> tuple[str | Loss, float]:
    return ("absolute_error", 1.0) if module.beta == 0 else (Huber(module.beta), 1 / module.beta)


def _binary(module: Any) -> tuple[str | Loss, float]:
    _refuse(module, weight=None, pos_weight=None)
    return "binary_cross_entropy", 1.0


def _classes(module: Any) -> tuple[str | Loss, float]:
    _refuse(module, ignore_index=-100)
    smoothing = getattr(module, "label_smoothing", 0.0)
    weight = None if module.weight is None else array(module.weight).tolist()
    if weight is not None and smoothing:
        raise ValueError(
            "CrossEntropyLoss with weight and label_smoothing cannot be converted: PyTorch weights "
            "each class of the smoothed targets, and jitprop each sample"
        )
    return CrossEntropy(smoothing, weight), 1.0


def _poisson(module: Any) -> tuple[str | Loss, float]:
    _refuse(module, log_input=True, full=False)
    return "poisson", 1.0


LOSSES: dict[str, Callable[[Any], tuple[str | Loss, float]]] = {
    "MSELoss": lambda module: ("squared_error", 1.0),
    "L1Loss": lambda module: ("absolute_error", 1.0),
    "HuberLoss": lambda module: (Huber(module.delta), 1.0),
    "SmoothL1Loss": _smooth,
    "BCELoss": _binary,
    "BCEWithLogitsLoss": _binary,
    "CrossEntropyLoss": _classes,
    "NLLLoss": _classes,
    "PoissonNLLLoss": _poisson,
}
"""For each loss, a function that returns jitprop's, and what PyTorch's sum is divided by it."""


def _refuse(module: Any, **expected: Any) -> None:
    """Refuse settings that jitprop does not have."""
    for name, value in expected.items():
        found = getattr(module, name, value)
        if found is not value and found != value:
            raise ValueError(
                f"{type(module).__name__} must have {name}={value}; got {checks.shown(found)}"
            )
