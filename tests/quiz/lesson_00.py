"""Lesson 00: the answers to its questions, computed."""

import importlib
import pickle
import sys
import tempfile
import warnings
from pathlib import Path
from unittest import mock

import safetensors.torch
import torch
import torch.export._trace  # otherwise the first export imports it, and takes a second
from torch import nn


def a_layer_of_this_shape():
    weight = torch.zeros(5, 20)

    def fits(takes, gives):
        try:
            return nn.functional.linear(torch.zeros(takes), weight).shape == (gives,)
        except RuntimeError:
            return False

    return {
        "It takes 5 and gives 20.": fits(5, 20),
        "It takes 20 and gives 5.": fits(20, 5),
        "It takes 20 and gives 20.": fits(20, 20),
        "It takes 5 and gives 5.": fits(5, 5),
    }


def a_checkpoint_with_the_model_itself():
    model, saved, raised = nn.Linear(3, 2), {}, False
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.pth"
        torch.save({"model": model, "epoch": 2}, path)
        try:
            saved = torch.load(path)
        except pickle.UnpicklingError:
            raised = True
    epoch, value = saved.get("epoch") == 2, saved.get("model")
    return {
        "It raises an error and loads nothing.": raised and not saved,
        "It loads the model and the epoch.": epoch and isinstance(value, nn.Linear),
        "It loads a state_dict and the epoch.": epoch and isinstance(value, dict),
        "It loads the epoch and skips the model.": epoch and value is None,
    }


def save_in_four_ways(model, x, path):
    torch.save(model, path / "whole.pt")
    torch.save({"state_dict": model.state_dict(), "epoch": 2}, path / "checkpoint.pth")
    safetensors.torch.save_file(model.state_dict(), path / "model.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(model, (x,)), path / "program.pt2")


def predicts(load, path, x, expected):
    """Does what this function loads predict, without the class?"""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.allclose(load(path)(x), expected)
    except (ModuleNotFoundError, TypeError):  # no class, or a dictionary that cannot be called
        return False


def a_program_without_the_class():
    source, x = "from torch import nn\nclass Net(nn.Linear):\n    pass\n", torch.ones(2, 3)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "quiz_net.py").write_text(source)
        with mock.patch.object(sys, "path", [folder, *sys.path]):
            importlib.invalidate_caches()
            model = importlib.import_module("quiz_net").Net(3, 2)
        expected = model(x)
        save_in_four_ways(model, x, path)
        del sys.modules["quiz_net"]  # and its folder is no longer in sys.path
        return {text: predicts(load, path, x, expected) for text, load in LOADERS.items()}


LOADERS = {
    "a whole model, from `torch.save`": lambda path: torch.load(
        path / "whole.pt", weights_only=False
    ),
    "a checkpoint, from `torch.save`": lambda path: torch.load(path / "checkpoint.pth"),
    "a safetensors file, from `save_file`": lambda path: safetensors.torch.load_file(
        path / "model.safetensors"
    ),
    "a program, from `torch.export`": lambda path: torch.export.load(path / "program.pt2").module(),
}


def a_checkpoint_given_whole():
    model, new, returned, raised = nn.Linear(3, 2), nn.Linear(3, 2), None, False
    before = new.weight.clone()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pth"
        torch.save({"state_dict": model.state_dict(), "epoch": 2}, path)
        try:
            returned = new.load_state_dict(torch.load(path))
        except RuntimeError:
            raised = True
    filled, attached = torch.equal(new.weight, model.weight), hasattr(new, "epoch")
    return {
        "It fills `new` and skips the epoch.": filled and returned != 2 and not attached,
        "It fills `new` and returns the epoch.": filled and returned == 2,
        "It raises an error and fills nothing.": raised and torch.equal(new.weight, before),
        "It fills `new` and sets `new.epoch`.": filled and attached,
    }


KEYS = [
    a_layer_of_this_shape,
    a_checkpoint_with_the_model_itself,
    a_program_without_the_class,
    a_checkpoint_given_whole,
]
