"""Gradients that are means over samples. All of them share one pass over the data."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

from torch import Tensor

from secateurs.data import batches, errors_on_all_ranks, sum_over_ranks
from secateurs.observe.gradients.backward import equal_weight_parts, loss_gradients
from secateurs.observe.gradients.gradient import Gradient, Setting, Step, Values
from secateurs.observe.gradients.per_unit import consumed_groups, sum_over_consumers


class SampleMean(Gradient):
    """A mean over samples of a term that one backward pass determines.

    Attributes:
        per_sample: whether each sample needs a separate backward pass.

    Example:
        >>> from secateurs.observe import SampleMean
        >>> class MeanMagnitude(SampleMean):
        ...     name, summary = "magnitude", "the mean over samples of the magnitude of a sample's gradient"
        ...     per_sample = True
        ...
        ...     def term(self, step):
        ...         return {name: gradient.abs() for name, gradient in step.gradients.items()}
    """

    per_sample: bool = False

    @abstractmethod
    def term(self, step: Step) -> Values:
        """Compute the sum of the term over the samples of one backward pass.

        Args:
            step: the backward pass; `step.samples` is 1 if `per_sample` is true.

        Returns:
            Parameter name to a tensor in the shape of the parameter, or group name to a tensor [units].
        """

    def compute(self, setting: Setting, computed: Mapping[Gradient, Values]) -> Values:
        """Compute this mean alone, in one pass over the data."""
        return sample_means([self], setting)[self]


class LossGradient(SampleMean):
    """The gradient of the mean loss."""

    name, summary = "gradient", "the gradient of the mean loss"

    def term(self, step: Step) -> Values:
        """The gradient of the mean loss of the samples, times the number of samples."""
        return {name: gradient * step.samples for name, gradient in step.gradients.items()}


class Fisher(SampleMean):
    """The diagonal of the empirical Fisher information."""

    name = "fisher"
    summary = "the mean squared gradient of the loss of single samples (diagonal of the empirical Fisher information)"
    per_sample = True

    def term(self, step: Step) -> Values:
        """The squared gradient of the sample."""
        return {name: gradient.square() for name, gradient in step.gradients.items()}


class Gate(SampleMean):
    """The squared derivative of the loss by a factor on each unit, [units] for each group with units that weights use.

    The layers that use a unit are linear in the unit. So the derivative is Σ weight × gradient over the weights that
    use the unit.
    """

    name = "gate"
    summary = "the mean squared derivative of the loss of single samples by a factor on each unit"
    per_sample = True

    def term(self, step: Step) -> Values:
        """The squared derivatives of the loss of the sample."""
        effects = {name: step.parameters[name].detach() * gradient for name, gradient in step.gradients.items()}
        groups = consumed_groups(step.structure).items()
        return {name: sum_over_consumers(step.structure, group, effects).square() for name, group in groups}


LOSS_GRADIENT, FISHER, GATE = LossGradient(), Fisher(), Gate()


def sample_means(gradients: Sequence[SampleMean], setting: Setting) -> dict[Gradient, Values]:
    """Compute means over samples in one pass over the data.

    Args:
        gradients: the gradients to compute.
        setting: the model, the data and the loss. If the data is a shard, the means cover the data of all ranks.

    Returns:
        The values of each gradient.

    Raises:
        DataError: the model does not accept a batch, or the loss has no gradient.
    """
    totals: dict[SampleMean, dict[str, Tensor]] = {gradient: {} for gradient in gradients}
    single = any(gradient.per_sample for gradient in gradients)
    samples = 0
    with errors_on_all_ranks(setting.data):
        for batch in equal_weight_parts(setting.progress(batches(setting.data), "differentiating"), single):
            samples += batch.size
            step = Step(batch.size, loss_gradients(setting, batch), setting.parameters, setting.structure)
            for gradient, total in totals.items():
                for name, term in gradient.term(step).items():
                    total[name] = total[name] + term if name in total else term
    samples = sum_over_ranks(setting.data, samples)
    return {
        gradient: {name: sum_over_ranks(setting.data, tensor) / samples for name, tensor in total.items()}
        for gradient, total in totals.items()
    }
