"""The commands of `secateurs`."""

from __future__ import annotations

import click

from secateurs.cli.about import env, list_all
from secateurs.cli.check import check
from secateurs.cli.compare import compare
from secateurs.cli.demo import demo
from secateurs.cli.features import features
from secateurs.cli.layers import layers
from secateurs.cli.mask import mask
from secateurs.cli.prune import prune
from secateurs.cli.studies import study


@click.group(context_settings={"max_content_width": 120})
@click.version_option(package_name="secateurs")
def app() -> None:
    """Find the redundant neurons of a PyTorch network, remove them, and show the evidence."""


for command in (demo, check, prune, compare, mask, features, layers, study, list_all, env):
    app.add_command(command)
