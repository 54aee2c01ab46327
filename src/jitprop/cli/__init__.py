"""
The command line: ``jitprop``, and ``python -m jitprop``.

`commands` defines the commands and their options. Other modules read the table, infer the types of
its columns, train and score. ``warmup``, ``verify`` and ``info --machine`` do without the extra
``cli``.
``import jitprop`` imports nothing of this package.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jitprop.cli import machine, warmup

EXTRA = {"click", "matplotlib", "pandas", "pyarrow", "rich", "tqdm"}
"""The packages of the extra, by their import names."""

INSTALL = "pip install 'jitprop[cli]'"


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command that the arguments name.

    Parameters
    ----------
    arguments : sequence of str, optional
        The arguments without the program's name; None for those of the process.

    Returns
    -------
    int
        The exit code: 0 for success, 1 if `verify` found other bits, 2 after an error, 130 after
        Ctrl-C. An error is one line on stderr.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        from jitprop.cli.commands import run

        return run(arguments)
    except KeyboardInterrupt:  # Ctrl-C while the commands were imported
        print("error: interrupted", file=sys.stderr)
        return 130
    except ImportError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in EXTRA:
            raise
        if arguments == ["warmup"]:
            return warmup.main()
        if arguments == ["info", "--machine"]:
            return machine.main()
        if arguments == ["verify"]:
            from jitprop.cli import verify

            return verify.main()
        print(f"error: the command line needs {missing}: {INSTALL}", file=sys.stderr)
        return 2
