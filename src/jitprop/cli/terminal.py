"""How a command ends, and what it says: results to stdout, one line for anything else to stderr."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

import click

from jitprop.checks import printable
from jitprop.cli.refused import RefusedError

FAILED = 2
INTERRUPTED = 130
"""128 + SIGINT, as shells have it."""

UNWRITTEN = errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EBADF, errno.EFBIG
"""What the system says where stdout cannot be written to."""


LONGEST = 10_000
"""Characters of a message: two paths are not longer."""

QUOTATION = re.compile(r"(?<!\w)(?:'(?:[^'\\]|\\.)*(?:'|\\?\Z)|\"(?:[^\"\\]|\\.)*(?:\"|\\?\Z))")
"""The last one has no end where `LONGEST` cut the message."""


class Interrupted(Exception):  # noqa: N818
    """Ctrl-C, in words that say what became of the work."""


def run(command: click.Command, arguments: Sequence[str]) -> int:
    """Run a command; returns its exit code."""
    with warnings.catch_warnings(), _spelled_out(sys.stdout):
        warnings.showwarning = _warn
        try:
            code = command.main(list(arguments), prog_name="jitprop", standalone_mode=False)
            write("")
        except click.exceptions.NoArgsIsHelpError as error:
            _tell(error.format_message())
            return FAILED
        except click.ClickException as error:
            return _fail(error.format_message(), FAILED)
        except RefusedError as error:
            return _fail(str(error), FAILED)
        except MemoryError as error:
            return _fail(f"not enough memory: {error}", FAILED)
        except OSError as error:
            # click writes help and the version to stdout by itself.
            if error.filename is None and error.errno in UNWRITTEN:
                error = _unwritten(error)
            return _fail(str(error), FAILED)
        except Interrupted as error:
            return _fail(str(error), INTERRUPTED)
        except (click.Abort, KeyboardInterrupt):
            return _fail("interrupted", INTERRUPTED)
    return code if isinstance(code, int) else 0


def write(text: str) -> None:
    r"""
    Write results for a person to stdout, now.

    A letter that the terminal's encoding lacks is spelled, as in ``\xe9``.

    Raises
    ------
    RefusedError
        If stdout is closed, or on a full disk.
    """
    try:
        if sys.stdout is not None:  # as in a program without a terminal
            sys.stdout.write(text)
            sys.stdout.flush()
    except OSError as error:
        raise RefusedError(str(_unwritten(error))) from error


def write_data(text: str) -> None:
    """
    Write results for a program to stdout: as they are, or not at all.

    Raises
    ------
    RefusedError
        As `write` does, and for a letter that the encoding of stdout lacks.
    """
    if sys.stdout is None:
        raise RefusedError("the standard output is closed: take --out")
    encoding = sys.stdout.encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError as error:
        raise RefusedError(
            f"the standard output has the encoding {encoding}, which lacks "
            f"{error.object[error.start]!r}: take --out, or set PYTHONIOENCODING=utf-8"
        ) from error
    write(text)


def say(sentence: str) -> None:
    """Tell a person what they may want to know."""
    _tell(f"note: {one_line(sentence)}")


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
    _tell(f"error: {one_line(message)}")
    return code


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    _tell(f"warning: {one_line(str(message))}")


def _tell(line: str) -> None:
    """Write a line to stderr. Where it cannot be read, the work goes on."""
    try:
        click.echo(line, err=True)
    except (OSError, ValueError):
        _discard(sys.stderr)


def _unwritten(error: OSError) -> OSError:
    """What is said where stdout cannot be written to."""
    _discard(sys.stdout)
    if isinstance(error, BrokenPipeError):
        return OSError("the standard output was closed before all was written")
    return OSError(f"cannot write to the standard output: {error.strerror or error}")


def _discard(stream: TextIO) -> None:
    """Send what a stream still holds nowhere: else Python tries again at its end, and complains."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, stream.fileno())
        finally:
            os.close(nowhere)


@contextlib.contextmanager
def _spelled_out(stream: Any) -> Iterator[None]:
    """Let a stream spell the letters that its encoding lacks, for a while."""
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
