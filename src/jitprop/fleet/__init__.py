"""Many nets trained at once, each with its own seed, settings and data."""

from jitprop.fleet.fleet import Fleet
from jitprop.fleet.history import FleetHistory

__all__ = ["Fleet", "FleetHistory"]
