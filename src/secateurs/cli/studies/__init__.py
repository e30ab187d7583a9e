"""`secateurs study`: questions about criteria, answered by measuring."""

from __future__ import annotations

import typer

from secateurs.cli.studies.initialisation import initialisation
from secateurs.cli.studies.planted import planted

study = typer.Typer(no_args_is_help=True, help="Questions about criteria, answered by measuring.")
for command in (planted, initialisation):
    study.command()(command)
