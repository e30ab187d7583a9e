"""What criteria see in transformers: heads, key/value groups, neurons plain and gated, experts; and never padding."""

import importlib.util
import warnings

import pytest
import torch

import secateurs as sc
from secateurs.criteria.correlation import unexplained
from secateurs.criteria.registry import CRITERIA
from secateurs.observe.gradients import curvature, synflow
from secateurs.observe.observe import observe
from secateurs.observe.samples import Pooled

if not importlib.util.find_spec("transformers") or not importlib.util.find_spec("torchvision"):
    pytest.skip("transformers is not installed: pip install secateurs[zoo]", allow_module_level=True)

from support.gradients import differentiate
from support.texts import MODELS, batch_of, labelled, nexp_by_pairs, sentences, split, transformer

pytestmark = pytest.mark.filterwarnings("ignore::secateurs.errors.FewSamplesWarning")

LENGTHS = (7, 3, 9, 12, 5, 4, 8, 10, 6, 11) * 2
SEEING = (
    "nexp", "nexp-median", "apoz", "mean-activation", "chip", "ssi", "diversity", "informativeness", "wanda", "flap",
    "obs",
)  # fmt: skip
NO_MAPS, NO_CONTRACTION = "maps with rows and columns", "no linear layer or convolution uses"
UNSCORED = {
    ("hrank", "neuron"): NO_MAPS,
    ("hrank", "expert"): NO_MAPS,
    ("hrank", "experts' neuron"): NO_MAPS,
    **{(name, "expert"): NO_CONTRACTION for name in ("wanda", "flap", "obs")},
    **{(name, "expert"): "no non-linearity is applied" for name in ("ssi", "ssi-literal")},
    ("taylor-gate", "expert"): "no weight uses",
    ("fisher", "expert"): "no weight uses",
}
"""Which kinds a criterion leaves whole, and why."""

ALIKE = ("hrank", "informativeness", "informativeness-literal")
"""With random weights the outputs of all heads have full rank; for so few samples, entropies are at their limit."""


def seen_by(model, name, batches):
    """What goes into a module and what comes out of it, sample by sample, [samples, positions, features]."""
    found = []
    hook = model.get_submodule(name).register_forward_hook(lambda _, args, out: found.append((args[0], out)))
    with torch.no_grad():
        for batch in batches:
            model(**batch)
    hook.remove()
    return found


def heads(x, count=4):
    """[1, positions, count × features] as [1, count, positions, features]."""
    return x.unflatten(-1, (count, -1)).movedim(2, 1).double()


@pytest.fixture(scope="module")
def texts():
    return sentences(LENGTHS)


# Padding


@pytest.mark.parametrize(
    ("name", "left"), [("bert", False), ("llama", False), ("llama", True), ("mixtral", True), ("t5", False)]
)
def test_padding_to_twice_the_length_changes_no_score_and_no_compensation(name, left, texts):
    """Against the same sentences one by one, without any."""
    model = transformer(name)
    model = model if name == "mixtral" else model.double()  # experts run in single precision alone
    others = {"decoder_input_ids": torch.cat(sentences([5] * len(texts)))} if name == "t5" else {}
    together = split(batch_of(texts, 24, left, **others), 9, 11)
    singles = [{"input_ids": t} | {k: v[i : i + 1] for k, v in others.items()} for i, t in enumerate(texts)]
    structure = sc.trace(model, {key: its[:2] for key, its in together[0].items()})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one, other = (sc.score_many(model, data, SEEING, structure) for data in (singles, together))
    close = {"rtol": 1e-3, "atol": 1e-4} if name == "mixtral" else {"rtol": 1e-6, "atol": 1e-6}
    for criterion, scores in one.items():
        exact = criterion in ("nexp", "apoz") and name != "mixtral"
        torch.testing.assert_close(other[criterion], scores, **({"rtol": 0, "atol": 0} if exact else close))
    plan = sc.allocate(structure, one["nexp"], "keep:0.6", scope="local")
    small = [sc.apply(model, plan, together[0], structure) for _ in range(2)]
    for its, data in zip(small, (singles, together), strict=True):
        sc.compensate(its, model, plan, data, structure)
    torch.testing.assert_close(dict(small[0].named_parameters()), dict(small[1].named_parameters()), **close)


@pytest.mark.parametrize("kinds", [["gradient"], ["gradient", "fisher"]])
def test_gradients_are_means_over_samples_whatever_their_lengths_and_padding(kinds, texts):
    """The loss of a batch is a mean over tokens, which would count long sentences more."""
    model, texts = transformer("llama").double(), texts[:6]
    batch = labelled("llama", texts, 20)
    singles = [{"input_ids": text, "labels": text} for text in texts]
    one, other = differentiate(model, singles, kinds), differentiate(model, split(batch, 4, 2), kinds)
    for kind in kinds:
        torch.testing.assert_close(dict(other[kind]), dict(one[kind]), rtol=1e-5, atol=1e-7)


# Every criterion


@pytest.mark.parametrize("name", MODELS)
def test_every_criterion_tells_units_of_every_kind_apart_or_says_why_not(name, texts, monkeypatch):
    monkeypatch.setattr(curvature, "PROBES", 3)  # to be quick
    monkeypatch.setattr(synflow, "ROUNDS", 4)
    model = transformer(name)
    data = split(labelled(name, texts, 12), 12, 8)
    pooler = ["bert.pooler"] if name == "bert" else []  # sees the first position alone, as no other layer does
    structure = sc.trace(model, {key: its[:2] for key, its in data[0].items()}, keep=pooler)
    left_out = {"bn-scale"} | ({"synflow"} if name == "mixtral" else set())  # see below
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = sc.score_many(model, data, [its for its in CRITERIA if its not in left_out], structure)
    told = [str(its.message) for its in caught]
    for criterion, scores in found.items():
        for group in structure.groups.values():
            kind = "experts' neuron" if group.name.endswith("experts") else group.kind
            if group.name not in scores:
                reason = UNSCORED[criterion, kind]
                assert any(
                    f"'{criterion}' cannot" in its and f"'{group.name}'" in its and reason in its for its in told
                )
            elif criterion not in ALIKE:
                assert float(scores[group.name].std()) > 0, (criterion, group.name)


def test_what_can_score_no_group_is_an_error_with_the_reason(texts):
    model, data = transformer("mixtral"), [labelled("mixtral", texts, 12)]
    for criterion, reason in (("bn-scale", "no normalisation scales"), ("synflow", "does not run in float64")):
        with pytest.raises(sc.SecateursError, match=reason):
            sc.score(model, data, criterion)


# Against definitions, by hooks


@pytest.mark.parametrize(
    ("name", "group", "module"),
    [
        ("bert", "bert.encoder.layer.0.intermediate.dense", "bert.encoder.layer.0.intermediate.intermediate_act_fn"),
        ("gpt2", "transformer.h.0.mlp.c_fc", "transformer.h.0.mlp.act"),  # a GELU made of several operators
        ("llama", "model.layers.0.mlp.gate_proj", "model.layers.0.mlp.act_fn"),  # the gate, not what it multiplies
        ("t5", "encoder.block.0.layer.1.DenseReluDense.wi_0", "encoder.block.0.layer.1.DenseReluDense.act"),
    ],
)
def test_neurons_fire_where_their_activation_or_their_gate_is_positive(name, group, module, texts):
    model = transformer(name)
    others = {"labels": torch.randint(3, 40, (len(texts), 4))} if name == "t5" else {}
    fired = [
        out.mT[:, :, :, None]
        for _, out in seen_by(model, module, [{"input_ids": t, **{k: v[:1] for k, v in others.items()}} for t in texts])
    ]
    torch.testing.assert_close(
        sc.score(model, [batch_of(texts, 16, **others)], "nexp")[group], nexp_by_pairs(fired), rtol=1e-6, atol=1e-7
    )


@pytest.mark.parametrize(
    ("name", "group", "before", "after"),
    [
        ("bert", "bert.encoder.layer.0.intermediate.dense", "bert.encoder.layer.0.intermediate.dense", None),
        ("gpt2", "transformer.h.0.mlp.c_fc", "transformer.h.0.mlp.c_fc", "transformer.h.0.mlp.act"),
        ("llama", "model.layers.0.mlp.gate_proj", "model.layers.0.mlp.gate_proj", "model.layers.0.mlp.act_fn"),
        ("llama", "model.layers.0.self_attn.q_proj:0", "model.layers.0.self_attn.v_proj", None),
    ],
)
def test_the_graphs_of_ssi_are_of_what_goes_into_the_non_linearity_and_comes_out(name, group, before, after, texts):
    """For heads: their values, and what their attention makes of these."""
    model = transformer(name)
    batches, count = [{"input_ids": text} for text in texts], 4 if "attn" in group else 24
    structure = sc.trace(model, {"input_ids": torch.cat([texts[0], texts[0]])})
    ((one, other),) = structure.groups[group].activations
    seen = observe(model, [batch_of(texts, 16)], {one: [Pooled], other: [Pooled]})
    inputs = torch.cat([heads(out, count).mean((2, 3)) for _, out in seen_by(model, before, batches)])
    torch.testing.assert_close(seen[one, Pooled].values.double(), inputs, rtol=1e-4, atol=1e-5)
    if after is None and "attn" in group:
        outputs = [x for x, _ in seen_by(model, "model.layers.0.self_attn.o_proj", batches)]
    else:
        outputs = [out for _, out in seen_by(model, after or f"{before[:-5]}intermediate_act_fn", batches)]
    outputs = torch.cat([heads(its, count).mean((2, 3)) for its in outputs])
    torch.testing.assert_close(seen[other, Pooled].values.double(), outputs, rtol=1e-4, atol=1e-5)


def test_heads_are_scored_by_their_outputs_and_what_uses_them(texts):
    model = transformer("llama")
    output = "model.layers.0.self_attn.o_proj"
    outputs = [heads(x, 4) for x, _ in seen_by(model, output, [{"input_ids": text} for text in texts])]
    rows = torch.cat([its[0].movedim(1, 0) for its in outputs]).detach()  # [tokens, groups, features]
    weight = model.get_submodule(output).weight.detach().double().unflatten(1, (4, -1))  # [outputs, groups, features]
    pooled = torch.cat([its.mean((2, 3)) for its in outputs])
    spread = (rows.var(0, correction=0) * weight.square().sum(0)).sum(1)
    expected = {
        "wanda": (weight.abs() * rows.square().mean(0).sqrt()).sum((0, 2)),
        "flap": (spread - spread.mean()) / spread.std(),
        "mean-activation": rows.abs().mean((0, 2)),
        "diversity": unexplained(pooled),
    }
    found = sc.score_many(model, [batch_of(texts, 20)], list(expected))
    for name, scores in expected.items():
        torch.testing.assert_close(
            found[name]["model.layers.0.self_attn.q_proj:0"], scores, rtol=1e-3, atol=1e-5, msg=name
        )


def test_the_gate_of_a_head_is_the_sum_over_what_uses_its_output_sentence_by_sentence(texts):
    model, texts = transformer("gpt2"), texts[:5]
    name = "transformer.h.0.attn.c_proj.weight"
    total = torch.zeros(4)
    for text in texts:
        model.zero_grad()
        model(input_ids=text, labels=text).loss.backward()
        weight = model.get_parameter(name)
        total += (weight * weight.grad).detach().reshape(4, -1).sum(1).square() / len(texts)
    found = sc.score(model, [labelled("gpt2", texts, 14)], "taylor-gate")["transformer.h.0.attn.c_attn:0"]
    torch.testing.assert_close(found, total.double(), rtol=1e-4, atol=1e-12)


def test_flap_puts_the_mean_of_removed_neurons_over_tokens_into_the_bias(texts):
    model = transformer("bert")
    structure = sc.trace(model, batch_of(texts[:2], 12), kinds=["neuron"])
    data = [batch_of(texts, 20)]
    group = "bert.encoder.layer.0.intermediate.dense"
    plan = sc.allocate(structure, sc.score(model, data, "flap", structure), "keep:0.5", scope="local")
    small = sc.apply(model, plan, data[0], structure)
    sc.compensate(small, model, plan, data, structure, mean_only=True)
    removed = sorted(set(range(24)) - set(plan.keep[group]))
    batches = [{"input_ids": text} for text in texts]
    out = f"{group[:-18]}output.dense"
    mean = torch.cat([x[0] for x, _ in seen_by(model, out, batches)]).mean(0)
    layer = model.get_submodule(out)
    expected = layer.bias + layer.weight[:, removed] @ mean[removed]
    torch.testing.assert_close(small.get_submodule(out).bias, expected, rtol=1e-4, atol=1e-5)


def test_the_rows_that_experts_see_are_those_of_their_sentences(texts):
    """They are sorted by expert, across sentences."""
    model = transformer("mixtral")
    structure = sc.trace(model, batch_of(texts[:2], 9))
    (tap,) = structure.groups["model.layers.0.mlp.experts"].fired
    found = observe(model, [batch_of(texts, 12)], {tap: [Pooled]})[tap, Pooled].values
    outputs = seen_by(model, "model.layers.0.mlp.experts.act_fn", [{"input_ids": text} for text in texts])
    expected = torch.stack([out.mean(0) for _, out in outputs])  # of one sentence, in whatever order
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_emp_over_all_heads_gives_one_certificate(texts):
    model, data = transformer("gpt2", n_layer=3), [labelled("gpt2", texts, 12)]
    structure = sc.trace(model, data[0], kinds="head")
    scores = sc.score(model, data, "fisher", structure)
    assert [len(its) for its in scores.values()] == [4, 4, 4]
    every = torch.cat(list(scores.values()))
    plan = sc.allocate(structure, scores, "effective", scope="global")
    ((where, proof),) = plan.certificates.items()
    assert (where, proof.components, proof.kept) == ("all groups", 12, sum(plan.widths.values()))
    assert proof.kept == max(int(every.sum() ** 2 / every.square().sum()), 3)  # no layer without a head
    asked = {"kinds": "head", "scope": "global"}
    assert sc.prune(model, data, criterion="fisher", budget="effective", **asked).plan.widths == plan.widths
    uniform = sc.prune(
        model, data, criterion="fisher", budget="effective", **asked, limits=sc.Limits(uniform=True)
    ).plan
    assert len(set(uniform.widths.values())) == 1
    assert len(set(sc.prune(model, data, criterion="fisher", budget="keep:0.5", **asked).plan.widths.values())) == 1


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_one_group_of_keys_and_values_is_enough(attention, texts):
    """Then `reshape` copies nothing where it copied before, and runs another operator."""
    model, batch = transformer("llama", attn_implementation=attention), batch_of(texts[:4], 12)
    result = sc.prune(model, [batch], criterion="random", budget="keep:0.25", kinds="kv_group", compensate=False)
    assert set(result.plan.widths.values()) == {1}


@pytest.mark.parametrize("left", [False, True])
def test_labels_alone_say_what_of_the_decoder_is_padding(left, texts):
    """The padded batch is as the pairs one by one, and as with the decoder's inputs and mask given by name."""
    model, texts = transformer("t5").double(), texts[:8]
    targets = sentences([3, 5, 9, 2, 4, 6, 7, 8])
    labels = torch.stack([torch.cat([its[0], torch.full((11 - its.shape[1],), -100)]) for its in targets])
    alone = {**batch_of(texts, 14, left), "labels": labels}
    told = {**alone, "decoder_input_ids": model._shift_right(labels), "decoder_attention_mask": (labels >= 0).long()}
    singles = [{"input_ids": text, "labels": target} for text, target in zip(texts, targets, strict=True)]
    structures = [sc.trace(model, {key: its[:2] for key, its in batch.items()}) for batch in (alone, told)]
    assert structures[0].groups.keys() == structures[1].groups.keys()
    expected = sc.score_many(model, singles, SEEING, structures[1])
    for batch, structure in ((alone, structures[0]), (alone, structures[1]), (told, structures[0])):
        for criterion, scores in sc.score_many(model, split(batch, 3, 5), SEEING, structure).items():
            torch.testing.assert_close(scores, expected[criterion], rtol=1e-6, atol=1e-6)
    deep = transformer("t5", num_layers=3).double()
    assert sc.rank_layers(deep, [alone]).scores == pytest.approx(sc.rank_layers(deep, singles).scores)
