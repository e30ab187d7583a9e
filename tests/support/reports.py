"""Comparisons made of plausible numbers, for tests of reports."""

import random

import secateurs as sc
from secateurs.budgets.certificate import Certificate
from secateurs.experiments.report.comparison import Comparison
from secateurs.experiments.report.outcome import Outcome, RoundOutcome

GROUPS = {f"layer{i // 4 + 1}.{i % 4}.conv1": 16 << (i // 4) for i in range(12)}
CRITERIA = ("random", "l1", "ssi", "ssi-reversed", "nexp", "obs")
DENSE = sc.Cost(params=272_474, macs=40_551_040)


def outcome(criterion="nexp", budget="macs:0.5", seed=0, **others):
    """One pruned model: its scores are random, what they keep follows from them."""
    draw = random.Random(f"{criterion}{seed}")
    share = float(budget.partition(":")[2])
    skill = (CRITERIA.index(criterion) if criterion in CRITERIA else 2) / len(CRITERIA)
    common = random.Random(seed)
    scores = {g: [skill * common.random() + (1 - skill) * draw.random() for _ in range(n)] for g, n in GROUPS.items()}
    keep = {
        g: sorted(sorted(range(n), key=scores[g].__getitem__)[n - max(1, round(n * share)) :])
        for g, n in GROUPS.items()
    }
    cut = max(0.1, 0.93 - (1 - share) * (1.4 - skill) + draw.gauss(0, 0.02))
    quality = {
        "cut": cut,
        "recalibrated": (cut + 0.9) / 2,
        "recovered": 0.93 - (1 - share) * 0.06 + draw.gauss(0, 0.004),
    }
    cost = sc.Cost(params=int(DENSE.params * share), macs=int(DENSE.macs * share))
    latency = (0.0021, 0.0021 * (0.4 + 0.6 * share) * draw.uniform(0.97, 1.03))
    fields = {"criterion": criterion, "budget": budget, "seed": seed, "cost": cost, "latency": latency}
    return Outcome(**{**fields, "quality": quality, "keep": keep, "scores": scores, **others})


def comparison(outcomes, **others):
    """The comparison of some outcomes."""
    fields = {
        "title": "ResNet-20 by six criteria",
        "model": "py:model.py:build",
        "dense": DENSE,
        "units": GROUPS,
        "frozen": {
            "conv1.weight[0]": "joins a residual stream that is not asked for",
            "linear.weight[0]": "model output",
        },
        "outcomes": outcomes,
        "command": "secateurs compare py:model.py:build --criteria random,l1,ssi",
        "quality": 0.926,
        "loss": 0.251,
        "notes": ["Accuracy on 1,000 test images that nothing was chosen by."],
        "provenance": {"secateurs": "0.1.0", "threads": "1"},
    }
    return Comparison(**{**fields, **others})


def sweep(budgets=("macs:0.75", "macs:0.5", "macs:0.25"), seeds=3):
    """Six criteria at several budgets with several seeds, one of which failed."""
    cells = [(c, b, s) for c in CRITERIA for b in budgets for s in range(seeds)]
    outcomes = [outcome(c, b, s) for c, b, s in cells if (c, b, s) != ("ssi", budgets[0], 0)]
    failed = {f"ssi {budgets[0]} seed 0": "CriterionError: the worker was killed"}
    return comparison(outcomes, failed=failed, warnings=["DeadUnitsWarning: layer1.0.conv1 has 3 dead units"])


def single():
    """One pruned model with everything that can be known of it."""
    rounds = [
        RoundOutcome(sc.Cost(200_000, 30_000_000), GROUPS, {"cut": 0.8}),
        RoundOutcome(sc.Cost(136_237, 20_275_520), GROUPS),
    ]
    certificate = Certificate(100, 61.5, 0.79, 1.0, 61, 0.83, 0.7, 0.71)
    its = outcome(
        loss=0.61,
        effective={"all groups": certificate},
        compensation={"layer1.0.conv2.weight": (0.31, 0.12)},
        rounds=rounds,
    )
    return comparison([its])
