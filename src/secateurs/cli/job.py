"""The options that make a job, for every command that runs jobs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

from secateurs.cli.options import BatchSize, Keep, Kinds, Shape, floats_of, number_of, shape_of

if TYPE_CHECKING:
    from secateurs.experiments import Job


def job_of(
    model: Annotated[str, typer.Argument(help="py:path/to/file.py:factory, hf:PATH, or digits for the demo's.")] = "",
    data: Annotated[str, typer.Option(help="npz:, folder:, text:, jsonl: or tsv:PATH, random:N, or digits.")] = "",
    training: Annotated[str, typer.Option("--train", help="Labelled data to recover on; by default --data.")] = "",
    validation: Annotated[str, typer.Option(help="Labelled data, or the share of --train that is held out.")] = "",
    test: Annotated[str, typer.Option(help="Data to measure accuracy or perplexity on.")] = "",
    samples: Annotated[int, typer.Option(min=1, help="Of --data, drawn by the seed: to score and compensate.")] = 1024,
    weights: Annotated[str, typer.Option(help="A safetensors file to load into the model.")] = "",
    device: Annotated[str, typer.Option(help="Such as cuda; by default where the model is built.")] = "",
    shape: Shape = "",
    batch_size: BatchSize = 64,
    image_size: Annotated[int, typer.Option(help="Resize images of folders; 0 leaves them.")] = 0,
    mean: Annotated[str, typer.Option(help="Subtracted from images of folders, per channel.")] = "0",
    std: Annotated[str, typer.Option(help="Images of folders are divided by this, per channel.")] = "1",
    tokenizer: Annotated[str, typer.Option(help="Directory of the tokenizer; by default the model's own.")] = "",
    length: Annotated[int, typer.Option(min=0, help="Tokens per sequence; 0: the model's most, at most 1024.")] = 0,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run Python code that comes with a model.")
    ] = False,
    keep: Keep = [],  # noqa: B006 (typer reads it)
    kinds: Kinds = [],  # noqa: B006
    scope: Annotated[str, typer.Option(help="global, per-cost, relative or local; by default what suits.")] = "",
    aggregate: Annotated[
        str, typer.Option(help="Of scores in several layers: mean, max, sum; auto: what suits.")
    ] = "auto",
    compensate: Annotated[bool, typer.Option(help="Let the units that stay take over what they can.")] = True,
    floor: Annotated[str, typer.Option(help="Least kept per group: a fraction (0.1) or a number (4).")] = "1",
    cap: Annotated[str, typer.Option(help="Most kept per group: a fraction or a number.")] = "1.0",
    multiple: Annotated[int, typer.Option(help="Widths are multiples of this.")] = 1,
    uniform: Annotated[
        bool | None,
        typer.Option(
            help="The same width for groups alike; by default for models that generate text, but for "
            "--budget effective --scope global."
        ),
    ] = None,
    rounds: Annotated[int, typer.Option(help="Rounds of scoring and cutting to the budget.")] = 1,
    ramp: Annotated[str, typer.Option(help="How rounds come to it: linear, cubic or geometric.")] = "linear",
    during_training: Annotated[
        bool, typer.Option("--during-training", help="The rounds cut while --epochs train.")
    ] = False,
    epochs_between: Annotated[int, typer.Option(min=0, help="Fine-tuning after each round but the last.")] = 0,
    epochs: Annotated[int, typer.Option(min=0, help="Fine-tuning after the last round.")] = 0,
    lr: Annotated[float, typer.Option(help="Learning rate of the fine-tuning.")] = 0.01,
    optimizer: Annotated[str, typer.Option(help="sgd or adamw.")] = "sgd",
    weight_decay: Annotated[float, typer.Option()] = 5e-4,
    lr_schedule: Annotated[str, typer.Option(help="How the learning rate falls: cosine, step or constant.")] = "cosine",
    milestones: Annotated[str, typer.Option(help="Of step: fractions of the training.")] = "0.6,0.8",
    warmup: Annotated[float, typer.Option(help="Fraction of the training in which the rate rises.")] = 0.0,
    distill_weight: Annotated[
        float, typer.Option(help="Share of the loss that is learning from the dense model.")
    ] = 0.0,
    patience: Annotated[int, typer.Option(min=0, help="Stop after so many epochs without gain on --validation.")] = 0,
    grad_accumulation: Annotated[int, typer.Option(help="Batches per step of the optimiser.")] = 1,
    mixed_precision: Annotated[str, typer.Option(help="no, bf16 or fp16.")] = "no",
    lora: Annotated[int, typer.Option(help="Train adapters of this rank in the place of the weights.")] = 0,
    tracker: Annotated[list[str], typer.Option(help="Such as tensorboard; may be repeated.")] = [],  # noqa: B006
    fit: Annotated[str, typer.Option(help="py:FILE:FUNCTION, trains the model that it is given, instead.")] = "",
) -> Job:
    """The job that these options describe."""
    from secateurs.budgets import Limits, Schedule
    from secateurs.data import ImageOptions
    from secateurs.experiments import Job
    from secateurs.training import Recovery

    if not model or not data:
        raise typer.BadParameter("give a model and --data")
    return Job(
        model=model,
        data=data,
        training=training,
        validation=validation,
        test=test,
        samples=samples,
        weights=weights,
        device=device,
        shape=shape_of(shape),
        batch_size=batch_size,
        images=ImageOptions(image_size or None, floats_of(mean), floats_of(std)),
        tokenizer=tokenizer,
        length=length or None,
        trust_remote_code=trust_remote_code,
        keep=tuple(keep),
        kinds=tuple(kinds) or None,
        scope=scope or None,
        aggregate=aggregate,
        compensate=compensate,
        limits=Limits(number_of(floor), number_of(cap), multiple, uniform),
        schedule=Schedule(rounds, ramp, during_training),
        epochs_between=epochs_between,
        recovery=Recovery(
            epochs=epochs,
            lr=lr,
            optimizer=optimizer,  # type: ignore[arg-type] (Recovery refuses other values)
            weight_decay=weight_decay,
            lr_schedule=lr_schedule,  # type: ignore[arg-type]
            milestones=floats_of(milestones),
            warmup=warmup,
            distill_weight=distill_weight,
            patience=patience or None,
            grad_accumulation=grad_accumulation,
            mixed_precision=mixed_precision,  # type: ignore[arg-type]
            lora=lora,
            trackers=tuple(tracker),
        ),
        fit=fit,
    )


def with_job(command: Callable[..., None], **defaults: Any) -> Callable[..., None]:
    """Give a command, whose first parameter is called `job`, the options of a job in its place.

    Args:
        command: gets a function that makes the job, since some need none.
        **defaults: of options, where they are others for this command.
    """
    mine = inspect.signature(command, eval_str=True, locals={"Job": Any}).parameters
    theirs = dict(inspect.signature(job_of, eval_str=True, locals={"Job": Any}).parameters)
    theirs |= {name: theirs[name].replace(default=its) for name, its in defaults.items()}
    both = {**theirs, **{name: its for name, its in mine.items() if name != "job"}}

    @wraps(command)
    def run(**given: Any) -> None:
        own = {name: given.pop(name) for name in mine if name != "job"}
        command(lambda: job_of(**given), **own)

    run.__signature__ = inspect.Signature([its.replace(kind=its.KEYWORD_ONLY) for its in both.values()])  # type: ignore[attr-defined]
    run.__annotations__ = {name: its.annotation for name, its in both.items()}
    return run
