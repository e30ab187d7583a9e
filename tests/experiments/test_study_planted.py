"""The study of planted redundancy: areas, tables, files and the command."""

import itertools
import json
import os
import xml.etree.ElementTree as ElementTree

import pytest
import torch
from sklearn.metrics import roc_auc_score

from secateurs.criteria.criterion import Criterion
from secateurs.criteria.registry import CRITERIA
from secateurs.errors import CriterionError, PersistError, UnscorableError, UsageError
from secateurs.experiments.studies import planted
from secateurs.experiments.studies.finding import make_directory
from secateurs.experiments.studies.planted import areas, run_planted
from secateurs.experiments.studies.planting import REDUNDANCIES
from secateurs.experiments.studies.result import Areas, PlantedSeed, PlantedStudy

SIGHTED = ["random", "l2", "max-correlation", "diversity"]


@pytest.fixture
def trained(monkeypatch, digits_net):
    """Replaces training: every seed gets the same network."""
    monkeypatch.setattr(planted, "train", lambda *_: digits_net)


@pytest.fixture(scope="module")
def study():
    return run_planted(seeds=2, criteria=SIGHTED, epochs=1)


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
    one_low = areas(torch.cat([torch.tensor([0.0, 51.5]), untouched]), [[0, 1]], range(2, 102))
    assert (one_low.each, one_low.lowest) == (0.75, 1)
    equal = areas(torch.cat([torch.tensor([51.5, 51.5]), untouched]), [[0, 1]], range(2, 102))
    assert equal.each == 0.5
    assert equal.lowest < 0.3


def test_random_scores_have_areas_of_one_half():
    draws = [areas(torch.rand(60), [[0, 1], [2, 3, 4, 5, 6, 7]], range(8, 60)) for _ in range(300)]
    assert abs(sum(area.each for area in draws) / 300 - 0.5) < 0.03
    assert abs(sum(area.lowest for area in draws) / 300 - 0.5) < 0.04


def study_with_areas(*pairs):
    rounds = [PlantedSeed({"some": {kind: Areas(*pair) for kind in REDUNDANCIES}}, 1, 1, [0.9]) for pair in pairs]
    return PlantedStudy(rounds, {}, 1, 1)


def test_lowest_is_reported_if_both_means_exceed_chance_and_it_is_larger():
    study = study_with_areas((0.7, 0.5), (0.7, 1.0))
    assert study.best("some", "dead") == ("lowest", [0.5, 1.0])
    assert study.table()[1][0][1] == "0.75 ± 0.35*"


def test_the_sentence_names_the_criteria_that_find_each_kind():
    assert study_with_areas((0.9, 0.9)).finding().sentence.count(" by some") == len(REDUNDANCIES)
    assert "duplicates by none" in study_with_areas((0.85, 0.5), (0.93, 0.5)).finding().sentence


def test_each_is_reported_if_its_mean_is_not_above_chance():
    assert study_with_areas((0.5, 0.9), (0.4, 0.9)).best("some", "dead") == ("each", [0.5, 0.4])


def test_criteria_that_compare_units_find_duplicates_and_norms_do_not(study):
    area = {name: sum(study.best(name, "duplicates")[1]) / 2 for name in SIGHTED}
    assert area["max-correlation"] == area["diversity"] == 1
    assert 0.2 < area["l2"] < 0.8
    assert sum(study.best("diversity", "combinations")[1]) / 2 > 0.9


def test_criteria_that_cannot_score_the_layer_are_left_out_with_the_reason(monkeypatch, trained):
    def refuse(evidence):
        raise UnscorableError("not an attention layer")

    heads = Criterion("heads", refuse, source="a test", scope="local")
    monkeypatch.setattr(planted, "CRITERIA", {"l2": CRITERIA["l2"], "heads": heads})
    monkeypatch.setitem(CRITERIA, "heads", heads)
    study = run_planted(seeds=1)
    assert study.criteria == ["l2"]
    assert "not an attention layer" in study.left_out["heads"]
    assert any("not an attention layer" in note for note in study.notes)
    with pytest.raises(CriterionError, match="not an attention layer"):
        run_planted(seeds=1, criteria=["heads"])


def test_invalid_arguments_are_refused_before_training(monkeypatch):
    monkeypatch.setattr(planted, "train", None)
    with pytest.raises(CriterionError, match="nxep"):
        run_planted(criteria=["l2", "nxep"])
    with pytest.raises(UsageError, match="seed"):
        run_planted(seeds=0)


def test_a_study_is_written_as_data_a_page_and_a_picture(study, tmp_path):
    study.finding().write(tmp_path / "new")
    data = json.loads((tmp_path / "new" / "planted.json").read_text())["data"]
    values = [seed["areas"]["diversity"]["dead"]["each"] for seed in data["rounds"]]
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
def command(monkeypatch, tmp_path, run, trained):
    """Run `secateurs study planted` in an empty directory; the fixture `run` checks the exit code."""
    monkeypatch.chdir(tmp_path)
    return lambda arguments, code=0: run("study", "planted", *arguments.split(), code=code)


def test_the_command_prints_a_table_and_writes(command, tmp_path):
    out = command("--seeds 1 --criteria l2,0.5*l2+0.5*nexp --out new").out
    for words in ("0.5*l2+0.5*nexp", "near-duplicates", "over 1 seed;", "Written to new"):
        assert words in out
    assert sorted(os.listdir(tmp_path / "new")) == ["planted-areas.svg", "planted.json", "planted.md"]


def test_the_command_prints_json_and_nothing_else(command):
    output = command("--seeds 2 --criteria l2 --json")
    assert output.err == ""
    study = json.loads(output.out)["data"]
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
def test_the_command_refuses_invalid_arguments(command, tmp_path, arguments, code, message):
    (tmp_path / "file").write_text("")
    output = command(arguments, code)
    assert output.out == ""
    assert message in output.err
