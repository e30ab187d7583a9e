"""Prune the models of `benchmarks.language.train` by every criterion: `python -m benchmarks.language MODELS OUT`.

The same share of the FFN neurons and of the attention heads goes in every layer, so that all criteria leave equal
MACs, with three seeds: in one shot at three budgets, recovered once; in five rounds without training in between (the
SSI way), with the controls that its referees ask for; and by EMP, from all the heads of the GPT together. The encoder's
accuracy is on SST-2's test set, perplexity of the others on the last twentieth of tinyshakespeare. What is finished in
OUT is not run again; tables go to `benchmarks/results/language`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import benchmarks.torchvision_ops  # noqa: F401  (first: transformers imports torchvision)
from benchmarks.listing import listed

# isort: split
from secateurs.budgets.schedule import Schedule
from secateurs.cli.output import progress
from secateurs.experiments.job import Job
from secateurs.experiments.studies.beta import run_beta
from secateurs.experiments.sweep import Sweep
from secateurs.experiments.workers import Execute, on_this_machine
from secateurs.pruning import PruningConfig
from secateurs.training.recipe import Recovery
from secateurs.utils.progress import Progress

RESULTS = Path(__file__).parent.parent / "results" / "language"
CRITERIA = ("obs", "nexp", "ssi", "ndi", "taylor", "wanda", "flap")
CONTROLS = ("ssi", "mean-activation", "l2")
SEEDS = 3
Run = Callable[[Path, Execute, Progress, str], object]


def encoder(models: Path) -> Job:
    """The classifier of sentences, recovered on SST-2's development set."""
    home = models / "encoder"
    return Job(
        f"hf:{home / 'model'}",
        f"tsv:{home / 'train.tsv'}",
        training=f"tsv:{home / 'dev.tsv'}",
        test=f"tsv:{home / 'test.tsv'}",
        samples=128,
        config=PruningConfig(
            kinds=("neuron", "head"), scope="local", recovery=Recovery(epochs=1, lr=2e-4, optimizer="adamw")
        ),
    )


def decoder(models: Path, name: str = "decoder") -> Job:
    """A language model, recovered on a tenth of its training data."""
    home = models / name
    return Job(
        f"hf:{home / 'model'}",
        f"text:{home / 'train.txt'}",
        training=f"text:{home / 'tune.txt'}",
        test=f"text:{home / 'test.txt'}",
        samples=128,
        length=128,
        batch_size=32,
        config=PruningConfig(
            kinds=("neuron", "head", "kv_group"), scope="local", recovery=Recovery(epochs=1, lr=5e-4, optimizer="adamw")
        ),
    )


def experiments(models: Path) -> dict[str, Run]:
    """What is run, by name."""
    budgets, half = ("keep:0.7", "keep:0.5", "keep:0.3"), ("keep:0.5",)
    once, rounds = {"encoder": encoder(models), "decoder": decoder(models)}, Schedule(5)
    heads = decoder(models, "gpt").with_config(kinds=("head",), scope="global", compensate=False, recovery=None)
    return {
        **{name: partial(_swept, Sweep(job, CRITERIA, budgets, SEEDS)) for name, job in once.items()},
        **{
            f"{name}-rounds": partial(_swept, Sweep(job.with_config(schedule=rounds), CONTROLS, half, SEEDS))
            for name, job in once.items()
        },
        "heads": partial(_heads, heads),
    }


def _swept(sweep: Sweep, directory: Path, execute: Execute, told: Progress, command: str) -> None:
    sweep.run(directory, execute, told, command)
    for file in ("report.md", "table.csv"):
        shutil.copy(directory / file, RESULTS / f"{directory.name}-{file}")


def _heads(job: Job, directory: Path, execute: Execute, told: Progress, command: str) -> None:
    found = run_beta(job, directory, execute, ("taylor", "wanda"), (0.5, 0.75, 0.9, 1.0), SEEDS, told, command)
    found.write(RESULTS)


if __name__ == "__main__":
    if listed(experiments(Path("MODELS"))):
        sys.exit()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", help="one of the experiments")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    chosen = experiments(arguments.models)
    for name in [arguments.only] if arguments.only else chosen:
        execute = on_this_machine(arguments.workers, preload=("benchmarks.torchvision_ops",))
        told = f"python -m benchmarks.language MODELS OUT --only {name}"
        chosen[name](arguments.out / name, execute, progress(quiet=False), told)
