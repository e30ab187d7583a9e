"""Memory and time of pruning layer by layer, beside pruning the whole model: `python -m benchmarks.layerwise`.

A Llama with random weights of 1.1 GB (40 layers, in shards of 200 MB) loses units by wanda until it has 70 % of its
parameters, on 1,024 tokens in batches of 256, once without and once with compensation; each figure comes from a process
of its own, on one thread. Memory is the most that the process took beyond what it took once all libraries were loaded.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

import secateurs as sc
from benchmarks import torchvision_ops  # noqa: F401 (before transformers)
from benchmarks.listing import listed
from secateurs.utils.environment import environment

RESULTS = Path(__file__).parent / "results"
SIZES = {"hidden_size": 768, "num_hidden_layers": 40, "num_attention_heads": 12, "num_key_value_heads": 12,
         "intermediate_size": 2048, "vocab_size": 2000, "max_position_embeddings": 128}  # fmt: skip
WAYS = {"whole": "the whole model", "layers": "layer by layer", "files": "layer by layer, with --scratch"}


def make(directory: str) -> None:
    """Write the model."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**SIZES)).save_pretrained(directory, max_shard_size="200MB")


def measure(way: str, directory: str, compensate: bool) -> dict[str, Any]:
    """One figure, in this process; the model is written beside the dense one."""
    from transformers import LlamaForCausalLM

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(1)
    data = [{"input_ids": torch.randint(3, SIZES["vocab_size"], (4, 64)), "use_cache": False} for _ in range(4)]
    how: dict[str, Any] = {"criterion": "wanda", "budget": "params:0.7", "compensate": compensate}
    out = Path(directory).with_name(f"{way}-{compensate}")
    before, start, stated = memory("VmRSS"), time.perf_counter(), None
    if way == "whole":
        model = LlamaForCausalLM.from_pretrained(directory).eval()
        sc.prune(model, data, **how).save_pretrained(out)
    else:
        work = sc.Layerwise(directory, data, **how, scratch=out.with_suffix(".scratch") if way == "files" else None)
        stated = work.estimate.peak / 2**20
        work.prune(out)
    return {"peak_mb": memory("VmHWM") - before, "seconds": time.perf_counter() - start, "stated_mb": stated}


def memory(which: str) -> float:
    """MB of this process that are resident now ("VmRSS"), or were at most ("VmHWM")."""
    found = re.search(rf"{which}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None, "Linux tells"
    return int(found[1]) / 1024


def equal(one: Path, other: Path) -> bool:
    """Whether two directories hold the same weights, bit by bit."""
    found = [{key: its for file in where.glob("*.safetensors") for key, its in load_file(file).items()}
             for where in (one, other)]  # fmt: skip
    return found[0].keys() == found[1].keys() and all(torch.equal(its, found[1][key]) for key, its in found[0].items())


def main() -> None:
    """Measure all and write the table."""
    if listed(f"{way} compensate={compensate}" for compensate in (False, True) for way in WAYS):
        return
    if sys.argv[1:]:
        way, directory, compensate = sys.argv[1:]
        print(json.dumps(measure(way, directory, compensate == "True")))
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        dense = Path(folder, "dense")
        make(str(dense))
        size = sum(file.stat().st_size for file in dense.glob("*.safetensors")) / 2**20
        for compensate in (False, True):
            for way in WAYS:
                command = [
                    sys.executable,
                    "-W",
                    "ignore",
                    "-m",
                    "benchmarks.layerwise",
                    way,
                    str(dense),
                    str(compensate),
                ]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                row = {"way": way, "compensate": compensate, **json.loads(done.stdout.splitlines()[-1])}
                names = (f"{its}-{compensate}" for its in (way, "whole"))
                row["equal"] = equal(*(Path(folder, name) for name in names))
                rows.append(row)
                print(row, file=sys.stderr, flush=True)
    result = {"environment": environment(), "weights_mb": size, "rows": rows}
    (RESULTS / "layerwise.json").write_text(json.dumps(result, indent=1))
    (RESULTS / "layerwise.md").write_text(page(result))


def page(result: dict[str, Any]) -> str:
    """The results as text."""
    lines = [
        f"# Layer by layer\n\n{(__doc__ or '').strip()}\n",
        f"Weights: {result['weights_mb']:,.0f} MB. Other work ran on the same two cores meanwhile.",
        f"Measured with {', '.join(f'{k} {v}' for k, v in result['environment'].items())}.\n",
        "| | compensated | memory | stated beforehand | time | weights of the result |",
        "|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        stated = f"{row['stated_mb']:,.0f} MB" if row["stated_mb"] else ""
        same = "" if row["way"] == "whole" else "equal, bit by bit" if row["equal"] else "others"
        lines.append(
            f"| {WAYS[row['way']]} | {'yes' if row['compensate'] else 'no'} | {row['peak_mb']:,.0f} MB | {stated} "
            f"| {row['seconds']:,.0f} s | {same} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
