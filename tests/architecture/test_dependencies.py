"""`import secateurs` and `sc.prune` need only torch, numpy, safetensors and pydantic."""

import subprocess
import sys
import textwrap

import pytest

from secateurs.errors import UsageError
from secateurs.utils import require

OPTIONAL = """
    accelerate filelock huggingface_hub jinja2 lm_eval matplotlib onnx peft PIL ray rich scipy sklearn timm torchvision
    transformers click
""".split()

# An import hook that hides every optional module.
BLOCK = f"""
import sys
from importlib.machinery import PathFinder

class Installed(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        blocked = name.partition(".")[0] in {OPTIONAL!r}
        return None if blocked else super().find_spec(name, path, target)

sys.meta_path[:] = [Installed if finder is PathFinder else finder for finder in sys.meta_path]
"""

PRUNE = """
import torch
from torch import nn

import secateurs as sc

model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4))
data = [(torch.randn(8, 3, 8, 8), torch.randint(4, (8,))) for _ in range(2)]
"""


def run(code):
    """Run code with a model and data in a process without optional modules."""
    command = [sys.executable, "-W", "ignore", "-c", BLOCK + PRUNE + textwrap.dedent(code)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_prune_needs_no_optional_dependency(tmp_path):
    done = run(f"""
        result = sc.prune(model, data, criterion="l1", budget="macs:0.5")
        print(sc.check(model, data[0][0]), result.plan)
        result.save({str(tmp_path / "small")!r})
        assert result.cost.macs <= 0.5 * result.dense_cost.macs
    """)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("sc.finetune(model, data, sc.Recovery())", "accelerate is not installed: pip install 'secateurs[train]'"),
        (
            "sc.prune(model, data, criterion='ssi', budget='keep:0.5')",
            "scipy is not installed: pip install 'secateurs[graphs]'",
        ),
        ("sc.prune(model, data, directory='run')", "filelock is not installed: pip install 'secateurs[runs]'"),
    ],
)
def test_the_error_of_a_missing_module_says_which_extra_to_install(call, message, tmp_path):
    done = run(f"import os; os.chdir({str(tmp_path)!r}); {call}")
    assert done.returncode == 1
    assert f"UsageError: {message}" in done.stderr


def test_require_returns_an_installed_module():
    assert require("json.decoder", "cli").__name__ == "json.decoder"


def test_require_names_the_extra_of_a_missing_module():
    with pytest.raises(UsageError, match=r"secateurs_missing is not installed: pip install 'secateurs\[cli\]'"):
        require("secateurs_missing.part", "cli")
