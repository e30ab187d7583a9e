"""The recipe of fine-tuning: validation of the fields, and training compared with a reference loop."""

import copy
import json
from dataclasses import asdict

import pytest
import torch
from accelerate import Accelerator
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, MultiStepLR, SequentialLR
from torch.testing import assert_close

import secateurs as sc
from secateurs.data.batch import Batch
from secateurs.data.call import Call
from secateurs.errors import DataError, ModelError, UsageError
from secateurs.training.history import History
from secateurs.training.objective import Objective
from secateurs.training.optimizer import make_optimizer, make_schedule
from secateurs.training.recover import recover


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("epochs", [-1, 1.0, True, "1"]),
        ("lr", [0, -1.0, float("nan"), float("inf"), "0.1", None]),
        ("optimizer", ["adam", None, 1]),
        ("weight_decay", [-0.1, None]),
        ("momentum", [1.0, -0.1]),
        ("lr_schedule", ["linear", None, ["cosine"]]),
        ("milestones", [0.5, (0.5, 0.5), (0.8, 0.6), (0.0,), (60, 80), [0.5], ("a",)]),
        ("warmup", [1.0, -0.1]),
        ("distill_weight", [-0.1, 1.1, True]),
        ("temperature", [0]),
        ("patience", [0, 1.5]),
        ("grad_accumulation", [0, 2.0]),
        ("mixed_precision", ["fp8", None]),
        ("clip", [0, -1]),
        ("lora", [-1, 1.5, None]),
        ("trackers", ["tensorboard", ("tensor board",), (1,)]),
    ],
)
def test_invalid_values_are_refused(field, values):
    for value in values:
        with pytest.raises(UsageError, match=f"recovery {field} must be .*, not "):
            sc.Recovery(**{field: value})


RECIPES = st.builds(
    sc.Recovery,
    epochs=st.integers(1, 9),
    lr=st.floats(1e-9, 10),
    optimizer=st.sampled_from(["sgd", "adamw"]),
    milestones=st.lists(st.floats(0.01, 0.99), unique=True).map(lambda values: tuple(sorted(values))),
    patience=st.none() | st.integers(1, 5),
    clip=st.none() | st.floats(0.1, 5),
    trackers=st.sampled_from([(), ("tensorboard", "wandb")]),
)


@given(RECIPES)
def test_a_json_round_trip_gives_an_equal_recipe(recipe):
    assert TypeAdapter(sc.Recovery).validate_json(json.dumps(asdict(recipe))) == recipe


@pytest.mark.parametrize("text", ['{"epoch": 3}', '{"epochs": "3"}', '{"epochs": 3.5}'])
def test_invalid_json_is_refused(text):
    with pytest.raises(ValidationError):
        TypeAdapter(sc.Recovery).validate_json(text)


def learning_rates(recipe, total, start=0):
    """The learning rate of each step of a recipe."""
    optimizer = make_optimizer(recipe, [nn.Parameter(torch.zeros(1))])
    schedule, rates = make_schedule(recipe, optimizer, total, start), []
    for _ in range(total - start):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def torch_learning_rates(make, total, lr=0.1):
    """The learning rate of each step of a scheduler of torch."""
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=lr)
    schedule, rates = make(optimizer), []
    for _ in range(total):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


@pytest.mark.parametrize(
    ("recipe", "make"),
    [
        ({"lr_schedule": "cosine"}, lambda o: CosineAnnealingLR(o, 50)),
        ({"lr_schedule": "step"}, lambda o: MultiStepLR(o, [30, 40])),
        ({"lr_schedule": "step", "milestones": (0.5,)}, lambda o: MultiStepLR(o, [25])),
        ({"lr_schedule": "constant"}, lambda o: MultiStepLR(o, [])),
        (
            {"lr_schedule": "constant", "warmup": 0.2},
            lambda o: SequentialLR(o, [LinearLR(o, 0.1, 1.0, 9), MultiStepLR(o, [])], [10]),
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:The epoch parameter")
def test_the_learning_rate_equals_the_schedules_of_torch(recipe, make):
    recipe = sc.Recovery(lr=0.1, **recipe)
    assert_close(learning_rates(recipe, 50), torch_learning_rates(make, 50))
    assert learning_rates(recipe, 50, start=20) == learning_rates(recipe, 50)[20:]


class Unsized:
    """Data without a length."""

    def __init__(self, items):
        self.items = items

    def __iter__(self):
        return iter(self.items)


def train_reference(model, batches, recipe, per_step=True):
    """Train in plain PyTorch as the recipe says."""
    kind = SGD if recipe.optimizer == "sgd" else AdamW
    options = {"momentum": recipe.momentum, "nesterov": True} if kind is SGD else {}
    optimizer = kind(model.parameters(), recipe.lr, weight_decay=recipe.weight_decay, **options)
    groups = [
        batches[start : start + recipe.grad_accumulation] for start in range(0, len(batches), recipe.grad_accumulation)
    ]
    schedule = CosineAnnealingLR(optimizer, recipe.epochs * (len(groups) if per_step else 1))
    for _ in range(recipe.epochs):
        for group in groups:
            loss = torch.stack([cross_entropy(model(x), y) for x, y in group]).mean()
            optimizer.zero_grad()
            loss.backward()
            if recipe.clip:
                nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
            optimizer.step()
            if per_step:
                schedule.step()
        if not per_step:
            schedule.step()


def dense():
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(108, 16), nn.Tanh(), nn.Linear(16, 4))


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
    model, reference = dense(), dense()
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
    assert all(torch.equal(tensor, twin.state_dict()[name]) for name, tensor in net.state_dict().items())


def test_pure_distillation_needs_no_targets():
    teacher, pupil = dense(), dense()
    with torch.no_grad():
        pupil[3].weight.zero_()
    data = [torch.randn(16, 3, 6, 6) for _ in range(4)]
    recipe = sc.Recovery(epochs=40, lr=0.2, distill_weight=1.0)
    history = sc.finetune(pupil, data, recipe, teacher=teacher)
    assert history.train[-1] < history.train[0] / 5


@pytest.mark.parametrize(
    ("recipe", "options", "message"),
    [
        ({}, {"teacher": dense()}, "distill_weight is 0"),
        ({"distill_weight": 0.5}, {}, "give a teacher, usually the dense model"),
        ({"patience": 2}, {}, "patience=2 needs validation data"),
        ({"trackers": ("tensorboard",)}, {}, "need a directory"),
        ({"mixed_precision": "fp16"}, {}, "needs a GPU"),
        ({}, {"extra_loss": lambda: 3.0}, "extra loss must return a scalar tensor, not float"),
    ],
)
def test_inconsistent_arguments_are_refused(batches, recipe, options, message):
    model = dense()
    with pytest.raises(UsageError, match=message):
        sc.finetune(model, batches, sc.Recovery(**recipe), **options)


def test_a_recipe_of_the_wrong_type_is_refused(batches):
    with pytest.raises(UsageError, match="Recovery"):
        sc.finetune(dense(), batches, 5)


def test_a_validation_loss_that_is_not_finite_is_an_error(batches):
    with pytest.raises(DataError, match="validation data after epoch 0 is nan"):
        sc.finetune(dense(), batches, validation=[(batches[0][0] * float("nan"), batches[0][1])])


def test_the_extra_loss_is_added(batches):
    model, reference = dense(), dense()
    recipe = sc.Recovery(epochs=2, weight_decay=0.0)
    sc.finetune(model, batches, recipe, extra_loss=lambda: sum(p.square().sum() for p in model.parameters()) * 0.05)
    train_reference(reference, batches, sc.Recovery(epochs=2, weight_decay=0.1))  # the gradient of 0.05 w² is 0.1 w
    assert_close(model.state_dict(), reference.state_dict())


def test_units_differ_more_after_training_with_the_differentiation_loss(net, batches):
    structure = sc.trace(net, batches[0][0])
    differentiation = sc.differentiation_loss(net, structure, weight=2.0)

    def correlation():
        with torch.no_grad(), differentiation:
            net(batches[0][0])
        return float(differentiation())

    before = correlation()
    zero = lambda outputs, targets: outputs.sum() * 0  # noqa: E731
    sc.finetune(net, batches, sc.Recovery(epochs=20, lr=0.5), loss=zero, extra_loss=differentiation)
    assert correlation() < before / 2
    assert not any(module._forward_pre_hooks for module in net.modules())


def test_bf16_training_is_close_and_restores_the_model(batches):
    model, half = dense(), dense()
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
    sc.finetune(dense(), batches)
    assert vars(before.state) == state
    assert before.mixed_precision == "bf16"


def test_sharded_training_is_refused(batches, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(UsageError, match="FSDP is not supported"):
        sc.finetune(dense(), batches)


def test_trackers_log_the_training(batches, tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    recipe = sc.Recovery(epochs=3, trackers=("tensorboard",))
    history = sc.finetune(dense(), batches, recipe, validation=batches[:1], directory=tmp_path)
    log = events.EventAccumulator(str(tmp_path / "logs" / "secateurs")).Reload()
    assert_close([event.value for event in log.Scalars("loss")], history.train)
    assert_close([event.value for event in log.Scalars("validation loss")], history.validation)
    assert [event.step for event in log.Scalars("lr")] == [1, 2, 3]


def test_a_tracker_that_is_not_installed_is_an_error(batches, tmp_path):
    with pytest.raises(UsageError, match="tracker swanlab is not installed"):
        sc.finetune(dense(), batches, sc.Recovery(trackers=("swanlab",)), directory=tmp_path)


def test_a_recipe_or_a_training_function_recovers_a_model(batches):
    model, recipe = dense(), sc.Recovery(epochs=2)
    history = recover(model, recipe, batches, seed=3)
    assert isinstance(history, History)
    assert len(history.train) == 2

    def fit(trained):
        train_reference(trained, batches, recipe)
        return trained

    own, reference = dense(), dense()
    assert recover(own, fit) is None
    train_reference(reference, batches, recipe)
    assert_close(own.state_dict(), reference.state_dict())


@pytest.mark.parametrize(
    ("fit", "error", "message"),
    [
        (lambda model: dense(), UsageError, "returned another object .Sequential."),
        (lambda model: model.append(nn.Linear(4, 2)), ModelError, "'4.bias' from missing to \\[2\\]"),
        (lambda model: model.__delitem__(3), ModelError, "'3.bias' from \\[4\\] to missing"),
        ("sgd", UsageError, "not 'sgd'"),
    ],
)
def test_a_training_function_may_change_only_values(fit, error, message):
    with pytest.raises(error, match=message):
        recover(dense(), fit)


def test_distillation_of_tokens_skips_padding():
    logits, other = torch.randn(2, 5, 7), torch.randn(2, 5, 7)
    labels = torch.tensor([[1, 2, 3, -100, -100], [4, 5, 6, 0, 1]])
    teacher, pupil = nn.Identity(), nn.Identity()
    teacher.forward = lambda x: other
    loss = Objective(None, None, teacher, 1.0, 2.0)(pupil, Batch(Call((logits,)), labels, 0))
    soft = [(tensor / 2).log_softmax(-1) for tensor in (logits, other)]
    expected = [
        float((soft[1][n, t].exp() * (soft[1][n, t] - soft[0][n, t])).sum())
        for n in range(2)
        for t in range(5)
        if labels[n, t] >= 0
    ]
    assert float(loss) == pytest.approx(4 * sum(expected) / len(expected))
