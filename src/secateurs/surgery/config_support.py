"""Find groups with widths that the configuration of a model cannot describe, and explain the reasons."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from torch import nn

from secateurs.structure import Structure, uniform_roles
from secateurs.surgery.config import fit_config, shape_deviations
from secateurs.surgery.config_widths import example_width


def unsupported_widths(model: nn.Module, structure: Structure, widths: Mapping[str, int]) -> list[str]:
    """Explain the widths of a cut model that the class cannot build from the configuration.

    Args:
        model: the cut model, with a configuration.
        structure: of the dense model.
        widths: group name to number of units.

    Returns:
        One reason with a remedy for each kind and size of groups with unsupported widths.
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
    """Explain the groups of a dense model for which the configuration can describe no other width.

    Args:
        model: the dense model, with a configuration.
        structure: of the model.

    Returns:
        One reason with a remedy for each kind and size of such groups.
    """
    roles, _ = uniform_roles(structure, structure.groups)
    reasons = (
        _reason(model, structure, dict.fromkeys(role, 1))
        for role in roles
        if example_width(model, structure, role) is None
    )
    return [reason for reason in reasons if reason]


def _reason(model: nn.Module, structure: Structure, widths: Mapping[str, int]) -> str | None:
    """The reason why the configuration cannot describe these widths of groups of one role, or None if it can."""
    fit = fit_config(model, structure, widths)
    if not fit.failure:
        return None
    group = structure.group(next(iter(widths)))
    peers = [peer.name for peer in structure.groups.values() if (peer.kind, peer.size) == (group.kind, group.size)]
    remaining = [widths.get(name, group.size) for name in peers]
    shown = ", ".join(f"{name} ({width} of {group.size})" for name, width in zip(peers[:4], remaining, strict=False))
    subject = f"units of kind {group.kind!r} left in {shown}{' ...' if len(peers) > 4 else ''}"
    even = dict.fromkeys(peers, max(widths.values()))
    if len(set(remaining)) > 1 and not fit_config(model, structure, even).failure:
        return f"{subject}, for which the configuration has one number; prune with Limits(uniform=True)"
    remedy = f"exclude the groups with keep={_patterns(peers)}"
    if example_width(model, structure, peers) is not None:
        remedy += ", or prune to a supported number with Limits(uniform=True)"
    return f"{subject}, but {fit.failure}; {remedy}"


def _patterns(names: Sequence[str]) -> list[str]:
    """Patterns that match these groups in `trace(keep=...)`, with "*" in place of block numbers."""
    paths = (name.partition(":")[0].split(".") for name in names)
    return sorted({".".join("*" if part.isdigit() else part for part in path) for path in paths})
