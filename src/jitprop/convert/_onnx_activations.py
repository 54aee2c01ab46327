"""
Activations in ONNX files: which of jitprop's functions a few nodes compute.

The nodes between two layers are a formula of z. It is brought to one form: a sum and a product have
their terms in one order, numbers together; a difference is a sum, a quotient by a number is a
product. The same is done to what `jitprop.export.to_onnx` writes, and to what other libraries
write, and both are compared. Two formulas of one form are the same function, up to rounding.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from jitprop._types import Array
from jitprop.export.onnx import Graph
from jitprop.net.activations import ELU, LeakyReLU, Softplus
from jitprop.net.spec import OUTPUT_ACTIVATIONS

MOST_PARTS = 2000
"""The largest formula: gelu in float64 has 700 parts. Shared parts count as often as they occur."""

MOST_WITH_SETTING = 20
"""An activation with a setting has fewer numbers in its formula."""

ATTRIBUTES: dict[str, dict[str, Any]] = {
    "Elu": {"alpha": 1.0},
    "Gelu": {"approximate": b"none"},
    "HardSigmoid": {"alpha": 0.2, "beta": 0.5},
    "LeakyRelu": {"alpha": 0.01},
    "Selu": {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875},
    "Swish": {"alpha": 1.0},
}
"""The attributes of operators, with their defaults."""

OPERATORS = {
    *ATTRIBUTES,
    "Abs",
    "Add",
    "Clip",
    "Div",
    "Erf",
    "Exp",
    "Greater",
    "Less",
    "Log",
    "Max",
    "Min",
    "Mish",
    "Mul",
    "Neg",
    "Pow",
    "Relu",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Softsign",
    "Sub",
    "Tanh",
    "Where",
}
"""The operators that a formula may have."""

THRESHOLD = 20.0
"""Beyond it PyTorch's softplus is z itself, which is less by a 1e-10th part."""

SORTED = ("Add", "Max", "Min", "Mul")
"""Operators whose operands have no order."""


class Formula(NamedTuple):
    """
    A function of z in its one form.

    Attributes
    ----------
    key : str
        The function, with # for each number.
    numbers : tuple of float
        These numbers, in their order in the key.
    node : str
        The last node, for error messages.
    op : str
        The last operator; empty for z, and "#" for a number.
    parts : tuple of Formula
    """

    key: str
    numbers: tuple[float, ...] = ()
    node: str = ""
    op: str = ""
    parts: tuple[Any, ...] = ()

    @property
    def is_z(self) -> bool:
        """Whether this is z itself."""
        return self.key == "z"

    def is_rest_of(self, other: Formula) -> bool:
        """Whether this is 1 - other."""
        rest = apply("Sub", "", [_number(1.0), other], {})
        return (self.key, self.numbers) == (rest.key, rest.numbers)

    def shown(self) -> str:
        """Return the formula as error messages show it."""
        left = iter(self.numbers)
        text = "".join(f"{next(left):g}" if c == "#" else c for c in self.key)
        return text if len(text) <= 100 else text[:97] + "..."


Z = Formula("z")


def number(array: Array) -> Formula:
    """Return a single number as a formula; one of float32 as its shortest decimal number."""
    return _number(_shortest(array.reshape(-1)[0]))


def _number(value: float) -> Formula:
    return Formula("#", (value,), op="#")


def _shortest(value: Any) -> float:
    return float(str(value)) if isinstance(value, np.float32) else float(value)


def apply(op: str, node: str, parts: Sequence[Formula], settings: dict[str, Any]) -> Formula:
    """
    Return the formula of an operator with these operands.

    Raises
    ------
    ValueError
        For an attribute that the operator does not have, and for a formula that is too long.
    """
    known = ATTRIBUTES.get(op, {})
    if not known.keys() >= settings.keys():
        raise ValueError(f"it has the attribute {', '.join(settings.keys() - known.keys())}")
    for value in (known | settings).values():
        if isinstance(value, bytes):
            op += f"_{value.decode()}"
        else:
            parts = [*parts, _number(_shortest(np.float32(value)))]
    made = _in_form(op, list(parts))
    if len(made.key) > 10 * MOST_PARTS or len(made.numbers) > MOST_PARTS:
        raise ValueError("the formula is too long")
    return made._replace(node=node)


def _in_form(op: str, parts: list[Formula]) -> Formula:
    if op == "Neg":
        return _in_form("Mul", [_number(-1.0), *parts])
    if op == "Sub":
        return _in_form("Add", [parts[0], _in_form("Neg", parts[1:])])
    if op == "Div" and parts[1].op == "#" and parts[1].numbers[0] != 0.0:
        return _in_form("Mul", [parts[0], _number(1.0 / parts[1].numbers[0])])
    if op == "Pow" and parts[1].numbers in ((2.0,), (3.0,)) and parts[1].op == "#":
        return _in_form("Mul", parts[:1] * int(parts[1].numbers[0]))
    if op == "Less":
        return _in_form("Greater", parts[::-1])
    if op in ("Add", "Mul"):
        return _joined(op, parts)
    if op in SORTED:
        parts = sorted(parts, key=lambda part: (part.key, part.numbers))
    return _made(op, parts)


def _joined(op: str, parts: list[Formula]) -> Formula:
    """Return a sum or a product with its terms in order, and with one number at most."""
    terms = [term for part in parts for term in (part.parts if part.op == op else (part,))]
    neutral = 0.0 if op == "Add" else 1.0
    total = neutral
    for term in terms:
        if term.op == "#":
            total = total + term.numbers[0] if op == "Add" else total * term.numbers[0]
    terms = [term for term in terms if term.op != "#"]
    terms.sort(key=lambda term: (term.key, term.numbers))
    if total != neutral or not terms:
        terms.insert(0, _number(total))
    return terms[0] if len(terms) == 1 else _made(op, terms)


def _made(op: str, parts: list[Formula]) -> Formula:
    key = f"{op}({','.join(part.key for part in parts)})"
    return Formula(key, tuple(x for part in parts for x in part.numbers), "", op, tuple(parts))


# What is compared with.


def known(formula: Formula, dtype: np.dtype[Any]) -> Any:
    """Return the activation that the formula is, as `Trainer` takes it; None if it is none."""
    for other, activation in _table(dtype.name).get(formula.key, ()):
        if _same(formula, other, dtype):
            return activation
    # Then one with a setting, which is a number of the formula. These have few.
    for value in {*formula.numbers[:MOST_WITH_SETTING]}:
        for activation, other in _with_setting(value, dtype):
            if other.key == formula.key and _same(formula, other, dtype):
                return activation
    return None


def _same(formula: Formula, other: Formula, dtype: np.dtype[Any]) -> bool:
    """Whether the numbers of two formulas are the same, but for the rounding of the dtype."""
    tolerance = 4 * float(np.finfo(dtype).eps)
    return all(
        math.isclose(a, b, rel_tol=tolerance)
        for a, b in zip(formula.numbers, other.numbers, strict=True)
    )


@functools.cache
def _table(dtype: str) -> dict[str, list[tuple[Formula, Any]]]:
    """Return all activations without settings by the keys of their formulas."""
    made: dict[str, list[tuple[Formula, Any]]] = {}
    for activation in OUTPUT_ACTIVATIONS:
        formula = _own(activation, np.dtype(dtype))
        made.setdefault(formula.key, []).append((formula, activation))
    for activation, formula in _of_others():
        made.setdefault(formula.key, []).append((formula, activation))
    return made


def _own(activation: Any, dtype: np.dtype[Any]) -> Formula:
    """Return the formula of the nodes that `jitprop.export.to_onnx` writes."""
    from onnx import helper, numpy_helper

    graph = Graph(dtype)
    name = graph.activation(activation, "z", None)
    found: dict[str, Formula] = {"z": Z} | {
        tensor.name: number(numpy_helper.to_array(tensor)) for tensor in graph.initializers
    }
    for node in graph.nodes:
        settings = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        parts = [found[each] for each in node.input]
        if node.op_type == "Identity":
            found[node.output[0]] = parts[0]
        else:
            if node.op_type == "Softmax":
                settings = {}
            found[node.output[0]] = apply(node.op_type, "", parts, settings)
    return found[name]


def _f(op: str, *parts: Formula | float, **settings: Any) -> Formula:
    made = [part if isinstance(part, Formula) else _number(part) for part in parts]
    return apply(op, "", made, settings)


def _of_others() -> Iterator[tuple[str, Formula]]:
    """Yield the formulas that ONNX has one operator for, and those that PyTorch writes."""
    for op in ("Mish", "Relu", "Sigmoid", "Softplus", "Softsign", "Tanh"):
        yield op.lower(), _f(op, Z)
    yield "silu", _f("Swish", Z)
    yield "selu", _f("Selu", Z)
    yield "relu", _f("Max", Z, 0.0)
    yield "leaky_relu", _f("LeakyRelu", Z)
    yield "elu", _f("Elu", Z)
    yield "hard_sigmoid", _f("HardSigmoid", Z, alpha=1 / 6)
    yield "gelu", _f("Gelu", Z)
    yield "gelu_tanh", _f("Gelu", Z, approximate=b"tanh")
    yield "softplus", _f("Where", _f("Greater", Z, THRESHOLD), Z, _f("Softplus", Z))
    yield "mish", _f("Mul", Z, _f("Tanh", _f("Softplus", Z)))
    erf = _f("Erf", _f("Mul", Z, math.sqrt(0.5)))
    yield "gelu", _f("Mul", 0.5, Z, _f("Add", 1.0, erf))
    inner = _f("Add", Z, _f("Mul", 0.044715, Z, Z, Z))
    outer = _f("Tanh", _f("Mul", math.sqrt(2 / math.pi), inner))
    yield "gelu_tanh", _f("Mul", 0.5, Z, _f("Add", 1.0, outer))


def _with_setting(value: float, dtype: np.dtype[Any]) -> Iterator[tuple[Any, Formula]]:
    """Yield activations with this setting, in the forms of jitprop and of others."""
    kinds: list[tuple[Callable[[float], Any], str | None]] = [
        (LeakyReLU, "LeakyRelu"),
        (ELU, "Elu"),
        (Softplus, None),
    ]
    for kind, op in kinds:
        try:
            activation = kind(value)
        except ValueError:  # such as a slope below 0
            continue
        yield activation, _own(activation, dtype)
        if op is not None:
            yield activation, apply(op, "", [Z], {"alpha": value})
        if kind is Softplus:
            scaled = _f("Mul", value, Z)
            softplus = _f("Mul", 1.0 / value, _f("Softplus", scaled))
            yield activation, softplus
            yield activation, _f("Where", _f("Greater", scaled, THRESHOLD), Z, softplus)
