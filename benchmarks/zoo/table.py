"""The zoo's rows as a Markdown table, with a summary that is computed from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

HEAD = """# The zoo

Every model pruned to half of each group (`keep:0.5`, local, L1) by Secateurs, and half of each layer by Torch-Pruning
1.6.1's generic path, in the same run on one thread; made by `python -m benchmarks.zoo`.

- *trace*: seconds of `sc.trace`, and how many bare forward passes that is.
- *prunable*: the share of parameters that lie in groups that can be pruned, and what keeps most of the rest, where that
  is a tenth or more. "fails" is what the model's own code does in a trial: mostly it computes the size of a head from
  the width of the stream, so neither can be cut without the other.
- *exact*: whether the cut model equals the dense one with the other weights set to zero, in float64 to 1e-9, as read
  from the weights' values alone, for groups whose removal is exact. For Torch-Pruning the same, on the same layers.
- *time*: trace + plan + cut, as a multiple of Torch-Pruning's, both the best of five; verification comes on top and is
  given in seconds.
"""


def render(rows: Sequence[Mapping[str, Any]], environment: Mapping[str, str], total: int) -> str:
    """The whole page; `total` is the number of models in the zoo, of which some may not have been measured yet."""
    lines = [
        HEAD,
        f"{len(rows)} of the zoo's {total} models have been measured.",
        summary(rows),
        "",
        f"Measured with {', '.join(f'{k} {v}' for k, v in environment.items())}.",
        "",
    ]
    header = [
        "model",
        "parameters",
        "trace",
        "groups",
        "kept",
        "prunable",
        "exact",
        "Torch-Pruning",
        "time",
        "verified",
    ]
    lines += ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(cells(row)) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def summary(rows: Sequence[Mapping[str, Any]]) -> str:
    """What the table says, counted."""
    ours = [row["ours"] for row in rows if works(row, "ours")]
    both = [row for row in rows if works(row, "ours") and works(row, "torch_pruning")]
    theirs = [row["torch_pruning"] for row in rows if works(row, "torch_pruning")]
    ratios = [row["ours"]["seconds"] / row["torch_pruning"]["seconds"] for row in both]
    slower = [gap for r in both if (gap := r["ours"]["seconds"] - r["torch_pruning"]["seconds"]) > 0]
    slow = [row for row in rows if "trace_s" in row and row["trace_s"] > 5 * row["forward_s"] + 0.5]
    return "\n".join(
        [
            f"Of {len(rows)} models, Secateurs prunes {len(ours)}; {sum(o['wrong'] is not None for o in ours)} of them "
            f"come out wrong. Torch-Pruning runs on {len(theirs)}, of which "
            f"{sum(t['wrong'] is not None for t in theirs)} come out wrong.",
            f"At least 90 % of the parameters are prunable in {sum(o['prunable'] >= 0.9 for o in ours)}. "
            f"Predicted and measured costs agree in {sum(o['predicted'] for o in ours)}. "
            f"Tracing takes more than 5 forward passes and 0.5 s in {len(slow)}.",
            f"Time against Torch-Pruning where both run: median × {median(ratios):.2f}, worst × {max(ratios):.2f}; "
            f"slower in {len(slower)}, by {max(slower, default=0) * 1e3:.1f} ms at most."
            if ratios
            else "",
        ]
    )


def cells(row: Mapping[str, Any]) -> list[str]:
    """One row."""
    if "ours" not in row:
        return [row["name"], *[""] * 8, f"**{row.get('error', '')}**"]
    ours, theirs = row["ours"], row["torch_pruning"]
    line = [row["name"], f"{row['params']:,}", f"{row['trace_s']:.2f} s (× {row['trace_s'] / row['forward_s']:.1f})"]
    if "error" in ours:
        line += ["", "", "", f"**{ours['error'][:80]}**"]
    else:
        way = "" if ours["prunable"] >= 0.9 else f" ({ours['in_the_way']})"
        line += [str(ours["groups"]), f"{ours['kept_params']:.0%}", f"{ours['prunable']:.0%}{way}"]
        line.append("yes" if ours["wrong"] is None else f"**no: {ours['wrong']}**")
    if "error" in theirs:
        line += [theirs["error"].split(":")[0], ""]
    else:
        line.append("yes" if theirs["wrong"] is None else f"wrong: {theirs['wrong']}")
        line.append(f"× {ours['seconds'] / theirs['seconds']:.2f}" if "seconds" in ours else "")
    return [*(cell.replace("|", "/") for cell in line), f"{ours['verified_s']:.2f} s" if "verified_s" in ours else ""]


def works(row: Mapping[str, Any], which: str) -> bool:
    """Whether that tool gave a model that runs forward and backward."""
    return which in row and "error" not in row[which] and row[which]["backward"] is None
