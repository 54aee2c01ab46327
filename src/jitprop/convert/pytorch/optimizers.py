"""The optimizers of PyTorch, with their settings and their state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jitprop import checks
from jitprop._types import Array
from jitprop.convert._converted import Slot
from jitprop.convert.pytorch.layers import Chain, array
from jitprop.net.optimizers import SGD, Adam, AdamW, Optimizer, RMSprop, Rprop


class Method(NamedTuple):
    """
    How to read an optimizer.

    Attributes
    ----------
    settings : tuple of str
        Settings that all groups must have in common.
    lacking : dict
        The only values of settings that jitprop does not have.
    make : callable
        Makes jitprop's optimizer of a group.
    slots : tuple of str
        The names of the state that goes into jitprop's slots, in their order.
    """

    settings: tuple[str, ...]
    lacking: dict[str, Any]
    make: Callable[[Mapping[str, Any]], Optimizer]
    slots: tuple[str, ...]


def _sgd(group: Mapping[str, Any]) -> SGD:
    return SGD(float(group["momentum"]), bool(group["nesterov"]), rate_in_velocity=False)


def _adam(group: Mapping[str, Any]) -> Adam:
    kind = AdamW if group.get("decoupled_weight_decay", False) else Adam
    beta_1, beta_2 = map(float, group["betas"])
    return kind(beta_1, beta_2, float(group["eps"]))


def _rmsprop(group: Mapping[str, Any]) -> RMSprop:
    alpha, momentum, epsilon = (float(group[name]) for name in ("alpha", "momentum", "eps"))
    return RMSprop(alpha, momentum, epsilon, rate_in_velocity=False)


def _rprop(group: Mapping[str, Any]) -> Rprop:
    (eta_minus, eta_plus), (step_min, step_max) = group["etas"], group["step_sizes"]
    return Rprop(float(eta_minus), float(eta_plus), float(step_min), float(step_max))


OF_ADAM = Method(
    ("betas", "eps"), {"amsgrad": False, "maximize": False}, _adam, ("exp_avg", "exp_avg_sq")
)
METHODS = {
    "SGD": Method(
        ("momentum", "nesterov"),
        {"dampening": 0, "maximize": False},
        _sgd,
        ("momentum_buffer",),
    ),
    "Adam": OF_ADAM,
    "AdamW": OF_ADAM._replace(make=lambda group: _adam({**group, "decoupled_weight_decay": True})),
    "RMSprop": Method(
        ("alpha", "eps", "momentum"),
        {"centered": False, "maximize": False},
        _rmsprop,
        ("square_avg", "momentum_buffer"),
    ),
    "Rprop": Method(("etas", "step_sizes"), {"maximize": False}, _rprop, ("step_size", "prev")),
}


class Held(NamedTuple):
    """A parameter of the net in the optimizer: its group and its state."""

    group: Mapping[str, Any]
    state: Mapping[str, Any]


def read(optimizer: Any, chain: Chain) -> dict[str, Any]:
    """Return what a `Converted` has of an optimizer: settings, factors and state."""
    kind = type(optimizer).__name__
    if kind not in METHODS or not type(optimizer).__module__.startswith("torch.optim"):
        raise ValueError(f"optimizer must be one of {', '.join(METHODS)}; got {kind}")
    method = METHODS[kind]
    held = {
        key: Held(group, optimizer.state.get(parameter, {}))
        for group in optimizer.param_groups
        for parameter in group["params"]
        for key in [key_of(parameter)]
        if parameter.requires_grad
    }
    of_weights = [held.get(key_of(weight)) for weight in chain.weights]
    of_biases = [None if bias is None else held.get(key_of(bias)) for bias in chain.biases]
    found = [one for one in (*of_weights, *of_biases) if one is not None]
    if not found:
        raise ValueError("optimizer must hold the parameters of the module; it holds none of them")
    first = found[0].group
    for one in found:
        for name, value in method.lacking.items():
            if one.group.get(name, value) != value:
                raise ValueError(
                    f"{kind} must have {name}={value}; got {checks.shown(one.group[name])}"
                )
        for name in method.settings:
            if one.group[name] != first[name]:
                raise ValueError(
                    f"all groups of the optimizer must have the same {name}; got {first[name]} and "
                    f"{one.group[name]}"
                )
    own = method.make(first)
    steps = {int(one.state.get("step", 0)) for one in found}
    if len(steps) > 1:
        raise ValueError(
            "all parameters must have had the same number of updates; got "
            f"{' and '.join(map(str, sorted(steps)))}"
        )
    return {
        "optimizer": own,
        **_rates(of_weights, of_biases),
        **_decays(of_weights, of_biases),
        "slots": _slots(chain, method.slots[: own.n_slots], of_weights, of_biases),
        "updates": steps.pop(),
    }


def key_of(parameter: Any) -> Any:
    """Return what a parameter and its value in a state_dict have in common."""
    return parameter.data_ptr() if hasattr(parameter, "data_ptr") else id(parameter)


def _rates(of_weights: Sequence[Held | None], of_biases: Sequence[Held | None]) -> dict[str, Any]:
    """Return the learning rate, and its factors if parameters differ in it."""
    rates = [
        [0.0 if one is None else float(one.group["lr"]) for one in parts]
        for parts in (of_weights, of_biases)
    ]
    rate = max(max(part) for part in rates)
    if rate == 0.0:
        raise ValueError("optimizer must have a learning rate above 0 for some parameter; got 0")
    factors = [(w / rate, b / rate) for w, b in zip(*rates, strict=True)]
    plain = all(pair == (1.0, 1.0) for pair in factors)
    return {"learning_rate": rate} | ({} if plain else {"learning_rate_factors": factors})


def _decays(of_weights: Sequence[Held | None], of_biases: Sequence[Held | None]) -> dict[str, Any]:
    """Return the weight decay, and whether biases decay."""
    found = [
        {float(one.group.get("weight_decay", 0.0)) for one in parts if one is not None}
        for parts in (of_weights, of_biases)
    ]
    weights, biases = found
    decay = max(weights, default=max(biases, default=0.0))
    if weights <= {decay} and biases <= {0.0}:
        return {"weight_decay": decay}
    if weights <= {decay} and biases <= {decay}:
        return {"weight_decay": decay, "decay_biases": True}
    raise ValueError(
        "weight_decay must be the same for all weights, and for all biases that or 0; got "
        f"{sorted(weights)} for weights and {sorted(biases)} for biases"
    )


def _slots(
    chain: Chain, names: Sequence[str], of_weights: Sequence[Any], of_biases: Sequence[Any]
) -> list[Slot]:
    """Return what the optimizer keeps by these names, for all weights and all biases."""
    biases = [
        array(weight)[:, 0] if bias is None else bias
        for weight, bias in zip(chain.weights, chain.biases, strict=True)
    ]
    return [
        (
            [_kept(name, *each).T for each in zip(chain.weights, of_weights, strict=True)],
            [_kept(name, *each) for each in zip(biases, of_biases, strict=True)],
        )
        for name in names
    ]


def _kept(name: str, parameter: Any, held: Held | None) -> Array:
    """Return what the optimizer keeps for a parameter; 0 if that is nothing."""
    kept = None if held is None else held.state.get(name)
    if kept is None:
        return np.zeros_like(array(parameter))
    found = array(kept)
    return np.sign(found) if name == "prev" else found
