"""Trials: cuts of one model in float64, to find out which groups can be removed and what else has to change."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache

from torch import Tensor, nn

from secateurs.data import Call
from secateurs.errors import VerificationError
from secateurs.plan import Plan
from secateurs.structure import Structure
from secateurs.surgery import attributes as attr
from secateurs.surgery.cut import Masks, cut, mask
from secateurs.surgery.verify import Shapes, difference, failure, in_double, run

Pairs = list[tuple[str, str]]
"""(module, attribute) names."""


class Trials:
    """Tries cuts (in the model's own precision if it does not run in float64).

    Attributes:
        changes: the attributes that the last cut which passed had to change.
        failures: the groups that cannot be removed, and what goes wrong.
    """

    def __init__(self, model: nn.Module, plan: Plan, structure: Structure, call: Call):
        self._plan, self._structure = plan, structure
        self._dense, self._call, self._outputs = in_double(model, call)
        self.changes: attr.Attributes = {}
        self.failures: dict[str, str] = {}
        self._proven: Pairs = []

    def cut(self, model: nn.Module, names: list[str], changes: attr.Attributes) -> nn.Module:
        """`model` without the units that the plan removes from the groups named."""
        small = cut(model, self._masks(names))
        attr.assign(small, changes)
        return small

    def removable(self, sure: list[str], names: list[str]) -> list[str]:
        """Those among the groups named that can be removed together with the `sure` ones; found by halving."""
        why = self._attempt([*sure, *names])
        if why is None:
            return names
        if not self.failures:
            self._check_repeatable()
        if len(names) == 1:
            self.failures[names[0]] = why
            return []
        half = len(names) // 2
        first = self.removable(sure, names[:half])
        return first + self.removable(sure + first, names[half:])

    def _attempt(self, names: list[str]) -> str | None:
        """Cut the groups named and compare: what is wrong, if anything is.

        Exact groups are compared by numbers.  The attributes that they turn out to need are tried first where the
        others join in, for which only sizes can be compared.
        """
        exact = [name for name in names if self._structure.group(name).inexact is None]
        if exact or not names:
            why = self._try(exact, exact=True)
            if why or len(exact) == len(names):
                return why
        return self._try(names, exact=False)

    def _try(self, names: list[str], exact: bool) -> str | None:
        widths = {name: self._plan.widths[name] for name in names}
        certain = attr.certain(self._dense, self._structure, widths)
        likely, possible = attr.guessed(self._dense, self._structure, widths)
        failures = []
        masked = cache(lambda: run(mask(self._dense, self._masks(names)), self._call))  # not needed if no cut runs
        for chosen in _choices(likely, possible, self._proven, each=len(names) == 1):
            changes = _merge(certain, possible, chosen)
            why = self._compare(self.cut(self._dense, names, changes), widths, masked if exact else None)
            if why is None:
                self.changes = changes
                self._proven += chosen
                return None
            failures.append(why)
        return failures[0]

    def _compare(
        self, small: nn.Module, widths: dict[str, int], masked: Callable[[], list[Tensor]] | None
    ) -> str | None:
        shapes = Shapes(small, self._structure, widths)
        try:
            outputs = run(small, self._call, shapes)
        except Exception as error:
            return failure(error)
        if masked is not None:
            return difference(outputs, masked()) or shapes.mismatch()
        finite = difference([t.isfinite() for t in outputs], [t.isfinite() for t in self._outputs])
        return finite or shapes.mismatch()

    def _check_repeatable(self) -> None:
        why = difference(run(self._dense, self._call), self._outputs)
        if why:
            raise VerificationError(f"the model computes something else each time, so no cut can be verified: {why}")

    def _masks(self, names: list[str]) -> Masks:
        return self._structure.keep_masks({name: self._plan.keep[name] for name in names})


def _choices(likely: attr.Attributes, possible: attr.Attributes, proven: Pairs, each: bool) -> Iterable[Pairs]:
    """Which guesses to try: the likely ones and those proven before, all, none; then, if asked, each alone."""
    pairs = [(module, name) for module, values in possible.items() for name in values]
    sure = [pair for pair in pairs if pair in proven or pair[1] in likely.get(pair[0], {})]
    tried: list[Pairs] = []
    for chosen in [sure, pairs, [], *([pair] for pair in pairs if each)]:
        if chosen not in tried:
            tried.append(chosen)
            yield chosen


def _merge(certain: attr.Attributes, guessed: attr.Attributes, pairs: Pairs) -> attr.Attributes:
    merged = {module: dict(values) for module, values in certain.items()}
    for module, name in pairs:
        merged.setdefault(module, {}).setdefault(name, guessed[module][name])
    return merged
