"""``python -m jitprop``: the command line."""

import sys

from jitprop.cli import main

if __name__ == "__main__":
    sys.exit(main())
