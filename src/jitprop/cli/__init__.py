"""
The command line: ``jitprop``, and ``python -m jitprop``.

Reading a table, telling its columns, training and scoring have a room each; `commands` holds what
a person types. All but ``warmup`` needs the extra ``cli``, and nothing of it is imported by
``import jitprop``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jitprop.cli import warmup

EXTRA = {"click", "matplotlib", "pandas", "pyarrow", "rich", "tqdm"}
"""What the extra installs, by the names of imports."""

INSTALL = "pip install 'jitprop[cli]'"


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command that the arguments name.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without the name of the program; those of the process if None.

    Returns
    -------
    int
        The exit code: 0; 2 for an error, which is said in one line; 130 after Ctrl-C.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        from jitprop.cli.commands import run

        return run(arguments)
    except KeyboardInterrupt:  # while the command line itself was being imported
        print("error: interrupted", file=sys.stderr)
        return 130
    except ImportError as error:
        lacking = (error.name or "").partition(".")[0]
        if lacking not in EXTRA:
            raise
        if arguments == ["warmup"]:
            return warmup.main()
        print(f"error: the command line needs {lacking}: {INSTALL}", file=sys.stderr)
        return 2
