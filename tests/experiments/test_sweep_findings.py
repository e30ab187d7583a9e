"""Sentences of the studies of mixtures, β and schedules, computed from given accuracies."""

from dataclasses import replace
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from secateurs.experiments.report.comparison import Comparison
from secateurs.experiments.report.outcome import Outcome
from secateurs.experiments.studies import beta as betas
from secateurs.experiments.studies import hybrid as hybrids
from secateurs.experiments.studies import schedule_finding as schedules
from secateurs.experiments.studies.beta import cliff
from secateurs.experiments.studies.variants import variants
from secateurs.experiments.summary import PERPLEXITY
from secateurs.structure.cost import Cost

AUTO = "auto*l1+auto*nexp"
MIXTURES = {0: "1*l1+0*nexp", 0.5: "0.5*l1+0.5*nexp", 1: "0*l1+1*nexp"}


def comparison_of(qualities, budget="macs:0.5", keep=range(5)):
    """A comparison of models with these accuracies, after the cut and recovered, one pair per seed."""
    outcomes = [
        Outcome(name, budget, seed, Cost(50, 50), None, {"cut": cut, "recovered": end}, {"a": list(keep)})
        for name, pairs in qualities.items()
        for seed, (cut, end) in enumerate(pairs)
    ]
    return Comparison("", "", Cost(100, 100), {"a": 10}, {}, outcomes, "", quality=0.95)


def mixed(middle, end=(0.6, 0.8)):
    names = [MIXTURES[0], MIXTURES[1], "l1", "nexp", "random", AUTO]
    return comparison_of({MIXTURES[0.5]: [middle] * 2, **dict.fromkeys(names, [end] * 2)})


def test_the_hybrid_sentence_compares_the_best_mixture_with_its_parts_and_random():
    text = hybrids.sentence(mixed((0.7, 0.7)), MIXTURES, ("l1", "nexp"), AUTO)
    assert "Right after the cut, α = 0.5 is the best of the sweep with 70.0 ± 0.0 %" in text
    assert "10.0 ± 0.0 points above l1" in text
    assert "points above random" in text
    assert "recovered, α = 0 (no mixture) is the best" in text
    assert "level with nexp" in text


@given(st.floats(0.1, 0.9), st.floats(0, 3), st.floats(0.1, 4))
def test_the_cliff_is_the_corner_of_two_straight_lines(corner, above, rise):
    shares = {factor: factor * corner for factor in (0.25, 0.5, 0.75, 1.0)} | {1.5: corner + (1 - corner) / 2, inf: 1.0}
    accuracy = {f: 1 - above * (1 - s) - rise * max(corner - s, 0) for f, s in shares.items()}
    points = [(factor, share, accuracy[factor]) for factor, share in shares.items()]
    assert cliff(points) == 1.0
    assert cliff([*points[::-1], (4.0, 1.0, accuracy[inf])]) == 1.0  # β = 4 keeps all units as well


def test_there_is_no_cliff_if_the_loss_per_unit_never_rises():
    assert cliff([(0.5, 0.3, 0.1), (1.0, 0.6, 0.12), (inf, 1.0, 0.9)]) is None
    assert cliff([(0.5, 0.5, 0.1), (inf, 1.0, 0.9)]) is None
    assert cliff([(0.5, 0.4, 0.9), (1.0, 0.7, 0.9), (inf, 1.0, 0.9)]) is None


def test_the_cliff_of_a_perplexity_is_the_budget_at_which_it_rises():
    shares = {"effective:0.5": 3, "effective:1": 6}
    content = replace(comparison_of({}), quality=10.0, metric=PERPLEXITY)
    for budget, perplexity in zip(shares, (90.0, 12.0), strict=True):
        one = comparison_of({"l1": [(perplexity, perplexity)]}, budget, range(shares[budget]))
        content = replace(content, outcomes=[*content.outcomes, *one.outcomes])
    (points,) = betas._points(content, "l1", {0.5: "effective:0.5", 1.0: "effective:1"}, "cut")
    assert cliff(points) == 1.0


def test_the_beta_sentence_counts_the_cliffs():
    text = betas.sentence(
        {"cut": {"taylor": [1.0, 0.75], "random": [None, 1.0]}, "recovered": {"taylor": [0.75, 0.75]}}
    )
    assert "Right after the cut, β = 1 marks the cliff for 2 of 4 criteria and seeds" in text
    assert "taylor at β = 1 (1 of 2 seeds), β = 0.75 (1 of 2 seeds); random at no β (1 of 2 seeds)" in text
    assert "recovered, β = 1 marks the cliff for 0 of 2 criteria and seeds (taylor at β = 0.75 (2 of 2 seeds))" in text


@given(st.integers(10, 99), st.sets(st.integers(2, 10), min_size=1))
def test_every_schedule_has_the_same_epochs(epochs, rounds):
    schedules = variants(epochs, sorted(rounds))
    assert {each.epochs + each.between * (each.rounds - 1) for each in schedules} == {epochs}
    assert all(each.epochs >= each.between for each in schedules)
    assert [each.rounds for each in schedules] == [1, *sorted(rounds), *sorted(rounds)]
    assert len({each.name for each in schedules}) == len(schedules)


def scheduled(rounds, trained, reverse=0.5):
    others = {"reversed-ssi": [(0.1, reverse)] * 2}
    comparisons = [comparison_of({"ssi": [(0.1, end)] * 2, **others}) for end in (0.5, rounds, trained)]
    return dict(zip(variants(4, [2]), comparisons, strict=True))


def test_rounds_are_counted_as_above_or_below_one_shot():
    text = schedules.sentence(scheduled(0.6, 0.4))
    assert "without training in between end above one shot for 1 of 2 pairs of criterion and rounds (ssi in 2)" in text
    assert (
        "with training in between end above one shot for 0 of 2 pairs of criterion and rounds and below it for 1 of 2"
        in text
    )
    assert (
        "in one shot, ssi is level with reversed-ssi; in 2 rounds, ssi is 10.0 ± 0.0 points above reversed-ssi" in text
    )
    assert "(ssi" not in schedules.sentence(scheduled(0.5, 0.5))
