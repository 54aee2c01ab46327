"""
Write ``src/jitprop/proof/published.json``: the hashes of this machine's results.

``python tests/publish.py`` writes the hashes, after a change that is meant to change bits.
``python tests/publish.py --speed`` measures the ratios to NumPy instead. It needs scikit-learn.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import sys
from pathlib import Path

import jitprop
from jitprop.proof import nets, published, speed
from jitprop_kernels.inventory import inventory

PATH = Path(jitprop.__file__).parent / "proof" / published.FILE


def measured():
    """Return the ratios, with the day and the machine."""
    today = datetime.date.today()
    machine = f"{inventory().cpu}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}"
    return {
        "date": f"{today.day} {today:%B %Y}",
        "machine": machine,
        "ratios": {str(race): round(ratio, 1) for race, ratio in speed.ratios()},
    }


def main(arguments):
    content = json.loads(PATH.read_text()) if PATH.exists() else {"hashes": {}, "speed": {}}
    if arguments == ["--speed"]:
        content["speed"] = measured()
    elif arguments:
        sys.exit(__doc__)
    else:
        chosen = nets.table() + nets.estimators()
        content["hashes"] = {net.name: found for net, found in published.computed(chosen)}
    PATH.write_text(json.dumps(content, indent=0) + "\n")
    print(f"{PATH}: the SHA-256 of the {len(nets.table())} nets is {published.read().table}")


if __name__ == "__main__":
    main(sys.argv[1:])
