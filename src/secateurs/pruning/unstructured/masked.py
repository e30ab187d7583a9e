"""The result of `mask`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from secateurs.budgets import Certificate
from secateurs.errors import PersistError
from secateurs.utils import render

NOTE = (
    "The model's size and speed do not change by themselves: zeros are stored and multiplied like other numbers. To "
    "gain from them takes sparse kernels, or hardware made for patterns such as 2:4.\n"
)


@dataclass(frozen=True)
class Masked:
    """A model in which single weights are zero, and what decided which.

    Attributes:
        model: a copy of the dense model, with the same shapes. Train it as you like, with `reapply` after each step.
        masks: per weight, which of its entries are kept: bool, in its shape. Shared weights are under their first name.
        certificates: for the budget "effective", what each number kept rests on: per weight, or for all of them
            together under "all weights"; one, or one per output in the scope "row".
        skipped: weights that were left as they are, and why.
        criterion: the name of the criterion.
        budget: as it was asked for.
        scope: which entries competed; see `secateurs.masking.SCOPES`.
    """

    model: nn.Module
    masks: Mapping[str, Tensor]
    certificates: Mapping[str, Sequence[Certificate]]
    skipped: Mapping[str, str]
    criterion: str
    budget: str
    scope: str

    @property
    def sparsity(self) -> float:
        """The share of all masked weights' entries that are removed, in [0, 1)."""
        return 1 - sum(int(its.sum()) for its in self.masks.values()) / sum(its.numel() for its in self.masks.values())

    @property
    def kept(self) -> dict[str, float]:
        """The share of each weight's entries that is kept, in [0, 1]."""
        return {name: int(mask.sum()) / mask.numel() for name, mask in self.masks.items()}

    def reapply(self) -> None:
        """Set the removed entries of `model` to zero again, as training moves them.

        Example:
            >>> optimizer.register_step_post_hook(lambda *_: masked.reapply())
        """
        with torch.no_grad():
            for name, mask in self.masks.items():
                weight = self.model.get_parameter(name)
                weight.masked_fill_(~mask.to(weight.device), 0)

    def save(self, path: str | Path) -> None:
        """Write the model's weights in the safetensors format, for `safetensors.torch.load_model`.

        Raises:
            PersistError: the file exists already, or cannot be written.
        """
        if Path(path).exists():
            raise PersistError(f"{path} exists already; give a new name")
        try:
            safetensors.torch.save_model(self.model, str(path))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise PersistError(f"the weights cannot be written to {path}: {error}") from error

    def __str__(self) -> str:
        rows = [
            (name, " × ".join(map(str, mask.shape)), mask.numel(), int(mask.sum()), f"{self.kept[name]:.1%}")
            for name, mask in self.masks.items()
        ]
        text = render(
            f"{self.budget} by {self.criterion} ({self.scope})", ("weight", "shape", "entries", "kept", "kept %"), rows
        )
        text += "".join(f"effective, {name}: {_summary(its)}\n" for name, its in self.certificates.items())
        if self.skipped:
            text += render("left as they are", ("weight", "why"), list(self.skipped.items()))
        return f"{text}{self.sparsity:.1%} of these entries are zero. {NOTE}"


def _summary(its: Sequence[Certificate]) -> str:
    if len(its) == 1:
        return str(its[0])
    share, cv, mass = (
        mean(values) for values in zip(*((c.kept / c.components, c.cv, c.mass) for c in its), strict=True)
    )
    return f"mean of {len(its)} rows: {share:.1%} kept, CV {cv:.2f}, {mass:.1%} of the scores"
