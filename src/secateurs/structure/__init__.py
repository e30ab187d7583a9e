"""Which slices of which tensors must go together: axes, their flow through a model, and the resulting groups."""

from secateurs.structure.arguments import Arguments, Frame
from secateurs.structure.axis import Axis, leaves
from secateurs.structure.check_shapes import check_shapes
from secateurs.structure.contraction import Contraction
from secateurs.structure.cost import Cost, cost
from secateurs.structure.dispatch import COPY, Site, Watcher
from secateurs.structure.groups import Group, Member, Seen, Tap
from secateurs.structure.incremental_cost import IncrementalCost
from secateurs.structure.indexing import kept_entries, size_of, sliced, take_units, zeroed
from secateurs.structure.kinds import DEFAULT, KINDS
from secateurs.structure.records import OUTPUT
from secateurs.structure.structure import Change, Structure
from secateurs.structure.tensors import tensors_in
from secateurs.structure.trace import matching, outputs_of, trace
from secateurs.structure.uniform_groups import Role, uniform_roles

__all__ = [
    "COPY",
    "DEFAULT",
    "KINDS",
    "OUTPUT",
    "Arguments",
    "Axis",
    "Change",
    "Contraction",
    "Cost",
    "Frame",
    "Group",
    "Member",
    "IncrementalCost",
    "Role",
    "Seen",
    "Site",
    "Structure",
    "Tap",
    "Watcher",
    "uniform_roles",
    "check_shapes",
    "cost",
    "kept_entries",
    "leaves",
    "matching",
    "outputs_of",
    "size_of",
    "sliced",
    "take_units",
    "tensors_in",
    "trace",
    "zeroed",
]
