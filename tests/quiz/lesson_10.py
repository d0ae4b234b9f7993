"""Lesson 10: the answers to its questions, computed."""

import contextlib
import json
import tempfile
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn


def flip_a_bit(path, numbers):
    content = bytearray(path.read_bytes())
    content[content.index(numbers) + 3] ^= 1 << 6
    path.write_bytes(content)


def one_bit_of_one_weight():
    state_dict = {"weight": torch.tensor([0.1, 0.2, 0.3])}
    numbers = state_dict["weight"].numpy().tobytes()
    raises = []
    with tempfile.TemporaryDirectory() as folder:
        pth, tensors = Path(folder, "a.pth"), Path(folder, "a.safetensors")
        torch.save(state_dict, pth)
        save_file(state_dict, tensors)
        for load, path in ((torch.load, pth), (load_file, tensors)):
            flip_a_bit(path, numbers)
            try:
                load(path)
            except (RuntimeError, SafetensorError):
                raises.append(load)
    return {
        "Only `torch.load` raises one": raises == [torch.load],
        "Only `load_file` raises one": raises == [load_file],
        "Both of them raise one": raises == [torch.load, load_file],
        "Neither of them raises one": raises == [],
    }


def where_the_numbers_begin():
    tensors = {"a.bias": torch.zeros(16), "b.weight": torch.ones(5)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.safetensors")
        save_file(tensors, path, metadata={"format": "pt"})
        content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    offsets = json.loads(content[8 : 8 + length])["b.weight"]["data_offsets"]
    begin = content.index(tensors["b.weight"].numpy().tobytes())
    assert length == 160 and offsets == [64, 84]  # what the question says
    return {f"At byte {byte}": begin == byte for byte in (64, 224, 232, 252)}


def a_number_in_the_metadata():
    line, kind = 1, None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.safetensors")
        with contextlib.suppress(TypeError, KeyError):
            save_file({"w": torch.ones(2)}, path, metadata={"epoch": 3})
            line = 3
            with safe_open(path, "pt") as file:
                kind = type(file.metadata()["epoch"])
            line = None
    return {
        "Line 1 raises an error": line == 1,
        "Line 3 raises an error": line == 3,
        "It prints `<class 'int'>`": kind is int,
        "It prints `<class 'str'>`": kind is str,
    }


def one_weight_with_two_keys():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    error, keys, numbers = "", [], 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "net.safetensors")
        try:
            save_file(net.state_dict(), path)
        except RuntimeError as raised:
            error = str(raised)
        with contextlib.suppress(FileNotFoundError):
            keys = [key for key in load_file(path) if "weight" in key]
            numbers = path.read_bytes().count(net[0].weight.detach().numpy().tobytes())
    return {
        "It writes the weight twice, under both keys": len(keys) == 2 and numbers == 2,
        "It raises an error because of this weight": "1.weight" in error,
        "It writes the weight once, under one key": len(keys) == 1 and numbers == 1,
        "It writes the weight once, under both keys": len(keys) == 2 and numbers == 1,
    }


KEYS = [
    one_bit_of_one_weight,
    where_the_numbers_begin,
    a_number_in_the_metadata,
    one_weight_with_two_keys,
]
