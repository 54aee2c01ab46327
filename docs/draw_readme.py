"""
Draw the picture of the README: `python docs/draw_readme.py`.

On the left what a net learned of two moons, on the right the speed table of the README, whose
numbers are kept in the picture too, so that a test can compare them.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from jitprop import Trainer, plot

DOCS = Path(__file__).parent
PICTURE = DOCS / "pictures/readme.png"
ROW = re.compile(
    r"^\| (\d[\d-]+) [^|]*\| ([\d.,]+) \| (\w+) ([\d.,]+) \| ([\d.,]+) \|$", re.MULTILINE
)


def speeds() -> list[tuple[str, float, str, float, float]]:
    """Return (net, jitprop, fastest other, its time, scikit-learn) of each row of the table."""
    readme = (DOCS.parent / "README.md").read_text()
    return [
        (net, number(own), other, number(time), number(theirs))
        for net, own, other, time, theirs in ROW.findall(readme)
    ]


def number(text: str) -> float:
    """Return a number that is written with commas between thousands."""
    return float(text.replace(",", ""))


def draw_moons(ax: Axes) -> None:
    """Train a small classifier and draw where it decides."""
    rng = np.random.default_rng(0)
    label = np.arange(300) % 2
    angle, side = rng.uniform(0, np.pi, 300), 1 - 2 * label
    points = np.stack([side * np.cos(angle) + label, side * np.sin(angle) + label / 2], axis=1)
    points += rng.normal(0, 0.15, (300, 2))
    net = Trainer(
        [2, 16, 16, 1], activation="tanh", loss="binary_cross_entropy", optimizer="adam",
        learning_rate=0.01, batch_size=32, seed=0,
    )  # fmt: skip
    net.fit(points, label, epochs=100)
    plot.decision_boundary(net, points, label, ax).set_title("two moons: a 2-16-16-1 net")


def draw_speeds(ax: Axes) -> None:
    """Draw the times of the table on a logarithmic axis."""
    rows = speeds()
    at = np.arange(len(rows))[::-1]
    series = (
        ("jitprop", [row[1] for row in rows], "#0072B2"),
        ("fastest other", [row[3] for row in rows], "#E69F00"),
        ("scikit-learn", [row[4] for row in rows], "#999999"),
    )
    for i, (label, times, colour) in enumerate(series):
        ax.barh(at + 0.27 * (1 - i), times, 0.25, color=colour, label=label)
    for place, (_, _, other, time, _) in zip(at, rows, strict=True):
        ax.annotate(
            other, (time, place), xytext=(2, -1), textcoords="offset points", fontsize=7,
            verticalalignment="center",
        )  # fmt: skip
    ax.set_yticks(at, [row[0] for row in rows])
    ax.set(xscale="log", title="microseconds per weight update: less is better", xlim=(0.05, 1e5))
    ax.legend(loc="upper right", fontsize=8)
    ax.spines[["top", "right"]].set_visible(False)


def main() -> None:
    """Draw both, in few colours, which keeps the file small."""
    figure, axes = plt.subplots(1, 2, figsize=(9.6, 3.6), dpi=100, layout="constrained")
    draw_moons(axes[0])
    draw_speeds(axes[1])
    figure.canvas.draw()
    about = PngInfo()
    about.add_text("speeds", repr(speeds()))
    PICTURE.parent.mkdir(exist_ok=True)
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    Image.fromarray(pixels).quantize(64).save(PICTURE, optimize=True, pnginfo=about)


if __name__ == "__main__":
    main()
