"""Which slices of which tensors must go together: axes, their flow through a model, and the resulting groups."""

from secateurs.structure.structure import Group, Member, Structure, Tap
from secateurs.structure.trace import trace

__all__ = ["Group", "Member", "Structure", "Tap", "trace"]
