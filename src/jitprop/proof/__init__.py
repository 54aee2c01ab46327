"""
The proof that this machine computes the published bits: ``jitprop verify``.

`nets` makes a table of 264 nets by rules, and trains them. `published` holds the hashes of their
results, and says which nets differ. `speed` measures how much faster than a NumPy loop jitprop is.
"""
