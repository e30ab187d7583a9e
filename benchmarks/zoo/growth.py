"""How the time for a cut grows with depth: `python -m benchmarks.zoo.growth`, beside Torch-Pruning; and 7 B parameters.

Trace, plan and cut of the same architecture at two depths, each timed five times in turn with the best taken; and a
trace of a Llama of 6.7 billion parameters on the meta device, in a process of its own.
"""

from __future__ import annotations

import copy
import json
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.progress import track
from torch import nn

import benchmarks.torchvision_ops  # noqa: F401  must come before torchvision
import secateurs as sc
from benchmarks.listing import listed
from benchmarks.zoo.measure import LIMIT_S, best, cut_only, prune_by_torch_pruning, within_limit
from secateurs.utils.environment import environment

RESULTS = Path(__file__).parent.parent / "results"


def _llama(layers: int, **sizes: int) -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(LlamaConfig(num_hidden_layers=layers, use_cache=False, **sizes))


def _small_llama(layers: int) -> tuple[nn.Module, Any]:
    model = _llama(layers, hidden_size=64, intermediate_size=128, num_attention_heads=4, vocab_size=128)
    return model, {"input_ids": torch.randint(128, (2, 16))}


def _densenet(layers: int) -> tuple[nn.Module, Any]:
    import torchvision

    return getattr(torchvision.models, f"densenet{layers}")(num_classes=10), (torch.randn(2, 3, 64, 64),)


CASES: list[tuple[str, Callable[[int], tuple[nn.Module, Any]], int, int]] = [
    ("Llama", _small_llama, 4, 32),
    ("DenseNet", _densenet, 121, 201),
]


def measure(build: Callable[[int], tuple[nn.Module, Any]], layers: int) -> dict[str, Any]:
    """Seconds of both at one depth."""
    torch.manual_seed(0)
    model, inputs = build(layers)
    model.eval()
    structure = sc.trace(model, inputs)
    scores = sc.score(model, None, "l1", structure)

    def ours() -> None:
        its = sc.trace(model, inputs)
        cut_only(model, sc.allocate(its, scores, "keep:0.5", scope="local"), its)

    outputs = {name for name, reason in structure.frozen.items() if reason == "model output"}
    # The only input, by position: what Torch-Pruning takes.
    given = (inputs["input_ids"],) if isinstance(inputs, dict) else inputs
    theirs = within_limit(
        lambda: {"seconds": best(lambda: prune_by_torch_pruning(copy.deepcopy(model), given, outputs))[1]}
    )
    macs = structure.cost().macs
    return {"layers": layers, "macs": macs, "ours": best(ours)[1], "torch_pruning": theirs}


def meta() -> dict[str, Any]:
    """Trace Llama 7B without its weights, in this process."""
    with torch.device("meta"):
        model = _llama(32, hidden_size=4096, intermediate_size=11008, num_attention_heads=32, vocab_size=32000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    structure = sc.trace(model, {"input_ids": torch.randint(100, (2, 8))})
    return {
        "parameters": structure.cost().params,
        "groups": len(structure.groups),
        "prunable": structure.prunable(),
        "seconds": time.perf_counter() - start,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        "peak_gb_before": before / 1e6,
    }


def main() -> None:
    """Measure all and write the table."""
    if listed(f"{name} {layers}" for name, _, *depths in CASES for layers in depths):
        return
    warnings.simplefilter("ignore")
    if sys.argv[1:] == ["meta"]:
        sys.stdout.write(json.dumps(meta()) + "\n")
        return
    torch.set_num_threads(1)
    rows = {name: [measure(build, layers) for layers in depths] for name, build, *depths in track(CASES, "measuring")}
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.zoo.growth", "meta"]
    large = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
    lines = [f"# Growth with depth\n\n{(__doc__ or '').strip()}\n"]
    lines += [f"Measured with {', '.join(f'{k} {v}' for k, v in environment().items())}.\n"]
    lines += ["| model | layers | Secateurs | Torch-Pruning |", "|---|---|---|---|"]
    for name, (few, many) in rows.items():
        for row in (few, many):
            lines.append(f"| {name} | {row['layers']} | {row['ours']:.3f} s | {_seconds(row)} |")
        growth = f"| | MACs × {many['macs'] / few['macs']:.1f} | × {many['ours'] / few['ours']:.1f} |"
        lines.append(f"{growth} {_ratio(few, many)} |")
    lines.append(
        f"\nA Llama of {large['parameters']:,} parameters without its weights: {large['seconds']:.1f} s, "
        f"{large['groups']} groups with {large['prunable']:.0%} of the parameters; the process took "
        f"{large['peak_gb']:.2f} GB at most, {large['peak_gb_before']:.2f} GB of it before the trace."
    )
    result = {"environment": environment(), "rows": rows, "meta": large}
    (RESULTS / "growth.json").write_text(json.dumps(result, indent=1))
    (RESULTS / "growth.md").write_text("\n".join(lines) + "\n")


def _seconds(row: dict[str, Any]) -> str:
    its = row["torch_pruning"]
    return f"{its['seconds']:.3f} s" if "seconds" in its else f"{its['error'][:60]} (limit {LIMIT_S} s)"


def _ratio(few: dict[str, Any], many: dict[str, Any]) -> str:
    first, second = few["torch_pruning"].get("seconds"), many["torch_pruning"].get("seconds")
    return f"× {second / first:.1f}" if first and second else ""


if __name__ == "__main__":
    main()
