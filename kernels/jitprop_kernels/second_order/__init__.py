"""
Full-batch methods, which use more than the gradient's direction.

Each is one entry that trains some epochs: all samples and one accepted step each. Parameters change
only at the end of an epoch. So whoever halts a method finds a whole net.
"""
