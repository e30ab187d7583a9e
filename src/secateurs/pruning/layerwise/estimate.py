"""What pruning layer by layer takes, told before it starts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from secateurs.criteria import AnyCriterion
from secateurs.data import Batch, Call
from secateurs.observe import Moments, Wanted
from secateurs.pruning.layerwise.execution_plan import OUTSIDE, Passage
from secateurs.pruning.layerwise.offloaded_model import Hollow
from secateurs.pruning.layerwise.score import needs_of
from secateurs.pruning.layerwise.statistics_schedule import Due, Needs
from secateurs.structure import Structure, Tap
from secateurs.utils import render

DOUBLE = 8
"""Bytes of a number in float64, in which scores, compensation and verification are computed."""

COPIES = 4
"""Matrices that scoring and compensation have at a time beside the one that they work on."""

SOLVING = 3
"""As many more of second moments are there where something is solved for."""


@dataclass(frozen=True)
class Estimate:
    """What pruning layer by layer takes at most, by its parts.

    What is in memory are tensors: what the allocator keeps for later, and libraries take, comes on top.

    Attributes:
        memory: of each step ("scoring", "verifying", "compensating"), what is in memory, by what it is, in bytes.
        disk: bytes of what is kept in files meanwhile, beside the pruned model.
        weights: bytes of all weights, for comparison.
        passes: how often the data goes through the model.
        seconds: how long that takes, going by how long a few samples took.
    """

    memory: Mapping[str, Mapping[str, int]]
    disk: int
    weights: int
    passes: int
    seconds: float

    @property
    def peak(self) -> int:
        """The most bytes that are in memory at a time."""
        return max(sum(parts.values()) for parts in self.memory.values())

    def __str__(self) -> str:
        rows = [
            (step, what, f"{size / 2**20:,.1f}") for step, parts in self.memory.items() for what, size in parts.items()
        ]
        text = render("in memory, at most", ("step", "what", "MB"), rows)
        forward = f"about {self.seconds:,.0f} s, as fast as a few samples went" if self.passes else "none"
        return text + (
            f"\npeak {self.peak / 2**20:,.1f} MB of tensors; all weights: "
            f"{self.weights / 2**20:,.1f} MB; in files meanwhile: {self.disk / 2**20:,.1f} MB\n"
            f"passes of the data through the model: {self.passes} ({forward})\n"
        )


def estimate(
    hollow: Hollow,
    passage: Passage,
    sample: Call,
    data: Sequence[Batch],
    structure: Structure,
    criterion: AnyCriterion,
    compensate: bool,
    in_files: bool,
    disk: int,
) -> Estimate:
    """Add up what is known beforehand.

    Args:
        hollow: the model.
        passage: how it goes through its layers.
        sample: what that was found on.
        data: what the model is to be run on.
        structure: of the model.
        criterion: what is to score.
        compensate: whether that is to be done.
        in_files: whether what layers return is kept in files.
        disk: bytes that are in files already.
    """
    sizes = _Sizes(hollow, passage, sample, data)
    between = sizes.between
    kept = {"what layers return, for those after them": sizes.largest_between if in_files else between}
    batches = sum(sum(t.nbytes for t in batch.call.tensors()) for batch in data)
    weights = {
        "weights outside of the layers": sizes.outside,
        "weights of the largest layer": sizes.layer,
        "zeros in the place of all others": sizes.zeros,
    }
    running = {"activations of a batch": sizes.activations, "data": batches}
    scoring, compensating = needs_of(criterion, structure), _to_compensate(structure) if compensate else {}
    cut = [{member.tensor for member in group.members} for group in structure.groups.values()]
    matrix = max((structure.size(name) for names in cut for name in names), default=0)
    widest = max((sum(map(structure.size, names)) for names in cut), default=0)

    def step(needs: Needs, work: int) -> dict[str, int]:
        if not needs:
            return {**weights, "matrices in float64": work}
        return {**weights, **running, **kept, **sizes.statistics(structure, needs), "matrices in float64": work}

    memory = {"scoring": step(scoring, max(COPIES * DOUBLE * matrix, 2 * DOUBLE * widest))}
    memory["verifying"] = sizes.verifying(matrix)
    if compensate:
        memory["compensating"] = step(compensating, COPIES * DOUBLE * matrix) | {
            "a layer of the cut model": sizes.layer
        }
    passes = bool(scoring) + bool(compensating)
    return Estimate(
        memory=memory,
        disk=disk + (between if in_files and passes else 0),
        weights=sizes.weights,
        passes=passes,
        seconds=passes * passage.seconds * sum(map(sizes.ratio, data)),
    )


class _Sizes:
    """Bytes of what a model and its runs consist of."""

    def __init__(self, hollow: Hollow, passage: Passage, sample: Call, data: Sequence[Batch]):
        self._passage, self._data, self._sample = passage, data, sum(t.numel() for t in sample.tensors())
        places = dict(hollow.model.named_parameters(remove_duplicate=False))
        self._of = {name: places[name].nbytes for name in hollow.parameters}
        self._width = max((its.element_size() for its in places.values()), default=1)
        self.weights = sum(self._of.values())
        self.layer = max(self._sum(names) for names in passage.inside.values())
        buffers = sum(its.nbytes for its in hollow.model.buffers())
        self.outside = self._sum(passage.outside) + buffers
        self.zeros = max(self._of.values())
        self.largest = max(map(self.ratio, data))
        self.activations = int(self.largest * max(passage.peaks.values()))

    def ratio(self, batch: Batch) -> float:
        """How much larger a batch is than the sample."""
        return sum(t.numel() for t in batch.call.tensors()) / self._sample

    @property
    def between(self) -> int:
        """What layers return, on all data: what lasts, and what two layers return at a time for the next one."""
        return int(sum(map(self.ratio, self._data)) * self._returned + self.largest * self._passing)

    @property
    def largest_between(self) -> int:
        """The same on one batch."""
        return int(self.largest * (self._returned + self._passing))

    @property
    def _passing(self) -> int:
        leaves = self._passage.returned.items()
        each = {leaf.layer: 0 for leaf, _ in leaves}
        for leaf, size in leaves:
            each[leaf.layer] += size if leaf not in self._passage.lasting else 0
        return max(each.values(), default=0)

    @property
    def _returned(self) -> int:
        lasting = sum(size for leaf, size in self._passage.returned.items() if leaf in self._passage.lasting)
        return lasting + self._passing

    def statistics(self, structure: Structure, needs: Needs) -> dict[str, int]:
        """What is remembered of activations, and what it takes to add a batch."""
        samples = sum(batch.size for batch in self._data)
        due = Due((*self._passage.layers, OUTSIDE), needs)
        taps: dict[Tap, int] = {}
        for wanted in needs.values():
            for tap, kinds in wanted.items():
                taps[tap] = max(taps.get(tap, 0), _largest({tap: kinds}, samples))
        batch = max(batch.size for batch in self._data)
        adding = max(COPIES * (size + 4 * tap.size * tap.positions * batch) for tap, size in taps.items())
        moments = (tap.size for wanted in needs.values() for tap, kinds in wanted.items() if Moments in kinds)
        adding += SOLVING * Moments.size(samples, max(moments, default=0), 1)
        return {
            "statistics of activations": due.memory(samples),
            "adding a batch to them, solving for them": int(adding),
        }

    def verifying(self, matrix: int) -> dict[str, int]:
        """All in float64, on a few samples."""
        wider = DOUBLE // self._width or 1
        returned = sum(self._passage.returned.values())
        return {
            "weights outside of the layers": wider * self.outside,
            "weights of the largest layer": wider * self.layer,
            "zeros in the place of all others": self.zeros,
            "weights that are compared": 2 * self.zeros + 2 * DOUBLE * matrix,
            "activations of a few samples": wider * (max(self._passage.peaks.values()) + 3 * returned),
        }

    def _sum(self, names: Iterable[str]) -> int:
        return sum(self._of[name] for name in names)


def _largest(wanted: Wanted, samples: int) -> int:
    return max(kind.size(samples, tap.size, tap.positions) for tap, kinds in wanted.items() for kind in kinds)


def _to_compensate(structure: Structure) -> Needs:
    """What compensation observes at most: what all weights that sum over units are multiplied with."""
    needs: dict[str, dict[Tap, tuple[type[Moments]]]] = {}
    for group in structure.groups.values():
        for contraction in structure.contractions_of(group):
            needs.setdefault(contraction.weight, {})[contraction.alike.operand] = (Moments,)
    return needs
