"""Benchmarks on real networks: records of measurements, tables, and the rendered results."""

import json

import pytest

from benchmarks.real import NAMES, render
from benchmarks.real.__main__ import main
from benchmarks.real.experiment import RECIPES, Experiment, experiment
from benchmarks.real.record import Line, append, key, latest
from benchmarks.real.tables import mean, pivot, table


def line(value, **settings):
    return Line(settings, {"accuracy": value}, 1.0, {"torch": "2"}, "abc", "2026")


@pytest.mark.parametrize("name", NAMES)
def test_cells_are_distinct_plain_data(name):
    for recipe in RECIPES:
        cells = experiment(name).cells(recipe)
        assert [json.loads(json.dumps(cell)) for cell in cells] == list(cells)
        assert len({key(cell) for cell in cells}) == len(cells)


def test_the_last_line_of_a_cell_is_used(tmp_path):
    path = tmp_path / "new" / "lines.jsonl"
    for record in (line(0.1, a=1, seed=0), line(0.2, a=2, seed=0), line(0.3, seed=0, a=1)):
        append(path, record)
    records = latest(path, [{"a": 1, "seed": 0}, {"a": 3, "seed": 0}])
    assert [record.figures["accuracy"] for record in records] == [0.3]
    assert latest(tmp_path / "none.jsonl", [{"a": 1}]) == []


def test_an_invalid_line_is_refused_by_number(tmp_path):
    path = tmp_path / "lines.jsonl"
    append(path, line(0.1, a=1))
    path.write_text(path.read_text() + '{"settings": \n')
    with pytest.raises(ValueError, match=r"lines\.jsonl, line 2"):
        latest(path, [])


def test_a_row_summarises_all_seeds():
    lines = [line(0.5, a=1, seed=0), line(0.7, a=2, seed=0), line(0.6, a=1, seed=1)]
    assert table(lines, {"accuracy": mean("accuracy")}).splitlines()[2:] == ["| 55.0 ± 7.1 | 2 |", "| 70.0 | 1 |"]


def test_two_settings_give_the_rows_and_columns_of_a_table():
    lines = [line(0.5, a="x", b=1, seed=0), line(0.7, a="x", b=1, seed=1), line(0.6, a="y", b=2, seed=0)]
    text = pivot(lines, "a", ("a", "xyz"), ("b", (1, 2)), mean("accuracy"), [["paper", 50, "", ""]])
    assert text.splitlines() == [
        "| a | 1 | 2 | seeds |", "| --- | --- | --- | --- |", "| x | 60.0 ± 14.1 |  | 2 |", "| y |  | 60.0 | 1 |",
        "| paper | 50 |  |  |",
    ]  # fmt: skip


def test_failed_cells_are_reported_and_repeated(tmp_path, monkeypatch, capsys):
    cells = [{"a": 1}, {"a": 2}]
    mine = Experiment("mine", "Mine", "", lambda recipe: cells, lambda cell: {}, lambda lines: "")
    requests = []

    def measure(_, wanted, workers):
        requests.append(wanted)
        return ((cell, line(1.0, **cell) if cell["a"] == 1 else "it broke") for cell in wanted)

    for name, value in {
        "NAMES": ("mine",), "experiment": lambda _: mine, "path_of": lambda _: tmp_path / "lines", "measured": measure,
        "check": lambda: None,
    }.items():  # fmt: skip
        monkeypatch.setattr(f"benchmarks.real.__main__.{name}", value)
    for _ in range(2):
        with pytest.raises(SystemExit, match="1"):
            main("mine", only="a=*")
    assert requests == [cells, [{"a": 2}]]
    assert "FAILED a=2: it broke" in capsys.readouterr().err


def test_the_rendered_results_are_up_to_date():
    """If this fails, run `make results`."""
    assert render.PAGE.read_text(encoding="utf-8") == render.page()
    for path, svg in render.pictures().items():
        assert path.read_text(encoding="utf-8") == svg, path
