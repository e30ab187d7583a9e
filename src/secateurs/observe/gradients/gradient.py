"""The base class of gradients, and the inputs of their computation."""

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
"""Parameter name to a tensor in the shape of the parameter; or group name to a tensor [units]."""


@dataclass(frozen=True)
class Setting:
    """The inputs of the computation of gradients.

    Attributes:
        model: in evaluation mode, with gradients enabled for all parameters; both settings are restored afterwards.
        parameters: the floating-point parameters of the model, by name.
        data: the batches; empty if no gradient needs data.
        structure: of the model.
        loss: maps (outputs, targets) to the mean loss of a batch; None for cross-entropy or the loss that the model
            returns.
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
    """A kind of derivative that criteria can request.

    To add a gradient, write a subclass and name an instance of it in `gradients=` of a criterion.

    Attributes:
        name: the name for users.
        summary: one line that describes the gradient.
        needs_data: whether the computation needs data.
        needs_loss: whether the computation needs a loss, and therefore labelled data.
        needs_curvature: whether the computation needs second derivatives.
        passes: the number of passes over the data, without the pass that all `SampleMean` gradients share.
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
            setting: the model, the data and the loss.
            computed: the values of the gradients computed so far, which include all in `requires`.

        Returns:
            Parameter name to a tensor in the shape of the parameter, or group name to a tensor [units].
        """

    def __str__(self) -> str:
        return self.name


class Step(NamedTuple):
    """The result of one backward pass.

    Attributes:
        samples: the number of samples in the batch.
        gradients: the gradient of the mean loss of these samples by each parameter, by name.
        parameters: the parameters, by name.
        structure: of the model.
    """

    samples: int
    gradients: Values
    parameters: Values
    structure: Structure


Gradients = Mapping[Gradient, Values]
"""The values of each gradient."""
