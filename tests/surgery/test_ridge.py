"""The least squares of compensation: features without information, and decompositions that fail."""

import torch

from secateurs.surgery import least_squares


def problem():
    """Second moments of five kept features, two of them always zero, and of three removed ones."""
    x = torch.randn(40, 8, dtype=torch.float64)
    x[:, 5:] = x[:, :3] + 0.1 * x[:, 5:]
    x[:, [1, 3]] = 0
    moments = x.T @ x / len(x)
    return moments[:5, :5], moments[:5, 5:], moments[5:, 5:], torch.randn(3, 4, dtype=torch.float64), len(x)


def test_features_that_are_always_zero_get_no_coefficient_and_change_no_other():
    c_ss, c_sr, c_rr, weight, rows = problem()
    coefficients = least_squares._ridge_coefficients(c_ss, c_sr, c_rr, weight, rows)
    assert not coefficients[[1, 3]].any()
    exact = torch.linalg.lstsq(c_ss[[0, 2, 4]][:, [0, 2, 4]], c_sr[[0, 2, 4]]).solution
    torch.testing.assert_close(coefficients[[0, 2, 4]], exact, rtol=0.2, atol=0.2)


def test_without_any_information_all_coefficients_are_zero():
    _, c_sr, c_rr, weight, rows = problem()
    zeros = torch.zeros(5, 5, dtype=torch.float64)
    assert not least_squares._ridge_coefficients(zeros, torch.zeros_like(c_sr), c_rr, weight, rows).any()


def test_a_decomposition_that_fails_is_replaced_by_another(monkeypatch):
    expected = least_squares._ridge_coefficients(*problem_once())

    def fail(matrix):
        raise torch.linalg.LinAlgError("did not converge")

    monkeypatch.setattr(torch.linalg, "eigh", fail)
    torch.testing.assert_close(least_squares._ridge_coefficients(*problem_once()), expected, rtol=1e-6, atol=1e-9)


def problem_once():
    torch.manual_seed(1)
    return problem()
