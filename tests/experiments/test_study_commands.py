"""Commands of the studies of scores, and the guide that quotes recorded results."""

import json
from pathlib import Path

import pytest
from support.studied import named


@pytest.fixture
def job(tmp_path):
    return named(tmp_path)


@pytest.mark.parametrize("study", ["samples --sizes 8,16 --criteria nexp", "ablation --criteria l1 --units 4"])
def test_the_commands_print_and_write(study, job, tmp_path, run):
    options = f"--data {job.data} --test {job.test} --seeds 1 --out {tmp_path / 'new'}"
    out = run("study", *study.split(), job.model, *options.split()).out
    name = study.split()[0]
    written = json.loads((tmp_path / "new" / f"{name}.json").read_text())
    assert written["sentence"] in out
    assert written["command"].startswith(f"secateurs study {name}")
    for picture in (tmp_path / "new").glob("*.svg"):
        assert f"]({picture.name})" in (tmp_path / "new" / f"{name}.md").read_text()


@pytest.mark.parametrize("name", ["samples", "ablation", "hybrid", "beta", "schedule"])
def test_the_guide_quotes_the_recorded_sentence_and_pictures(name):
    root = Path(__file__).parents[2]
    recorded = json.loads((root / "benchmarks" / "results" / "studies" / f"{name}.json").read_text())
    guide = " ".join((root / "docs" / "studies.md").read_text().replace("\n> ", " ").split())
    assert recorded["sentence"] in guide
    for picture in (root / "benchmarks" / "results" / "studies").glob(f"{name}-*.svg"):
        assert f"(../benchmarks/results/studies/{picture.name})" in guide
