"""Layer by layer: the same scores as with the whole model in memory, or a clear word on why not."""

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
from secateurs.pruning.layerwise.execution_plan import Leaf, find_passage
from secateurs.pruning.layerwise.offloaded_model import Hollow
from secateurs.pruning.layerwise.score import score_by_stages
from secateurs.pruning.layerwise.stages import staged
from secateurs.utils.progress import silent

pytestmark = pytest.mark.filterwarnings("ignore::secateurs.SecateursWarning")
transformers.logging.set_verbosity_error()
CPU = torch.device("cpu")


def saved(name, directory, batches=2):
    """A model of the zoo, in files, and batches for it."""
    torch.manual_seed(0)
    model = BY_NAME[name].build().eval()
    model.save_pretrained(directory)
    return type(model).from_pretrained(directory).eval(), [BY_NAME[name].inputs() for _ in range(batches)]


def assert_same(found, expected):
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], its) for name, its in expected.items())


@pytest.mark.parametrize(
    ("name", "criterion"),
    [
        ("LlamaForCausalLM", "0.5*nexp+0.3*l2+0.2*ssi"),
        ("BertForSequenceClassification", "0.5*obs+0.5*diversity"),
        ("GPT2LMHeadModel", "0.5*ssi+0.5*random"),
        ("T5ForConditionalGeneration", "0.5*wanda+0.5*apoz"),  # its first block makes the position bias of all
        ("BartForConditionalGeneration", "0.5*flap+0.5*l1"),
        ("Gemma3ForCausalLM", "reversed-obs"),
        ("MixtralForCausalLM", "0.5*nexp-median+0.5*l2"),
    ],
)
def test_scores_are_those_of_the_whole_model_bit_by_bit(name, criterion, tmp_path):
    model, data = saved(name, tmp_path / "dense")
    work = sc.Layerwise(tmp_path / "dense", data, criterion=criterion, scratch=tmp_path / "scratch")
    expected = sc.score(model, data, criterion, sc.trace(model, data[0]))
    assert_same(work.scores, expected)
    assert len(expected) > 3
    assert not list((tmp_path / "scratch").glob("layers-*")), "files are gone when they are done with"


@pytest.mark.parametrize("criterion", ["wanda", "nexp", "l2"])
def test_groups_that_span_layers_are_scored_when_all_of_them_have_been_seen(criterion, tmp_path):
    model, data = saved("LlamaForCausalLM", tmp_path)
    structure = sc.trace(model, data[0], kinds="all")
    expected = sc.score(model, data, criterion, structure)
    assert_same(sc.Layerwise(tmp_path, iter(data), criterion=criterion, kinds="all").scores, expected)
    assert any(structure.group(name).kind == "hidden" for name in expected), "the stream, which all layers share"


def test_padding_and_batches_of_other_lengths(tmp_path):
    model, _ = saved("LlamaForCausalLM", tmp_path)
    data = []
    for samples, length in ((3, 9), (2, 12), (1, 5)):
        mask = torch.ones(samples, length, dtype=torch.long)
        mask[0, :2] = 0
        data.append({"input_ids": torch.randint(3, 120, (samples, length)), "attention_mask": mask})
    for criterion in ("flap", "nexp"):
        expected = sc.score(model, data, criterion, sc.trace(model, as_call(data[0]).map(lambda t: t[:2])))
        assert_same(sc.Layerwise(tmp_path, data, criterion=criterion).scores, expected)


# Models of our own, whose layers hand things over in other ways.


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(8, 16), nn.Linear(16, 8)

    def forward(self, x, more=None):
        return x + self.down(torch.relu(self.up(x if more is None else x + more)))


class Body(nn.Module):
    """Four blocks; `way` says how they hang together."""

    def __init__(self, way):
        super().__init__()
        torch.manual_seed(0)
        self.way, self.held = way, {}
        self.first, self.blocks, self.last = nn.Linear(4, 8), nn.ModuleList(Block() for _ in range(4)), nn.Linear(8, 3)

    def forward(self, x):
        a, b, c, d = self.blocks
        x = self.first(x)
        if self.way == "skip":
            y = a(x)
            return self.last(d(c(b(y)) + 2 * y))
        if self.way == "given":
            y = a(x)
            return self.last(d(c(b(y), y)))
        if self.way == "shared":  # a layer's parameter is used outside of it
            return self.last(d(c(b(a(x)))) + a.down.bias)
        if self.way == "output":
            y = a(x)
            return self.last(d(c(b(y)))), y
        if self.way == "aside":  # handed over without being returned
            handle = a.up.register_forward_hook(lambda module, args, output: self.held.update(x=output))
            y = a(x)
            handle.remove()
            return self.last(d(c(b(y))) + self.held["x"][..., :8])
        if self.way == "in place":
            return self.last(d(c(b(a(x).mul_(2)))))
        return self.last(c(b(a(a(x)))))  # twice


def run(way, criterion="wanda", data=None):
    model = Body(way).eval()
    data = data or [torch.randn(5, 6, 4) for _ in range(3)]
    files = {name: its.detach().clone() for name, its in model.named_parameters()}
    hollow = Hollow(copy.deepcopy(model), files, CPU)
    passage = find_passage(hollow.model, as_call(data[0]), hollow.parameters)
    structure = sc.trace(hollow.model, data[0])
    with staged(hollow, passage, data) as stages:
        found = score_by_stages(stages, hollow, parse_criterion(criterion), structure, "mean", 0, silent)
    return found, sc.score(model, data, criterion, sc.trace(model, data[0])), passage, hollow


@pytest.mark.parametrize(
    ("way", "lasting"),
    [("skip", {"blocks.0", "blocks.2", "blocks.3"}), ("given", {"blocks.0", "blocks.3"}), ("shared", {"blocks.3"}),
     ("output", {"blocks.0", "blocks.3"})],
)  # fmt: skip
def test_what_is_used_later_lasts(way, lasting):
    found, expected, passage, _ = run(way)
    assert_same(found, expected)
    assert passage.lasting == {Leaf(name, 0) for name in lasting}
    assert ("blocks.0.down.bias" in passage.outside) == (way == "shared")


@pytest.mark.parametrize(
    ("way", "message"),
    [("aside", "uses a tensor that layer 'blocks.0' has made and not returned"),
     ("in place", r"writes into a tensor that it has not made \(aten::mul_"),
     ("twice", "layer 'blocks.0' runs 2 times")],
)  # fmt: skip
def test_what_cannot_be_run_layer_by_layer_is_refused(way, message):
    with pytest.raises(ModelError, match=message):
        run(way)


def test_nothing_stays_behind_where_the_data_is_refused():
    model = Body("skip").eval()
    files = {name: its.detach().clone() for name, its in model.named_parameters()}
    hollow = Hollow(model, files, CPU)
    good = torch.randn(5, 6, 4)
    passage = find_passage(model, as_call(good), hollow.parameters)
    structure = sc.trace(model, good)
    with pytest.raises(DataError, match="batch 1"), staged(hollow, passage, [good, torch.randn(5, 6, 7)]) as stages:
        score_by_stages(stages, hollow, parse_criterion("wanda"), structure, "mean", 0, silent)
    assert not any("forward" in vars(module) for module in model.modules())
    assert not any(its.any() for its in model.parameters()), "no weight is left loaded"


def test_activations_that_are_not_finite_are_told():
    with pytest.raises(DataError, match="not finite"):
        run("skip", data=[torch.full((5, 6, 4), torch.nan)])


GRADIENTS = ["taylor", "fisher", "0.5*l2+0.5*snip", "synflow", sc.Hybrid(("l1", "nexp"), alpha="auto")]


@pytest.mark.parametrize("criterion", GRADIENTS, ids=str)
def test_criteria_that_need_gradients_are_refused_at_once(criterion):
    with pytest.raises(CriterionError, match=r"needs gradients, which go through all layers at once.*wanda"):
        sc.Layerwise("nowhere", [], criterion=criterion)


def test_widths_that_differ_are_refused_at_once():
    with pytest.raises(UsageError, match="widths are uniform"):
        sc.Layerwise("nowhere", [], limits=sc.Limits(uniform=False))
