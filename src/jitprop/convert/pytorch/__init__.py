"""Nets of PyTorch: chains of Linear modules and activations, with their optimizer."""

from jitprop.convert.pytorch.nets import from_torch, to_torch

__all__ = ["from_torch", "to_torch"]
