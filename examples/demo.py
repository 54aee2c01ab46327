"""What `make demo` runs: XOR to the notebook's digits, how fast, and the handwritten digits."""

from time import perf_counter

import digits
import notebook_2_xor as xor
from _table import table

SECONDS = 1.0


def seconds_per_epoch(backend: str) -> float:
    """Train as the notebook does, for a while after a warm-up, and return the shortest time."""
    xor.xor_trainer(backend).fit(xor.X, xor.y, epochs=1)
    times: list[float] = []
    while sum(times) < SECONDS:
        trainer = xor.xor_trainer(backend)
        start = perf_counter()
        trainer.fit(xor.X, xor.y, xor.EPOCHS)
        times.append(perf_counter() - start)
    return min(times) / xor.EPOCHS


def main() -> None:
    """Run both examples, and time the first on both backends."""
    print("The first run takes some seconds: it compiles the kernels that train and predict, in")
    print("float64 for XOR and in float32 for the digits. Later runs read them from a cache.")
    print(flush=True)
    start = perf_counter()
    xor.main("numba")
    print(f"This took {perf_counter() - start:.1f} s, nearly all to compile or read the kernels.\n")

    seconds = {backend: seconds_per_epoch(backend) for backend in ("numpy", "numba")}
    print(f"XOR, training time per epoch: the best of the runs of {SECONDS:g} s, after a warm-up")
    table(
        ("backend", "microseconds"),
        [(backend, f"{1e6 * time:.3f}") for backend, time in seconds.items()],
    )
    print(f"numba is {seconds['numpy'] / seconds['numba']:.0f} times as fast as numpy here.\n")

    digits.main("numba")


if __name__ == "__main__":
    main()
