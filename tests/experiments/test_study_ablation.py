"""The study of single units: losses without a unit, ranks, and the sentence."""

from dataclasses import replace
from statistics import mean

import pytest
import torch
from scipy.stats import spearmanr
from support.studied import named

import secateurs as sc
from secateurs.errors import UsageError
from secateurs.experiments.studies import ablation_finding
from secateurs.experiments.studies.ablation import loss_without, run_ablation
from secateurs.experiments.studies.ablation_finding import Ranks, by_chance, ranks
from secateurs.structure.trace import trace


@pytest.fixture
def job(tmp_path):
    return named(tmp_path)


def test_loss_without_a_unit_equals_the_loss_with_its_weights_set_to_zero(job):
    model, test = job.dense(), job.tested()
    structure = trace(model, torch.zeros(2, 6))
    changed = job.dense()
    with torch.no_grad():
        changed[0].weight[4] = changed[0].bias[4] = 0
    assert loss_without(model, structure, "0", 4, test) == pytest.approx(sc.mean_loss(changed, test))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), job.dense().parameters(), strict=True))


def test_ablation_ranks_follow_from_the_reported_data(job):
    finding = run_ablation(job, ["l1", "taylor"], seeds=2)
    harm = finding.data["harm"]
    assert {name: len(values) for name, values in harm.items()} == {"0": 12, "2": 10}
    for rank in finding.data["ranks"]:
        scores = finding.data["scores"][rank["seed"]][rank["criterion"]]
        groups = [spearmanr(scores[name], harm[name])[0] for name in harm]
        assert rank["within"] == pytest.approx(mean(groups))
        together = spearmanr(scores["0"] + scores["2"], harm["0"] + harm["2"])[0]
        assert rank["together"] == pytest.approx(together)
    assert [row[0] for row in finding.rows] == ["l1", "taylor", "random"]
    assert finding.rows[0][1].startswith(f"{finding.data['ranks'][0]['within']:.2f}")


def test_scores_proportional_to_the_loss_change_have_a_correlation_of_one():
    harm = {"a": torch.rand(9).double(), "b": 5 + torch.rand(4).double()}
    perfect = ranks("some", 0, {name: 3 * values + 1 for name, values in harm.items()}, harm)
    assert (perfect.within, perfect.together) == (pytest.approx(1), pytest.approx(1))
    shifted = ranks("some", 0, {"a": harm["a"] + 9, "b": harm["b"]}, harm)
    assert shifted.within == pytest.approx(1)
    assert shifted.together < 0.5


def test_one_random_order_in_a_hundred_exceeds_the_chance_limit():
    harm = {"a": torch.rand(30).double(), "b": torch.rand(12).double()}
    limit = by_chance(harm)
    shuffled = [{name: values[torch.randperm(len(values))] for name, values in harm.items()} for _ in range(300)]
    above = sum(ranks("random", 0, scores, harm).within > limit for scores in shuffled)
    assert above <= 12


def test_the_ablation_sentence_separates_criteria_above_the_limit_from_the_rest():
    harm = {"a": torch.linspace(-1, 3, 41).double()}
    results = [Ranks(name, seed, {}, value, 0) for name, value in (("sees", 0.9), ("blind", 0.1)) for seed in range(2)]
    text = ablation_finding.sentence(results, harm)
    assert "seed for sees (0.90 ± 0.00); it does not for blind (0.10 ± 0.00)" in text
    assert "lowers the loss for 24% of the units" in text
    assert "seed for none; it" in ablation_finding.sentence(results[2:], harm)
    assert "not for none." in ablation_finding.sentence(results[:2], harm)


def test_ablation_removes_the_given_number_of_units_and_needs_test_data(job):
    assert [len(values) for values in run_ablation(job, ["l1"], units=5, seeds=1).data["harm"].values()] == [5, 5]
    with pytest.raises(UsageError, match="--test"):
        run_ablation(replace(job, test=""))
    with pytest.raises(UsageError, match="--units"):
        run_ablation(job, units=2)
