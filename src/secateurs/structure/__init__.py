"""Which slices of which tensors must go together: axes, their flow through a model, and the resulting groups."""

from secateurs.structure.contraction import Contraction
from secateurs.structure.groups import Group, Member, Tap
from secateurs.structure.structure import Structure
from secateurs.structure.trace import trace

__all__ = ["Contraction", "Group", "Member", "Structure", "Tap", "trace"]
