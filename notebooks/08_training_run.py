"""A training run that survives: it continues from its file, and saves when SIGTERM arrives.

    python 08_training_run.py PATH

It prints the number of each finished step. Lesson 08 runs this program, and kills it.
"""

import os
import signal
import sys
import time
from pathlib import Path

import torch
from torch import nn

STEPS, EVERY = 100, 10  # steps of the whole run; steps between two saves

torch.manual_seed(1)
samples, labels = torch.randn(256, 64), torch.randint(10, (256,))
stop_requested = False


def request_stop(signum, frame):
    global stop_requested
    stop_requested = True


def save_atomic(obj, path):
    path = Path(path)
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "wb") as file:
        torch.save(obj, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def save_run(path, done, model, optimizer):
    saved = {
        "step": done,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "random_state": torch.get_rng_state(),
    }
    save_atomic(saved, path)


def load_run(path, model, optimizer):
    saved = torch.load(path, map_location="cpu")
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    torch.set_rng_state(saved["random_state"])
    return saved["step"]


def train_step(model, optimizer):
    batch = torch.randint(256, (32,))  # 32 random samples, drawn from the random state
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(samples[batch]), labels[batch])
    loss.backward()
    optimizer.step()
    time.sleep(0.01)  # a larger network takes longer


def train(path):
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    signal.signal(signal.SIGTERM, request_stop)
    done = load_run(path, model, optimizer) if path.exists() else 0
    while done < STEPS and not stop_requested:
        train_step(model, optimizer)
        done += 1
        print(done, flush=True)
        if done % EVERY == 0:
            save_run(path, done, model, optimizer)
    save_run(path, done, model, optimizer)  # all steps are done, or a stop was requested


if __name__ == "__main__":
    train(Path(sys.argv[1]))
