"""Perplexity compared with the definition, accuracy of text classifiers, and speed of generation."""

import math
import time
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import languages
from torch import nn

import secateurs as sc
from secateurs.data.batch import batches
from secateurs.errors import DataError, ModelError
from secateurs.huggingface.text.sequences import Windows


def reference_perplexity(model, tokens, length, stride):
    """Predict each token separately, from the preceding tokens of the first window that contains it."""
    total = 0.0
    for i in range(1, len(tokens)):
        window = max(0, math.ceil((i - length + 1) / stride))
        with torch.no_grad():
            logits = model(input_ids=tokens[None, window * stride : i]).logits[0, -1]
        total -= float(logits.log_softmax(0)[tokens[i]])
    return math.exp(total / (len(tokens) - 1))


@pytest.mark.parametrize("name", ["GPT2LMHeadModel", "LlamaForCausalLM"])
@pytest.mark.parametrize(
    ("count", "length", "stride"), [(40, 16, 8), (41, 16, 15), (23, 8, 1), (16, 16, 4), (5, 16, 8), (2, 2, 1)]
)
def test_perplexity_equals_the_definition(name, count, length, stride):
    model = languages.model(name).double()
    tokens = torch.randint(4, len(languages.VOCABULARY), (count,))
    expected = reference_perplexity(model, tokens, length, stride)
    for batch_size in (1, 4):
        actual = sc.perplexity(model, tokens, length, stride, batch_size=batch_size)
        assert actual == pytest.approx(expected, rel=1e-9)


@given(st.integers(2, 60), st.integers(2, 20), st.data())
def test_windows_predict_each_token_except_the_first_once_with_context(count, length, data):
    stride = data.draw(st.integers(1, length - 1))
    predicted = []
    for number, window in enumerate(Windows(torch.arange(count), length, stride)):
        first = int(window["input_ids"][0])
        assert first == number * stride
        assert len(window["input_ids"]) <= length
        labelled = [token for token in window["labels"].tolist() if token != -100]
        assert all(token - first >= min(token, length - stride) for token in labelled)
        predicted += labelled
    assert predicted == list(range(1, count))


def test_a_uniform_model_has_the_number_of_tokens_as_perplexity():
    class Uniform(nn.Module):
        def forward(self, ids):
            return torch.zeros(*ids.shape, 37)

    ids = torch.randint(37, (3, 9))
    assert sc.perplexity(Uniform(), [(ids, ids)]) == pytest.approx(37)


@pytest.mark.parametrize("name", ["BertForMaskedLM", "T5ForConditionalGeneration", "GPT2LMHeadModel"])
def test_perplexity_of_one_batch_equals_the_loss_of_the_model(name):
    model = languages.model(name)
    data = sc.text_data(model, languages.tokenizer(), languages.sentences(20), length=8, batch_size=100)
    (batch,) = data
    with torch.no_grad():
        loss = model(**batch).loss
    assert sc.perplexity(model, data) == pytest.approx(float(loss.exp()), rel=1e-5)


def test_a_token_of_probability_zero_gives_infinite_perplexity():
    class Wrong(nn.Module):
        def forward(self, ids):
            return nn.functional.one_hot(ids, 5) * -1e30

    ids = torch.full((1, 4), 2)
    assert sc.perplexity(Wrong(), [(ids, ids)]) == math.inf


def test_perplexity_refuses_invalid_data():
    model = languages.model("GPT2LMHeadModel")
    tokens = torch.randint(4, 20, (30,))
    for invalid in (tokens[:1], tokens.float(), tokens.reshape(2, -1)):
        with pytest.raises(DataError, match="the tokens must be an integer tensor of one dimension"):
            sc.perplexity(model, invalid, 16)
    with pytest.raises(DataError, match="the stride must be at least 1 and less than the length 16, not 16"):
        sc.perplexity(model, tokens, 16, 16)
    with pytest.raises(DataError, match="the data has no token to predict"):
        sc.perplexity(model, [{"input_ids": tokens[None, :8], "labels": torch.full((1, 8), -100)}])
    with pytest.raises(DataError, match="labels \\[samples, tokens\\]"):
        sc.perplexity(model, [{"input_ids": tokens[None, :8]}])
    model.train()
    with pytest.raises(DataError, match="failed on batch 0"):
        sc.perplexity(model, tokens, 30)  # more tokens than the model has positions
    assert model.training


def test_padding_does_not_change_the_accuracy_of_a_text_classifier():
    model, tokenizer = languages.model("BertForSequenceClassification"), languages.tokenizer()
    texts = languages.sentences(30)
    with torch.no_grad():
        right = [int(model(**tokenizer(text, return_tensors="pt")).logits.argmax()) for text in texts]
    labels = [1 - label if number < 6 else label for number, label in enumerate(right)]
    assert sc.accuracy(model, sc.text_data(model, tokenizer, texts, labels, batch_size=7)) == pytest.approx(24 / 30)
    with pytest.raises(DataError, match="accuracy needs"):
        sc.accuracy(model, sc.text_data(model, tokenizer, texts))


class Generator(nn.Module):
    def __init__(self, seconds, turns):
        super().__init__()
        self.weight, self.seconds, self.turns = nn.Parameter(torch.zeros(1)), seconds, turns
        self.generation_config = SimpleNamespace(pad_token_id=None)

    def generate(self, inputs, max_new_tokens, min_new_tokens, **_):
        assert max_new_tokens == min_new_tokens == 5
        assert not self.training
        self.turns.append(self.seconds)
        time.sleep(self.seconds)


def test_tokens_per_second_count_all_samples_and_models_alternate():
    turns = []
    speeds = sc.tokens_per_second(
        [Generator(0.02, turns), Generator(0.06, turns)], torch.ones(3, 2).long(), 5, seconds=0.4
    )
    assert turns == [0.02, 0.06] * (len(turns) // 2)
    assert 0.5 * 15 / 0.02 < speeds[0] <= 15 / 0.02
    assert 0.5 * 15 / 0.06 < speeds[1] <= 15 / 0.06


def test_transformers_models_generate_and_are_not_changed():
    dense = languages.model("LlamaForCausalLM").train()
    data = sc.text_data(dense, languages.tokenizer(), languages.sentences(40), length=8)
    result = sc.prune(dense, data, criterion="l1", budget="params:0.8")
    ids = next(batches(data)).call.kwargs["input_ids"]
    assert all(speed > 0 for speed in sc.tokens_per_second([dense, result.model], ids[:, :4], 4, seconds=0.05))
    with pytest.raises(ModelError, match="cannot generate"):
        sc.tokens_per_second([languages.model("GPT2LMHeadModel")], ids, 30, seconds=0.05)
    with pytest.raises(ModelError, match="no method generate"):
        sc.tokens_per_second([dense, nn.Linear(2, 2)], ids)
    assert dense.training


@pytest.mark.parametrize("name", ["GPT2LMHeadModel", "BertForMaskedLM", "T5ForConditionalGeneration"])
def test_mean_loss_does_not_depend_on_the_batch_size(name):
    model = languages.model(name)
    ids = torch.randint(4, len(languages.VOCABULARY), (5, 10), generator=torch.Generator().manual_seed(1))
    lengths = torch.tensor([10, 3, 7, 2, 5])
    real = torch.arange(10) < lengths[:, None]
    data = {"input_ids": ids, "attention_mask": real.long(), "labels": ids.masked_fill(~real, -100)}
    whole, parted = (
        [{key: tensor[part] for key, tensor in data.items()} for part in torch.arange(5).split(size)] for size in (5, 2)
    )
    unlabelled = {**parted[0], "labels": torch.full_like(parted[0]["labels"], -100)}
    loss = sc.mean_loss(model, [*parted, unlabelled])
    assert loss == pytest.approx(sc.mean_loss(model, whole), rel=1e-5)
    assert loss == pytest.approx(math.log(sc.perplexity(model, whole)), rel=1e-5)
    with pytest.raises(DataError, match="all labels are −100"):
        sc.mean_loss(model, [unlabelled])
