"""The demo, with fewer epochs, and its page."""

import html.parser
import json
import re

import pytest
import torch

import secateurs as sc
from secateurs import demo
from secateurs.errors import PersistError
from secateurs.report import render_page


class Page(html.parser.HTMLParser):
    """Collects what a page is made of, and checks that every tag is closed in order."""

    VOID = ("meta", "br", "link", "img", "hr")

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.links = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href", "xlink:href") and value]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo")
    return out, demo.run(out, seeds=2, epochs=4, recovery_epochs=1)


def test_all_criteria_have_the_same_budget(found):
    comparison = found[1].comparison
    assert [row.criterion for row in comparison.rows] == ["nexp", "l1", "random"]
    for row in comparison.rows:
        assert 0.49 < row.cost.macs / comparison.dense.macs <= 0.5
        assert {stage: len(values) for stage, values in row.accuracy.items()} == {
            "cut": 2, "recalibrated": 2, "recovered": 2}  # fmt: skip
    assert comparison.accuracy > 0.9


def test_saved_models_load_and_compute_the_same(found):
    out, result = found
    assert result.reload_difference == 0
    loaded = sc.load(out / "l1", model=demo.DigitsNet)
    digits = demo.Digits.load()
    assert sc.cost(loaded, digits.test.tensors[0][:1]) == result.comparison.rows[1].cost


def test_the_page_is_whole_and_loads_nothing(found):
    out, _ = found
    text = (out / "report.html").read_text()
    page = Page(text)
    assert page.open == []
    assert page.tags.count("svg") == 3
    assert all(link.startswith("#") for link in page.links)
    assert not re.search(r"https?://(?!www\.w3\.org)", text)
    for words in ("Widths, layer by layer", "stage3.1.conv1", "nexp", "model output", "secateurs demo --seeds 2"):
        assert words in text
    assert re.search(r"1\.65 M → 82\d k \(×0\.50\)", text)


def test_what_a_model_is_called_cannot_inject_into_the_page(found):
    import dataclasses

    evil = dataclasses.replace(found[1].comparison, title="<script>alert(1)</script>")
    assert "<script>" not in render_page(evil)


def test_the_figures_are_plain_data(found):
    assert json.loads(json.dumps(found[1].comparison.as_dict()))["budget"] == "macs:0.5"


def test_a_demo_that_cannot_be_saved_says_so_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PersistError):
        demo.run(tmp_path / "file" / "out", seeds=1)


def test_the_split_is_fixed():
    a, b = demo.Digits.load(), demo.Digits.load()
    assert torch.equal(a.test.tensors[0], b.test.tensors[0])
    assert (len(a.train), len(a.test)) == (1347, 450)
