"""Structure: find the slices of tensors that must be removed together, by following axes through a model."""

from secateurs.structure.arguments import Arguments, Frame
from secateurs.structure.axis import Axis, leaves
from secateurs.structure.check_shapes import check_shapes
from secateurs.structure.contraction import Contraction
from secateurs.structure.cost import Cost, cost
from secateurs.structure.dispatch import COPY, Site, Watcher
from secateurs.structure.flow import Flow
from secateurs.structure.groups import Group, Member
from secateurs.structure.incremental_cost import IncrementalCost
from secateurs.structure.indexing import kept_entries, size_of, sliced, take_units, zeroed
from secateurs.structure.kinds import DEFAULT_KINDS, UNIT_KINDS
from secateurs.structure.model_outputs import outputs_of
from secateurs.structure.name_patterns import matching
from secateurs.structure.records import OUTPUT
from secateurs.structure.rules import rule, temporary_rules
from secateurs.structure.shape_changes import ShapeChange, shape_changes
from secateurs.structure.structure import Structure
from secateurs.structure.taps import ObservedUnits, Tap
from secateurs.structure.tensors import tensors_in
from secateurs.structure.trace import trace
from secateurs.structure.uniform_groups import Role, uniform_roles
from secateurs.structure.unify import unify

__all__ = [
    "COPY",
    "DEFAULT_KINDS",
    "UNIT_KINDS",
    "OUTPUT",
    "Arguments",
    "Axis",
    "Contraction",
    "Cost",
    "Flow",
    "Frame",
    "Group",
    "Member",
    "IncrementalCost",
    "Role",
    "ObservedUnits",
    "ShapeChange",
    "Site",
    "Structure",
    "Tap",
    "Watcher",
    "unify",
    "uniform_roles",
    "check_shapes",
    "cost",
    "kept_entries",
    "leaves",
    "matching",
    "outputs_of",
    "rule",
    "shape_changes",
    "temporary_rules",
    "size_of",
    "sliced",
    "take_units",
    "tensors_in",
    "trace",
    "zeroed",
]
