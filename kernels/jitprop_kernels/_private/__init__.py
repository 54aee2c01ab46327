"""
What overrides numba's internals, or reads them. `_jit.py` is the one door to this room.

Nothing here changes a result. It makes kernels compile in a third of numba's time (`compiling`,
`contexts`, `linking`), hands records on as pointers (`handing`), and makes a C function of an entry
(`entering`). What can be said with numba's public parts stands outside: `vectors`, `arrays`,
`arguments`.
"""
