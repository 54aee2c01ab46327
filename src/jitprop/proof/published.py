"""The published hashes, in ``published.json``, and the comparison with this machine's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jitprop.proof import nets
from jitprop.proof.nets import Net
from jitprop.training.errors import DivergenceError

FILE = "published.json"


@dataclass(frozen=True)
class Published:
    """
    What the file holds.

    Attributes
    ----------
    hashes : mapping of str to str
        The first `nets.DIGITS` hexadecimal digits of the SHA-256 of each net's results, by name:
        264 nets, and the estimators.
    speed : mapping
        "date", "machine", and in "ratios" how many times as fast as NumPy jitprop was there, by
        net.
    """

    hashes: Mapping[str, str]
    speed: Mapping[str, Any]

    @property
    def table(self) -> str:
        """The SHA-256 of the hashes of the 264 nets, in their order."""
        return of_all(self.hashes[net.name] for net in nets.table())


def read() -> Published:
    """
    Read the published file.

    Examples
    --------
    >>> from jitprop.proof import published
    >>> len(published.read().hashes)
    284
    """
    content = json.loads(files("jitprop.proof").joinpath(FILE).read_text("utf-8"))
    return Published(content["hashes"], content["speed"])


def of_all(hashes: Iterable[str]) -> str:
    """Return the SHA-256 of hashes: of their lines."""
    return hashlib.sha256("".join(f"{one}\n" for one in hashes).encode()).hexdigest()


def computed(chosen: Iterable[Net], n_threads: int | None = None) -> Iterator[tuple[Net, str]]:
    """
    Train nets on this machine, and yield each with the digits of its hash.

    Parameters
    ----------
    chosen : iterable of Net
    n_threads : int or None, default None
        The number of threads for every net, in place of its own.

    Yields
    ------
    net : Net
    found : str
        The digits; or "diverged", if its training diverged.
    """
    for net in chosen:
        try:
            yield net, nets.hash_of(nets.results(net, n_threads))[: nets.DIGITS]
        except DivergenceError:  # no net of the table diverges with the published bits
            yield net, "diverged"
