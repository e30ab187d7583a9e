"""Tracking scores during training."""

import copy
import json
import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import secateurs as sc
from secateurs.errors import CriterionError, DataError, ModelError, PersistError, UsageError
from secateurs.training.track import track

COMPONENTS = ["ndi", "diversity", "informativeness", "fisher"]


def trained(model, batches, after_step=lambda: None):
    """Weights, gradients and random state after six training steps."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for x, y in batches * 2:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        after_step()
    gradients = [p.grad for p in model.parameters()]
    return [*model.state_dict().values(), *gradients, torch.get_rng_state()]


@pytest.fixture
def noisy(net):
    return nn.Sequential(*net[:9], nn.Dropout(0.5), net[9]).train()


@pytest.mark.filterwarnings("ignore::secateurs.errors.SecateursWarning")
def test_tracking_does_not_change_training(noisy, batches):
    twin = copy.deepcopy(noisy)
    torch.manual_seed(3)
    expected = trained(twin, batches)
    torch.manual_seed(3)
    loader = torch.utils.data.DataLoader(torch.randn(16, 3, 6, 6), 8, shuffle=True)  # draws random numbers
    torch.manual_seed(3)
    trackers = [track(noisy, batches, COMPONENTS, every=1), track(noisy, loader, "nexp", every=2)]
    weights = trained(noisy, batches, lambda: [tracker.step() for tracker in trackers])
    assert all(torch.equal(a, b) for a, b in zip(weights, expected, strict=True))
    assert all(module.training for module in noisy.modules())


def test_scores_are_recorded_at_the_start_and_then_at_intervals(net, batches):
    structure = sc.trace(net, batches[0][0])
    tracker = track(net, batches, "l1", every=2, structure=structure)
    scores = [sc.score(net, batches, "l1", structure)]
    trained(net, batches, lambda: (tracker.step(), scores.append(sc.score(net, batches, "l1", structure))))
    assert [record.step for record in tracker.history] == [0, 2, 4, 6]
    assert tracker.steps == 6
    for step, recorded in tracker.history:
        assert {name: values.tolist() for name, values in recorded["l1"].items()} == {
            name: values.tolist() for name, values in scores[step].items()
        }
    assert not torch.equal(scores[0]["0"], scores[6]["0"])


def test_all_records_use_the_same_samples(net, batches):
    tracker = track(net, iter(batches), ["random", "nexp"], every=1, seed=4)
    tracker.step()
    first, second = (record.scores for record in tracker.history)
    assert all(torch.equal(first[c][name], second[c][name]) for c in first for name in first[c])
    assert torch.equal(first["nexp"]["0"], sc.score(net, batches, "nexp")["0"])


def test_the_loss_of_the_user_is_used(net, batches):
    def loss(outputs, targets):
        return 3 * F.cross_entropy(outputs, targets, label_smoothing=0.1)

    scores = track(net, batches[:1], "fisher", loss=loss).history[0].scores["fisher"]
    assert torch.equal(scores["0"], sc.score(net, batches[:1], "fisher", loss=loss)["0"])


def test_rows_and_file_contain_every_score(net, batches, tmp_path):
    tracker = track(net, batches, ["l1", "nexp"], every=1)
    tracker.step()
    rows = tracker.rows()
    assert len(rows) == 2 * 2 * (8 + 12 + 16)
    expected = float(tracker.history[1].scores["nexp"]["3"][5])
    assert {"step": 1, "criterion": "nexp", "group": "3", "unit": 5, "score": expected} in rows
    tracker.save(tmp_path / "scores.jsonl")
    assert [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text().splitlines()] == rows
    with pytest.raises(PersistError, match="nowhere"):
        tracker.save(tmp_path / "nowhere" / "scores.jsonl")


def test_the_figure_has_a_panel_per_group_and_a_line_per_unit_and_mean(net, batches):
    tracker = track(net, batches, ["l1", "nexp"], every=1)
    tracker.step()
    svg = tracker.figure("nexp")
    assert svg.startswith("<svg")
    assert "nexp" in svg
    assert "l1" not in svg
    lines = re.findall(r"stroke: (#2a9d8f|#e9873d)", svg)
    assert [lines.count(colour) for colour in ("#2a9d8f", "#e9873d")] == [8 + 12 + 16, 3]
    assert re.findall(r">(0|3|7)</text>", svg)
    assert tracker.figure() != svg
    with pytest.raises(CriterionError, match="'ndi' was not tracked: choose one of l1, nexp"):
        tracker.figure("ndi")


@pytest.mark.parametrize("every", [0, -1, 2.5, "often"])
def test_an_invalid_interval_is_refused(net, batches, every):
    with pytest.raises(UsageError, match="every must be"):
        track(net, batches, every=every)


def test_invalid_arguments_are_refused_before_training(net, batches, images):
    with pytest.raises(CriterionError, match="unknown criterion 'best'"):
        track(net, batches, "best")
    with pytest.raises(CriterionError, match="give a list"):
        track(net, batches, [])
    with pytest.raises(DataError, match="single batch into a list"):
        track(net, images)
    with pytest.raises(DataError, match="no targets"):
        track(net, [images], "fisher")
    with pytest.raises(ModelError, match="expected a torch"):
        track(str, batches, structure=sc.trace(net, images))


def test_a_model_that_was_cut_cannot_be_tracked_further(net, batches):
    tracker = track(net, batches, "l1", every=1)
    net[7], net[9] = nn.Linear(12, 9), nn.Linear(9, 4)
    with pytest.raises(ModelError, match=r"'7.weight' has shape \[9, 12\], traced as \[16, 12\]"):
        tracker.step()
