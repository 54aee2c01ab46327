"""What both formats share: the parts of a model that can be exported."""

from __future__ import annotations

from typing import Any

from jitprop import checks
from jitprop.export import net as nets
from jitprop.tabular.encoders import TextEncoder
from jitprop.tabular.model import TabularNet
from jitprop.tabular.table import quoted


def of(model: Any) -> TabularNet:
    """
    Return the net of a model that can be exported.

    Raises
    ------
    TypeError
        For anything but a fitted estimator for tables or its net.
    ValueError
        For a net with a column of texts: neither format can count their parts.
    """
    net = getattr(model, "net_", model)
    if not isinstance(net, TabularNet):
        raise TypeError(
            "model must be a fitted TabularClassifier or TabularRegressor; "
            f"got {checks.shown(model)}"
        )
    for encoder in net.columns.encoders:
        if isinstance(encoder, TextEncoder):
            raise ValueError(
                f"column {quoted(encoder.name)} holds texts, which cannot be exported: train "
                "without it"
            )
    return net


def members(net: TabularNet) -> list[nets.Net]:
    """Return the nets whose outputs are averaged."""
    return [nets.of(member) for member in net.members]
