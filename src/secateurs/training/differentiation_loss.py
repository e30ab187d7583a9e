"""`differentiation_loss`: a term for a training loop of the user's own that makes units do different things."""

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
    """Where a module takes in the units of groups: for each, the features of each unit [units, features per unit]."""

    contraction: Contraction
    groups: dict[str, Tensor]


class DifferentiationLoss:
    """How much the units of a model say the same, as a loss; made by `differentiation_loss`.

    Attributes:
        left_out: groups that it says nothing about, and why.
    """

    def __init__(self, model: nn.Module, structure: Structure, weight: float):
        check_shapes(model, structure)
        self._model, self._weight = model, weight
        self._places, self.left_out = _unit_inputs(model, structure)
        if not self._places:
            raise ModelError(f"{type(model).__name__} has no units that can be decorrelated: {dict(self.left_out)}")
        self._arguments = structure.arguments
        self._frame = Frame(0, {}, {})
        self._seen: dict[str, list[Tensor]] = {}
        self._hooks: ExitStack | None = None

    def __enter__(self) -> Self:
        if self._hooks is not None:
            raise UsageError("the differentiation loss is watching already; leave its `with` before entering it again")
        self._seen = defaultdict(list)
        with ExitStack() as hooks:
            hooks.callback(self._model.register_forward_pre_hook(self._begin, with_kwargs=True).remove)
            for module in self._places:
                hooks.callback(module.register_forward_pre_hook(self._see, with_kwargs=True).remove)
            self._hooks = hooks.pop_all()
        return self

    def __exit__(self, *exc: Any) -> None:
        if self._hooks is not None:
            self._hooks.close()
        self._hooks = None

    def __call__(self) -> Tensor:
        """The loss of what the model did inside the last `with`: a scalar in [0, weight] with a gradient.

        Raises:
            UsageError: it was not run there, or only as `torch.compile` had compiled it before, without hooks.
        """
        if not self._seen:
            raise UsageError("no unit was seen: run the model inside `with` of the differentiation loss, then call it")
        return self._weight * torch.stack([torch.stack(losses).mean() for losses in self._seen.values()]).mean()

    def _begin(self, model: nn.Module, args: Any, kwargs: Any) -> None:
        call = add_decoder_inputs(model, Call(args, kwargs))
        self._frame = self._arguments.frame(call.named_tensors(model), call.samples())
        if self._frame.samples < 2:
            raise DataError("one sample shows no correlation: give batches of more (DataLoader has drop_last=True)")

    def _see(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        contraction, groups = self._places[module]
        tap, x = contraction.operand, args[0] if args else kwargs["input"]
        rows = x.reshape(-1, *x.shape[x.ndim - len(tap.axes) + 1 :])  # as `nn.Linear` itself flattens them
        try:
            features = tap.read(rows, self._frame)
        except ValueError as error:
            raise DataError(f"{tap.owner}: its input does not fit what was traced: {error}") from error
        pooled = Pooled.values_of(*without_padding(features))
        for name, units in groups.items():
            self._seen[name].append(mean_squared_correlation(pooled[:, units.to(x.device)].mean(2)))


def differentiation_loss(model: nn.Module, structure: Structure, weight: float = 1.0) -> DifferentiationLoss:
    """A regulariser that encourages units to differ, for a training loop of your own or `finetune`'s `extra_loss`.

    The neural differentiation paper trains with "a NDI-based regularization term" (section 4.1) and gives no formula.
    This one is ours: the mean over groups of the mean squared correlation of two different units over the samples of
    the batch, each unit being pooled to its mean over positions (Eq. 2) as the layers that use it take it in. That is
    the diversity of the NDI, as near as it can be differentiated; entropy and curvature are no part of it.

    Scaling or shifting a unit changes nothing, so the less a unit varies, the larger its gradient. A unit that is
    constant on the batch correlates with nothing, and one that fires for few samples with little: strong
    regularisation drives ReLU units there and kills some. Exact copies have no gradient that parts them. Independent
    units correlate by chance over N samples: r² ≈ 1 / (N − 1).

    Units are read at the inputs of `nn.Linear` and convolutions; groups that are input to none of these are in
    `left_out`. To leave out more, trace with `keep=(...)`.

    Args:
        model: the model that is being trained; its hooks are there inside `with` only.
        structure: from `trace`, of this model.
        weight: of this loss beside the other.

    Raises:
        UsageError: the weight is not positive.
        ModelError: the structure is another model's, or no group is left.
        DataError (inside `with`): a batch has one sample, or its size cannot be told, or another layout than traced.

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
    """The mean squared correlation of two different units of z [samples, units], in [0, 1].

    Units that do not vary count as correlated with nothing, and get a gradient of zero.
    """
    z = z.to(torch.promote_types(z.dtype, torch.float32))
    limits, (samples, units) = torch.finfo(z.dtype), z.shape
    with torch.autocast(z.device.type, enabled=False):
        z = z / z.detach().abs().amax(0).clamp(min=limits.tiny)
        centred = z - z.mean(0)
        squares = centred.square().sum(0)
        varies = squares > samples * (8 * limits.eps) ** 2  # else it is rounding
        normal = centred * torch.where(varies, squares, torch.inf).rsqrt()
        products = normal @ normal.T if samples < units else normal.T @ normal  # both have the same squares
        pairs = products.square().sum() - varies.sum()  # without those of a unit with itself
    return (pairs / (units * (units - 1))).clamp(0, 1)


def _unit_inputs(model: nn.Module, structure: Structure) -> tuple[dict[nn.Module, _UnitInputs], Mapping[str, str]]:
    """Each module whose first input is what a weight sums over, with the groups whose units that holds; the others."""
    places: dict[nn.Module, _UnitInputs] = {}
    left_out: dict[str, str] = {}
    for name, group in structure.groups.items():
        layers = [(model.get_submodule(c.operand.site.module), c) for c in structure.contractions_of(group)]
        layers = [(module, c) for module, c in layers if isinstance(module, (nn.Linear, _ConvNd))]
        if not layers:
            left_out[name] = "its units are the input of no nn.Linear and no convolution"
        for module, contraction in layers:
            places.setdefault(module, _UnitInputs(contraction, {})).groups[name] = contraction.units(group.var)
    return places, left_out
