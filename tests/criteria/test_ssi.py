"""SSI against its definition, its laws, and what goes wrong with the form that is printed."""

import warnings

import numpy as np
import pytest
import torch
from scipy.sparse.csgraph import connected_components
from scipy.stats import spearmanr
from torch import nn

import secateurs as sc
from secateurs.criteria import distortion
from secateurs.criteria.neighbour_graphs import neighbour_graphs
from secateurs.errors import CriterionError, FewSamplesWarning, UnscoredWarning

FORMS = {"ssi": (True, None), "ssi-literal": (False, 2)}


def distance(vectors, p, q):
    return np.sqrt(((vectors[p] - vectors[q]) ** 2).sum())


def edges_of(vectors, k):
    """Pairs of which either is among the k nearest of the other."""
    found = set()
    for p in range(len(vectors)):
        others = sorted((q for q in range(len(vectors)) if q != p), key=lambda q: distance(vectors, p, q))
        found |= {(min(p, q), max(p, q)) for q in others[:k]}
    return found


def is_connected(edges, units):
    reached, grown = {0}, True
    while grown:
        more = {v for edge in edges for v in edge if reached & set(edge)} - reached
        reached, grown = reached | more, bool(more)
    return len(reached) == units


def laplacian(vectors, k, gaussian):
    units = len(vectors)
    edges = edges_of(vectors, k)
    nearest = [sorted(distance(vectors, p, q) for q in range(units) if q != p)[:k] for p in range(units)]
    width = np.median(nearest)
    found = np.zeros((units, units))
    for p, q in edges:
        weight = np.exp(-(distance(vectors, p, q) ** 2) / (2 * width**2)) if gaussian else 1.0
        found[p, q] = found[q, p] = -weight
        found[p, p] += weight
        found[q, q] += weight
    return found


def eigenpairs(inward, outward):
    """L_in v = ζ L_out v for v without a mean, with vᵀ L_out v = 1; largest first."""
    units = len(inward)
    basis = np.linalg.qr(np.column_stack([np.ones(units), np.eye(units)[:, 1:]]))[0][:, 1:]
    root = np.linalg.inv(np.linalg.cholesky(basis.T @ outward @ basis))
    values, vectors = np.linalg.eigh(root @ basis.T @ inward @ basis @ root.T)
    vectors = basis @ root.T @ vectors
    return [(values[i], vectors[:, i]) for i in reversed(range(len(values)))]


def reference(before, after, gaussian, pairs):
    """SSI by its definition, for vectors of units before and after [units, samples], none of which is constant."""
    units, k = len(before), 10
    while not (is_connected(edges_of(before, k), units) and is_connected(edges_of(after, k), units)):
        k = min(2 * k, units - 1)
    inward, outward = (laplacian(vectors, k, gaussian) for vectors in (before, after))
    inverse = np.linalg.pinv(outward, rcond=1e-12)
    leading = eigenpairs(inward, outward)[:pairs]
    of_unit = [[] for _ in range(units)]
    for p, q in edges_of(before, k):
        e = np.zeros(units)
        e[p], e[q] = 1, -1
        if pairs is None:
            score = e @ inverse @ inward @ inverse @ e
        else:
            score = sum(zeta * (v[p] - v[q]) ** 2 for zeta, v in leading)
        of_unit[p].append(score)
        of_unit[q].append(score)
    means = np.array([np.mean(its) for its in of_unit])
    return means / means.max()


def linear():
    return nn.Sequential(nn.Linear(6, 26), nn.Tanh(), nn.Linear(26, 3)), "0", torch.randn(40, 6)


def convolution():
    model = nn.Sequential(nn.Conv2d(3, 20, 3), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(20, 3))
    return model, "0", torch.randn(32, 3, 6, 6)


def transformer():
    return (
        nn.TransformerEncoderLayer(8, 2, 24, 0.0, nn.functional.gelu, batch_first=True),
        "linear1",
        torch.randn(32, 5, 8),
    )


def units_around(model, name, activation, x):
    """The group's units before and after their non-linearity, pooled over positions: [units, samples]."""
    seen = []
    module = model.get_submodule(name)
    hook = module.register_forward_hook(lambda module, args, out: seen.append(out.detach()))
    model.eval()(x)
    hook.remove()
    units = 1 if seen[0].ndim == 4 else -1
    return [t.movedim(units, 0).flatten(2).mean(2).numpy() if t.ndim > 2 else t.T.numpy() for t in
            (seen[0], activation(seen[0]))]  # fmt: skip


@pytest.mark.parametrize("criterion", FORMS)
@pytest.mark.parametrize(
    ("make", "activation"),
    [(linear, torch.tanh), (convolution, nn.functional.gelu), (transformer, nn.functional.gelu)],
)
def test_both_forms_are_their_definition(make, activation, criterion):
    model, name, x = make()
    model, x = model.double(), x.double()
    expected = reference(*units_around(model, name, activation, x), *FORMS[criterion])
    scores = sc.score(model, [x], criterion)[name]
    np.testing.assert_allclose(scores, expected, rtol=1e-7)
    assert expected.min() < 0.8  # there is something to tell apart


def vectors(units, samples=64, seed=0):
    """Units of low rank plus noise, before and after a ReLU: [units, samples]."""
    random = np.random.default_rng(seed)
    before = random.standard_normal((units, 8)) @ random.standard_normal((8, samples))
    before += 0.3 * random.standard_normal((units, samples)) + 0.5
    return before, np.maximum(before, 0)


def test_the_closed_form_is_the_sum_over_all_eigenpairs():
    pair = neighbour_graphs(*vectors(30), 10, gaussian=True)
    closed, summed = distortion.mean_edge_distortion(*pair, None), distortion.mean_edge_distortion(*pair, 29)
    np.testing.assert_allclose(closed, summed, rtol=1e-8)


@pytest.mark.parametrize("far", [0, 1])
def test_neighbours_are_added_until_both_graphs_hold_together(far):
    """Two clusters of 15 units, far from each other before (or after) the non-linearity alone."""
    pair = list(vectors(30))
    assert all(is_connected(edges_of(its, 10), 30) for its in pair)
    pair[far] = pair[far] + 100 * (np.arange(30) < 15)[:, None]
    assert not is_connected(edges_of(pair[far], 10), 30)
    for gaussian in (True, False):
        for graph in neighbour_graphs(*pair, 10, gaussian):
            assert connected_components(graph)[0] == 1
    literal = distortion.mean_edge_distortion(*neighbour_graphs(*pair, 10, gaussian=False), 2)
    np.testing.assert_allclose(literal, reference(*pair, gaussian=False, pairs=2), rtol=1e-7)


@pytest.mark.parametrize("gaussian", [True, False])
@pytest.mark.parametrize("others", [1, 10])
def test_many_duplicates_are_joined_to_the_rest(gaussian, others):
    before, after = vectors(others + 1)
    before, after = (np.concatenate([its, np.repeat(its[:1], 25, 0)]) for its in (before, after))
    before, after = (its * (1 + 1e-9 * np.random.default_rng(0).standard_normal(its.shape)) for its in (before, after))
    pair = neighbour_graphs(before, after, 10, gaussian)
    for graph in pair:
        assert connected_components(graph)[0] == 1
        between = graph.toarray()[-25:, -25:]
        assert between[between > 0].min() == 1  # they are no distance apart, whatever rounding says
    scores = distortion.mean_edge_distortion(*pair, None if gaussian else 2)
    assert np.isfinite(scores).all()
    assert scores.max() == 1


@pytest.fixture
def layer():
    model = nn.Sequential(nn.Linear(6, 30), nn.ReLU(), nn.Linear(30, 3)).double()
    return model, torch.randn(60, 6, dtype=torch.float64)


@pytest.mark.parametrize("criterion", FORMS)
def test_constant_units_score_nothing_and_are_taken_out_first(layer, criterion):
    model, x = layer
    alive = nn.Sequential(nn.Linear(6, 26), nn.ReLU(), nn.Linear(26, 3)).double()
    with torch.no_grad():
        model[0].bias[:2] = -100  # constant after
        model[0].weight[2:4] = 0  # constant before as well, at another value
        model[0].bias[2:4] = torch.tensor([-0.3, 0.7])
        alive[0].weight.copy_(model[0].weight[4:])
        alive[0].bias.copy_(model[0].bias[4:])
    scores = sc.score(model, [x], criterion)["0"]
    assert scores[:4].tolist() == [0] * 4
    torch.testing.assert_close(scores[4:], sc.score(alive, [x], criterion)["0"])


def test_one_live_unit_is_the_most_important(layer):
    model, x = layer
    with torch.no_grad():
        model[0].bias[1:] = -100
    assert sc.score(model, [x], "ssi")["0"].tolist() == [1] + [0] * 29


def test_a_unit_that_is_constant_but_for_rounding_is_dead(layer):
    model, x = layer
    with torch.no_grad():
        model[0].weight[3] *= 1e-10
        model[0].bias[3] = 1
    assert sc.score(model, [x], "ssi")["0"][3] == 0


@pytest.mark.parametrize("criterion", FORMS)
def test_permuting_units_permutes_scores(layer, criterion):
    model, x = layer
    before, order = sc.score(model, [x], criterion)["0"], torch.randperm(30)
    with torch.no_grad():
        model[0].weight.copy_(model[0].weight[order])
        model[0].bias.copy_(model[0].bias[order])
    torch.testing.assert_close(sc.score(model, [x], criterion)["0"], before[order])


@pytest.mark.parametrize("factor", [1e-6, 3.0, 1e6])
def test_the_scale_of_activations_does_not_matter(layer, factor):
    model, x = layer
    before = sc.score(model, [x], "ssi")["0"]
    with torch.no_grad():
        model[0].weight *= factor
        model[0].bias *= factor
    torch.testing.assert_close(sc.score(model, [x], "ssi")["0"], before)


@pytest.mark.parametrize("sizes", [[60], [1] * 60, [7, 13, 40]])
def test_batches_of_any_size_give_the_same_scores(layer, sizes):
    model, x = layer
    reference = sc.score(model, [x[:30], x[30:]], "ssi")["0"]
    torch.testing.assert_close(sc.score(model, list(x.split(sizes)), "ssi", sc.trace(model, x[:2]))["0"], reference)


# What is wrong with the form that is printed.


def test_the_largest_eigenvalue_of_disconnected_graphs_is_an_artefact_of_epsilon():
    """Where L_out falls apart, ζ = xᵀ L_in x / xᵀ (L_out + εI) x of its parts grows as 1 / ε; connected, it stays."""
    before, after = vectors(30)
    apart = after + 100 * (np.arange(30) < 15)[:, None]
    inward, outward = laplacian(before, 10, gaussian=False), laplacian(apart, 10, gaussian=False)
    joined = -neighbour_graphs(before, apart, 10, gaussian=False)[1].toarray()
    np.fill_diagonal(joined, -joined.sum(1))

    def largest(matrix, epsilon):
        return np.linalg.eigvals(np.linalg.solve(matrix + epsilon * np.eye(30), inward)).real.max()

    assert largest(outward, 1e-6) / largest(outward, 1e-3) == pytest.approx(1000, rel=0.1)
    assert largest(joined, 1e-6) / largest(joined, 1e-3) == pytest.approx(1, rel=0.1)


def test_with_no_more_units_than_neighbours_the_literal_form_says_nothing():
    """Both graphs hold all pairs then, and all eigenvalues are 1."""
    before, after = vectors(11)
    pair = neighbour_graphs(before, after, 10, gaussian=False)
    np.testing.assert_allclose(distortion.mean_edge_distortion(*pair, 2), 1)
    distant = neighbour_graphs(before, after, 10, gaussian=True)
    assert distortion.mean_edge_distortion(*distant, None).min() < 0.9


@pytest.fixture(scope="module")
def digits():
    """A network of two layers trained on digits, and two halves of other digits."""
    from sklearn.datasets import load_digits

    data = load_digits()
    images, labels = torch.tensor(data.data / 16).float(), torch.tensor(data.target)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(100):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images[:800]), labels[:800]).backward()
        optimizer.step()
    assert (model(images[800:]).argmax(1) == labels[800:]).float().mean() > 0.85
    return model, images[800:1296], images[1296:1792]


def test_the_default_agrees_more_from_sample_to_sample_than_the_literal_form(digits):
    model, *halves = digits
    agreement = {}
    for criterion in FORMS:
        first, second = (sc.score(model, [half], criterion) for half in halves)
        agreement[criterion] = [spearmanr(first[name], second[name])[0] for name in first]
    assert min(agreement["ssi"]) > max(agreement["ssi-literal"])
    assert min(agreement["ssi"]) > 0.8


# Many units.


def test_the_leading_eigenpairs_of_many_units_are_those_of_dense_matrices(monkeypatch):
    pair = neighbour_graphs(*vectors(400), 10, gaussian=False)
    exact = distortion.mean_edge_distortion(*pair, 2)
    monkeypatch.setattr(distortion, "DENSE", 0)
    np.testing.assert_allclose(distortion.mean_edge_distortion(*pair, 2), exact, rtol=1e-4, atol=1e-6)


def test_projections_are_off_by_as_much_as_they_say(monkeypatch):
    """√(2 / m) per edge, and less for a unit, which has ten or more; divided by a maximum that is off, too."""
    pair = neighbour_graphs(*vectors(400), 10, gaussian=True)
    exact = distortion.mean_edge_distortion(*pair, None)
    monkeypatch.setattr(distortion, "DENSE", 0)
    ratio = distortion.mean_edge_distortion(*pair, None) / exact
    assert (ratio / np.median(ratio)).std() < np.sqrt(2 / distortion.PROJECTIONS)
    assert abs(np.median(ratio) - 1) < 4 * np.sqrt(2 / distortion.PROJECTIONS)


def test_conjugate_gradients_solve_what_hangs_together_by_weak_links():
    """Two clusters, linked by weights of e⁻²⁵."""
    before, after = vectors(60)
    after = after + 1000 * (np.arange(60) < 30)[:, None]
    _, graph = neighbour_graphs(before, after, 10, gaussian=True)
    outward = distortion._laplacian(graph)
    right = np.random.default_rng(0).standard_normal((60, 5))
    right -= right.mean(0)
    found = distortion._solve(outward, right)
    expected = np.linalg.solve(distortion._positive_definite(outward), right)
    assert expected.std() > 1e6 * right.std()
    np.testing.assert_allclose(found - found.mean(0), expected, rtol=1e-4)


def test_what_does_not_converge_is_an_error(monkeypatch):
    pair = neighbour_graphs(*vectors(60), 10, gaussian=True)
    monkeypatch.setattr(distortion, "DENSE", 0)
    monkeypatch.setattr(distortion, "STEPS", 2)
    with pytest.raises(CriterionError, match="60 units did not converge"):
        distortion.mean_edge_distortion(*pair, None)


def test_more_units_than_dense_matrices_are_made_for(monkeypatch):
    units = distortion.DENSE + 4
    monkeypatch.setattr(distortion, "PROJECTIONS", distortion.BLOCK)
    model = nn.Sequential(nn.Linear(8, units), nn.ReLU(), nn.Linear(units, 2))
    with torch.no_grad():
        model[0].bias[:3] = -100
    with pytest.warns(FewSamplesWarning):
        scores = sc.score(model, [torch.randn(32, 8)], "ssi")["0"]
    assert scores[:3].tolist() == [0] * 3
    assert scores.max() == 1
    assert (scores[3:] > 0).float().mean() > 0.9


# What it cannot score.


@pytest.mark.parametrize("criterion", FORMS)
def test_one_sample_is_an_error_and_too_few_are_a_warning(layer, criterion):
    model, x = layer
    structure = sc.trace(model, x[:2])
    with pytest.raises(CriterionError, match="at least 2 samples"):
        sc.score(model, [x[:1]], criterion, structure)
    with pytest.warns(
        FewSamplesWarning, match=r"12 samples for the 30 units of group '0'.*depend strongly on the samples"
    ):
        sc.score(model, [x[:12]], criterion, structure)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sc.score(model, [x[:30]], criterion, structure)


def test_groups_without_a_non_linearity_are_left_unscored_with_the_reason():
    model = nn.Sequential(nn.Linear(6, 12), nn.Linear(12, 14), nn.ReLU(), nn.Linear(14, 3))
    with pytest.warns(UnscoredWarning, match=r"'0' \(no non-linearity is applied to the units\)"):
        scores = sc.score(model, [torch.randn(20, 6)], "ssi")
    assert list(scores) == ["1"]
