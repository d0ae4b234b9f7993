"""Lesson 03: the answers to its questions, computed."""

import copy
import tempfile
from pathlib import Path

import torch
import torch._dynamo  # an optimizer imports it at its first use, which takes two seconds
from torch import nn


def raised_by(call):
    try:
        call()
    except RuntimeError:
        return True
    return False


def same(a, b):
    return a.shape == b.shape and torch.equal(a, b)


def a_first_layer_that_does_not_fit():
    model = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 2))
    other = nn.Sequential(nn.Linear(5, 6), nn.Linear(6, 2)).state_dict()
    before = copy.deepcopy(model.state_dict())
    assert raised_by(lambda: model.load_state_dict(other))
    changed = sum(not same(tensor, before[key]) for key, tensor in model.state_dict().items())
    return {
        "none": changed == 0,
        "one": changed == 1,
        "two": changed == 2,
        "three": changed == 3,
    }


def a_compiled_model_without_strict():
    layers = [[nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 2)] for _ in range(2)]
    trained, model = nn.Sequential(*layers[0]), nn.Sequential(*layers[1])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pth"
        torch.save(torch.compile(trained).state_dict(), path)
        saved = torch.load(path)
    error = raised_by(lambda: model.load_state_dict(saved, strict=False))
    theirs = trained.state_dict()
    loaded = sum(same(tensor, theirs[key]) for key, tensor in model.state_dict().items())
    return {
        "It loads no tensor and raises an error.": loaded == 0 and error,
        "It loads no tensor and raises nothing.": loaded == 0 and not error,
        "It loads all six and raises an error.": loaded == 6 and error,
        "It loads all six and raises nothing.": loaded == 6 and not error,
    }


def another_head_without_strict():
    old = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 10))
    new = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 3))
    keys, missing, unexpected, failed = {"1.weight", "1.bias"}, set(), set(), False
    try:
        report = new.load_state_dict(old.state_dict(), strict=False)
        missing, unexpected = set(report.missing_keys), set(report.unexpected_keys)
    except RuntimeError:
        failed = True
    return {
        "in neither: line 3 fails": failed and not missing and not unexpected,
        "in `missing_keys` only": keys <= missing and not keys & unexpected,
        "in `unexpected_keys` only": keys <= unexpected and not keys & missing,
        "in both of these lists": keys <= missing and keys <= unexpected,
    }


def whole_numbers_into_a_float_layer():
    trained = torch.tensor([[2.2, -0.4]])
    saved = {"weight": trained.to(torch.int32)}
    model = nn.Linear(2, 1, bias=False)
    before = model.weight.detach().clone()
    error = raised_by(lambda: model.load_state_dict(saved))
    weight = model.weight.detach()
    whole = weight.tolist() == [[2, 0]]
    return {
        "its start values, after an error": error and same(weight, before),
        "2 and 0, of the type `torch.int32`": whole and weight.dtype == torch.int32,
        "2 and 0, of the type `torch.float32`": whole and weight.dtype == torch.float32,
        "2.2 and -0.4, as in `trained`": torch.allclose(weight, trained),
    }


KEYS = [
    a_first_layer_that_does_not_fit,
    a_compiled_model_without_strict,
    another_head_without_strict,
    whole_numbers_into_a_float_layer,
]
