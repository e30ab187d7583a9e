"""Cuts in place, and optimisers that continue after a cut."""

import copy

import pytest
import torch
from accelerate import Accelerator
from support.models import FAMILIES, Apply, HardCoded, build
from support.plans import random_plan
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD, Adadelta, Adafactor, Adagrad, Adam, Adamax, AdamW, Muon, NAdam, RAdam, RMSprop
from torch.utils._pytree import tree_leaves

import secateurs as sc
from secateurs.errors import ModelError, PlanError, PutBackWarning, UsageError, VerificationError
from secateurs.structure.indexing import zeroed
from secateurs.surgery.apply import apply_and_report
from secateurs.surgery.inplace import replacing

OPTIMIZERS = {
    "SGD": lambda p: SGD(p, lr=0.1),
    "momentum": lambda p: SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "Adam": lambda p: Adam(p, lr=0.01, amsgrad=True),
    "AdamW": lambda p: AdamW(p, lr=0.01, weight_decay=0.1, foreach=True),
    "RMSprop": lambda p: RMSprop(p, lr=0.01, momentum=0.5, centered=True),
    "Adagrad": lambda p: Adagrad(p, lr=0.01),
    "NAdam": lambda p: NAdam(p, lr=0.01),
    "RAdam": lambda p: RAdam(p, lr=0.01),
    "Adamax": lambda p: Adamax(p, lr=0.01),
    "Adadelta": lambda p: Adadelta(p),
}


def train(model, optimizer, batches):
    for x, y in batches:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


@pytest.fixture
def doubles(batches):
    return [(x.double(), y) for x, y in batches]


@pytest.fixture
def plan(net, images):
    return random_plan(sc.trace(net, images))


def tensors_of(model):
    return [*model.parameters(), *model.buffers()]


def parameters_of(optimizer):
    return [p for group in optimizer.param_groups for p in group["params"]]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.filterwarnings("ignore::secateurs.errors.PutBackWarning")
def test_a_model_cut_in_place_equals_the_cut_copy(name):
    model, inputs = build(name)
    plan = random_plan(sc.trace(model, inputs))
    small = sc.apply(model, plan, inputs)
    modules, entered = list(model.modules()), []
    hooks = [module.register_forward_hook(lambda module, *_: entered.append(module)) for module in modules]
    done = sc.apply_(model, plan, inputs)
    assert list(model.modules()) == modules
    entered.clear()
    with torch.no_grad():
        outputs, expected = tree_leaves(model(*inputs)), tree_leaves(small(*inputs))
    assert all(torch.equal(a, b) for a, b in zip(outputs, expected, strict=True))
    assert entered[-1] is model
    assert len(entered) > 1 or len(modules) == 1
    assert sc.cost(model, inputs) == done.pruned
    for module, copied in zip(modules, small.modules(), strict=True):
        assert type(module) is type(copied)
        assert module.extra_repr() == copied.extra_repr()
    assert [n for n, _ in model.named_parameters()] == [n for n, _ in small.named_parameters()]  # tied ones stay tied
    for hook in hooks:
        hook.remove()
    assert not any(module._forward_hooks for module in modules)


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_training_continues_as_that_of_the_masked_dense_model(net, doubles, plan, make, in_place):
    """Both take the same steps on what is kept, if what is gone is set to zero again after each."""
    dense = net.double()
    optimizer = make(dense.parameters())
    train(dense, optimizer, doubles)
    masked, other = copy.deepcopy((dense, optimizer))
    structure = sc.trace(dense, doubles[0][0])
    if in_place:
        small = dense
        sc.apply_(small, plan, doubles[0][0], structure, optimizer)
    else:
        small = sc.apply(dense, plan, doubles[0][0], structure)
        sc.carry_optimizer(optimizer, small, dense, plan, structure)
    anew, fresh = copy.deepcopy(small), copy.deepcopy(small)
    again = make(anew.parameters())
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    masks = structure.keep_masks(plan.keep)
    for batch in doubles:
        with torch.no_grad():
            for name, p in masked.named_parameters():
                p.copy_(zeroed(p, masks[name]))
        train(masked, other, [batch])
        train(small, optimizer, [batch])
    train(anew, again, doubles)
    train(fresh, make(fresh.parameters()), doubles)
    for (name, p), q in zip(masked.named_parameters(), small.parameters(), strict=True):
        for dim, keep in enumerate(masks[name]):
            p = p.index_select(dim, keep.nonzero().flatten())
        torch.testing.assert_close(q, p, rtol=1e-9, atol=1e-9)
    for p, q in zip(anew.parameters(), small.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-6, atol=1e-6)  # NAdam's own loading changes a precision
    same = all(torch.equal(a, b) for a, b in zip(fresh.parameters(), small.parameters(), strict=True))
    assert same == (not optimizer.state)


@pytest.mark.parametrize("make", [lambda p: Adafactor(p, lr=0.01), lambda p: AdamW(p)], ids=["Adafactor", "AdamW"])
def test_optimizer_state_is_sliced_like_the_parameter(net, batches, plan, make):
    optimizer = make(net.parameters())
    train(net, optimizer, batches)
    before = [dict(optimizer.state[p]) for p in net.parameters()]
    first, second, third = (torch.tensor(plan.keep[name]) for name in ("0", "3", "7"))
    every = torch.arange(4)
    inner = [[second, first], [second], [third, second], [third]]
    kept = [*[[first]] * 4, *inner, [every, third], []]
    sc.apply_(net, plan, batches[0][0], optimizer=optimizer)
    for p, state, dims in zip(net.parameters(), before, kept, strict=True):
        assert optimizer.state[p].keys() == state.keys()
        for key, old in state.items():
            expected = old
            for dim, chosen in enumerate(dims[: old.ndim]):
                if old.shape[dim] > 1:
                    expected = expected.index_select(dim, chosen)
            assert torch.equal(optimizer.state[p][key], expected), key
    train(net, optimizer, batches)


def test_muon_continues(net, batches, plan):
    optimizer = Muon([net[7].weight, net[9].weight], lr=0.01)
    train(net, optimizer, batches)
    before = optimizer.state[net[9].weight]["momentum_buffer"]
    sc.apply_(net, plan, batches[0][0], optimizer=optimizer)
    assert torch.equal(optimizer.state[net[9].weight]["momentum_buffer"], before[:, plan.keep["7"]])
    train(net, optimizer, batches)


def test_groups_schedulers_and_foreign_parameters_are_unchanged(net, batches, plan):
    other = nn.Parameter(torch.ones(3, 3))
    groups = [
        {"params": [net[9].bias, net[0].weight], "lr": 0.5, "name": "slow"},
        {"params": [other, net[7].weight], "weight_decay": 0.1},
    ]
    optimizer = SGD(groups, lr=0.2, momentum=0.9)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.1)
    other.grad = torch.ones(3, 3)
    optimizer.step()
    momentum = optimizer.state[other]["momentum_buffer"]
    structure = sc.trace(net, batches[0][0])
    small = sc.apply(net, plan, batches[0][0], structure)
    sc.carry_optimizer(optimizer, small, net, plan, structure)
    first, second = optimizer.param_groups
    assert [id(p) for p in parameters_of(optimizer)] == [
        id(p) for p in (small[9].bias, small[0].weight, other, small[7].weight)
    ]
    assert (first["name"], second["weight_decay"]) == ("slow", 0.1)
    assert optimizer.state[other]["momentum_buffer"] is momentum
    schedule.step()
    assert [first["lr"], second["lr"]] == pytest.approx([0.05, 0.02])


def test_an_optimizer_that_accelerate_prepared_is_carried(net, batches, plan, accelerate_state):
    net, optimizer = Accelerator(cpu=True).prepare(net, AdamW(net.parameters()))
    train(net, optimizer, batches)
    sc.apply_(net, plan, batches[0][0], optimizer=optimizer)
    sc.check_optimizer(optimizer, net)
    assert optimizer.state[net[0].weight]["exp_avg"].shape == net[0].weight.shape
    train(net, optimizer, batches)


def test_state_that_cannot_be_sliced_is_refused_and_nothing_changes(net, batches, plan):
    (x, y), *_ = batches
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=2)

    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        return loss

    optimizer.step(closure)
    before, tensors = parameters_of(optimizer), tensors_of(net)
    values, gradients = copy.deepcopy(net.state_dict()), [p.grad for p in net.parameters()]
    state = dict(optimizer.state)
    with pytest.raises(
        UsageError, match=r"state 'd' of .* '0.weight' cannot be sliced: its shape \[1392\] .* \[8, 3, 3, 3\]"
    ):
        sc.apply_(net, plan, x, optimizer=optimizer)
    assert all(a is b for a, b in zip(parameters_of(optimizer) + tensors_of(net), before + tensors, strict=True))
    assert all(torch.equal(value, values[name]) for name, value in net.state_dict().items())
    assert [p.grad for p in net.parameters()] == gradients
    assert optimizer.state == state
    assert net[3].in_channels == 8
    structure = sc.trace(net, x)
    small = sc.apply(net, plan, x, structure)
    with pytest.raises(UsageError, match="create a new optimiser"):
        sc.carry_optimizer(optimizer, small, net, plan, structure)
    assert all(a is b for a, b in zip(parameters_of(optimizer), before, strict=True))


def test_an_optimizer_with_parameters_of_another_model_is_refused(net, images, plan):
    structure = sc.trace(net, images)
    optimizer = SGD(net.parameters(), lr=0.1)
    sc.check_optimizer(optimizer, net)
    sc.check_optimizer(SGD(net[9].parameters(), lr=0.1), net)  # the others are not trained
    small = sc.apply(net, plan, images, structure)
    with pytest.raises(UsageError, match=r"10 of the 10 parameters .* this Sequential .*\[8, 3, 3, 3\].*, …"):
        sc.check_optimizer(optimizer, small)
    sc.carry_optimizer(optimizer, small, net, plan, structure)
    sc.check_optimizer(optimizer, small)
    with pytest.raises(UsageError, match="do not belong to"):
        sc.check_optimizer(optimizer, net)
    with pytest.raises(UsageError, match="carried over already"):
        sc.carry_optimizer(optimizer, small, net, plan, structure)
    with pytest.raises(UsageError, match="do not belong to"):
        sc.apply_(net, plan, images, structure, optimizer)
    for wrong in (None, net, torch.optim.SGD):
        with pytest.raises(UsageError, match=r"expected a torch.optim.Optimizer"):
            sc.check_optimizer(wrong, net)


def test_a_plan_that_did_not_make_the_model_is_refused(net, images, plan):
    structure = sc.trace(net, images)
    optimizer = SGD(net.parameters(), lr=0.1)
    other = random_plan(structure, "keep:0.3")
    with pytest.raises(PlanError, match=r"'0.weight' should have the shape \[2, 3, 3, 3\]"):
        sc.carry_optimizer(optimizer, sc.apply(net, plan, images), net, other, structure)
    model, inputs = build("mlp")
    with pytest.raises(ModelError, match="another model"):
        sc.carry_optimizer(optimizer, net, net, plan, sc.trace(model, inputs))


def test_a_cut_removes_gradients(net, batches, plan):
    for p in net.parameters():
        p.grad = torch.ones_like(p)
    sc.apply_(net, plan, batches[0][0])
    assert all(p.grad is None for p in net.parameters())


def test_tensors_in_attributes_are_replaced(net, images, plan):
    net.shortlist = [net[0].weight, (net[9].bias, "name")]
    net.layers = {"first": net[0]}
    sc.apply_(net, plan, images)
    assert net.shortlist[0] is net[0].weight
    assert net.shortlist[1][0] is net[9].bias
    assert net.layers["first"] is net[0]


class Holder:
    def __init__(self, weight):
        self.weight = weight


def test_a_model_that_cannot_be_cut_in_place_is_unchanged(net, images):
    model = Apply(
        lambda self, x: self.last(F.linear(x, self.holder.weight).relu()), a=nn.Linear(6, 8), last=nn.Linear(8, 3)
    )
    model.holder = Holder(model.a.weight)  # a copy of it has a holder of its own weight; the model itself has not
    x, a, last = torch.randn(4, 6), model.a, model.last
    plan = random_plan(sc.trace(model, x))
    assert sc.apply(model, plan, x).holder.weight.shape == (4, 6)
    model(x).sum().backward()
    before, values = tensors_of(model), copy.deepcopy(model.state_dict())
    gradients = [p.grad for p in model.parameters()]
    with pytest.raises(VerificationError, match="Apply cannot be cut in place: it still uses the old tensors"):
        sc.apply_(model, plan, x)
    assert all(one is other for one, other in zip(tensors_of(model), before, strict=True))
    assert all(torch.equal(value, values[name]) for name, value in model.state_dict().items())
    assert all(p.grad is gradient for p, gradient in zip(model.parameters(), gradients, strict=True))
    assert (a.out_features, last.in_features) == (8, 8)


def block():
    return nn.TransformerEncoderLayer(8, 4, 12, batch_first=True).eval(), (torch.randn(2, 5, 8),)


def test_attention_is_adapted_in_place():
    model, inputs = block()
    attention, plan = model.self_attn, random_plan(sc.trace(model, inputs))
    small = sc.apply(model, plan, inputs)
    sc.apply_(model, plan, inputs)
    assert model.self_attn is attention
    assert type(attention) is type(small.self_attn) is not nn.MultiheadAttention
    assert attention.num_heads == 2
    assert torch.equal(model(*inputs), small(*inputs))


@pytest.mark.parametrize("made", [block, lambda: build("held sizes"), lambda: build("lstm")])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_inside_the_context_undoes_the_cut(made, error):
    model, inputs = made()
    before, expected = tensors_of(model), tree_leaves(model(*inputs))
    classes, facts = [type(m) for m in model.modules()], [m.extra_repr() for m in model.modules()]
    cut = apply_and_report(model, random_plan(sc.trace(model, inputs)), inputs)

    def interrupted():
        with replacing(model, cut, inputs):
            assert sc.cost(model, inputs) == cut.plan.pruned
            raise error

    with pytest.raises(error):
        interrupted()
    assert all(one is other for one, other in zip(tensors_of(model), before, strict=True))
    assert [type(m) for m in model.modules()] == classes
    assert [m.extra_repr() for m in model.modules()] == facts
    assert all(torch.equal(a, b) for a, b in zip(tree_leaves(model(*inputs)), expected, strict=True))


def test_groups_that_cannot_be_cut_stay_whole_with_a_warning():
    model = HardCoded()
    x = torch.randn(4, 6)
    with pytest.warns(PutBackWarning, match=r"keep all units.*first \("):
        done = sc.apply_(model, random_plan(sc.trace(model, x)), x)
    assert done.widths == {"second": 4}
    assert (len(model.first.weight), len(model.second.weight)) == (12, 4)


def test_wrapped_models_are_refused(net, images, plan):
    with pytest.raises(ModelError, match=r"the model is wrapped by DataParallel.*wrap it again"):
        sc.apply_(nn.DataParallel(net), plan, images, sc.trace(net, images))
    compiled = nn.Sequential(torch.compile(net[:3]), *net[3:])
    with pytest.raises(ModelError, match="module '0' is wrapped by OptimizedModule"):
        sc.gradual(compiled, SGD(net.parameters(), lr=0.1), [images], criterion="l1", stop=1)
    net[3].compile()
    with pytest.raises(ModelError, match=r"module '3' is wrapped by torch.compile"):
        sc.apply_(net, plan, images)
