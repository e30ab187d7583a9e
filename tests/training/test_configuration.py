"""Configuration dataclasses convert to JSON and back, and describe their fields."""

import json
from dataclasses import fields
from typing import get_type_hints

import pytest
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

import secateurs as sc
from secateurs.data import ImageOptions
from secateurs.huggingface.text import TextOptions

EXAMPLES = [
    sc.Recovery(epochs=3, lr_schedule="step", milestones=(0.5,), clip=1.0, trackers=("tensorboard",)),
    ImageOptions(32, (0.1, 0.2, 0.3), (1.0, 2.0, 3.0)),
    TextOptions("gpt", length=16, trust_remote_code=True),
]


@pytest.mark.parametrize("value", EXAMPLES, ids=lambda value: type(value).__name__)
def test_json_round_trip_gives_an_equal_object(value):
    adapter = TypeAdapter(type(value))
    assert adapter.validate_json(adapter.dump_json(value)) == value


@pytest.mark.parametrize("value", EXAMPLES, ids=lambda value: type(value).__name__)
def test_unknown_keys_are_refused(value):
    with pytest.raises(ValidationError, match="surprise"):
        TypeAdapter(type(value)).validate_json(json.dumps({"surprise": 1}))


@pytest.mark.parametrize("value", EXAMPLES, ids=lambda value: type(value).__name__)
def test_every_field_has_a_description(value):
    hints = get_type_hints(type(value), include_extras=True)
    for name in (field.name for field in fields(value)):
        descriptions = [m.description for m in hints[name].__metadata__ if isinstance(m, FieldInfo)]
        assert len(descriptions) == 1
        assert descriptions[0].endswith(".")
