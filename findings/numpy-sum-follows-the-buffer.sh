#!/usr/bin/env bash
# NumPy 1.26.4: `np.setbufsize` changes the last bits of `x.sum()` of a contiguous float64 array.
#
# One would guess: nothing is cast, so there is no buffer, and pairwise summation runs over the whole
# array. The sum then is that of the two parts where pairwise summation cuts first.
# It does: beyond 8,192 numbers the array is summed in pieces as large as NumPy's buffer, and the
# pieces are added one after the other. Another size of the buffer gives another sum. NumPy 2.4.6
# does what one would guess. So the mean of one array differs between the two in its last bits.
set -euo pipefail
for version in 1.26.4 2.4.6; do
    "$(dirname "$0")/with-packages" "numpy==$version" <<'PY'
import numpy as np

buffers, pairwise = [], []
for seed in range(5):
    x = np.random.default_rng(seed).random(20_000) - 0.5
    usual = x.sum()
    np.setbufsize(65_536)
    buffers.append(bool(usual == x.sum()))
    np.setbufsize(8_192)
    first = 20_000 // 16 * 8
    pairwise.append(bool(usual == x[:first].sum() + x[first:].sum()))
print(f"NumPy {np.__version__}: the buffer does not matter: {buffers}, pairwise: {pairwise}")
assert all(buffers) == all(pairwise) == (np.__version__ == "2.4.6")
PY
done
