"""`State`: the result of one stage of a pruning run, with which the next stage starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor, nn

from secateurs.budgets import Plan
from secateurs.errors import UsageError
from secateurs.observe import Observations
from secateurs.structure import Cost
from secateurs.surgery import Attributes, Compensation
from secateurs.utils import rng

Measure = Callable[[nn.Module], Mapping[str, float]]
"""Maps a model to figures by name, such as {"accuracy": 0.97, "loss": 0.1}."""


@dataclass(frozen=True)
class Round:
    """The model after one round.

    Attributes:
        cost: the cost of the model.
        widths: group name → the number of units left.
        measured: stage ("cut", "recalibrated", "recovered") → the figures that `Measure` returned after it.
    """

    cost: Cost
    widths: Mapping[str, int]
    measured: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class State:
    """The model between two stages, with the results so far.

    Attributes:
        model: the current model. The next stage may change it in place, unless it is the dense model.
        plan: the units of the dense model that are left; None before the first round.
        attributes: module name → the attributes that differ from those of the dense model.
        scores: the scores of the latest round, group name → [units before the round].
        compensation: the latest compensation; None if there was none.
        rounds: the model after each round.
        put_back: group name → the reason, for each group whose removal failed verification; it is not tried again.
        observed: statistics of the dense model that compensation can reuse. They are not stored in a run directory: a
            resumed run collects them again.
    """

    model: nn.Module
    plan: Plan | None = None
    attributes: Attributes = field(default_factory=dict)
    scores: Mapping[str, Tensor] = field(default_factory=dict)
    compensation: Compensation | None = None
    rounds: tuple[Round, ...] = ()
    put_back: Mapping[str, str] = field(default_factory=dict)
    observed: Observations = field(default_factory=dict)

    def measured(self, measure: Measure | None, stage: str) -> State:
        """Measure the model, and record the figures under this stage of the latest round.

        Raises:
            UsageError: `measure` returns anything other than figures by name.
        """
        if measure is None:
            return self
        with rng():
            figures = measure(self.model)
        if not isinstance(figures, Mapping) or not all(isinstance(value, (int, float)) for value in figures.values()):
            raise UsageError(f'measure must return figures by name, such as {{"accuracy": 0.97}}, not {figures!r}')
        *before, latest = self.rounds
        latest = replace(latest, measured={**latest.measured, stage: {n: float(value) for n, value in figures.items()}})
        return replace(self, rounds=(*before, latest))
