"""Options of studies that train from scratch."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from secateurs.cli.studies.show import DIGITS

Epochs = Annotated[int, typer.Option(min=1, help="Of training from scratch.")]
RecoveryEpochs = Annotated[int, typer.Option(min=1, help="Of the training after a cut, and as many for the others.")]
Budget = Annotated[str, typer.Option(help="As for prune.")]
SCRATCH: dict[str, Any] = {**DIGITS, "lr": 0.05, "compensate": False}
"""Defaults of a job that trains from scratch."""
