"""`FeatureRanking`: the result of `rank_features`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from secateurs.budgets import Certificate
from secateurs.errors import DataError, PersistError
from secateurs.utils import render


@dataclass(frozen=True)
class FeatureRanking:
    """The scores of all features of an input, and the features that are kept; `str` renders a table.

    Attributes:
        scores: one score for each feature, float64 in the shape of one input, higher = keep.
        keep: True for each feature that is kept, bool in the shape of one input.
        means: the mean of each feature over the data, float64 in the shape of one input.
        method: the scoring method, "taylor", "magnitude" or "variance".
        budget: the budget that was asked for.
        certificate: for the budget "effective", the evidence for the number of kept features; otherwise None.
        loss_before: the mean loss over the data. None if the data has no targets, no `loss` was given and the method
            is not "taylor".
        loss_after: the mean loss over the data when all other features are set to their means; None as above.

    Example:
        >>> ranking = sc.rank_features(model, data, "variance", "keep:0.5")
        >>> x, _ = data[0]
        >>> torch.equal(ranking.apply(x)[:, ranking.keep], x[:, ranking.keep])
        True
    """

    scores: Tensor
    keep: Tensor
    means: Tensor
    method: str
    budget: str
    certificate: Certificate | None
    loss_before: float | None = None
    loss_after: float | None = None

    def apply(self, x: Tensor) -> Tensor:
        """Replace the features that are not kept by their means over the data.

        Args:
            x: floating-point inputs [..., *shape of one input]; not modified.

        Returns:
            The changed inputs, in the shape and dtype of `x`.

        Raises:
            DataError: the inputs have another shape, or are not floating-point numbers.
        """
        shape = self.keep.shape
        if x.shape[x.ndim - len(shape) :] != shape or not x.is_floating_point():
            raise DataError(
                f"the ranking applies to floating-point inputs of shape [..., {', '.join(map(str, shape))}], not to "
                f"{str(x.dtype)[6:]}{list(x.shape)}"
            )
        return torch.where(self.keep.to(x.device), x, self.means.to(x))

    def save(self, path: str | Path) -> None:
        """Write `scores`, `keep` and `means` to a new npz file.

        Raises:
            PersistError: the file exists already, or cannot be written.
        """
        path = Path(path).with_suffix(".npz")
        if path.exists():
            raise PersistError(f"{path} exists already; choose a new name")
        try:
            np.savez(path, scores=self.scores.numpy(), keep=self.keep.numpy(), means=self.means.numpy())
        except OSError as error:
            raise PersistError(f"the ranking cannot be written to {path}: {error}") from error

    def __str__(self) -> str:
        total, kept = self.keep.numel(), int(self.keep.sum())
        row = (str(list(self.keep.shape)), total, kept, f"{kept / total:.1%}")
        text = render(f"features by {self.method}, {self.budget}", ("input", "features", "kept", "kept %"), [row])
        if self.certificate is not None:
            text += f"effective: {self.certificate}\n"
        if self.loss_before is not None:
            text += f"loss {self.loss_before:.4g} → {self.loss_after:.4g}, measured on the same data\n"
        return text + "apply() replaces the features that are not kept by their means over the data.\n"
