"""Layer-by-layer pruning writes the model that pruning the whole model gives, within the estimated memory."""

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
from secateurs.pruning.layerwise.weight_files import WeightFiles
from secateurs.structure.tensors import tensors_in

pytestmark = pytest.mark.filterwarnings("ignore::secateurs.SecateursWarning")
transformers.logging.set_verbosity_error()
UNIFORM = sc.Limits(uniform=True)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("LlamaForCausalLM:grouped", {}),
        ("GPT2LMHeadModel", {"kinds": ["neuron"], "compensate": False}),  # tied, with transposed weights
        ("T5ForConditionalGeneration", {"budget": "params:0.8"}),
        (
            "MixtralForCausalLM",
            {"criterion": "nexp", "limits": sc.Limits(multiple=4)},
        ),  # its files contain one tensor per expert
    ],
)
def test_the_written_model_equals_the_one_of_ordinary_pruning(name, options, tmp_path):
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
    small, loading = type(dense).from_pretrained(tmp_path / "small", output_loading_info=True)
    assert not any(loading.values())
    expected = ordinary.model.state_dict()
    state = small.state_dict()
    assert {key: tensor.dtype for key, tensor in state.items()} == {key: value.dtype for key, value in expected.items()}
    assert all(torch.equal(tensor, expected[key]) for key, tensor in state.items())
    for name in ("config.json", "generation_config.json"):
        one, two = (json.loads((tmp_path / where / name).read_text()) for where in ("small", "ordinary"))
        assert one == two
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "small")("the cat").input_ids
    assert len(list((tmp_path / "small").glob("*.safetensors"))) > 2


class PeakMemory(TorchDispatchMode):
    """The largest number of bytes of operator results alive at a time."""

    now = peak = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        known = {tensor.untyped_storage()._cdata for tensor in tensors_in(args, kwargs or {})}
        out = func(*args, **(kwargs or {}))
        for tensor in tensors_in(out):
            storage = tensor.untyped_storage()
            if storage._cdata not in known and not tensor.is_meta:
                known.add(storage._cdata)
                self.now += storage.nbytes()
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self.subtract, storage.nbytes())
        return out

    def subtract(self, size):
        self.now -= size


@pytest.mark.slow
@pytest.mark.parametrize(("criterion", "compensate"), [("wanda", False), ("obs", True)])
def test_peak_memory_is_below_the_estimate_and_far_below_the_model(criterion, compensate, tmp_path):
    model("LlamaForCausalLM", hidden_size=96, num_hidden_layers=10, intermediate_size=96).save_pretrained(tmp_path)
    data = [torch.randint(3, 20, (2, 8)) for _ in range(3)]
    work = sc.Layerwise(tmp_path, data, criterion=criterion, budget="keep:0.5", compensate=compensate)
    estimate = work.estimate
    with PeakMemory() as measured:
        work.prune(tmp_path / "small")
    assert estimate.peak / 3 < measured.peak < estimate.peak < 0.8 * estimate.weights
    assert estimate.passes == 1 + compensate
    assert f"peak {estimate.peak / 2**20:,.1f} MB" in str(estimate)


def llama(tmp_path, **options):
    model("LlamaForCausalLM", **options).save_pretrained(tmp_path / "dense")
    return tmp_path / "dense", [torch.randint(3, 20, (2, 16)) for _ in range(2)]


def with_wrong_epsilon(config):
    config.rms_norm_eps = 1.0
    return config


def with_one_wrong_weight(tensors):
    next(iter(tensors.values())).view(-1)[0] += 1
    return tensors


@pytest.mark.parametrize(
    ("where", "name", "change", "message"),
    [
        (layerwise_run, "cut_config", with_wrong_epsilon, "differ in layer model.layers.0: output 0 differs"),
        (
            WeightFiles,
            "_save",
            with_one_wrong_weight,
            "'model.embed_tokens.weight' .* is not the planned part",
        ),
    ],
)
def test_a_wrong_file_fails_verification_and_leaves_no_directory(where, name, change, message, tmp_path, monkeypatch):
    path, data = llama(tmp_path)
    original = getattr(where, name)
    if where is WeightFiles:
        monkeypatch.setattr(where, name, lambda self, file, tensors: original(self, file, change(tensors)))
    else:
        monkeypatch.setattr(where, name, lambda *args: change(original(*args)))
    with pytest.raises(VerificationError, match=message):
        sc.Layerwise(path, data, criterion="l2", budget="keep:0.5").prune(tmp_path / "small")
    assert [path.name for path in tmp_path.iterdir()] == ["dense"]


def test_groups_whose_removal_is_not_exact_are_cut(tmp_path, capfd):
    path, data = llama(tmp_path)
    capfd.readouterr()
    result = sc.Layerwise(path, data, criterion="l2", budget="keep:0.5", kinds=["hidden"], compensate=False).prune(
        tmp_path / "small"
    )
    assert capfd.readouterr() == ("", ""), "the library never prints"
    assert transformers.LlamaForCausalLM.from_pretrained(tmp_path / "small").config.hidden_size == 8
    assert result.compensation is None


def test_widths_that_no_configuration_describes_are_refused_before_scoring(tmp_path):
    model("BertForSequenceClassification").save_pretrained(tmp_path)
    data = [torch.randint(3, 20, (2, 8))]
    with pytest.raises(PersistError, match=r"no configuration of BertForSequence\w+ describes .*'head'.*keep=\["):
        _ = sc.Layerwise(tmp_path, data, criterion="wanda").estimate


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"device": "nowhere"}, UsageError, "'nowhere'"),
        ({"kinds": ["expert"]}, SecateursError, "nothing to prune"),
        ({"budget": "params:0.001"}, SecateursError, "cannot be reached"),
    ],
)
def test_infeasible_requests_are_refused(options, error, message, tmp_path):
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


def test_the_command_prints_the_estimate_before_it_prunes(tmp_path):
    path, _ = llama(tmp_path)
    tokenizer().save_pretrained(path)
    (tmp_path / "text.txt").write_text(" ".join(WORDS * 8))
    asked = [f"hf:{path}", "--data", f"text:{tmp_path / 'text.txt'}", "--layerwise", "--criterion", "flap"]
    plain = command(*asked, "--budget", "keep:0.5", "--scratch", tmp_path / "scratch", "--out", tmp_path / "one")
    assert plain.exit_code == 0, plain.output
    order = [plain.output.index(text) for text in ("in memory, at most", "plan for keep:0.5", "Model: ")]
    assert order == sorted(order)
    with_json = command(*asked, "--budget", "keep:0.5", "--out", tmp_path / "two", "--json")
    assert with_json.exit_code == 0, with_json.output
    report = json.loads(with_json.stdout)
    assert report["pruned"]["params"] < report["dense"]["params"]
    assert report["estimate"]["peak"] > 0
    one, two = (transformers.LlamaForCausalLM.from_pretrained(tmp_path / name).state_dict() for name in ("one", "two"))
    assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--epochs", "1"], "--layerwise cannot be combined with --epochs or another option of training"),
        (["--lr", "0.1"], "options of training are given (lr), but nothing is trained: add --epochs"),
        (
            ["--test", "random:8", "--rounds", "2"],
            "cannot be combined with --test, --rounds, --ramp or --during-training",
        ),
        (["--weights", "some"], "cannot be combined with --weights"),
        (["--overwrite"], "cannot be combined with --overwrite"),
        (["--no-uniform"], "widths are uniform"),
        (["--criterion", "taylor"], "needs gradients"),
    ],
)
def test_options_that_need_the_whole_model_are_refused(options, message, tmp_path):
    path, _ = llama(tmp_path)
    done = command(f"hf:{path}", "--data", "random:4", "--input", "8", "--layerwise", "--out", tmp_path / "o", *options)
    assert done.exit_code == 1
    assert message in str(done.exception)


def test_models_without_a_directory_and_options_of_other_commands_are_refused(tmp_path):
    done = command("py:some.py:build", "--data", "random:4", "--layerwise", "--out", tmp_path / "o")
    assert "give hf:PATH, not 'py:some.py:build'" in str(done.exception)
    done = command("digits", "--data", "digits", "--scratch", tmp_path, "--out", tmp_path / "o")
    assert done.exit_code == 2
    assert "this option needs --layerwise" in done.output
