"""The house has an order: a module imports only from modules to its left."""

import ast
from pathlib import Path

import pytest

ORDER = [
    "errors tables progress preserve shard together data inputs feeding costs files launch tasks quantised pretrained "
    "text",
    "structure",
    "losses evaluate",
    "observe",
    "criteria",
    "certificate plan",
    "budgets",
    "selection",
    "surgery",
    "depth",
    "masking features",
    "least_squares",
    "compensate",
    "differentiation",
    "recover check schedule",
    "persist report",
    "layerwise",
    "training",
    "state procedure",
    "run",
    "pipeline",
    "demo",
    "sources",
    "job summary",
    "workers",
    "sweep",
    "studies",
    "cli",
]
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names.split()}
PACKAGE = Path(__file__).parent.parent / "src" / "secateurs"
FILES = sorted(set(PACKAGE.rglob("*.py")) - {PACKAGE / "__init__.py", PACKAGE / "__main__.py"})


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("secateurs"):
            yield from [node.module] if node.module != "secateurs" else [f"secateurs.{a.name}" for a in node.names]
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("secateurs"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_come_from_the_left(path):
    own = path.relative_to(PACKAGE).with_suffix("").parts[0]
    for module in imported(path):
        other = module.split(".")[1]
        assert other == own or RANK[other] <= RANK[own], f"{own} imports {other}"


def test_the_library_never_prints():
    for path in FILES:
        if path.relative_to(PACKAGE).parts[0] == "cli":
            continue
        calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
        assert not [c.lineno for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"], path


def test_files_stay_small():
    assert {path.name: n for path in FILES if (n := len(path.read_text().splitlines())) > 260} == {}
