"""The error that ends a command with one line for the user."""

from __future__ import annotations

import shlex

from jitprop.checks import printable


def typed(option: str, value: object) -> str:
    """Return an option for a message, as it can be typed in a shell; a long value is cut."""
    return f"{option} {printable(shlex.quote(str(value)))}"


class RefusedError(Exception):
    """Bad input, explained to the user in one line; the command ends with exit code 2."""
