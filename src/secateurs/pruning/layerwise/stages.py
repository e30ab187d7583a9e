"""Stages: one for each layer, in which the layer runs on all data, and a last one for the rest of the model.

In each stage the whole model is called on each batch. Layers that ran in earlier stages return their cached outputs,
and the call ends after the layer of the stage. The model's own code thus makes masks, positions and all other
arguments of the layer.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from secateurs.pruning.depth import tensor_leaves
from secateurs.pruning.layerwise.activation_cache import ActivationCache
from secateurs.pruning.layerwise.execution_plan import ExecutionPlan
from secateurs.pruning.layerwise.execution_trace import OUTSIDE
from secateurs.pruning.layerwise.offloaded_model import OffloadedModel


@contextmanager
def open_stages(
    offloaded: OffloadedModel, plan: ExecutionPlan, items: Sequence[Any], folder: Path | None = None
) -> Iterator[Stages]:
    """Open the stages of a model on this data; parameters outside of the layers stay loaded throughout.

    Args:
        offloaded: the model.
        plan: the order of its layers.
        items: batches; see `secateurs.data.batches`.
        folder: the directory for temporary files with the outputs of layers; None keeps them in memory.
    """
    with ExitStack() as stack:
        stack.enter_context(offloaded.loaded(plan.shared_parameters))
        files = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            files = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="layers-", dir=folder)))
        yield Stages(offloaded, plan, items, ActivationCache(plan, offloaded.device, files))


class Stages:
    """A model that runs one layer at a time.

    Attributes:
        names: the names of the layers, in the order in which they run, and `OUTSIDE` for the last stage.
        model: the module; see `at`.
    """

    def __init__(self, offloaded: OffloadedModel, plan: ExecutionPlan, items: Sequence[Any], cache: ActivationCache):
        self.names = (*plan.layers, OUTSIDE)
        self.model = offloaded.model
        self._offloaded, self._plan, self._items, self._cache = offloaded, plan, items, cache
        self._batch = -1

    @contextmanager
    def at(self, name: str) -> Iterator[Iterable[Any]]:
        """Enter the stage of a layer: its weights are loaded, and a call of the model ends after the layer.

        Yields:
            The data. Run the model on each item before the next one is read. The model returns the first tensor of the
            layer's output; in the last stage, its own output.
        """
        number = self.names.index(name)
        with ExitStack() as stack:
            stack.enter_context(self._offloaded.loaded(self._plan.layer_parameters.get(name, ())))
            for layer in self.names[:number]:
                cached = functools.partial(self._cached_output, layer)
                stack.enter_context(_replaced_forward(self.model.get_submodule(layer), cached))
            if name != OUTSIDE:
                module = self.model.get_submodule(name)
                run = functools.partial(self._run_and_stop, name, module.forward)
                stack.enter_context(_replaced_forward(module, run))
                stack.enter_context(_replaced_forward(self.model, _stoppable(self.model.forward)))
            yield _StageData(self, self.names[number - 1] if number else None)

    def items(self, previous: str | None) -> Iterator[Any]:
        """The data; outputs of the layer `previous` that only the next layer uses are released after each item."""
        for number, item in enumerate(self._items):
            self._batch = number
            yield item
            if previous is not None:
                self._cache.release(previous, number)

    def __len__(self) -> int:
        return len(self._items)

    def _cached_output(self, layer: str, *args: Any, **kwargs: Any) -> Any:
        return self._cache.load(layer, self._batch)

    def _run_and_stop(self, layer: str, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        output = forward(*args, **kwargs)
        self._cache.store(layer, self._batch, output)
        raise _LayerDoneError(output)


@dataclass(frozen=True)
class _StageData:
    """The data, as the stage after the layer `previous` reads it."""

    stages: Stages
    previous: str | None

    def __iter__(self) -> Iterator[Any]:
        return self.stages.items(self.previous)

    def __len__(self) -> int:
        return len(self.stages)


class _LayerDoneError(Exception):
    """Ends a call of the model after the layer of the stage."""

    def __init__(self, output: Any):
        super().__init__("the layer has run")
        self.first = tensor_leaves(output)[0]


def _stoppable(forward: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(forward)  # some models inspect the signature of their forward method
    def stoppable(*args: Any, **kwargs: Any) -> Any:
        try:
            return forward(*args, **kwargs)
        except _LayerDoneError as done:
            return done.first

    return stoppable


@contextmanager
def _replaced_forward(module: nn.Module, function: Callable[..., Any]) -> Iterator[None]:
    """Replace a module's forward method for the duration of the context."""
    own = vars(module).get("forward")
    module.forward = function
    try:
        yield
    finally:
        del module.forward
        if own is not None:
            module.forward = own
