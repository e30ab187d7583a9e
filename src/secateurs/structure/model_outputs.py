"""Find the tensors in what a model returns."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

from secateurs.errors import TraceError


def outputs_of(output: Any) -> Iterable[Tensor]:
    """Every tensor in a model's output, through the containers that pytree knows, dataclasses and mappings.

    A cache of keys and values (of transformers) is no output: it serves the model's own next call.

    Raises:
        TraceError: the output contains an object of a class that cannot be searched for tensors.
    """
    for leaf in tree_leaves(output):
        if isinstance(leaf, Tensor):
            yield leaf
        elif dataclasses.is_dataclass(leaf) and not isinstance(leaf, type):
            yield from outputs_of([getattr(leaf, field.name) for field in dataclasses.fields(leaf)])
        elif isinstance(leaf, Mapping):
            yield from outputs_of(list(leaf.values()))
        elif leaf is not None and not isinstance(leaf, (bool, int, float, complex, str)) and not _is_cache(leaf):
            raise TraceError(
                f"the model's output contains a {type(leaf).__name__}, which cannot be searched for tensors; "
                "wrap the model so that it returns tensors, tuples, lists, dicts or dataclasses of them"
            )


def _is_cache(value: Any) -> bool:
    return any(kind.__name__ == "Cache" and kind.__module__.startswith("transformers") for kind in type(value).__mro__)
