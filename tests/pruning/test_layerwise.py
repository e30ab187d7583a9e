"""Layer-by-layer scores equal those of the whole model, and unsupported models are refused."""

from __future__ import annotations

import copy

import pytest
import torch
from support.languages import transformers
from torch import nn

import secateurs as sc
from benchmarks.zoo import BY_NAME
from secateurs.criteria.parse import parse_criterion
from secateurs.data.call import as_call
from secateurs.errors import CriterionError, DataError, ModelError, UsageError
from secateurs.pruning.layerwise.execution_plan import plan_execution
from secateurs.pruning.layerwise.execution_trace import OutputTensor
from secateurs.pruning.layerwise.offloaded_model import OffloadedModel
from secateurs.pruning.layerwise.score import score_by_stages
from secateurs.pruning.layerwise.stages import open_stages
from secateurs.utils.progress import silent

pytestmark = pytest.mark.filterwarnings("ignore::secateurs.SecateursWarning")
transformers.logging.set_verbosity_error()
CPU = torch.device("cpu")


def save_model(name, directory, batches=2):
    """A model of the zoo that was saved and loaded, and batches for it."""
    torch.manual_seed(0)
    model = BY_NAME[name].build().eval()
    model.save_pretrained(directory)
    return type(model).from_pretrained(directory).eval(), [BY_NAME[name].inputs() for _ in range(batches)]


def assert_same(scores, expected):
    assert list(scores) == list(expected)
    assert all(torch.equal(scores[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize(
    ("name", "criterion"),
    [
        ("LlamaForCausalLM", "0.5*nexp+0.3*l2+0.2*ssi"),
        ("BertForSequenceClassification", "0.5*obs+0.5*diversity"),
        ("GPT2LMHeadModel", "0.5*ssi+0.5*random"),
        (
            "T5ForConditionalGeneration",
            "0.5*wanda+0.5*apoz",
        ),  # the first block has the position bias of all
        ("BartForConditionalGeneration", "0.5*flap+0.5*l1"),
        ("Gemma3ForCausalLM", "reversed-obs"),
        ("MixtralForCausalLM", "0.5*nexp-median+0.5*l2"),
    ],
)
def test_scores_equal_those_of_the_whole_model_bit_by_bit(name, criterion, tmp_path):
    model, data = save_model(name, tmp_path / "dense")
    work = sc.Layerwise(tmp_path / "dense", data, criterion=criterion, scratch=tmp_path / "scratch")
    expected = sc.score(model, data, criterion, sc.trace(model, data[0]))
    assert_same(work.scores, expected)
    assert len(expected) > 3
    assert not list((tmp_path / "scratch").glob("layers-*")), "temporary files are removed"


@pytest.mark.parametrize("criterion", ["wanda", "nexp", "l2"])
def test_groups_that_span_several_layers_are_scored(criterion, tmp_path):
    model, data = save_model("LlamaForCausalLM", tmp_path)
    structure = sc.trace(model, data[0], kinds="all")
    expected = sc.score(model, data, criterion, structure)
    assert_same(sc.Layerwise(tmp_path, iter(data), criterion=criterion, kinds="all").scores, expected)
    assert any(structure.group(name).kind == "hidden" for name in expected), "the residual stream"


def test_padded_batches_of_different_lengths_are_scored(tmp_path):
    model, _ = save_model("LlamaForCausalLM", tmp_path)
    data = []
    for samples, length in ((3, 9), (2, 12), (1, 5)):
        mask = torch.ones(samples, length, dtype=torch.long)
        mask[0, :2] = 0
        data.append({"input_ids": torch.randint(3, 120, (samples, length)), "attention_mask": mask})
    for criterion in ("flap", "nexp"):
        expected = sc.score(model, data, criterion, sc.trace(model, as_call(data[0]).map(lambda t: t[:2])))
        assert_same(sc.Layerwise(tmp_path, data, criterion=criterion).scores, expected)


# Models whose layers exchange tensors and parameters in unusual ways.


class FeedForward(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(8, 16), nn.Linear(16, 8)

    def forward(self, x, more=None):
        return x + self.down(torch.relu(self.up(x if more is None else x + more)))


class Body(nn.Module):
    """Four blocks; `wiring` says how they are connected."""

    def __init__(self, wiring):
        super().__init__()
        torch.manual_seed(0)
        self.wiring, self.captured = wiring, {}
        self.first, self.blocks, self.last = (
            nn.Linear(4, 8),
            nn.ModuleList(FeedForward() for _ in range(4)),
            nn.Linear(8, 3),
        )

    def forward(self, x):
        a, b, c, d = self.blocks
        x = self.first(x)
        if self.wiring == "skip":
            y = a(x)
            return self.last(d(c(b(y)) + 2 * y))
        if self.wiring == "argument":
            y = a(x)
            return self.last(d(c(b(y), y)))
        if self.wiring == "shared":  # a parameter of a layer is used outside the layer
            return self.last(d(c(b(a(x)))) + a.down.bias)
        if self.wiring == "output":
            y = a(x)
            return self.last(d(c(b(y)))), y
        if self.wiring == "captured":  # a hook reads a tensor that no layer returns
            handle = a.up.register_forward_hook(lambda module, args, output: self.captured.update(x=output))
            y = a(x)
            handle.remove()
            return self.last(d(c(b(y))) + self.captured["x"][..., :8])
        if self.wiring == "in place":
            return self.last(d(c(b(a(x).mul_(2)))))
        return self.last(c(b(a(a(x)))))  # twice


def score_stages(stages, offloaded, structure, criterion):
    """Scores from stages, without options."""
    parsed = parse_criterion(criterion)
    options = {"aggregate": "mean", "seed": 0, "progress": silent}
    return score_by_stages(stages, offloaded, parsed, structure=structure, **options)


def run(wiring, criterion="wanda", data=None):
    model = Body(wiring).eval()
    data = data or [torch.randn(5, 6, 4) for _ in range(3)]
    files = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    offloaded = OffloadedModel(copy.deepcopy(model), files, CPU)
    plan = plan_execution(offloaded.model, as_call(data[0]), offloaded.parameters)
    structure = sc.trace(offloaded.model, data[0])
    with open_stages(offloaded, plan, data) as stages:
        scores = score_stages(stages, offloaded, structure, criterion)
    return scores, sc.score(model, data, criterion, sc.trace(model, data[0])), plan


@pytest.mark.parametrize(
    ("wiring", "long_lived"),
    [("skip", {"blocks.0", "blocks.2", "blocks.3"}), ("argument", {"blocks.0", "blocks.3"}), ("shared", {"blocks.3"}),
     ("output", {"blocks.0", "blocks.3"})],
)  # fmt: skip
def test_outputs_that_are_used_after_the_next_layer_are_long_lived(wiring, long_lived):
    scores, expected, plan = run(wiring)
    assert_same(scores, expected)
    assert plan.long_lived == {OutputTensor(name, 0) for name in long_lived}
    assert ("blocks.0.down.bias" in plan.shared_parameters) == (wiring == "shared")


@pytest.mark.parametrize(
    ("wiring", "message"),
    [("captured", "uses a tensor that layer 'blocks.0' makes and that the layer does not return"),
     ("in place", r"modifies in place a tensor that other code made \(aten::mul_"),
     ("twice", "layer 'blocks.0' runs 2 times")],
)  # fmt: skip
def test_models_that_cannot_be_run_layer_by_layer_are_refused(wiring, message):
    with pytest.raises(ModelError, match=message):
        run(wiring)


def test_a_refused_batch_leaves_no_replaced_forward_and_no_loaded_weight():
    model = Body("skip").eval()
    files = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    offloaded = OffloadedModel(model, files, CPU)
    good = torch.randn(5, 6, 4)
    plan = plan_execution(model, as_call(good), offloaded.parameters)
    structure = sc.trace(model, good)
    with (
        pytest.raises(DataError, match="batch 1"),
        open_stages(offloaded, plan, [good, torch.randn(5, 6, 7)]) as stages,
    ):
        score_stages(stages, offloaded, structure, "wanda")
    assert not any("forward" in vars(module) for module in model.modules())
    assert not any(parameter.any() for parameter in model.parameters()), "no weight is left loaded"


def test_activations_that_are_not_finite_are_refused():
    with pytest.raises(DataError, match="not finite"):
        run("skip", data=[torch.full((5, 6, 4), torch.nan)])


GRADIENTS = ["taylor", "fisher", "0.5*l2+0.5*snip", "synflow", sc.Hybrid(("l1", "nexp"), alpha="auto")]


@pytest.mark.parametrize("criterion", GRADIENTS, ids=str)
def test_criteria_that_need_gradients_are_refused_before_the_model_is_read(criterion):
    with pytest.raises(CriterionError, match=r"needs gradients, which need all layers in memory at once.*wanda"):
        sc.Layerwise("nowhere", [], criterion=criterion)


def test_limits_without_uniform_widths_are_refused_before_the_model_is_read():
    with pytest.raises(UsageError, match="widths are uniform"):
        sc.Layerwise("nowhere", [], limits=sc.Limits(uniform=False))
