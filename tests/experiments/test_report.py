"""Reports: rows, tables, agreement between criteria, and files."""

import csv
import dataclasses
import html.parser
import io
import itertools
import json
from statistics import mean, stdev

import numpy as np
import pytest
from support.reports import CRITERIA, DENSE, comparison, outcome, single, sweep

import secateurs as sc
from secateurs.errors import PersistError
from secateurs.experiments.report.agreement import agreement, overlap
from secateurs.experiments.report.comparison import Comparison
from secateurs.experiments.report.headlines import headlines
from secateurs.experiments.report.outcome import Metric
from secateurs.experiments.report.page import render_markdown, render_page, write_report
from secateurs.experiments.report.sections import sections
from secateurs.experiments.report.tidy import records, summary, to_csv
from secateurs.utils.tables import format_mean, markdown


class Page(html.parser.HTMLParser):
    """Collects the tags and links of a page, and checks that every tag is closed in order."""

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


def section_of(content, title):
    return next(section for section in sections(content) if section.title == title)


def test_a_row_joins_the_outcomes_of_all_seeds():
    content = sweep(seeds=3)
    assert [(row.budget, row.criterion) for row in content.rows] == [
        (budget, criterion) for budget in content.budgets for criterion in CRITERIA
    ]
    assert [len(row.outcomes) for row in content.rows] == [3, 3, 2] + [3] * 15  # one failed
    row = content.rows[0]
    assert row.quality("cut") == [outcome.quality["cut"] for outcome in content.outcomes if outcome in row.outcomes]


def test_widths_are_means_over_seeds_and_other_groups_are_whole():
    pair = [outcome(seed=s, keep={"layer1.0.conv1": list(range(n))}) for s, n in enumerate((4, 7))]
    widths = comparison(pair).rows[0].widths({"layer1.0.conv1": 16, "layer2.0.conv1": 32})
    assert widths == {"layer1.0.conv1": 5.5, "layer2.0.conv1": 32}


def test_the_table_shows_mean_and_deviation():
    headers, (row,) = comparison([outcome(seed=s, quality={"cut": q}) for s, q in enumerate((0.5, 0.6, 0.7))]).table()
    cells = dict(zip(headers, row, strict=True))
    assert (cells["dense"], cells["cut"]) == ("92.6 %", "60.0 ± 10.0 %")
    assert cells["MACs of 40.6 M"] == "20.3 M (×0.50)"
    assert cells["cut"].value == pytest.approx(0.6)


@pytest.mark.parametrize(("values", "text"), [([], ""), ([0.5], "50.0 %"), ([0.5, 0.7], "60.0 ± 14.1 %")])
def test_spread_is_mean_and_standard_deviation(values, text):
    assert format_mean(values, 1, 100, " %") == text


def test_the_damage_table_states_lost_recovered_and_missing_quality():
    content = comparison([outcome(quality={"cut": 0.4, "recovered": 0.9}), outcome("l1", quality={"cut": 0.5})])
    _, rows = section_of(content, "Damage and recovery").table
    assert rows == [["nexp", "macs:0.5", "52.6 %", "50.0 %", "2.6 %"], ["l1", "macs:0.5", "", "", ""]]
    perplexity = Metric("perplexity", percent=False, higher_is_better=False)
    content = comparison([outcome(quality={"cut": 30.0, "recovered": 12.5})], metric=perplexity, quality=10.0)
    assert section_of(content, "Damage and recovery").table[1][0][2:] == ["20.000", "17.500", "2.500"]


@pytest.mark.parametrize("higher", [True, False])
def test_the_headline_is_the_best_criterion_of_each_budget_with_random(higher):
    content = dataclasses.replace(sweep(), metric=Metric(higher_is_better=higher))
    for headline, budget in zip(headlines(content), content.budgets, strict=True):
        ends = {row.criterion: mean(row.quality("recovered")) for row in content.at(budget)}
        best = max(ends, key=lambda name: ends[name] if higher else -ends[name])
        assert headline.title == f"{best}, {budget}"
        assert headline.lines[-1].startswith("random ends at")


def test_overlap_by_chance_is_the_mean_over_all_draws():
    units = {"a": 6, "b": 4}
    one = outcome(keep={"a": [0, 1, 2], "b": [3]})
    share, chance = overlap(one, one, units)
    assert share == 1
    removed = [set(range(6)) - {0, 1, 2}, set(range(4)) - {3}]
    draws = itertools.product(itertools.combinations(range(6), 3), itertools.combinations(range(4), 3))
    shared = mean(len(removed[0] & set(a)) + len(removed[1] & set(b)) for a, b in draws)
    assert chance == pytest.approx(shared / (12 - shared))
    assert overlap(one, outcome(keep={"a": [3, 4, 5], "b": [3]}), units)[0] == pytest.approx(3 / 9)
    assert overlap(outcome(keep={}), outcome(keep={"a": range(6)}), units) is None


def test_agreement_is_symmetric_and_exceeds_chance_only_for_related_criteria():
    content = sweep(budgets=("macs:0.5",), seeds=3)
    shares, chance = agreement(content.rows, content.units)
    assert np.allclose(shares, shares.T)
    assert abs(shares[0] - chance[0]).max() < 0.1  # random orders agree only by chance
    names = [row.criterion for row in content.rows]
    assert shares[names.index("obs"), names.index("nexp")] > 0.5
    assert np.isnan(agreement(comparison([outcome()]).rows, content.units)[0]).all()  # no second seed


def test_tidy_tables_contain_every_measurement_and_the_summary_the_means():
    content = sweep(seeds=3)
    table = records(content)
    assert len(table) == 1 + len(content.outcomes) * len(content.stages)
    assert (table[0]["criterion"], table[0]["accuracy"], table[0]["macs_ratio"]) == ("dense", 0.926, 1)
    read = list(csv.DictReader(io.StringIO(to_csv(table))))
    assert [float(row["accuracy"]) for row in read] == [row["accuracy"] for row in table]
    for row in summary(content):
        same = [r for r in table if all(r[key] == row[key] for key in ("criterion", "budget", "stage"))]
        values = [r["accuracy"] for r in same]
        assert (row["n"], row["mean"], row["std"]) == (len(same), mean(values), stdev(values))
        assert row["latency_ratio"] == pytest.approx(mean(r["latency_ratio"] for r in same))


def test_a_written_report_loads_and_renders_the_same(tmp_path):
    for content in (comparison([outcome("l1", "macs:0.25", 3, latency=None)]), single()):
        write_report(content, tmp_path / "new")
        again = Comparison.load(tmp_path / "new" / "report.json")
        assert json.dumps(again.as_dict()) == json.dumps(content.as_dict())
        assert render_page(again) == (tmp_path / "new" / "report.html").read_text()
    assert set(json.loads((tmp_path / "new" / "table.json").read_text())) == {"records", "summary"}


@pytest.mark.parametrize(
    "change", [{"outcome": 1}, {"title": 3}, {"dense": {"params": 1}}, {"metric": {"name": "f1", "colour": "red"}}]
)
def test_a_file_that_is_not_a_report_is_refused(tmp_path, change):
    path = tmp_path / "report.json"
    with pytest.raises(PersistError, match="cannot be read"):
        Comparison.load(path)
    path.write_text(json.dumps({**single().as_dict(), **change}))
    with pytest.raises(PersistError, match="is not a report"):
        Comparison.load(path)


def test_an_unwritable_directory_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PersistError, match="cannot be written"):
        write_report(single(), tmp_path / "file" / "out")


@pytest.mark.slow
def test_the_page_is_well_formed_and_has_no_external_links():
    page = Page(render_page(sweep(("macs:0.5", "macs:0.25"), seeds=1)))
    assert page.open == []
    assert all(link.startswith("#") for link in page.links)


def test_names_cannot_inject_html_or_markdown():
    evil = "<img src=x onerror=alert(1)>|*a* $x_{$ \n# b"
    injected = outcome(evil, keep={}, scores={evil: [1.0, 2.0]}, compensation={evil: (0.2, 0.1)})
    fields = {
        "title": evil,
        "model": evil,
        "command": evil,
        "notes": [evil],
        "warnings": [evil],
        "failed": {evil: evil},
    }
    content = comparison(
        [injected, outcome("l1")], **fields, frozen={evil: evil}, units={evil: 2}, provenance={evil: evil}
    )
    page = Page(render_page(content))
    assert page.open == []
    assert "img" not in page.tags
    assert page.tags.count("script") == 1
    text = render_markdown(content).partition("## Command")[0]
    assert "<img" not in text.replace(r"\<img", "")
    assert not [line for line in text.splitlines() if line.startswith("# b")]


def test_markdown_tables_escape_the_text_of_cells():
    text = markdown(["a|b", "c"], [["x\ny", "1*2*3"], ["_p_ q_r", r"\|"]])
    assert text.splitlines() == [r"| a\|b | c |", "| --- | --- |", r"| x y | 1\*2\*3 |", r"| \_p\_ q_r | \\\| |"]


def test_the_markdown_contains_every_section():
    text = render_markdown(single())
    for words in ("Round by round", "all groups", "layer1.0.conv2.weight", "0.2510 to 0.6100", "61.5", "model output"):
        assert words in text
    assert "killed" in render_markdown(sweep(seeds=1))


@pytest.mark.parametrize(
    "content",
    [
        comparison([], quality=None, failed={"nexp macs:0.5 seed 0": "MemoryError"}),
        comparison([outcome(quality={}, latency=None)], quality=None),
        comparison([outcome(cost=sc.Cost(10, 0))], dense=sc.Cost(DENSE.params, 0)),
        comparison([outcome(quality={"cut": float("nan")}, scores={})]),
        comparison([outcome(scores={"layer1.0.conv1": [1.0] * 16})]),
    ],
    ids=["everything failed", "nothing measured", "no MACs", "diverged", "equal scores"],
)
def test_reports_without_some_measurements_are_written(content, tmp_path):
    write_report(content, tmp_path)
    assert Page((tmp_path / "report.html").read_text()).open == []
    assert content.title in (tmp_path / "report.md").read_text()
