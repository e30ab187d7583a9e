"""Find groups that must get the same width because they have the same role in repeated blocks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from secateurs.structure import Structure

Role = tuple[str, ...]
"""The names of groups that must have the same width."""


def uniform_roles(structure: Structure, scored: Iterable[str]) -> tuple[list[Role], dict[str, str]]:
    """Collect groups of the same kind and size, which must get the same width.

    Args:
        structure: the structure of the dense model.
        scored: the names of the groups that have scores.

    Returns:
        The roles, one per kind and size; and the names of scored groups that must keep all units because another group
        of the same kind and size has no scores, with the reasons.
    """
    by_kind_and_size: dict[tuple[str, int], list[str]] = defaultdict(list)
    for name, group in structure.groups.items():
        by_kind_and_size[group.kind, group.size].append(name)
    scored = set(scored)
    roles, blocked = [], {}
    for names in by_kind_and_size.values():
        unscored = [name for name in names if name not in scored]
        if not unscored:
            roles.append(tuple(names))
            continue
        reason = f"uniform widths: the group must be as wide as {unscored[0]!r}, which is not cut (or not further)"
        blocked |= {name: reason for name in names if name in scored}
    return roles, blocked
