"""A small network, and redundant units planted into it without changing what it computes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from secateurs.errors import UsageError
from secateurs.experiments.studies.network import Net
from secateurs.experiments.studies.units import Units, assemble, mixtures

REDUNDANCIES = {
    "duplicates": "a unit and its exact copy",
    "combinations": "six units: the positive and the negative parts of three numbers that add up to zero",
    "near-duplicates": "a unit and a copy with noise on its weights, so that their activations correlate at 0.9",
    "dead": "a unit that never fires",
    "constant": "a unit that always gives 1",
}
"""The kinds of redundant sets of units, with descriptions."""

SETS = {"duplicates": 8, "combinations": 4, "near-duplicates": 8, "dead": 8, "constant": 8}
CORRELATION = 0.9
TERMS = 3
CONSTANT = 1.0


@dataclass(frozen=True)
class Planted:
    """A network with redundant units.

    Attributes:
        model: in float64; the second convolution contains the redundant units, in random order.
        sets: for each kind, the units of each redundant set.
        untouched: the live units that were not changed.
        correlations: correlation of the activations of each near-duplicate and the original.
    """

    model: Net
    sets: Mapping[str, Sequence[Sequence[int]]]
    untouched: Sequence[int]
    correlations: Sequence[float]


@torch.no_grad()
def plant(net: Net, images: Tensor, seed: int = 0, kinds: Collection[str] = tuple(REDUNDANCIES)) -> Planted:
    """Plant redundant units that, as far as possible, neither weights nor single activations reveal.

    Weights that can be chosen freely are *mixtures*: random weighted sums of the weights of all live units, with the
    norm of a live unit. So the incoming and outgoing weights of a planted unit have the norms of live units, and batch
    norm has the scale and (up to a mean, in combinations) the shift of live units. Only running statistics, which are
    not parameters, are adjusted.

    - duplicates: the outgoing weights w of a unit become w/2 + δ, and those of the copy w/2 − δ, with a mixture
      δ ⊥ w of norm √¾ ‖w‖, so that both keep the norm of w.
    - combinations: x + y + z = 0 are three mixtures of the inputs, minus their mean. As ReLU(x) − ReLU(−x) = x, six
      units that each fire about half of the time are linearly dependent. The outgoing weights are a mixture u for three
      of them and −u for the other three.
    - near-duplicates: as duplicates, but the incoming weights of the copy are cos θ · the original's + sin θ · an
      orthogonal mixture.
    - dead: incoming and outgoing weights are mixtures; a far too large running mean keeps the units from firing.
    - constant: the incoming weights are a mixture of planted inputs that never fire; a running mean sets the value to
      1. The contribution to the next layer is subtracted from the biases there.

    All but near-duplicates leave the function unchanged, up to rounding. Two things cannot be hidden: mixtures are not
    trained weights, and the activations of dead and constant units reveal them.

    Args:
        net: a trained network.
        images: [N, 1, 8, 8], for statistics of batch norm and for correlations.
        seed: of all random choices.
        kinds: keys of `REDUNDANCIES`.

    Raises:
        UsageError: a kind is unknown.
    """
    if unknown := set(kinds) - set(REDUNDANCIES):
        raise UsageError(
            f"unknown kind of redundancy {', '.join(sorted(unknown))}: choose from {', '.join(REDUNDANCIES)}"
        )
    garden = _Garden(net, images, seed)
    plants: dict[str, Callable[[int], list[list[int]]]] = {
        "duplicates": garden.duplicates,
        "combinations": garden.combinations,
        "near-duplicates": garden.near_duplicates,
        "dead": garden.dead,
        "constant": garden.constant,
    }
    sets = {kind: plants[kind](SETS[kind]) for kind in REDUNDANCIES if kind in kinds}
    return garden.planted(sets)


class _Garden:
    """Planting in progress; every method plants a number of sets of one kind and returns the units."""

    def __init__(self, net: Net, images: Tensor, seed: int):
        self.net = copy.deepcopy(net).double()
        self.generator = torch.Generator().manual_seed(seed)
        self.inputs = self.net.inputs(images.double())
        self.units = Units.of(self.net)
        self.bias = self.net.state_dict()["conv3.bias"].clone()
        alive = (self.units.activations(self.inputs).var((0, 2, 3)) > 0).nonzero().flatten()
        self.live = self.units[alive]
        self.untouched = alive[self._order(len(alive))]
        self.correlations: list[float] = []

    def duplicates(self, count: int) -> list[list[int]]:
        chosen = self._take(count)
        return self._share(chosen, self.units[chosen])

    def near_duplicates(self, count: int) -> list[list[int]]:
        chosen = self._take(count)
        originals = self.units[chosen]
        noise = _across(self._mixed("weight", originals), originals.weight)
        copies, correlations = originals.mixed(noise, self.inputs, CORRELATION)
        self.correlations += correlations.tolist()
        return self._share(chosen, copies)

    def combinations(self, count: int) -> list[list[int]]:
        sets = []
        for _ in range(count):
            sums = self._with_new_weights(TERMS).adding_up(self.inputs)
            used = sums.out[:1].expand_as(sums.out)
            sets.append(self._add(sums.replace(out=used) + sums.opposite().replace(out=-used)))
        return sets

    def dead(self, count: int) -> list[list[int]]:
        return _singles(self._add(self._with_new_weights(count).normalised(self.inputs).dead()))

    def constant(self, count: int) -> list[list[int]]:
        units = self._with_new_weights(count).constant(CONSTANT)
        self.bias -= CONSTANT * units.out.sum((0, 2, 3))
        return _singles(self._add(units))

    def planted(self, sets: Mapping[str, list[list[int]]]) -> Planted:
        order = self._order(len(self.units))
        place = order.argsort().tolist()  # the new place of each unit
        model = assemble(self.net, self.units[order], self.bias)
        moved = {kind: [[place[unit] for unit in units] for units in planted] for kind, planted in sets.items()}
        return Planted(model, moved, [place[unit] for unit in self.untouched.tolist()], self.correlations)

    def _order(self, count: int) -> Tensor:
        return torch.randperm(count, generator=self.generator)

    def _take(self, count: int) -> Tensor:
        chosen, self.untouched = self.untouched[:count], self.untouched[count:]
        return chosen

    def _with_new_weights(self, count: int) -> Units:
        """Copies of live units with mixtures as weights."""
        chosen = self.live[self._order(len(self.live))[:count]]
        return chosen.replace(weight=self._mixed("weight", chosen), out=self._mixed("out", chosen))

    def _mixed(self, part: str, like: Units) -> Tensor:
        """Mixtures of the weights of all live units, with the norms of the given units."""
        norms = getattr(like, part).flatten(1).norm(dim=1)
        return mixtures(getattr(self.live, part), norms, self.generator)

    def _add(self, units: Units) -> list[int]:
        before = len(self.units)
        self.units = self.units + units
        return list(range(before, len(self.units)))

    def _share(self, chosen: Tensor, copies: Units) -> list[list[int]]:
        """Divide the outgoing weights between the chosen units and the copies, plus parts that cancel."""
        out = self.units[chosen].out
        delta = _across(self._mixed("out", self.units[chosen]), out) * 0.75**0.5
        self.units.out[chosen] = out / 2 + delta
        added = self._add(copies.replace(out=out / 2 - delta))
        return [list(pair) for pair in zip(chosen.tolist(), added, strict=True)]


def _singles(units: list[int]) -> list[list[int]]:
    return [[unit] for unit in units]


def _across(random: Tensor, weights: Tensor) -> Tensor:
    """The part of each row that is orthogonal to the row of the weights, scaled to the norm of that row."""
    a, w = random.flatten(1), weights.flatten(1)
    a = a - w * (a * w).sum(1, keepdim=True) / w.square().sum(1, keepdim=True)
    return (a * w.norm(dim=1, keepdim=True) / a.norm(dim=1, keepdim=True)).reshape(weights.shape)
