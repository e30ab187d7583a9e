"""Fine-tuning follows its recipe, compared with a reference loop."""

import copy

import pytest
import torch
from accelerate import Accelerator
from support.finetuning import image_classifier, train_reference
from support.states import copy_state, equal_states
from torch.testing import assert_close

import secateurs as sc
from secateurs.errors import DataError, ModelError, UsageError
from secateurs.training.history import History


class Unsized:
    """Data without a length."""

    def __init__(self, items):
        self.items = items

    def __iter__(self):
        return iter(self.items)


@pytest.mark.parametrize(
    "recipe",
    [
        {},
        {"optimizer": "adamw", "lr": 1e-3, "weight_decay": 0.1},
        {"grad_accumulation": 2},
        {"clip": 0.1, "momentum": 0.5},
    ],
)
@pytest.mark.parametrize("sized", [True, False])
def test_training_equals_a_reference_loop(batches, recipe, sized):
    recipe = sc.Recovery(epochs=3, **recipe)
    model, reference = image_classifier(), image_classifier()
    sc.finetune(model, batches if sized else Unsized(batches), recipe)
    train_reference(reference, batches, recipe, per_step=sized)
    assert_close(model.state_dict(), reference.state_dict())


def test_patience_stops_and_restores_the_best_epoch(net, batches):
    validation, seen = [batches[0]], []
    recipe = sc.Recovery(epochs=30, lr=1.0, lr_schedule="constant", patience=3)
    watch = lambda items, _: (seen.append(sc.mean_loss(net, validation)) or item for item in items)  # noqa: E731
    history = sc.finetune(net, batches, recipe, validation=validation, progress=watch)
    assert len(history.train) == len(history.validation) == history.best + 4 < 30
    assert min(history.validation) == history.validation[history.best]
    assert seen[1:] == history.validation  # the weights do not change between two epochs
    assert sc.mean_loss(net, validation) == history.validation[history.best]


def test_validation_without_patience_is_only_recorded(net, batches):
    twin, recipe = copy.deepcopy(net), sc.Recovery(epochs=4, lr=1.0)
    history = sc.finetune(net, batches, recipe, validation=batches[:1])
    assert history.best is None
    assert len(history.validation) == 4
    assert sc.finetune(twin, batches, recipe) == History(history.train, [], None)
    assert equal_states(twin, net)


@pytest.mark.parametrize(
    ("recipe", "options", "message"),
    [
        ({}, {"teacher": image_classifier()}, "distill_weight is 0"),
        ({"distill_weight": 0.5}, {}, "give a teacher, usually the dense model"),
        ({"patience": 2}, {}, "patience=2 needs validation data"),
        ({"trackers": ("tensorboard",)}, {}, "need a directory"),
        ({"mixed_precision": "fp16"}, {}, "needs a GPU"),
        ({}, {"extra_loss": lambda: 3.0}, "extra loss must return a scalar tensor, not float"),
    ],
)
def test_inconsistent_arguments_are_refused(batches, recipe, options, message):
    model = image_classifier()
    with pytest.raises(UsageError, match=message):
        sc.finetune(model, batches, sc.Recovery(**recipe), **options)


def test_a_recipe_of_the_wrong_type_is_refused(batches):
    with pytest.raises(UsageError, match="Recovery"):
        sc.finetune(image_classifier(), batches, 5)


def test_a_validation_loss_that_is_not_finite_is_an_error(batches):
    with pytest.raises(DataError, match="validation data after epoch 0 is nan"):
        sc.finetune(image_classifier(), batches, validation=[(batches[0][0] * float("nan"), batches[0][1])])


def test_bf16_training_is_close_and_restores_the_model(batches):
    model, half = image_classifier(), image_classifier()
    recipe = sc.Recovery(epochs=2)
    sc.finetune(model, batches, recipe)
    sc.finetune(half, batches, sc.Recovery(epochs=2, mixed_precision="bf16"))
    assert_close(half.state_dict(), model.state_dict(), rtol=0, atol=2e-3)
    assert not all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in half.state_dict().items())
    assert vars(half).keys() == vars(model).keys()
    assert half(batches[0][0]).dtype == torch.float32


def test_an_accelerator_of_the_user_is_not_changed(batches, accelerate_state):
    before = Accelerator(cpu=True, mixed_precision="bf16")
    state = dict(vars(before.state))
    sc.finetune(image_classifier(), batches)
    assert vars(before.state) == state
    assert before.mixed_precision == "bf16"


def test_sharded_training_is_refused(batches, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(UsageError, match="FSDP is not supported"):
        sc.finetune(image_classifier(), batches)


def test_trackers_log_the_training(batches, tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    recipe = sc.Recovery(epochs=3, trackers=("tensorboard",))
    history = sc.finetune(image_classifier(), batches, recipe, validation=batches[:1], directory=tmp_path)
    log = events.EventAccumulator(str(tmp_path / "logs" / "secateurs")).Reload()
    assert_close([event.value for event in log.Scalars("loss")], history.train)
    assert_close([event.value for event in log.Scalars("validation loss")], history.validation)
    assert [event.step for event in log.Scalars("lr")] == [1, 2, 3]


def test_a_tracker_that_is_not_installed_is_an_error(batches, tmp_path):
    with pytest.raises(UsageError, match="tracker swanlab is not installed"):
        sc.finetune(image_classifier(), batches, sc.Recovery(trackers=("swanlab",)), directory=tmp_path)


def test_finetuning_reduces_the_loss_in_place_and_is_reproducible(net, batches):
    state = torch.get_rng_state()
    net.eval()
    twin = copy.deepcopy(net)
    first = sc.finetune(net, batches, sc.Recovery(epochs=15, lr=0.05), seed=3)
    assert first.train[-1] < first.train[0] - 0.1
    after = copy_state(net)
    assert sc.finetune(twin, batches, sc.Recovery(epochs=15, lr=0.05), seed=3) == first
    assert equal_states(twin, after)
    assert not net.training
    assert all(p.grad is None for p in net.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_a_model_without_trainable_parameters_is_refused(net, batches):
    with pytest.raises(ModelError, match="nothing to train"):
        sc.finetune(net.requires_grad_(False), batches)


def test_frozen_parameters_do_not_change(net, batches):
    net[0].weight.requires_grad_(False)
    before = net[0].weight.clone()
    sc.finetune(net, batches, sc.Recovery(lr=0.1))
    assert torch.equal(net[0].weight, before)


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ([], {}, "empty"),
        ([torch.randn(4, 3, 6, 6)], {}, "no targets"),
        ([(torch.randn(4, 3, 6, 6), torch.tensor([0, 1]))], {}, "batch 0"),
        ([(torch.randn(4, 5, 6, 6), torch.zeros(4).long())], {}, "failed on batch 0"),
        ([(torch.randn(4, 3, 6, 6), torch.zeros(4).long())], {"epochs": 0}, "number of epochs"),
        ([(torch.randn(4, 3, 6, 6), torch.zeros(4).long())], {"epochs": 1.5}, "number of epochs"),
        ([(torch.randn(4, 3, 6, 6), torch.zeros(4).long())], {"lr": -1}, "positive learning rate"),
        (iter([(torch.randn(4, 3, 6, 6), torch.zeros(4).long())]), {"epochs": 2}, "only once"),
        ([(torch.randn(4, 3, 6, 6) * 1e30, torch.zeros(4).long())] * 3, {"lr": 1e9}, "lower the learning rate"),
    ],
)
def test_invalid_data_and_options_are_refused(net, data, options, message):
    net.eval()
    with pytest.raises((DataError, UsageError), match=message):
        sc.finetune(net, data, sc.Recovery(**options))
    assert not net.training
    assert all(p.grad is None and torch.isfinite(p).all() for p in net.parameters())
    assert "_is_accelerate_prepared" not in vars(net)
