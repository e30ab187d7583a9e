"""Draw the pictures of docs/structure.md: `python docs/pictures/draw.py` writes an SVG for each next to this file."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, Rectangle

HERE = Path(__file__).parent
A, B, C, GREY, INK = "#3b76af", "#d9822b", "#519e3e", "#c9c9c9", "#222222"


def row(plot: Axes, x: float, y: float, cells: list[tuple[str, str]], size: float = 0.42) -> None:
    """Cells side by side, each with its colour and its label."""
    for i, (colour, label) in enumerate(cells):
        plot.add_patch(Rectangle((x + i * size, y), size, size, facecolor=colour, edgecolor="white", linewidth=1.5))
        plot.text(x + (i + 0.5) * size, y + size / 2, label, ha="center", va="center", fontsize=8, color="white")


def words(plot: Axes, x: float, y: float, text: str, **style) -> None:
    """A line of text."""
    plot.text(x, y, text, **{"fontsize": 10, "color": INK, "va": "center", **style})


def canvas(width: float, height: float) -> Axes:
    """An empty drawing of that many units."""
    figure, plot = plt.subplots(figsize=(width * 0.8, height * 0.8))
    plot.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    plot.axis("off")
    figure.subplots_adjust(0, 0, 1, 1)
    return plot


def save(plot: Axes, name: str) -> None:
    """Write the drawing."""
    plt.rcParams.update({"svg.hashsalt": name, "svg.fonttype": "none"})  # the same drawing makes the same file
    plot.figure.savefig(HERE / f"{name}.svg", facecolor="white", metadata={"Date": None})  # type: ignore[union-attr]
    plt.close()


def axes() -> None:
    """The three kinds of axes, and what goes when one unit goes."""
    plot = canvas(11, 4.4)
    gone = 2
    for y, title, cells in (
        (3.5, "Var(4)", [(A, str(i)) for i in range(4)]),
        (2.0, "Product(Var(4), Var(3))", [(A, f"{i},{j}") for i in range(4) for j in range(3)]),
        (0.5, "Concat(Var(4), Var(3))", [(A, str(i)) for i in range(4)] + [(B, str(i)) for i in range(3)]),
    ):
        words(plot, 0.2, y + 0.62, title, family="monospace")
        shown = [
            (GREY if colour == A and label.split(",")[0] == str(gone) else colour, label) for colour, label in cells
        ]
        row(plot, 0.2, y - 0.1, shown)
    words(plot, 6.0, 3.6, "one free index for each unit")
    words(plot, 6.0, 2.1, "pairs, row-major: view, flatten, heads, groups")
    words(plot, 6.0, 0.6, "one behind the other: cat, split, fused weights")
    words(plot, 6.0, 4.1, "unit 2 of the blue variable goes:", color="#666666")
    save(plot, "axes")


def residual() -> None:
    """Whose rows and columns go together around a residual block."""
    plot = canvas(12.5, 5)
    layers = [
        ("stem", 0.4, 2.9, A, GREY), ("conv1", 3.1, 3.9, B, A), ("conv2", 6.2, 3.9, A, B), ("head", 9.9, 2.9, GREY, A),
    ]  # fmt: skip
    for name, x, y, made, used in layers:
        plot.add_patch(Rectangle((x, y), 1.5, 0.8, facecolor="#f2f2f2", edgecolor=INK))
        plot.add_patch(Rectangle((x, y), 0.18, 0.8, facecolor=made))
        plot.add_patch(Rectangle((x + 0.18, y + 0.62), 1.32, 0.18, facecolor=used))
        words(plot, x + 0.85, y + 0.3, name, ha="center", family="monospace")
    words(plot, 9.2, 3.3, "+", fontsize=18, ha="center")
    for start, end, colour in (
        ((1.95, 3.4), (3.05, 4.2), A), ((4.65, 4.3), (6.15, 4.3), B), ((7.75, 4.2), (9.05, 3.45), A),
        ((1.95, 3.2), (8.95, 3.2), A), ((9.4, 3.3), (9.85, 3.3), A),
    ):  # fmt: skip
        plot.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=12, color=colour, linewidth=2))
    words(plot, 0.4, 2.2, "left edge of a box: its rows, what it makes      top edge: its columns, what it uses")
    row(plot, 0.4, 1.2, [(A, "")])
    words(plot, 1.0, 1.4, "a: rows of stem and conv2, columns of conv1 and head. The addition says they are the same.")
    row(plot, 0.4, 0.5, [(B, "")])
    words(plot, 1.0, 0.7, "b: rows of conv1, columns of conv2")
    row(plot, 6.4, 0.5, [(GREY, "")])
    words(plot, 7.0, 0.7, "frozen: the model's input and output")
    save(plot, "residual")


def attention() -> None:
    """Three layouts of the rows of a fused projection: two heads of three, and a shared key/value head."""
    plot = canvas(12, 5.6)
    head = {0: A, 1: B}
    fused = [(head[h], f"{n}{h}") for n in "qkv" for h in (0, 1) for _ in range(2)]
    paired = [(head[h], f"{n}{h}") for h in (0, 1) for n in "qkv" for _ in range(2)]
    words(plot, 0.2, 5.2, "(3 × heads × size): Product(3, head, size), of which only head is free")
    row(plot, 0.2, 4.4, fused)
    words(plot, 0.2, 3.9, "(heads × 3 × size): Product(head, 3, size)")
    row(plot, 0.2, 3.1, paired)
    words(plot, 0.2, 2.6, "grouped queries: Product(group, repeats, size) for q, Product(group, size) for k and v")
    queries = [(head[g], f"q{g}{r}") for g in (0, 1) for r in (0, 1) for _ in range(2)]
    row(plot, 0.2, 1.8, queries)
    row(plot, 4.4, 1.8, [(head[g], f"k{g}") for g in (0, 1) for _ in range(2)])
    row(plot, 6.9, 1.8, [(head[g], f"v{g}") for g in (0, 1) for _ in range(2)])
    words(plot, 0.2, 1.1, "One colour is one unit: it goes from every place at once. Sizes and repeats stay.")
    save(plot, "attention")


if __name__ == "__main__":
    axes()
    residual()
    attention()
