"""The losses of a training run, epoch by epoch."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class History:
    """The losses of a training run. All values are plain, so that `dataclasses.asdict` gives JSON.

    Attributes:
        train: mean training loss of each epoch.
        validation: loss on the validation data after each epoch; empty without validation data.
        best: number of the epoch with the lowest validation loss, from 0, whose weights are restored at the end; None
            without `Recovery.patience`.
    """

    train: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    best: int | None = None

    def with_epoch(self, train: float, validation: float | None, track_best: bool) -> History:
        """Append the losses of one epoch.

        Args:
            train: mean training loss of the epoch.
            validation: loss on the validation data after the epoch, or None.
            track_best: whether to set `best` to the epoch of the lowest validation loss (the first of equal ones).

        Returns:
            A new history.
        """
        losses = self.validation + ([] if validation is None else [validation])
        return History([*self.train, train], losses, losses.index(min(losses)) if track_best else None)

    def epochs_since_best(self) -> int:
        """Number of epochs since the best one."""
        return 0 if self.best is None else len(self.train) - 1 - self.best
