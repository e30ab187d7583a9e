"""Requests: the statistics of activations that a criterion needs, and the places where they are collected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from secateurs.observe import Statistic
from secateurs.structure import Contraction, Group, Structure, Tap


class Request(NamedTuple):
    """A statistic of the activations at one kind of place, for every group.

    Attributes:
        place: a key of `PLACES`.
        statistic: the class of the statistic, such as `secateurs.observe.Totals` or a subclass of
            `secateurs.observe.Statistic`.

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
        """The form of the contraction whose operand is observed: for the place "maps", that of `Contraction.alike`."""
        return contraction.alike if self.place == "maps" else contraction

    def taps(self, group: Group, structure: Structure) -> Sequence[Tap]:
        """The taps in the model where the statistic of a group is collected."""
        return PLACES[self.place](group, structure)


PLACES: dict[str, Callable[[Group, Structure], Sequence[Tap]]] = {
    # The units after the non-linearity.
    "after": lambda group, _: group.after,
    # The same as "after"; if a gate multiplies the units, the gate after its non-linearity.
    "fired": lambda group, _: group.fired,
    # The units before and after each non-linearity.
    "around": lambda group, _: [tap for pair in group.activations for tap in pair],
    # The inputs of the weights that sum over the units, one feature per summed entry.
    "operand": lambda group, structure: [c.operand for c in structure.contractions_of(group)],
    # The same as "operand"; the positions of a flattened map count as samples, and each kernel tap is a feature.
    "maps": lambda group, structure: [c.alike.operand for c in structure.contractions_of(group)],
    # The outputs of these weights where they are added to other data or enter a non-linearity, and the sum.
    "arrival": lambda group, structure: [tap for c in structure.contractions_of(group) for tap in c.arrival or ()],
}
"""The kinds of places where statistics are collected."""

OPERAND_PLACES = ("operand", "maps")
"""The places at which the entries of a weight can be scored."""
