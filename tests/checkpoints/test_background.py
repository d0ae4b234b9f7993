"""background=True: the state is taken at once, written meanwhile, and no error is lost."""

import errno
import os
import subprocess
import threading
import time

import pytest
import torch
from checkpoint_tools import end_of, equal_weights, fork, needs_posix, run_python, same
from torch import nn, optim

from checkpoints import CheckpointError, load, restore, save

FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def gate(monkeypatch):
    """Until it opens, no save gets its file to the disk."""
    opened, fsync = threading.Event(), os.fsync

    def wait(number):
        assert opened.wait(30)
        fsync(number)

    monkeypatch.setattr(os, "fsync", wait)
    yield opened
    opened.set()


@pytest.fixture
def full_disk(monkeypatch):
    def fail(number):
        raise FULL

    monkeypatch.setattr(os, "fsync", fail)
    return monkeypatch.undo


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(self.first(x))


def make_run(seed):
    torch.manual_seed(seed)
    model = Tied()
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    scheduler = optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    return {"model": model, "optimizer": optimizer, "scheduler": scheduler}


def train(run):
    for _ in range(2):
        run["optimizer"].zero_grad()
        run["model"](torch.ones(2, 3)).sum().backward()
        run["optimizer"].step()
        run["scheduler"].step()


def test_training_after_the_call_does_not_leak_in(path, gate):
    run, losses, generator = make_run(0), [1.0], torch.Generator().manual_seed(1)
    values = torch.zeros(3)
    train(run)
    state = run | {"generator": generator, "losses": losses, "values": values}
    job = save(state, path, background=True)
    random_state = torch.get_rng_state()
    train(run)
    losses.append(2.0)
    values.add_(1)
    torch.rand(5, generator=generator)
    assert not path.exists()
    gate.set()
    assert job.result() is None
    saved, other = load(path), make_run(1)
    restore(saved, other | {"generator": torch.Generator()})
    assert same(torch.get_rng_state(), random_state)
    wanted = make_run(0)
    train(wanted)
    for name in wanted:
        assert same(saved[name], wanted[name].state_dict()), name
    assert saved["losses"] == [1.0] and saved["values"].tolist() == [0, 0, 0]
    assert same(saved["generator"], torch.Generator().manual_seed(1).get_state())
    assert not equal_weights(run["model"], other["model"])


def test_ties_are_kept_in_the_copy(path):
    run = make_run(0)
    save(run, path.with_name("plain.pt"))
    save(run, path, background=True).result()
    saved = load(path)["model"]
    assert saved["first.weight"].data_ptr() == saved["second.weight"].data_ptr()
    assert path.stat().st_size == path.with_name("plain.pt").stat().st_size
    assert saved._metadata == run["model"].state_dict()._metadata


def test_the_next_save_waits(path, gate):
    job, done = save({"epoch": 1}, path, background=True), []

    def save_again():
        save({"epoch": 2}, path)
        done.append(load(path)["epoch"])

    thread = threading.Thread(target=save_again)
    thread.start()
    time.sleep(0.1)
    assert not done and not path.exists() and thread.is_alive()
    gate.set()
    thread.join()
    job.result()
    assert done == [2] and load(path)["epoch"] == 2 and os.listdir(path.parent) == [path.name]


def test_what_cannot_be_saved_is_said_at_once(path):
    with pytest.raises(CheckpointError, match=r"^.*not saved: loss is a"):
        save({"loss": object()}, path, background=True)
    save({"epoch": 1}, path)


def test_a_number_that_is_not_finite_is_said_by_the_job_or_at_once(path):
    model = nn.Linear(2, 2)
    model.bias.data[0] = float("nan")
    with pytest.raises(
        CheckpointError, match=r"not saved: model.bias holds a number that is not finite"
    ):
        save({"model": model}, path, background=True).result()
    assert os.listdir(path.parent) == []


def test_an_error_is_raised_by_result_each_time_and_not_by_the_next_save(path, full_disk):
    job = save({"epoch": 1}, path, background=True)
    for _ in range(2):
        with pytest.raises(OSError) as caught:
            job.result()
        assert caught.value is FULL
    full_disk()
    save({"epoch": 2}, path)
    assert load(path)["epoch"] == 2


@pytest.mark.parametrize("background", [False, True])
def test_an_error_that_nobody_saw_is_raised_once_by_the_next_save_which_saves_nothing(
    background, path, full_disk
):
    save({"epoch": 1}, path, background=True).thread.join()
    full_disk()
    with pytest.raises(OSError) as caught:
        save({"epoch": 2}, path, background=background)
    assert caught.value is FULL and os.listdir(path.parent) == []
    job = save({"epoch": 3}, path, background=background)
    assert job is None or job.result() is None
    assert load(path)["epoch"] == 3


def test_a_job_that_went_well_is_silent_also_when_nobody_asks(path):
    save({"epoch": 1}, path, background=True)
    save({"epoch": 2}, path, background=True)
    save({"epoch": 3}, path)
    assert load(path)["epoch"] == 3


@needs_posix
def test_a_fork_meanwhile_does_not_hang_the_child(path, gate):
    job = save({"epoch": 1}, path, background=True)

    def child():
        os.fsync = lambda number: None
        save({"epoch": 2}, path.with_name("child.pt"))
        save({"epoch": 3}, path.with_name("child.pt"), background=True).result()
        assert load(path.with_name("child.pt"))["epoch"] == 3

    assert end_of(fork(child), seconds=20) == 0
    gate.set()
    job.result()
    assert load(path)["epoch"] == 1 and load(path.with_name("child.pt"))["epoch"] == 3


SAVE_AND_END = """
import os, sys, time
import torch, checkpoints
fsync = os.fsync
def slow(number):
    time.sleep(1)
    if sys.argv[2] == "fails":
        raise OSError(28, "No space left on device")
    fsync(number)
os.fsync = slow
checkpoints.save({"values": torch.ones(1000)}, sys.argv[1], background=True)
print(os.path.exists(sys.argv[1]))
"""


@pytest.mark.parametrize("how", ["works", "fails"])
def test_the_end_of_a_program_waits_for_the_file_and_prints_an_error_nobody_saw(how, path):
    program = run_python(SAVE_AND_END, path, how)
    assert isinstance(program, subprocess.CompletedProcess) and program.stdout == "False\n"
    if how == "works":
        assert program.returncode == 0 and program.stderr == ""
        assert load(path)["values"].sum() == 1000
    else:
        assert "No space left on device" in program.stderr and not path.exists()
    assert [name for name in os.listdir(path.parent) if name != path.name] == []
