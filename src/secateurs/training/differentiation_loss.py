"""`differentiation_loss`: a regularisation term that penalises correlation between the units of a group."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from typing_extensions import Self

from secateurs.data import Call
from secateurs.errors import DataError, ModelError, UsageError
from secateurs.huggingface import add_decoder_inputs
from secateurs.observe import Pooled, without_padding
from secateurs.structure import Contraction, Frame, Structure, check_shapes


class _UnitInputs(NamedTuple):
    """The units in the input of a module.

    Attributes:
        contraction: the weight of the module that contracts the input.
        groups: by group name, the input features of each unit, int64 [units, features per unit].
    """

    contraction: Contraction
    groups: dict[str, Tensor]


class DifferentiationLoss:
    """The mean squared correlation of units, as a loss. Made by `differentiation_loss`.

    Run the model inside `with`; then call the object for the loss.

    Attributes:
        left_out: groups that are not included, with the reason.
    """

    def __init__(self, model: nn.Module, structure: Structure, weight: float):
        check_shapes(model, structure)
        self._model, self._weight = model, weight
        self._inputs, self.left_out = _unit_inputs(model, structure)
        if not self._inputs:
            raise ModelError(f"{type(model).__name__} has no units that can be decorrelated: {dict(self.left_out)}")
        self._arguments = structure.arguments
        self._frame = Frame(0, {}, {})
        self._losses: dict[str, list[Tensor]] = {}
        self._hooks: ExitStack | None = None

    def __enter__(self) -> Self:
        if self._hooks is not None:
            raise UsageError("the differentiation loss is active already: leave the `with` block before entering again")
        self._losses = defaultdict(list)
        with ExitStack() as hooks:
            hooks.callback(self._model.register_forward_pre_hook(self._begin_batch, with_kwargs=True).remove)
            for module in self._inputs:
                hooks.callback(module.register_forward_pre_hook(self._record, with_kwargs=True).remove)
            self._hooks = hooks.pop_all()
        return self

    def __exit__(self, *exc: Any) -> None:
        if self._hooks is not None:
            self._hooks.close()
        self._hooks = None

    def __call__(self) -> Tensor:
        """Compute the loss of the forward passes inside the last `with` block: a scalar in [0, weight] with a gradient.

        Raises:
            UsageError: no forward pass was observed. Either the model did not run inside the block, or it was compiled
                by `torch.compile` before, without hooks.
        """
        if not self._losses:
            raise UsageError(
                "no forward pass was observed: run the model inside the `with` block of the differentiation loss"
            )
        return self._weight * torch.stack([torch.stack(losses).mean() for losses in self._losses.values()]).mean()

    def _begin_batch(self, model: nn.Module, args: Any, kwargs: Any) -> None:
        """Read the number of samples and the padding masks from the arguments of the model."""
        call = add_decoder_inputs(model, Call(args, kwargs))
        self._frame = self._arguments.frame(call.named_tensors(model), call.samples())
        if self._frame.samples < 2:
            raise DataError(
                "a batch of one sample has no correlations: give at least 2 samples per batch (for a DataLoader, "
                "drop_last=True)"
            )

    def _record(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        """Compute the loss of each group whose units are in the input of the module."""
        contraction, groups = self._inputs[module]
        tap, x = contraction.operand, args[0] if args else kwargs["input"]
        rows = x.reshape(-1, *x.shape[x.ndim - len(tap.axes) + 1 :])  # `nn.Linear` flattens leading dimensions alike
        try:
            features = tap.read(rows, self._frame)
        except ValueError as error:
            raise DataError(f"the input of {tap.owner} does not fit the traced structure: {error}") from error
        pooled = Pooled.values_of(*without_padding(features))
        for name, units in groups.items():
            self._losses[name].append(mean_squared_correlation(pooled[:, units.to(x.device)].mean(2)))


def differentiation_loss(model: nn.Module, structure: Structure, weight: float = 1.0) -> DifferentiationLoss:
    """Make a regulariser that encourages units to differ, for your own training loop or `finetune(extra_loss=...)`.

    The neural differentiation paper trains with "a NDI-based regularization term" (section 4.1) but gives no formula.
    The formula used here is the mean over groups of the mean squared correlation r² between two different units of the
    group. Correlations are over the samples of the batch. Each unit is pooled to its mean over positions (Eq. 2) at the
    input of the layers that use it. This is a differentiable approximation of the diversity component of NDI. The
    entropy and curvature components are not included.

    Properties:

    - Scaling or shifting a unit does not change the loss. Therefore the gradient grows as the variance of a unit falls.
    - A unit that is constant on the batch has correlation 0, and a unit that fires for few samples has small
      correlations. Strong regularisation drives ReLU units in this direction and may leave dead units.
    - Exact copies of a unit get no gradient that separates them.
    - Independent units have r² ≈ 1 / (N − 1) over N samples by chance.

    Units are read at the inputs of `nn.Linear` and convolutions. Groups that are not an input of these layers are in
    `left_out`. To exclude more groups, trace with `keep=(...)`.

    Args:
        model: the model that is being trained. Hooks are registered only inside the `with` block.
        structure: structure of the model, from `trace`.
        weight: factor of the loss, positive.

    Returns:
        An object that is a context manager for the forward pass, and that returns the loss when called.

    Raises:
        UsageError: the weight is not positive.
        ModelError: the structure belongs to another model, or no group can be included.
        DataError: raised inside the `with` block, if a batch has one sample, the number of samples is ambiguous, or
            the input of a layer does not fit the structure.

    Example:
        >>> differentiation = sc.differentiation_loss(model, sc.trace(model, example_inputs), weight=0.1)
        >>> for x, y in data:
        ...     with differentiation:
        ...         outputs = model(x)
        ...     loss = functional.cross_entropy(outputs, y) + differentiation()
        ...     loss.backward()
    """
    if not 0 < weight < math.inf:
        raise UsageError(f"the weight of the differentiation loss must be a positive number, not {weight!r}")
    return DifferentiationLoss(model, structure, weight)


def mean_squared_correlation(z: Tensor) -> Tensor:
    """Compute the mean squared correlation between two different units of z [samples, units]: a scalar in [0, 1].

    Units that are constant have correlation 0 with all others and get a gradient of zero.
    """
    z = z.to(torch.promote_types(z.dtype, torch.float32))
    limits, (samples, units) = torch.finfo(z.dtype), z.shape
    with torch.autocast(z.device.type, enabled=False):
        z = z / z.detach().abs().amax(0).clamp(min=limits.tiny)
        centred = z - z.mean(0)
        squares = centred.square().sum(0)
        varies = squares > samples * (8 * limits.eps) ** 2  # smaller variation is rounding
        normal = centred * torch.where(varies, squares, torch.inf).rsqrt()
        products = normal @ normal.T if samples < units else normal.T @ normal  # equal Frobenius norms: use the smaller
        pairs = products.square().sum() - varies.sum()  # without the pairs of a unit with itself
    return (pairs / (units * (units - 1))).clamp(0, 1)


def _unit_inputs(model: nn.Module, structure: Structure) -> tuple[dict[nn.Module, _UnitInputs], Mapping[str, str]]:
    """Find the modules that use the units of each group; and the groups without such a module, with the reason."""
    inputs: dict[nn.Module, _UnitInputs] = {}
    left_out: dict[str, str] = {}
    for name, group in structure.groups.items():
        layers = [(model.get_submodule(c.operand.site.module), c) for c in structure.contractions_of(group)]
        layers = [(module, c) for module, c in layers if isinstance(module, (nn.Linear, _ConvNd))]
        if not layers:
            left_out[name] = "the units are not an input of an nn.Linear or a convolution"
        for module, contraction in layers:
            inputs.setdefault(module, _UnitInputs(contraction, {})).groups[name] = contraction.units(group.var)
    return inputs, left_out
