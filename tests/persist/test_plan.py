"""Plans are read as they were written, and invalid files are refused."""

import json

import pytest
from support.plans import random_plan

import secateurs as sc
from secateurs.errors import PlanError


@pytest.fixture
def plan(net, images):
    return random_plan(sc.trace(net, images))


def test_a_plan_is_read_as_it_was_written(plan, tmp_path):
    plan.save(tmp_path / "plan.json")
    assert sc.Plan.load(tmp_path / "plan.json") == plan
    assert json.loads((tmp_path / "plan.json").read_text())["groups"]["0"]["keep"] == list(plan.keep["0"])
    assert "MACs" in str(plan)
    assert set(plan.removed()["0"]) == set(range(8)) - set(plan.keep["0"])


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p.update(more=1),
        lambda p: p.pop("budget"),
        lambda p: p["groups"]["0"].update(keep=[3, 1]),
        lambda p: p["groups"]["0"].update(keep=[1, 1]),
        lambda p: p["groups"]["0"].update(keep=[]),
        lambda p: p["groups"]["0"].update(keep=[8]),
        lambda p: p["groups"]["0"].update(keep=[-1]),
        lambda p: p["groups"]["0"].update(keep=["1"]),
        lambda p: p["dense"].update(params="many"),
        lambda p: p["dense"].update(more=1),
    ],
)
def test_a_file_that_is_no_plan_is_refused(plan, tmp_path, change):
    path = tmp_path / "plan.json"
    content = json.loads(plan.model_dump_json())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(PlanError, match="is not a plan"):
        sc.Plan.load(path)


def test_unreadable_and_unwritable_plans_are_errors(plan, tmp_path):
    with pytest.raises(PlanError, match="cannot read the plan"):
        sc.Plan.load(tmp_path / "absent.json")
    with pytest.raises(PlanError, match="cannot write the plan"):
        plan.save(tmp_path / "absent" / "plan.json")
    (tmp_path / "plan.json").write_text(plan.model_dump_json()[:100])
    with pytest.raises(PlanError, match="is not a plan"):
        sc.Plan.load(tmp_path / "plan.json")
