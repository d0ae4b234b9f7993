"""Two saves to one path at the same time: the file is always whole, and nobody waits for ever."""

import os
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from checkpoint_tools import end_of, fork, make_model, needs_posix, same

import checkpoints
from checkpoints import CheckpointError, load, save

pytestmark = needs_posix
BUSY = "another process or thread saves to this path now: let only one do it"


def state(i):
    """One of several states of other lengths, which tells by its numbers which one it is."""
    return {"epoch": i, "values": torch.full((500 * (i + 1),), float(i))}


def is_whole(saved):
    return same(saved["values"], state(saved["epoch"])["values"])


def save_many(i, path, count=30):
    """Save until it went well so often, whatever is refused between; return how often each was."""
    outcomes, end = Counter(), time.monotonic() + 20
    while outcomes["saved"] < count and time.monotonic() < end:
        try:
            save(state(i), path)
            outcomes["saved"] += 1
        except CheckpointError as error:
            assert str(error) == f"{path}: not saved: {BUSY}"
            outcomes["refused"] += 1
    return outcomes


def watch(path, goes_on):
    """Load all the time while the saves go on; return how often which state was there."""
    seen, end = Counter(), time.monotonic() + 40
    while goes_on() and time.monotonic() < end:
        saved = load(path)
        assert is_whole(saved)
        seen[saved["epoch"]] += 1
    return seen


def test_two_threads_and_a_reader(path):
    save(state(0), path)
    with ThreadPoolExecutor(2) as pool:
        savers = [pool.submit(save_many, i, path) for i in (1, 2)]
        seen = watch(path, lambda: not all(saver.done() for saver in savers))
    assert [saver.result()["saved"] for saver in savers] == [30, 30]
    assert len(seen) >= 2 and os.listdir(path.parent) == [path.name] and is_whole(load(path))


def test_two_processes_and_a_reader(path):
    save(state(0), path)
    folder = path.with_name("done")
    folder.mkdir()

    def child(i):
        try:
            assert save_many(i, path)["saved"] == 30
        finally:
            (folder / str(i)).touch()

    children = [fork(lambda i=i: child(i)) for i in (1, 2)]
    seen = watch(path, lambda: len(os.listdir(folder)) < 2)
    assert [end_of(child) for child in children] == [0, 0]
    assert len(seen) >= 2 and not Path(f"{path}.tmp").exists() and is_whole(load(path))


def test_a_tmp_that_goes_away_while_it_is_looked_at_does_not_matter(path, monkeypatch):
    """The other save renames its file right between two questions about it."""
    temporary, access = Path(f"{path}.tmp"), os.access

    def late(*arguments):
        if os.fspath(arguments[0]) == str(temporary):
            temporary.unlink()
        return access(*arguments)

    save(state(1), path)
    temporary.write_bytes(b"of another save")
    monkeypatch.setattr(os, "access", late)
    save(state(2), path)
    assert load(path)["epoch"] == 2


def hold(path, ready):
    """Save, and stop in the middle for ever."""

    def stop(number):
        os.write(ready, b".")
        time.sleep(60)

    os.fsync = stop
    save(state(1), path)


def test_a_second_save_is_refused_until_the_first_is_killed(path):
    save(state(0), path)
    reading, ready = os.pipe()
    child = fork(lambda: hold(path, ready))
    assert os.read(reading, 1) == b"."
    for arguments in ({}, {"background": True}):
        with pytest.raises(CheckpointError) as caught:
            job = save(state(2), path, **arguments)
            job.result()
        assert str(caught.value) == f"{path}: not saved: {BUSY}"
    assert load(path)["epoch"] == 0 and Path(f"{path}.tmp").exists()
    save(state(3), path.with_name("another.pt"))  # only this path is taken
    os.kill(child, signal.SIGKILL)
    assert end_of(child) == -signal.SIGKILL
    assert load(path)["epoch"] == 0
    save(state(2), path)
    assert load(path)["epoch"] == 2 and not Path(f"{path}.tmp").exists()
    os.close(reading)
    os.close(ready)


@pytest.mark.parametrize("third", [False, True])
def test_a_file_that_another_save_renamed_before_the_lock_is_not_touched(third, path, monkeypatch):
    """Both opened the same .tmp; the first was done before the second asked for its lock."""
    save(state(1), path)
    first = path.read_bytes()
    save(state(0), path)
    temporary = Path(f"{path}.tmp")
    temporary.write_bytes(first)
    flock = checkpoints.fcntl.flock

    def late(*arguments):
        monkeypatch.undo()
        os.replace(temporary, path)
        if third:  # and one more save has begun since
            temporary.write_bytes(b"a third save")
        return flock(*arguments)

    monkeypatch.setattr(checkpoints.fcntl, "flock", late)
    with pytest.raises(CheckpointError, match=BUSY):
        save(state(2), path)
    assert path.read_bytes() == first and load(path)["epoch"] == 1
    assert temporary.exists() is third and (not third or temporary.read_bytes() == b"a third save")


def test_a_drive_without_locks_is_saved_to(path, monkeypatch):
    def refuse(*arguments):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(checkpoints.fcntl, "flock", refuse)
    save(state(1), path)
    assert is_whole(load(path)) and os.listdir(path.parent) == [path.name]


def test_where_there_are_no_locks_a_save_works(path, monkeypatch):
    monkeypatch.setattr(checkpoints, "fcntl", None)
    save(state(1), path)
    save({"model": make_model(6, 5, 3)}, path)
    assert "model" in load(path) and os.listdir(path.parent) == [path.name]
