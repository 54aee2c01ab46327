"""How a command ends, and what it says: results to stdout, one line for anything else to stderr."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Any

import click

from jitprop.checks import printable
from jitprop.cli.refused import RefusedError

FAILED = 2
INTERRUPTED = 130
"""128 + SIGINT, as shells have it."""


LONGEST = 10_000
"""Characters of a message: two paths are not longer."""

QUOTATION = re.compile(r"(?<!\w)(?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")")


class Interrupted(Exception):  # noqa: N818
    """Ctrl-C, in words that say what became of the work."""


def run(command: click.Command, arguments: Sequence[str]) -> int:
    """Run a command; returns its exit code."""
    with warnings.catch_warnings():
        warnings.showwarning = _warn
        try:
            code = command.main(list(arguments), prog_name="jitprop", standalone_mode=False)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            return FAILED
        except click.ClickException as error:
            return _fail(error.format_message(), FAILED)
        except RefusedError as error:
            return _fail(str(error), FAILED)
        except MemoryError as error:
            return _fail(f"not enough memory: {error}", FAILED)
        except Interrupted as error:
            return _fail(str(error), INTERRUPTED)
        except (click.Abort, KeyboardInterrupt):
            return _fail("interrupted", INTERRUPTED)
    return code if isinstance(code, int) else 0


def say(sentence: str) -> None:
    """Tell a person what they may want to know."""
    click.echo(f"note: {one_line(sentence)}", err=True)


def say_nothing(sentence: str) -> None:
    """For those who asked for quiet."""


def one_line(message: str) -> str:
    """
    A message on one line, whatever it quotes, and each quotation cut.

    A file may hold what moves a terminal's cursor or hides a line, and texts of any length.
    """
    plain = "".join(c if c.isprintable() else " " for c in message[:LONGEST])
    return QUOTATION.sub(lambda found: printable(found.group()), " ".join(plain.split()))


def lines(text: str) -> str:
    """Lines as a terminal may show them, with control characters written out."""
    return "\n".join(printable(line, None) for line in text.split("\n"))


def _fail(message: str, code: int) -> int:
    click.echo(f"error: {one_line(message)}", err=True)
    return code


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    click.echo(f"warning: {one_line(str(message))}", err=True)
