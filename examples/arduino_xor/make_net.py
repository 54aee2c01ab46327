"""Write the net that the sketch trains: xor.c and xor.h, beside this file."""

from pathlib import Path

from jitprop import Trainer, export

folder = Path(__file__).parent
trainer = Trainer([2, 4, 1], activation="tanh", seed=1)
export.to_c(
    trainer, folder / "xor.c", name="xor", header=folder / "xor.h", train="sgd", batches=False
)
