"""Every name that `sc` exports has a summary, and every example in its docstring runs."""

import doctest
import inspect

import benchmarks.torchvision_ops  # noqa: F401  (first: transformers imports torchvision)

# isort: split
import pytest
import torch
from torch import nn
from torch.nn import functional

import secateurs as sc

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def namespace():
    """The names that an example may use without defining them."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 4),
    )  # fmt: skip
    data = [(torch.randn(8, 3, 8, 8), torch.randint(4, (8,))) for _ in range(3)]
    return {
        "sc": sc, "torch": torch, "nn": nn, "functional": functional,
        "model": model, "data": data, "example_inputs": data[0][0],
    }  # fmt: skip


def examples_of(name):
    """The doctests in the docstrings of an exported object and of its methods."""
    tests = doctest.DocTestFinder(exclude_empty=True).find(getattr(sc, name), name, module=False, globs={})
    return [test for test in tests if test.examples]


def failures(name):
    """What the examples of an exported object print instead of what they should print."""
    lines = []
    for test in examples_of(name):
        test.globs = namespace()
        doctest.DocTestRunner(optionflags=OPTIONS, verbose=False).run(test, out=lines.append)
    return "".join(lines)


@pytest.mark.parametrize("name", sc.__all__)
def test_an_exported_name_has_a_summary(name):
    summary = (inspect.cleandoc(getattr(sc, name).__doc__ or "")).partition("\n")[0]
    assert summary, f"sc.{name} has no docstring"
    assert not summary.startswith(f"{name}("), f"sc.{name} has only the docstring that `dataclass` makes"
    assert not summary.endswith(":"), f"the docstring of sc.{name} begins with a section, not with a summary"


@pytest.mark.parametrize("name", sc.__all__)
def test_the_examples_of_an_exported_name_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    missing = inspect.isfunction(getattr(sc, name)) and not examples_of(name)
    problem = f"sc.{name} has no example" if missing else failures(name)
    assert not problem, problem


@pytest.mark.parametrize("name", sc.__all__)
def test_no_example_is_skipped(name):
    skipped = [e.source for test in examples_of(name) for e in test.examples if doctest.SKIP in e.options]
    assert not skipped, f"sc.{name}: {skipped}"
