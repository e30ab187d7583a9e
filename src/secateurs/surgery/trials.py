"""Trials: cuts of a model in float64, to find which groups can be removed and which attributes must change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from torch import Tensor, nn

from secateurs.budgets import Plan
from secateurs.data import Call
from secateurs.errors import VerificationError
from secateurs.structure import UNIT_KINDS, Structure
from secateurs.surgery.cut import Masks, cut, mask
from secateurs.surgery.shape_check import ShapeCheck, ShapeMismatch
from secateurs.surgery.stale_attributes import Attributes, Choice, SizeAttributes, assign
from secateurs.surgery.verify import difference, in_double, run_model

Comparison = Callable[[list[str], list[Tensor]], "str | None"]
"""Takes the names of cut groups and the outputs of the cut model; returns the failure, or None."""


class Trials:
    """Trial cuts in float64, or in the model's own precision if it does not run in float64.

    Attributes:
        changes: the attributes that the last successful cut changed.
        failures: the groups that cannot be removed, and the reasons.
    """

    def __init__(self, model: nn.Module, plan: Plan, structure: Structure, call: Call):
        self._plan, self._structure = plan, structure
        self._dense, self._call, self._outputs = in_double(model, call)
        self.changes: Attributes = {}
        self.failures: dict[str, str] = {}
        self._sizes = SizeAttributes(model, structure)
        self._choice: Choice = {}

    def cut(self, model: nn.Module, names: list[str], changes: Attributes) -> nn.Module:
        """A copy of `model` without the units that the plan removes from these groups."""
        small = cut(model, self._masks(names))
        assign(small, changes)
        return small

    def removable(self, names: list[str]) -> list[str]:
        """The groups that can be removed together, among these.

        Exact groups come first, and their outputs are compared by value. For the other groups, which are added
        afterwards, only sizes can be compared.
        """
        names = sorted(names, key=self._rank)  # kinds that often fail stay together when the list is halved
        exact = [name for name in names if self._structure.group(name).inexact is None]
        others = [name for name in names if name not in exact]
        removed = self._removable([], exact, self._differs) if exact or not names else []
        self._sizes.settle(self.changes, self._widths(removed))  # equal values have confirmed these
        return removed + (self._removable(removed, others, self._differs_in_finiteness) if others else [])

    def _removable(self, confirmed: list[str], names: list[str], compare: Comparison) -> list[str]:
        """The groups that can be removed together with the confirmed ones, among these.

        A wrong size shows where it arises, so the causes of all wrong sizes are found at once. A wrong value does not:
        the groups that cause it are found by bisection.
        """
        if self._attempt([*confirmed, *names], [{}], compare) is None:
            return names
        reason = difference(run_model(self._dense, self._call), self._outputs)
        if reason:
            raise VerificationError(f"the model's outputs differ from run to run, so no cut can be verified: {reason}")
        return self._bisect(confirmed, self._resolve_sizes(confirmed, names), compare)

    # Wrong sizes.

    def _resolve_sizes(self, confirmed: list[str], names: list[str]) -> list[str]:
        """Choose readings of attributes, and drop the groups that give wrong sizes with every reading.

        In each turn, every module with a mismatch tries another reading of one attribute, and keeps it if the module
        then fails less.
        """
        while (check := self._check_shapes([*confirmed, *names], {})).mismatches:
            widths = self._widths([*confirmed, *names])
            options = {m.module: self._sizes.options(m.module, widths) for m in check.mismatches}
            for turn in range(max(map(len, options.values()))):
                failing = [mismatch.module for mismatch in check.mismatches]
                tried = {
                    module: choices[turn]
                    for module, choices in options.items()
                    if module in failing and turn < len(choices)
                }
                trial = self._check_shapes([*confirmed, *names], _merge_choices(tried.values()))
                better = [module for module in tried if trial.severity(module) < check.severity(module)]
                if better:
                    self._choice |= _merge_choices(tried[module] for module in better)
                    check = trial if len(better) == len(tried) else self._check_shapes([*confirmed, *names], {})
            culprits = self._culprits(check.mismatches, names)
            if check.mismatches and not culprits:
                break
            self.failures |= culprits
            names = [name for name in names if name not in culprits]
        return names

    def _culprits(self, mismatches: Iterable[ShapeMismatch], names: Sequence[str]) -> dict[str, str]:
        """The groups to put back, with reasons: at each mismatch those of the last kind, as the others may be right."""
        culprits: dict[str, str] = {}
        for mismatch in mismatches:
            ranks = {name: self._rank(name) for name in mismatch.groups if name in names}
            if culprits.keys().isdisjoint(ranks):
                culprits |= {name: mismatch.reason for name, rank in ranks.items() if rank == max(ranks.values())}
        return culprits

    def _rank(self, name: str) -> int:
        """The position of the kind of a group among all kinds."""
        return list(UNIT_KINDS).index(self._structure.group(name).kind)

    def _check_shapes(self, names: list[str], choice: Choice) -> ShapeCheck:
        return self._run(names, self._sizes.changes(self._widths(names), {**self._choice, **choice}))[1]

    # Wrong values.

    def _bisect(self, confirmed: list[str], names: list[str], compare: Comparison) -> list[str]:
        """The groups that can be removed together with the confirmed ones, found by halving the list."""
        widths = self._widths([*confirmed, *names])
        choices = self._sizes.options_of(names[0], widths) if len(names) == 1 else []
        reason = self._attempt([*confirmed, *names], [{}, *choices], compare)
        if reason is None:
            return names
        if len(names) < 2:
            self.failures |= dict.fromkeys(names, reason)
            return []
        half = len(names) // 2
        first = self._bisect(confirmed, names[:half], compare)
        return first + self._bisect(confirmed + first, names[half:], compare)

    def _attempt(self, names: list[str], choices: Sequence[Choice], compare: Comparison) -> str | None:
        """Cut these groups and keep the first choice that passes; if none does, return the failure of the first."""
        failures = []
        for choice in choices:
            changes = self._sizes.changes(self._widths(names), {**self._choice, **choice})
            outputs, check = self._run(names, changes)
            reason = check.mismatches[0].reason if check.mismatches else compare(names, outputs)
            if reason is None:
                self.changes, self._choice = changes, {**self._choice, **choice}
                return None
            failures.append(reason)
        return failures[0]

    def _differs(self, names: list[str], outputs: list[Tensor]) -> str | None:
        return difference(outputs, run_model(mask(self._dense, self._masks(names)), self._call))

    def _differs_in_finiteness(self, names: list[str], outputs: list[Tensor]) -> str | None:
        return difference([t.isfinite() for t in outputs], [t.isfinite() for t in self._outputs])

    # Both.

    def _run(self, names: list[str], changes: Attributes) -> tuple[list[Tensor], ShapeCheck]:
        """The outputs of the model without these groups, and the shape check of the run."""
        small = self.cut(self._dense, names, changes)
        check = ShapeCheck(small, self._dense, self._structure, self._widths(names))
        try:
            outputs = run_model(small, self._call, check)
        except Exception as error:
            check.stopped(error)
            return [], check
        check.finished()
        return outputs, check

    def _widths(self, names: list[str]) -> dict[str, int]:
        return {name: self._plan.widths[name] for name in names}

    def _masks(self, names: list[str]) -> Masks:
        return self._structure.keep_masks({name: self._plan.keep[name] for name in names})


def _merge_choices(choices: Iterable[Choice]) -> Choice:
    return {attribute: reading for choice in choices for attribute, reading in choice.items()}
