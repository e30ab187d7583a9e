"""Imports between the packages of the library: one order, no cycles, and only through `__init__.py`."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

# Lowest first: a package imports only from packages to its left.
ORDER = (
    "errors utils data huggingface structure observe evaluate budgets criteria surgery training persist pruning "
    "experiments cli"
).split()
PACKAGE = Path(__file__).parents[2] / "src" / "secateurs"
FILES = sorted(PACKAGE.rglob("*.py"))


def module_of(path):
    """The dotted name of a file below `secateurs`."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}
PACKAGES = {name for name, path in MODULES.items() if path.name == "__init__.py"}


def imports(path):
    """Yield (module, name) for each name that a file imports from `secateurs`, inside functions as well."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module.split(".")[0] == "secateurs":
                yield from ((node.module.partition(".")[2], alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (
                (alias.name.partition(".")[2], "") for alias in node.names if alias.name.split(".")[0] == "secateurs"
            )


RE_EXPORTED = {package: {name for _, name in imports(MODULES[package])} for package in PACKAGES}
"""The names that each `__init__.py` imports and thereby re-exports."""


def target(module, name):
    """The module that an import loads: a submodule, if the name is one and not a re-exported definition."""
    inner = f"{module}.{name}".strip(".")
    return inner if inner in MODULES and name not in RE_EXPORTED.get(module, ()) else module


def package_of(module):
    """The package that contains a module, or the module itself if it is a package."""
    return module if module in PACKAGES else module.rpartition(".")[0]


@pytest.mark.parametrize("module", [name for name in MODULES if name and name != "__main__"])
def test_a_package_imports_only_from_lower_packages(module):
    own = module.split(".")[0]
    for reached in (target(*names) for names in imports(MODULES[module])):
        other = reached.split(".")[0]
        assert other == own or ORDER.index(other) < ORDER.index(own), f"{module} imports {reached}"


@pytest.mark.parametrize("module", [name for name in MODULES if name])
def test_other_packages_are_imported_through_their_init_file(module):
    own = package_of(module)
    for reached in (target(*names) for names in imports(MODULES[module])):
        inside = reached not in PACKAGES and package_of(reached) not in ("", own)
        below = own.startswith(f"{package_of(reached)}.")  # a file of a package that contains this one
        assert not inside or below, f"{module} imports {reached}, a file inside another package"


def test_imports_have_no_cycle():
    dependencies = defaultdict(set)
    for module, path in MODULES.items():
        if module in PACKAGES:  # importers depend on the files that define the re-exported names
            continue
        for imported, name in imports(path):
            dependencies[module].add(definer(target(imported, name), name))
    seen, stack = set(), []

    def visit(module):
        assert module not in stack, f"cycle: {' -> '.join([*stack[stack.index(module) :], module])}"
        if module not in seen:
            stack.append(module)
            for other in sorted(dependencies[module] - {module}):
                visit(other)
            stack.pop()
            seen.add(module)

    for module in sorted(MODULES):
        visit(module)


def definer(module, name):
    """The module that defines a name, which a package may re-export."""
    if module in PACKAGES:
        for inner, imported in imports(MODULES[module]):
            if imported == name:
                return definer(inner, name)
    return module


def test_only_the_command_line_prints():
    for path in FILES:
        if path.relative_to(PACKAGE).parts[0] == "cli":
            continue
        calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
        assert not [c.lineno for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"], path


def test_files_have_at_most_260_lines():
    assert {path.name: n for path in FILES if (n := len(path.read_text().splitlines())) > 260} == {}
