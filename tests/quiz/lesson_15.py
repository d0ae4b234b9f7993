"""Lesson 15: the answers to its questions, computed."""

import contextlib
import datetime
import tempfile
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp


@contextlib.contextmanager
def quiet():
    """dcp warns that this is a single process, and of PyTorch's own old storages."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@quiet()
def a_load_inside_except_exception():
    printed, ended = [], False
    with tempfile.TemporaryDirectory() as folder:
        dcp.save({"step": 20}, checkpoint_id=folder)
        (Path(folder) / ".metadata").unlink()
        try:
            try:
                dcp.load({"step": 0}, checkpoint_id=folder)
                printed.append("loaded")
            except Exception:
                printed.append("not loaded")
            printed.append("training")
        except BaseException as error:
            ended = type(error) is dcp.CheckpointException
    return {
        "`loaded`, then `training`": printed == ["loaded", "training"],
        "`not loaded`, then `training`": printed == ["not loaded", "training"],
        "no line: an error ends it": printed == [] and ended,
        "only the line `training`": printed == ["training"],
    }


def _the_first_collective_of_dcp_save():
    """Return the files that dcp.save has written when it makes its first collective."""
    files, gather = [], dist.gather_object
    with tempfile.TemporaryDirectory() as name:

        def watched(*args, **kwargs):
            files.append(list(Path(name).glob("step/*.distcp")))
            return gather(*args, **kwargs)

        store = f"file://{name}/store"
        dist.init_process_group("gloo", init_method=store, rank=0, world_size=1)
        try:
            with mock.patch.object(dist, "gather_object", watched):
                dcp.save({"weight": torch.ones(4)}, checkpoint_id=f"{name}/step")
        finally:
            dist.destroy_process_group()
    return files[0]


@quiet()
def only_rank_0_calls_dcp_save():
    limit = 0.3
    written = _the_first_collective_of_dcp_save()
    seconds, error = _a_collective_on_one_of_two_ranks(limit)
    returned = error is None or len(written) > 0
    waited = not returned and seconds >= limit
    return {
        "It writes its own rows, and goes on": returned,
        "It waits for rank 1, up to a time limit": waited,
        "It writes all the rows, and goes on": returned,
        "It stops at once, with an error": error is not None and seconds < limit,
    }


def _a_collective_on_one_of_two_ranks(limit):
    """Two ranks in two threads: rank 0 gathers, rank 1 never does."""
    store, wait = dist.HashStore(), datetime.timedelta(seconds=limit)
    with ThreadPoolExecutor(2) as pool:
        groups = list(pool.map(lambda r: dist.ProcessGroupGloo(store, r, 2, wait), range(2)))
    start, error, one = time.perf_counter(), None, torch.ones(1)
    options = dist.GatherOptions()
    options.rootRank = 0
    try:
        groups[0].gather([[one.clone(), one.clone()]], [one], options).wait()
    except RuntimeError as caught:
        error = caught
    return time.perf_counter() - start, error


@quiet()
def a_save_in_the_background_fails():
    printed, futures = [], []
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "blocked"
        path.write_text("a file in place of a folder")
        for step in (10, 20):
            try:
                futures.append(dcp.async_save({"step": step}, checkpoint_id=path))
                printed.append(f"saved {step}")
            except BaseException:
                printed.append(f"failed {step}")
        for future in futures:
            with contextlib.suppress(BaseException):
                future.result()
    return {
        "`saved 10`, `saved 20`": printed == ["saved 10", "saved 20"],
        "`saved 10`, `failed 20`": printed == ["saved 10", "failed 20"],
        "`failed 10`, `failed 20`": printed == ["failed 10", "failed 20"],
        "`failed 10`, `saved 20`": printed == ["failed 10", "saved 20"],
    }


class App:
    def state_dict(self):
        return {"step": 0}

    def load_state_dict(self, state):
        self.step, self.rate = state["step"], state.get("rate")


@quiet()
def what_state_dict_does_not_offer():
    app = App()
    with tempfile.TemporaryDirectory() as folder:
        dcp.save({"app": {"step": 20, "rate": 0.1}}, checkpoint_id=folder)
        dcp.load({"app": app}, checkpoint_id=folder)
    printed = f"{app.step} {app.rate}"
    lines = ("0 None", "0 0.1", "20 0.1", "20 None")
    return {f"`{line}`": printed == line for line in lines}


class Hostile:
    """Pickled, this prints, and then becomes what was pickled before."""

    def __init__(self, pickled):
        self.pickled = pickled

    def __reduce__(self):
        return eval, (f"print('hello') or __import__('pickle').loads({self.pickled!r})",)


KEYS = [
    a_load_inside_except_exception,
    only_rank_0_calls_dcp_save,
    a_save_in_the_background_fails,
    what_state_dict_does_not_offer,
]
