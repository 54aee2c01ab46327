"""Nets of FANN, the Fast Artificial Neural Network library, from its text files."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jitprop import checks
from jitprop._types import Array
from jitprop.checks import quoted
from jitprop.convert._converted import Converted, one_or_fleet
from jitprop.convert._settings import with_settings
from jitprop.fleet import Fleet
from jitprop.net.optimizers import SGD
from jitprop.trainer import Trainer

HEADER = "FANN_FLO_2.1"

MOST_BYTES = 1 << 30
"""The largest file that is read. A weight takes about 35 bytes in it."""


class Kind(NamedTuple):
    """
    A kind of neuron.

    Attributes
    ----------
    name : str
        FANN's name.
    activation : str or None
        jitprop's; None if it has none.
    gain : float
        FANN's neuron computes activation(gain steepness z).
    symmetric : bool
        Whether FANN halves the error of such an output.
    smooth : int or None
        For an activation of straight lines: the number of the smooth one that it stands for.
    """

    name: str
    activation: str | None
    gain: float = 1.0
    symmetric: bool = False
    smooth: int | None = None


# In the order of FANN's enum fann_activationfunc_enum.
KINDS = (
    Kind("FANN_LINEAR", "identity"),
    Kind("FANN_THRESHOLD", None),
    Kind("FANN_THRESHOLD_SYMMETRIC", None, symmetric=True),
    Kind("FANN_SIGMOID", "sigmoid", gain=2.0),
    Kind("FANN_SIGMOID_STEPWISE", None, smooth=3),
    Kind("FANN_SIGMOID_SYMMETRIC", "tanh", symmetric=True),
    Kind("FANN_SIGMOID_SYMMETRIC_STEPWISE", None, symmetric=True, smooth=5),
    Kind("FANN_GAUSSIAN", None),
    Kind("FANN_GAUSSIAN_SYMMETRIC", None, symmetric=True),
    Kind("FANN_GAUSSIAN_STEPWISE", None),
    Kind("FANN_ELLIOT", None),
    Kind("FANN_ELLIOT_SYMMETRIC", "softsign", symmetric=True),
    Kind("FANN_LINEAR_PIECE", None),
    Kind("FANN_LINEAR_PIECE_SYMMETRIC", None, symmetric=True),
    Kind("FANN_SIN_SYMMETRIC", None, symmetric=True),
    Kind("FANN_COS_SYMMETRIC", None, symmetric=True),
    Kind("FANN_SIN", None),
    Kind("FANN_COS", None),
)

ALGORITHMS = ("INCREMENTAL", "BATCH", "RPROP", "QUICKPROP", "SARPROP")
"""In the order of FANN's enum fann_train_enum."""


def from_fann(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    stepwise: str = "refuse",
    **settings: Any,
) -> Trainer | Fleet:
    """
    Read a net that FANN 2.2 saved with ``fann_save``.

    Parameters
    ----------
    path : path, or a list of paths
        The text file. A list gives a `Fleet`, with a member for each file.
    stepwise : {"refuse", "smooth"}, default "refuse"
        What to do with FANN_SIGMOID_STEPWISE and FANN_SIGMOID_SYMMETRIC_STEPWISE, which a net of
        FANN has unless it was told otherwise. They are made of straight lines, up to 0.033 off the
        function that they stand for, and jitprop does not have them. "smooth" reads them as
        FANN_SIGMOID and FANN_SIGMOID_SYMMETRIC. The outputs then differ a little from FANN's.
    **settings
        Arguments of `Trainer`, which are used in place of what the file says.

    Returns
    -------
    Trainer or Fleet
        In float64, unless ``dtype`` is among the settings: the file does not say whether FANN
        computed in float32 or in float64.

    Raises
    ------
    TypeError, ValueError
        For a file that is damaged, or of another version, or of the fixed-point library. For a net
        with shortcuts, with missing connections, or with an activation that jitprop does not have.
        For a way of training that jitprop does not have, unless ``optimizer`` or ``loss`` is
        given. For bad settings.
    OSError
        If the file cannot be read.

    Notes
    -----
    A neuron of FANN computes f(s z) with its steepness s, where FANN_SIGMOID is 1 / (1 + exp(-2 s
    z)) and FANN_SIGMOID_SYMMETRIC is tanh(s z). Here the factor c of z, 2 s or s, is part of the
    weights and biases. The same update then needs c**2 times FANN's learning rate. So the layer has
    c**2 in ``learning_rate_factors``. FANN also halves the error of symmetric outputs, and the
    trainer halves ``learning_rate`` instead.

    The default of FANN is to train by RPROP with FANN_ERRORFUNC_TANH. jitprop has neither. Pass
    ``optimizer="rprop", loss="half_squared_error"``, or any others. Training then goes another
    way than FANN's.

    For FANN_TRAIN_BATCH and FANN_TRAIN_INCREMENTAL with FANN_ERRORFUNC_LINEAR an update equals
    FANN's up to rounding, as long as no unit is beyond 0.01 ... 0.99 (symmetric: -0.98 ... 0.98).
    Beyond that, FANN computes the slope from the clipped output. FANN also limits s z to plus and
    minus 150 / s. jitprop does neither. The momentum of FANN_TRAIN_INCREMENTAL begins anew, since
    the file does not hold its state.

    FANN writes the learning rate and the momentum with six decimals, so 1.2345e-4 becomes
    0.000123, and 4e-7 becomes 0. If you know the rate, pass it as ``learning_rate``, in FANN's own
    numbers.

    Examples
    --------
    >>> from pathlib import Path
    >>> from jitprop import convert
    >>> written_by_fann_save = '''FANN_FLO_2.1
    ... learning_rate=0.500000
    ... network_type=0
    ... learning_momentum=0.000000
    ... training_algorithm=1
    ... train_error_function=0
    ... layer_sizes=2 2
    ... scale_included=0
    ... neurons (num_inputs, ...)=(0, 0, 0.0) (0, 0, 0.0) (2, 3, 0.5) (0, 0, 0.0)
    ... connections (connected_to_neuron, weight)=(0, 2.0) (1, -1.0)
    ... '''
    >>> _ = Path("net.net").write_text(written_by_fann_save)
    >>> trainer = convert.from_fann("net.net")
    >>> trainer.weights[0].tolist(), trainer.biases[0].tolist(), trainer.output_activation
    ([[2.0]], [-1.0], 'sigmoid')
    """
    checks.choice("stepwise", stepwise, ("refuse", "smooth"))
    smooth = stepwise == "smooth"
    return one_or_fleet(path, lambda each: with_settings(_read(each, smooth, settings), settings))


def _read(path: Any, smooth: bool, settings: Mapping[str, Any]) -> Converted:
    file = Path(os.fsdecode(checks.path("path", path)))
    source = f"FANN's file {quoted(str(file))}"
    if file.stat().st_size > MOST_BYTES:
        raise ValueError(f"{source} must have at most {MOST_BYTES:,} bytes")
    # FANN writes ASCII. Latin-1 reads any file, so that the header decides.
    return _net(_Text(source, file.read_text("latin-1")), smooth, settings)


class _Text:
    """The content of a file, with its values by their names."""

    def __init__(self, source: str, text: str) -> None:
        self.source = source
        header, _, rest = text.partition("\n")
        self._check_header(header.strip())
        self.values = {}
        for line in rest.splitlines():
            # The names "neurons (num_inputs, ...)" and "connections (...)" have spaces.
            name, equals, value = line.partition("=")
            if equals:
                self.values[name.split(" ")[0]] = value

    def _check_header(self, header: str) -> None:
        if header.startswith("FANN_FIX"):
            raise ValueError(
                f"{self.source} is of the fixed-point library: save the net with fann_save, not "
                "with fann_save_to_fixed"
            )
        if header != HEADER:
            raise ValueError(f"{self.source} must begin with {HEADER}; it has {quoted(header)}")

    def text(self, name: str) -> str:
        """Return a value; a ValueError says if there is none."""
        if name not in self.values:
            raise ValueError(f"{self.source} has no {name}")
        return self.values[name]

    def number(self, name: str) -> float:
        """Return a number."""
        return self.as_number(name, self.text(name))

    def as_number(self, name: str, text: str) -> float:
        """Return the finite number in a text."""
        try:
            return checks.number(name, float(text))
        except ValueError as error:
            raise ValueError(
                f"{self.source} must have a finite number as {name}; it has {quoted(text)}"
            ) from error

    def integer(self, name: str, text: str, limit: int) -> int:
        """Return the integer in a text, from 0 to below ``limit``."""
        digits = text.strip()
        if not re.fullmatch(r"[0-9]{1,18}", digits) or int(digits) >= limit:
            raise ValueError(
                f"{self.source} must have an integer from 0 to {limit - 1} as {name}; "
                f"it has {quoted(text)}"
            )
        return int(digits)

    def tuples(self, name: str, size: int) -> list[list[str]]:
        """Return the texts within pairs of brackets, ``size`` in each pair."""
        text = self.text(name)
        found = [part.split(", ") for part in re.findall(r"\(([^()]*)\)", text)]
        if any(len(part) != size for part in found):
            raise ValueError(f"{self.source} must have {size} numbers in each of its {name}")
        return found


def _net(text: _Text, smooth: bool, settings: Mapping[str, Any]) -> Converted:
    source = text.source
    if text.integer("network_type", text.text("network_type"), 2) == 1:
        raise ValueError(f"{source} has shortcuts between layers, which jitprop does not have")
    if text.integer("scale_included", text.text("scale_included"), 2) == 1:
        raise ValueError(
            f"{source} has scaling parameters. fann_run does not use them, so scale the data "
            "yourself; call fann_clear_scaling_params before fann_save"
        )
    # Each layer has one neuron more, the bias of the next layer.
    sizes = [
        text.integer("layer_sizes", size, 1 << 31) - 1 for size in text.text("layer_sizes").split()
    ]
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(f"{source} must have at least two layers of at least one neuron")
    kinds, factors = _kinds(text, sizes, smooth)
    weights, biases = _parameters(text, sizes)
    for W, b, factor in zip(weights, biases, factors, strict=True):
        W *= factor
        b *= factor
    return Converted(
        source=source,
        weights=weights,
        biases=biases,
        activations=[str(kind.activation) for kind in kinds],
        dtype=np.dtype(np.float64),
        **_training(text, kinds, factors, settings),
    )


def _kinds(text: _Text, sizes: list[int], smooth: bool) -> tuple[list[Kind], list[float]]:
    """Return the kind of each layer's neurons, and the factor of their z."""
    neurons = text.tuples("neurons", 3)
    if len(neurons) != sum(sizes) + len(sizes):
        raise ValueError(
            f"{text.source} must have {sum(sizes) + len(sizes)} neurons for its layer_sizes; "
            f"it has {len(neurons)}"
        )
    kinds: list[Kind] = []
    factors: list[float] = []
    first = sizes[0] + 1
    for n_in, n_out in itertools.pairwise(sizes):
        layer = neurons[first : first + n_out]
        first += n_out + 1
        name = f"layer {len(kinds) + 1}"
        if any(text.integer("num_inputs", neuron[0], 1 << 31) != n_in + 1 for neuron in layer):
            raise ValueError(f"{text.source} must have all connections between its layers")
        if any(neuron[1:] != layer[0][1:] for neuron in layer):
            raise ValueError(
                f"{text.source} must have one activation and one steepness in {name}; "
                "its neurons differ"
            )
        kind = KINDS[text.integer("activation_function", layer[0][1], len(KINDS))]
        if kind.smooth is not None and smooth:
            kind = KINDS[kind.smooth]
        if kind.activation is None:
            ways = "" if kind.smooth is None else _way_out(KINDS[kind.smooth].name)
            raise ValueError(
                f"{text.source} has {kind.name} in {name}, which jitprop does not have{ways}"
            )
        factor = kind.gain * text.as_number("activation_steepness", layer[0][2])
        if factor <= 0.0:
            raise ValueError(f"{text.source} must have a steepness above 0 in {name}")
        kinds.append(kind)
        factors.append(factor)
    return kinds, factors


def _way_out(name: str) -> str:
    return (
        f": call fann_set_activation_function_hidden and ..._output with {name} before you train, "
        f"or read it as {name} by stepwise='smooth'"
    )


def _parameters(text: _Text, sizes: list[int]) -> tuple[list[Array], list[Array]]:
    """Return weights and biases. A neuron has its connections in one block, the bias as last."""
    connections = text.tuples("connections", 2)
    shapes = list(itertools.pairwise(sizes))
    expected = sum((n_in + 1) * n_out for n_in, n_out in shapes)
    if len(connections) != expected:
        raise ValueError(
            f"{text.source} must have all {expected} connections between its layers; "
            f"it has {len(connections)}"
        )
    weights, biases, first, begin = [], [], 0, 0
    for n_in, n_out in shapes:
        block = connections[begin : begin + (n_in + 1) * n_out]
        begin += len(block)
        names = [str(i) for i in range(first, first + n_in + 1)] * n_out
        if [source for source, _ in block] != names:
            raise ValueError(
                f"{text.source} must connect each neuron with all of the layer before it, in order"
            )
        numbers = [text.as_number("weight", weight) for _, weight in block]
        made = np.array(numbers).reshape(n_out, n_in + 1)
        weights.append(made[:, :-1].T.copy())
        biases.append(made[:, -1].copy())
        first += n_in + 1
    return weights, biases


def _training(
    text: _Text, kinds: list[Kind], factors: list[float], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what the file says of training, where the settings do not say it."""
    made: dict[str, Any] = {}
    if "loss" not in settings:
        if text.integer("train_error_function", text.text("train_error_function"), 2) == 1:
            raise ValueError(
                f"{text.source} has FANN_ERRORFUNC_TANH, which jitprop does not have: call "
                "fann_set_train_error_function with FANN_ERRORFUNC_LINEAR, or pass loss"
            )
        made |= {"loss": "half_squared_error", "loss_factor": 0.5 if kinds[-1].symmetric else 1.0}
    if "optimizer" in settings:
        return made
    algorithm = ALGORITHMS[
        text.integer("training_algorithm", text.text("training_algorithm"), len(ALGORITHMS))
    ]
    if algorithm not in ("INCREMENTAL", "BATCH"):
        raise ValueError(
            f"{text.source} is to be trained by FANN_TRAIN_{algorithm}, which jitprop does not "
            "have: call fann_set_training_algorithm with FANN_TRAIN_BATCH or "
            "FANN_TRAIN_INCREMENTAL, or pass optimizer"
        )
    # FANN computes with these numbers in float32, in the library for float64 too.
    rate, momentum = (
        float(np.float32(text.number(name))) for name in ("learning_rate", "learning_momentum")
    )
    if rate <= 0.0 and "learning_rate" not in settings:
        raise ValueError(
            f"{text.source} has the learning rate {rate:g}, as FANN writes six decimals: pass "
            "learning_rate"
        )
    if any(factor != 1.0 for factor in factors):
        made["learning_rate_factors"] = [factor * factor for factor in factors]
    single = algorithm == "INCREMENTAL"
    return made | {
        "optimizer": SGD(momentum=momentum) if single else SGD(),
        "learning_rate": rate,
        "batch_size": 1 if single else None,
        "shuffle": not single,
    }
