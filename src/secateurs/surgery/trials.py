"""Trials: cuts of one model in float64, to find out which groups can be removed and what else has to change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import count

from torch import Tensor, nn

from secateurs.data import Call
from secateurs.errors import VerificationError
from secateurs.plan import Plan
from secateurs.structure import Structure
from secateurs.structure.kinds import KINDS
from secateurs.surgery.attributes import Attributes, Choice, Stale, assign, stale
from secateurs.surgery.cut import Masks, cut, mask
from secateurs.surgery.survey import Fault, Survey
from secateurs.surgery.verify import difference, in_double, run


class Trials:
    """Tries cuts (in the model's own precision if it does not run in float64).

    Attributes:
        changes: the attributes that the last cut which passed had to change.
        failures: the groups that cannot be removed, and what goes wrong.
    """

    def __init__(self, model: nn.Module, plan: Plan, structure: Structure, call: Call):
        self._plan, self._structure = plan, structure
        self._dense, self._call, self._outputs = in_double(model, call)
        self.changes: Attributes = {}
        self.failures: dict[str, str] = {}
        self._choice: dict[str, Sequence[str]] = {}

    def cut(self, model: nn.Module, names: list[str], changes: Attributes) -> nn.Module:
        """`model` without the units that the plan removes from the groups named."""
        small = cut(model, self._masks(names))
        assign(small, changes)
        return small

    def removable(self, names: list[str]) -> list[str]:
        """Those among the groups named that can be removed together.

        Wrong sizes say where they arise, so what causes them is found for all groups at once.  Wrong numbers do not:
        the groups that cause them are found by halving.
        """
        if self._attempt(names, [{}]) is None:
            return names
        why = difference(run(self._dense, self._call), self._outputs)
        if why:
            raise VerificationError(f"the model computes something else each time, so no cut can be verified: {why}")
        return self._halve([], self._settle(names))

    # Wrong sizes.

    def _settle(self, names: list[str]) -> list[str]:
        """Settle which attributes change, and take out the groups whose sizes come out wrong with every choice.

        In each turn every module where something is wrong tries another choice of its own.
        """
        while faults := self._survey(names):
            attributes = self._stale(names)
            for turn in count():
                options = {fault.module: attributes.options(fault.module)[turn:] for fault in faults}
                choice = {module: left[0] for module, left in options.items() if left}
                if not choice:
                    break
                wrong = {fault.module for fault in self._survey(names, choice)}
                self._choice |= {module: chosen for module, chosen in choice.items() if module not in wrong}
                faults = [fault for fault in faults if fault.module in wrong or fault.module not in choice]
            guilty = _guilty(self._structure, faults)
            if faults and not guilty:
                return names
            self.failures |= guilty
            names = [name for name in names if name not in guilty]
        return names

    def _survey(self, names: list[str], choice: Choice | None = None) -> list[Fault]:
        return self._run(names, self._stale(names).changes({**self._choice, **(choice or {})}))[1]

    # Wrong numbers.

    def _halve(self, sure: list[str], names: list[str]) -> list[str]:
        tried = [*sure, *names]
        why = self._attempt(tried, self._stale(tried).choices({}, singles=len(names) == 1))
        if why is None:
            return names
        if len(names) == 1:
            self.failures[names[0]] = why
            return []
        half = len(names) // 2
        first = self._halve(sure, names[:half])
        return first + self._halve(sure + first, names[half:])

    def _attempt(self, names: list[str], choices: Sequence[Choice]) -> str | None:
        """Cut the groups named and compare: what is wrong with the first choice, if something is with each of them.

        Exact groups are compared by numbers.  What they turn out to need is settled before the others join in, for
        which only sizes can be compared.
        """
        exact = [name for name in names if self._structure.group(name).inexact is None]
        if exact or not names:
            masked = cache(lambda: run(mask(self._dense, self._masks(exact)), self._call))  # not needed if sizes differ
            why = self._first(exact, choices, lambda outputs: difference(outputs, masked()))
            if why or len(exact) == len(names):
                return why
        return self._first(names, choices, self._differently_finite)

    def _first(
        self, names: list[str], choices: Sequence[Choice], compare: Callable[[list[Tensor]], str | None]
    ) -> str | None:
        """Settle on the first choice that passes."""
        failures = []
        for choice in choices:
            changes = self._stale(names).changes({**self._choice, **choice})
            outputs, faults = self._run(names, changes)
            why = faults[0].why if faults else compare(outputs)
            if why is None:
                self.changes, self._choice = changes, {**self._choice, **choice}
                return None
            failures.append(why)
        return failures[0]

    def _differently_finite(self, outputs: list[Tensor]) -> str | None:
        return difference([t.isfinite() for t in outputs], [t.isfinite() for t in self._outputs])

    # Both.

    def _run(self, names: list[str], changes: Attributes) -> tuple[list[Tensor], list[Fault]]:
        """The outputs of the model cut so, and what went wrong on the way."""
        small = self.cut(self._dense, names, changes)
        survey = Survey(small, self._structure, self._widths(names))
        try:
            outputs = run(small, self._call, survey)
        except Exception as error:
            survey.stopped(error)
            return [], survey.faults
        survey.finished()
        return outputs, survey.faults

    def _stale(self, names: list[str]) -> Stale:
        return stale(self._dense, self._structure, self._widths(names))

    def _widths(self, names: list[str]) -> dict[str, int]:
        return {name: self._plan.widths[name] for name in names}

    def _masks(self, names: list[str]) -> Masks:
        return self._structure.keep_masks({name: self._plan.keep[name] for name in names})


def _guilty(structure: Structure, faults: Iterable[Fault]) -> dict[str, str]:
    """The groups to put back: of those at one fault, only the ones of the last kind, as the others may do without."""
    guilty: dict[str, str] = {}
    order = list(KINDS)
    for fault in faults:
        ranks = {name: order.index(structure.group(name).kind) for name in fault.groups}
        if guilty.keys().isdisjoint(ranks):
            guilty |= {name: fault.why for name, rank in ranks.items() if rank == max(ranks.values())}
    return guilty
