"""`secateurs study`: experiments about criteria."""

from __future__ import annotations

import click

from secateurs.cli.studies.planted import planted
from secateurs.cli.studies.scores import ablation, samples
from secateurs.cli.studies.scratch import activations, dynamics, initialisation
from secateurs.cli.studies.sweeps import beta, hybrid, schedule

__all__ = ["study"]


@click.group()
def study() -> None:
    """Run an experiment that answers a question about criteria."""


for command in (planted, samples, ablation, hybrid, beta, schedule, initialisation, activations, dynamics):
    study.add_command(command)
