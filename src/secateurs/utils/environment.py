"""Description of the machine and of the library versions that produced a result."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import version


def environment() -> dict[str, str]:
    """Collect versions, platform, number of CPU threads and accelerator of this process, by name."""
    import torch

    return {
        "secateurs": version("secateurs"),
        "torch": str(torch.__version__),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "threads": str(torch.get_num_threads()),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
    }
