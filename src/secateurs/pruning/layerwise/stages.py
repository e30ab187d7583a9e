"""Stages: one for each layer of a model, in which it runs on all data, and a last one for the rest of the model.

In each, the whole model is called on each batch; layers that have run before return what they returned then, and the
run ends with the layer whose turn it is.  So masks, positions and whatever else a layer is given are what the model's
own code makes of them.
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
from secateurs.pruning.layerwise.activation_cache import Kept
from secateurs.pruning.layerwise.execution_plan import OUTSIDE, Passage
from secateurs.pruning.layerwise.offloaded_model import Hollow


class Stages:
    """A model that runs one layer at a time.

    Attributes:
        names: of the layers, in the order in which they are to have their turns, and `OUTSIDE`.
        model: the model; see `at`.
    """

    def __init__(self, hollow: Hollow, passage: Passage, items: Sequence[Any], kept: Kept):
        self.names = (*passage.layers, OUTSIDE)
        self.model = hollow.model
        self._hollow, self._passage, self._items, self._kept = hollow, passage, items, kept
        self._batch = -1

    @contextmanager
    def at(self, name: str) -> Iterator[Iterable[Any]]:
        """Have the turn of this layer: its weights are there, and the model, called on a batch, runs up to its end.

        Yields:
            The data, of which each item is to be run before the next is asked for. The model then returns the first
            tensor that the layer returned; in the last stage, what it returns.
        """
        turn = self.names.index(name)
        with ExitStack() as stack:
            stack.enter_context(self._hollow.loaded(self._passage.inside.get(name, ())))
            for layer in self.names[:turn]:
                stack.enter_context(_forward(self.model.get_submodule(layer), functools.partial(self._again, layer)))
            if name != OUTSIDE:
                module = self.model.get_submodule(name)
                stack.enter_context(_forward(module, functools.partial(self._through, name, module.forward)))
                stack.enter_context(_forward(self.model, _stopping(self.model.forward)))
            yield _Turn(self, self.names[turn - 1] if turn else None)

    def items(self, before: str | None) -> Iterator[Any]:
        """The data, while it is known which batch it is; what only the layer after `before` uses is let go."""
        for number, item in enumerate(self._items):
            self._batch = number
            yield item
            if before is not None:
                self._kept.let_go(before, number)

    def __len__(self) -> int:
        return len(self._items)

    def _again(self, layer: str, *args: Any, **kwargs: Any) -> Any:
        return self._kept.get(layer, self._batch)

    def _through(self, layer: str, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        output = forward(*args, **kwargs)
        self._kept.keep(layer, self._batch, output)
        raise _ReachedError(output)


@dataclass(frozen=True)
class _Turn:
    """The data, in the turn of the layer after `before`."""

    stages: Stages
    before: str | None

    def __iter__(self) -> Iterator[Any]:
        return self.stages.items(self.before)

    def __len__(self) -> int:
        return len(self.stages)


@contextmanager
def staged(hollow: Hollow, passage: Passage, items: Sequence[Any], folder: Path | None = None) -> Iterator[Stages]:
    """The stages of a model on this data; what lies outside of the layers is loaded throughout.

    Args:
        hollow: the model.
        passage: how it goes through its layers.
        items: batches; see `secateurs.data.batches`.
        folder: where what layers return is kept, in files that are gone in the end; by default, in memory.
    """
    with ExitStack() as stack:
        stack.enter_context(hollow.loaded(passage.outside))
        files = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            files = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="layers-", dir=folder)))
        yield Stages(hollow, passage, items, Kept(passage, hollow.device, files))


class _ReachedError(Exception):
    """The layer has run, and what comes after it is not to."""

    def __init__(self, output: Any):
        super().__init__("the layer has run")
        self.first = tensor_leaves(output)[0]


def _stopping(forward: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(forward)  # whose signature is looked at
    def stopping(*args: Any, **kwargs: Any) -> Any:
        try:
            return forward(*args, **kwargs)
        except _ReachedError as reached:
            return reached.first

    return stopping


@contextmanager
def _forward(module: nn.Module, function: Callable[..., Any]) -> Iterator[None]:
    """Let a module run this in the place of its own code."""
    own = vars(module).get("forward")
    module.forward = function
    try:
        yield
    finally:
        del module.forward
        if own is not None:
            module.forward = own
