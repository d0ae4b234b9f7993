"""A training run that saves in the background and is killed again and again ends as if it never was."""

import os
import random
import signal
import time

import torch
import torch.nn.functional as F
from checkpoint_tools import fork, needs_linux, same
from torch import nn, optim

import checkpoints

KILLS = 200 if os.environ.get("TORTURE") == "full" else 12
STEPS = 9 * KILLS
EVERY = 3  # steps between two saves


class Run:
    """A run with dropout, batch norm, Adam, a scheduler, and batches from a generator of its own."""

    def __init__(self):
        torch.manual_seed(1)
        self.images, self.labels = torch.randn(256, 64), torch.randint(10, (256,))
        layers = (
            nn.Linear(64, 512),
            nn.BatchNorm1d(512),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(512, 10),
        )
        self.model = nn.Sequential(*layers)
        self.optimizer = optim.Adam(self.model.parameters(), lr=0.01)
        self.scheduler = optim.lr_scheduler.StepLR(self.optimizer, 50)
        self.generator = torch.Generator().manual_seed(2)
        self.pieces = vars(self).copy()
        del self.pieces["images"], self.pieces["labels"]

    def step(self):
        batch = torch.randint(256, (32,), generator=self.generator)
        self.optimizer.zero_grad()
        F.cross_entropy(self.model(self.images[batch]), self.labels[batch]).backward()
        self.optimizer.step()
        self.scheduler.step()

    def train(self, path, after_step):
        """Go on from the file, if there is one, to the last step, and save in the background."""
        step = 0
        if path.exists():
            step = checkpoints.restore(checkpoints.load(path), self.pieces)["step"]
        while step < STEPS:
            self.step()
            step += 1
            if step % EVERY == 0:
                checkpoints.save(self.pieces | {"step": step}, path, background=True)
            after_step()
        job = checkpoints.save(self.pieces | {"step": step}, path, background=True)
        job.result()


def live(path, choose):
    """Train in a child process and kill it some steps later; return the signal that ended it."""
    reading, writing = os.pipe()

    def train():
        os.close(reading)
        torch.manual_seed(choose.randrange(1000))  # a new process has other random numbers
        random.seed(choose.random())
        Run().train(path, lambda: os.write(writing, b"."))

    child = fork(train)  # an error in it ends it, with its traceback
    os.close(writing)
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        for _ in range(choose.randrange(4, 16)):
            pipe.read(1)
        time.sleep(choose.uniform(0, 0.02))
        os.kill(child, signal.SIGKILL)
    return os.WTERMSIG(os.waitpid(child, 0)[1])


def end_of(path):
    """What a run that goes on from a file, or from the start, ends with."""
    run = Run()
    run.train(path, lambda: None)
    return checkpoints.load(path)


@needs_linux
def test_a_run_that_is_killed_while_it_saves_in_the_background_ends_equal(
    tmp_path, record_property
):
    path, choose, caught = tmp_path / "run.pt", random.Random(7), 0
    for _ in range(KILLS):
        assert live(path, choose) == signal.SIGKILL, "the run ended before all kills: more STEPS"
        caught += (tmp_path / "run.pt.tmp").exists()
    steps = checkpoints.load(path)["step"]
    killed, whole = end_of(path), end_of(tmp_path / "whole.pt")
    assert same(killed, whole)
    assert caught > KILLS / 20, "no kill came in the middle of a save"
    assert 0 < steps < STEPS
    record_property("fault", ["SIGKILL of a run that saves in the background", {"the same": KILLS}])


def test_the_comparison_notices_a_run_that_lost_its_random_state(tmp_path, monkeypatch):
    whole = end_of(tmp_path / "whole.pt")
    monkeypatch.setattr(checkpoints, "_set_random_states", lambda states: None)
    assert live(tmp_path / "run.pt", random.Random(7)) == signal.SIGKILL
    assert not same(end_of(tmp_path / "run.pt"), whole)
