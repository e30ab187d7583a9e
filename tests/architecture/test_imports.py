"""The house: rooms in one order, no circle, and each entered through its face alone."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

# Lowest first: a room imports only from rooms to its left.
ROOMS = (
    "errors utils data huggingface structure observe evaluate budgets criteria surgery training persist pruning "
    "experiments cli"
).split()
PACKAGE = Path(__file__).parents[2] / "src" / "secateurs"
FILES = sorted(PACKAGE.rglob("*.py"))


def module_of(path):
    """The dotted name of a file, without the package's own."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}
PACKAGES = {name for name, path in MODULES.items() if path.name == "__init__.py"}


def imports(path):
    """(module, name) for each name that a file imports from the package, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module.split(".")[0] == "secateurs":
                yield from ((node.module.partition(".")[2], alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (
                (alias.name.partition(".")[2], "") for alias in node.names if alias.name.split(".")[0] == "secateurs"
            )


HANDED_ON = {name: {its for _, its in imports(MODULES[name])} for name in PACKAGES}


def target(module, name):
    """The module that an import reaches: a file of a package, if the name is one and not a definition of that name."""
    inner = f"{module}.{name}".strip(".")
    return inner if inner in MODULES and name not in HANDED_ON.get(module, ()) else module


def package_of(module):
    return module if module in PACKAGES else module.rpartition(".")[0]


@pytest.mark.parametrize("module", [name for name in MODULES if name and name != "__main__"])
def test_a_room_imports_only_from_lower_rooms(module):
    own = module.split(".")[0]
    for reached in (target(*its) for its in imports(MODULES[module])):
        other = reached.split(".")[0]
        assert other == own or ROOMS.index(other) < ROOMS.index(own), f"{module} imports {reached}"


@pytest.mark.parametrize("module", [name for name in MODULES if name])
def test_other_rooms_are_entered_through_their_faces(module):
    own = package_of(module)
    for reached in (target(*its) for its in imports(MODULES[module])):
        inside = reached not in PACKAGES and package_of(reached) not in ("", own)
        below = own.startswith(f"{package_of(reached)}.")  # a file of a folder that this one lies in
        assert not inside or below, f"{module} imports {reached}, a file inside another room"


def test_no_circle_of_imports():
    arrows = defaultdict(set)
    for module, path in MODULES.items():
        if module in PACKAGES:  # a face hands names on; who imports it needs the files that define them
            continue
        for reached, name in ((target(*its), its[1]) for its in imports(path)):
            arrows[module].add(definer(reached, name))
    seen, stack = set(), []

    def visit(module):
        assert module not in stack, f"circle: {' -> '.join([*stack[stack.index(module) :], module])}"
        if module not in seen:
            stack.append(module)
            for other in sorted(arrows[module] - {module}):
                visit(other)
            stack.pop()
            seen.add(module)

    for module in sorted(MODULES):
        visit(module)


def definer(module, name):
    """The file that defines a name which a face hands on."""
    if module in PACKAGES:
        for inner, its in imports(MODULES[module]):
            if its == name:
                return definer(inner, name)
    return module


def test_the_library_never_prints():
    for path in FILES:
        if path.relative_to(PACKAGE).parts[0] == "cli":
            continue
        calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
        assert not [c.lineno for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"], path


def test_files_stay_small():
    assert {path.name: n for path in FILES if (n := len(path.read_text().splitlines())) > 260} == {}
