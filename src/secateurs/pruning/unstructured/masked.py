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
    "The zeros alone make the model neither smaller nor faster: they are stored and multiplied like other numbers. A "
    "speed-up needs sparse kernels, or hardware support for patterns such as 2:4.\n"
)


@dataclass(frozen=True)
class Masked:
    """A model in which single weights are zero, with its masks; `str` renders them as a table.

    Attributes:
        model: a copy of the dense model, with the same shapes. Call `reapply` after each training step.
        masks: weight name → the entries that are kept, bool in the shape of the weight. A shared weight is listed under
            its first name.
        certificates: for the budget "effective", the evidence for each number of entries kept: by weight, or under "all
            weights" in the scope "global"; one certificate, or one for each output in the scope "row".
        skipped: weight name → the reason that the weight is not masked.
        criterion: the name of the criterion.
        budget: the budget that was asked for.
        scope: which entries competed: "global", "layer" or "row"; see `mask`.

    Example:
        >>> masked = sc.mask(model, data, "l1", "keep:0.25")
        >>> isinstance(masked, sc.Masked), 0.7 < masked.sparsity < 0.8
        (True, True)
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
        """The share of entries that are removed, over all masked weights, in [0, 1)."""
        kept = sum(int(mask.sum()) for mask in self.masks.values())
        return 1 - kept / sum(mask.numel() for mask in self.masks.values())

    @property
    def kept(self) -> dict[str, float]:
        """Weight name → the share of its entries that are kept, in [0, 1]."""
        return {name: int(mask.sum()) / mask.numel() for name, mask in self.masks.items()}

    def reapply(self) -> None:
        """Set the removed entries of `model` to zero again, after a training step has changed them.

        Example:
            >>> masked = sc.mask(model, data)
            >>> optimizer = torch.optim.SGD(masked.model.parameters(), lr=0.1)
            >>> handle = optimizer.register_step_post_hook(lambda *_: masked.reapply())
        """
        with torch.no_grad():
            for name, mask in self.masks.items():
                weight = self.model.get_parameter(name)
                weight.masked_fill_(~mask.to(weight.device), 0)

    def save(self, path: str | Path) -> None:
        """Write the model's weights to a safetensors file, for `safetensors.torch.load_model`.

        Raises:
            PersistError: the file exists already, or cannot be written.
        """
        if Path(path).exists():
            raise PersistError(f"{path} exists already; choose a new name")
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
        text += "".join(f"effective, {name}: {_summary(proofs)}\n" for name, proofs in self.certificates.items())
        if self.skipped:
            text += render("not masked", ("weight", "reason"), list(self.skipped.items()))
        return f"{text}{self.sparsity:.1%} of these entries are zero. {NOTE}"


def _summary(proofs: Sequence[Certificate]) -> str:
    """One certificate as it is, or the means of several."""
    if len(proofs) == 1:
        return str(proofs[0])
    share = mean(proof.kept / proof.components for proof in proofs)
    cv, mass = mean(proof.cv for proof in proofs), mean(proof.mass for proof in proofs)
    return f"mean of {len(proofs)} rows: {share:.1%} kept, CV {cv:.2f}, {mass:.1%} of the scores"
