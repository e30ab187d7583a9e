"""Where a procedure is: the model so far, and what was done and measured on the way."""

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
"""Measures a model: figures by name, such as {"accuracy": 0.97, "loss": 0.1}."""


@dataclass(frozen=True)
class Round:
    """The model after one round.

    Attributes:
        cost: of the model.
        widths: units left, per group.
        measured: per stage ("cut", "recalibrated", "recovered"), figures by name.
    """

    cost: Cost
    widths: Mapping[str, int]
    measured: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class State:
    """Where a procedure is.

    Attributes:
        model: as it is now; but for the dense one it belongs to the state, and the next stage may change it.
        plan: what was removed of the dense model so far; None before the first round.
        attributes: attributes of modules that differ from the dense model's, per module name.
        scores: those of the latest round, of the units that were there.
        compensation: what the units that stayed took over last.
        rounds: what each round left.
        put_back: groups whose removal failed verification, and how; they are not tried again.
        observed: what was observed of the dense model and compensation can use. A run that goes on observes it again.
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
        """With the figures of the model as it is, at this stage of its latest round.

        Raises:
            UsageError: `measure` returns something else than figures by name.
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
