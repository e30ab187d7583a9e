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
"""What is planted: the kinds of redundant sets of units."""

SETS = {"duplicates": 8, "combinations": 4, "near-duplicates": 8, "dead": 8, "constant": 8}
CORRELATION = 0.9
TERMS = 3
CONSTANT = 1.0


@dataclass(frozen=True)
class Planted:
    """A network with redundant units.

    Attributes:
        model: in float64; its second convolution holds them, in random order.
        sets: for each kind, the units of each redundant set.
        untouched: the live units that are as they were.
        correlations: of each near-duplicate's activations with its original's.
    """

    model: Net
    sets: Mapping[str, Sequence[Sequence[int]]]
    untouched: Sequence[int]
    correlations: Sequence[float]


@torch.no_grad()
def plant(net: Net, images: Tensor, seed: int = 0, kinds: Collection[str] = tuple(REDUNDANCIES)) -> Planted:
    """Plant redundant units that neither weights nor single activations give away, where that is possible.

    Weights that may be anything are *mixtures*: random weighted sums of those of all live units, with the norm of one
    of them. So the norms of what makes a planted unit and of what uses it are those of live units, and so are the scale
    and (up to a mean, in combinations) the shift of its batch norm. Only running statistics, which are no parameters,
    are made to fit.

    - duplicates: the weights w that use a unit become w/2 + δ, and those that use its copy w/2 − δ, with a mixture
      δ ⊥ w of norm √¾ ‖w‖, so that both keep the norm of w.
    - combinations: x + y + z = 0 are three mixtures of the inputs, less their mean. As ReLU(x) − ReLU(−x) = x, six
      units that each fire about half of the time depend on each other linearly. A mixture u uses three of them, −u the
      other three.
    - near-duplicates: as duplicates, but what makes the copy is cos θ · its weights + sin θ · a mixture orthogonal to
      them.
    - dead: mixtures make and use them; a running mean far too large keeps them from firing.
    - constant: a mixture makes them of inputs that are planted for this and never fire; a running mean makes them give
      1. What the mixtures that use them do with it is taken off the biases there.

    All but near-duplicates leave the function as it is, up to rounding. What cannot be hidden: mixtures are not trained
    weights, and dead and constant units give themselves away by their activations alone.

    Args:
        net: trained.
        images: typical ones [N, 1, 8, 8], for statistics of batch norm and for correlations.
        seed: of all choices.
        kinds: of `KINDS`.

    Raises:
        UsageError: there is no such kind.
    """
    if unknown := set(kinds) - set(REDUNDANCIES):
        raise UsageError(
            f"there is nothing called {', '.join(sorted(unknown))} to plant, only {', '.join(REDUNDANCIES)}"
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
    """Planting as it goes on; every method plants so many sets of a kind and gives their units."""

    def __init__(self, net: Net, images: Tensor, seed: int):
        self.net = copy.deepcopy(net).double()
        self.generator = torch.Generator().manual_seed(seed)
        self.inputs = self.net.inputs(images.double())
        self.units = Units.of(self.net)
        self.bias = self.net.state_dict()["conv3.bias"].clone()
        alive = (self.units.activations(self.inputs).var((0, 2, 3)) > 0).nonzero().flatten()
        self.wild = self.units[alive]
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
            sums = self._borrowed(TERMS).adding_up(self.inputs)
            used = sums.out[:1].expand_as(sums.out)
            sets.append(self._add(sums.replace(out=used) + sums.opposite().replace(out=-used)))
        return sets

    def dead(self, count: int) -> list[list[int]]:
        return _singles(self._add(self._borrowed(count).normalised(self.inputs).dead()))

    def constant(self, count: int) -> list[list[int]]:
        units = self._borrowed(count).constant(CONSTANT)
        self.bias -= CONSTANT * units.out.sum((0, 2, 3))
        return _singles(self._add(units))

    def planted(self, sets: Mapping[str, list[list[int]]]) -> Planted:
        order = self._order(len(self.units))
        place = order.argsort().tolist()  # the new place of each unit
        model = assemble(self.net, self.units[order], self.bias)
        moved = {kind: [[place[unit] for unit in units] for units in its] for kind, its in sets.items()}
        return Planted(model, moved, [place[unit] for unit in self.untouched.tolist()], self.correlations)

    def _order(self, count: int) -> Tensor:
        return torch.randperm(count, generator=self.generator)

    def _take(self, count: int) -> Tensor:
        chosen, self.untouched = self.untouched[:count], self.untouched[count:]
        return chosen

    def _borrowed(self, count: int) -> Units:
        """Live units with other weights."""
        chosen = self.wild[self._order(len(self.wild))[:count]]
        return chosen.replace(weight=self._mixed("weight", chosen), out=self._mixed("out", chosen))

    def _mixed(self, part: str, like: Units) -> Tensor:
        """Mixtures of all live units' weights, with the norms of these units."""
        norms = getattr(like, part).flatten(1).norm(dim=1)
        return mixtures(getattr(self.wild, part), norms, self.generator)

    def _add(self, units: Units) -> list[int]:
        before = len(self.units)
        self.units = self.units + units
        return list(range(before, len(self.units)))

    def _share(self, chosen: Tensor, copies: Units) -> list[list[int]]:
        """Let the copies do half of what the chosen units do, and as much again that cancels."""
        out = self.units[chosen].out
        delta = _across(self._mixed("out", self.units[chosen]), out) * 0.75**0.5
        self.units.out[chosen] = out / 2 + delta
        added = self._add(copies.replace(out=out / 2 - delta))
        return [list(pair) for pair in zip(chosen.tolist(), added, strict=True)]


def _singles(units: list[int]) -> list[list[int]]:
    return [[unit] for unit in units]


def _across(random: Tensor, weights: Tensor) -> Tensor:
    """The part of each row that is orthogonal to that of the weights, at the norm of those."""
    a, w = random.flatten(1), weights.flatten(1)
    a = a - w * (a * w).sum(1, keepdim=True) / w.square().sum(1, keepdim=True)
    return (a * w.norm(dim=1, keepdim=True) / a.norm(dim=1, keepdim=True)).reshape(weights.shape)
