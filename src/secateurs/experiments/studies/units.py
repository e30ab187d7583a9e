"""The units of the second convolution as rows of tensors, which can be selected, changed and joined."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from secateurs.experiments.studies.network import Net

NEVER = 30
"""Units whose running mean is this many standard deviations too large never fire."""


@dataclass(frozen=True)
class Units:
    """Units of a convolution with batch norm, one per row.

    Attributes:
        weight: incoming weights [units, inputs, 3, 3].
        silent: weights of equally many inputs that never fire [units, inputs, 3, 3].
        scale, shift, mean, variance: the parameters and running statistics of batch norm, [units].
        out: outgoing weights [units, outputs, 3, 3].
    """

    weight: Tensor
    silent: Tensor
    scale: Tensor
    shift: Tensor
    mean: Tensor
    variance: Tensor
    out: Tensor

    EPSILON = nn.BatchNorm2d(1).eps

    @classmethod
    def of(cls, net: Net) -> Units:
        """Copies of the units of a network."""
        state = net.state_dict()
        weight, out = state["conv2.weight"], state["conv3.weight"].movedim(1, 0)
        norm = [state[f"bn2.{name}"] for name in ("weight", "bias", "running_mean", "running_var")]
        return cls(*(tensor.clone() for tensor in (weight, torch.zeros_like(weight), *norm, out)))

    def __len__(self) -> int:
        return len(self.scale)

    def __getitem__(self, chosen: Tensor) -> Units:
        return Units(*(tensor[chosen] for tensor in vars(self).values()))

    def __add__(self, other: Units) -> Units:
        return Units(*(torch.cat(both) for both in zip(vars(self).values(), vars(other).values(), strict=True)))

    def replace(self, **parts: Tensor) -> Units:
        """The same units with some tensors replaced."""
        return dataclasses.replace(self, **parts)

    def constant(self, value: float) -> Units:
        """Units with the weights moved to silent inputs, so that each unit always gives this value."""
        mean = (self.shift - value) * (self.variance + self.EPSILON).sqrt() / self.scale
        return self.replace(weight=torch.zeros_like(self.weight), silent=self.weight, mean=mean)

    def dead(self) -> Units:
        """Units whose running mean keeps them from firing."""
        return self.replace(mean=self.mean + NEVER * self.variance.sqrt())

    def normalised(self, inputs: Tensor) -> Units:
        """The same units with the batch norm statistics of these inputs."""
        sums = _sums(inputs, self.weight)
        return self.replace(mean=sums.mean((0, 2, 3)), variance=sums.var((0, 2, 3)))

    def mixed(self, noise: Tensor, inputs: Tensor, correlation: float) -> tuple[Units, Tensor]:
        """Units with weights cos θ · weight + sin θ · noise, with θ chosen by the correlation of the activations.

        Args:
            noise: weights of the same shape.
            inputs: to measure the correlation on.
            correlation: the wanted correlation; θ is the best whole number of degrees.

        Returns:
            The units, and the correlations reached.
        """
        angles = torch.arange(91).deg2rad().to(noise)[:, None, None]
        own, other = (_sums(inputs, part).movedim(1, 0).flatten(1) for part in (self.weight, noise))
        sums = angles.cos() * own + angles.sin() * other  # [angles, units, samples × positions]
        values = (_centred(sums) / sums.std(2, keepdim=True) * self.scale[:, None] + self.shift[:, None]).relu()
        reference = self.activations(inputs).movedim(1, 0).flatten(1)
        correlations = functional.cosine_similarity(_centred(values), _centred(reference), dim=2)
        best = (correlations - correlation).abs().argmin(0)
        angle = angles[best, :, :, None]
        units = self.replace(weight=angle.cos() * self.weight + angle.sin() * noise).normalised(inputs)
        return units, correlations.gather(0, best[None])[0]

    def adding_up(self, inputs: Tensor) -> Units:
        """Units with changed weights, so that their values before ReLU add up to 0 for all inputs.

        The mean over the units is subtracted from each. Norms and scales stay, and variances stay roughly.
        """
        units = self.normalised(inputs)
        exact = units.weight * (units.scale / (units.variance + self.EPSILON).sqrt())[:, None, None, None]
        exact = exact - exact.mean(0)
        exact = exact * (units.scale.square().mean() / _sums(inputs, exact).var((0, 2, 3)).mean()).sqrt()
        size = exact.flatten(1).norm(dim=1) / units.weight.flatten(1).norm(dim=1)  # the factor of batch norm
        return self.replace(
            weight=exact / size[:, None, None, None],
            mean=_sums(inputs, exact).mean((0, 2, 3)) / size,
            variance=(units.scale / size).square() - self.EPSILON,
            shift=units.shift - units.shift.mean(),
        )

    def opposite(self) -> Units:
        """Units with the opposite sign before ReLU: ReLU(−x) instead of ReLU(x)."""
        return self.replace(weight=-self.weight, mean=-self.mean, shift=-self.shift)

    def activations(self, inputs: Tensor) -> Tensor:
        """Activations [N, units, H, W] for inputs [N, inputs, H, W]."""
        sums = _sums(inputs, self.weight)
        norm = functional.batch_norm(sums, self.mean, self.variance, self.scale, self.shift, eps=self.EPSILON)
        return norm.relu()


def _sums(inputs: Tensor, weight: Tensor) -> Tensor:
    return functional.conv2d(inputs, weight, padding=1)


def _centred(values: Tensor) -> Tensor:
    return values - values.mean(-1, keepdim=True)


def mixtures(weights: Tensor, norms: Tensor, generator: torch.Generator) -> Tensor:
    """Random weighted sums of rows, with given norms.

    Args:
        weights: [rows, ...].
        norms: norm of each sum [sums].
        generator: draws the normal factors of the rows.
    """
    factors = torch.randn(len(norms), len(weights), dtype=weights.dtype, generator=generator)
    sums = factors @ weights.flatten(1)
    sums = sums * (norms / sums.norm(dim=1))[:, None]
    return sums.reshape(len(norms), *weights.shape[1:])


def assemble(net: Net, units: Units, bias: Tensor) -> Net:
    """Build a network with these units, and with twice as many inputs, of which the second half never fires.

    Args:
        net: the original network.
        units: the units of the new second convolution.
        bias: the bias of the new third convolution.
    """
    inputs = net.conv1.out_channels
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    for name in [name for name in state if name.startswith(("conv1.", "bn1.")) and state[name].ndim]:
        state[name] = torch.cat([state[name]] * 2)
    state["bn1.running_mean"][inputs:] += NEVER * state["bn1.running_var"][inputs:].sqrt()
    state["conv2.weight"] = torch.cat([units.weight, units.silent], 1)
    norm = {"weight": units.scale, "bias": units.shift, "running_mean": units.mean, "running_var": units.variance}
    state |= {f"bn2.{name}": tensor for name, tensor in norm.items()}
    state |= {"conv3.weight": units.out.movedim(0, 1), "conv3.bias": bias}
    wide = Net(2 * inputs, len(units), net.conv3.out_channels).double()
    wide.load_state_dict(state)
    return wide.eval()
