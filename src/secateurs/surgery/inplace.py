"""Make a model equal to its cut copy in place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from secateurs.data import as_call
from secateurs.errors import ModelError, VerificationError
from secateurs.surgery.apply import Cut
from secateurs.surgery.multihead_attention import adapt_attention
from secateurs.surgery.stale_attributes import assign, lookup
from secateurs.surgery.verify import difference_from, run_model
from secateurs.utils import device_of, named_tensors

WRAPPERS = {"DistributedDataParallel", "DataParallel", "FullyShardedDataParallel", "FSDPModule", "OptimizedModule"}
"""Classes with references to the parameters of a module, which would keep the old parameters after a cut."""


def check_unwrapped(model: nn.Module) -> None:
    """Check that no module of the model is compiled or wrapped by a class with references to the parameters.

    Raises:
        ModelError: a module is wrapped; the message names it.
    """
    device_of(model)
    for name, module in model.named_modules():
        wrappers = [base.__name__ for base in type(module).__mro__ if base.__name__ in WRAPPERS]
        if module._compiled_call_impl is not None:
            wrappers.append("torch.compile")
        if wrappers:
            where = f"module {name!r}" if name else "the model"
            raise ModelError(
                f"{where} is wrapped by {wrappers[0]}, which holds references to the parameters; cut the wrapped "
                "module in place, then wrap it again"
            )


@contextmanager
def replacing(model: nn.Module, cut: Cut, example_inputs: Any) -> Iterator[None]:
    """Make the model equal to its cut copy; if the body of `with` raises, the model is restored.

    Tensors that became smaller are replaced by the tensors of the copy, among parameters and buffers and in attributes
    of modules. Modules, hooks on modules and all other tensors remain the same objects. All gradients are removed. Then
    the model is run and compared with the copy.

    Args:
        model: the dense model; changed in place.
        cut: the cut copy, which shares tensors with the model afterwards.
        example_inputs: see `apply`.

    Raises:
        VerificationError: the outputs of the model differ from those of the copy.
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
        _replace_tensors(model, smaller)
        adapt_attention(model)
        assign(model, cut.attributes)
        if reason := difference_from(run_model(cut.model, call), model, call):
            raise VerificationError(
                f"{type(model).__name__} cannot be cut in place: it still uses the old tensors, so it holds references "
                f"to them outside of modules ({reason}); cut a copy with secateurs.apply"
            )
        yield
    except BaseException:
        for module, module_class, attributes in before:
            module.__class__ = module_class
            vars(module).update(attributes)
        for table, tensors in tables:
            table.update(tensors)
        assign(model, assigned)
        for parameter, gradient in gradients:
            parameter.grad = gradient
        raise


def _replace_tensors(model: nn.Module, smaller: dict[int, Tensor]) -> None:
    """Replace tensors, given by `id`, in parameters, buffers and attributes of modules; and remove all gradients."""

    def new(tensor: Tensor) -> Tensor:
        return smaller.get(id(tensor), tensor)

    for table in _tables(model):
        table.update({key: new(tensor) for key, tensor in table.items() if tensor is not None})
    for module in model.modules():
        for name, value in vars(module).items():
            if any(id(leaf) in smaller for leaf in tree_leaves(value)):
                vars(module)[name] = tree_map_only(Tensor, new, value)
    for parameter in model.parameters():
        parameter.grad = None


def _tables(model: nn.Module) -> list[dict[str, Any]]:
    """The dicts of parameters and buffers of all modules."""
    return [table for module in model.modules() for table in (module._parameters, module._buffers)]
