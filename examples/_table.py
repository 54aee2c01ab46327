"""Tables of text: what the examples print."""

from collections.abc import Iterable, Sequence


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows of text in columns as wide as they need to be."""
    lines = [headings, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("  " + "  ".join(cells).rstrip())
    print()


def beside_notebook(rows: Iterable[tuple[str, float, float]]) -> None:
    """
    Print computed figures beside the notebook's, to as many decimals as the notebook gives.

    Parameters
    ----------
    rows : (quantity, computed, notebook) each
    """
    lines = []
    for quantity, computed, notebook in rows:
        decimals = len(str(notebook).split(".")[1])
        lines.append((quantity, f"{computed: .{decimals}f}", f"{notebook: .{decimals}f}"))
    table(("quantity", " computed", " notebook"), lines)
