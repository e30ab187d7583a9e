"""What the samples study reports: the agreement of few samples with many, as a sentence, a table and a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import mean

from secateurs.experiments.report import page_figure
from secateurs.experiments.studies.agreement import Agreement
from secateurs.experiments.studies.picture import curve, standalone
from secateurs.utils import format_mean, legend

MEASURES = {"cosine": "cosine", "spearman": "Spearman's ρ", "overlap": "overlap of removed units"}


@dataclass(frozen=True)
class Record:
    """The agreement of the scores of few samples with the scores of many others.

    Attributes:
        criterion: what scored.
        source: kind of the few samples.
        size: number of the few samples.
        seed: of the draw.
        agreement: mean over the groups.
    """

    criterion: str
    source: str
    size: int
    seed: int
    agreement: Agreement


def headers(sizes: Sequence[int]) -> list[str]:
    """The headers of the table."""
    middle = sizes[len(sizes) // 2]
    first = [f"cosine at {middle}", "by chance", f"ρ at {middle}"]
    return ["criterion", "samples", *first, *(f"overlap at {size}" for size in sizes), "by chance"]


def table(records: Sequence[Record]) -> list[list[str]]:
    """One row per criterion and source: mean and standard deviation over the seeds."""
    sizes, criteria, sources = _axes(records)
    rows = []
    for criterion, source in product(criteria, sources):
        by_size = {size: _agreements(records, criterion, source, size) for size in sizes}
        middle = by_size[sizes[len(sizes) // 2]]
        cells = [format_mean([a.cosine for a in middle], 3), f"{mean(a.cosine_by_chance for a in middle):.3f}"]
        cells += [format_mean([a.spearman for a in middle])]
        cells += [format_mean([a.overlap for a in by_size[size]]) for size in sizes]
        chance = mean(a.overlap_by_chance for agreements in by_size.values() for a in agreements)
        rows.append([criterion, source, *cells, f"{chance:.2f}"])
    return rows


def sentence(records: Sequence[Record], many: int) -> str:
    """Compare the middle number of samples with many, for every source and criterion."""
    sizes, criteria, sources = _axes(records)
    middle, largest = sizes[len(sizes) // 2], sizes[-1]
    texts = []
    for name in criteria:
        by_source = {source: _agreements(records, name, source, middle) for source in sources}
        most = mean(a.overlap for a in _agreements(records, name, "random", largest))
        few = by_source.pop("random")
        others = ", ".join(f"{mean(a.overlap for a in by_source[source]):.2f} with {source}" for source in by_source)
        texts.append(
            f"{name} has a cosine of {mean(a.cosine for a in few):.3f} (by chance "
            f"{mean(a.cosine_by_chance for a in few):.3f}) but an overlap of the removed units of "
            f"{mean(a.overlap for a in few):.2f} ({most:.2f} with {largest}; {others})"
        )
    chance = mean(record.agreement.overlap_by_chance for record in records)
    return (
        f"Scored on {middle} samples instead of {many:,} others, {'; '.join(texts)}; the overlap by chance is "
        f"{chance:.2f}."
    )


def picture(records: Sequence[Record]) -> str:
    """Agreement against the number of samples, as SVG: a line per source, a column per criterion, a row per measure."""
    sizes, criteria, sources = _axes(records)
    with page_figure(2 * len(MEASURES) + 0.4) as figure:
        grid = figure.subplots(len(MEASURES), len(criteria), squeeze=False, sharex=True, sharey="row")
        for line, label in zip(grid, MEASURES.values(), strict=True):
            line[0].set_ylabel(label)
        for column, criterion in zip(grid.T, criteria, strict=True):
            for axes, measure in zip(column, MEASURES, strict=True):
                for number, source in enumerate(sources):
                    values = [
                        [getattr(a, measure) for a in _agreements(records, criterion, source, size)] for size in sizes
                    ]
                    curve(axes, sizes, values, number, source)
                random = [_agreements(records, criterion, "random", size) for size in sizes]
                chance = [mean(getattr(a, f"{measure}_by_chance") for a in agreements) for agreements in random]
                axes.plot(sizes, chance, color="grey", lw=1, ls="--", label="chance")
                axes.set_xscale("log", base=2)
                axes.set_xticks(sizes, list(map(str, sizes)))
            column[0].set_title(criterion, fontsize=10)
            column[-1].set_xlabel("samples")
        legend(figure, *grid[0, 0].get_legend_handles_labels())
        return standalone(figure, "agreement with many samples against their number")


def notes(many: int, seeds: int, left_out: Mapping[str, str], with_labels: Sequence[str]) -> list[str]:
    """Explanations of the table.

    Args:
        many: number of samples of the reference.
        seeds: repetitions.
        left_out: sources that the data does not allow, and why.
        with_labels: criteria that need labels.
    """
    texts = [
        f"Each of {seeds} seeds scores {many:,} samples, and few of the others. Mean ± standard deviation over the "
        "seeds, of the mean over the groups. Overlap: of the half of each group's units that one scoring removes, the "
        "share that the other removes too. By chance: the average over random orders of the same scores.",
        "Samples: random draws; stratified, equally many of each class; gaussian, standard normal numbers; shuffled, "
        "the values of each sample in random order.",
        *(f"Left out: {source} ({reason})." for source, reason in left_out.items()),
    ]
    labels = f"For {', '.join(with_labels)}, Gaussian inputs have the labels of a random draw."
    return [*texts, labels] if with_labels else texts


def _axes(records: Sequence[Record]) -> tuple[list[int], list[str], list[str]]:
    """The sizes in ascending order, the criteria and the sources."""
    sizes = sorted({record.size for record in records})
    criteria, sources = (list(dict.fromkeys(getattr(r, name) for r in records)) for name in ("criterion", "source"))
    return sizes, criteria, sources


def _agreements(records: Sequence[Record], criterion: str, source: str, size: int) -> list[Agreement]:
    wanted = (criterion, source, size)
    return [record.agreement for record in records if (record.criterion, record.source, record.size) == wanted]
