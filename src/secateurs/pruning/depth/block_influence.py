"""Block influence: how much each layer changes the direction of the residual stream."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from secateurs.data import Batch, Call, batches, check_same_weights, errors_on_all_ranks, sum_over_ranks
from secateurs.errors import DataError
from secateurs.huggingface import add_decoder_inputs
from secateurs.pruning.depth.hooks import feature_dim, forward_hooks, tensor_leaves
from secateurs.utils import Progress, device_of, evaluating


def block_influence(model: nn.Module, data: Iterable[Any], names: Sequence[str], progress: Progress) -> Tensor:
    """Measure 1 − E[cos(x, y)] over tokens, where x enters a layer and y leaves it.

    ShortGPT, arXiv 2403.03853, Eq. 1.

    Args:
        model: evaluated, not changed.
        data: batches; see `secateurs.data.batches`. With a shard, the tokens of all ranks count.
        names: the names of the layers.
        progress: wraps the iteration over the data.

    Returns:
        float64 [layers], each in [0, 2].

    Raises:
        DataError: the data is empty or consists of padding only, the model rejects a batch, or a layer's input or
            output is not finite.
    """
    check_same_weights(data, model)
    cosines = _CosineSums(model, names)
    hooks = forward_hooks(cosines.modules, cosines.before_layer, cosines.after_layer)
    with errors_on_all_ranks(data), evaluating(model), hooks:
        for batch in progress(batches(data), "ranking layers"):
            cosines.run(batch.to(device_of(model)), model)
    sums, counts = sum_over_ranks(data, cosines.sums), sum_over_ranks(data, cosines.counts)
    if unused := [name for name, count in zip(names, counts.tolist(), strict=True) if not count]:
        raise DataError(
            f"no token reached layer {', '.join(unused)}: the data is all padding, or the model skips the layer on it"
        )
    return 1 - sums / counts


class _CosineSums:
    """The cosine between a layer's input and output, summed over tokens.

    Attributes:
        modules: the layers, by name.
        sums: the cosines summed over all tokens, float64 [layers].
        counts: the number of tokens, float64 [layers].
    """

    def __init__(self, model: nn.Module, names: Sequence[str]):
        self.modules = {name: model.get_submodule(name) for name in names}
        self.sums, self.counts = torch.zeros(2, len(names), dtype=torch.float64)
        self._index = {name: index for index, name in enumerate(names)}
        self._has_decoder = bool(getattr(getattr(model, "config", None), "is_encoder_decoder", False))
        self._inputs: dict[str, Tensor] = {}
        self._call = Call()

    def run(self, batch: Batch, model: nn.Module) -> None:
        """Run the model on one batch; the hooks do the counting."""
        self._call = add_decoder_inputs(model, batch.call)
        try:
            self._call.copy().run(model)
        except DataError:
            raise
        except Exception as error:
            raise batch.model_error(error) from error

    def before_layer(self, name: str, inputs: list[Tensor]) -> None:
        """Copy a layer's input: the layer may modify it in place."""
        self._inputs[name] = inputs[0].clone()

    def after_layer(self, name: str, output: Any) -> None:
        """Add the cosines between a layer's input and output."""
        x, y = self._inputs.pop(name), tensor_leaves(output)[0]
        dim = feature_dim(self.modules[name], x)
        cosines = _cosines(x.movedim(dim, -1).double(), y.movedim(dim, -1).double())
        if not cosines.isfinite().all():
            raise DataError(f"the input or output of layer {name!r} is not finite; check the data and the weights")
        token_weights = self._token_weights(name, cosines)
        self.sums[self._index[name]] += (cosines * token_weights).sum().cpu()
        self.counts[self._index[name]] += token_weights.sum().cpu()

    def _token_weights(self, name: str, tokens: Tensor) -> Tensor:
        """One for each token that counts, zero for each one that the call's attention mask excludes."""
        key = "decoder_attention_mask" if self._has_decoder and "decoder" in name else "attention_mask"
        mask = self._call.kwargs.get(key)
        is_token_mask = isinstance(mask, Tensor) and mask.shape == tokens.shape
        return (mask != 0).double() if is_token_mask else torch.ones_like(tokens)


def _cosines(x: Tensor, y: Tensor) -> Tensor:
    """Cosines between vectors [..., features]; 1 where both are zero, since the layer changes nothing there."""
    lengths = x.norm(dim=-1) * y.norm(dim=-1)
    cosines = (x * y).sum(-1) / torch.where(lengths > 0, lengths, 1)
    return torch.where((x == 0).all(-1) & (y == 0).all(-1), 1, cosines)
