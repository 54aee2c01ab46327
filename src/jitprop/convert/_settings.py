"""Arguments of `Trainer` that are used in place of what a file says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from jitprop.convert._converted import Converted
from jitprop.data import cast
from jitprop.net import optimizers

OF_THE_NET = ("layer_sizes", "activation", "output_activation", "init")
"""Arguments that only the file can give."""

OF_CONVERTED = (
    "loss",
    "reduction",
    "optimizer",
    "learning_rate",
    "weight_decay",
    "decay_biases",
    "clip_norm",
    "learning_rate_factors",
    "batch_size",
    "shuffle",
    "dtype",
)
"""Arguments that `Converted` has under the same name."""

OF_ANOTHER_OPTIMIZER: dict[str, Any] = {
    "loss_factor": 1.0,
    "learning_rate": None,
    "weight_decay": 0.0,
    "decay_biases": False,
    "clip_norm": None,
    "slots": (),
    "updates": 0,
}
"""What another optimizer begins with."""


def with_settings(net: Converted, settings: Mapping[str, Any]) -> Converted:
    """
    Return the net with these arguments of `Trainer` in place of its own.

    Another optimizer begins without the state of the old one, and with the defaults of jitprop.
    Otherwise a number as ``learning_rate`` is in the source's own numbers.

    Raises
    ------
    TypeError, ValueError
        For an argument that only the file can give, and for another dtype or optimizer than
        `Trainer` takes.
    """
    for name in OF_THE_NET:
        if name in settings:
            raise TypeError(f"{name} belongs to the net that is read, so it cannot be given")
    changes: dict[str, Any] = {}
    if "optimizer" in settings:
        changes |= OF_ANOTHER_OPTIMIZER
    if "loss" in settings:
        changes["loss_factor"] = 1.0
    changes |= {name: settings[name] for name in OF_CONVERTED if name in settings}
    if "optimizer" in settings:
        changes["optimizer"] = optimizers.resolve(settings["optimizer"])
    if "dtype" in settings:
        changes["dtype"] = cast.dtype(settings["dtype"]) or net.dtype
    others = {name: value for name, value in settings.items() if name not in OF_CONVERTED}
    return replace(net, **changes, others=others)
