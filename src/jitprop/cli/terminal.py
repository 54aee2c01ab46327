"""What a command prints and its exit code: results go to stdout, notes and errors to stderr."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TextIO

import click

from jitprop.checks import printable
from jitprop.cli.refused import RefusedError

FAILED = 2
INTERRUPTED = 130
"""128 + SIGINT, the convention of shells."""

STDOUT_ERRORS = errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EBADF, errno.EFBIG
"""The system's errors for an output that cannot be written to."""

MAX_LENGTH = 10_000
"""Longer messages are cut. Two paths of the greatest length fit."""

QUOTATION = re.compile(r"(?<!\w)(?:'(?:[^'\\]|\\.)*(?:'|\\?\Z)|\"(?:[^\"\\]|\\.)*(?:\"|\\?\Z))")
"""A quotation in a message. The last one has no closing quote if `MAX_LENGTH` cut the message."""


CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]|\r(?!\n)|[\u202a-\u202e\u2066-\u2069]")
"""
Control characters of a terminal, and those that reverse the direction of writing.

Tabs and line breaks are allowed, since CSV has them in quotes.
"""


class Interrupted(Exception):  # noqa: N818
    """Ctrl-C, with a message that says what was saved."""


def run(command: click.Command, arguments: Sequence[str]) -> int:
    """Run a command; return its exit code."""
    with warnings.catch_warnings(), _escaping(sys.stdout):
        warnings.showwarning = _warn
        try:
            code = command.main(list(arguments), prog_name="jitprop", standalone_mode=False)
            write("")
        except click.exceptions.NoArgsIsHelpError as error:
            _print_error(error.format_message())
            return FAILED
        except click.ClickException as error:
            return _fail(error.format_message(), FAILED)
        except RefusedError as error:
            return _fail(str(error), FAILED)
        except MemoryError as error:
            return _fail(f"not enough memory: {error}", FAILED)
        except OSError as error:
            # click itself writes help and the version to stdout, past `write`.
            if error.filename is None and error.errno in STDOUT_ERRORS:
                error = _stdout_error(error)
            return _fail(str(error), FAILED)
        except Interrupted as error:
            return _fail(str(error), INTERRUPTED)
        except (click.Abort, KeyboardInterrupt):
            return _fail("interrupted", INTERRUPTED)
    return code if isinstance(code, int) else 0


def write(text: str) -> None:
    r"""
    Write results for a person to stdout, and flush.

    A character that the terminal's encoding lacks is escaped, as in ``\xe9``.

    Raises
    ------
    RefusedError
        If stdout is closed or its disk is full.
    """
    try:
        if sys.stdout is not None:  # it is None in a program without a terminal
            sys.stdout.write(text)
            sys.stdout.flush()
    except OSError as error:
        raise RefusedError(str(_stdout_error(error))) from error


def check_data(texts: Iterable[str]) -> None:
    """
    Check, before any result is written, that stdout can hold all results unchanged.

    Parameters
    ----------
    texts : iterable of str
        All texts of the results.

    Raises
    ------
    RefusedError
        If stdout's encoding lacks a character, or a text has a control character. A pager at the
        other end of a pipe would send it to the terminal.
    """
    if sys.stdout is None:
        raise RefusedError("the standard output is closed: use --out")
    encoding = sys.stdout.encoding or "utf-8"
    for text in texts:
        try:
            text.encode(encoding)
        except UnicodeEncodeError as error:
            raise RefusedError(
                f"the standard output has the encoding {encoding}, which lacks "
                f"{error.object[error.start]!r}: use --out, or set PYTHONIOENCODING=utf-8"
            ) from error
        if found := CONTROL.search(text):
            raise RefusedError(
                f"the predictions hold the control character {found.group()!r}, which a terminal "
                "would obey: use --out, which writes them to a file unchanged"
            )


def say(sentence: str) -> None:
    """Print a note for the user."""
    _print_error(f"note: {one_line(sentence)}")


def say_nothing(sentence: str) -> None:
    """Print no note, for --quiet."""


def one_line(message: str) -> str:
    """
    Put a message on one line, with its quotations shortened.

    Messages quote files, which may hold texts of any length and control characters that move the
    terminal's cursor or hide a line.
    """
    plain = "".join(c if c.isprintable() else " " for c in message[:MAX_LENGTH])
    return QUOTATION.sub(lambda found: printable(found.group()), " ".join(plain.split()))


def lines(text: str) -> str:
    """Escape the control characters in each line of a text, for a terminal."""
    return "\n".join(printable(line, None) for line in text.split("\n"))


def _fail(message: str, code: int) -> int:
    _print_error(f"error: {one_line(message)}")
    return code


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    _print_error(f"warning: {one_line(str(message))}")


def _print_error(line: str) -> None:
    """Write a line to stderr. If that fails, the command continues."""
    try:
        click.echo(line, err=True)
    except (OSError, ValueError):
        _discard(sys.stderr)


def _stdout_error(error: OSError) -> OSError:
    """Return the error to show if stdout cannot be written to."""
    _discard(sys.stdout)
    if isinstance(error, BrokenPipeError):
        return OSError("the standard output was closed before everything was written")
    return OSError(f"cannot write to the standard output: {error.strerror or error}")


def _discard(stream: TextIO) -> None:
    """Redirect a stream to os.devnull. Else Python flushes it at exit and prints an error."""
    with contextlib.suppress(OSError, ValueError):
        devnull = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(devnull, stream.fileno())
        finally:
            os.close(devnull)


@contextlib.contextmanager
def _escaping(stream: Any) -> Iterator[None]:
    """Let a stream escape the characters that its encoding lacks, inside a with block."""
    before = getattr(stream, "errors", None)
    if before != "strict" or not hasattr(stream, "reconfigure"):
        yield
        return
    stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        with contextlib.suppress(OSError, ValueError):
            stream.reconfigure(errors=before)
