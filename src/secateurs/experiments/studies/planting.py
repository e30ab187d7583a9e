"""Plant redundant units into a small network without changing the function that it computes."""

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
    planter = _Planter(net, images, seed)
    methods: dict[str, Callable[[int], list[list[int]]]] = {
        "duplicates": planter.duplicates,
        "combinations": planter.combinations,
        "near-duplicates": planter.near_duplicates,
        "dead": planter.dead,
        "constant": planter.constant,
    }
    sets = {kind: methods[kind](SETS[kind]) for kind in REDUNDANCIES if kind in kinds}
    return planter.planted(sets)


class _Planter:
    """A network while units are planted into it; a method for each kind plants sets and returns their units."""

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
        """Plant exact copies of units."""
        chosen = self._take(count)
        return self._share(chosen, self.units[chosen])

    def near_duplicates(self, count: int) -> list[list[int]]:
        """Plant copies of units with noise on the weights."""
        chosen = self._take(count)
        originals = self.units[chosen]
        noise = _orthogonal(self._mixed("weight", originals), originals.weight)
        copies, correlations = originals.mixed(noise, self.inputs, CORRELATION)
        self.correlations += correlations.tolist()
        return self._share(chosen, copies)

    def combinations(self, count: int) -> list[list[int]]:
        """Plant linearly dependent sets of six units."""
        sets = []
        for _ in range(count):
            sums = self._with_new_weights(TERMS).adding_up(self.inputs)
            used = sums.out[:1].expand_as(sums.out)
            sets.append(self._add(sums.replace(out=used) + sums.opposite().replace(out=-used)))
        return sets

    def dead(self, count: int) -> list[list[int]]:
        """Plant units that never fire."""
        return _singles(self._add(self._with_new_weights(count).normalised(self.inputs).dead()))

    def constant(self, count: int) -> list[list[int]]:
        """Plant units with a constant value."""
        units = self._with_new_weights(count).constant(CONSTANT)
        self.bias -= CONSTANT * units.out.sum((0, 2, 3))
        return _singles(self._add(units))

    def planted(self, sets: Mapping[str, list[list[int]]]) -> Planted:
        """Build the network, with its units in random order."""
        order = self._order(len(self.units))
        position = order.argsort().tolist()  # the new index of each unit
        model = assemble(self.net, self.units[order], self.bias)
        moved = {kind: [[position[unit] for unit in units] for units in planted] for kind, planted in sets.items()}
        return Planted(model, moved, [position[unit] for unit in self.untouched.tolist()], self.correlations)

    def _order(self, count: int) -> Tensor:
        return torch.randperm(count, generator=self.generator)

    def _take(self, count: int) -> Tensor:
        """Remove units from the untouched ones, and return their indices."""
        chosen, self.untouched = self.untouched[:count], self.untouched[count:]
        return chosen

    def _with_new_weights(self, count: int) -> Units:
        """Copies of live units with mixtures as weights."""
        units = self.live[self._order(len(self.live))[:count]]
        return units.replace(weight=self._mixed("weight", units), out=self._mixed("out", units))

    def _mixed(self, part: str, like: Units) -> Tensor:
        """Mixtures of the weights of all live units, with the norms of the given units."""
        norms = getattr(like, part).flatten(1).norm(dim=1)
        return mixtures(getattr(self.live, part), norms, self.generator)

    def _add(self, units: Units) -> list[int]:
        """Append units, and return their indices."""
        before = len(self.units)
        self.units = self.units + units
        return list(range(before, len(self.units)))

    def _share(self, chosen: Tensor, copies: Units) -> list[list[int]]:
        """Divide the outgoing weights between the chosen units and the copies, plus parts that cancel."""
        out = self.units[chosen].out
        delta = _orthogonal(self._mixed("out", self.units[chosen]), out) * 0.75**0.5
        self.units.out[chosen] = out / 2 + delta
        added = self._add(copies.replace(out=out / 2 - delta))
        return [list(pair) for pair in zip(chosen.tolist(), added, strict=True)]


def _singles(units: list[int]) -> list[list[int]]:
    return [[unit] for unit in units]


def _orthogonal(random: Tensor, weights: Tensor) -> Tensor:
    """The part of each row that is orthogonal to the row of the weights, scaled to the norm of that row."""
    a, w = random.flatten(1), weights.flatten(1)
    a = a - w * (a * w).sum(1, keepdim=True) / w.square().sum(1, keepdim=True)
    return (a * w.norm(dim=1, keepdim=True) / a.norm(dim=1, keepdim=True)).reshape(weights.shape)
