"""What a gradient is: values that come from derivatives of the model, and what it takes to compute them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn

from secateurs.data import Loss
from secateurs.structure import Structure
from secateurs.utils import Progress, silent

Values = Mapping[str, Tensor]
"""A tensor per parameter, in its shape; or a tensor [units] per group."""


@dataclass(frozen=True)
class Setting:
    """What gradients are computed from.

    Attributes:
        model: in evaluation mode, with gradients switched on for all parameters; all of it is restored afterwards.
        parameters: the floating-point parameters of the model, by name.
        data: the batches; empty if no gradient needs data.
        structure: of the model.
        loss: maps (outputs, targets) to the mean loss of a batch; None for cross-entropy or the model's own loss.
        seed: for random numbers.
        progress: wraps the iteration over the data.
    """

    model: nn.Module
    parameters: Mapping[str, Tensor]
    data: Iterable[Any]
    structure: Structure
    loss: Loss | None = None
    seed: int = 0
    progress: Progress = silent


class Gradient(ABC):
    """A kind of derivative that criteria ask for: subclass it, and name an instance in `gradients=` of a criterion.

    Attributes:
        name: for users.
        summary: one line about it.
        needs_data: whether it is computed from data.
        needs_loss: whether it is computed from a loss, which takes labelled data.
        needs_curvature: whether it takes second derivatives.
        passes: how often it reads the data, apart from the pass that all `SampleMean` gradients share.
        requires: gradients that are computed before this one.

    Example:
        >>> from secateurs.criteria import temporary_criteria
        >>> from secateurs.observe import Gradient
        >>> class OutputGradient(Gradient):
        ...     name, summary = "output", "the gradient of the sum of all outputs for inputs of ones"
        ...     needs_data = needs_loss = False
        ...
        ...     def compute(self, setting, computed):
        ...         ones = setting.structure.inputs.map(lambda t: torch.ones(t.shape))
        ...         total = ones.run(setting.model).sum()
        ...         values = torch.autograd.grad(total, list(setting.parameters.values()))
        ...         return dict(zip(setting.parameters, values))
        >>> output = OutputGradient()
        >>> with temporary_criteria():  # undone at the end of the block
        ...     @sc.criterion("output-gradient", source="this example", gradients=(output,))
        ...     def output_gradient(evidence):
        ...         "Sum of the magnitudes of the gradients of the outputs."
        ...         return evidence.sums(lambda weight: weight.gradient(output).abs())
        ...     scores = sc.score(model, data, "output-gradient")
    """

    name: str
    summary: str
    needs_data: bool = True
    needs_loss: bool = True
    needs_curvature: bool = False
    passes: int = 0
    requires: tuple[Gradient, ...] = ()

    @abstractmethod
    def compute(self, setting: Setting, computed: Mapping[Gradient, Values]) -> Values:
        """Compute the values.

        Args:
            setting: the model, its data and so on.
            computed: the values of the gradients in `requires`, perhaps among others.
        """

    def __str__(self) -> str:
        return self.name


class Step(NamedTuple):
    """One backward pass.

    Attributes:
        samples: the number of samples of the batch.
        gradients: of the mean loss of these samples with respect to each parameter.
        parameters: the parameters.
        structure: of the model.
    """

    samples: int
    gradients: Values
    parameters: Values
    structure: Structure


Gradients = Mapping[Gradient, Values]
"""The values of each gradient."""
