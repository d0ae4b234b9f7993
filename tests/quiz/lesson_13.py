"""Lesson 13: the answers to its questions, computed."""

import contextlib
import io
import logging
import tempfile
from pathlib import Path

import torch
from torch import nn

# The first export imports a lot: here, so that no question has to wait for it.
torch.export.export(nn.Identity(), (torch.ones(1),))


@contextlib.contextmanager
def quiet():
    """Export logs that a size is fixed, and `load` that it falls back to the whole pickle."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


class Say(nn.Module):
    def forward(self, x):
        print("hello")
        return x * 2


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(4, 4)

    def forward(self, x):
        return self.hidden(x) * 2


def print_in_forward():
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        program = torch.export.export(Say(), (torch.ones(3),)).module()
        program(torch.ones(3))
        program(torch.ones(3))
    count = printed.getvalue().count("hello")
    return {
        "Three times": count == 3,
        "Twice": count == 2,
        "Once": count == 1,
        "Never": count == 0,
    }


@quiet()
def a_size_of_1_in_the_example():
    shapes, example = ({1: torch.export.Dim.AUTO},), torch.zeros(5, 1)
    reached, shape = [], None
    with contextlib.suppress(AssertionError):
        exported = torch.export.export(nn.ReLU(), (example,), dynamic_shapes=shapes)
        program = exported.module()
        reached.append("export")
        shape = tuple(program(torch.zeros(5, 4)).shape)
        reached.append("call")
    return {
        "The export raises an error": reached == [],
        "It prints `torch.Size([5, 4])`": shape == (5, 4),
        "It prints `torch.Size([5, 1])`": shape == (5, 1),
        "The call raises an error": reached == ["export"],
    }


def a_new_value_of_an_attribute():
    program = torch.export.export(nn.LeakyReLU(0.5), (torch.ones(1),)).module()
    line, answer = 2, None
    with contextlib.suppress(Exception):
        program.negative_slope = 3.0
        line = 3
        answer = program(torch.tensor([-2.0])).item()
        line = None
    return {
        "Line 3 prints `-1.0`": answer == -1,
        "Line 3 prints `-6.0`": answer == -6,
        "Line 2 raises an error": line == 2,
        "Line 3 raises an error": line == 3,
    }


def lines_in_the_file():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.pt2"
        torch.export.save(torch.export.export(Net(), (torch.ones(2, 4),)), path)
        content = path.read_bytes()
    layer = b"self.hidden = nn.Linear(4, 4)" in content
    answer = b"return self.hidden(x) * 2" in content
    head = b"class Net(nn.Module):" in content
    return {
        "Only `self.hidden = nn.Linear(4, 4)`": layer and not answer,
        "Only `return self.hidden(x) * 2`": answer and not layer and not head,
        "All lines of the class `Net`": layer and answer and head,
        "None of the lines of `Net`": not (layer or answer or head),
    }


KEYS = [
    print_in_forward,
    a_size_of_1_in_the_example,
    a_new_value_of_an_attribute,
    lines_in_the_file,
]
