"""Lesson 11: the answers to its questions, computed."""

import contextlib
import os
import tempfile

import torch
from torch import nn


class Shift(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("by", torch.ones(2), persistent=False)

    def forward(self, x):
        return x + self.by


def a_buffer_without_a_key():
    saved = nn.Sequential(nn.Linear(2, 2), Shift()).state_dict()
    saved = {key: torch.zeros_like(tensor) for key, tensor in saved.items()}
    line, out = 3, None
    with contextlib.suppress(RuntimeError):
        with torch.device("meta"):
            net = nn.Sequential(nn.Linear(2, 2), Shift())
        net.load_state_dict(saved, assign=True)
        line = 4
        out = net(torch.ones(1, 2)).tolist()
        line = None
    return {
        "Line 3 raises an error": line == 3,
        "Line 4 raises an error": line == 4,
        "It prints two ones": out == [[1.0, 1.0]],
        "It prints two zeros": out == [[0.0, 0.0]],
    }


def an_optimizer_from_before_the_load():
    layer = nn.Embedding(1, 1)
    nn.init.constant_(layer.weight, 8.0)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.5)
    layer.load_state_dict({"weight": torch.full((1, 1), 2.0)}, assign=True)
    layer(torch.tensor([0])).sum().backward()
    optimizer.step()
    assert layer.weight.grad.item() == 1
    printed = f"{layer.weight.item():.1f}"
    return {f"`{number}`": printed == number for number in ("8.0", "7.5", "2.0", "1.5")}


def tied_layers_after_a_load():
    net = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    net[1].weight = net[0].weight
    nn.init.constant_(net[0].weight, 3.0)
    with tempfile.TemporaryDirectory() as folder:
        torch.save(net.state_dict(), f"{folder}/net.pth")
        net.load_state_dict(torch.load(f"{folder}/net.pth"), assign=True)
    optimizer = torch.optim.Adagrad(net.parameters(), lr=0.25)
    net(torch.ones(1, 1)).sum().backward()
    optimizer.step()
    weights = [round(layer.weight.item(), 3) for layer in net]
    return {
        "2.5 in both layers": weights == [2.5, 2.5],
        "2.75 in both layers": weights == [2.75, 2.75],
        "3.0 in both layers": weights == [3.0, 3.0],
        "2.75 in one, 3.0 in the other": weights in ([2.75, 3.0], [3.0, 2.75]),
    }


def two_mapped_files():
    with tempfile.TemporaryDirectory() as folder:
        for name in ("a", "b"):
            torch.save(torch.ones(1000), f"{folder}/{name}.pth")
        a = torch.load(f"{folder}/a.pth", mmap=True)
        b = torch.load(f"{folder}/b.pth", mmap=True)
        torch.save(torch.zeros(1000), f"{folder}/a.pth")
        torch.save(torch.zeros(1000), f"{folder}/new.pth")
        os.replace(f"{folder}/new.pth", f"{folder}/b.pth")
        printed = f"{a[0].item()} {b[0].item()}"
    pairs = ("1.0 1.0", "1.0 0.0", "0.0 0.0", "0.0 1.0")
    return {f"`{pair}`": printed == pair for pair in pairs}


KEYS = [
    a_buffer_without_a_key,
    an_optimizer_from_before_the_load,
    tied_layers_after_a_load,
    two_mapped_files,
]
