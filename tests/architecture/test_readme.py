"""The Python blocks of README.md run in order."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)

# The names that README.md uses without defining them.
SETUP = """
import torch
from torch import nn

def build_model():
    model = nn.Sequential()
    model.add_module("conv1", nn.Conv2d(3, 16, 3, padding=1))
    model.add_module("bn1", nn.BatchNorm2d(16))
    model.add_module("relu1", nn.ReLU())
    model.add_module("layer4", nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()))
    model.add_module("pool", nn.AdaptiveAvgPool2d(1))
    model.add_module("flat", nn.Flatten())
    model.add_module("head", nn.Linear(16, 4))
    return model

torch.manual_seed(0)
torch.set_num_threads(1)
model = build_model()
data = test = batches = [(torch.randn(8, 3, 8, 8), torch.randint(4, (8,))) for _ in range(3)]
example_inputs = data[0][0]
loader = data * 4
optimizer = torch.optim.SGD(model.parameters(), 0.01)
loss_fn = nn.functional.cross_entropy
"""


@pytest.mark.slow
def test_the_python_blocks_of_the_readme_run(tmp_path):
    assert len(BLOCKS) >= 4
    (tmp_path / "blocks.py").write_text("\n".join([SETUP, *BLOCKS]).replace("stop=2000", "stop=10"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "blocks.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
