"""Paths through a model that the traced forward pass did not take, such as heads that run in training mode only.

The units that such a path uses must follow a cut as well. A second pass in training mode adds the axes of paths that
only training takes. What neither pass reached is unknown, so the units that it may use are frozen.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import CodeType
from typing import Any

from torch import nn

from secateurs.data import Call
from secateurs.errors import TraceError
from secateurs.structure import axis as ax
from secateurs.structure.forward_pass import freeze_outputs, run_traced
from secateurs.structure.model_outputs import outputs_of
from secateurs.structure.trace_record import TraceRecord
from secateurs.structure.unify import unify

LOOKUPS = ("getattr", "get_submodule", "_modules", "children", "named_children", "modules", "named_modules")
"""Ways to reach a module without the name of the attribute."""


def add_training_path(model: nn.Module, record: TraceRecord, call: Call) -> None:
    """Run the model in training mode and add what it says of the axes; nothing if all parameters are in use already.

    A model that does not run in training mode on these inputs, because it needs targets for example, adds nothing.
    """
    if not _unused(model, record):
        return
    try:
        tracer, output = run_traced(model, call, training=True)
    except TraceError:
        return
    freeze_outputs(tracer, outputs_of(output), "model output in training mode")
    for name, axes in tracer.record.tensor_axes.items():
        for first, second in zip(record.tensor_axes[name], axes, strict=True):
            unify(first, second)
    record.used_in_training = tracer.record.used
    record.contracted |= {use for use in tracer.record.contracted if use[0] not in record.used}
    record.sizes += tracer.record.sizes
    record.splits += tracer.record.splits
    for name, axes in tracer.record.passed_on.items():
        record.passed_on.setdefault(name, []).extend(axes)


def freeze_for_unreached_modules(model: nn.Module, record: TraceRecord) -> None:
    """Freeze the axes that a module which did not run may use.

    These are the axes of the same sizes among the tensors that the module around it had at hand: the arguments of that
    module, the results of the operators in its own code, and the outputs of its children. A module that no code
    mentions is dead and freezes nothing.
    """
    for name in _unreached(model, record):
        around = name.rpartition(".")[0]
        while around and around not in record.passed_on:
            around = around.rpartition(".")[0]
        parameters = model.get_submodule(name).named_parameters(remove_duplicate=False)
        sizes = {size for _, parameter in parameters for size in parameter.shape[:2]}
        at_hand = [axes for site, results in record.results.items() if site.module == around for axes in results]
        for axes in [*at_hand, *record.passed_on.get(around, ())]:
            for axis in axes:
                if axis.size in sizes:
                    ax.freeze(axis, f"module {name!r} did not run on the example inputs, and may use these units")


def _unused(model: nn.Module, record: TraceRecord) -> set[str]:
    """The first names of the parameters that no pass used."""
    names = {record.first_names[name] for name, _ in model.named_parameters()}
    return names - record.used.keys() - record.used_in_training.keys()


def _unreached(model: nn.Module, record: TraceRecord) -> Iterator[str]:
    """The outermost modules with parameters, none of which was used."""
    unused, outermost = _unused(model, record), None
    for name, module in model.named_modules():
        if not name or (outermost is not None and name.startswith(f"{outermost}.")):
            continue
        names = [f"{name}.{parameter}" for parameter, _ in module.named_parameters(remove_duplicate=False)]
        if names and all(record.first_names[each] in unused for each in names):
            outermost = name
            if _is_mentioned(model, name):
                yield name


def _is_mentioned(model: nn.Module, name: str) -> bool:
    """Whether code of the module around a module mentions it; code that looks modules up by text may mention any."""
    owner, attribute = name.rpartition(".")[::2]
    while owner and type(model.get_submodule(owner)).__module__.startswith("torch.nn."):  # a list or a dict of modules
        owner, attribute = owner.rpartition(".")[::2]
    functions = [
        function
        for kind in type(model.get_submodule(owner)).__mro__
        if not kind.__module__.startswith("torch.nn.")
        for method, function in vars(kind).items()
        if method != "__init__"
    ]
    return not {attribute, *LOOKUPS}.isdisjoint(word for function in functions for word in _names_in(function))


def _names_in(function: Any) -> Iterator[str]:
    """The names that the code of a function, method or property uses, with those of functions inside it."""
    plain = getattr(function, "fget", None) or getattr(function, "__func__", None) or function
    code = getattr(inspect.unwrap(plain) if callable(plain) else plain, "__code__", plain)
    if isinstance(code, CodeType):
        yield from code.co_names
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                yield from _names_in(constant)
