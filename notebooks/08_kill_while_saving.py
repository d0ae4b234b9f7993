"""Kill processes while they save, and tell which files can still be loaded.

    python 08_kill_while_saving.py FOLDER KILLS

For `torch.save` and for `save_atomic`, the program starts a process that saves 2 MB again and again
to one path in FOLDER. It kills the process at a random moment, and does so KILLS times. It prints a
line for each kill, such as "torch.save broken". Lesson 08 runs this program.
"""

import multiprocessing
import random
import sys
import time
from importlib import import_module
from pathlib import Path

import torch

save_atomic = import_module("08_training_run").save_atomic  # the function of lesson 08

# With "fork", a process starts as a copy of this one. Windows has only "spawn", which takes longer.
START = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
processes = multiprocessing.get_context(START)


def save_again_and_again(save, path, started):
    """What the process does until it is killed."""
    weights = torch.zeros(500_000)
    while True:
        save(weights, path)
        started.set()


def kill_while_saving(save, path):
    """Start the process, and kill it at a random moment after its first save."""
    started = processes.Event()
    child = processes.Process(target=save_again_and_again, args=(save, path, started))
    child.start()
    started.wait()
    time.sleep(random.uniform(0, 0.05))  # seconds
    child.kill()  # SIGKILL
    child.join()


def state_of(path):
    """Whether the file can be loaded."""
    try:
        torch.load(path, map_location="cpu")
    except (RuntimeError, EOFError):  # a part of a file, or an empty file
        return "broken"
    return "whole"


if __name__ == "__main__":
    folder, kills = Path(sys.argv[1]), int(sys.argv[2])
    for name, save in {"torch.save": torch.save, "save_atomic": save_atomic}.items():
        path = folder / f"{name}.pth"
        for _ in range(kills):
            kill_while_saving(save, path)
            print(name, state_of(path), flush=True)
