"""`PruningConfig`: texts become objects once, JSON gives the same configuration back, contradictions are refused."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import secateurs as sc
from secateurs.budgets import Budget, Scope
from secateurs.criteria import CRITERIA, parse_criterion
from secateurs.errors import BudgetError, CriterionError, UsageError
from secateurs.pruning import PruningConfig
from secateurs.pruning.config import ROUNDS_AND_TRAINING
from secateurs.training import Recovery

fractions = st.floats(0, 1, exclude_min=True)
configurations = st.builds(
    PruningConfig,
    criterion=st.sampled_from([*sorted(CRITERIA), "0.7*nexp+0.3*l1", "auto*l1+auto*nexp", "reversed-ssi"]),
    budget=st.builds("{}:{!r}".format, st.sampled_from(["keep", "macs", "params"]), fractions),
    scope=st.sampled_from([None, *Scope]),
    limits=st.builds(sc.Limits, floor=fractions, multiple=st.integers(1, 16), uniform=st.sampled_from([None, True])),
    kinds=st.none() | st.lists(st.sampled_from(["channel", "head"]), min_size=1),
    keep=st.lists(st.text("ab.*", min_size=1), max_size=2),
    aggregate=st.sampled_from(["auto", "mean", "max", "sum"]),
    compensate=st.booleans(),
    schedule=st.builds(sc.Schedule, rounds=st.integers(2, 5), ramp=st.sampled_from(["linear", "cubic"])),
    between=st.none() | st.builds(Recovery, epochs=st.integers(1, 3)),
    recovery=st.none() | st.builds(Recovery, epochs=st.integers(1, 3), lr=st.floats(1e-5, 1)),
    recalibrate=st.sampled_from([None, True, False]),
    seed=st.integers(0, 9),
)


@given(configurations)
def test_json_gives_the_same_configuration_back(config):
    again = PruningConfig.from_json(config.to_json())
    assert again.to_json() == config.to_json()
    assert again.criterion.name == config.criterion.name
    assert {**dict(again), "criterion": None} == {**dict(config), "criterion": None}


def test_texts_are_parsed_to_objects():
    config = PruningConfig(criterion="l2", budget="macs:0.25", scope="per-cost", kinds="channel", keep="head")
    assert config.criterion is parse_criterion("l2")
    assert config.budget == Budget("macs", 0.25)
    assert config.scope is Scope.PER_COST
    assert (config.kinds, config.keep) == (("channel",), ("head",))


def test_defaults_are_parsed_too():
    config = PruningConfig()
    assert config.criterion is CRITERIA["obs"]
    assert (config.budget, config.scope, config.unit_scope) == (Budget("macs", 0.5), None, Scope("per-cost"))


def test_a_configuration_is_frozen_and_replace_returns_another():
    config = PruningConfig(seed=3)
    with pytest.raises(Exception, match="frozen"):
        config.seed = 4  # type: ignore[misc]
    other = config.replace(budget="keep:0.5")
    assert (other.budget, other.seed, config.budget) == (Budget("keep", 0.5), 3, Budget("macs", 0.5))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"criterion": "no-such"}, CriterionError, "no-such"),
        ({"budget": "half"}, BudgetError, "half"),
        ({"scope": "galaxy"}, BudgetError, "galaxy"),
        ({"seed": -1}, UsageError, "seed"),
        ({"seed": True}, UsageError, "seed"),
        ({"compensate": "yes"}, UsageError, "compensate"),
        ({"aggregate": "median"}, UsageError, "aggregate"),
        ({"limits": 3}, UsageError, "Limits"),
        ({"schedule": 3}, UsageError, "Schedule"),
        ({"recovery": 3}, UsageError, "Recovery"),
        ({"recovery": "module.fit"}, UsageError, "module.fit"),
        ({"keep": 3}, UsageError, "3"),
        ({"speed": 2}, UsageError, "speed"),
        ({"between": Recovery()}, UsageError, "between"),
        ({"schedule": sc.Schedule(during_training=True)}, UsageError, "recovery"),
        ({"schedule": sc.Schedule(2), "budget": "effective"}, BudgetError, "effective"),
    ],
)
def test_an_invalid_option_is_refused_by_name(options, error, message):
    with pytest.raises(error, match=message):
        PruningConfig(**options)


def test_unknown_keys_of_json_are_refused_at_every_level():
    values = json.loads(PruningConfig(recovery=Recovery()).to_json())
    for section in (values, values["limits"], values["schedule"], values["recovery"]):
        section["surprise"] = 1
        with pytest.raises(UsageError, match="surprise"):
            PruningConfig.from_json(json.dumps(values))
        del section["surprise"]
    assert PruningConfig.from_json(json.dumps(values)) == PruningConfig(recovery=Recovery())


def test_files_are_written_and_read(tmp_path):
    config = PruningConfig(criterion="nexp", limits=sc.Limits(0.2))
    config.save(tmp_path / "config.json")
    assert PruningConfig.load(tmp_path / "config.json") == config
    for name, text in (("none.json", None), ("no.json", "{"), ("list.json", "[]")):
        if text is not None:
            (tmp_path / name).write_text(text)
        with pytest.raises(UsageError, match="configuration"):
            PruningConfig.load(tmp_path / name)


def test_a_function_that_trains_is_written_by_name_and_not_read_back(net):
    def fit(model):
        return model

    config = PruningConfig(recovery=fit)
    assert config.recovery is fit
    assert json.loads(config.to_json())["recovery"].endswith("fit")
    with pytest.raises(UsageError, match="pass the function itself"):
        PruningConfig.from_json(config.to_json())


def test_keywords_positions_and_a_configuration_give_the_same_plan(net, batches):
    by_keywords = sc.prune(net, batches, criterion="l2", budget="macs:0.6", limits=sc.Limits(multiple=2))
    config = PruningConfig(criterion="l2", budget="macs:0.3", limits=sc.Limits(multiple=2))
    by_config = sc.prune(net, batches, config=config, budget="macs:0.6")
    by_position = sc.prune(net, batches, "l2", "macs:0.6", limits=sc.Limits(multiple=2))
    assert by_config.plan == by_keywords.plan == by_position.plan
    with pytest.raises(UsageError, match="PruningConfig"):
        sc.prune(net, batches, config="l2")


@pytest.mark.parametrize("field", ROUNDS_AND_TRAINING)
def test_gradual_refuses_unsupported_fields(net, batches, field):
    value = {"schedule": sc.Schedule(2), "recalibrate": True}.get(field, Recovery())
    options = {field: value, **({"schedule": sc.Schedule(2)} if field == "between" else {})}
    with pytest.raises(UsageError, match=field):
        sc.gradual(net, torch.optim.SGD(net.parameters(), lr=0.1), batches, stop=2, **options)
