"""Planted redundancy: that it is there, that weights do not give it away, and that the areas are what they say."""

import itertools
import json
import os
import sys
import xml.etree.ElementTree as ElementTree

import pytest
import torch
from sklearn.metrics import roc_auc_score

from secateurs import cli
from secateurs.criteria.criterion import Criterion
from secateurs.criteria.registry import CRITERIA
from secateurs.errors import CriterionError, PersistError, UnscorableError, UsageError
from secateurs.experiments.digits import Digits
from secateurs.experiments.studies import planted
from secateurs.experiments.studies.finding import make_directory
from secateurs.experiments.studies.network import train
from secateurs.experiments.studies.planted import areas, run_planted
from secateurs.experiments.studies.planting import REDUNDANCIES, SETS, plant
from secateurs.experiments.studies.result import Areas, PlantedSeed, PlantedStudy

EXACT = [kind for kind in REDUNDANCIES if kind != "near-duplicates"]
SIGHTED = ["random", "l2", "max-correlation", "diversity"]


@pytest.fixture(scope="module")
def digits():
    return Digits.load()


@pytest.fixture(scope="module")
def net(digits):
    return train(digits, seed=0, epochs=1)


@pytest.fixture
def trained(monkeypatch, net):
    """Studies need not train: every seed gets the same network."""
    monkeypatch.setattr(planted, "train", lambda *_: net)


@pytest.fixture(scope="module")
def garden(net, digits):
    return plant(net, digits.train.tensors[0][:300])


@pytest.fixture(scope="module")
def maps(garden, digits):
    """Activations on images that planting has not seen, [units, samples × positions]."""
    model = garden.model
    with torch.no_grad():
        return model.bn2(model.conv2(model.inputs(digits.test.tensors[0].double()))).relu().movedim(1, 0).flatten(1)


@pytest.fixture(scope="module")
def study():
    return run_planted(seeds=2, criteria=SIGHTED, epochs=1)


@pytest.mark.parametrize("kinds", [*([kind] for kind in EXACT), EXACT], ids=", ".join)
def test_planting_does_not_change_the_function(net, digits, kinds):
    images, unseen = digits.train.tensors[0][:300], digits.test.tensors[0]
    before = {name: its.clone() for name, its in net.state_dict().items()}
    changed = plant(net, images, kinds=kinds).model
    with torch.no_grad():
        torch.testing.assert_close(changed(unseen.double()), net.double()(unseen.double()), rtol=0, atol=1e-9)
    net.float()
    assert all(torch.equal(its, before[name]) for name, its in net.state_dict().items())


def test_near_duplicates_correlate_at_nine_tenths(garden, maps):
    assert len(garden.correlations) == SETS["near-duplicates"]
    assert all(abs(r - 0.9) < 0.01 for r in garden.correlations)
    unseen = [float(torch.corrcoef(maps[units])[0, 1]) for units in garden.sets["near-duplicates"]]
    assert all(abs(r - 0.9) < 0.05 for r in unseen)


def test_duplicates_have_equal_activations(garden, maps):
    for one, other in garden.sets["duplicates"]:
        torch.testing.assert_close(maps[one], maps[other])


def test_combinations_are_linearly_dependent_and_no_subset_is(garden, maps):
    for units in garden.sets["combinations"]:
        positive, negative = maps[units[:3]], maps[units[3:]]
        torch.testing.assert_close(positive.sum(0), negative.sum(0))
        assert torch.linalg.matrix_rank(maps[units]) == 5


def test_dead_units_never_fire_and_constant_units_always_give_one(garden, maps):
    assert not maps[[unit for (unit,) in garden.sets["dead"]]].any()
    constant = maps[[unit for (unit,) in garden.sets["constant"]]]
    torch.testing.assert_close(constant, torch.ones_like(constant))


def test_planted_sets_and_untouched_units_are_all_units(garden):
    planted_units = [unit for sets in garden.sets.values() for units in sets for unit in units]
    assert {kind: len(sets) for kind, sets in garden.sets.items()} == SETS
    assert sorted([*planted_units, *garden.untouched]) == list(range(garden.model.conv2.out_channels))


@pytest.mark.parametrize("kind", REDUNDANCIES)
@pytest.mark.parametrize("power", [1, 2])
def test_norms_of_weights_do_not_reveal_planted_units(garden, kind, power):
    units = [unit for units in garden.sets[kind] for unit in units]
    for weights in (garden.model.conv2.weight, garden.model.conv3.weight.movedim(1, 0), garden.model.bn2.weight):
        norms = weights.detach().reshape(len(weights), -1).norm(power, dim=1)
        live = norms[garden.untouched]
        assert abs(norms[units].mean() / live.mean() - 1) < 0.12
        assert norms[units].min() > 0.8 * live.min()


def test_planting_is_determined_by_the_seed(net, digits, garden):
    images = digits.train.tensors[0][:300]
    again, other = plant(net, images), plant(net, images, seed=1)
    assert again.sets == garden.sets
    assert all(torch.equal(a, b) for a, b in zip(again.model.parameters(), garden.model.parameters(), strict=True))
    assert other.sets != garden.sets


def test_unknown_kinds_are_refused(net, digits):
    with pytest.raises(UsageError, match="weeds"):
        plant(net, digits.train.tensors[0][:9], kinds=["weeds"])


def test_each_equals_the_roc_area_of_scikit_learn():
    scores = torch.randint(9, (40,)).double()  # with ties
    sets, untouched = [[0, 1], [2, 3], [4, 5, 6]], range(10, 40)
    labels = [1] * 7 + [0] * 30
    expected = roc_auc_score(labels, -torch.cat([scores[:7], scores[10:]]))
    assert areas(scores, sets, untouched).each == pytest.approx(expected)


def test_lowest_equals_the_share_over_all_draws():
    scores = torch.randint(9, (14,)).double()
    lowest = min(scores[:3])
    draws = [min(scores[list(drawn)]) for drawn in itertools.combinations(range(3, 14), 3)]
    expected = sum((lowest < other) + (lowest == other) / 2 for other in draws) / len(draws)
    assert areas(scores, [[0, 1, 2]], range(3, 14)).lowest == pytest.approx(float(expected))


def test_one_low_unit_of_a_pair_is_enough_for_lowest_and_ties_are_chance_for_each():
    untouched = torch.arange(2.0, 102)
    taken_in_turn = areas(torch.cat([torch.tensor([0.0, 51.5]), untouched]), [[0, 1]], range(2, 102))
    assert (taken_in_turn.each, taken_in_turn.lowest) == (0.75, 1)
    equal = areas(torch.cat([torch.tensor([51.5, 51.5]), untouched]), [[0, 1]], range(2, 102))
    assert equal.each == 0.5
    assert equal.lowest < 0.3


def test_random_scores_have_areas_of_one_half():
    draws = [areas(torch.rand(60), [[0, 1], [2, 3, 4, 5, 6, 7]], range(8, 60)) for _ in range(300)]
    assert abs(sum(its.each for its in draws) / 300 - 0.5) < 0.03
    assert abs(sum(its.lowest for its in draws) / 300 - 0.5) < 0.04


def study_of(*pairs):
    rounds = [PlantedSeed({"some": {kind: Areas(*pair) for kind in REDUNDANCIES}}, 1, 1, [0.9]) for pair in pairs]
    return PlantedStudy(rounds, {}, 1, 1)


def test_lowest_is_reported_if_both_means_exceed_chance_and_it_is_larger():
    study = study_of((0.7, 0.5), (0.7, 1.0))
    assert study.best("some", "dead") == ("lowest", [0.5, 1.0])
    assert study.table()[1][0][1] == "0.75 ± 0.35*"


def test_the_sentence_names_the_criteria_that_find_each_kind():
    assert study_of((0.9, 0.9)).finding().sentence.count(" by some") == len(REDUNDANCIES)
    assert "duplicates by none" in study_of((0.85, 0.5), (0.93, 0.5)).finding().sentence


def test_each_is_reported_if_its_mean_is_not_above_chance():
    assert study_of((0.5, 0.9), (0.4, 0.9)).best("some", "dead") == ("each", [0.5, 0.4])


def test_criteria_that_compare_units_find_duplicates_and_norms_do_not(study):
    area = {name: sum(study.best(name, "duplicates")[1]) / 2 for name in SIGHTED}
    assert area["max-correlation"] == area["diversity"] == 1
    assert 0.2 < area["l2"] < 0.8
    assert sum(study.best("diversity", "combinations")[1]) / 2 > 0.9


def test_criteria_that_cannot_score_the_layer_are_left_out_with_the_reason(monkeypatch, trained):
    def refuse(evidence):
        raise UnscorableError("it is no attention")

    heads = Criterion("heads", refuse, source="a test", scope="local")
    monkeypatch.setattr(planted, "CRITERIA", {"l2": CRITERIA["l2"], "heads": heads})
    monkeypatch.setitem(CRITERIA, "heads", heads)
    study = run_planted(seeds=1)
    assert study.criteria == ["l2"]
    assert "no attention" in study.left_out["heads"]
    assert any("no attention" in note for note in study.notes)
    with pytest.raises(CriterionError, match="no attention"):
        run_planted(seeds=1, criteria=["heads"])


def test_wrong_arguments_fail_before_any_work(monkeypatch):
    monkeypatch.setattr(planted, "train", None)
    with pytest.raises(CriterionError, match="nxep"):
        run_planted(criteria=["l2", "nxep"])
    with pytest.raises(UsageError, match="seed"):
        run_planted(seeds=0)


def test_a_study_is_written_as_data_a_page_and_a_picture(study, tmp_path):
    study.finding().write(tmp_path / "new")
    data = json.loads((tmp_path / "new" / "planted.json").read_text())["data"]
    values = [its["areas"]["diversity"]["dead"]["each"] for its in data["rounds"]]
    assert data["summary"]["diversity"]["dead"]["mean"] == sum(values) / 2
    page = (tmp_path / "new" / "planted.md").read_text()
    assert [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("|")][2:] == SIGHTED
    picture = ElementTree.parse(tmp_path / "new" / "planted-areas.svg")
    texts = {element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")}
    assert {*SIGHTED, *REDUNDANCIES} <= texts


def test_an_unwritable_directory_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PersistError, match="cannot be written"):
        make_directory(tmp_path / "file" / "out")


@pytest.fixture
def command(monkeypatch, tmp_path, capsys, trained):
    """Runs `secateurs study planted` in an empty directory: the exit code, and what it says."""

    def run_it(arguments):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["secateurs", "study", "planted", *arguments.split()])
        with pytest.raises(SystemExit) as left:
            cli.main()
        return left.value.code, *capsys.readouterr()

    return run_it


def test_the_command_prints_a_table_and_writes(command, tmp_path):
    code, out, _ = command("--seeds 1 --criteria l2,0.5*l2+0.5*nexp --out new")
    assert code == 0
    for words in ("0.5*l2+0.5*nexp", "near-duplicates", "over 1 seed;", "Written to new"):
        assert words in out
    assert sorted(os.listdir(tmp_path / "new")) == ["planted-areas.svg", "planted.json", "planted.md"]


def test_the_command_prints_json_and_nothing_else(command):
    code, out, err = command("--seeds 2 --criteria l2 --json")
    assert (code, err) == (0, "")
    study = json.loads(out)["data"]
    assert list(study["summary"]) == ["l2"]
    assert len(study["rounds"]) == 2


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("--criteria nxep", 3, "unknown criterion"),
        ("--out file/out", 3, "cannot be written"),
        ("--seeds 0", 2, "--seeds"),
    ],
)
def test_the_command_refuses_wrong_arguments(command, tmp_path, arguments, code, message):
    (tmp_path / "file").write_text("")
    left, out, err = command(arguments)
    assert (left, out) == (code, "")
    assert message in err
