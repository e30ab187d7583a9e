"""`secateurs study`: questions about criteria, answered by measuring."""

from __future__ import annotations

import typer

from secateurs.cli.studies.planted import planted
from secateurs.cli.studies.scores import COMMANDS as SCORES
from secateurs.cli.studies.scratch import COMMANDS as SCRATCH
from secateurs.cli.studies.sweeps import COMMANDS as SWEEPS

study = typer.Typer(no_args_is_help=True, help="Questions about criteria, answered by measuring.")
for command in (planted, *SCORES, *SWEEPS, *SCRATCH):
    study.command()(command)
