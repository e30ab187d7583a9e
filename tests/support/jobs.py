"""Jobs whose fields and configuration are given in one call."""

from secateurs.experiments import Job
from secateurs.pruning import PruningConfig


def make_job(model, data, **options):
    """A job; options that are fields of the configuration go there."""
    config = {name: options.pop(name) for name in list(options) if name in PruningConfig.model_fields}
    return Job(model, data, PruningConfig(**config), **options)
