"""``python -m jitprop warmup``."""

from __future__ import annotations

import argparse
import time

from jitprop.warmup import warm_up


def main() -> None:
    """Run the command that the arguments name."""
    parser = argparse.ArgumentParser(prog="python -m jitprop")
    commands = parser.add_subparsers(required=True, metavar="command")
    commands.add_parser("warmup", help="compile all kernels now, and keep them on disk")
    parser.parse_args()
    began = time.perf_counter()
    folder = warm_up()
    print(f"All kernels ready after {time.perf_counter() - began:.1f} s, in {folder or 'memory'}")


if __name__ == "__main__":
    main()
