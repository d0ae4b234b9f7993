"""Lesson 12: the answers to its questions, computed."""

import tempfile
from pathlib import Path

import torch
import torch._dynamo  # here, so that no question has to wait for it
from torch import nn


def size_of(state):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.pth"
        torch.save(state, path)
        return path.stat().st_size


def halve_tied_layers():
    net = nn.Sequential(*[nn.Linear(500, 500, bias=False) for _ in range(3)])
    net[1].weight = net[2].weight = net[0].weight
    full = net.state_dict()
    small = {key: tensor.half() for key, tensor in full.items()}
    ratio = round(size_of(small) / size_of(full), 1)
    return {
        "Half as large": ratio == 0.5,
        "Three times as large": ratio == 3,
        "Equally large": ratio == 1,
        "1.5 times as large": ratio == 1.5,
    }


def halve_the_averages_of_adam():
    weight, steps = nn.Parameter(torch.tensor([0.5])), []
    adam = torch.optim.Adam([weight], lr=0.001)
    for count in range(1001):
        if count == 1000:
            average = adam.state[weight]["exp_avg_sq"]
            adam.state[weight]["exp_avg_sq"] = average.half().float()
        before = weight.item()
        weight.grad = torch.tensor([0.0001])
        adam.step()
        steps.append(abs(weight.item() - before))
    ratio = steps[-1] / steps[-2]
    return {
        "About equally large": 0.9 < ratio < 1.1,
        "More than ten times smaller": 0 < ratio < 0.1,
        "More than ten times larger": ratio > 10,
        "Exactly zero": ratio == 0,
    }


def add_small_steps_in_bfloat16():
    total = torch.tensor(256.0, dtype=torch.bfloat16)
    for _ in range(100):
        total = total + 0.5
    return {
        "`256.0`": total.item() == 256,
        "`306.0`": total.item() == 306,
        "`356.0`": total.item() == 356,
        "`inf`": total.item() == float("inf"),
    }


def round_tiny_and_ordinary_weights():
    torch.manual_seed(1)
    weights = torch.rand(1000) - 0.5
    weights[:500] = 1e-9
    x = torch.rand(100, 1000)
    half = (x @ weights.half().float() - x @ weights).abs().max()
    brain = (x @ weights.bfloat16().float() - x @ weights).abs().max()
    return {
        "`bfloat16`": bool(brain < half),
        "`float16`": bool(half < brain),
        "Both change them equally": bool(half == brain),
        "Both turn them into `inf`": bool(half.isinf() and brain.isinf()),
    }


KEYS = [
    round_tiny_and_ordinary_weights,
    add_small_steps_in_bfloat16,
    halve_the_averages_of_adam,
    halve_tied_layers,
]
