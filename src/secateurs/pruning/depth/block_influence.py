"""Block influence: how far each layer turns the stream that goes through it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from secateurs.data import Batch, Call, batches, check_same_weights, errors_on_all_ranks, sum_over_ranks
from secateurs.errors import DataError
from secateurs.huggingface import add_decoder_inputs
from secateurs.pruning.depth.hooks import feature_dim, following, tensors
from secateurs.utils import Progress, device_of, evaluating


def block_influence(model: nn.Module, data: Iterable[Any], names: Sequence[str], progress: Progress) -> Tensor:
    """1 − E[cos(x, y)] over tokens, x and y being what goes into a layer and what comes out of it.

    ShortGPT, arXiv 2403.03853, Eq. 1.

    Args:
        model: evaluated, not changed.
        data: see `secateurs.data.batches`; of a shard, all ranks' count.
        names: of the layers.
        progress: wraps the iteration over the data.

    Returns:
        float64 [layers], each in [0, 2].

    Raises:
        DataError: the data is empty or all padding, the model refuses a batch, or a stream is not finite.
    """
    check_same_weights(data, model)
    angles = _Angles(model, names)
    with errors_on_all_ranks(data), evaluating(model), following(angles.modules, angles.enter, angles.leave):
        for batch in progress(batches(data), "ranking layers"):
            angles.see(batch.to(device_of(model)), model)
    sums, counts = sum_over_ranks(data, angles.sums), sum_over_ranks(data, angles.counts)
    if unseen := [name for name, count in zip(names, counts.tolist(), strict=True) if not count]:
        raise DataError(f"no token went through {', '.join(unseen)}: the data is all padding, or takes another way")
    return 1 - sums / counts


class _Angles:
    """Cosines between what goes into layers and what comes out of them.

    Attributes:
        modules: the layers, by name.
        sums: of the cosines of all tokens, float64 [layers].
        counts: of tokens, float64 [layers].
    """

    def __init__(self, model: nn.Module, names: Sequence[str]):
        self.modules = {name: model.get_submodule(name) for name in names}
        self.sums, self.counts = torch.zeros(2, len(names), dtype=torch.float64)
        self._numbers = {name: number for number, name in enumerate(names)}
        self._decodes = bool(getattr(getattr(model, "config", None), "is_encoder_decoder", False))
        self._given: dict[str, Tensor] = {}
        self._call = Call()

    def see(self, batch: Batch, model: nn.Module) -> None:
        """Run the model on one batch."""
        self._call = add_decoder_inputs(model, batch.call)
        try:
            self._call.copy().run(model)
        except DataError:
            raise
        except Exception as error:
            raise batch.refused(error) from error

    def enter(self, name: str, given: list[Tensor]) -> None:
        """Keep what goes into a layer, which may write into it."""
        self._given[name] = given[0].clone()

    def leave(self, name: str, output: Any) -> None:
        """Compare it with what comes out."""
        x, y = self._given.pop(name), tensors(output)[0]
        dim = feature_dim(self.modules[name], x)
        cosines = _cosines(x.movedim(dim, -1).double(), y.movedim(dim, -1).double())
        if not cosines.isfinite().all():
            raise DataError(f"{name}: what goes through it is not finite; check the inputs and the weights")
        counted = self._counted(name, cosines)
        self.sums[self._numbers[name]] += (cosines * counted).sum().cpu()
        self.counts[self._numbers[name]] += counted.sum().cpu()

    def _counted(self, name: str, tokens: Tensor) -> Tensor:
        """One where a token counts, zero where the attention mask of the call leaves it out."""
        mask = self._call.kwargs.get(
            "decoder_attention_mask" if self._decodes and "decoder" in name else "attention_mask"
        )
        fits = isinstance(mask, Tensor) and mask.shape == tokens.shape
        return (mask != 0).double() if fits else torch.ones_like(tokens)


def _cosines(x: Tensor, y: Tensor) -> Tensor:
    """Between vectors [..., features]; where both are zero nothing has changed, and it is one."""
    lengths = x.norm(dim=-1) * y.norm(dim=-1)
    cosines = (x * y).sum(-1) / torch.where(lengths > 0, lengths, 1)
    return torch.where((x == 0).all(-1) & (y == 0).all(-1), 1, cosines)
