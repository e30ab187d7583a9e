"""Layer by layer: what is written is what pruning the whole model gives, and takes no more memory than was told."""

from __future__ import annotations

import json
import weakref
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner
from support.languages import WORDS, model, tokenizer, transformers
from torch.utils._python_dispatch import TorchDispatchMode

import secateurs as sc
from benchmarks.zoo import BY_NAME
from secateurs.cli import app
from secateurs.errors import ModelError, PersistError, SecateursError, UsageError, VerificationError
from secateurs.pruning.layerwise import layerwise as layerwise_run
from secateurs.pruning.layerwise.write import Shards
from secateurs.structure.tensors import tensors_in

pytestmark = pytest.mark.filterwarnings("ignore::secateurs.SecateursWarning")
transformers.logging.set_verbosity_error()
UNIFORM = sc.Limits(uniform=True)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("LlamaForCausalLM:grouped", {}),
        ("GPT2LMHeadModel", {"kinds": ["neuron"], "compensate": False}),  # tied, and its weights are turned round
        ("T5ForConditionalGeneration", {"budget": "params:0.8"}),
        (
            "MixtralForCausalLM",
            {"criterion": "nexp", "limits": sc.Limits(multiple=4)},
        ),  # whose files hold experts one by one
    ],
)
def test_what_is_written_is_what_pruning_the_whole_model_gives(name, options, tmp_path):
    torch.manual_seed(0)
    dense = BY_NAME[name].build().eval().to(torch.bfloat16 if name.startswith("T5") else torch.float32)
    dense.save_pretrained(tmp_path / "dense")
    tokenizer().save_pretrained(tmp_path / "dense")
    data = [BY_NAME[name].inputs() for _ in range(2)]
    options = {"criterion": "wanda", "budget": "keep:0.5", **options}
    result = sc.Layerwise(tmp_path / "dense", data, **options).prune(tmp_path / "small")
    options["limits"] = replace(options.get("limits", UNIFORM), uniform=True)
    ordinary = sc.prune(type(dense).from_pretrained(tmp_path / "dense").eval(), data, **options)
    ordinary.save_pretrained(tmp_path / "ordinary")
    assert result.plan == ordinary.plan == sc.Plan.load(tmp_path / "small" / "plan.json")
    assert result.compensation == ordinary.compensation
    small, told = type(dense).from_pretrained(tmp_path / "small", output_loading_info=True)
    assert not any(told.values())
    expected = ordinary.model.state_dict()
    assert {key: its.dtype for key, its in small.state_dict().items()} == {k: its.dtype for k, its in expected.items()}
    assert all(torch.equal(its, expected[key]) for key, its in small.state_dict().items())
    for name in ("config.json", "generation_config.json"):
        one, two = (json.loads((tmp_path / where / name).read_text()) for where in ("small", "ordinary"))
        assert one == two
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "small")("the cat").input_ids
    assert len(list((tmp_path / "small").glob("*.safetensors"))) > 2


class Held(TorchDispatchMode):
    """The most bytes of tensors that operators made and that were held at a time."""

    now = peak = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        given = {its.untyped_storage()._cdata for its in tensors_in(args, kwargs or {})}
        out = func(*args, **(kwargs or {}))
        for its in tensors_in(out):
            storage = its.untyped_storage()
            if storage._cdata not in given and not its.is_meta:
                given.add(storage._cdata)
                self.now += storage.nbytes()
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self.gone, storage.nbytes())
        return out

    def gone(self, size):
        self.now -= size


@pytest.mark.parametrize(("criterion", "compensate"), [("wanda", False), ("obs", True)])
def test_memory_stays_below_the_estimate_and_far_below_the_model(criterion, compensate, tmp_path):
    model("LlamaForCausalLM", hidden_size=96, num_hidden_layers=10, intermediate_size=96).save_pretrained(tmp_path)
    data = [torch.randint(3, 20, (2, 8)) for _ in range(3)]
    work = sc.Layerwise(tmp_path, data, criterion=criterion, budget="keep:0.5", compensate=compensate)
    told = work.estimate
    with Held() as held:
        work.prune(tmp_path / "small")
    assert told.peak / 3 < held.peak < told.peak < 0.8 * told.weights
    assert told.passes == 1 + compensate
    assert f"peak {told.peak / 2**20:,.1f} MB" in str(told)


def llama(tmp_path, **options):
    model("LlamaForCausalLM", **options).save_pretrained(tmp_path / "dense")
    return tmp_path / "dense", [torch.randint(3, 20, (2, 16)) for _ in range(2)]


def lied(config):
    config.rms_norm_eps = 1.0
    return config


def spoilt(tensors):
    next(iter(tensors.values())).view(-1)[0] += 1
    return tensors


@pytest.mark.parametrize(
    ("where", "name", "change", "message"),
    [
        (layerwise_run, "changed_config", lied, "does not compute what it should in model.layers.0: output 0 differs"),
        (Shards, "_save", spoilt, "'model.embed_tokens.weight' was written, or .* other than planned"),
    ],
)
def test_what_was_written_wrong_is_found_and_nothing_is_left_of_it(where, name, change, message, tmp_path, monkeypatch):
    path, data = llama(tmp_path)
    right = getattr(where, name)
    if where is Shards:
        monkeypatch.setattr(where, name, lambda self, file, tensors: right(self, file, change(tensors)))
    else:
        monkeypatch.setattr(where, name, lambda *args: change(right(*args)))
    with pytest.raises(VerificationError, match=message):
        sc.Layerwise(path, data, criterion="l2", budget="keep:0.5").prune(tmp_path / "small")
    assert [its.name for its in tmp_path.iterdir()] == ["dense"]


def test_groups_whose_exactness_cannot_be_had_are_cut_too(tmp_path, capfd):
    path, data = llama(tmp_path)
    capfd.readouterr()
    result = sc.Layerwise(path, data, criterion="l2", budget="keep:0.5", kinds=["hidden"], compensate=False).prune(
        tmp_path / "small"
    )
    assert capfd.readouterr() == ("", ""), "the library never prints"
    assert transformers.LlamaForCausalLM.from_pretrained(tmp_path / "small").config.hidden_size == 8
    assert result.compensation is None


def test_what_no_configuration_can_tell_is_refused_before_anything_is_scored(tmp_path):
    model("BertForSequenceClassification").save_pretrained(tmp_path)
    data = [torch.randint(3, 20, (2, 8))]
    with pytest.raises(PersistError, match=r"BertForSequenceClassification has no way to tell .*'head'.*keep=\["):
        _ = sc.Layerwise(tmp_path, data, criterion="wanda").estimate


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"device": "nowhere"}, UsageError, "'nowhere'"),
        ({"kinds": ["expert"]}, SecateursError, "nothing to prune"),
        ({"budget": "params:0.001"}, SecateursError, "cannot be reached"),
    ],
)
def test_what_cannot_be_done_is_said(options, error, message, tmp_path):
    path, data = llama(tmp_path)
    with pytest.raises(error, match=message):
        sc.Layerwise(path, data, criterion="l2", **options).prune(tmp_path / "small")
    with pytest.raises(PersistError, match="exists already"):
        sc.Layerwise(path, data, criterion="l2").prune(path)
    with pytest.raises(ModelError, match="nowhere"):
        _ = sc.Layerwise(tmp_path / "nowhere", data, criterion="l2").scores


def test_weights_of_two_precisions_are_refused(tmp_path):
    model("T5ForConditionalGeneration").to(torch.float16).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="keeps wo in 32 bits where the others have 16"):
        _ = sc.Layerwise(tmp_path, [torch.randint(3, 20, (2, 8))], criterion="l2").scores


def command(*args):
    return CliRunner().invoke(app, ["prune", *map(str, args)])


def test_the_command_line_tells_what_it_takes_first(tmp_path):
    path, _ = llama(tmp_path)
    tokenizer().save_pretrained(path)
    (tmp_path / "text.txt").write_text(" ".join(WORDS * 8))
    asked = [f"hf:{path}", "--data", f"text:{tmp_path / 'text.txt'}", "--layerwise", "--criterion", "flap"]
    told = command(*asked, "--budget", "keep:0.5", "--scratch", tmp_path / "scratch", "--out", tmp_path / "one")
    assert told.exit_code == 0, told.output
    order = [told.output.index(its) for its in ("in memory, at most", "plan for keep:0.5", "Model: ")]
    assert order == sorted(order)
    found = command(*asked, "--budget", "keep:0.5", "--out", tmp_path / "two", "--json")
    assert found.exit_code == 0, found.output
    its = json.loads(found.stdout)
    assert its["pruned"]["params"] < its["dense"]["params"]
    assert its["estimate"]["peak"] > 0
    one, two = (transformers.LlamaForCausalLM.from_pretrained(tmp_path / name).state_dict() for name in ("one", "two"))
    assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--epochs", "1"], "no --epochs or another option of training"),
        (["--lr", "0.1"], "no --epochs or another option of training"),
        (["--test", "random:8", "--rounds", "2"], "no --test; no --rounds, --ramp or --during-training"),
        (["--weights", "some"], "no --weights"),
        (["--overwrite"], "no --overwrite"),
        (["--no-uniform"], "widths are uniform"),
        (["--criterion", "taylor"], "needs gradients"),
    ],
)
def test_options_that_need_the_whole_model_are_refused(options, message, tmp_path):
    path, _ = llama(tmp_path)
    found = command(
        f"hf:{path}", "--data", "random:4", "--input", "8", "--layerwise", "--out", tmp_path / "o", *options
    )
    assert found.exit_code == 1
    assert message in str(found.exception)


def test_other_models_and_commands_are_refused(tmp_path):
    found = command("py:some.py:build", "--data", "random:4", "--layerwise", "--out", tmp_path / "o")
    assert "name one by hf:PATH, not 'py:some.py:build'" in str(found.exception)
    found = command("digits", "--data", "digits", "--scratch", tmp_path, "--out", tmp_path / "o")
    assert found.exit_code == 2
    assert "it is for --layerwise" in found.output
