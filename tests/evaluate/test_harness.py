"""lm-evaluation-harness on a local task, without a network."""

import json
import math

import pytest
import torch
from support import languages

import secateurs as sc
from secateurs.errors import UsageError

pytest.importorskip("lm_eval", reason="pip install secateurs[lm-eval]")

TASK = """
task: ours
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{{{text}}}}"
metric_list:
  - metric: word_perplexity
    aggregation: weighted_perplexity
    higher_is_better: false
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data.json").write_text(json.dumps([{"text": text} for text in languages.sentences(6)]))
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "ours.yaml").write_text(TASK.format(data=tmp_path / "data.json"))
    return tmp_path / "tasks"


def test_word_perplexity_of_the_harness_equals_the_definition(folder):
    model, tokenizer = languages.model("GPT2LMHeadModel").train(), languages.tokenizer()
    total = words = 0
    for text in languages.sentences(6):
        tokens = torch.tensor([[2, *languages.ids(text)]])  # the harness puts an end-of-text token before each text
        with torch.no_grad():
            logs = model.eval()(tokens).logits.log_softmax(-1)
        total += float(logs[0, :-1].gather(1, tokens[0, 1:, None]).sum())
        words += len(text.split())
    model.train()
    results = sc.harness(model, tokenizer, ["ours"], folder=folder, length=16)
    assert results["ours"]["word_perplexity"] == pytest.approx(math.exp(-total / words), rel=1e-4)
    assert model.training


def test_an_unknown_task_is_refused(folder):
    with pytest.raises(UsageError, match="lm-evaluation-harness cannot run nothing-of-the-kind"):
        sc.harness(languages.model("GPT2LMHeadModel"), languages.tokenizer(), ["nothing-of-the-kind"], folder=folder)
