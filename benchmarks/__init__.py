"""The asv suite: see README.md."""
