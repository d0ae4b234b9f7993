"""What the fault matrix does in a process of its own, because that one is killed, limited or measured.

Called with the name of a function and its arguments, it prints what the function returns, as JSON.
"""

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import torch
from checkpoint_tools import judge, make_model, same

import fc_model

torch.set_num_threads(1)
SIZES = (784, 512, 256, 128, 10)


def save_in_place(model, path, epoch):
    """What a tutorial does."""
    checkpoint = {"input_size": 784, "output_size": 10, "hidden_layers": [512, 256, 128], "epoch": epoch}
    torch.save(checkpoint | {"state_dict": model.state_dict()}, path)


def save_safely(model, path, epoch):
    fc_model.save_checkpoint(model, path, epoch=epoch)


def kill(folder, count, seed):
    """Kill children that save safely, and as many that save in place. Return the outcomes of both."""
    folders = [Path(folder, name) for name in ("safely", "in place")]
    for each in folders:
        each.mkdir()
    return [kill_while(save, each, int(count), seed) for save, each in zip([save_safely, save_in_place], folders)]


def kill_while(save, folder, count, seed):
    """Let children save two models in turn to one path, and kill each at some moment. What is in the file then?"""
    models, path, choose = [make_model(*SIZES, seed=i) for i in range(2)], folder / "model.pt", random.Random(seed)
    start = time.perf_counter()
    for epoch in range(6):
        save(models[epoch % 2], path, epoch)
    seconds = (time.perf_counter() - start) / 6
    assert fc_model.read_checkpoint(path)["epoch"] == 5
    outcomes = Counter({"the same": 0, "wrong": 0})
    for _ in range(count):
        reading, writing = os.pipe()
        if (child := os.fork()) == 0:
            for epoch in range(1 << 30):
                save(models[epoch % 2], path, epoch)
                os.write(writing, b".")
        os.close(writing)
        os.read(reading, 1)  # the first save of this child is done
        time.sleep(choose.uniform(0, 3 * seconds))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with os.fdopen(reading, "rb") as file:
            done = len(file.read())  # the number of the last save that was done
        others = {name for name in os.listdir(folder) if name != path.name}
        outcomes["left a .tmp"] += bool(others)
        with suppress(fc_model.CheckpointError):
            checkpoint = fc_model.read_checkpoint(path)
            epoch = checkpoint["epoch"]
            whole = same(dict(checkpoint["state_dict"]), dict(models[epoch % 2].state_dict()))
            if whole and epoch in (done, done + 1) and others <= {"model.pt.tmp"}:
                outcomes["the same"] += 1
                outcomes["the new one already"] += epoch == done + 1
                continue
        outcomes["wrong"] += 1
    save(models[0], path, 0)
    assert os.listdir(folder) == [path.name], "the next save did not clear up"
    return outcomes


def memory(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def load(folder):
    """Load each file of a folder in three ways, and say what that took. The first is a good one."""
    first, *paths = sorted(Path(folder).iterdir())
    expected = torch.load(first)
    ways = {
        "read": lambda path: judge(path, expected, network_alone=True),
        "map": lambda path: judge(path, expected, network_alone=True, mmap=True),
        "torch.load": lambda path: torch.load(path) and "loaded",
    }
    result = {}
    for path in [first, *paths]:
        for name, way in ways.items():
            Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
            before, start = memory("VmRSS"), time.process_time()
            try:
                outcome = way(path)
            except Exception as error:
                outcome = type(error).__name__
            if path != first:
                result[f"{path.name} {name}"] = [outcome, memory("VmHWM") - before, time.process_time() - start]
    return result


def fill(folder, limit=None):
    """Save another network over a file where there is no room for it."""
    path, model = Path(folder, "model.pt"), make_model(*SIZES)
    fc_model.save_checkpoint(make_model(6, 5, 3), path)
    expected = fc_model.read_checkpoint(path)
    if limit:
        import resource

        # Python ignores the signal that comes with it.
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))
    try:
        fc_model.save_checkpoint(model, path)
    except Exception as error:
        return [type(error).__name__, os.listdir(folder), judge(path, expected)]


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])))
