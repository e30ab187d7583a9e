"""The machine and the versions that a result was made with."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import version


def environment() -> dict[str, str]:
    """What the figures were measured with."""
    import torch

    return {
        "secateurs": version("secateurs"),
        "torch": str(torch.__version__),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "threads": str(torch.get_num_threads()),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
    }
