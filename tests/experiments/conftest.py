"""Fixtures of several files: models and data in a directory, and a network trained on the digits."""

from functools import partial

import pytest
from support.studied import cloud_job, write_clouds

from secateurs.experiments.digits import Digits
from secateurs.experiments.studies.network import train


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A directory with models and data."""
    return write_clouds(tmp_path_factory.mktemp("study"))


@pytest.fixture
def job(directory):
    """A function that makes jobs on the models and data."""
    return partial(cloud_job, directory)


@pytest.fixture(scope="module")
def digits():
    return Digits.load()


@pytest.fixture(scope="module")
def digits_net(digits):
    """A network after one epoch on the digits."""
    return train(digits, seed=0, epochs=1)
