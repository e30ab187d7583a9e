"""Find the tensors in the output of a model."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

from secateurs.errors import TraceError


def outputs_of(output: Any) -> Iterable[Tensor]:
    """Iterate over all tensors in the output of a model.

    Containers known to pytree, dataclasses and mappings are searched. Key/value caches of transformers are skipped,
    because only the next call of the model uses them.

    Args:
        output: the output of a model.

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
                f"the output of the model contains a {type(leaf).__name__}, which cannot be searched for tensors; "
                "wrap the model so that it returns tensors, or tuples, lists, dicts or dataclasses of tensors"
            )


def _is_cache(value: Any) -> bool:
    return any(kind.__name__ == "Cache" and kind.__module__.startswith("transformers") for kind in type(value).__mro__)
