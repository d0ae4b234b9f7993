"""Lesson 16: the answers to its questions, computed."""

import copy
import pickle
import tempfile
from pathlib import Path

import torch
from torch import nn

torch.optim.SGD([torch.zeros(1)])  # the first optimizer imports a lot, for some seconds


def build(order):
    model = nn.Sequential(nn.Linear(4, 16), nn.Linear(16, 2))
    parameters = [parameter for i in order for parameter in model[i].parameters()]
    return model, torch.optim.SGD(parameters, lr=0.1, momentum=0.9)


def parameters_in_a_different_order():
    first, its_optimizer = build(order=(0, 1))
    first(torch.ones(1, 4)).sum().backward()
    its_optimizer.step()
    saved = copy.deepcopy([first.state_dict(), its_optimizer.state_dict()])
    model, optimizer = build(order=(1, 0))
    steps = {
        "`model.load_state_dict(saved[0])`": lambda: model.load_state_dict(saved[0]),
        "`optimizer.load_state_dict(saved[1])`": lambda: optimizer.load_state_dict(saved[1]),
        "`model(samples).sum().backward()`": lambda: model(torch.ones(1, 4)).sum().backward(),
        "`optimizer.step()`": lambda: optimizer.step(),
    }
    raised = None
    for line, run in steps.items():
        try:
            run()
        except (RuntimeError, ValueError):
            raised = raised or line
    return {line: line == raised for line in steps}


def whole_numbers_are_loaded():
    model, got = nn.Linear(2, 1, bias=False), None
    weight = torch.tensor([[0.3, -1.2]])
    try:
        model.load_state_dict({"weight": weight.to(torch.int8)})
        got = f"{model.weight.dtype} {[[round(n, 1) for n in model.weight[0].tolist()]]}"
    except RuntimeError:
        pass
    return {
        "`torch.int8 [[0, -1]]`": got == "torch.int8 [[0, -1]]",
        "`torch.float32 [[0.0, -1.0]]`": got == "torch.float32 [[0.0, -1.0]]",
        "`torch.float32 [[0.3, -1.2]]`": got == "torch.float32 [[0.3, -1.2]]",
        "no line: an error is raised": got is None,
    }


def a_new_layer_after_the_optimizer():
    model = nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 2))
    optimizer = torch.optim.Adam(model.parameters())
    model[1] = nn.Linear(4, 3)
    model(torch.ones(1, 2)).sum().backward()
    before = [layer.weight.clone() for layer in model]
    optimizer.step()
    changed = [not torch.equal(w, layer.weight) for w, layer in zip(before, model)]
    return {
        "those of `model[0]` only": changed == [True, False],
        "those of `model[1]` only": changed == [False, True],
        "those of both layers": changed == [True, True],
        "those of neither layer": changed == [False, False],
    }


def the_advice_of_a_message():
    message, got = "", None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pth"
        path.write_text("<!DOCTYPE html><html><title>Sign in</title></html>")
        try:
            torch.load(path)
        except pickle.UnpicklingError as error:
            message = str(error)
        try:
            got = torch.load(path, weights_only=False)
        except pickle.UnpicklingError as error:
            got = error
    assert "will likely succeed" in message and "Unsupported operand 60" in message
    return {
        "It returns the weights": isinstance(got, dict),
        "It returns an empty dictionary": got == {},
        "It raises an error, too": isinstance(got, Exception),
        "It returns a text, no weights": isinstance(got, str),
    }


KEYS = [
    the_advice_of_a_message,
    parameters_in_a_different_order,
    whole_numbers_are_loaded,
    a_new_layer_after_the_optimizer,
]
