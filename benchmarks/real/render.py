"""`python -m benchmarks.real.render` (`make results`) writes benchmarks/RESULTS.md and its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from benchmarks.real import NAMES
from benchmarks.real.experiment import RECIPES, Experiment, experiment
from benchmarks.real.pictures import Picture
from benchmarks.real.record import RESULTS, Settings, latest, path_of
from benchmarks.real.tables import common

BENCHMARKS = Path(__file__).parents[1]
PAGE = BENCHMARKS / "RESULTS.md"

HEAD = """\
# Results

Rendered by `make results` from `benchmarks/results`; no figure is typed by hand. Accuracies are per cent, of the last
epoch, on test images by which nothing was chosen; mean ± standard deviation over the seeds that the last column counts.
"""


def page() -> str:
    """All experiments of which something was measured, and the tables of the older benchmarks."""
    return "\n".join([HEAD, *filter(None, (section(experiment(name)) for name in NAMES)), _others()])


def section(its: Experiment) -> str:
    """One experiment; nothing where nothing was measured."""
    cells = _cells(its)
    lines = latest(path_of(its.name), cells)
    if not lines:
        return ""
    shared = ", ".join(f"{name} {value}" for name, value in common([line.settings for line in lines]).items())
    settings = f"The same in all: {shared}. " if shared else ""
    commits = ", ".join(dict.fromkeys(line.commit for line in lines))
    versions = ", ".join(dict.fromkeys(f"torch {line.versions['torch']}" for line in lines))
    hours = sum(line.seconds for line in lines) / 3600
    paths = [(picture.title, _file(picture).relative_to(BENCHMARKS).as_posix()) for picture in _drawn(its)]
    shown = "".join(f"![{title}]({path})\n\n" for title, path in paths)
    command = f"python -m benchmarks.real {its.name}"
    return (
        f"## {its.title}\n\n{its.about.strip()}\n\n`{command}`: {len(lines)} of {len(cells)} cells measured, in "
        f"{hours:.1f} hours. {settings}Commits {commits}; {versions}.\n\n{shown}{its.tables(lines)}"
    )


def pictures() -> dict[Path, str]:
    """The SVG of all experiments, by file."""
    return {_file(picture): picture.svg for name in NAMES for picture in _drawn(experiment(name))}


@cache
def _drawn(its: Experiment) -> Sequence[Picture]:
    """The pictures of what was measured, which both the page and the files are made of."""
    lines = latest(path_of(its.name), _cells(its))
    return its.pictures(lines) if lines else ()


def _cells(its: Experiment) -> list[Settings]:
    return [cell for recipe in RECIPES for cell in its.cells(recipe)]


def _file(picture: Picture) -> Path:
    return RESULTS / f"{picture.name}.svg"


def _others() -> str:
    pages = sorted(path for path in RESULTS.parent.rglob("*.md"))
    links = [f"- [{_title(path)}]({path.relative_to(BENCHMARKS).as_posix()})\n" for path in pages]
    return "## Other benchmarks\n\n" + "".join(links)


def _title(path: Path) -> str:
    first = path.read_text(encoding="utf-8").splitlines()[0]
    return first.removeprefix("# ").strip()


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    for path, svg in pictures().items():
        path.write_text(svg, encoding="utf-8")
