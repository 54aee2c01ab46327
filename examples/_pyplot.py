"""Matplotlib, for the examples that draw if they are asked to."""

from typing import Any


def pyplot() -> Any:
    """Return ``matplotlib.pyplot``, or say how to get it."""
    try:
        from matplotlib import pyplot as plt
    except ImportError as error:
        raise SystemExit(
            f"--out needs matplotlib: pip install 'jitprop[plot]' ({error})"
        ) from error
    return plt
