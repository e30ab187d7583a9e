"""Text data: samples of each task, text files, and objects of the datasets library."""

import pytest
import torch
from support import languages
from support.languages import ids
from torch import nn
from torch.utils.data import Subset

import secateurs as sc
from secateurs.errors import DataError, ModelError, UsageError
from secateurs.experiments.specs.data import read_data, read_dataset
from secateurs.huggingface.text.data import TextOptions
from secateurs.huggingface.text.sequences import loader

TEXTS = ["the cat sees a dog", "a bird", "the fish eats and hears the big red bird always"]
EOS = languages.VOCABULARY.index("[EOS]")
PLAIN = TextOptions(length=4)


def data(name, texts=TEXTS, labels=None, **options):
    return sc.text_data(languages.model(name), languages.tokenizer(), texts, labels, **options)


def test_a_causal_model_gets_joined_texts_with_the_tokens_as_labels():
    tokens = [*ids(TEXTS[0]), EOS, *ids(TEXTS[1]), EOS, *ids(TEXTS[2])]
    assert len(tokens) == 19
    (batch,) = data("GPT2LMHeadModel", [TEXTS[0], "", *TEXTS[1:]], length=4)
    assert batch["input_ids"].tolist() == [tokens[i : i + 4] for i in range(0, 16, 4)]
    assert batch["labels"].tolist() == batch["input_ids"].tolist()
    assert set(batch) == {"input_ids", "labels"}
    overlapping = data("GPT2LMHeadModel", length=4, overlap=True).dataset
    assert [sample["input_ids"].tolist() for sample in overlapping] == [tokens[i : i + 4] for i in range(0, 17, 2)]


def test_the_default_length_is_the_maximum_of_the_model():
    assert len(data("GPT2LMHeadModel").dataset[0]["input_ids"]) == 16
    assert len(data("GPT2LMHeadModel", length=5).dataset[0]["input_ids"]) == 5
    many = languages.sentences(500)
    assert len(data("T5ForConditionalGeneration", many).dataset[0]["input_ids"]) == 1024 // 2
    for length in (1, 17):
        with pytest.raises(UsageError, match=f"sequences cannot have {length} tokens: the length must be from 2 to 16"):
            data("GPT2LMHeadModel", length=length)


def test_a_classifier_gets_texts_padded_batch_by_batch_with_a_mask():
    short, long = data("BertForSequenceClassification", TEXTS, ["good", "0", 1], batch_size=2)
    assert short["input_ids"].tolist() == [ids(TEXTS[0]), [*ids(TEXTS[1]), 1, 1, 1]]
    assert short["attention_mask"].tolist() == [[1] * 5, [1, 1, 0, 0, 0]]
    assert short["labels"].tolist() == [1, 0]
    assert long["attention_mask"].tolist() == [[1] * 10]
    model, left = languages.model("BertForSequenceClassification"), languages.tokenizer(padding_side="left")
    (batch,) = sc.text_data(model, left, [TEXTS[0] + "\n\n" + TEXTS[1]])
    assert batch["attention_mask"].tolist() == [[1] * 5, [0, 0, 0, 1, 1]]
    assert "labels" not in batch


def test_a_masked_model_predicts_the_same_masked_tokens_every_time():
    first, again = (data("BertForMaskedLM", languages.sentences(60), length=16).dataset for _ in range(2))
    plain = data("BertModel", languages.sentences(60), length=16).dataset
    hidden = set()
    for sample, repeated, unmasked in zip(first, again, plain, strict=True):
        masked = sample["labels"] != -100
        assert masked.sum() == 2  # 15 % of 16
        assert sample["labels"][masked].tolist() == unmasked["input_ids"][masked].tolist()
        expected = unmasked["input_ids"].masked_fill(masked, languages.VOCABULARY.index("[MASK]"))
        assert torch.equal(sample["input_ids"], expected)
        assert torch.equal(sample["input_ids"], repeated["input_ids"])
        assert set(unmasked) == {"input_ids"}
        hidden.add(tuple(masked.tolist()))
    assert len(hidden) > 5


def test_an_encoder_decoder_model_gets_pairs_of_texts_or_halves_of_sequences():
    (batch,) = data("T5ForConditionalGeneration", TEXTS[:2], ["a small cat", "blue"])
    assert batch["labels"].tolist() == [ids("a small cat"), [*ids("blue"), -100, -100]]
    assert batch["attention_mask"].tolist() == [[1] * 5, [1, 1, 0, 0, 0]]
    (half, *_) = data("T5ForConditionalGeneration", TEXTS, length=4).dataset
    assert [half["input_ids"].tolist(), half["labels"].tolist()] == [ids("the cat"), ids("sees a")]


def test_the_seed_determines_the_order_and_subsets_are_padded():
    def order(seed):
        return [batch["input_ids"].tolist() for batch in data("GPT2LMHeadModel", length=4, shuffle=True, seed=seed)]

    assert order(1) == order(1) != order(2)
    whole = data("BertForSequenceClassification", TEXTS, [0, 1, 1]).dataset
    (batch,) = loader(Subset(Subset(whole, [2, 1]), [1, 0]), 2)
    assert batch["attention_mask"].sum(1).tolist() == [2, 10]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return languages.write_models_and_texts(tmp_path_factory.mktemp("text"))


def test_files_of_each_format_are_read(directory):
    gpt, bert = (TextOptions(str(directory / name), length=8) for name in ("gpt", "bert"))
    many = languages.sentences(120)
    plain = read_dataset(f"text:{directory / 'plain.txt'}", text=gpt)
    assert plain[0]["input_ids"].tolist() == ids(" ".join(many))[:8]
    documents = read_dataset(f"jsonl:{directory / 'texts.jsonl'}", text=gpt)
    assert documents.tokens.tolist() == [token for text in many for token in (*ids(text), EOS)][:-1]
    pairs = read_dataset(f"tsv:{directory / 'pairs.tsv'}", text=bert)
    assert [sample["input_ids"].tolist() for sample in pairs] == [ids(text) for text in many]
    assert [int(sample["labels"]) for sample in pairs] == [number % 2 for number in range(120)]
    labelled = read_data(f"jsonl:{directory / 'labels.jsonl'}", None, 50, text=bert)
    assert [batch["labels"].tolist() for batch in labelled] == [[1] * 50, [1] * 50, [1] * 20]
    other = TextOptions(tokenizer=str(directory / "gpt"), length=8)  # for a model of another library
    assert read_dataset(f"tsv:{directory / 'pairs.tsv'}", text=other)[1]["labels"] == 1
    assert len(read_dataset(f"text:{directory / 'plain.txt'}", text=other)[0]["labels"]) == 8


BAD = [
    ("text", b"", "contains no text"),
    ("text", b" \n\n", "contains no text"),
    ("text", b"the cat", "has 2 tokens, fewer than one sequence of 4"),
    ("text", b"the \xff cat", "is not UTF-8 text: byte 4"),
    ("tsv", b"the cat\t1\nthe dog\n", "line 2 of .* has 1 columns"),
    ("tsv", b"the cat\t1\n\nthe dog\t0", "line 2 of .* has 1 columns"),
    ("tsv", b"the cat\t1\n\t0\n", "text 2 is empty"),
    ("tsv", b"the cat\t1\nthe dog\t2\n", "text 2 has the label '2'; the model has the classes 0 to 1"),
    ("tsv", b"the cat\t-1\n", "text 1 has the label '-1'"),
    ("tsv", b"sentence\tlabel\n", "'label', which is neither a number nor a class name of the model .bad, good."),
    ("jsonl", b'{"text": "the cat"}\n{"sentence": "a"}', "line 2 of .* has no field 'text', only sentence"),
    ("jsonl", b'{"text": "a", "label": 0}\n{"text": "a"}', "line 2 of .* has no field 'label'"),
    ("jsonl", b'{"text": "a", "label": 0.5}', "has the label 0.5"),
    ("jsonl", b'{"text": "a", "label": null}', "has the label None"),
    ("jsonl", b'{"text": 3}', "text 1 must be a string, not a int: 3"),
    ("jsonl", b"{'text': 3}", "line 1 of .* is not JSON"),
    ("jsonl", b'["the cat"]', "is not a JSON object but a list"),
    ("jsonl", b"", "contains no text"),
]


@pytest.mark.parametrize(("kind", "content", "message"), BAD)
def test_an_invalid_file_is_refused_with_its_error(directory, tmp_path, kind, content, message):
    (tmp_path / "file").write_bytes(content)
    options = TextOptions(str(directory / ("gpt" if kind == "text" else "bert")), length=4)
    with pytest.raises(DataError, match=message):
        read_dataset(f"{kind}:{tmp_path / 'file'}", text=options)


def test_invalid_arguments_are_refused(directory, tmp_path):
    text = f"text:{directory / 'plain.txt'}"
    with pytest.raises(DataError, match="cannot be read"):
        read_dataset(f"text:{tmp_path / 'none'}", text=PLAIN)
    with pytest.raises(UsageError, match="text needs a tokenizer"):
        read_dataset(text)
    with pytest.raises(DataError, match="text:PATH, jsonl:PATH, tsv:PATH"):
        read_dataset("csv:file")
    with pytest.raises(ModelError, match="not a model of the transformers library"):
        sc.text_data(nn.Linear(2, 2), languages.tokenizer(), TEXTS)


def test_a_tokenizer_must_fit_the_model_and_have_the_special_tokens():
    small = languages.model("GPT2LMHeadModel", vocab_size=8)
    with pytest.raises(DataError, match=r"does not fit the model: it returns token \d+ \('\w+'\), but the model has 8"):
        sc.text_data(small, languages.tokenizer(), TEXTS, length=4)
    with pytest.raises(DataError, match="no eos token"):
        sc.text_data(languages.model("GPT2LMHeadModel"), languages.tokenizer(eos_token=None), TEXTS, length=4)
    with pytest.raises(DataError, match="no mask token"):
        sc.text_data(languages.model("BertForMaskedLM"), languages.tokenizer(mask_token=None), TEXTS[:1], length=4)
    with pytest.raises(DataError, match="texts and labels must be lists"):
        data("GPT2LMHeadModel", TEXTS[0])
    with pytest.raises(DataError, match="3 texts but 2 labels"):
        data("BertForSequenceClassification", TEXTS, [0, 1])


def test_columns_of_a_datasets_object_are_read_by_name():
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    rows = datasets.Dataset.from_dict({"sentence": TEXTS, "mood": [1, 0, 1], "label": ["good", "bad", "bad"]})
    name = "BertForSequenceClassification"
    (expected,), (mood,) = data(name, TEXTS, ["good", "bad", "bad"]), data(name, TEXTS, [1, 0, 1])
    for dataset in (rows, rows.to_iterable_dataset()):
        (batch,) = data(name, dataset, column="sentence")
        (other,) = data(name, dataset, "mood", column="sentence")
        assert all(torch.equal(batch[key], expected[key]) for key in expected)
        assert other["labels"].tolist() == mood["labels"].tolist() == [1, 0, 1]
    plain = datasets.Dataset.from_dict({"text": TEXTS})
    assert "labels" not in next(iter(data(name, plain)))
    (tokens,) = data("GPT2LMHeadModel", plain, length=10)
    assert torch.equal(tokens["input_ids"], next(iter(data("GPT2LMHeadModel", length=10)))["input_ids"])
    for texts, labels, column, message in (
        (datasets.DatasetDict(train=rows, test=rows), None, "text", "has the splits 'train', 'test': give one"),
        (rows, None, "text", "has no column 'text', only 'sentence', 'mood', 'label'"),
        (rows, "moods", "sentence", "has no column 'moods'"),
        (rows, [1, 0, 1], "sentence", "labels must be the name of the column"),
        (rows.select([]), None, "sentence", "is empty"),
        (rows, None, "mood", "text 1 must be a string, not a int"),
        (TEXTS, "label", "text", "texts and labels must be lists"),
    ):
        with pytest.raises(DataError, match=message):
            data(name, texts, labels, column=column)
