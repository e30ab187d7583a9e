"""Slow definitions of which entries are kept, for comparison with vectorised code."""


def top_k(scores, count):
    """The indices of the `count` highest scores; of equal scores the lower index comes first."""
    return set(sorted(range(len(scores)), key=lambda i: (-float(scores[i]), i))[:count])


def kept_indices(mask):
    """The indices of the true entries of a flattened mask."""
    return set(mask.flatten().nonzero().flatten().tolist())
