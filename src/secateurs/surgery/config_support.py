"""What the configuration of a cut model cannot tell: of which groups, and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from torch import nn

from secateurs.structure import Structure, uniform_roles
from secateurs.surgery.config import fit_config, shape_deviations
from secateurs.surgery.config_widths import example_width


def unsupported_widths(model: nn.Module, structure: Structure, widths: Mapping[str, int]) -> list[str]:
    """Why the class of a cut model does not build one of its sizes from its configuration; nothing if it does.

    Args:
        model: the cut model, with a configuration.
        structure: of the dense model.
        widths: how many units each group has left.

    Returns:
        One reason, with what to do about it, for each kind and size of groups that the class cannot have cut so.
    """
    wrong = shape_deviations(model, {})
    if not wrong.number:
        return []
    shrunk: dict[tuple[str, int], list[str]] = defaultdict(list)
    for name, width in widths.items():
        group = structure.group(name)
        if width < group.size:
            shrunk[group.kind, group.size].append(name)
    reasons = [_reason(model, structure, {name: widths[name] for name in names}) for names in shrunk.values()]
    return [reason for reason in reasons if reason] or [wrong.example]


def unsupported_groups(model: nn.Module, structure: Structure) -> list[str]:
    """Why the class of a dense model builds groups alike in no width but their own, whatever its configuration says.

    Returns:
        One reason for each kind and size of groups of which that is so, with what to do about it.
    """
    roles, _ = uniform_roles(structure, structure.groups)
    reasons = (
        _reason(model, structure, dict.fromkeys(its, 1))
        for its in roles
        if example_width(model, structure, its) is None
    )
    return [reason for reason in reasons if reason]


def _reason(model: nn.Module, structure: Structure, widths: Mapping[str, int]) -> str | None:
    """Why groups alike cannot have these widths, the others being whole; None if they can."""
    fit = fit_config(model, structure, widths)
    if not fit.failure:
        return None
    group = structure.group(next(iter(widths)))
    peers = [its.name for its in structure.groups.values() if (its.kind, its.size) == (group.kind, group.size)]
    left = [widths.get(name, group.size) for name in peers]
    found = ", ".join(f"{name} ({width} of {group.size})" for name, width in zip(peers[:4], left, strict=False))
    what = f"units of kind {group.kind!r} left in {found}{' ...' if len(peers) > 4 else ''}"
    even = dict.fromkeys(peers, max(widths.values()))
    if len(set(left)) > 1 and not fit_config(model, structure, even).failure:
        return f"{what}, for which it has one number: prune with Limits(uniform=True)"
    other = (
        ", or come to numbers that it takes with Limits(uniform=True)" if example_width(model, structure, peers) else ""
    )
    return f"{what}, but {fit.failure}: leave them whole with keep={_patterns(peers)}{other}"


def _patterns(names: Sequence[str]) -> list[str]:
    """What `trace(keep=...)` takes for these groups, the numbers of blocks left open."""
    parts = (name.partition(":")[0].split(".") for name in names)
    return sorted({".".join("*" if part.isdigit() else part for part in its) for its in parts})
