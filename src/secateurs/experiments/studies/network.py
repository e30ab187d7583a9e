"""The network of the planted study."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from secateurs.experiments.digits import Digits
from secateurs.training import Recovery, finetune
from secateurs.utils import rng

UNITS, EPOCHS = 64, 10


class Net(nn.Module):
    """Three convolutions for 8×8 grey images of ten digits.

    The third convolution has no padding, so that it maps constant inputs to constant outputs.
    """

    def __init__(self, inputs: int = 32, units: int = UNITS, outputs: int = 32):
        super().__init__()
        self.conv1 = nn.Conv2d(1, inputs, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv2 = nn.Conv2d(inputs, units, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(units)
        self.conv3 = nn.Conv2d(units, outputs, 3)
        self.head = nn.Linear(outputs, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Map images [N, 1, 8, 8] to class scores [N, 10]."""
        x = functional.relu(self.bn2(self.conv2(self.inputs(x))))
        return self.head(functional.relu(self.conv3(x)).mean((2, 3)))

    def inputs(self, x: Tensor) -> Tensor:
        """Map images [N, 1, 8, 8] to the inputs of the second convolution, [N, inputs, 4, 4], all ≥ 0."""
        return functional.relu(self.bn1(self.conv1(x)))


def train(digits: Digits, seed: int, epochs: int = EPOCHS) -> Net:
    """Train the network from scratch."""
    with rng(seed):
        net = Net()
    finetune(net, digits.batches(seed), Recovery(epochs, lr=0.05), seed=seed)
    return net.eval()
