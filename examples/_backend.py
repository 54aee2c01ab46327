"""The command line of the examples."""

import argparse


def from_command_line(description: str | None) -> str:
    """Return the backend that the reader asks for: numba if none."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backend", choices=["numpy", "numba"], default="numba")
    return str(parser.parse_args().backend)
