"""Trial cuts in float64, to find the groups that can be cut and the attributes that must change."""

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
"""Maps the names of cut groups and the outputs of the cut model to a failure, or None."""


class Trials:
    """Trial cuts in float64, or in the precision of the model if it does not run in float64.

    Args:
        model: the dense model; not changed.
        plan: the kept units.
        structure: of the dense model.
        call: example inputs.

    Attributes:
        changes: the attributes that the last successful cut changed.
        failures: the names of groups that cannot be cut, with the reasons.
    """

    def __init__(self, model: nn.Module, plan: Plan, structure: Structure, call: Call):
        self._plan, self._structure = plan, structure
        self._dense, self._call, self._outputs = in_double(model, call)
        self.changes: Attributes = {}
        self.failures: dict[str, str] = {}
        self._sizes = SizeAttributes(model, structure)
        self._choice: Choice = {}

    def cut(self, model: nn.Module, names: list[str], changes: Attributes) -> nn.Module:
        """Copy `model` without the units that the plan removes from these groups."""
        small = cut(model, self._masks(names))
        assign(small, changes)
        return small

    def removable(self, names: list[str]) -> list[str]:
        """Find the groups that can be cut together; the failures of all others are recorded.

        Groups that can be removed exactly come first, and the values of the outputs are compared. The remaining groups
        are added afterwards, and only sizes and finiteness are compared.

        Args:
            names: the groups that the plan cuts.

        Returns:
            The groups that can be cut.
        """
        names = sorted(names, key=self._rank)  # bisection is faster if groups that fail together are neighbours
        exact = [name for name in names if self._structure.group(name).inexact is None]
        inexact = [name for name in names if name not in exact]
        removed = self._removable([], exact, self._differs) if exact or not names else []
        self._sizes.settle(self.changes, self._widths(removed))  # the comparison of values has confirmed these changes
        return removed + (self._removable(removed, inexact, self._differs_in_finiteness) if inexact else [])

    def _removable(self, confirmed: list[str], names: list[str], compare: Comparison) -> list[str]:
        """Find the groups among `names` that can be cut together with all confirmed groups.

        A wrong size can be traced to the operator that causes it, so one run finds all causes of wrong sizes. A wrong
        value cannot, so bisection finds the groups that cause it.
        """
        if self._attempt([*confirmed, *names], [{}], compare) is None:
            return names
        reason = difference(run_model(self._dense, self._call), self._outputs)
        if reason:
            raise VerificationError(
                f"the outputs of the model differ from run to run, so no cut can be verified: {reason}"
            )
        return self._bisect(confirmed, self._resolve_sizes(confirmed, names), compare)

    # Wrong sizes.

    def _resolve_sizes(self, confirmed: list[str], names: list[str]) -> list[str]:
        """Choose readings of attributes, and drop the groups with wrong sizes for every reading.

        In each turn, every module with a mismatch tries one reading of one attribute. The reading is kept if it reduces
        the failures in the module.
        """
        while (check := self._check_shapes([*confirmed, *names], {})).mismatches:
            widths = self._widths([*confirmed, *names])
            options = {m.module: self._sizes.options(m.module, widths) for m in check.mismatches}
            for turn in range(max(map(len, options.values()))):
                failing = [mismatch.module for mismatch in check.mismatches]
                candidates = {
                    module: choices[turn]
                    for module, choices in options.items()
                    if module in failing and turn < len(choices)
                }
                trial = self._check_shapes([*confirmed, *names], _merge_choices(candidates.values()))
                better = [module for module in candidates if trial.severity(module) < check.severity(module)]
                if better:
                    self._choice |= _merge_choices(candidates[module] for module in better)
                    check = trial if len(better) == len(candidates) else self._check_shapes([*confirmed, *names], {})
            culprits = self._culprits(check.mismatches, names)
            if check.mismatches and not culprits:
                break
            self.failures |= culprits
            names = [name for name in names if name not in culprits]
        return names

    def _culprits(self, mismatches: Iterable[ShapeMismatch], names: Sequence[str]) -> dict[str, str]:
        """Find the groups to drop, with the reasons.

        At each mismatch these are the groups of the last kind in `UNIT_KINDS`, because the others may be correct.
        """
        culprits: dict[str, str] = {}
        for mismatch in mismatches:
            ranks = {name: self._rank(name) for name in mismatch.groups if name in names}
            if culprits.keys().isdisjoint(ranks):
                culprits |= {name: mismatch.reason for name, rank in ranks.items() if rank == max(ranks.values())}
        return culprits

    def _rank(self, name: str) -> int:
        """The position of the kind of a group in `UNIT_KINDS`."""
        return list(UNIT_KINDS).index(self._structure.group(name).kind)

    def _check_shapes(self, names: list[str], choice: Choice) -> ShapeCheck:
        return self._run(names, self._sizes.changes(self._widths(names), {**self._choice, **choice}))[1]

    # Wrong values.

    def _bisect(self, confirmed: list[str], names: list[str], compare: Comparison) -> list[str]:
        """Find the groups that can be cut together with all confirmed groups by repeated halving of the list."""
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
        """Cut these groups and keep the first choice that passes; if none passes, return the first failure."""
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

    # Runs.

    def _run(self, names: list[str], changes: Attributes) -> tuple[list[Tensor], ShapeCheck]:
        """Cut these groups and run the model: the outputs, and the shape check of the run."""
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
