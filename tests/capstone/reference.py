"""The capstone, solved: checkpoints of a training run, in three functions."""

import copy
import os
import random
import zipfile
from collections import Counter, OrderedDict

import numpy as np
import torch

CLASSES, RANDOM = "_classes", "_random"  # two keys beside the names in state
PLAIN = {type(None), bool, int, float, str, bytes, torch.Tensor}


class CheckpointError(RuntimeError):
    pass


def save(state, path):
    """Write a state to one file: {name: piece or plain value}."""
    contents = contents_of(state)
    temporary = f"{path}.tmp"
    try:
        with open(temporary, "wb") as file:
            torch.save(contents, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.remove(temporary)
        raise


def load(path):
    """Return what is in a file, checked. Nothing in the file is run."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged:
            raise ValueError(f"{damaged} fails its checksum")
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"{path} is damaged, or no checkpoint: {error}") from error


def resume(saved, state):
    """Put every piece back to where it was saved, or none; return the plain values of saved."""
    pieces = pieces_of(state)
    in_file, here = saved.get(CLASSES, {}), classes_of(pieces)
    for name in in_file | here:
        if in_file.get(name) != here.get(name):
            raise CheckpointError(f"{name}: {in_file.get(name)} in the file, {here.get(name)} here")
    before = copy.deepcopy({name: state_of(piece) for name, piece in pieces.items()})
    try:
        for name in pieces:
            put(pieces[name], saved[name])
    except BaseException as error:
        for each in pieces:
            put(pieces[each], before[each])
        if not isinstance(error, Exception):  # Ctrl-C, for example
            raise
        raise CheckpointError(f"{name} does not fit: {error}") from error
    return {name: value for name, value in saved.items() if name not in (*pieces, CLASSES)}


def pieces_of(state):
    pieces = {}
    for name, value in state.items():
        if hasattr(value, "load_state_dict") or isinstance(value, torch.Generator):
            pieces[name] = value
    return pieces | {RANDOM: RandomStates()}


def classes_of(pieces):
    return {name: type(piece).__name__ for name, piece in pieces.items()}


def contents_of(state):
    pieces = pieces_of(state)
    contents = state | {name: state_of(piece) for name, piece in pieces.items()}
    check_plain("", contents)
    return contents | {CLASSES: classes_of(pieces)}


def check_plain(where, value):
    """Refuse all but plain values, and name their place."""
    if type(value) in (dict, OrderedDict, Counter):
        for key, each in value.items():
            check_plain(f"{where}[{key!r}]", key)
            check_plain(f"{where}[{key!r}]", each)
    elif type(value) in (list, tuple):
        for i, each in enumerate(value):
            check_plain(f"{where}[{i}]", each)
    elif type(value) not in PLAIN:
        raise CheckpointError(f"state{where} is a {type(value).__name__}, which is no plain value")


def state_of(piece):
    return piece.get_state() if isinstance(piece, torch.Generator) else piece.state_dict()


def put(piece, saved):
    saved = copy.deepcopy(saved)  # some pieces keep what they get, and change it
    if isinstance(piece, torch.Generator):
        piece.set_state(saved)
    else:
        piece.load_state_dict(saved)


class RandomStates:
    def state_dict(self):
        numpy_state = np.random.get_state(legacy=False)
        numpy_state["state"]["key"] = numpy_state["state"][
            "key"
        ].tolist()  # torch.load takes no array
        torch_state, python_state = torch.get_rng_state(), random.getstate()
        return {"torch": torch_state, "python": python_state, "numpy": numpy_state}

    def load_state_dict(self, states):
        torch.set_rng_state(states["torch"])
        random.setstate(states["python"])
        np.random.set_state(states["numpy"])
