"""Find the taps of each group: after the activation of the units, or where weights use the units."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

from secateurs.structure.axis import Var, leaves
from secateurs.structure.records import NO_PROVENANCE, Activation, Provenance, Source
from secateurs.structure.resolved_trace import ResolvedTrace
from secateurs.structure.taps import Tap


class GroupTaps(NamedTuple):
    """The taps of one group; see the attributes of `Group` with the same names."""

    after: tuple[Tap, ...] = ()
    fired: tuple[Tap, ...] = ()
    activations: tuple[tuple[Tap, Tap], ...] = ()


@dataclass
class Appearances:
    """The places in the data where the units of one variable appear.

    Attributes:
        uses: for each sum over the units, the source of the units (after the activation if there is one) to their
            provenance.
        activations: all activations with these units in the result.
    """

    uses: dict[Source, Provenance] = field(default_factory=dict)
    activations: list[Activation] = field(default_factory=list)


def appearances_by_variable(trace: ResolvedTrace) -> Mapping[Var, Appearances]:
    """Collect the places where the units of each variable appear in the data."""
    appearances: dict[Var, Appearances] = defaultdict(Appearances)
    for activation in trace.record.activations:
        for axis in activation.after.axes:
            for var in leaves(axis):
                appearances[var].activations.append(activation)
    for use in trace.record.consumptions:
        activation, attended = use.provenance.activation, use.provenance.attended
        # If the values pass no other activation, the attention counts as their activation.
        around = attended and Activation(attended, use.operand, True)
        for var in leaves(use.axis):
            if activation and trace.tap(activation.after, var, ""):
                appearances[var].uses[activation.after] = use.provenance
            else:
                appearances[var].uses[use.operand] = use.provenance._replace(activation=around)
    return appearances


def taps_of(trace: ResolvedTrace, var: Var, name: str, appearances: Appearances) -> GroupTaps:
    """Find the taps of the group of a variable.

    Args:
        trace: the finished trace.
        var: the variable of the group.
        name: the name of the group.
        appearances: the places where the units appear.
    """

    @cache  # taps are compared by identity
    def tap(source: Source) -> Tap | None:
        return trace.tap(source, var, f"group {name!r}")

    uses = {source: provenance for source, provenance in appearances.uses.items() if tap(source)}
    if not uses:  # no weight uses the units, so they are observed where they are produced
        sources = [*(activation.after for activation in trace.record.activations), *trace.record.produced]
        uses = dict.fromkeys([source for source in sources if tap(source)][:1], NO_PROVENANCE)
    fired = [(passed.gate and tap(passed.gate.after)) or tap(source) for source, passed in uses.items()]
    passed = [provenance.activation for provenance in appearances.uses.values() if provenance.activation]
    around = [(tap(activation.before), tap(activation.after)) for activation in passed or appearances.activations]
    return GroupTaps(
        after=tuple(t for source in uses if (t := tap(source))),
        fired=tuple(t for t in fired if t),
        activations=tuple((before, after) for before, after in dict.fromkeys(around) if before and after),
    )
