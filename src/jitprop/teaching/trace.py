"""One step of training with every number in sight, as `Trainer.trace` returns it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np

from jitprop import reference
from jitprop._types import Array
from jitprop.checks import quoted
from jitprop.data import cast
from jitprop.data.samples import Samples, Steps
from jitprop.net import schedules
from jitprop.net.second_order import has_ended
from jitprop.net.spec import Spec
from jitprop.net.state import State, all_finite
from jitprop.teaching import formulas
from jitprop.training.errors import DivergenceError
from jitprop.training.history import Course
from jitprop.training.model import Model

if TYPE_CHECKING:
    from rich.table import Table

HEADINGS = ("quantity", "formula", "value")


@dataclass(frozen=True, eq=False, repr=False)
class Trace:
    """
    Every quantity of one step of training on n samples, in the trainer's dtype.

    Layers are counted from 0: in layers l = 0, ..., L - 1, a[0] holds the samples and a[L] the
    outputs. ``print`` shows a trace as a table, ``rich.print`` shows it in colours, and so does a
    notebook. Tables shorten large arrays; the attributes hold all numbers.

    Attributes
    ----------
    loss : float
        The mean or the sum of the samples' losses, as ``reduction`` says.
    learning_rate : float
        The learning rate of this step.
    y : (n, n_targets) array
        The targets. Class labels are one-hot encoded, and smoothed if the loss says so.
    w : (n,) array or None
        The weight of each sample, if weights are given or the loss has class weights.
    weights, biases : lists of arrays, (n_in, n_out) and (n_out,)
        The parameters before the step.
    mask : list of (n, n_out) arrays or None
        What dropout multiplies the a of each hidden layer by: 0 or 1 / (1 - p).
    z, a : lists of (n, n_out) arrays
        z[l] = a[l] @ W[l] + b[l] and a[l + 1] = f_l(z[l]). Since a[0] is X, there is one more a.
    delta : list of (n, n_out) arrays
        delta[l] = d loss / d z[l]. With the reduction "mean" it includes the factor 1/n.
    d_weights, d_biases : lists of arrays, (n_in, n_out) and (n_out,)
        The gradient, d loss / d W[l] and d loss / d b[l], without weight decay.
    update_weights, update_biases : lists of arrays, (n_in, n_out) and (n_out,)
        The new parameters minus the old ones.
    formulas : dict of str to str
        The formula of each quantity by its name, such as "delta[1]". The formula of an update has a
        line for each quantity that it needs, where v and m, for example, stand for what the
        optimizer keeps.
    """

    loss: float
    learning_rate: float
    y: Array
    w: Array | None
    weights: list[Array]
    biases: list[Array]
    mask: list[Array | None]
    z: list[Array]
    a: list[Array]
    delta: list[Array]
    d_weights: list[Array]
    d_biases: list[Array]
    update_weights: list[Array]
    update_biases: list[Array]
    formulas: dict[str, str]

    def __getitem__(self, name: str) -> Any:
        """
        Return a quantity by its name in the table, such as "delta[1]".

        Raises
        ------
        KeyError
            For another name.
        """
        if name not in self.formulas:
            raise KeyError(f"{quoted(name)} is unknown: known are {', '.join(self.formulas)}")
        attribute, _, index = name.rstrip("]").partition("[")
        value = getattr(self, {"W": "weights", "b": "biases"}.get(attribute, attribute))
        return value[int(index)] if index else value

    def __str__(self) -> str:
        rows = [HEADINGS, *self._rows()]
        widths = [max(len(line) for row in rows for line in row[i].split("\n")) for i in range(2)]
        lines = []
        for row in rows:
            for name, formula, value in zip_longest(*map(str.splitlines, row), fillvalue=""):
                line = f"{name:{widths[0]}}  {formula:{widths[1]}}  {value}"
                lines.append(line.rstrip())
        return "\n".join(lines)

    __repr__ = __str__

    def __rich__(self) -> Table:
        """Return the table that ``rich.print`` shows."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE)
        for heading in HEADINGS:
            table.add_column(heading, no_wrap=heading != "formula")
        for name, formula, value in self._rows():
            table.add_row(Text(name, "bold"), Text(formula, "cyan"), Text(value))
        return table

    def _repr_html_(self) -> str:
        """Return the table that a notebook shows, as HTML."""
        import html

        style = "text-align: left; vertical-align: top; white-space: pre; font-family: monospace"
        lines = ["".join(f'<th style="{style}">{heading}</th>' for heading in HEADINGS)]
        for row in self._rows():
            lines.append("".join(f'<td style="{style}">{html.escape(cell)}</td>' for cell in row))
        return "<table>\n" + "\n".join(f"<tr>{line}</tr>" for line in lines) + "\n</table>"

    def _rows(self) -> Iterator[tuple[str, str, str]]:
        for name, formula in self.formulas.items():
            yield name, formula, _shown(np.asarray(self[name]))


def _shown(value: Array) -> str:
    """Numbers in columns. A large array is shown by its edges and its shape."""
    if value.ndim == 0:
        return f"{value:.6g}"
    table = np.atleast_2d(value)
    rows, columns = _edges(table.shape[0], 6), _edges(table.shape[1], 4)
    texts = [
        ["..." if i is None or j is None else f"{table[i, j]:.6g}" for j in columns] for i in rows
    ]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    lines = [
        "  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True))
        for line in texts
    ]
    if None in (*rows, *columns):
        lines.append(f"({' x '.join(map(str, value.shape))})")
    return "\n".join(lines)


def _edges(n: int, most: int) -> list[int | None]:
    """Indices 0 to n - 1; of more than ``most`` the first few, None for a gap, and the last."""
    return [*range(n)] if n <= most else [*range(most // 2), None, n - 1]


def trace(model: Model, x: Any, y: Any, sample_weight: Any) -> Trace:
    """
    Compute every quantity of one update with the functions of `jitprop.reference`.

    No argument is changed. See `Trainer.trace`.
    """
    if (one := cast.read("x", x)).ndim == 1:
        x, y = one.reshape(1, -1), cast.read("y", y).reshape(1, -1)
    samples = model.samples(x, y, sample_weight, model.dtype)
    state, rates = model.state.cast(samples.X.dtype), np.empty(1)
    schedules.fill(rates, model.spec.learning_rate, state.epochs, state.plateau)
    spec = replace(model.spec, batch_size=None, learning_rate=float(rates[0]))
    X, y, w = samples.read()
    weights, biases = spec.split(state.params.copy())
    update_weights, update_biases = spec.split(_updated(spec, state, samples, rates) - state.params)
    masks = reference.dropout_masks(spec, state.dropout_key, state.updates + 1, len(X), X.dtype)
    with np.errstate(all="ignore"):
        a, slopes, output_z = reference.forward(spec, weights, biases, X, masks)
        z = [*(a[l] @ weights[l] + biases[l] for l in range(len(slopes))), output_z]
        targets = reference.targets(spec, y, X.dtype)
        output, losses, delta = reference.output_delta(spec, output_z, targets)
        if w is not None:
            losses, delta = w * losses, w[:, np.newaxis] * delta
        delta = delta / (divisor := spec.divisor(len(X), w))
        deltas = reference.backward(weights, slopes, delta)
    loss = float(losses.sum(dtype=np.float64))
    return Trace(
        loss=loss / divisor,
        learning_rate=float(rates[0]),
        y=targets.copy(),
        w=None if w is None else w.copy(),
        weights=weights,
        biases=biases,
        mask=masks,
        z=z,
        a=[X.copy(), *a[1:], output],
        delta=deltas,
        d_weights=[a[l].T @ deltas[l] for l in range(len(weights))],
        d_biases=[delta.sum(axis=0) for delta in deltas],
        update_weights=update_weights,
        update_biases=update_biases,
        formulas=formulas.step(spec, len(X), w is not None, state.updates),
    )


def _updated(spec: Spec, state: State, samples: Samples, rates: Array) -> Array:
    """Return the parameters after one update on all samples, (P,)."""
    params, slots = state.params.copy(), state.slots.copy()
    steps = Steps(*samples.read(), None, np.zeros(1), rates, 0, 1)
    trained = reference.train(spec, params, slots, steps, state.updates, state.dropout_key)
    ended = has_ended(spec.optimizer, slots)  # then there is no step, and that is no divergence
    if (trained < 1 and not ended) or not all_finite(params, slots):
        rate = None if spec.optimizer.uses_rate == "never" else float(rates[0])
        raise DivergenceError(0, Course().history(), 0, rate, spec.custom_functions)
    return params
