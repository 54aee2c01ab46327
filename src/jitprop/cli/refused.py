"""What the command line answers to what it cannot do: one line that says what to do."""

from __future__ import annotations


class RefusedError(Exception):
    """Bad input, in words for the person at the terminal; ends the command with exit code 2."""
