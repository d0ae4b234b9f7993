"""Faults for functions that save and load training runs, and a judge of what comes of each.

Three functions are under test: save(state, path), load(path) and restore(saved, state). A state is
a dict of the pieces of a run (model, optimizer, scheduler, generators) and plain values. A fault is
a function of these three, a folder, a count and a seed. It returns how often it came to each of:

    the same    what had been saved came back, to the bit; after a fault while saving: old or new
    refused     an error of the promised kind, and nothing that restore was given has changed
    raw error   another error, and nothing has changed
    half        an error, and some of the pieces have changed already
    wrong       no error, and something else than what had been saved
    lost        after a fault while saving: neither the old nor the new can be had
    executed    code from the file was run
    crashed     the process died, or gave no answer for half a minute

What was saved may be one file or a folder. Every case runs in a child process, so that a damaged
file harms nobody else, and the caller's random state stays as it is. Windows cannot fork: there the
cases run in the caller's process, and the faults while saving are left out.
"""

import copy
import ctypes
import gzip
import io
import json
import os
import pickle
import random
import shutil
import signal
import sys
import tarfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count as numbers_from
from pathlib import Path

import numpy as np
import torch
from torch import nn

WORST_FIRST = ["executed", "crashed", "lost", "wrong", "half", "raw error", "refused", "the same"]
SECONDS = 30  # that a case may take


@dataclass(frozen=True)
class Functions:
    """What is under test.

    refusal is the promised kind of error, one class or a tuple. keeps names the parts of a state
    that the functions promise to keep; None means all.
    """

    name: str
    save: Callable
    load: Callable
    restore: Callable
    refusal: type | tuple = Exception
    keeps: tuple | None = None


class Outcomes(Counter):
    """{outcome: how often}; cases has one case of each, and notes counts other things seen."""

    def __init__(self, pairs=()):
        pairs = list(pairs)
        super().__init__(outcome for case, outcome in pairs)
        self.cases = {outcome: case for case, outcome in reversed(pairs)}
        self.notes = Counter()


# ---------------------------------------------------------------- a small training run


def new_run(seed, width=16):
    """The state of a run at its start. With a width of 16 it takes about 28 KB, with 400 2 MB."""
    torch.manual_seed(seed)
    parts = [nn.Linear(8, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.25)]
    model = nn.Sequential(*parts, nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    return {
        "model": model,
        "optimizer": optimizer,
        "scheduler": torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5),
        "generator": torch.Generator().manual_seed(seed),  # it shuffles the samples
        "random": torch.default_generator,  # dropout draws from it
        "epoch": 0,
        "classes": [f"class {seed}", "bag", "boot"],
    }


def train(state, epochs):
    """Train on 64 samples in shuffled batches of 16, and return the loss of each batch."""
    fixed = torch.Generator().manual_seed(0)
    x, y = torch.randn(64, 8, generator=fixed), torch.randint(3, (64,), generator=fixed)
    losses = []
    for _ in range(epochs):
        for batch in torch.randperm(64, generator=state["generator"]).split(16):
            loss = nn.functional.cross_entropy(state["model"](x[batch]), y[batch])
            state["optimizer"].zero_grad()
            loss.backward()
            state["optimizer"].step()
            losses.append(loss.item())
        state["scheduler"].step()
        state["epoch"] += 1
    return losses


def trained_run(seed, width=16):
    state = new_run(seed, width)
    train(state, 1)
    return state


def content(value):
    """What has to be kept of a part of a state: its state_dict, its random state, or the value."""
    if isinstance(value, torch.Generator):
        return value.get_state()
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    return value.state_dict() if hasattr(value, "state_dict") else value


def contents(state):
    return {name: copy.deepcopy(content(value)) for name, value in state.items()}


# ---------------------------------------------------------------- the judge


def same(a, b):
    """Whether two values are equal in every type, order and bit."""
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        alike = (a.dtype, a.shape) == (b.dtype, b.shape)
        return alike and torch.equal(
            *(each.detach().reshape(-1).view(torch.uint8) for each in (a, b))
        )
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return repr(a) == repr(b)


def verdict(functions, path, *expected, width=16):
    """Load what is at path into fresh pieces, and say what it came to; expected are contents."""
    fresh = new_run(1000, width)
    before = contents(fresh)
    try:
        rest = functions.restore(functions.load(path), fresh)
    except BaseException as error:  # there are libraries whose errors are no Exception
        if not holds(fresh, before):
            return "half"
        return "refused" if isinstance(error, functions.refusal) else "raw error"
    found = fresh | (rest if isinstance(rest, dict) else {})
    good = any(holds(found, each, functions.keeps) for each in expected)
    return "the same" if good else "wrong"


def holds(state, expected, names=None):
    """Whether a state has the expected contents; with names only those are compared."""
    try:
        found = contents(state)
    except Exception:  # of a piece that damage has spoiled
        return False
    if names is None:
        return same(found, expected)
    return all(same(found[name], expected[name]) for name in names)


# ---------------------------------------------------------------- child processes


def one_by_one(work, cases):
    """Return the Outcomes of work(case) for each case, from child processes."""
    cases, outcomes = list(cases), []
    while len(outcomes) < len(cases):
        outcomes += in_child(work, cases[len(outcomes) :])
        if len(outcomes) < len(cases):
            outcomes.append("crashed")  # the next child goes on behind that case
    return Outcomes(zip(cases, outcomes))


def in_child(work, cases):
    """[work(case) for each case], from one child process; shorter if the child dies."""
    if not hasattr(os, "fork"):
        return [work(case) for case in cases]
    reading, writing = os.pipe()
    if (child := fork()) == 0:
        answer(work, cases, writing)
    os.close(writing)
    with os.fdopen(reading) as lines:
        answers = [json.loads(line) for line in lines]
    os.waitpid(child, 0)
    if errors := [each["error"] for each in answers if isinstance(each, dict)]:
        raise RuntimeError(f"in the child process:\n{errors[0]}")
    return answers


def answer(work, cases, pipe):
    """In the child: write work(case) as one line for each case, and end."""
    torch.set_num_threads(1)  # threads don't survive a fork
    try:
        with os.fdopen(pipe, "w", buffering=1) as lines, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                for case in cases:
                    signal.alarm(SECONDS)
                    lines.write(json.dumps(work(case)) + "\n")
            except BaseException:
                lines.write(json.dumps({"error": traceback.format_exc()}) + "\n")
    finally:
        os._exit(0)


def fork():
    sys.stdout.flush()
    with warnings.catch_warnings():  # Python 3.12 warns of threads, and the child uses none of them
        warnings.simplefilter("ignore")
        return os.fork()


# ---------------------------------------------------------------- damage


def save_one(functions, folder, seed):
    """Save a run; return the path and the contents. Undamaged, it must come back the same."""
    path = Path(folder) / "checkpoint"
    with torch.random.fork_rng(devices=[]):
        trained_run(seed)  # imports here, and once, what each child would import anew

    def save(seed):
        state = trained_run(seed)
        functions.save(state, path)
        expected = contents(state)
        torch.save(expected, Path(folder) / "expected")
        return verdict(functions, path, expected)

    if (outcome := in_child(save, [seed])) != ["the same"]:
        raise RuntimeError(f"{functions.name}: an undamaged checkpoint comes to {outcome}")
    expected = torch.load(Path(folder) / "expected")
    os.remove(Path(folder) / "expected")
    return path, expected


def files_of(path):
    """{file: its bytes} of what was saved."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return {file: file.read_bytes() for file in files}


def place(files, position):
    """The file and the offset of a byte, with all files laid one behind the other."""
    for file, data in files.items():
        if position < len(data):
            return file, position
        position -= len(data)


def spoil(files, spoiled, data):
    """Write all files anew, one with other data. New ones, since the old ones may be mapped."""
    for file, whole in files.items():
        file.unlink(missing_ok=True)
        file.write_bytes(data if file == spoiled else whole)


def flips(functions, folder, count, seed):
    """Turn one bit at a random place, and load."""
    path, expected = save_one(functions, folder, seed)
    files = files_of(path)

    def outcome(bit):
        file, offset = place(files, bit // 8)
        data = bytearray(files[file])
        data[offset] ^= 1 << bit % 8
        spoil(files, file, data)
        return verdict(functions, path, expected)

    bits = 8 * sum(map(len, files.values()))
    return one_by_one(outcome, random.Random(seed).sample(range(bits), min(count, bits)))


def cuts(functions, folder, count, seed):
    """Cut a file short at a random place, and load."""
    path, expected = save_one(functions, folder, seed)
    files = files_of(path)

    def outcome(position):
        file, length = place(files, position)
        spoil(files, file, files[file][:length])
        return verdict(functions, path, expected)

    size = sum(map(len, files.values()))
    return one_by_one(outcome, random.Random(seed).sample(range(size), min(count, size)))


def wrong_files(functions, folder, count, seed):
    """Put another kind of file in the place of each that was saved, in turn: the worst counts."""
    kinds = random.Random(seed).sample(list(WRONG_FILES), min(count, len(WRONG_FILES)))
    return in_place_of_each_file(functions, folder, seed, WRONG_FILES, kinds)


def hostile_files(functions, folder, count, seed):
    """The same with pickles that touch a flag file when their code is run."""
    kinds = random.Random(seed).sample(list(HOSTILE_FILES), min(count, len(HOSTILE_FILES)))
    return in_place_of_each_file(functions, folder, seed, HOSTILE_FILES, kinds)


def in_place_of_each_file(functions, folder, seed, writers, kinds):
    path, expected = save_one(functions, folder, seed)
    flag, files = Path(folder) / "flag", files_of(path)

    def outcome_in(kind, file):
        spoil(files, file, writers[kind](flag))
        came_to = verdict(functions, path, expected)
        if flag.exists():
            flag.unlink()
            return "executed"
        return came_to

    return one_by_one(
        lambda kind: min((outcome_in(kind, file) for file in files), key=WORST_FIRST.index), kinds
    )


# ---------------------------------------------------------------- files of other kinds, as bytes


def written(write):
    """The bytes that a function writes into the file that it is given."""
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def an_archive(entries):
    def write(file):
        with zipfile.ZipFile(file, "w") as archive:
            for name, data in entries.items():
                archive.writestr(name, data)

    return written(write)


def a_tar(file):
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("data.pkl"))


def a_safetensors():
    header = json.dumps({"weight": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(8)


def before_1_6(value):
    return written(lambda file: torch.save(value, file, _use_new_zipfile_serialization=False))


TORCHSCRIPT = {"data.pkl": b"\x80\x02N.", "constants.pkl": b"\x80\x02).", "code/a.py": b"pass"}
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
WRONG_FILES = {  # each is called with a path that it has no use for
    "nothing": lambda _: b"",
    "HTML": lambda _: b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
    "JSON": lambda _: json.dumps({"model": {}, "epoch": 1}).encode(),
    "a picture": lambda _: b"\x89PNG\r\n\x1a\n" + bytes(64),
    "gzip": lambda _: gzip.compress(b"a text"),
    "tar": lambda _: written(a_tar),
    "a pointer of Git LFS": lambda _: LFS_POINTER,
    "zip": lambda _: an_archive({"a.txt": "a text", "b/c.txt": "more"}),
    "npz": lambda _: written(lambda file: np.savez(file, weight=np.zeros((2, 3)))),
    "safetensors": lambda _: a_safetensors(),
    "a pickle": lambda _: pickle.dumps({"model": {}, "epoch": 1}),
    "torch.save before 1.6": lambda _: before_1_6({"model": {}, "epoch": 1}),
    "TorchScript": lambda _: an_archive({f"a/{name}": data for name, data in TORCHSCRIPT.items()}),
    "a whole module": lambda _: written(lambda file: torch.save(new_run(2)["model"], file)),
    "a state_dict": lambda _: written(lambda file: torch.save(nn.Linear(2, 3).state_dict(), file)),
}


class Call:
    """Is pickled as the call of a function."""

    def __init__(self, function, *arguments):
        self.parts = function, arguments

    def __reduce__(self):
        return self.parts


PAYLOADS = {
    "os.system": lambda flag: Call(os.system, f'echo > "{flag}"'),
    "eval": lambda flag: {"model": Call(eval, f"open({str(flag)!r}, 'w').close()")},
    "Path.touch": lambda flag: {"epoch": [Call(Path.touch, Path(flag))]},
}
FORMS = {
    "torch.save": lambda value: written(lambda file: torch.save(value, file)),
    "torch.save before 1.6": before_1_6,
    "pickle": lambda value: pickle.dumps(value, protocol=2),
}
HOSTILE_FILES = {
    f"{payload} in {form}": lambda flag, payload=payload, form=form: FORMS[form](
        PAYLOADS[payload](flag)
    )
    for payload in PAYLOADS
    for form in FORMS
}


# ---------------------------------------------------------------- faults while saving


def kills(functions, folder, count, seed):
    """Kill a child that saves two runs in turn to one path, at a random moment, and load.

    Notes: how many kills left something beside the checkpoint, how many of these came between
    writing and renaming (what was left is whole), and what is there still after the next save.
    """
    if not hasattr(os, "fork"):
        return Outcomes()
    with torch.random.fork_rng(devices=[]):
        return kill_often(functions, folder, count, seed)


def kill_often(functions, folder, count, seed):
    pairs, notes = [], Counter()
    path, choose = Path(folder) / "checkpoint", random.Random(seed)
    states = [trained_run(seed + i, width=400) for i in range(2)]
    seconds = seconds_of_a_save(functions, states[0], path)
    for i in range(count):
        epoch = save_until_killed(functions, states, path, choose.uniform(0, 3 * seconds))
        (came_to, left, whole), *_ = in_child(
            lambda epoch: judge_the_killed(functions, states, path, epoch), [epoch]
        ) or [("lost", False, False)]
        pairs.append((i, came_to))
        notes += Counter({"left something": left, "between writing and renaming": whole})
    in_child(lambda _: functions.save(states[0], path), [0])
    outcomes = Outcomes(pairs)
    outcomes.notes = notes + Counter({"there after the next save": len(beside(path))})
    return outcomes


def seconds_of_a_save(functions, state, path):
    def time_three(_):
        start = time.perf_counter()
        for _ in range(3):
            functions.save(state, path)
        return (time.perf_counter() - start) / 3

    if not (seconds := in_child(time_three, [0])):
        raise RuntimeError(f"{functions.name}: the process died while saving, or took too long")
    return seconds[0]


def save_until_killed(functions, states, path, seconds):
    """Let a child save, kill it so many seconds after its first save; return its last whole one."""
    reading, writing = os.pipe()
    if (child := fork()) == 0:
        try:
            torch.set_num_threads(1)
            for epoch in numbers_from():
                signal.alarm(SECONDS)
                functions.save(states[epoch % 2] | {"epoch": epoch}, path)
                os.write(writing, b".")
        finally:
            os._exit(1)
    os.close(writing)
    if not os.read(reading, 1):
        raise RuntimeError(f"{functions.name}: the first save failed")
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as file:
        return len(file.read())


def judge_the_killed(functions, states, path, epoch):
    """What can be had now, whether something else was left, and whether that is whole and new."""
    old, new = (contents(states[i % 2] | {"epoch": i}) for i in (epoch, epoch + 1))
    came_to = verdict(functions, path, old, new, width=400)
    left = beside(path)
    whole = any(verdict(functions, each, new, width=400) == "the same" for each in left)
    return came_to if came_to in ("the same", "wrong") else "lost", bool(left), whole


def beside(path):
    return [each for each in path.parent.iterdir() if each != path]


def full_disk(functions, folder, count, seed):
    """Save a run of 4 MB over one of 20 KB on disks of less than 1 MB, and load.

    Where nobody may mount such a disk, the size of files is limited instead; a note says how often.
    """
    if not hasattr(os, "fork"):
        return Outcomes()

    def outcome(size):
        part = Path(folder) / str(size)
        part.mkdir()
        on_disk = make_small(part, size)
        return [save_without_room(functions, part / "checkpoint", seed), on_disk]

    choose = random.Random(seed)
    sizes = [4096 * size for size in choose.sample(range(32, 230), count)]
    answers = [answer for size in sizes for answer in in_child(outcome, [size]) or [["crashed", 0]]]
    outcomes = Outcomes((size, came_to) for size, (came_to, _) in zip(sizes, answers))
    outcomes.notes["by a limit instead"] = sum(not on_disk for _, on_disk in answers)
    return outcomes


def save_without_room(functions, path, seed):
    old, large = trained_run(seed), trained_run(seed + 1, width=600)
    functions.save(old, path)
    expected = contents(old)
    try:
        functions.save(large, path)
    except BaseException as error:
        came_to = verdict(functions, path, expected)
        clear = isinstance(error, functions.refusal)
        return "lost" if came_to != "the same" else came_to if clear else "raw error"
    return "wrong"  # it did not say that there was no room


def make_small(folder, size):
    """Mount a disk of so many bytes for this process alone, else limit its files; return which."""
    disk = f"size={size}".encode()
    if apart() and mount(folder, b"tmpfs", 0, disk):
        return True
    import resource  # Windows has none

    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    return False


def apart():
    """Give this process, a child, mounts of its own that no other process sees; return success."""
    new_mounts, new_user, all_private = 0x20000, 0x10000000, 0x4000 | 0x40000
    if sys.platform != "linux":
        return False
    user = os.geteuid()
    if ctypes.CDLL(None).unshare(new_mounts | (new_user if user else 0)):
        return False
    if user:  # is root among the mounts of its own
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    return mount("/", None, all_private, None)


def mount(folder, kind, flags, options):
    libc = ctypes.CDLL(None)
    return libc.mount(b"none", os.fsencode(folder), kind, ctypes.c_ulong(flags), options) == 0


# ---------------------------------------------------------------- going on


def resume(functions, folder, count, seed):
    """Train 2 epochs, save, train 3 more; restore into fresh pieces, and train those 3 again."""
    path = Path(folder) / "checkpoint"

    def outcome(seed):
        state = new_run(seed)
        train(state, 2)
        functions.save(state, path)
        losses, expected = train(state, 3), contents(state)
        fresh = new_run(seed + 1000)
        try:
            fresh |= functions.restore(functions.load(path), fresh)
        except BaseException as error:
            return "refused" if isinstance(error, functions.refusal) else "raw error"
        return "the same" if train(fresh, 3) == losses and holds(fresh, expected) else "wrong"

    if functions.keeps is not None:
        return Outcomes()  # they promise no such thing
    return one_by_one(outcome, range(seed, seed + count))


FAULTS = {
    "a flipped bit": flips,
    "a file cut short": cuts,
    "a file of another kind": wrong_files,
    "a hostile file": hostile_files,
    "a kill while saving": kills,
    "a full disk": full_disk,
    "resume": resume,
}


def grade(functions, folder, counts, seed=0):
    """{fault: Outcomes} of the faults that counts names, each in a folder that is removed again."""
    table = {}
    for fault, count in counts.items():
        part = Path(folder) / fault
        part.mkdir()
        table[fault] = FAULTS[fault](functions, part, count, seed)
        shutil.rmtree(part)
    return table
