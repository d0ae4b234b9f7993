"""Lesson 17: the answers to its questions, computed."""

import contextlib
import copy
import io
import tempfile
import warnings
from pathlib import Path

import torch
from torch import nn

torch.optim.SGD([torch.zeros(1)])  # the first optimizer imports a lot, for some seconds


def with_adam(groups):
    model = nn.Linear(2, 2)
    parts = [list(model.parameters())] if groups == 1 else [[p] for p in model.parameters()]
    return model, torch.optim.Adam([{"params": part} for part in parts])


def an_undo_with_a_state_dict():
    first, its_optimizer = with_adam(groups=2)
    model, optimizer = with_adam(groups=1)
    fresh, file = copy.deepcopy(model.state_dict()), first.state_dict()
    before = model.state_dict()
    try:
        model.load_state_dict(file)
        optimizer.load_state_dict(its_optimizer.state_dict())
    except ValueError:
        model.load_state_dict(before)
    own = [torch.equal(fresh[key], tensor) for key, tensor in model.state_dict().items()]
    filed = [torch.equal(file[key], tensor) for key, tensor in model.state_dict().items()]
    return {
        "the weights of the file": all(filed),
        "its own, as before the `try`": all(own),
        "some of the file, some its own": any(own) and not all(own),
        "new random ones, like neither": not any(own) and not any(filed),
    }


def step(model, optimizer):
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()


def a_step_after_loading():
    (model, optimizer), (again, other) = with_adam(groups=1), with_adam(groups=1)
    step(again, other)
    file = io.BytesIO()
    torch.save({"model": again.state_dict(), "optimizer": other.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file)
    before = copy.deepcopy(saved)
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    step(model, optimizer)
    weights = not torch.equal(before["model"]["weight"], saved["model"]["weight"])
    old, new = (each["optimizer"]["state"][0]["exp_avg"] for each in (before, saved))
    return {
        'only `saved["model"]`': weights and torch.equal(old, new),
        'only `saved["optimizer"]`': not weights and not torch.equal(old, new),
        "both of them": weights and not torch.equal(old, new),
        "neither of them": not weights and torch.equal(old, new),
    }


def a_rename_without_fsync():
    # A model of a disk: without fsync, the name and each piece of data get there in any order.
    old, new, found = b"old" * 3, b"new" * 3, set()
    for arrived in range(len(new) + 1):
        for renamed in (False, True):
            disk, names = {"inode 1": old, "inode 2": new[:arrived]}, {"run.pth": "inode 1"}
            if renamed:
                names["run.pth"] = "inode 2"
            found.add(disk[names["run.pth"]])
    worst = min(found, key=len)
    mixed = any(b"old" in data and b"new" in data for data in found)
    return {
        "the whole old file": worst == old and not mixed,
        "a mixture of both files": mixed,
        "an empty file": worst == b"" and not mixed,
        "the whole new file": worst == new and not mixed,
    }


def a_flipped_bit():
    weight, got = torch.full((100,), 0.5), None
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        path = Path(folder) / "run.pth"
        torch.save({"weight": weight, "bias": torch.zeros(2)}, path)
        data = bytearray(path.read_bytes())
        data[data.index(weight.numpy().tobytes()) + 202] ^= 1
        path.write_bytes(data)
        with contextlib.suppress(RuntimeError):
            got = torch.load(path)
    wrong = got is not None and "weight" in got and int((got["weight"] != weight).sum()) == 1
    return {
        "It raises an error about the checksum": got is None,
        "It gives a warning, then the weights": wrong and len(warned) > 0,
        "It returns all but the damaged tensor": got is not None and list(got) == ["bias"],
        "It returns the damage without a word": wrong and not warned,
    }


KEYS = [
    an_undo_with_a_state_dict,
    a_step_after_loading,
    a_rename_without_fsync,
    a_flipped_bit,
]
