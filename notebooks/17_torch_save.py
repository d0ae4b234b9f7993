"""A run in one file, with PyTorch's own functions and nothing else."""

import torch


def save(state, path):
    contents = {}
    for name, value in state.items():
        contents[name] = value.state_dict() if hasattr(value, "state_dict") else value
    torch.save(contents, path)


def load(path):
    return torch.load(path)


def resume(saved, state):
    rest = dict(saved)
    for name, value in state.items():
        if hasattr(value, "load_state_dict"):
            value.load_state_dict(rest.pop(name))
    return rest
