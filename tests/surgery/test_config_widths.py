"""Uniform widths: only widths that the model's class supports are chosen, and budgets are met."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.languages import transformers

import secateurs as sc
from secateurs.budgets.allocate import allocate
from secateurs.errors import InfeasibleBudgetError
from secateurs.surgery.config_widths import supported_widths

BODY = {"vocab_size": 64, "hidden_size": 60, "num_hidden_layers": 2, "intermediate_size": 40,
        "num_attention_heads": 12, "head_dim": 4, "num_key_value_heads": 12, "max_position_embeddings": 32,
        "tie_word_embeddings": False}  # fmt: skip
IDS = {"input_ids": torch.arange(3, 27).reshape(2, 12)}
DIVIDE = {1, 2, 3, 4, 5, 6, 10, 12}


def build(name="LlamaForCausalLM", **options):
    torch.manual_seed(0)
    kind = getattr(transformers, name)
    return kind(kind.config_class(**{**BODY, **options})).eval()


def groups_of(structure, kind):
    return tuple(name for name, group in structure.groups.items() if group.kind == kind)


@pytest.fixture(scope="module")
def llama():
    model = build()
    structure = sc.trace(model, IDS)
    return model, structure, supported_widths(model, structure)


def test_supported_widths_are_those_that_the_class_builds(llama):
    model, structure, takes = llama
    heads, neurons = groups_of(structure, "head"), groups_of(structure, "neuron")
    assert {width for width in range(1, 13) if takes(heads, width)} == DIVIDE
    for width in range(1, 13):
        options = {**BODY, "num_attention_heads": width, "num_key_value_heads": width}
        try:
            type(model).config_class(**options)
        except Exception:
            assert width not in DIVIDE
        else:
            assert width in DIVIDE
    assert all(takes(neurons, width) for width in (1, 7, 39, 40))


def test_supported_widths_of_key_value_groups_count_their_queries():
    model = build(num_attention_heads=12, num_key_value_heads=6)
    structure = sc.trace(model, IDS)
    takes = supported_widths(model, structure)
    groups = groups_of(structure, "kv_group")
    assert {width for width in range(1, 7) if takes(groups, width)} == {1, 2, 3, 5, 6}  # × 2 divides 60


def test_every_width_is_supported_where_no_field_describes_it():
    body = {"n_embd": 24, "n_head": 6, "n_layer": 1, "vocab_size": 64, "n_positions": 16}
    kind = transformers.GPT2LMHeadModel
    model = kind(kind.config_class(**body)).eval()
    structure = sc.trace(model, IDS)
    takes = supported_widths(model, structure)
    assert all(takes(groups_of(structure, "head"), width) for width in range(1, 7))
    assert all(takes(groups_of(structure, "neuron"), width) for width in (1, 31, 95))  # n_inner was left open


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["macs", "params", "keep"]), st.floats(0.3, 1), st.sampled_from(["global", "local"]),
    st.integers(0, 99), st.sampled_from([1, 2]),
)  # fmt: skip
def test_supported_widths_meet_the_budget_within_one_step(llama, quantity, fraction, scope, seed, multiple):
    _, structure, takes = llama
    generator = torch.Generator().manual_seed(seed)
    scores = {name: torch.rand(group.size, generator=generator) for name, group in structure.groups.items()}
    limits = sc.Limits(uniform=True, multiple=multiple)

    def amount(widths):
        return sum(widths.values()) if quantity == "keep" else getattr(structure.cost(widths), quantity)

    target = fraction * amount({name: group.size for name, group in structure.groups.items()})
    try:
        plan = allocate(structure, scores, f"{quantity}:{fraction}", limits, scope, allowed_widths=takes)
    except InfeasibleBudgetError:
        least = {name: min(w for w in DIVIDE if not w % multiple) if g.kind == "head" else multiple
                 for name, g in structure.groups.items()}  # fmt: skip
        assert amount(least) > target
        return
    assert amount(plan.widths) <= target
    for kind, allowed in (("head", DIVIDE), ("neuron", set(range(1, 41)))):
        role = groups_of(structure, kind)
        (width,) = {plan.widths[name] for name in role}
        size = structure.groups[role[0]].size
        allowed = {w for w in allowed if not w % multiple or w == size}
        assert width in allowed
        for wider in sorted(w for w in allowed if w > width)[:1]:
            assert amount({**plan.widths, **dict.fromkeys(role, wider)}) > target


def test_limits_without_a_supported_width_are_refused(llama):
    _, structure, takes = llama
    scores = {name: torch.ones(structure.groups[name].size) for name in groups_of(structure, "head")}
    limits = sc.Limits(floor=7, cap=9, uniform=True)
    with pytest.raises(InfeasibleBudgetError, match="class of the model supports no width from 7 to 9"):
        allocate(structure, scores, "keep:0.9", limits, allowed_widths=takes)


@pytest.mark.parametrize("schedule", [None, sc.Schedule(rounds=2)])
def test_pruned_models_can_be_saved_at_any_budget(tmp_path, schedule):
    result = sc.prune(
        build(), [IDS], criterion="random", budget="keep:0.7", kinds="head", compensate=False, schedule=schedule
    )
    assert set(result.plan.widths.values()) == {6}  # not 8
    result.save_pretrained(tmp_path / "small")


def test_a_model_cut_during_training_has_supported_widths():
    model = build()
    data = [{**IDS, "labels": IDS["input_ids"]}]
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    schedule = {"stop": 4, "every": 2, "ramp": "linear"}
    pruner = sc.gradual(model, optimizer, data, criterion="random", budget="keep:0.7", kinds="head", **schedule)
    widths = [set(plan.widths.values()) for _ in range(4) if (plan := pruner.step())]
    assert widths == [{10}, {6}]
