"""What `Trainer.fit` returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class History:
    """
    The course of one `Trainer.fit`.

    Attributes
    ----------
    loss : (epochs,) float64 array
        The loss over all samples of each epoch, their mean or sum as ``reduction`` says. Each
        batch is taken before its own update, so with full batches ``loss[0]`` is that of the
        initial parameters.
    """

    loss: npt.NDArray[np.float64]

    def __repr__(self) -> str:
        n = len(self.loss)
        course = f", loss {self.loss[0]:.6g} -> {self.loss[-1]:.6g}" if n else ""
        return f"History({n} epochs{course})"
