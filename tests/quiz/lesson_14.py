"""Lesson 14: the answers to its questions, computed."""

import contextlib
import tempfile
import warnings

import torch
import torch._dynamo  # here, so that no question has to wait for it
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.state_dict import get_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.testing._internal.distributed.fake_pg import FakeStore


@contextlib.contextmanager
def quiet():
    """dcp warns that this is a single process, and of PyTorch's own old storages."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def as_rank(rank, ranks):
    """This process plays one rank of several: PyTorch's fake backend sends nothing."""
    dist.init_process_group("fake", rank=rank, world_size=ranks, store=FakeStore())
    try:
        yield init_device_mesh("cpu", (ranks,))
    finally:
        dist.destroy_process_group()


def nine_rows_for_four_ranks():
    with as_rank(3, 4) as mesh:
        net = nn.Linear(2, 9)
        fully_shard(net, mesh=mesh)
        rows = len(net.weight.to_local())
    return {"0": rows == 0, "1": rows == 1, "2": rows == 2, "3": rows == 3}


def with_adam(rate):
    model = nn.Linear(3, 2)
    return model, torch.optim.Adam(model.parameters(), lr=rate)


@quiet()
def load_without_set_state_dict():
    old, old_adam = with_adam(rate=0.002)
    old(torch.ones(1, 3)).sum().backward()
    old_adam.step()
    weights, optimizer_state = get_state_dict(old, old_adam)
    model, adam = with_adam(rate=0.1)
    with tempfile.TemporaryDirectory() as folder:
        dcp.save({"model": weights, "optimizer": optimizer_state}, checkpoint_id=folder)
        weights, optimizer_state = get_state_dict(model, adam)
        dcp.load({"model": weights, "optimizer": optimizer_state}, checkpoint_id=folder)
    same = torch.equal(model.weight, old.weight)
    averages = [each.state[layer.weight] for each, layer in ((adam, model), (old_adam, old))]
    average = torch.equal(averages[0]["exp_avg"], averages[1]["exp_avg"])
    rate = adam.param_groups[0]["lr"] == 0.002
    return {
        "Neither weights nor state": not (same or average or rate),
        "Only the weights": same and not average and not rate,
        "Weights and averages": same and average and not rate,
        "Weights, averages, rate": same and average and rate,
    }


@contextlib.contextmanager
def alone(folder):
    """A real process group of one rank."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=0, world_size=1)
    try:
        yield init_device_mesh("cpu", (1,))
    finally:
        dist.destroy_process_group()


@quiet()
def state_dict_before_fully_shard():
    trained, net, failed = nn.Linear(3, 2), nn.Linear(3, 2), False
    random = net.weight.detach().clone()
    with tempfile.TemporaryDirectory() as folder:
        dcp.save(trained.state_dict(), checkpoint_id=f"{folder}/trained")
        with alone(folder) as mesh:
            weights = net.state_dict()
            fully_shard(net, mesh=mesh)
            try:
                dcp.load(weights, checkpoint_id=f"{folder}/trained")
            except BaseException:  # dcp's CheckpointException is no Exception
                failed = True
            now = net.weight.to_local()
    return {
        "The trained ones": torch.equal(now, trained.weight),
        "The random ones": torch.equal(now, random) and not failed,
        "Only zeros": not now.any(),
        "None: `dcp.load` fails": failed,
    }


@quiet()
def load_into_an_empty_dictionary():
    state, failed = {}, False
    saved = {"weight": torch.ones(3, 2), "bias": torch.ones(3)}
    with tempfile.TemporaryDirectory() as folder:
        dcp.save(saved, checkpoint_id=folder)
        try:
            dcp.load(state, checkpoint_id=folder)
        except BaseException:  # dcp's CheckpointException is no Exception
            failed = True
    return {
        "`['weight', 'bias']`": sorted(state) == ["bias", "weight"],
        "`['folder']`": list(state) == [folder],
        "No line: an error is raised": failed,
        "`[]`": list(state) == [] and not failed,
    }


KEYS = [
    nine_rows_for_four_ranks,
    state_dict_before_fully_shard,
    load_without_set_state_dict,
    load_into_an_empty_dictionary,
]
