"""Prune the models of `benchmarks.language.train` by every criterion: `python -m benchmarks.language MODELS OUT`.

FFN neurons and attention heads go, to equal MACs (by number of units, a head would weigh as little as a neuron), with
three seeds. Encoder: three budgets, recovered once on the sentences of SST-2's development set; accuracy on its test
set. Decoder: nothing trained; perplexity on the last tenth of tinyshakespeare. What is finished in OUT is not run
again; the reports go to `benchmarks/results/language`.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import benchmarks.torchvision_ops  # noqa: F401  (first: transformers imports torchvision)

# isort: split
from secateurs.budgets import Limits
from secateurs.cli.output import progress
from secateurs.job import Job
from secateurs.recover import Recovery
from secateurs.sweep import Sweep
from secateurs.workers import on_this_machine

RESULTS = Path(__file__).parent.parent / "results" / "language"
CRITERIA = ("nexp", "nexp-median", "ssi", "ndi", "taylor", "wanda", "flap", "l2")
SEEDS = 3


def sweeps(models: Path) -> dict[str, Sweep]:
    """What is compared, by name."""
    encoder, decoder = models / "encoder", models / "decoder"
    common = {"kinds": ("neuron", "head", "kv_group"), "samples": 128}
    return {
        "encoder": Sweep(
            Job(
                f"hf:{encoder / 'model'}",
                f"tsv:{encoder / 'train.tsv'}",
                training=f"tsv:{encoder / 'dev.tsv'}",
                test=f"tsv:{encoder / 'test.tsv'}",
                recovery=Recovery(1, 2e-4, optimizer="adamw"),
                **common,
            ),
            CRITERIA,
            ("macs:0.8", "macs:0.65", "macs:0.5"),
            SEEDS,
        ),
        "decoder": Sweep(
            Job(
                f"hf:{decoder / 'model'}",
                f"text:{decoder / 'train.txt'}",
                test=f"text:{decoder / 'test.txt'}",
                length=128,
                batch_size=32,
                limits=Limits(uniform=True),
                **common,
            ),
            ("nexp", "ssi", "taylor", "wanda", "flap"),
            ("macs:0.8", "macs:0.65"),
            SEEDS,
        ),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", choices=("encoder", "decoder"))
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    for name, sweep in sweeps(arguments.models).items():
        if arguments.only in (None, name):
            execute = on_this_machine(arguments.workers, preload=("benchmarks.torchvision_ops",))
            command = f"python -m benchmarks.language MODELS OUT --only {name}"
            sweep.run(arguments.out / name, execute, progress(quiet=False), command)
            RESULTS.mkdir(parents=True, exist_ok=True)
            for file in ("report.md", "table.csv"):
                shutil.copy(arguments.out / name / file, RESULTS / f"{name}-{file}")
