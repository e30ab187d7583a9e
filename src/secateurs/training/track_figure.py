"""The figure of a tracker, in the style of the HTML report."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from secateurs.utils import COLOURS, STYLE, render_svg, require


def draw(criterion: str, steps: list[int], lines: Mapping[str, Tensor]) -> str:
    """Plot scores over steps: a panel per group, with a thin line per unit and a thick line for the mean.

    Args:
        criterion: name of the criterion, the label of the vertical axis.
        steps: the training steps.
        lines: scores [steps, units] of each group.

    Returns:
        SVG text.
    """
    require("matplotlib", "report")
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    columns = min(len(lines), 4)
    rows = -(-len(lines) // columns)
    with rc_context(STYLE):
        figure = Figure(figsize=(9, 2.4 * rows), layout="constrained")
        panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
        for (group, curves), axes in zip(lines.items(), panels.flat, strict=False):
            axes.plot(steps, curves.numpy(), lw=0.5, alpha=0.5, color=COLOURS[0])
            axes.plot(steps, curves.mean(1).numpy(), lw=2, color=COLOURS[1])
            axes.set_title(group, fontsize=10)
        for axes in panels.flat[len(lines) :]:
            axes.set_visible(False)
        figure.supxlabel("training step")
        figure.supylabel(criterion)
        return render_svg(figure, f"{criterion} of every unit during training, and the mean of each layer")
