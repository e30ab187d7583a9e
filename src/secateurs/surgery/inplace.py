"""Cutting in place: the model itself becomes what its cut copy is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from secateurs.data import Call, as_call
from secateurs.errors import ModelError, VerificationError
from secateurs.surgery.apply import Cut
from secateurs.surgery.multihead_attention import adapt_attention
from secateurs.surgery.shape_check import failure
from secateurs.surgery.stale_attributes import assign, lookup
from secateurs.surgery.verify import difference, run_model
from secateurs.utils import device_of, named_tensors

WRAPPERS = {"DistributedDataParallel", "DataParallel", "FullyShardedDataParallel", "FSDPModule", "OptimizedModule"}
"""Classes that keep account of a module's parameters, and would not notice that others have taken their place."""


def check_unwrapped(model: nn.Module) -> None:
    """See that nothing is wrapped around the model, or around a part of it, that knows its parameters.

    Raises:
        ModelError: something is; the message names it.
    """
    device_of(model)
    for name, module in model.named_modules():
        found = [its.__name__ for its in type(module).__mro__ if its.__name__ in WRAPPERS]
        if module._compiled_call_impl is not None:
            found.append("torch.compile")
        if found:
            where = f"module {name!r}" if name else "the model"
            raise ModelError(
                f"{where} is wrapped by {found[0]}, which knows its parameters as they are: cut the module inside in "
                "place, and wrap it anew"
            )


@contextmanager
def replacing(model: nn.Module, cut: Cut, example_inputs: Any) -> Iterator[None]:
    """Make the model itself what the cut copy of it is, for good if the body of `with` passes; else it is as before.

    Tensors that became smaller are replaced by the copy's wherever modules hold them: among their parameters and
    buffers, and in attributes. Modules, hooks on them and all other tensors remain the objects that they are. No
    parameter has a gradient afterwards. The model is run, and must compute what the copy computes.

    Args:
        model: the model that was cut.
        cut: the copy; it shares tensors with the model from then on.
        example_inputs: see `apply`.

    Raises:
        VerificationError: the model computes something else than the copy.
    """
    call = as_call(example_inputs).to(device_of(model))
    pairs = zip(named_tensors(model), named_tensors(cut.model), strict=True)
    smaller = {id(old): new for (_, old), (_, new) in pairs if old.shape != new.shape}
    before = [(module, type(module), dict(vars(module))) for module in model.modules()]
    tables = [(table, dict(table)) for table in _tables(model)]
    assigned = {
        name: {path: lookup(model.get_submodule(name), path) for path in changes}
        for name, changes in cut.attributes.items()
    }
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    try:
        _put(model, smaller)
        adapt_attention(model)
        assign(model, cut.attributes)
        if why := _differs(model, cut.model, call):
            raise VerificationError(
                f"{type(model).__name__} cannot be cut in place: it still uses tensors that were replaced, which it "
                f"must hold outside of its modules ({why}); cut a copy with secateurs.apply"
            )
        yield
    except BaseException:
        for module, its_class, attributes in before:
            module.__class__ = its_class
            vars(module).update(attributes)
        for table, tensors in tables:
            table.update(tensors)
        assign(model, assigned)
        for parameter, gradient in gradients:
            parameter.grad = gradient
        raise


def _put(model: nn.Module, smaller: dict[int, Tensor]) -> None:
    """Put tensors in the place of those with these identities; no gradients remain."""

    def instead(tensor: Tensor) -> Tensor:
        return smaller.get(id(tensor), tensor)

    for table in _tables(model):
        table.update({key: instead(tensor) for key, tensor in table.items() if tensor is not None})
    for module in model.modules():
        for name, value in vars(module).items():
            if any(id(leaf) in smaller for leaf in tree_leaves(value)):
                vars(module)[name] = tree_map_only(Tensor, instead, value)
    for parameter in model.parameters():
        parameter.grad = None


def _differs(model: nn.Module, small: nn.Module, call: Call) -> str | None:
    """How the model does not compute what its copy computes, or None."""
    expected = run_model(small, call)
    try:
        return difference(run_model(model, call), expected)
    except Exception as error:  # a model's own code may raise anything
        return failure(error)


def _tables(model: nn.Module) -> list[dict[str, Any]]:
    """Where modules hold their parameters and buffers."""
    return [table for module in model.modules() for table in (module._parameters, module._buffers)]
