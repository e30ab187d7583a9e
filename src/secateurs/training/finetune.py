"""Fine-tuning by a recipe."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from torch import nn

from secateurs.data import Loss
from secateurs.errors import DataError, ModelError, UsageError
from secateurs.training.history import History
from secateurs.training.loop import Training
from secateurs.training.lora import adapters
from secateurs.training.objective import ExtraLoss, Objective
from secateurs.training.optimizer import MakeOptimizer, make_optimizer
from secateurs.training.partition import process_batches
from secateurs.training.pruner_protocol import MakePruner
from secateurs.training.recipe import Recovery
from secateurs.utils import Progress, device_of, require, restoring_modes, rng, silent

_DEFAULT = Recovery()


def finetune(
    model: nn.Module,
    data: Iterable[Any],
    recipe: Recovery = _DEFAULT,
    *,
    teacher: nn.Module | None = None,
    validation: Iterable[Any] | None = None,
    loss: Loss | None = None,
    extra_loss: ExtraLoss | None = None,
    optimizer: MakeOptimizer | None = None,
    pruner: MakePruner | None = None,
    seed: int = 0,
    directory: str | Path | None = None,
    progress: Progress = silent,
) -> History:
    """Train a model in place by a recipe.

    Training runs on Hugging Face Accelerate, on the device that the model is on. Started by `torchrun` or `accelerate
    launch`, processes share the data and end with the same weights (DDP); batch norm
    goes by the batches of each, and its running statistics are those of the first.

    Everything random in an epoch follows from (seed, epoch): a DataLoader's own generators are seeded by it, and
    whatever has `set_epoch` is told. Workers that a loader keeps between epochs keep random states of their own.

    Args:
        model: trained as a whole, in training mode; its modes are restored.
        data: batches with targets (or dicts with labels); read once per epoch, so not an iterator.
        recipe: how to train; by default one epoch.
        teacher: the model to learn from if the recipe's `distill_weight` asks for it, usually the dense one.
        validation: batches on which the loss is measured after each epoch, for `patience`; never those of the test.
        loss: maps (outputs, targets) to a scalar; by default cross-entropy, or the model's own loss.
        extra_loss: gives one more term of the loss of each batch; see `ExtraLoss`.
        optimizer: makes an optimiser of parameters, in the place of the recipe's. Its learning rate is overridden.
        pruner: makes, of the model and its optimiser, what cuts the model after each step that it chooses, such as
            `lambda model, optimizer: sc.gradual(model, optimizer, batches, stop=1000)`.
        seed: for dropout and shuffling while training.
        directory: keeps a checkpoint of the last epoch; the same call, on the model as it was at the start, goes on
            from there and ends with the weights that it would have had (bit by bit on the CPU). Several processes must
            all see it.
        progress: wraps the iteration over the epochs.

    Returns:
        The losses.

    Raises:
        DataError: the data is empty, has no targets, can be read only once, or is refused by the model; or the loss
            is not finite.
        ModelError: no parameter is to be trained, or no layer can have an adapter.
        UsageError: the recipe asks for what is not given or cannot be had here.
        PersistError: the checkpoint is of another training, or cannot be read or written.

    Example:
        >>> history = sc.finetune(model, data, sc.Recovery(epochs=2, lr=0.01))
        >>> len(history.train)
        2
    """
    require("accelerate", "train")
    from secateurs.training.accelerate import accelerated  # loads Accelerate

    check_training(recipe, data, teacher is not None, validation, directory)
    if teacher is not None:
        device_of(teacher)
    device = device_of(model)
    if not any(p.requires_grad for p in model.parameters()):
        raise ModelError(f"{type(model).__name__} has no parameter that requires a gradient, so nothing to train")
    directory = None if directory is None else Path(directory)
    with ExitStack() as stack:
        stack.enter_context(restoring_modes(model))
        stack.enter_context(rng(seed))
        stack.enter_context(adapters(model, recipe.lora))
        accelerator, prepared = stack.enter_context(accelerated(model, device, recipe, directory))
        if pruner is not None and (accelerator.num_processes > 1 or recipe.lora or recipe.patience is not None):
            raise UsageError(
                "a model that is cut while it trains cannot be trained in several processes, by adapters (lora), or "
                "with an early stop (patience) here; cut it in a loop of your own, or prune it first"
            )
        made = make_optimizer(recipe, [p for p in model.parameters() if p.requires_grad], optimizer)
        training = Training(
            model=model,
            prepared=prepared,
            accelerator=accelerator,
            optimizer=made,
            objective=Objective(loss, extra_loss, teacher, recipe.distill_weight, recipe.temperature),
            data=stack.enter_context(process_batches(data, accelerator)),
            validation=validation,
            recipe=recipe,
            seed=seed,
            directory=directory,
            pruner=None if pruner is None else pruner(model, made),
        )
        return training.run(progress)


def check_training(recipe: Any, data: Any, teacher: bool, validation: Any, directory: Any) -> None:
    """See that a recipe has what it needs, before anything slow.

    Raises:
        UsageError, DataError: see `finetune`.
    """
    if not isinstance(recipe, Recovery):
        raise UsageError(f"give the recipe as a Recovery, such as Recovery(epochs=5, lr=0.01), not {recipe!r}")
    if isinstance(data, Iterator) and recipe.epochs > 1:
        raise DataError("the data is an iterator, which can be read only once; give a list or a DataLoader")
    if isinstance(validation, Iterator):
        raise DataError("the validation data is an iterator, which can be read only once; give a list or a DataLoader")
    if teacher != (recipe.distill_weight > 0):
        raise UsageError(
            "a teacher is given, but the recipe does not distill: set its weight, such as Recovery(distill_weight=0.5)"
            if teacher
            else f"the recipe distills (weight {recipe.distill_weight}): give a teacher, usually the dense model"
        )
    if recipe.patience is not None and validation is None:
        raise UsageError(f"patience={recipe.patience} needs validation data: a split of its own, not that of the test")
    if recipe.trackers and directory is None:
        raise UsageError(f"trackers {', '.join(recipe.trackers)} need a directory to write to")
