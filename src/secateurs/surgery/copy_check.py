"""Check that a copy of a model computes by itself what the model computes.

A deep copy shares functions with the original. A hook that stores features in a closure therefore stores the features
of the copy in the original, and the copy reads old features. On the inputs of the last run, both give the same outputs.
"""

from __future__ import annotations

from torch import Tensor, nn

from secateurs.data import Call
from secateurs.errors import VerificationError
from secateurs.surgery.cut import rebuild
from secateurs.surgery.verify import difference, difference_from, run_model


def check_copy(model: nn.Module, call: Call) -> None:
    """Check that an unchanged copy equals the model on changed inputs.

    Args:
        model: the model; it is not changed.
        call: the example inputs. Their values are permuted, which keeps every value in range. If the model does not run
            on permuted inputs, the example inputs themselves are used.

    Raises:
        VerificationError: the copy fails or computes something else. The message names modules with hooks.
    """
    copy = rebuild(model, lambda name, tensor: tensor.clone())
    changed = call.map(_permuted)
    try:
        expected = run_model(model, changed)
    except Exception:  # the code of the model may raise anything, for example if lengths are not in order
        changed = call
        expected = run_model(model, changed)
    reason = difference_from(expected, copy, changed)
    if reason is None or difference(run_model(model, changed), expected):  # outputs that differ from run to run
        return
    hooked = [repr(name or "the model") for name, module in model.named_modules() if _has_hooks(module)]
    where = f"the hooks of {', '.join(hooked)}" if hooked else "its code"
    raise VerificationError(
        f"a copy of {type(model).__name__} does not compute what the model computes ({reason}), because {where} "
        "store or read tensors of the original model: store them on the module that a hook receives, not in a closure "
        "or a global variable"
    )


def _permuted(tensor: Tensor) -> Tensor:
    """The same values in another order; numbers that are not integers also change."""
    moved = tensor.flatten().roll(1).reshape(tensor.shape)
    return moved * 0.9 if tensor.is_floating_point() or tensor.is_complex() else moved


def _has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)
