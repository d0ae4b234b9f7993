"""Lesson 02: the answers to its questions, computed."""

import tempfile
from pathlib import Path

import torch
import torch._dynamo  # otherwise the first optimizer imports it, and takes seconds
from torch import nn

NET = """class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
        self.drop = nn.Dropout(0.1)
        self.out = nn.Linear(8, 2)
"""


def built_from(source, name):
    names = {"nn": nn}
    exec(source, names)
    return names[name]()


def a_change_that_keeps_the_file_out():
    saved, fails = built_from(NET, "Net").state_dict(), {}
    changes = [
        ("self.drop", "self.dropout"),
        ("nn.ReLU()", "nn.Tanh()"),
        ("Net", "Network"),
        ("self.out", "self.head"),
    ]
    for old, new in changes:
        model = built_from(NET.replace(old, new), "Network" if old == "Net" else "Net")
        try:
            model.load_state_dict(saved)
            raised = False
        except RuntimeError:
            raised = True
        fails[f"`{old}` becomes `{new}`"] = raised
    return fails


def only_the_parameters_are_copied():
    torch.manual_seed(1)
    a = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    b = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    optimizer, x = torch.optim.SGD(a.parameters(), lr=0.1), torch.rand(8, 3) + 2
    for _ in range(3):
        a(x).pow(2).sum().backward()
        optimizer.step()
    with torch.no_grad():
        for new, old in zip(b.parameters(), a.parameters()):
            new.copy_(old)
    in_eval = torch.allclose(a.eval()(x), b.eval()(x))
    in_training = torch.allclose(a.train()(x), b.train()(x))
    return {
        "only in training mode": in_training and not in_eval,
        "only in eval mode": in_eval and not in_training,
        "in both modes": in_eval and in_training,
        "in neither mode": not in_eval and not in_training,
    }


def an_optimizer_with_another_order():
    a, b, x, raised = nn.Linear(2, 2), nn.Linear(2, 2), torch.rand(1, 2), False
    first = torch.optim.Adam([a.weight, b.weight])
    b(a(x)).sum().backward()
    first.step()
    second = torch.optim.Adam([b.weight, a.weight])
    try:
        second.load_state_dict(first.state_dict())
    except (ValueError, RuntimeError):
        raised = True
    memory = second.state[b.weight].get("exp_avg", torch.empty(0))
    return {
        "what `first` knew about `b.weight`": memory.equal(first.state[b.weight]["exp_avg"]),
        "what `first` knew about `a.weight`": memory.equal(first.state[a.weight]["exp_avg"]),
        "nothing, as the last line fails": raised,
        "nothing, until it takes a step": memory.numel() == 0 and not raised,
    }


def two_calls_in_training_mode():
    trained, x = nn.BatchNorm1d(4), torch.rand(8, 4) + 2
    trained(torch.rand(8, 4))
    with tempfile.TemporaryDirectory() as folder:
        torch.save(trained.state_dict(), Path(folder) / "norm.pth")
        norm = nn.BatchNorm1d(4)
        norm.load_state_dict(torch.load(Path(folder) / "norm.pth"))
    with torch.no_grad():
        first, second = norm(x), norm(x)
    agree = torch.equal(first, second)
    stays = torch.equal(norm.running_mean, trained.running_mean)
    return {
        "They differ, and it stays.": not agree and stays,
        "They differ, and it changes.": not agree and not stays,
        "They agree, and it changes.": agree and not stays,
        "They agree, and it stays.": agree and stays,
    }


KEYS = [
    a_change_that_keeps_the_file_out,
    only_the_parameters_are_copied,
    an_optimizer_with_another_order,
    two_calls_in_training_mode,
]
