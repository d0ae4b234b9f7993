"""Lesson 06: the answers to its questions, computed."""

import contextlib
import time
import weakref
from collections import defaultdict

import torch
import worker_data
from torch import nn
from torch.utils.data import DataLoader


class Box:
    def __init__(self, tensor):
        self.tensor = tensor


def kept(step=None, around=contextlib.nullcontext, append=lambda loss: loss, mode=nn.Module.train):
    """Does a list of losses keep the tensors that backward() needs?"""
    model, boxes, losses = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1)), [], []
    mode(model)

    def pack(tensor):
        box = Box(tensor.detach())  # with its graph, it would hold itself
        boxes.append(weakref.ref(box))
        return box

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda box: box.tensor), around():
        for x in torch.rand(3, 5, 2):
            loss = (model(x) - 1).pow(2).mean()
            losses.append(append(loss))
            if step:
                step(loss)
    del loss  # the last one: it is not in the list
    alive = [box() is not None for box in boxes]
    assert len(losses) == 3 and (all(alive) or not any(alive))
    return any(alive)


def a_list_of_losses():
    assert kept()  # without a change
    return {
        "call `net.eval()` before the loop": kept(mode=nn.Module.eval),
        "append `loss.item()` in line 3": kept(append=torch.Tensor.item),
        "run it under `torch.no_grad()`": kept(around=torch.no_grad),
        "add `loss.backward()` as line 4": kept(step=torch.Tensor.backward),
    }


def a_perfect_network_with_a_flat_target():
    answers = torch.tensor([[1.0], [3.0]])
    target = torch.tensor([1.0, 3.0])
    try:
        printed = (answers - target).pow(2).mean().item()
    except RuntimeError:
        printed = "error"
    return {
        "It prints `0.0`": printed == 0.0,
        "It prints `2.0`": printed == 2.0,
        "It prints `4.0`": printed == 4.0,
        "It raises an error": printed == "error",
    }


def a_stream_with_two_workers():
    count = len(list(DataLoader(worker_data.Numbers(), batch_size=4, num_workers=2)))
    return {f"`{number}`": count == number for number in (1, 2, 3, 4)}


def a_dictionary_in_the_workers():
    # A missing number is "read", which gives the time, and stays in the dictionary.
    data = defaultdict(time.perf_counter_ns)
    loader = DataLoader(data, sampler=range(8), batch_size=4, num_workers=2)
    epochs = [torch.cat(list(loader)).tolist() for _ in range(3)]
    reads = {len(set(times)) for times in zip(*epochs)}  # of each number
    return {
        "Once": reads == {1},
        "Twice": reads == {2},
        "3 times": reads == {3},
        "6 times": reads == {6},
    }


KEYS = [
    a_list_of_losses,
    a_perfect_network_with_a_flat_target,
    a_dictionary_in_the_workers,
    a_stream_with_two_workers,
]
