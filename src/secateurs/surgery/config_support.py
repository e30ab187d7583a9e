"""Unsupported widths: groups whose sizes the configuration of a model cannot describe, and the reasons."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from torch import nn

from secateurs.structure import Structure, uniform_roles
from secateurs.surgery.config import fit_config, shape_deviations
from secateurs.surgery.config_widths import example_width


def unsupported_widths(model: nn.Module, structure: Structure, widths: Mapping[str, int]) -> list[str]:
    """The widths of a cut model that its class cannot build from the configuration.

    Args:
        model: the cut model, with a configuration.
        structure: of the dense model.
        widths: number of units per group name.

    Returns:
        One reason, with a remedy, for each kind and size of groups with unsupported widths; empty if there are none.
    """
    deviations = shape_deviations(model, {})
    if not deviations.number:
        return []
    shrunk: dict[tuple[str, int], list[str]] = defaultdict(list)
    for name, width in widths.items():
        group = structure.group(name)
        if width < group.size:
            shrunk[group.kind, group.size].append(name)
    reasons = [_reason(model, structure, {name: widths[name] for name in names}) for names in shrunk.values()]
    return [reason for reason in reasons if reason] or [deviations.example]


def unsupported_groups(model: nn.Module, structure: Structure) -> list[str]:
    """The groups that the class of a dense model builds in no other width, whatever its configuration.

    Returns:
        One reason, with a remedy, for each kind and size of such groups.
    """
    roles, _ = uniform_roles(structure, structure.groups)
    reasons = (
        _reason(model, structure, dict.fromkeys(role, 1))
        for role in roles
        if example_width(model, structure, role) is None
    )
    return [reason for reason in reasons if reason]


def _reason(model: nn.Module, structure: Structure, widths: Mapping[str, int]) -> str | None:
    """The reason why groups of one role cannot have these widths, all others being whole; None if they can."""
    fit = fit_config(model, structure, widths)
    if not fit.failure:
        return None
    group = structure.group(next(iter(widths)))
    peers = [peer.name for peer in structure.groups.values() if (peer.kind, peer.size) == (group.kind, group.size)]
    remaining = [widths.get(name, group.size) for name in peers]
    shown = ", ".join(f"{name} ({width} of {group.size})" for name, width in zip(peers[:4], remaining, strict=False))
    what = f"units of kind {group.kind!r} left in {shown}{' ...' if len(peers) > 4 else ''}"
    even = dict.fromkeys(peers, max(widths.values()))
    if len(set(remaining)) > 1 and not fit_config(model, structure, even).failure:
        return f"{what}, for which it has one number: prune with Limits(uniform=True)"
    alternative = ", or prune to a supported number with Limits(uniform=True)"
    supported = example_width(model, structure, peers) is not None
    return f"{what}, but {fit.failure}: leave them whole with keep={_patterns(peers)}{alternative if supported else ''}"


def _patterns(names: Sequence[str]) -> list[str]:
    """Patterns of these groups for `trace(keep=...)`, with "*" for the numbers of blocks."""
    paths = (name.partition(":")[0].split(".") for name in names)
    return sorted({".".join("*" if part.isdigit() else part for part in path) for path in paths})
