"""The text of a criterion reads back as the same criterion."""

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

import secateurs as sc
from secateurs.criteria import CRITERIA, parse_criterion
from secateurs.criteria.normalizers import NORMALIZERS
from secateurs.errors import CriterionError

WEIGHTS = st.floats(0, 1e30, allow_nan=False) | st.integers(0, 10**6)


@st.composite
def hybrids(draw):
    names = draw(st.lists(st.sampled_from(sorted(CRITERIA)), min_size=2, max_size=4, unique=True))
    normalize = draw(st.sampled_from(sorted(NORMALIZERS)))
    kind = draw(st.sampled_from(["weights", "alpha", "auto"]))
    if kind == "weights":
        weights = {name: draw(WEIGHTS) for name in names}
        assume(any(weights.values()))
        groups = draw(st.lists(st.text("abc.:@0*+{} ", min_size=1), max_size=2, unique=True))
        return sc.Hybrid(weights, normalize, of_group=dict.fromkeys(groups, weights) or None)
    pair = draw(st.sampled_from([list, tuple]))(names[:2])
    return sc.Hybrid(pair, normalize, "auto" if kind == "auto" else draw(st.floats(0, 1)))


@given(hybrids(), st.booleans())
def test_a_hybrid_reads_back_from_its_name(hybrid, opposite):
    criterion = hybrid.criterion()
    if opposite and criterion.untuned is None:
        criterion = parse_criterion(f"reversed-{criterion.name}")
    again = parse_criterion(criterion.name)
    assert again == criterion
    assert again.name == criterion.name
    assert hash(again) == hash(criterion)


@given(hybrids())
def test_a_hybrid_that_is_read_back_has_the_same_scores(hybrid):
    values = torch.rand(5, dtype=torch.float64)
    parts = {name: {"0": values**power} for power, name in enumerate(hybrid.mix, 1)}
    torch.testing.assert_close(sc.Hybrid.parse(hybrid.name).join(parts), hybrid.join(parts), rtol=0, atol=0)


@pytest.mark.parametrize("name", CRITERIA)
@pytest.mark.parametrize("prefix", ["", "reversed-"])
def test_every_registered_criterion_reads_back_from_its_name(name, prefix):
    criterion = parse_criterion(prefix + name)
    assert criterion.name == prefix + name
    assert parse_criterion(criterion.name) == criterion


def test_hybrids_with_other_normalisers_have_other_names():
    names = [sc.Hybrid({"nexp": 0.7, "l1": 0.3}, normalize).name for normalize in NORMALIZERS]
    assert names == ["0.7*nexp+0.3*l1", "rank(0.7*nexp+0.3*l1)", "robust-z(0.7*nexp+0.3*l1)"]
    assert sc.Hybrid(("l1", "nexp"), "rank", "auto").name == "rank(auto*l1+auto*nexp)"


def test_a_text_scores_as_the_hybrid_does(net, batches):
    ours = sc.score(net, batches, sc.Hybrid({"nexp": 0.7, "l1": 0.3}, "rank"))
    text = sc.score(net, batches, " rank( 0.7 * nexp + 0.3 * l1 ) ")
    assert all(torch.equal(values, text[group]) for group, values in ours.items())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.7*nexp+l1", "not a sum"),
        ("x*nexp+1*l1", "not a sum"),
        ("rank(0.7*nexp+0.3*l1", "not a sum"),
        ("0.7*nexp+0.3*l1@{", "not a sum"),
        ("max(0.7*nexp+0.3*l1)", "unknown normaliser 'max'; choose one of mean, rank, robust-z"),
        ("0.7*nexp+0.3*l9", "unknown criterion 'l9' in a hybrid"),
        ("nxep", "unknown criterion 'nxep'"),
        ("reversed-nxep", "unknown criterion 'nxep'"),
    ],
)
def test_texts_that_are_no_criterion_are_refused(text, message):
    with pytest.raises(CriterionError, match=message):
        parse_criterion(text)
