"""Groups that get the same width: those that play the same role in repeated blocks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from secateurs.structure import Structure

Role = tuple[str, ...]
"""The names of groups that have the same width."""


def uniform_roles(structure: Structure, scored: Iterable[str]) -> tuple[list[Role], dict[str, str]]:
    """The roles if groups of the same kind and size have the same width.

    Args:
        structure: of the dense model.
        scored: the groups that have scores.

    Returns:
        The roles, and the scored groups that have to stay as they are because one like them has no scores, and why.
    """
    found: dict[tuple[str, int], list[str]] = defaultdict(list)
    for name, group in structure.groups.items():
        found[group.kind, group.size].append(name)
    scored = set(scored)
    roles, held = [], {}
    for names in found.values():
        unscored = [name for name in names if name not in scored]
        if not unscored:
            roles.append(tuple(names))
            continue
        why = f"uniform: as wide as {unscored[0]!r}, which is not cut (or not further)"
        held |= {name: why for name in names if name in scored}
    return roles, held
