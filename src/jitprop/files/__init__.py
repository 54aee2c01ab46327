"""Saving and loading: atomic writes, sealed files, and what is saved of a net."""
