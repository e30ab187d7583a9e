"""Queries on a module: tensors, device, and whether weights have values."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from secateurs.errors import ModelError

M = TypeVar("M", bound=nn.Module)


def named_tensors(model: nn.Module) -> list[tuple[str, Tensor]]:
    """List every parameter and buffer with its name. A shared tensor appears once under each of its names."""
    return [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]


def copy_module(model: M, replaced: Mapping[int, Tensor] | None = None) -> M:
    """Copy a model deeply, also where attributes hold tensors that were computed from parameters.

    `deepcopy` refuses a tensor with a gradient function, such as the weight that the hook of `weight_norm` computes.
    The copy holds the values of such a tensor; the hook computes the tensor again in the next forward pass.

    Args:
        model: the model.
        replaced: new tensors for tensors of the model, by the `id` of the old tensor.
    """
    memo: dict[int, Tensor] = dict(replaced or {})
    for module in model.modules():
        for leaf in tree_leaves(vars(module)):
            if isinstance(leaf, Tensor) and not leaf.is_leaf:
                memo.setdefault(id(leaf), leaf.detach().clone())
    return copy.deepcopy(model, memo)


def device_of(model: nn.Module) -> torch.device:
    """The device of the model's first parameter or buffer (the CPU if it has none).

    Raises:
        ModelError: `model` is not a `torch.nn.Module`, or is a TorchScript module.
    """
    if not isinstance(model, nn.Module):
        raise ModelError(f"expected a torch.nn.Module, not {type(model).__name__}")
    if isinstance(model, torch.jit.ScriptModule):
        raise ModelError("a TorchScript module cannot be pruned; prune the module that was scripted or traced")
    tensor = next(model.parameters(), None)
    tensor = next(model.buffers(), None) if tensor is None else tensor
    return torch.device("cpu") if tensor is None else tensor.device


def refuse_compiled(model: nn.Module) -> None:
    """Check that no part of a model was compiled or scripted: its operators or its parameters are out of reach.

    Raises:
        ModelError: a module is compiled or scripted; the message names it.
    """
    for name, module in model.named_modules():
        where = f"module {name!r}" if name else "the model"
        if isinstance(module, torch.jit.ScriptModule):
            raise ModelError(f"{where} is a TorchScript module; use the module that was scripted or traced instead")
        if type(module).__name__ == "OptimizedModule" or module._compiled_call_impl is not None:
            raise ModelError(f"{where} was compiled by torch.compile; prune the original module, then compile it again")


def check_has_values(model: nn.Module, purpose: str) -> None:
    """Check that the weights of a model have values, that is, that the model is not on the meta device.

    Args:
        model: the model to check.
        purpose: the operation that needs the values, for the error message.

    Raises:
        ModelError: the model is on the meta device, or is not a module.
    """
    if device_of(model).type == "meta":
        raise ModelError(
            f"{type(model).__name__} is on the meta device, where weights have shapes but no values, and {purpose} "
            "needs its weights: load the model on the CPU or a GPU (tracing, checking and planning work without values)"
        )
