"""What training did, epoch by epoch."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class History:
    """The losses of a training; plain values, so that `dataclasses.asdict` gives JSON.

    Attributes:
        train: mean loss of each epoch.
        validation: loss on the validation data after each epoch; empty where there is none.
        best: the epoch that the model was brought back to, counted from 0; None without `Recovery.patience`.
    """

    train: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    best: int | None = None

    def then(self, train: float, validation: float | None, choosing: bool) -> History:
        """The history one epoch on; `choosing` the epoch of the least validation loss, the first of equals."""
        losses = self.validation + ([] if validation is None else [validation])
        return History([*self.train, train], losses, losses.index(min(losses)) if choosing else None)

    def stale(self) -> int:
        """How many epochs have passed since the best."""
        return 0 if self.best is None else len(self.train) - 1 - self.best
