"""diff shows where a state_dict differs from a model's: keys, shapes, dtypes, and a part on top."""

import copy
from collections import OrderedDict

import pytest
import torch
from checkpoint_tools import make_model, same
from torch import nn
from torchvision.models import resnet18

from checkpoints import diff


def test_no_difference_is_false_and_says_so(model):
    found = diff(model, make_model(6, 5, 4, 3, seed=1).state_dict())
    assert not found and repr(found) == str(found) == "no difference"
    assert (found.missing, found.unexpected, found.shapes, found.dtypes, found.part) == (
        [],
        [],
        {},
        {},
        "",
    )


def test_missing_unexpected_shapes_and_dtypes_are_told_apart(model):
    before = copy.deepcopy(model.state_dict())
    state_dict = OrderedDict(model.state_dict())
    state_dict["more.bias"] = state_dict.pop("output.bias")
    state_dict["output.weight"] = torch.zeros(3, 9)
    state_dict["hidden_layers.0.bias"] = torch.zeros(5, dtype=torch.float64)
    state_dict["hidden_layers.1.bias"] = [0.0] * 4
    found = diff(model, state_dict)
    assert found and (found.missing, found.unexpected) == (["output.bias"], ["more.bias"])
    assert found.shapes == {"output.weight": ((3, 4), (3, 9))}
    assert found.dtypes == {
        "hidden_layers.0.bias": (torch.float32, torch.float64),
        "hidden_layers.1.bias": (torch.Tensor, list),
    }
    assert found.part == "" and same(dict(model.state_dict()), dict(before))
    assert repr(found).splitlines() == [
        "key                   model                   state_dict",
        "output.bias           yes                     -",
        "more.bias             -                       yes",
        "output.weight         (3, 4)                  (3, 9)",
        "hidden_layers.0.bias  torch.float32           torch.float64",
        "hidden_layers.1.bias  <class 'torch.Tensor'>  <class 'list'>",
    ]


def test_a_dtype_and_a_shape_of_one_key_are_both_named(model):
    found = diff(model, model.state_dict() | {"output.bias": torch.zeros(9, dtype=torch.float16)})
    assert list(found.shapes) == list(found.dtypes) == ["output.bias"]
    assert found.missing == found.unexpected == []


@pytest.mark.parametrize("part", ["missing", "unexpected", "shapes", "dtypes"])
def test_each_kind_of_difference_makes_it_true(part, model):
    state_dict = dict(model.state_dict())
    if part == "missing":
        del state_dict["output.bias"]
    else:
        values = {
            "shapes": torch.zeros(9),
            "dtypes": torch.zeros(3).double(),
            "unexpected": torch.zeros(1),
        }
        state_dict["more" if part == "unexpected" else "output.bias"] = values[part]
    found = diff(model, state_dict)
    kinds = ("missing", "unexpected", "shapes", "dtypes")
    assert bool(found) is True and [name for name in kinds if getattr(found, name)] == [part]


@pytest.mark.parametrize(
    "part", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."]
)
def test_a_part_at_the_front_is_found_on_either_side(part, model):
    prefixed = {part + key: tensor for key, tensor in model.state_dict().items()}
    wrapper = model
    for name in reversed(part.removesuffix(".").split(".")):
        wrapper = nn.ModuleDict({name: wrapper})
    for found in (diff(model, prefixed), diff(wrapper, model.state_dict())):
        assert found.part == part and len(found.missing) == len(found.unexpected) == 6
        assert repr(found).endswith(f"\nlikely on one side only: {part}")
    assert not diff(wrapper, prefixed)


def encoder_and_decoder(*compiled):
    torch.manual_seed(0)
    parts = {
        name: nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)) for name in ("encoder", "decoder")
    }
    return nn.ModuleDict(parts | {name: torch.compile(parts[name]) for name in compiled})


@pytest.mark.parametrize("compiled", [["encoder"], ["decoder"], ["encoder", "decoder"]])
def test_a_part_in_the_middle_is_found_on_either_side(compiled):
    plain, other = encoder_and_decoder(), encoder_and_decoder(*compiled)
    assert "encoder._orig_mod.0.weight" in other.state_dict() or compiled == ["decoder"]
    for model, state_dict in ((plain, other.state_dict()), (other, plain.state_dict())):
        found = diff(model, state_dict)
        assert found.part == "_orig_mod." and len(found.missing) == 4 * len(compiled)
        taken_out = {key.replace(found.part, ""): value for key, value in state_dict.items()}
        if model is plain:
            assert not diff(model, taken_out)


def test_a_part_of_two_words_in_the_middle_is_found():
    plain = encoder_and_decoder()
    state_dict = {
        key.replace("coder.", "coder.module._orig_mod."): v for key, v in plain.state_dict().items()
    }
    assert diff(plain, state_dict).part == "module._orig_mod."


def test_where_most_keys_fit_otherwise_there_is_no_part(model):
    state_dict = dict(model.state_dict())
    state_dict["ema.output.bias"] = state_dict.pop("output.bias")
    del state_dict["output.weight"], state_dict["hidden_layers.0.weight"]
    found = diff(model, state_dict)
    assert found.part == "" and "likely" not in repr(found)
    assert diff(model, {}).part == ""
    assert diff(model, {"other.key": torch.ones(1), "key": torch.ones(1)}).part == ""


def test_keys_that_are_no_names_are_unexpected(model):
    found = diff(model, {**model.state_dict(), 0: torch.zeros(1)})
    assert found.unexpected == [0] and "\n0 " in repr(found)
    found = diff(model, dict(enumerate(model.state_dict().values())))
    assert len(found.missing) == len(found.unexpected) == 6


def test_values_that_are_no_tensors_are_told_by_their_type():
    class Counted(nn.Module):
        def get_extra_state(self):
            return {"calls": 3}

        def set_extra_state(self, state):
            pass

    model = Counted()
    assert not diff(model, model.state_dict())
    assert diff(model, {"_extra_state": torch.zeros(1)}).dtypes == {
        "_extra_state": (dict, torch.Tensor)
    }


def test_any_module_can_be_compared():
    model = resnet18(weights=None, num_classes=10)
    assert not diff(model, model.state_dict())
    with torch.device("meta"):
        other = resnet18(weights=None)
    found = diff(model, other.state_dict())
    assert found.shapes == {"fc.weight": ((10, 512), (1000, 512)), "fc.bias": ((10,), (1000,))}
    assert found.missing == found.unexpected == [] and found.dtypes == {}
    found = diff(model, nn.ModuleDict({"module": model}).state_dict())
    assert found.part == "module." and len(found.missing) == 122
