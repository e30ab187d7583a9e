"""Requests: which statistic of the activations a criterion needs, and where it is taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from secateurs.observe import Statistic
from secateurs.structure import Contraction, Group, Structure, Tap


class Request(NamedTuple):
    """A statistic of the activations at one kind of place of every group.

    Attributes:
        place: a key of `PLACES`.
        statistic: the class of the statistic, such as `secateurs.observe.Totals` or one of your own.

    Example:
        >>> from secateurs.criteria import Request, temporary_criteria
        >>> from secateurs.observe import Totals
        >>> totals = Request("after", Totals)
        >>> with temporary_criteria():  # undone at the end of the block
        ...     @sc.criterion("mean", source="this example", requests=(totals,))
        ...     def mean(evidence):
        ...         "Mean activation of the unit."
        ...         return evidence.combine([statistic.mean for statistic in evidence.statistics(totals)])
        ...     scores = sc.score(model, data, "mean")
    """

    place: str
    statistic: type[Statistic]

    def of(self, contraction: Contraction) -> Contraction:
        """The contraction as it is observed at the places "operand" and "maps"."""
        return contraction.alike if self.place == "maps" else contraction

    def taps(self, group: Group, structure: Structure) -> Sequence[Tap]:
        """The places in the model where the statistic is taken for a group."""
        return PLACES[self.place](group, structure)


PLACES: dict[str, Callable[[Group, Structure], Sequence[Tap]]] = {
    # After the non-linearity of the group's units.
    "after": lambda group, _: group.after,
    # As "after", but where a gate multiplies the units, after the non-linearity of the gate.
    "fired": lambda group, _: group.fired,
    # Before and after each non-linearity that the units pass.
    "around": lambda group, _: [tap for pair in group.activations for tap in pair],
    # The inputs of the weights that sum over the units, feature by feature.
    "operand": lambda group, structure: [c.operand for c in structure.contractions_of(group)],
    # As "operand", but the positions of a flattened map are samples, and each tap of a kernel is a feature.
    "maps": lambda group, structure: [c.alike.operand for c in structure.contractions_of(group)],
    # The outputs of these weights where they are added to other data or enter a non-linearity, and the sum.
    "arrival": lambda group, structure: [tap for c in structure.contractions_of(group) for tap in c.arrival or ()],
}
"""The kinds of places where statistics are taken."""

OPERAND_PLACES = ("operand", "maps")
"""The places at which the entries of a weight can be scored."""
