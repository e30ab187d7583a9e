"""Every error and warning that Secateurs raises on purpose.

A message says what was wrong, where, with which value, and what to do about it.
"""


class SecateursError(Exception):
    """Base class: catch this to catch everything the library raises on bad input."""


class UsageError(SecateursError):
    """An argument is not of the kind that the function takes."""


class ModelError(SecateursError):
    """The model itself cannot be used as asked (not a module, no batch norm, cannot be copied ...)."""


class TraceError(SecateursError):
    """The model could not be run on the example inputs, or its outputs could not be read."""


class DataError(SecateursError):
    """The data is empty, of an unknown form, not finite, or refused by the model."""


class NoMatchError(SecateursError):
    """A name or pattern matches nothing."""


class CriterionError(SecateursError):
    """A criterion is unknown, lacks what it needs, or gave scores that cannot be used."""


class UnscorableError(CriterionError):
    """A criterion has nothing to go by for the units of one group; where others have scores, these units stay."""


class BudgetError(SecateursError):
    """A budget or a limit cannot be understood."""


class InfeasibleBudgetError(BudgetError):
    """A budget cannot be reached within the limits; the message names the closest that can."""


class PlanError(SecateursError):
    """A plan does not fit the model, or its file cannot be read."""


class VerificationError(SecateursError):
    """The cut model does not compute what the masked dense model computes."""


class PersistError(SecateursError):
    """A model could not be saved, or a saved one is incomplete, altered or of another model."""


class SecateursWarning(UserWarning):
    """Base class of the library's warnings."""


class PutBackWarning(SecateursWarning):
    """Units of some groups were kept after all, because removing them failed verification."""


class DeadUnitsWarning(SecateursWarning):
    """Every unit of a group has the lowest possible score."""


class AllZeroWarning(SecateursWarning):
    """All scores are equal, so that they say nothing about how many units are effective."""


class UnscoredWarning(SecateursWarning):
    """A criterion has nothing to say about the units of some groups, which stay."""


class FewSamplesWarning(SecateursWarning):
    """There are fewer samples than a statistic needs to be trusted."""
