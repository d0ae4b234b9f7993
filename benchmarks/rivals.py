"""The same work and the same faults for checkpoints.py and for five other ways to save a run.

    python benchmarks/rivals.py [page.md]

Each contestant saves and restores the same training run in its documented way, with its safest
documented options, and faults.py is the judge. Then each saves and loads a model of 200 MB: seconds
and peak memory, as ratios to torch.save in the same round. The result is a page, docs/rivals.md.
A run takes about ten minutes on two cores. It needs the packages of requirements-rivals.txt, and
Linux for the full disk and for the memory; let the machine do nothing else.
"""

import contextlib
import importlib.metadata
import json
import logging
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
import warnings
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))
import faults
from faults import Functions, content

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "rivals.md"
COUNTS = {
    "a flipped bit": 2000,
    "a file cut short": 300,
    "a file of another kind": 15,
    "a hostile file": 9,
    "a kill while saving": 100,
    "a full disk": 10,
    "resume": 5,
}
WIDTH = 7070  # of a model of 200 MB
ROUNDS = 5
MINUTES = 5  # that all faults of one contestant may take
ELSEWHERE = "in the folder for temporary files"
PACKAGES = ["torch", "safetensors", "lightning-fabric", "accelerate", "numpy"]


# ---------------------------------------------------------------- torch.save, safetensors, ours


def contents(state):
    """A state as PyTorch's tutorial saves it: a state_dict for each piece, and the plain values."""
    return {name: content(value) for name, value in state.items()}


def put_back(saved, state):
    """Restore the pieces one after the other, as in the tutorial; return the plain values."""
    rest = {}
    for name, value in saved.items():
        if hasattr(state[name], "load_state_dict"):
            state[name].load_state_dict(value)
        elif isinstance(state[name], torch.Generator):
            state[name].set_state(value)
        else:
            rest[name] = value
    return rest


def of_torch():
    def save(state, path):
        torch.save(contents(state), path)

    return Functions("torch.save", save, partial(torch.load, weights_only=True), put_back)


def of_safetensors():
    from safetensors.torch import load_model, save_model

    def restore(path, state):
        load_model(state["model"], path)
        return {}

    def save(state, path):
        save_model(state["model"], str(path))

    return Functions("safetensors", save, str, restore, keeps=("model",))


def of_checkpoints():
    import checkpoints

    refusal = checkpoints.CheckpointError, OSError
    return Functions(
        "checkpoints", checkpoints.save, checkpoints.load, checkpoints.restore, refusal
    )


# ---------------------------------------------------------------- torch.distributed.checkpoint


class AppState:
    """All of a run as one Stateful object, as PyTorch's recipe for DCP makes it."""

    def __init__(self, state):
        self.state, self.rest = state, {}
        self.run = state["model"], [state["optimizer"]] if "optimizer" in state else []
        self.others = [name for name in state if name not in ("model", "optimizer")]

    def state_dict(self):
        from torch.distributed.checkpoint.state_dict import get_state_dict

        model, optimizer = get_state_dict(*self.run)
        others = {name: content(self.state[name]) for name in self.others}
        return {"model": model, "optimizer": optimizer, "others": others}

    def load_state_dict(self, saved):
        from torch.distributed.checkpoint.state_dict import set_state_dict

        model, optimizer = saved["model"], saved["optimizer"]
        set_state_dict(*self.run, model_state_dict=model, optim_state_dict=optimizer)
        self.rest = put_back(saved["others"], self.state)


def of_dcp():
    """A new folder for each save, as in PyTorch's recipe for async_save; the last two are kept."""
    import torch.distributed.checkpoint as dcp

    def steps(path):
        return sorted(path.glob("step_*"), key=lambda step: int(step.name[5:]))

    def save(state, path):
        path.mkdir(exist_ok=True)
        last = max((int(step.name[5:]) for step in steps(path)), default=0)
        dcp.save({"app": AppState(state)}, checkpoint_id=path / f"step_{last + 1}")
        whole = [step for step in steps(path) if (step / ".metadata").exists()]
        for old in whole[:-2]:
            shutil.rmtree(old)

    def load(path):  # DCP writes .metadata last: without it a save has not ended
        return [step for step in steps(path) if (step / ".metadata").exists()][-1]

    def restore(step, state):
        app = AppState(state)
        dcp.load({"app": app}, checkpoint_id=step)
        return app.rest

    # Its errors are no Exception.
    refusal = Exception, dcp.api.CheckpointException
    return Functions("torch.distributed.checkpoint", save, load, restore, refusal)


# ---------------------------------------------------------------- Lightning Fabric


def of_fabric():
    from lightning_fabric import Fabric

    fabric = Fabric(accelerator="cpu", devices=1)

    def without_generators(state):  # Fabric asks for state_dict, which a generator has not
        return {
            name: value.get_state() if isinstance(value, torch.Generator) else value
            for name, value in state.items()
        }

    def save(state, path):
        fabric.save(path, without_generators(state))

    def restore(path, state):
        target = without_generators(state)
        fabric.load(path, target, weights_only=True)
        pieces = {name for name, value in state.items() if hasattr(value, "load_state_dict")}
        return put_back({name: target[name] for name in state if name not in pieces}, state)

    return Functions("Lightning Fabric", save, lambda path: path, restore)


# ---------------------------------------------------------------- accelerate


class Others:
    """What accelerate does not save by itself, as an object for register_for_checkpointing."""

    def __init__(self, state):
        self.state, self.rest = state, {}
        own = ("model", "optimizer", "scheduler", "random")
        self.names = [name for name in state if name not in own]

    def state_dict(self):
        return {name: content(self.state[name]) for name in self.names}

    def load_state_dict(self, saved):
        self.rest = put_back(saved, self.state)


def of_accelerate():
    """With automatic_checkpoint_naming: a new folder for each save, and a limit of three."""
    from accelerate import Accelerator
    from accelerate.utils import ProjectConfiguration

    def steps(path):
        return sorted(path.glob("checkpoints/*"), key=lambda step: int(step.name.split("_")[1]))

    def prepared(state, path):
        numbers = [int(step.name.split("_")[1]) for step in steps(path)]
        config = ProjectConfiguration(str(path), automatic_checkpoint_naming=True, total_limit=3)
        config.iteration = max(numbers, default=-1) + 1
        accelerator, others = Accelerator(cpu=True, project_config=config), Others(state)
        names = [name for name in ("model", "optimizer", "scheduler") if name in state]
        accelerator.prepare(*(state[name] for name in names))
        accelerator.register_for_checkpointing(others)
        return accelerator, others

    def save(state, path):
        prepared(state, path)[0].save_state()

    def restore(path, state):
        accelerator, others = prepared(state, path)
        for step in reversed(steps(path)):  # the newest one that can be loaded
            try:
                accelerator.load_state(str(step))
                return others.rest
            except Exception as error:
                refused = error
        raise refused

    return Functions("accelerate", save, lambda path: path, restore)


RIVALS = {
    "checkpoints": of_checkpoints,
    "torch.save": of_torch,
    "safetensors": of_safetensors,
    "torch.distributed.checkpoint": of_dcp,
    "Lightning Fabric": of_fabric,
    "accelerate": of_accelerate,
}


# ---------------------------------------------------------------- what a process of its own does


def faults_of(name, folder, counts):
    """{fault: [outcomes, notes, seconds]} of one contestant."""
    functions, table = RIVALS[name](), {}
    for fault, count in counts.items():
        began = time.perf_counter()
        outcomes = faults.grade(functions, folder, {fault: count})[fault]
        left = sum(entry.is_file() for entry in os.scandir(folder))
        outcomes.notes[ELSEWHERE] = left - sum(left_before(table))
        table[fault] = [dict(outcomes), dict(outcomes.notes), time.perf_counter() - began]
    return table


def left_before(table):
    """How many files each fault so far has left in the folder for temporary files."""
    return (notes[ELSEWHERE] for _, notes, _ in table.values())


def costs_of(name, folder, width):
    """[[seconds, extra bytes] of saving, the same of loading] a model, after a tiny one."""
    functions = RIVALS[name]()
    save_and_load(functions, Path(folder) / "tiny", 16)  # imports, and what is done only once
    return save_and_load(functions, Path(folder) / "large", width)


def save_and_load(functions, path, width):
    runs = [faults.new_run(seed, width) for seed in range(2)]
    ours, fresh = ({name: run[name] for name in ("model", "epoch")} for run in runs)
    del runs
    os.sync()
    saving = watched(lambda: functions.save(ours, path))
    loading = watched(lambda: functions.restore(functions.load(path), fresh))
    if not faults.same(content(fresh["model"]), content(ours["model"])):
        raise RuntimeError(f"{functions.name}: other weights came back")
    return saving, loading


def watched(work):
    """[seconds, bytes at the peak above those before] of a piece of work; None if not on Linux."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before, began = memory("VmRSS"), time.perf_counter()
    work()
    seconds, peak = time.perf_counter() - began, memory("VmHWM")
    return [seconds, None if None in (before, peak) else peak - before]


def memory(field):
    """Bytes of this process in a field of /proc/self/status; None where there is no such file."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))


def in_new_process(function, name, folder, *arguments):
    """What a function of this file returns, in a process of its own; None if it takes too long.

    The folder is also that for temporary files.
    """
    call = json.dumps([function.__name__, name, folder, *arguments])
    command = [sys.executable, __file__, "--call", call]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TMPDIR": folder}
    try:
        done = subprocess.run(
            command, check=True, capture_output=True, env=environment, timeout=60 * MINUTES
        )
    except subprocess.TimeoutExpired:
        return None
    except subprocess.CalledProcessError as error:
        sys.exit(f"{name}: {error.stderr.decode()}")
    return json.loads(done.stdout.splitlines()[-1])


def answer(call):
    """In the new process: call the function, with the contestants' own messages turned off."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    random.seed(0)  # accelerate saves these states, too
    np.random.seed(0)
    name, *arguments = json.loads(call)
    print("\n" + json.dumps({"faults_of": faults_of, "costs_of": costs_of}[name](*arguments)))


# ---------------------------------------------------------------- the measurements


def measure(names=tuple(RIVALS), counts=COUNTS, rounds=ROUNDS, width=WIDTH):
    """({name: what faults_of returns}, [{name: what costs_of returns} of each round])."""
    table, costs = {}, []
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            print(f"{name}: faults", flush=True)
            table[name] = in_new_process(faults_of, name, folder, counts)
    for i in range(rounds):
        print(f"200 MB: round {i + 1} of {rounds}", flush=True)
        turn = [*names[i % len(names) :], *names[: i % len(names)]]  # another one goes first
        costs.append({name: costs_in_new_process(name, width) for name in turn})
    return table, costs


def costs_in_new_process(name, width):
    with tempfile.TemporaryDirectory() as folder:
        return in_new_process(costs_of, name, folder, width)


def ratios(costs, name, work, column):
    """Median of a contestant's figure over that of torch.save in the same round, or None."""
    pairs = [(each[name], each["torch.save"]) for each in costs]
    if any(own is None or own[work][column] is None for own, _ in pairs):
        return None
    return statistics.median(own[work][column] / plain[work][column] for own, plain in pairs)


def megabytes(costs, name, work):
    """Median of the extra memory at the peak, over the size of the model; None if not measured."""
    own = [each[name] and each[name][work][1] for each in costs]
    return None if None in own else statistics.median(own) / 2e8


# ---------------------------------------------------------------- the page


def cell(outcomes, notes):
    """What came of a fault, the worst first, in the words of faults.py."""
    if not outcomes:
        return "– (keeps the weights only)"
    words = [f"{outcomes[name]:,} {name}" for name in faults.WORST_FIRST if outcomes.get(name)]
    if any(outcomes.get(name) for name in faults.WORST_FIRST[:-2]):
        words[0] = f"**{words[0]}**"
    if left := notes.get("there after the next save", 0) + notes.get(ELSEWHERE, 0):
        words.append(f"{left} file{'s' * (left > 1)} left lying")
    return ", ".join(words)


def fault_rows(table):
    yield ["what happens", "times", *table]
    yield ["---"] * (2 + len(table))
    for fault, count in COUNTS.items():
        cells = [each[fault] if each else None for each in table.values()]
        row = ["took too long" if each is None else cell(*each[:2]) for each in cells]
        yield [fault, f"{count:,}", *row]


def cost_rows(costs):
    names = list(RIVALS)
    yield ["200 MB", *names]
    yield ["---"] * (1 + len(names))
    for work, title in enumerate(["saving", "loading"]):
        times = [ratios(costs, name, work, 0) for name in names]
        peaks = [megabytes(costs, name, work) for name in names]
        yield [f"{title}: seconds, over those of torch.save", *map(number, times)]
        yield [f"{title}: memory at the peak, over the model's size", *map(number, peaks)]


def number(value):
    return "–" if value is None else f"{value:.2f}"


def as_table(rows):
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def measured():
    """When, where, and with what."""
    packages = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES]
    machine = f"{platform.system()} with {os.cpu_count()} cores"
    python = f"Python {platform.python_version()}"
    return f"Measured on {date.today()}, on {machine}, with {', '.join([python, *packages])}."


def seconds_of_torch(costs):
    plain = [each["torch.save"] for each in costs]
    return [statistics.median(each[work][0] for each in plain) for work in range(2)]


def page(table, costs):
    """The text of docs/rivals.md."""
    saving, loading = seconds_of_torch(costs)
    kills = table["checkpoints"] and table["checkpoints"]["a kill while saving"][1]
    return PAGE_TEXT.format(
        measured=textwrap.fill(measured(), 97),
        faults=as_table(fault_rows(table)),
        costs=as_table(cost_rows(costs)),
        saving=saving,
        loading=loading,
        between=(kills or {}).get("between writing and renaming", 0),
        vocabulary=as_table([["word", "means"], ["---", "---"], *VOCABULARY.items()]),
        promises="\n\n".join(PROMISES),
    )


VOCABULARY = {
    "the same": "what had been saved came back, to the bit; after a fault while saving: old or new",
    "refused": "an error, and the objects that were to be restored had not changed",
    "raw error": "an error of another kind than the promised one (only checkpoints promises one)",
    "half": "an error, and some of the objects had changed already",
    "wrong": "no error, and something else than what had been saved",
    "lost": "after a fault while saving: neither the old nor the new can be had",
    "executed": "code from the file was run",
    "crashed": "the process died, or gave no answer for half a minute",
}
PROMISES = [
    """**checkpoints** ([checkpoints.py](../checkpoints.py)). Promises one file that a bare
`torch.load` reads, an old file that stays until the new one is whole, a check of every byte that
was saved, no code from the file, and a restore of all pieces or none. Does not promise to know
who wrote a file, models cut over several processes, or speed: each save is forced to the disk
and read back.""",
    """**torch.save and torch.load** with `weights_only=True`
([torch.load](https://docs.pytorch.org/docs/stable/generated/torch.load.html), [notes on
serialization](https://docs.pytorch.org/docs/stable/notes/serialization.html)). Promise to keep
tensors, their views and plain values, and with `weights_only=True` to call no functions but
those on a list. The documentation adds: never load data from an untrusted source. They promise
neither checksums (the CRC-32 in the file is not compared) nor that a killed save spares the old
file. Here: one state_dict for each piece in one dict, saved in place, as in the
[tutorial](https://docs.pytorch.org/tutorials/beginner/saving_loading_models.html).""",
    """**safetensors** ([documentation](https://huggingface.co/docs/safetensors/index),
[format](https://github.com/huggingface/safetensors)). Promises a format without pickle, so that
no file can run code, loading without a copy, and reading single tensors. It keeps tensors and
short texts. It does not promise checksums, nor to keep an optimizer or random states. That a
save spares the old file is not promised but done: it writes a temporary file and renames it. A
killed save leaves that file lying, each time under another name. Here: `save_model` and
`load_model`; only the weights are compared.""",
    """**torch.distributed.checkpoint**
([documentation](https://docs.pytorch.org/docs/stable/distributed.checkpoint.html),
[recipe](https://docs.pytorch.org/tutorials/recipes/distributed_checkpoint_recipe.html)).
Promises saves by many processes at once, loads into another number of them, and loads in place,
into memory that is there already. It does not promise checksums, to refuse code in a file, or to
leave the objects alone when it fails: it loads in place, and before that `get_state_dict` lets a
fresh optimizer take a step with rate 0, so each failure counts as half here. In use: one process
without a process group, all of the run in one Stateful object, a new folder for each save, as in
the recipe for
[async_save](https://docs.pytorch.org/tutorials/recipes/distributed_async_checkpoint_recipe.html).
The newest folder with `.metadata`, which is written last, counts; to look for it is the user's
code.""",
    """**Lightning Fabric**
([checkpoints](https://lightning.ai/docs/fabric/stable/guide/checkpoint/checkpoint.html)).
Promises that one `fabric.save` and `fabric.load` serve all strategies, from one device to a
model cut over many. It does not promise checksums. It writes into the folder for temporary files
and moves the file when it is whole. Where that folder lies on another disk, as for the full disk
here, moving means copying, and a copy can be cut short; a killed save leaves its file there.
Here: `weights_only=True`, and the generators' states as tensors.""",
    """**accelerate**
([checkpoints](https://huggingface.co/docs/accelerate/usage_guides/checkpoint)). Promises to
drive the same script on any number of devices, and to save model, optimizer, scheduler, scaler,
random states and registered objects together. It says that these are for the same training
script to go on with. It does not promise checksums. Registered objects are loaded with
`weights_only=False`, which runs what is in the file, as its docstring says. If the random states
cannot be read, it goes on without an error; that is why each file of another kind comes to
"wrong" here. In use: `automatic_checkpoint_naming`, so each save has a new folder,
`total_limit=3`, safetensors for the weights, one registered object for the rest. The newest
folder that loads counts; to try the one before is the user's code.""",
]
PAGE_TEXT = """# checkpoints.py and its rivals

The same training run, the same faults and the same judge,
[benchmarks/faults.py](../benchmarks/faults.py), for checkpoints.py and five other ways to save a
run. `make rivals` makes the environment, measures, and writes this page. It takes about ten
minutes on two cores. The cases are drawn with fixed seeds. From run to run differ only the
moments of the kills, the figures of time and memory, and a few flipped bits of accelerate.

{measured}

## Faults

{faults}

{vocabulary}

- **A flipped bit, a file cut short**: at random places. With several files, each has its share
  by its size. "The same" is harmless: a bit that nobody reads.
- **A file of another kind**: empty, HTML, JSON, a picture, gzip, tar, a pointer of Git LFS, zip,
  npz, safetensors, a pickle, torch.save's format before 1.6, TorchScript, a whole module, a
  state_dict of another network. With several files it takes the place of each in turn, and the
  worst counts.
- **A hostile file**: three payloads in three kinds of pickle, also in the place of each file.
- **A kill while saving**: SIGKILL at a random moment to a process that saves two runs of 2 MB in
  turn. Of those of checkpoints, {between} came between writing and renaming.
- **A full disk**: a save of 4 MB over one of 28 KB, on disks of 128 KB to 940 KB.
- **Resume**: 2 epochs with dropout, batch norm, Adam, StepLR and shuffling, saved, 3 more; then
  the same 3 once more from the checkpoint. Each loss, each weight and each random state is
  compared.

## Time and memory

{costs}

torch.save took {saving:.2f} s; `torch.load` and `load_state_dict` took {loading:.2f} s. The
figures are medians of five rounds in which the contestants take turns, each in a process of its
own. The file lies in the page cache. checkpoints and torch.distributed.checkpoint force the
bytes to the disk, and checkpoints reads them back. The others leave them to the system, which
writes them later. Memory is the process's peak above what it held before; the model to load into
is there before. Mapped files count while they are in use, though the system can take these pages
back.

## What each promises

{promises}
"""


def main(path=PAGE):
    table, costs = measure()
    Path(path).write_text(page(table, costs), encoding="utf-8")
    print(f"{path} is written")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--call"]:
        answer(sys.argv[2])
    else:
        main(*sys.argv[1:])
