"""What the fault matrix shares: its size, the functions under test, and the notes for its table.

A test takes a sample of each fault. With TORTURE=full, as in `make torture`, it takes all of them.
"""

import os
import random
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from checkpoint_tools import make_model

import checkpoints
import fc_model
from checkpoints import CheckpointError

sys.path.append(str(Path(checkpoints.__file__).parent / "benchmarks"))
import faults

FULL = os.environ.get("TORTURE") == "full"


def parts(count):
    """Cut the full run in parts, so that two processes share them. A sample is one part."""
    count = count if FULL else 1
    slices = [slice(i, None, count) for i in range(count)]
    return pytest.mark.parametrize("part", slices, ids=range(1, count + 1))


def sample(cases, size):
    """All cases, or some of them, always the same."""
    cases = list(cases)
    return cases if FULL or len(cases) <= size else random.Random(2019).sample(cases, size)


def note(record_property, fault, outcomes):
    """Note what became of a fault, for the table of `make torture`."""
    record_property("fault", [fault, dict(outcomes)])


def compare(record_property, fault, outcomes):
    """Note the same of other functions than ours, for the second table."""
    record_property("comparison", [fault, dict(outcomes)])


# ---------------------------------------------------------------- the functions under test


def network_of(model):
    """The network with the weights of the model in the harness, which has one part more."""
    linear = [layer for layer in model if isinstance(layer, torch.nn.Linear)]
    network = make_model(*[layer.in_features for layer in linear], linear[-1].out_features)
    for ours, layer in zip([*network.hidden_layers, network.output], linear):
        ours.load_state_dict(layer.state_dict())
    return network


def beside_the_network(state):
    """The rest of a run: its model is the network, and batch norm, which no network has."""
    rest = {name: value for name, value in state.items() if name != "model"}
    return rest | {"norm": state["model"][1]}


def save_network(state, path):
    fc_model.save_checkpoint(network_of(state["model"]), path, **beside_the_network(state))


def load_network(path):
    return fc_model.load_checkpoint(path), checkpoints.load(path)


def restore_network(saved, state):
    """Restore the rest of the run, and last the weights from the network itself."""
    network, rest = saved
    rest = checkpoints.restore(rest, beside_the_network(state) | {"state_dict": network})
    linear = [layer for layer in state["model"] if isinstance(layer, torch.nn.Linear)]
    for ours, layer in zip([*network.hidden_layers, network.output], linear):
        layer.load_state_dict(ours.state_dict())
    sizes = ("input_size", "output_size", "hidden_layers", "drop_p")
    return {name: value for name, value in rest.items() if name not in sizes}


def save_in_background(state, path):
    checkpoints.save(state, path, background=True).result()


def save_in_place(state, path):
    """What a tutorial does."""
    torch.save({name: faults.content(value) for name, value in state.items()}, path)


OURS = faults.Functions(
    "checkpoints", checkpoints.save, checkpoints.load, checkpoints.restore, CheckpointError
)
NETWORK = faults.Functions("fc_model", save_network, load_network, restore_network, CheckpointError)
BACKGROUND = replace(OURS, name="checkpoints, background=True", save=save_in_background)
MAPPED = replace(
    OURS, name="checkpoints, mmap=True", load=lambda path: checkpoints.load(path, mmap=True)
)
PLAIN = faults.Functions("plain torch", save_in_place, torch.load, checkpoints.restore)
