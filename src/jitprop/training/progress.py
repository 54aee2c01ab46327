"""How far a fit is: a bar in a terminal or notebook, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from typing import Any

REDRAW = 0.1
"""Seconds from one drawing of the bar to the next, at the least. One takes about 0.1 ms."""

NEXT_LINE = 10.0
"""Seconds from one line to the next, at the least, where the output is not a terminal."""

SHOWN = ("loss", "validation_loss")


class Progress:
    """
    Draws how many epochs of a fit are done, and its losses, to standard error.

    Parameters
    ----------
    epochs : int

    Raises
    ------
    ImportError
        Without tqdm.
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
            # It redraws whenever it is told; how often that is, is settled here.
            self._bar = auto.tqdm(
                total=epochs, unit="epoch", unit_scale=True, mininterval=0, miniters=0
            )
        self._pause = NEXT_LINE if self._bar is None else REDRAW
        self._drawn = time.perf_counter()

    def is_due(self) -> bool:
        """Whether it is time to draw again."""
        return time.perf_counter() - self._drawn >= self._pause

    def draw(self, done: int, logs: dict[str, float]) -> None:
        """Show so many epochs, and the numbers of the last."""
        numbers = ", ".join(f"{name} {logs[name]:.6g}" for name in SHOWN if name in logs)
        if self._bar is None:
            print(f"epoch {done:,} of {self.epochs:,}: {numbers}", file=sys.stderr, flush=True)
        else:
            self._bar.set_postfix_str(numbers, refresh=False)
            self._bar.update(done - self._bar.n)
        self._drawn = time.perf_counter()

    def close(self) -> None:
        """Leave the bar as it is, and the cursor on the next line."""
        if self._bar is not None:
            self._bar.close()
