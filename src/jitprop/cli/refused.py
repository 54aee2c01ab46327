"""The error that ends a command with one line for the user."""

from __future__ import annotations


class RefusedError(Exception):
    """Bad input, explained to the user in one line; the command ends with exit code 2."""
