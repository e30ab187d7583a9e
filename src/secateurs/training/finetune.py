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

    Training uses Hugging Face Accelerate on the device of the model. If `torchrun` or `accelerate launch` started
    several processes, these share the data and end with equal weights (DDP). Batch norm layers use the batches of their
    own process. At the end, all processes have the running statistics of the first process.

    All random numbers of an epoch depend on (seed, epoch) only: the generators of a DataLoader are seeded, and
    `set_epoch` is called on samplers and data sets that have it. Persistent workers of a loader keep their own random
    states.

    Args:
        model: the model. It is trained in training mode; the modes of all modules are restored.
        data: batches of (inputs, targets), or dicts with `labels`. They are read once per epoch; an iterator is
            accepted for a single epoch only.
        recipe: the recipe; by default one epoch.
        teacher: the model whose outputs are the target of distillation, usually the dense model. Required if, and only
            if, `recipe.distill_weight` is positive.
        validation: batches on which the loss is measured after each epoch. Required for `recipe.patience`. Do not use
            test data.
        loss: a function of (outputs, targets) that returns a scalar tensor; by default cross-entropy, or the loss that
            the model returns.
        extra_loss: a function that returns an additional term of the loss of each batch; see `ExtraLoss`.
        optimizer: a function that makes an optimiser of parameters, instead of the recipe. The learning rate is set to
            that of the recipe.
        pruner: a function of (model, optimizer) that makes a pruner, whose `step` may cut the model after each step of
            the optimiser. Example: `lambda model, optimizer: sc.gradual(model, optimizer, batches, stop=1000)`.
        seed: seed for dropout and shuffling.
        directory: a directory for a checkpoint after each epoch. To resume, repeat the same call on the initial model.
            The weights are then equal to those of an uninterrupted run, bitwise on the CPU. Several processes must
            share the directory.
        progress: wraps the iteration over the epochs.

    Returns:
        The losses of each epoch.

    Raises:
        DataError: the data is empty, has no targets, is an iterator for several epochs, or makes the model fail; or the
            loss is not finite.
        ModelError: no parameter requires a gradient, or no layer can have an adapter.
        UsageError: the recipe needs an argument that is missing, or an option that is not supported here.
        PersistError: the checkpoint belongs to another training run, or cannot be read or written.

    Example:
        >>> history = sc.finetune(model, data, sc.Recovery(epochs=2, lr=0.01))
        >>> len(history.train)
        2
    """
    require("accelerate", "train")
    from secateurs.training.accelerate import accelerated  # imported here because Accelerate is slow to import

    check_training(recipe, data, teacher is not None, validation, directory)
    if teacher is not None:
        device_of(teacher)
    device = device_of(model)
    if not any(p.requires_grad for p in model.parameters()):
        raise ModelError(f"{type(model).__name__} has no parameter that requires a gradient: there is nothing to train")
    directory = None if directory is None else Path(directory)
    with ExitStack() as stack:
        stack.enter_context(restoring_modes(model))
        stack.enter_context(rng(seed))
        stack.enter_context(adapters(model, recipe.lora))
        accelerator, prepared = stack.enter_context(accelerated(model, device, recipe, directory))
        if pruner is not None and (accelerator.num_processes > 1 or recipe.lora or recipe.patience is not None):
            raise UsageError(
                "gradual pruning in finetune does not support several processes, adapters (lora) or early stopping "
                "(patience): prune before fine-tuning, or call the pruner in a training loop of your own"
            )
        made_optimizer = make_optimizer(recipe, [p for p in model.parameters() if p.requires_grad], optimizer)
        training = Training(
            model=model,
            prepared=prepared,
            accelerator=accelerator,
            optimizer=made_optimizer,
            objective=Objective(loss, extra_loss, teacher, recipe.distill_weight, recipe.temperature),
            data=stack.enter_context(process_batches(data, accelerator)),
            validation=validation,
            recipe=recipe,
            seed=seed,
            directory=directory,
            pruner=None if pruner is None else pruner(model, made_optimizer),
        )
        return training.run(progress)


def check_training(recipe: Any, data: Any, teacher: bool, validation: Any, directory: Any) -> None:
    """Check that the arguments of `finetune` fit together, before any slow operation.

    Args:
        recipe: the recipe.
        data: the training data.
        teacher: whether there is a teacher.
        validation: the validation data, or None.
        directory: the directory of the checkpoint and trackers, or None.

    Raises:
        UsageError, DataError: see `finetune`.
    """
    if not isinstance(recipe, Recovery):
        raise UsageError(f"the recipe must be a Recovery, such as Recovery(epochs=5, lr=0.01), not {recipe!r}")
    if isinstance(data, Iterator) and recipe.epochs > 1:
        raise DataError(
            f"the data is an iterator, which can be read only once, but the recipe has {recipe.epochs} epochs: give a "
            "list or a DataLoader"
        )
    if isinstance(validation, Iterator):
        raise DataError("the validation data is an iterator, which can be read only once: give a list or a DataLoader")
    if teacher != (recipe.distill_weight > 0):
        raise UsageError(
            "a teacher is given, but distill_weight is 0: set it, for example Recovery(distill_weight=0.5)"
            if teacher
            else f"distill_weight={recipe.distill_weight} needs a teacher: give a teacher, usually the dense model"
        )
    if recipe.patience is not None and validation is None:
        raise UsageError(f"patience={recipe.patience} needs validation data: give a split that is not the test data")
    if recipe.trackers and directory is None:
        raise UsageError(f"trackers {', '.join(recipe.trackers)} need a directory to write to")
