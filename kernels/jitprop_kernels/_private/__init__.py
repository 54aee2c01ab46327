"""
What overrides numba's internals, or reads them. `_jit.py` is the one door to this room.

Nothing here changes a result. It makes kernels compile in a third of numba's time (`compiling`,
`contexts`, `linking`), keeps their machine code (`cache`), hands arrays and records on as pointers
(`handing`), and teaches numba vectors (`vectors`).
"""
