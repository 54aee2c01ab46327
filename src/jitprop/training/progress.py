"""The progress of a fit: a bar in a terminal or notebook, an occasional line in a log."""

from __future__ import annotations

import sys
import time
from typing import Any

REDRAW = 0.1
"""Least seconds between two drawings of the bar. One drawing takes about 0.1 ms."""

NEXT_LINE = 10.0
"""Least seconds between two lines, if the output is not a terminal or notebook."""

SHOWN = ("loss", "validation_loss")


class Progress:
    """
    Shows on standard error how many epochs of a fit are done, and the losses.

    Parameters
    ----------
    epochs : int
        Number of epochs of the fit.

    Raises
    ------
    ImportError
        If tqdm is not installed.
    """

    def __init__(self, epochs: int) -> None:
        try:
            from tqdm import auto
        except ImportError as error:
            raise ImportError(
                "progress=True needs tqdm: pip install 'jitprop[progress]'"
            ) from error
        self.epochs = epochs
        in_notebook = auto.notebook_tqdm is not auto.std_tqdm
        self._bar: Any = None
        if in_notebook or sys.stderr.isatty():
            # The bar redraws at every update. `is_due` decides how often we update it.
            self._bar = auto.tqdm(
                total=epochs, unit="epoch", unit_scale=True, mininterval=0, miniters=0
            )
        self._pause = NEXT_LINE if self._bar is None else REDRAW
        self._drawn = time.perf_counter()

    def is_due(self) -> bool:
        """Return whether it is time to draw again."""
        return time.perf_counter() - self._drawn >= self._pause

    def draw(self, done: int, logs: dict[str, float]) -> None:
        """Show the number of finished epochs, and the losses of the last one."""
        numbers = ", ".join(f"{name} {logs[name]:.6g}" for name in SHOWN if name in logs)
        if self._bar is None:
            print(f"epoch {done:,} of {self.epochs:,}: {numbers}", file=sys.stderr, flush=True)
        else:
            self._bar.set_postfix_str(numbers, refresh=False)
            self._bar.update(done - self._bar.n)
        self._drawn = time.perf_counter()

    def close(self) -> None:
        """Leave the bar as it is, and move the cursor to the next line."""
        if self._bar is not None:
            self._bar.close()
