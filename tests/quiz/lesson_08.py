"""Lesson 08: the answers to its questions, computed."""

import copy
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import torch
from torch import nn


def a_save_that_raises():
    raised, refused, loaded = False, False, None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.pth"
        torch.save({"step": 1}, path)
        try:
            torch.save({"step": 2, "rate": lambda step: 0.1}, path)
        except Exception:
            raised = True
        exists = path.exists()
        try:
            loaded = torch.load(path)
        except Exception:
            refused = True
    return {
        "It is complete, and holds step 1": raised and loaded == {"step": 1},
        "It holds step 2, without the rate": raised and loaded == {"step": 2},
        "It has been removed by the error": raised and not exists,
        "It exists, but cannot be loaded": raised and exists and refused,
    }


def a_dict_of_a_dict():
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(max_workers=1) as writer:
        path = Path(folder) / "run.pth"
        weight = torch.tensor(1.0)
        state = {"step": 1, "weight": weight}
        writer.submit(time.sleep, 0.2)
        job = writer.submit(torch.save, dict(state), path)
        weight.fill_(2)
        state["step"] = 2
        job.result()
        saved = torch.load(path)
    found = (saved["step"], saved["weight"].item())
    return {
        "step 1, and the weight 1": found == (1, 1.0),
        "step 1, and the weight 2": found == (1, 2.0),
        "step 2, and the weight 1": found == (2, 1.0),
        "step 2, and the weight 2": found == (2, 2.0),
    }


NO_HANDLER = """
import signal

def train():
    signal.raise_signal(signal.SIGTERM)  # the cluster sends it

try:
    train()
except BaseException:
    print("stopped")
finally:
    print("saved")
"""


def a_stop_without_a_handler():
    command = [sys.executable, "-c", NO_HANDLER]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    assert ended.returncode != 0  # a default handler, so the signal ended it
    printed = ended.stdout.split()
    return {
        "only `stopped`": printed == ["stopped"],
        "only `saved`": printed == ["saved"],
        "neither of them": printed == [],
        "both of them": printed == ["stopped", "saved"],
    }


def saves_without_their_folder():
    model, jobs, raised, place = nn.Linear(2, 1), [], None, None
    with tempfile.TemporaryDirectory() as folder:
        writer = ThreadPoolExecutor(max_workers=1)
        try:
            for place in range(3):
                state = copy.deepcopy(model.state_dict())
                jobs.append(writer.submit(torch.save, state, f"{folder}/runs/{place}.pth"))
                wait(jobs)  # the save ends before the next one begins
            place = "end"
            writer.shutdown()  # as Python does at the end of a program
        except (RuntimeError, OSError):
            raised = place
    assert len(jobs) == 3 and all(job.exception() for job in jobs)
    return {
        "at the save of epoch 0": raised == 0,
        "at the save of epoch 1": raised == 1,
        "at the end, after `done`": raised == "end",
        "nowhere: it ends as usual": raised is None,
    }


KEYS = [a_save_that_raises, a_dict_of_a_dict, a_stop_without_a_handler, saves_without_their_folder]
