"""Trials: cuts of one model in float64, to find out which groups can be removed and what else has to change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from torch import Tensor, nn

from secateurs.budgets import Plan
from secateurs.data import Call
from secateurs.errors import VerificationError
from secateurs.structure import UNIT_KINDS, Structure
from secateurs.surgery.cut import Masks, cut, mask
from secateurs.surgery.shape_check import Fault, Survey
from secateurs.surgery.stale_attributes import Attributes, Choice, HeldSizes, assign
from secateurs.surgery.verify import difference, in_double, run_model

Comparison = Callable[[list[str], list[Tensor]], "str | None"]
"""What is wrong with the outputs of the model without these groups, if anything is."""


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
        self._held = HeldSizes(model, structure)
        self._choice: Choice = {}

    def cut(self, model: nn.Module, names: list[str], changes: Attributes) -> nn.Module:
        """`model` without the units that the plan removes from the groups named."""
        small = cut(model, self._masks(names))
        assign(small, changes)
        return small

    def removable(self, names: list[str]) -> list[str]:
        """Those among the groups named that can be removed together.

        Exact groups come first and are compared by numbers.  Then the others join in, for which only sizes can be.
        """
        names = sorted(names, key=self._rank)  # what is cut rarely, and fails often, stays together when it is halved
        exact = [name for name in names if self._structure.group(name).inexact is None]
        others = [name for name in names if name not in exact]
        removed = self._removable([], exact, self._differs) if exact or not names else []
        self._held.settle(self.changes, self._widths(removed))  # numbers have proven these
        return removed + (self._removable(removed, others, self._differs_in_finiteness) if others else [])

    def _removable(self, sure: list[str], names: list[str], compare: Comparison) -> list[str]:
        """Those among the groups named that can be removed together with the `sure` ones.

        Wrong sizes say where they arise, so what causes them is found for all groups at once.  Wrong numbers do not:
        the groups that cause them are found by halving.
        """
        if self._attempt([*sure, *names], [{}], compare) is None:
            return names
        why = difference(run_model(self._dense, self._call), self._outputs)
        if why:
            raise VerificationError(f"the model computes something else each time, so no cut can be verified: {why}")
        return self._halve(sure, self._settle(sure, names), compare)

    # Wrong sizes.

    def _settle(self, sure: list[str], names: list[str]) -> list[str]:
        """Settle how attributes are read, and take out the groups whose sizes come out wrong in every reading.

        In each turn every module where something is wrong tries another reading of one of its attributes, and keeps it
        if less is wrong with it then.
        """
        while (survey := self._survey([*sure, *names], {})).faults:
            widths = self._widths([*sure, *names])
            options = {fault.module: self._held.options(fault.module, widths) for fault in survey.faults}
            for turn in range(max(map(len, options.values()))):
                faulty = [fault.module for fault in survey.faults]
                tried = {module: its[turn] for module, its in options.items() if module in faulty and turn < len(its)}
                trial = self._survey([*sure, *names], _joined(tried.values()))
                better = [module for module in tried if trial.wrong(module) < survey.wrong(module)]
                if better:
                    self._choice |= _joined(tried[module] for module in better)
                    survey = trial if len(better) == len(tried) else self._survey([*sure, *names], {})
            guilty = self._guilty(survey.faults, names)
            if survey.faults and not guilty:
                break
            self.failures |= guilty
            names = [name for name in names if name not in guilty]
        return names

    def _guilty(self, faults: Iterable[Fault], names: Sequence[str]) -> dict[str, str]:
        """Whom of those named to put back: at each fault the groups of the last kind, as the others may do alone."""
        guilty: dict[str, str] = {}
        for fault in faults:
            ranks = {name: self._rank(name) for name in fault.groups if name in names}
            if guilty.keys().isdisjoint(ranks):
                guilty |= {name: fault.why for name, rank in ranks.items() if rank == max(ranks.values())}
        return guilty

    def _rank(self, name: str) -> int:
        return list(UNIT_KINDS).index(self._structure.group(name).kind)

    def _survey(self, names: list[str], choice: Choice) -> Survey:
        return self._run(names, self._held.changes(self._widths(names), {**self._choice, **choice}))[1]

    # Wrong numbers.

    def _halve(self, sure: list[str], names: list[str], compare: Comparison) -> list[str]:
        widths = self._widths([*sure, *names])
        alone = self._held.options_of(names[0], widths) if len(names) == 1 else []
        why = self._attempt([*sure, *names], [{}, *alone], compare)
        if why is None:
            return names
        if len(names) < 2:
            self.failures |= dict.fromkeys(names, why)
            return []
        half = len(names) // 2
        first = self._halve(sure, names[:half], compare)
        return first + self._halve(sure + first, names[half:], compare)

    def _attempt(self, names: list[str], choices: Sequence[Choice], compare: Comparison) -> str | None:
        """Cut these groups and settle on the first choice that passes; what is wrong with the first if none does."""
        failures = []
        for choice in choices:
            changes = self._held.changes(self._widths(names), {**self._choice, **choice})
            outputs, survey = self._run(names, changes)
            why = survey.faults[0].why if survey.faults else compare(names, outputs)
            if why is None:
                self.changes, self._choice = changes, {**self._choice, **choice}
                return None
            failures.append(why)
        return failures[0]

    def _differs(self, names: list[str], outputs: list[Tensor]) -> str | None:
        return difference(outputs, run_model(mask(self._dense, self._masks(names)), self._call))

    def _differs_in_finiteness(self, names: list[str], outputs: list[Tensor]) -> str | None:
        return difference([t.isfinite() for t in outputs], [t.isfinite() for t in self._outputs])

    # Both.

    def _run(self, names: list[str], changes: Attributes) -> tuple[list[Tensor], Survey]:
        """The outputs of the model cut so, and what went wrong on the way."""
        small = self.cut(self._dense, names, changes)
        survey = Survey(small, self._dense, self._structure, self._widths(names))
        try:
            outputs = run_model(small, self._call, survey)
        except Exception as error:
            survey.stopped(error)
            return [], survey
        survey.finished()
        return outputs, survey

    def _widths(self, names: list[str]) -> dict[str, int]:
        return {name: self._plan.widths[name] for name in names}

    def _masks(self, names: list[str]) -> Masks:
        return self._structure.keep_masks({name: self._plan.keep[name] for name in names})


def _joined(choices: Iterable[Choice]) -> Choice:
    return {attribute: reading for choice in choices for attribute, reading in choice.items()}
