"""The fault matrix, saving: whatever happens, the old file or the new one is there, and whole.

This takes a sample of each fault. With TORTURE=full, as in `make torture`, it takes all of them.
"""

import errno
import io
import os
import pickle
import signal
import socket
import stat
import sys
import threading
import time
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoint_tools import (
    bits,
    end_of,
    folder_without_writing,
    fork,
    is_that_network,
    judge,
    make_model,
    needs_linux,
    needs_posix,
)
from torch import nn, optim
from torch.nn.utils import parametrizations, prune
from torch.optim.swa_utils import AveragedModel
from torture_tools import BACKGROUND, FULL, NETWORK, OURS, PLAIN, compare, faults, note, parts

import checkpoints
import fc_model
from checkpoints import CheckpointError
from fc_model import load_checkpoint, save_checkpoint

SAVING = [OURS, BACKGROUND, NETWORK]
BUSY = "another process or thread saves to this path now"


@pytest.fixture
def saved(path):
    """A checkpoint of a network, and the bytes of its file."""
    save_checkpoint(make_model(16, 14, 8, 4), path, epoch=3, loss=0.5)
    return checkpoints.load(path), path.read_bytes()


# ---------------------------------------------------------------- killed


@needs_linux
@parts(4)
@pytest.mark.parametrize("functions", SAVING, ids=lambda each: each.name)
def test_a_kill_while_saving_leaves_the_old_file_or_the_new(
    functions, part, tmp_path, record_property
):
    count = 50 if FULL else 8
    outcomes = faults.kills(functions, tmp_path, count, seed=part.start)
    note(record_property, f"SIGKILL while saving ({functions.name})", outcomes)
    assert outcomes == {"the same": count}, outcomes.cases
    assert outcomes.notes["left something"], "no kill came in the middle of a save"
    assert outcomes.notes["there after the next save"] == 0


@needs_linux
def test_a_kill_while_saving_in_place_loses_the_checkpoint(tmp_path, record_property):
    outcomes = faults.kills(PLAIN, tmp_path, 50 if FULL else 8, seed=0)
    compare(record_property, "SIGKILL while saving in place", outcomes)
    assert outcomes["lost"] > outcomes.total() / 5


def stop_before_renaming(functions, state, path, ready):
    """Save, and stop for ever when the new file is to get its name."""

    def stop(*_):
        os.write(ready, b".")
        time.sleep(60)

    os.replace = stop
    functions.save(state, path)


@needs_posix
@pytest.mark.parametrize("functions", SAVING, ids=lambda each: each.name)
def test_a_kill_between_writing_and_renaming(functions, path, record_property):
    def is_at(place, expected):
        return faults.verdict(functions, place, expected) == "the same"

    functions.save(state := faults.trained_run(1), path)
    old, temporary = faults.contents(state), Path(f"{path}.tmp")
    new = faults.contents(state := faults.trained_run(2))
    reading, ready = os.pipe()
    child = fork(lambda: stop_before_renaming(functions, state, path, ready))
    assert os.read(reading, 1) == b"."
    assert is_at(path, old) and is_at(temporary, new)
    with pytest.raises(CheckpointError, match=BUSY):
        functions.save(state, path)
    os.kill(child, signal.SIGKILL)
    assert end_of(child) == -signal.SIGKILL
    assert is_at(path, old) and is_at(temporary, new)
    functions.save(state := faults.trained_run(3), path)
    assert is_at(path, faults.contents(state)) and not temporary.exists()
    note(record_property, "SIGKILL between writing and renaming", {"the same": 1})
    for end in (reading, ready):
        os.close(end)


# ---------------------------------------------------------------- two at a time


def save_for(seconds, state, path):
    """Save again and again; another save that goes on is no error here."""
    end, saves = time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        try:
            checkpoints.save(state, path)
            saves += 1
        except CheckpointError as error:
            assert BUSY in str(error)
    assert saves > 3


@needs_posix
def test_two_processes_save_to_one_path_while_a_third_loads(path, record_property):
    states, expected, outcomes = [], [], Counter()
    for seed in (1, 2):
        states.append({**faults.trained_run(seed, width=16 * seed**4), "epoch": seed})
        states[-1]["random"] = torch.Generator().manual_seed(seed)  # the others share one
        expected.append(faults.contents(states[-1]))
    checkpoints.save(states[0], path)
    seconds = 20 if FULL else 1.5
    children = [fork(lambda state=state: save_for(seconds, state, path)) for state in states]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        saved = checkpoints.load(path)
        del saved[checkpoints.FORMAT]
        wanted = expected[saved["epoch"] - 1]
        outcomes["the same" if faults.same(saved, wanted) else "wrong"] += 1
    assert [end_of(child) for child in children] == [0, 0]
    note(record_property, "two processes save, a third loads", outcomes)
    assert outcomes.keys() == {"the same"} and os.listdir(path.parent) == [path.name]


# ---------------------------------------------------------------- what fails


def fail_with(error):
    def fail(*arguments, **named):
        raise error

    return fail


def writing(change, error=None):
    """Stand in for torch.save: write the changed bytes of a file, then fail, or say nothing."""
    whole = torch.save

    def save(checkpoint, file):
        buffer = io.BytesIO()
        whole(checkpoint, buffer)
        file.write(change(buffer.getvalue()))
        file.flush()
        if error:
            raise error

    return save


def half(content):
    return content[: len(content) // 2]


def with_another_bit(content):
    """A file with another bit in the weights that are saved below."""
    position = content.index(bits(make_model(16, 14, 8, 4, seed=1).output.weight))
    return content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]


def noted(value):
    return lambda run, patch: run.param_groups[0].update(note=value)


class FullFile(io.BufferedWriter):
    """A file that takes 2,000 bytes, and then fails."""

    def write(self, content):
        if self.tell() + len(content) > 2000:
            raise self.error
        return super().write(content)


def inside_torch(error):
    """Let a write fail that torch.save does, as on a disk that is full."""

    def open_full(path, mode):
        if mode == "rb":
            return open(path, mode)
        file = FullFile(io.FileIO(path, mode.replace("b", "")))
        file.error = error
        return file

    return lambda run, patch: patch.setattr(checkpoints, "open", open_full, raising=False)


def patched(where, name, value):
    return lambda run, patch: patch.setattr(where, name, value)


FULL_DISK = OSError(errno.ENOSPC, "No space left on device")
NO_THREAD = RuntimeError("can't start new thread")
FAILURES = {
    "np.float64": (CheckpointError, noted(np.float64(0.1))),
    "a lambda": (CheckpointError, noted(lambda: 0)),
    "a file": (CheckpointError, noted(sys.stdout)),
    "the disk is full": (OSError, inside_torch(FULL_DISK)),
    "Ctrl-C in a write": (KeyboardInterrupt, inside_torch(KeyboardInterrupt())),
    "no memory in a write": (MemoryError, inside_torch(MemoryError())),
    "the disk is full half-way": (OSError, patched(torch, "save", writing(half, FULL_DISK))),
    "Ctrl-C half-way": (
        KeyboardInterrupt,
        patched(torch, "save", writing(half, KeyboardInterrupt())),
    ),
    "no memory half-way": (MemoryError, patched(torch, "save", writing(half, MemoryError()))),
    "half is written, without a word": (CheckpointError, patched(torch, "save", writing(half))),
    "nothing is written": (CheckpointError, patched(torch, "save", writing(lambda content: b""))),
    "another bit": (CheckpointError, patched(torch, "save", writing(with_another_bit))),
    "no checksums": (
        CheckpointError,
        patched(torch.serialization, "get_crc32_options", lambda: False),
    ),
    "the disk fails": (OSError, patched(os, "fsync", fail_with(OSError(errno.EIO, "")))),
    "Ctrl-C before the renaming": (
        KeyboardInterrupt,
        patched(os, "fsync", fail_with(KeyboardInterrupt())),
    ),
    "the renaming fails": (
        PermissionError,
        patched(os, "replace", fail_with(PermissionError("in use"))),
    ),
    "no thread": (RuntimeError, patched(threading.Thread, "start", fail_with(NO_THREAD))),
}
WAYS = {
    "save": lambda model, path, **more: checkpoints.save({"model": model, **more}, path),
    "save in the background": lambda model, path, **more: save_in_background(
        {"model": model, **more}, path
    ),
    "save_checkpoint": save_checkpoint,
}


def save_in_background(state, path):
    BACKGROUND.save(state, path)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", FAILURES)
def test_a_save_that_fails_leaves_the_old_file_and_nothing_else(
    name, way, saved, path, record_property, monkeypatch
):
    expected, content = saved
    model = make_model(16, 14, 8, 4, seed=1)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    error, spoil = FAILURES[name]
    spoil(optimizer, monkeypatch)
    with pytest.raises(error):
        WAYS[way](model, path, optimizer=optimizer, epoch=4)
    monkeypatch.undo()
    assert path.read_bytes() == content and os.listdir(path.parent) == [path.name]
    assert judge(path, expected) == "the same"
    note(record_property, "a save that fails", {"the same": 1})


def test_a_save_in_place_that_fails_destroys_the_old_file(saved, path, record_property):
    expected, _ = saved
    with pytest.raises((AttributeError, pickle.PicklingError)):
        torch.save({"state_dict": make_model(16, 14, 8, 4).state_dict(), "note": lambda: 0}, path)
    assert judge(path, expected) == "refused"
    compare(record_property, "a save in place that fails", {"lost": 1})


# ---------------------------------------------------------------- no room, no permission


def that_may_fail(functions):
    return replace(functions, refusal=(CheckpointError, OSError))


@needs_linux
@pytest.mark.parametrize("limit", [False, True])
@pytest.mark.parametrize("functions", SAVING, ids=lambda each: each.name)
def test_a_full_disk_leaves_the_old_file(functions, limit, tmp_path, record_property, monkeypatch):
    if limit:
        monkeypatch.setattr(faults, "apart", lambda: False)
    count = 20 if FULL else 2
    outcomes = faults.full_disk(that_may_fail(functions), tmp_path, count, seed=1)
    limited = limit or outcomes.notes["by a limit instead"]
    note(record_property, "over the limit of file sizes" if limited else "a full disk", outcomes)
    assert outcomes == {"the same": count}, outcomes.cases


@needs_linux
def test_a_full_disk_loses_what_is_saved_in_place(tmp_path, record_property):
    outcomes = faults.full_disk(PLAIN, tmp_path, 10 if FULL else 2, seed=1)
    compare(record_property, "a full disk, saved in place", outcomes)
    assert outcomes["lost"] == outcomes.total()


@needs_posix
@pytest.mark.parametrize("way", WAYS)
def test_a_save_to_a_folder_without_permission_leaves_the_old_file(way, record_property):
    with folder_without_writing() as (folder, close):
        save_checkpoint(make_model(6, 5, 3), folder / "model.pt")
        close()
        with pytest.raises(PermissionError):
            WAYS[way](make_model(6, 5, 3, seed=1), folder / "model.pt")
        assert os.listdir(folder) == ["model.pt"]
        saved = checkpoints.load(folder / "model.pt")
        assert is_that_network(load_checkpoint(folder / "model.pt"), saved)
        assert bits(saved["state_dict"]["output.bias"]) == bits(make_model(6, 5, 3).output.bias)
    note(record_property, "a folder without permission", {"the same": 1})


# ---------------------------------------------------------------- what is no place for a file


def make_device(path):
    """A null device of this test alone: what is written to it is gone."""
    os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as end:
        here = os.getcwd()
        os.chdir(path.parent)  # the name of a socket may not be long
        end.bind(path.name)
        os.chdir(here)


def make_link_to_device(path):
    make_device(path.with_name("device"))
    path.symlink_to("device")


def make_protected(path):
    save_checkpoint(make_model(6, 5, 3), path)
    path.chmod(0o444)


PLACES = {
    "a FIFO": lambda path: os.mkfifo(path),
    "a device": make_device,
    "a link to a device": make_link_to_device,
    "a socket": make_socket,
    "a folder": lambda path: path.mkdir(),
    "a folder with files": lambda path: [path.mkdir(), (path / "a").touch()],
    "a write-protected file": make_protected,
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a FIFO for the .tmp": lambda path: os.mkfifo(f"{path}.tmp"),
    "a device for the .tmp": lambda path: make_device(Path(f"{path}.tmp")),
    "a folder for the .tmp": lambda path: os.mkdir(f"{path}.tmp"),
}


def look(folder):
    """What is in a folder, down to the kind and the number of each thing."""
    things = [(each, each.lstat()) for each in sorted(folder.rglob("*"))]
    return [(str(each), s.st_mode, s.st_ino, s.st_size, s.st_rdev) for each, s in things]


def tried(function):
    """What comes of a call; no answer for half a minute kills this process."""
    try:
        function()
    except (CheckpointError, OSError):
        return "refused"
    except Exception:
        return "raw error"
    return "wrong"


@needs_posix
@pytest.mark.parametrize("name", PLACES)
def test_what_is_no_regular_file_is_refused_and_untouched(name, path, record_property):
    try:
        PLACES[name](path)
    except PermissionError:
        pytest.skip("this machine lets nobody make devices")
    before, model = look(path.parent), make_model(6, 5, 3)
    calls = [lambda way=way: way(model, path) for way in WAYS.values()]
    if name != "a write-protected file":
        calls += [lambda load=load: load(path) for load in (checkpoints.load, load_checkpoint)]
        calls.append(lambda: checkpoints.load(path, mmap=True))
    outcomes = faults.one_by_one(lambda i: tried(calls[i]), range(len(calls)))
    untouched = look(path.parent) == before
    outcomes = outcomes if untouched else Counter(lost=1)
    note(record_property, "a path that is no file to write", outcomes)
    assert untouched and outcomes == {"refused": len(calls)}, outcomes.cases


@needs_posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o604])
@pytest.mark.parametrize("way", WAYS)
def test_the_mode_of_the_old_file_stays(way, mode, path, record_property):
    save_checkpoint(make_model(6, 5, 3), path)
    path.chmod(mode)
    WAYS[way](make_model(6, 5, 3, seed=1), path)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    note(record_property, "the mode of the old file", {"the same": 1})


# ---------------------------------------------------------------- what is no Network


class Another(fc_model.Network):
    def forward(self, x):
        return -super().forward(x)


class Adapter(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        self.low = nn.Linear(layer.in_features, 1)


def with_part(name, make):
    def change(model):
        parts = model.hidden_layers if name == "0" else model
        setattr(parts, name, make(getattr(parts, name)))
        return model

    return change


def with_nan(model):
    model.output.bias.data[0] = float("nan")
    return model


def quantized(model):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(model, {nn.Linear})


def pruned(model):
    prune.random_unstructured(model.output, "weight", amount=0.5)
    return model


NO_NETWORKS = {
    "another forward": lambda model: Another(6, 3, [5]),
    "AlphaDropout": with_part("dropout", lambda part: nn.AlphaDropout(0.1)),
    "no dropout": with_part("dropout", lambda part: nn.Identity()),
    "an adapter": with_part("0", Adapter),
    "a head of two layers": with_part("output", lambda part: nn.Sequential(part, nn.Linear(3, 2))),
    "no head": with_part("output", lambda part: nn.Identity()),
    "no bias": with_part("output", lambda part: nn.Linear(5, 3, bias=False)),
    "a lazy layer": with_part("output", lambda part: nn.LazyLinear(3)),
    "no layers": lambda model: setattr(model, "hidden_layers", nn.ModuleList()) or model,
    "int8": quantized,
    "half": lambda model: model.half(),
    "bfloat16": lambda model: model.bfloat16(),
    "double": lambda model: model.double(),
    "meta": lambda model: model.to("meta"),
    "compiled": lambda model: torch.compile(model),
    "DataParallel": lambda model: nn.DataParallel(model),
    "AveragedModel": lambda model: AveragedModel(model),
    "weight norm": with_part("output", parametrizations.weight_norm),
    "pruned": pruned,
    "nan": with_nan,
    "another module": lambda model: nn.Linear(2, 2),
    "a state_dict": lambda model: model.state_dict(),
    "None": lambda model: None,
}


@pytest.mark.parametrize("name", NO_NETWORKS)
def test_what_its_sizes_do_not_rebuild_is_not_saved(name, saved, path, record_property):
    _, content = saved
    model = NO_NETWORKS[name](make_model(6, 5, 3))
    with pytest.raises(CheckpointError):
        save_checkpoint(model, path)
    assert path.read_bytes() == content and os.listdir(path.parent) == [path.name]
    note(record_property, "a network that its sizes do not rebuild", {"refused": 1})
