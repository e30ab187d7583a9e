"""The demo, run with few epochs, and its report."""

import re

import pytest
import torch

import secateurs as sc
from secateurs.errors import PersistError
from secateurs.experiments import demo
from secateurs.experiments.report.comparison import Comparison
from secateurs.experiments.report.page import render_page


@pytest.fixture(scope="module")
def demo_run(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo")
    return out, demo.run_demo(out, seeds=2, epochs=4, recovery_epochs=1)


@pytest.mark.slow
def test_all_criteria_have_the_same_budget(demo_run):
    comparison = demo_run[1].comparison
    assert [row.criterion for row in comparison.rows] == ["nexp", "l1", "random"]
    for outcome in comparison.outcomes:
        assert 0.49 < outcome.cost.macs / comparison.dense.macs <= 0.5
    for row in comparison.rows:
        assert [len(row.quality(stage)) for stage in ("cut", "recalibrated", "recovered")] == [2, 2, 2]
    assert comparison.quality > 0.9


@pytest.mark.slow
def test_saved_models_load_and_compute_the_same(demo_run):
    out, result = demo_run
    assert result.reload_difference == 0
    loaded = sc.load(out / "l1", model=demo.DigitsNet)
    digits = demo.Digits.load()
    assert sc.cost(loaded, digits.test.tensors[0][:1]) == result.comparison.outcomes[1].cost


@pytest.mark.slow
def test_the_page_contains_the_results_and_loads_nothing(demo_run):
    out, _ = demo_run
    text = (out / "report.html").read_text()
    assert not re.search(r"https?://(?!www\.w3\.org)", text)
    for words in ("Widths, layer by layer", "stage3.1.conv1", "nexp", "model output", "secateurs demo --seeds 2"):
        assert words in text
    assert re.search(r"82\d k \(×0\.50\)", text)


@pytest.mark.slow
def test_the_report_loads_and_renders_the_same(demo_run):
    out, result = demo_run
    assert render_page(Comparison.load(out / "report.json")) == render_page(result.comparison)


def test_an_unwritable_directory_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PersistError):
        demo.run_demo(tmp_path / "file" / "out", seeds=1)


def test_the_split_is_fixed():
    a, b = demo.Digits.load(), demo.Digits.load()
    assert torch.equal(a.test.tensors[0], b.test.tensors[0])
    assert (len(a.train), len(a.test)) == (1347, 450)
