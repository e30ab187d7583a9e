"""Warnings point at the line of the user's program that called the library."""

import warnings

import pytest
import torch

import secateurs as sc
from secateurs.errors import FewSamplesWarning, UnscoredWarning
from secateurs.utils import warn_user


def test_a_direct_caller_is_named():
    with pytest.warns(sc.SecateursWarning, match="direct") as caught:
        warn_user("direct")
    assert caught[0].filename == __file__


@torch.no_grad()
def scored_without_gradients(*args):
    return sc.score(*args)


@pytest.mark.parametrize(("criterion", "category"), [("obs", FewSamplesWarning), ("hrank", UnscoredWarning)])
@pytest.mark.parametrize("call", [sc.score, scored_without_gradients])
def test_warnings_of_scoring_point_at_the_caller(net, images, call, criterion, category):
    with pytest.warns(category) as caught:
        call(net, [images], criterion)
    assert {warning.filename for warning in caught} == {__file__}


def test_a_warning_is_shown_once_per_line_of_the_caller(net, images):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(2):
            sc.score(net, [images], "hrank")
    assert [warning.filename for warning in caught] == [__file__]
