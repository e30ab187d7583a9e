"""Loading of pretrained models, and the command line on them."""

import json
import subprocess
import sys
import time

import pytest
import safetensors.torch
import torch
from support import languages

import secateurs as sc
from secateurs.errors import ModelError
from secateurs.experiments.report.comparison import Comparison
from secateurs.experiments.specs.data import read_data
from secateurs.experiments.specs.models import build_model
from secateurs.huggingface.pretrained import Pretrained
from secateurs.huggingface.text.data import TextOptions


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return languages.write_models_and_texts(tmp_path_factory.mktemp("text"))


def saved_with_config(directory, **settings):
    """Save a model with changed settings in the configuration; returns the spec of the directory."""
    languages.save_model(directory, "GPT2LMHeadModel")
    config = json.loads((directory / "config.json").read_text()) | settings
    (directory / "config.json").write_text(json.dumps(config))
    return f"hf:{directory}"


REMOTE = {"model_type": "ours", "architectures": ["OurLM"], "auto_map": {"AutoConfig": "ours.OurConfig"}}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "is quantized .*method gptq"),
        ({"architectures": ["OurLM"]}, "is a OurLM, which transformers does not have"),
        ({"n_inner": 99}, "no weights of the right shape for transformer.h.0.mlp.c_fc.bias"),
        (REMOTE, "only with --trust-remote-code"),
        ({"model_type": "nothing"}, "the configuration of .* cannot be loaded"),
    ],
)
def test_models_that_cannot_be_used_are_refused(tmp_path, settings, message):
    with pytest.raises(ModelError, match=message):
        build_model(saved_with_config(tmp_path / "model", **settings))


def test_directories_without_a_model_are_refused(tmp_path):
    with pytest.raises(ModelError, match="is neither a directory nor a valid name"):
        build_model("hf:./nowhere")
    with pytest.raises(ModelError, match=r"contains no config.json"):
        build_model(f"hf:{tmp_path}")


def test_a_model_with_missing_weights_is_refused(tmp_path):
    directory = languages.save_model(tmp_path / "model", "BertForSequenceClassification")
    weights = safetensors.torch.load_file(directory / "model.safetensors")
    del weights["classifier.weight"]
    safetensors.torch.save_file(weights, directory / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"no weights of the right shape for classifier.weight"):
        build_model(f"hf:{directory}")


def test_code_that_comes_with_a_model_is_run_only_if_trusted(tmp_path):
    spec = saved_with_config(tmp_path / "model", **REMOTE, n_embd=16)
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "ours.OurConfig", "AutoModelForCausalLM": "ours.OurLM"}
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    (tmp_path / "model" / "ours.py").write_text(
        "from transformers import GPT2Config, GPT2LMHeadModel\n"
        "class OurConfig(GPT2Config):\n    model_type = 'ours'\n"
        "class OurLM(GPT2LMHeadModel):\n    config_class = OurConfig\n"
    )
    with pytest.raises(ModelError, match="only with --trust-remote-code"):
        build_model(spec)
    assert type(build_model(spec, trust_remote_code=True)).__name__ == "OurLM"


TRAINING = ["--epochs", "1", "--lr", "0.05"]


def prune(run, directory, out, model, spec, *more, code=0):
    """Run `secateurs prune` on a saved model and a file of text."""
    arguments = [f"hf:{directory / model}", "--data", spec, "--test", spec, "--batch-size", "16", "--out", out]
    return run("prune", *arguments, "--budget", "params:0.9", "--quiet", *more, code=code)


@pytest.mark.slow
def test_a_decoder_is_pruned_and_recovered_by_the_command(run, directory, tmp_path):
    spec = f"text:{directory / 'plain.txt'}"
    prune(run, directory, tmp_path / "run", "gpt", spec, "--length", "8", *TRAINING, "--validation", "0.2")
    report = Comparison.load(tmp_path / "run" / "report.json")
    model, options = build_model(f"hf:{directory / 'gpt'}"), TextOptions(str(directory / "gpt"), length=8)
    assert report.metric.name == "perplexity"
    assert not report.metric.higher_is_better
    tokens = torch.tensor(languages.ids(" ".join(languages.sentences(120))))
    assert report.quality == pytest.approx(sc.perplexity(model, tokens, 8, 4), rel=1e-6)
    (outcome,) = report.outcomes
    assert outcome.quality["recovered"] < outcome.quality["cut"]
    assert any("tokens per second" in note for note in report.notes)
    assert any("saved for from_pretrained" in note for note in report.notes)
    pruned = build_model(f"hf:{tmp_path / 'run' / 'model'}")
    again = sc.perplexity(pruned, read_data(spec, text=options, overlap=True))
    assert again == pytest.approx(outcome.quality["recovered"], rel=1e-6)


@pytest.mark.slow
def test_an_encoder_is_pruned_and_recovered_by_the_command(run, directory, tmp_path):
    spec = f"tsv:{directory / 'pairs.tsv'}"
    prune(run, directory, tmp_path / "run", "bert", spec, *TRAINING, "--criterion", "taylor")
    report = Comparison.load(tmp_path / "run" / "report.json")
    model, options = build_model(f"hf:{directory / 'bert'}"), TextOptions(str(directory / "bert"))
    assert report.metric.name == "accuracy"
    assert report.quality == sc.accuracy(model, read_data(spec, text=options))
    assert set(report.outcomes[0].quality) == {"cut", "recovered"}


def test_the_command_reports_invalid_text_options(run, directory, tmp_path):
    spec = f"tsv:{directory / 'pairs.tsv'}"
    plain = f"text:{directory / 'plain.txt'}"
    refused = prune(run, directory, tmp_path / "run", "bert", plain, "--length", "99", code=3)
    assert "sequences cannot have 99 tokens" in refused.err
    (tmp_path / "net.py").write_text("from torch import nn\n\ndef net():\n    return nn.Linear(2, 2)\n")
    other = f"py:{tmp_path / 'net.py'}:net"
    refused = run("prune", other, "--data", spec, "--out", tmp_path / "other", code=3)
    assert "text needs a tokenizer" in refused.err
    study = ["study", "samples", f"hf:{directory / 'bert'}", "--data", spec, "--out", tmp_path / "study"]
    assert "needs inputs of one tensor each" in " ".join(run(*study, code=3).err.split())


def test_an_invalid_hub_name_is_refused_without_network_access(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.bin").touch()

    def ask(*_, **__):
        raise AssertionError("the network was accessed")

    monkeypatch.setattr("secateurs.huggingface.hub.create_connection", ask)
    for path in ("./absent", "/absent", "models/small/absent", "weights.bin", "org/two words", "org/"):
        with pytest.raises(ModelError, match=r"is neither a directory nor a valid name of a model on the hub"):
            Pretrained(path).model()


def test_a_hub_name_fails_within_ten_seconds_without_a_network(monkeypatch):
    def silent(address, timeout):
        assert address[1] in (80, 443)
        assert timeout <= 5
        raise TimeoutError

    monkeypatch.setattr("secateurs.huggingface.hub.create_connection", silent)
    monkeypatch.setattr("secateurs.huggingface.hub.getproxies", dict)
    begin = time.monotonic()
    with pytest.raises(ModelError, match="the hub, which cannot be reached"):
        Pretrained("nobody/nothing-of-this-name").model()
    assert time.monotonic() - begin < 10


@pytest.mark.slow
def test_a_killed_run_on_text_resumes_to_the_same_result(run, directory, tmp_path):
    inputs = [
        f"hf:{directory / 'gpt'}",
        "--data",
        f"text:{directory / 'plain.txt'}",
        "--length",
        "8",
        "--batch-size",
        "8",
    ]
    options = ["--budget", "params:0.9", "--kinds", "neuron", "--epochs", "4", "--validation", "0.2", "--quiet"]
    run("prune", *inputs, *options, "--out", tmp_path / "whole")
    start = "import benchmarks.torchvision_ops, sys; from secateurs.cli import main; main()"
    arguments = [*map(str, ["prune", *inputs, *options, "--out", tmp_path / "killed"])]
    process = subprocess.Popen([sys.executable, "-c", start, *arguments], stderr=subprocess.DEVNULL)
    begin = time.monotonic()
    while not list(tmp_path.glob("killed/**/checkpoint*")):
        assert process.poll() is None, "the process ended before it could be killed"
        assert time.monotonic() - begin < 100
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (tmp_path / "killed" / "report.json").exists()
    run("prune", "--resume", tmp_path / "killed", "--quiet")
    whole, killed = (tmp_path / name / "model" for name in ("whole", "killed"))
    assert (killed / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert (killed / "plan.json").read_bytes() == (whole / "plan.json").read_bytes()
