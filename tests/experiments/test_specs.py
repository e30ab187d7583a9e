"""Specs: models and data named as text, and the registry of their forms."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from secateurs.errors import DataError, ModelError, UsageError
from secateurs.experiments.specs import (
    DATA_SPECS,
    MODEL_SPECS,
    build_model,
    data_spec,
    is_random,
    load_function,
    model_spec,
    read_data,
    read_dataset,
)

MODEL = """
from dataclasses import dataclass
from torch import nn
from sizes import WIDTH

@dataclass
class Options:
    width: int = WIDTH

def net():
    from layers import Layer
    return nn.Sequential(nn.Linear(2, Options().width), Layer(Options().width))
"""
LAYERS = """
from torch import nn

class Layer(nn.Linear):
    def __init__(self, width):
        super().__init__(width, width)
"""


@pytest.fixture
def registry(monkeypatch):
    """Removes the specs that a test registers."""
    for specs in (DATA_SPECS, MODEL_SPECS):
        for prefix in ("ones", "line"):
            monkeypatch.setitem(specs, prefix, None)
            del specs[prefix]


@pytest.fixture
def folders(tmp_path):
    """Two folders with files of the same names: models of width 3 and 5."""
    for name, width in (("a", 3), ("b", 5)):
        (tmp_path / name).mkdir()
        for file, text in (("model.py", MODEL), ("layers.py", LAYERS), ("sizes.py", f"WIDTH = {width}")):
            (tmp_path / name / file).write_text(text)
    return tmp_path


def test_a_function_registers_data_of_another_form(registry):
    @data_spec("ones", "ones:N")
    def ones(argument, options):
        """N pairs of ones."""
        return TensorDataset(torch.ones(int(argument), 2))

    assert [x.tolist() for (x,) in read_data("ones:3", batch_size=2)] == [[[1, 1], [1, 1]], [[1, 1]]]
    assert len(read_dataset("ones:3")) == 3
    assert not is_random("ones:3")
    assert (DATA_SPECS["ones"].form, DATA_SPECS["ones"].summary) == ("ones:N", "N pairs of ones.")


def test_registered_data_can_be_generated(registry):
    @data_spec("ones", "ones:N", generated=True)
    def ones(argument, options):
        """N inputs of ones."""
        return [torch.ones(int(argument), *options.shape)]

    assert is_random("ones:3")
    assert [x.shape for x in read_data("ones:3", (4, 2))] == [(3, 4, 2)]
    with pytest.raises(DataError, match="generated batch by batch"):
        read_dataset("ones:3")


def test_a_function_registers_models_of_another_form(registry, tmp_path):
    @model_spec("line", "line:IN,OUT")
    def line(argument, options):
        """A linear layer."""
        return nn.Linear(*map(int, argument.split(",")))

    model = build_model("line:3,2")
    assert (model.in_features, model.training) == (3, False)
    with pytest.raises(ModelError, match="line:IN,OUT"):
        build_model("circle:1")


def test_an_existing_prefix_and_a_reader_without_a_docstring_are_refused():
    with pytest.raises(UsageError, match="npz:PATH"):
        data_spec("npz", "npz:URL")(DATA_SPECS["folder"].read)
    with pytest.raises(UsageError, match="docstring"):
        model_spec("line", "line:IN")(lambda argument, options: nn.Linear(1, 1))


def test_every_spec_has_a_form_and_a_summary():
    assert {"digits", "hf", "py"} == set(MODEL_SPECS)
    assert {"digits", "folder", "jsonl", "npz", "random", "text", "tsv"} == set(DATA_SPECS)
    for specs in (MODEL_SPECS, DATA_SPECS):
        for prefix, spec in specs.items():
            assert spec.form.startswith(prefix)
            assert spec.summary.endswith(".")


@pytest.mark.parametrize("spec", ["", "nothing", "nothing:1", "digits:train"])
def test_data_of_an_unknown_form_is_refused_by_name(spec):
    with pytest.raises(DataError, match=f"^data {spec!r} has none|does not exist"):
        read_data(spec)


@pytest.mark.parametrize("spec", ["", "nothing", "nothing:1", "digits:test"])
def test_a_model_of_an_unknown_form_is_refused_by_name(spec):
    with pytest.raises(ModelError, match=f"^model {spec!r} has none|does not exist"):
        build_model(spec)


def test_weights_are_loaded_into_the_model(tmp_path):
    import safetensors.torch

    trained = nn.Linear(2, 1)
    (tmp_path / "model.py").write_text("from torch import nn\ndef net():\n    return nn.Linear(2, 1)\n")
    safetensors.torch.save_model(trained, str(tmp_path / "weights.safetensors"))
    loaded = build_model(f"py:{tmp_path / 'model.py'}:net", str(tmp_path / "weights.safetensors"))
    assert torch.equal(loaded.weight, trained.weight)
    np.savez(tmp_path / "other.npz", x=np.zeros(1))
    with pytest.raises(ModelError, match="do not fit"):
        build_model(f"py:{tmp_path / 'model.py'}:net", str(tmp_path / "other.npz"))


def test_python_files_of_one_name_do_not_collide(folders):
    small, large = (load_function(f"py:{folders / name / 'model.py'}:net") for name in "ab")
    assert [small()[1].in_features, large()[1].in_features, small()[1].in_features] == [3, 5, 3]
    assert type(small()[1]) is type(small()[1]) is not type(large()[1])


def test_loading_a_file_adds_one_module_per_file_and_no_path(folders):
    path, modules = list(sys.path), set(sys.modules)
    for name in "ab":
        load_function(f"py:{folders / name / 'model.py'}:net")()
    assert sys.path == path
    new = set(sys.modules) - modules
    assert {name.rpartition("_")[0] for name in new} == {"model"}
    assert len(new) == 2


def test_a_file_that_fails_does_not_change_path_or_modules(tmp_path):
    path, modules = list(sys.path), set(sys.modules)
    (tmp_path / "sizes.py").write_text("")
    (tmp_path / "model.py").write_text("import sizes\nraise SystemExit(3)")
    with pytest.raises(ModelError, match=r"model\.py cannot be run: SystemExit: 3"):
        load_function(f"py:{tmp_path / 'model.py'}:net")
    assert (sys.path, set(sys.modules)) == (path, modules)


def test_objects_of_a_loaded_file_can_be_pickled(folders):
    options = load_function(f"py:{folders / 'b' / 'model.py'}:Options")()
    again = pickle.loads(pickle.dumps(options))
    assert again == options
    assert again.width == 5


@pytest.mark.slow
def test_the_digits_spec_does_not_import_scikit_learn():
    code = "import sys; from secateurs.experiments.specs import DATA_SPECS; assert 'digits' in DATA_SPECS"
    code += "; assert 'sklearn' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
