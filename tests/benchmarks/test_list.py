"""`python -m benchmarks.NAME --list` prints the cells of the benchmark without measuring them."""

import contextlib
import importlib.util
import runpy
import sys

import pytest

from benchmarks.real import NAMES

pytestmark = pytest.mark.slow

if not all(importlib.util.find_spec(name) for name in ("torchvision", "timm", "transformers")):
    pytest.skip("the zoo's libraries are not installed: pip install secateurs[zoo]", allow_module_level=True)


@pytest.mark.parametrize(
    "name",
    "differentiation hybrid layerwise scoring import_time zoo zoo.growth zoo.use language".split(),
)
def test_a_benchmark_lists_its_cells(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmark", "--list"])
    with contextlib.suppress(SystemExit):
        runpy.run_module(f"benchmarks.{name}", run_name="__main__", alter_sys=False)
    assert len(capsys.readouterr().out.splitlines()) >= 2


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_on_real_networks_lists_its_cells(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmark", name, "--list", "--again"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_module("benchmarks.real.__main__", run_name="__main__", alter_sys=False)
    assert not stop.value.code
    assert capsys.readouterr().out.splitlines()
