"""
A page on which a person sees a net learn, with every number of backpropagation.

`lesson` trains a net and keeps snapshots of it. The folder ``page`` holds the page: its HTML, its
style, its scripts, and all its texts in ``texts.json``. This file puts them together with the
snapshots. The page computes all other numbers itself.
"""

from __future__ import annotations

import base64
import copy
import dataclasses
import html
import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from jitprop import checks
from jitprop._types import Array
from jitprop.files.atomic import replacing
from jitprop.net.custom import CustomActivation, CustomLoss
from jitprop.net.optimizers import SGD, Adam, RMSprop, Rprop
from jitprop.net.spec import Spec
from jitprop.teaching.trace import Trace
from jitprop.training.history import History
from jitprop.training.model import Model, model_of

if TYPE_CHECKING:
    from jitprop.trainer import Trainer

MOST_UNITS = 12
MOST_LAYERS = 4
MOST_CLASSES = 10
MOST_SAMPLES = 200

MOST_SNAPSHOTS = 200
MOST_NUMBERS = 26_000
"""How many numbers all snapshots may have: a number takes 11 bytes, and a page at most 500 KB."""

MOST_LOSSES = 500
"""How many points the curve of the loss has."""

KNOWN_ORDERS = 100
"""For how many epochs the page knows the order of the samples, if they are shuffled."""

SCRIPTS = ("engine.js", "data.js", "net.js", "curve.js", "surface.js", "chain.js", "app.js")
"""The scripts of the page, in the order in which they run."""


@dataclass(frozen=True, eq=False, repr=False)
class Lesson:
    """
    A lesson, as `lesson` returns it. A notebook shows it as the page itself.

    Attributes
    ----------
    html : str
        The page.
    path : Path or None
        Where it was written.
    history : History
        Loss by epoch.
    """

    html: str
    path: Path | None
    history: History

    def __repr__(self) -> str:
        where = "" if self.path is None else f", in {self.path}"
        return f"Lesson({len(self.html) // 1000} KB{where})"

    def _repr_html_(self) -> str:
        style = "width: 100%; height: 900px; border: 0"
        page = html.escape(self.html)
        return f'<iframe title="jitprop" srcdoc="{page}" style="{style}"></iframe>'


def lesson(
    trainer: Trainer,
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    epochs: int,
    path: str | os.PathLike[str] | None = None,
    *,
    title: str | None = None,
    about: str = "",
    input_names: Sequence[str] | None = None,
) -> Lesson:
    """
    Train a small net and write a page on which a person sees backpropagation happen.

    The page is one HTML file of less than 500 KB, which needs no network. It shows the net, the
    curve of the loss and the outputs at each snapshot. For a sample or for all of them, it shows z,
    a and delta of every unit, and writes out the gradient of any weight by the chain rule, down to
    the update. It can train the net again, with another learning rate, seed, activation or number
    of units.

    Parameters
    ----------
    trainer : Trainer
        The net and its settings. It is not changed: a copy is trained, in float64. The copy goes on
        from where the trainer is.
    X : (n_samples, n_inputs) array-like
        At most 200 samples.
    y : (n_samples, n_targets) or (n_samples,) array-like
        As in `Trainer.fit`.
    epochs : int
        How many epochs to train. There are snapshots of all early epochs, then ever fewer: at most
        200, and fewer for larger nets.
    path : str or path-like, optional
        Where to write the page. An existing file is replaced.
    title : str, optional
        The heading of the page; by default the sizes of the layers, such as "3-4-1".
    about : str, default ""
        A sentence or two for the page about the data.
    input_names : sequence of str, optional
        A name for each input; by default x[0], x[1], ...

    Returns
    -------
    Lesson
        Its ``html`` is the page. A notebook shows it.

    Raises
    ------
    TypeError, ValueError
        For bad input. Also for a net with more than 12 units in a layer, more than 4 layers of
        weights, more than 10 classes, or more than 200 samples: more would not fit on a screen.
        Also for a trainer with ``dtype="float32"``, since the page computes in float64.
    DivergenceError
        If training diverges.
    OSError
        If the file cannot be written.

    Notes
    -----
    At each snapshot the page's numbers are those of ``trainer.trace(X, y)``, or those of a trace of
    one sample, to about 1e-12.

    The page cannot compute a `CustomActivation` or a `CustomLoss`, nor the steps of second-order
    methods, of an ``input_scale_rate`` and of scikit-learn's ``alpha``. Then it shows numbers as
    they were recorded, and cannot train the net again. It cannot follow a schedule of the learning
    rate either.

    Where the page draws initial weights from a seed, it uses a generator of its own, so the weights
    are not those of ``Trainer(seed=...)``. With the seed it starts with, it uses the trainer's
    weights.

    Examples
    --------
    >>> from jitprop import Trainer
    >>> from jitprop.teaching import lesson
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> page = lesson(Trainer([2, 3, 1], reduction="sum", seed=0), X, y, epochs=1000)
    >>> len(page.html) < 500_000
    True
    """
    model = model_of(trainer)
    epochs = checks.integer("epochs", epochs, low=1)
    _check_net(model)
    names = _names(input_names, model.spec.layer_sizes[0])
    title = "-".join(map(str, model.spec.layer_sizes)) if title is None else _text("title", title)
    about = _text("about", about)

    trained = copy.deepcopy(trainer)
    recording = _Recording(trained, X, y)
    if recording.n > MOST_SAMPLES:
        raise ValueError(
            f"X must have at most {MOST_SAMPLES} samples, since a lesson shows each of them on one "
            f"screen; got {recording.n:,}"
        )
    for stop in recording.stops(epochs):
        recording.go_to(stop)
    data = {
        "title": title,
        "about": about,
        "inputs": names,
        "net": _net(model_of(trained)),
        **recording.data(),
    }
    page = _page(data)
    if path is not None:
        with replacing(path) as file:
            file.write(page.encode())
    return Lesson(page, None if path is None else Path(path), recording.history())


def _check_net(model: Model) -> None:
    """Refuse a net that is too large for a page, or that is not in float64."""
    spec = model.spec
    sizes = list(spec.layer_sizes)
    why = "so that a person can see every weight on one screen"
    if len(sizes) - 1 > MOST_LAYERS:
        raise ValueError(
            f"trainer must have at most {MOST_LAYERS} layers of weights for a lesson, {why}; "
            f"layer_sizes {sizes} makes {len(sizes) - 1}"
        )
    if spec.activations[-1] == "softmax" and sizes[-1] > MOST_CLASSES:
        raise ValueError(
            f"trainer must have at most {MOST_CLASSES} classes for a lesson, {why}; got {sizes[-1]}"
        )
    if max(sizes) > MOST_UNITS:
        raise ValueError(
            f"trainer must have at most {MOST_UNITS} units in each layer for a lesson, {why}; "
            f"got layer_sizes {sizes}"
        )
    if model.state.params.dtype != np.float64:
        raise ValueError(
            "trainer must have the dtype float64 for a lesson, since the page computes in float64; "
            f"got {model.state.params.dtype}"
        )


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be text; got {checks.shown(value)}")
    return value


def _names(given: Any, n: int) -> list[str]:
    if given is None:
        return [f"x[{i}]" for i in range(n)]
    if not checks.is_list(given) or len(given) != n:
        raise ValueError(
            f"input_names must be a list of {n} texts, one for each input; "
            f"got {checks.shown(given)}"
        )
    return [_text(f"input_names[{i}]", name) for i, name in enumerate(given)]


class _Recording:
    """
    A training with snapshots.

    The page computes what it can from the parameters. What it cannot compute is recorded: the
    values and slopes of custom activations, a custom loss and its derivatives, and the updates of
    optimizers that the page does not know.
    """

    def __init__(self, trainer: Trainer, X: Any, y: Any) -> None:
        self.trainer, self.X, self.y = trainer, X, y
        self.first = trainer.trace(X, y)
        self.n = len(self.first.a[0])
        spec = model_of(trainer).spec
        self.start = model_of(trainer).state.epochs
        self.custom = [isinstance(f, CustomActivation) for f in spec.activations]
        self.custom_loss = isinstance(spec.loss, CustomLoss)
        known = isinstance(spec.optimizer, SGD | Adam | RMSprop | Rprop)
        self.knows_updates = known and spec.input_scale_rate is None and spec.l2 == 0.0
        self.orders = self._orders()
        self.epochs: list[int] = []
        self.updates: list[int] = []
        self.rates: list[float] = []
        self.params: list[Array] = []
        self.losses: list[float] = []
        self.recorded: dict[str, list[Array]] = {}
        self._add(self.first)

    def stops(self, epochs: int) -> list[int]:
        """
        Return the epochs after which there is a snapshot, without 0.

        The early ones are consecutive; then the gaps grow in proportion to the epoch.
        """
        numbers = sum(array.size for array in (self.params[0], *(v[0] for v in self._lists())))
        most = min(MOST_SNAPSHOTS, MOST_NUMBERS // numbers) - 1
        if most < 1:
            raise ValueError(
                f"X must have fewer samples for a lesson on a custom activation or loss, whose "
                f"numbers a page holds for each sample; got {self.n}"
            )
        if epochs <= most:
            return list(range(1, epochs + 1))
        early = max(most // 3, 1)
        low, high = 1.0, float(epochs)  # of the ratio of one stop to the next
        for _ in range(60):
            ratio = (low + high) / 2
            if len(_growing(early, epochs, ratio)) > most:
                low = ratio
            else:
                high = ratio
        return _growing(early, epochs, high)

    def go_to(self, stop: int) -> None:
        """Train until ``stop`` epochs are done, and take a snapshot."""
        if model_of(self.trainer).state.epochs < self.start + stop:
            history = self.trainer.fit(self.X, self.y, epochs_total=self.start + stop)
            self.losses.extend(history.loss.tolist())
        if model_of(self.trainer).state.epochs - self.start > self.epochs[-1]:
            self._add(self.trainer.trace(self.X, self.y))

    def history(self) -> History:
        """Return the history of all epochs since the start."""
        return self.trainer.history

    def data(self) -> dict[str, Any]:
        """Return what the page is told of the data and of the training."""
        losses = np.array(self.losses)
        n = len(losses)
        shown = np.unique([*range(min(100, n)), *self._spread(n), *range(n)[-1:]]).astype(int)
        recorded = {name: [_packed(a) for a in arrays] for name, arrays in self.recorded.items()}
        slots = recorded.pop("slots", None)
        w = self.first.w
        return {
            "samples": {
                "n": self.n,
                "X": _packed(self.first.a[0]),
                "y": _packed(self.first.y),
                "w": None if w is None else _packed(w),
            },
            "run": {
                "start": self.start,
                "epochs": self.epochs,
                "updates": self.updates,
                "rates": self.rates,
                "params": _packed(np.concatenate(self.params)),
                "slots": slots,
                "orders": self.orders,
                "shown": shown.tolist(),
                "losses": _packed(losses[shown]),
            },
            "recorded": {
                "values": recorded,
                "activations": self.custom,
                "loss": self.custom_loss,
                "updates": not self.knows_updates,
            },
            "fixed": self._fixed(),
        }

    def _spread(self, n: int) -> list[int]:
        """About as many epochs below n as the curve has points, ever fewer."""
        ratio, found, at = 1.0 + 12.0 / MOST_LOSSES, [], 1.0
        while at < n:
            found.append(int(at))
            at = max(at + 1, at * ratio)
        return found

    def _fixed(self) -> str | None:
        """Why the page cannot train the net again, as a key of its texts."""
        if any(self.custom) or self.custom_loss:
            return "fixed_custom"
        if not self.knows_updates:
            return "fixed_optimizer"
        rate = model_of(self.trainer).spec.learning_rate
        return None if isinstance(rate, int | float) else "fixed_schedule"

    def _orders(self) -> list[list[int]] | None:
        """The order of the samples in the first epochs; None where they are not shuffled."""
        model = model_of(self.trainer)
        if not model.shuffle or model.spec.batch(self.n) >= self.n:
            return None
        rng = copy.deepcopy(model.state.rng)
        rows = np.tile(np.arange(self.n), (KNOWN_ORDERS, 1))
        drawn: list[list[int]] = rng.permuted(rows, axis=1).tolist()
        return drawn

    def _lists(self) -> Iterable[list[Array]]:
        return self.recorded.values()

    def _add(self, trace: Trace) -> None:
        model = model_of(self.trainer)
        spec, state = model.spec, model.state
        self.epochs.append(state.epochs - self.start)
        self.updates.append(state.updates)
        self.rates.append(trace.learning_rate)
        self.params.append(state.params.copy())
        kept: dict[str, Array] = {}
        if self.knows_updates:
            if spec.optimizer.n_slots:
                kept["slots"] = state.slots[: spec.optimizer.n_slots].copy()
        else:
            kept["updates"] = _flat(trace.update_weights, trace.update_biases)
        for l, activation in enumerate(spec.activations):
            if isinstance(activation, CustomActivation):
                value, slope = activation.on_arrays(trace.z[l])
                kept |= {f"a{l}": value, f"slope{l}": slope}
        if isinstance(spec.loss, CustomLoss):
            kept["E"], kept["d"] = spec.loss.on_arrays(trace.a[-1], trace.y)
        for name, array in kept.items():
            self.recorded.setdefault(name, []).append(array)


def _growing(early: int, last: int, ratio: float) -> list[int]:
    """1, 2, ..., early, and on with growing gaps to last."""
    found, at = list(range(1, min(early, last) + 1)), float(early)
    while found[-1] < last:
        at = max(at + 1, at * ratio)
        found.append(min(round(at), last))
    return found


def _flat(weights: Sequence[Array], biases: Sequence[Array]) -> Array:
    """Arrays of every W and b in the order of the parameters."""
    pairs = zip(weights, biases, strict=True)
    return np.concatenate([array.ravel() for pair in pairs for array in pair])


def _packed(array: Array) -> str:
    """All numbers of an array, bit for bit: float64, little-endian, in base64."""
    return base64.b64encode(np.ascontiguousarray(array, "<f8").tobytes()).decode()


def _net(model: Model) -> dict[str, Any]:
    """Return the settings of the net, as the page's engine reads them."""
    spec: Spec = model.spec
    drops = any(p > 0 for p in spec.dropout)
    return {
        "sizes": list(spec.layer_sizes),
        "activations": [
            {"name": f} if isinstance(f, str) else _settings(f) for f in spec.activations
        ],
        "loss": _settings(spec.loss),
        "reduction": spec.reduction,
        "optimizer": _settings(spec.optimizer),
        "weight_decay": spec.weight_decay,
        "decay_biases": spec.decay_biases,
        "clip_norm": spec.clip_norm,
        "factors": [list(pair) for pair in spec.factors],
        "dropout": list(spec.dropout),
        "dropout_key": str(model.state.dropout_key) if drops else "0",
        "batch_size": spec.batch_size,
        "n_targets": spec.n_targets,
        "init": getattr(model, "init", None) or "glorot_uniform",
    }


def _settings(part: Any) -> dict[str, Any]:
    """Return the name of an activation, a loss or an optimizer, and its settings."""
    if isinstance(part, CustomActivation | CustomLoss):
        return {"name": part.name, "custom": True}
    values = {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
    plain = (bool, int, float, str)
    return {"name": part.name} | {k: v for k, v in values.items() if isinstance(v, plain)}


@cache
def _file(name: str) -> str:
    """Return a file of the page."""
    folder = resources.files("jitprop.teaching").joinpath("page")
    return folder.joinpath(name).read_text("utf-8")


def _page(data: dict[str, Any]) -> str:
    """Put the page together."""
    texts = json.loads(_file("texts.json"))
    scripts = "\n".join(f"<script>\n{_file(name)}</script>" for name in SCRIPTS)
    parts = {
        "title": html.escape(data["title"]),
        "about": html.escape(data["about"]),
        "style": _file("page.css"),
        "data": _script(data),
        "texts": _script(texts),
        "scripts": scripts,
    }

    def part(found: re.Match[str]) -> str:
        name = found.group(1)
        return parts[name] if name in parts else html.escape(texts[name])

    return re.sub(r"\{\{(\w+)\}\}", part, _file("page.html"))


def _script(value: Any) -> str:
    """Return JSON that may stand in a script element: it must not hold ``</script>``."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
