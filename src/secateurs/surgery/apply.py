"""`apply`: remove what a plan says from a copy of a model, and prove that the result is right."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from secateurs.data import Call, as_call, device_of
from secateurs.errors import PutBackWarning, VerificationError
from secateurs.plan import Plan
from secateurs.structure import Structure, trace
from secateurs.surgery import attributes as attr
from secateurs.surgery.cut import Masks, cut, mask
from secateurs.surgery.verify import difference, failure, in_double, run


@dataclass(frozen=True)
class Cut:
    """A cut model and how it came about.

    Attributes:
        model: the cut model.
        plan: what was removed in the end.
        attributes: attributes of modules that were changed, per module name.
        put_back: groups left whole after all because their removal failed verification, and how it failed.
        inexact: groups whose removal changes what the remaining units compute, and why; only the shapes of the
            outputs were verified for them.
    """

    model: nn.Module
    plan: Plan
    attributes: attr.Attributes
    put_back: dict[str, str]
    inexact: dict[str, str]


def apply(model: nn.Module, plan: Plan, example_inputs: Any, structure: Structure | None = None) -> nn.Module:
    """Remove units physically.

    The cut model is verified before it is returned: in float64 on the example inputs it equals the dense model with
    the removed units' parameters set to zero, to 1e-10 of the largest output, for all groups whose removal is exact.
    For the others its outputs have the right shapes. A group that fails is left whole, with a `PutBackWarning`.

    Args:
        model: the dense model; it is not changed.
        plan: from `allocate`, or loaded.
        example_inputs: a tensor, a tuple, or a dict of keyword arguments.
        structure: from `trace`; by default the model is traced again.

    Returns:
        A new module of the same class.

    Raises:
        PlanError: the plan is for another model.
        VerificationError: the model cannot be cut at all, or gives other outputs each time it is run.
    """
    result = operate(model, plan, example_inputs, structure)
    if result.put_back:
        reasons = "; ".join(f"{name} ({reason})" for name, reason in result.put_back.items())
        warnings.warn(f"left whole, because removal failed verification: {reasons}", PutBackWarning, stacklevel=2)
    return result.model


def operate(model: nn.Module, plan: Plan, example_inputs: Any, structure: Structure | None = None) -> Cut:
    """As `apply`, but returns everything there is to know about the cut, and does not warn."""
    structure = structure or trace(model, example_inputs)
    plan.check(structure)
    surgery = _Surgery(model, plan, structure, as_call(example_inputs).to(device_of(model)))
    names = [name for name, gone in plan.removed().items() if gone]
    put_back: dict[str, str] = {}
    removed = surgery.removable([], names, put_back)
    changes = surgery.changes
    return Cut(
        model=surgery.cut(model, removed, changes),
        plan=plan.without(put_back, structure) if put_back else plan,
        attributes=changes,
        put_back=put_back,
        inexact={name: why for name in removed if (why := structure.group(name).inexact)},
    )


class _Surgery:
    """Tries cuts of one model in float64 (in the model's own precision if it does not run in that).

    Attributes:
        changes: the attributes that the last cut which passed had to change.
    """

    def __init__(self, model: nn.Module, plan: Plan, structure: Structure, call: Call):
        self._plan, self._structure = plan, structure
        self._dense, self._call, self._outputs = in_double(model, call)
        self.changes: attr.Attributes = {}

    def cut(self, model: nn.Module, names: list[str], changes: attr.Attributes) -> nn.Module:
        """`model` without the units that the plan removes from the groups named."""
        small = cut(model, self._masks(names))
        attr.assign(small, changes)
        return small

    def removable(self, sure: list[str], names: list[str], put_back: dict[str, str]) -> list[str]:
        """Those among the groups named that can be removed together with the `sure` ones; found by halving.

        The others are added to `put_back`, with what goes wrong.
        """
        changes, why = self.attempt([*sure, *names])
        if why is None:
            self.changes = changes
            return names
        self._check_repeatable()
        if len(names) == 1:
            put_back[names[0]] = why
            return []
        half = len(names) // 2
        first = self.removable(sure, names[:half], put_back)
        return first + self.removable(sure + first, names[half:], put_back)

    def attempt(self, names: list[str]) -> tuple[attr.Attributes, str | None]:
        """Cut the groups named and compare: the attributes to change, and what is wrong, if anything is."""
        exact = [name for name in names if self._structure.group(name).inexact is None]
        changes, why = self._try(exact, exact=True)
        return (changes, why) if why or len(exact) == len(names) else self._try(names, exact=False)

    def _try(self, names: list[str], exact: bool) -> tuple[attr.Attributes, str | None]:
        expected = run(mask(self._dense, self._masks(names)), self._call) if exact else self._outputs
        widths = {name: self._plan.widths[name] for name in names}
        certain = attr.certain(self._dense, self._structure, widths)
        likely, possible = attr.guessed(self._dense, self._structure, widths)
        failures = []
        for changes in _candidates(certain, likely, possible, exact):
            why = self._compare(self.cut(self._dense, names, changes), expected, exact)
            if why is None:
                return changes, None
            failures.append(why)
        return certain, failures[0]

    def _compare(self, small: nn.Module, expected: list[Tensor], exact: bool) -> str | None:
        try:
            outputs = run(small, self._call)
        except Exception as error:
            return failure(error)
        if exact:
            return difference(outputs, expected)
        return difference([t.isfinite() for t in outputs], [t.isfinite() for t in expected])

    def _check_repeatable(self) -> None:
        why = difference(run(self._dense, self._call), self._outputs)
        if why:
            raise VerificationError(f"the model computes something else each time, so no cut can be verified: {why}")

    def _masks(self, names: list[str]) -> Masks:
        return self._structure.keep_masks({name: self._plan.keep[name] for name in names})


def _candidates(
    certain: attr.Attributes, likely: attr.Attributes, possible: attr.Attributes, exact: bool
) -> Iterable[attr.Attributes]:
    """Sets of attribute changes to try: with the likely guesses, with all and with none, then with each alone.

    Where numbers cannot tell a wrong guess from a right one, none comes first.
    """
    pairs = [(module, name) for module, values in possible.items() for name in values]
    sure = [(module, name) for module, name in pairs if name in likely.get(module, {})]
    choices = [sure, pairs, []] if exact else [[], sure, pairs]
    tried: list[list[tuple[str, str]]] = []
    for chosen in [*choices, *([pair] for pair in pairs)]:
        if chosen not in tried:
            tried.append(chosen)
            yield _merge(certain, possible, chosen)


def _merge(certain: attr.Attributes, guessed: attr.Attributes, pairs: list[tuple[str, str]]) -> attr.Attributes:
    merged = {module: dict(values) for module, values in certain.items()}
    for module, name in pairs:
        merged.setdefault(module, {}).setdefault(name, guessed[module][name])
    return merged
