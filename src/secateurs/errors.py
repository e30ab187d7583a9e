"""Exceptions and warnings of Secateurs.

A message names what failed, where, the value, and the fix.
"""


class SecateursError(Exception):
    """Base class of all exceptions that the library raises on invalid input."""


class UsageError(SecateursError):
    """An argument has the wrong type or value, or an optional dependency is missing."""


class ModelError(SecateursError):
    """The model does not support the operation, for example because it is not a module or has no batch norm."""


class TraceError(SecateursError):
    """The model failed on the example inputs, or its outputs could not be interpreted."""


class DataError(SecateursError):
    """The data is empty, has an unsupported form, is not finite, or makes the model fail."""


class NoMatchError(SecateursError):
    """A name or a pattern matches nothing."""


class CriterionError(SecateursError):
    """A criterion is unknown, lacks an input that it needs, or computed invalid scores."""


class UnscorableError(CriterionError):
    """A criterion cannot score the units of one group. If it can score other groups, this group is kept whole."""


class BudgetError(SecateursError):
    """A budget or a limit cannot be parsed or is out of range."""


class InfeasibleBudgetError(BudgetError):
    """A budget cannot be reached within the limits. The message names the closest budget that can."""


class PlanError(SecateursError):
    """A plan does not fit the model, or the file of a plan cannot be read."""


class VerificationError(SecateursError):
    """The pruned model and the masked dense model compute different outputs."""


class PersistError(SecateursError):
    """A model could not be saved, or a saved model is incomplete, was altered, or belongs to another model."""


class SecateursWarning(UserWarning):
    """Base class of all warnings of the library."""


class PutBackWarning(SecateursWarning):
    """Some groups were left whole because the removal of their units failed verification."""


class DeadUnitsWarning(SecateursWarning):
    """All units of a group have the lowest possible score."""


class AllZeroWarning(SecateursWarning):
    """All scores are zero (or equal and negative) and do not distinguish the units. All units are kept."""


class UnscoredWarning(SecateursWarning):
    """A criterion cannot score some groups. These groups are kept whole."""


class FewSamplesWarning(SecateursWarning):
    """There are too few samples for a reliable estimate of a statistic."""
