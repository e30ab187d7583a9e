"""How a model goes through its layers, and whether that can be done layer by layer with the same result.

A model may be run up to a layer, and then again from the start with what the layers before returned, if these returned
all that was used of them.  One run on a few samples shows who uses what.
"""

from __future__ import annotations

import time
import weakref
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from secateurs.data import Call
from secateurs.errors import ModelError, TraceError
from secateurs.pruning.depth import find_layers, forward_hooks
from secateurs.structure import Site, Watcher, outputs_of, tensors_in
from secateurs.utils import evaluating

OUTSIDE = ""
"""In the place of a layer's name, for all that lies outside of the layers."""


class Leaf(NamedTuple):
    """One tensor that a layer returns: its place among all that it returns."""

    layer: str
    number: int


@dataclass(frozen=True)
class Passage:
    """How a model goes through its layers.

    Attributes:
        layers: in the order in which they run.
        lasting: tensors that layers return and that more than the next layer uses.
        inside: the parameters that one layer alone uses, by its name; all others lie outside.
        outside: these others.
        returned: the bytes of what each layer returns, for each of its tensors, by what it is.
        peaks: the most bytes that operators held at a time, in each layer and outside.
        seconds: that the run took.
    """

    layers: tuple[str, ...]
    lasting: frozenset[Leaf]
    inside: Mapping[str, tuple[str, ...]]
    outside: tuple[str, ...]
    returned: Mapping[Leaf, int]
    peaks: Mapping[str, int]
    seconds: float


def find_passage(model: nn.Module, call: Call, parameters: Iterable[str]) -> Passage:
    """Run a model once, with whatever weights, and see how it goes through its layers.

    Args:
        model: not changed.
        call: on a few samples.
        parameters: the names of its parameters.

    Raises:
        ModelError: it has no layers, or uses of them what they do not return, or writes into what others made.
        TraceError: it does not run.
    """
    found = find_layers(model, call)
    followed = _Followed(model, (*found.names, *found.frozen))
    with evaluating(model), forward_hooks(followed.modules, followed.enter, followed.leave):
        start = time.perf_counter()
        try:
            with followed:
                output = call.copy().run(model)
        except ModelError:
            raise
        except Exception as error:
            raise TraceError(f"the model does not run on its inputs ({call.describe()}): {error}") from error
        seconds = time.perf_counter() - start
    for tensor in outputs_of(output):
        followed.used(tensor)
    return followed.passage(parameters, seconds)


class _Followed(Watcher):
    """Who makes each tensor, and who uses it."""

    def __init__(self, model: nn.Module, names: Iterable[str]):
        super().__init__(model)
        self.modules = {name: model.get_submodule(name) for name in names}
        self._parameters = {id(its): name for name, its in model.named_parameters()}
        self._times: Counter[str] = Counter()
        self._now = OUTSIDE
        self._given: set[int] = set()
        self._maker: Any = WeakTensorKeyDictionary()  # of each tensor, who ran the operator that returned it
        self._owner: Any = WeakTensorKeyDictionary()  # and who made the memory that it lies in
        self._leaf: Any = WeakTensorKeyDictionary()
        self._users: dict[str, set[str]] = defaultdict(set)  # of each parameter
        self._lasting: set[Leaf] = set()
        self._returned: dict[Leaf, int] = {}
        self._held = 0
        self._peaks: dict[str, int] = defaultdict(int)

    def passage(self, parameters: Iterable[str], seconds: float) -> Passage:
        """What was found."""
        if repeated := [name for name, count in self._times.items() if count > 1]:
            raise ModelError(f"layer {repeated[0]!r} runs {self._times[repeated[0]]} times, so that no weights can go")
        inside: dict[str, list[str]] = {name: [] for name in self._times}
        outside = []
        names = {name: its for its, name in self._parameters.items()}
        for name in parameters:
            users = self._users[self._parameters[names[name]]] if name in names else {OUTSIDE}
            (inside[next(iter(users))] if len(users) == 1 and OUTSIDE not in users else outside).append(name)
        return Passage(
            layers=tuple(inside),
            lasting=frozenset(self._lasting),
            inside={name: tuple(its) for name, its in inside.items()},
            outside=tuple(outside),
            returned=self._returned,
            peaks=dict(self._peaks),
            seconds=seconds,
        )

    def enter(self, name: str, given: list[Tensor]) -> None:
        """A layer begins."""
        if self._now != OUTSIDE:
            raise ModelError(f"layer {name!r} runs inside of {self._now!r}")
        before = next(reversed(self._times), None)
        for tensor in given:
            leaf = self._leaf.get(tensor)
            if leaf is not None and leaf.layer != before:
                self._lasting.add(leaf)
        self._times[name] += 1
        self._now, self._given = name, {id(tensor) for tensor in given}

    def leave(self, name: str, output: Any) -> None:
        """A layer has run."""
        for number, leaf in enumerate(tree_leaves(output)):
            if isinstance(leaf, Tensor):
                if (earlier := self._leaf.get(leaf)) is not None:  # which of the two is handed on cannot be told
                    self._lasting |= {earlier, Leaf(name, number)}
                self._leaf[leaf] = Leaf(name, number)
                self._returned[Leaf(name, number)] = leaf.nbytes
            elif leaf is not None and not isinstance(leaf, (bool, int, float, str)):
                raise ModelError(
                    f"layer {name!r} returns a {type(leaf).__name__}, in which tensors cannot be looked for, so that "
                    "it cannot be run by itself; give use_cache=False with the inputs if it is a cache"
                )
        self._now, self._given = OUTSIDE, set()

    def visit(self, site: Site, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the operator, and note what it uses, makes and writes into."""
        inputs = tensors_in(args, kwargs)
        for tensor in inputs:
            self.used(tensor)
        if func._schema.is_mutable:
            self._check_writes(func, args, kwargs)
        out = func(*args, **kwargs)
        owners = {tensor.untyped_storage()._cdata: self._owner.get(tensor) for tensor in inputs}
        for tensor in tensors_in(out):
            if tensor not in self._maker:
                storage = tensor.untyped_storage()
                self._maker[tensor] = self._now
                self._owner[tensor] = owners.get(storage._cdata, self._now)
                if storage._cdata not in owners:
                    owners[storage._cdata] = self._now
                    self._hold(tensor)
        return out

    def used(self, tensor: Tensor) -> None:
        """Note that a tensor is used now.

        Raises:
            ModelError: a layer made it, and nobody returned it or handed it over.
        """
        if id(tensor) in self._parameters:
            self._users[self._parameters[id(tensor)]].add(self._now)
            return
        maker = self._maker.get(tensor, OUTSIDE)
        if maker in (OUTSIDE, self._now):
            return
        leaf = self._leaf.get(tensor)
        if leaf is None or (self._now != OUTSIDE and id(tensor) not in self._given):
            raise ModelError(
                f"{self._now or 'the model'} uses a tensor that layer {maker!r} has made and "
                f"{'not returned' if leaf is None else 'that it is not given'}, so that layers cannot be run one by "
                "one; prune the whole model"
            )
        if self._now == OUTSIDE:
            self._lasting.add(leaf)

    def _check_writes(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """See that nobody writes into what somebody else has made: it would be written anew in each run."""
        for number, argument in enumerate(func._schema.arguments):
            if argument.alias_info is None or not argument.alias_info.is_write:
                continue
            given = args[number] if number < len(args) else kwargs.get(argument.name)
            for tensor in tensors_in(given):
                owner = self._owner.get(tensor)
                if owner != self._now and (owner is not None or self._now != OUTSIDE):
                    raise ModelError(
                        f"{self._now or 'the model'} writes into a tensor that it has not made ({func.name()}), so "
                        "that layers cannot be run one by one; prune the whole model"
                    )

    def _hold(self, tensor: Tensor) -> None:
        """Count memory for as long as it is held."""
        size = tensor.untyped_storage().nbytes()
        self._held += size
        self._peaks[self._now] = max(self._peaks[self._now], self._held)
        weakref.finalize(tensor.untyped_storage(), self._let_go, size)

    def _let_go(self, size: int) -> None:
        self._held -= size
