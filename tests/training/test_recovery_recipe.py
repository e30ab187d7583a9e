"""The recipe of fine-tuning: its fields, JSON and learning rates."""

import json
from dataclasses import asdict

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, MultiStepLR, SequentialLR
from torch.testing import assert_close

import secateurs as sc
from secateurs.errors import UsageError
from secateurs.training.optimizer import make_optimizer, make_schedule


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
