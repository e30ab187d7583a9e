"""Requests: the statistics of activations that a criterion needs, and the places where they are collected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from secateurs.observe import Statistic
from secateurs.structure import Contraction, Group, Structure, Tap


class Request(NamedTuple):
    """A statistic of activations that a criterion needs for every group, and the kind of place where it is collected.

    Attributes:
        place: the kind of place; a key of `PLACES`.
        statistic: the class of the statistic: a subclass of `secateurs.observe.Statistic`, such as
            `secateurs.observe.Totals`.

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
        """Choose the form of a contraction whose operand is observed for this request.

        Args:
            contraction: an operator call that sums over units.

        Returns:
            `contraction.alike` for the place "maps", and the contraction itself for all other places.
        """
        return contraction.alike if self.place == "maps" else contraction

    def taps(self, group: Group, structure: Structure) -> Sequence[Tap]:
        """List the taps in the model where the statistic of a group is collected.

        Args:
            group: the group of units.
            structure: the structure of the model.
        """
        return PLACES[self.place](group, structure)


PLACES: dict[str, Callable[[Group, Structure], Sequence[Tap]]] = {
    # The units after the non-linearity.
    "after": lambda group, _: group.after,
    # The same as "after". But if a gate multiplies the units: the gate after the non-linearity of the gate.
    "fired": lambda group, _: group.fired,
    # The units before and after each non-linearity.
    "around": lambda group, _: [tap for pair in group.activations for tap in pair],
    # The inputs of the weights that sum over the units, with one feature per summed entry.
    "operand": lambda group, structure: [c.operand for c in structure.contractions_of(group)],
    # The same inputs. The positions of a flattened map count as samples, and each tap of a kernel is a feature.
    "maps": lambda group, structure: [c.alike.operand for c in structure.contractions_of(group)],
    # The outputs of these weights where they are added to other data or enter a non-linearity, and the sum there.
    "arrival": lambda group, structure: [tap for c in structure.contractions_of(group) for tap in c.arrival or ()],
}
"""The kinds of places where statistics are collected. Each maps a group and the structure to taps in the model."""

OPERAND_PLACES = ("operand", "maps")
"""The kinds of places whose statistics can score the entries of a weight."""
