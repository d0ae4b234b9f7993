"""Train a network on several ranks, each of which holds a part of the rows. Lesson 14 starts it on 2, 3 and 4 ranks:

    torchrun --nproc-per-node 2 14_sharded_run.py FOLDER SEED start
    torchrun --nproc-per-node 3 14_sharded_run.py FOLDER SEED resume

`start` trains 30 steps, and saves after 20 steps and after 30, into FOLDER. `resume` loads what was saved after
20 steps, saves what it has loaded, trains the last ten steps, and saves again: on three ranks, into FOLDER/on-3.
"""

import json
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

sys.path.append(str(Path(__file__).resolve().parent.parent))
import fc_model


def build(seed, mesh):
    torch.manual_seed(seed)
    model = fc_model.Network(784, 10, [512, 256, 128], drop_p=0.0)
    fully_shard(model, mesh=mesh)  # from here on, each rank holds a part of the network
    return model, torch.optim.Adam(model.parameters(), lr=0.002)


def train(model, optimizer, steps, data):
    rank, ranks = dist.get_rank(), dist.get_world_size()
    losses = []
    for step in steps:
        images, labels = data["images"][step], data["labels"][step]
        optimizer.zero_grad()
        loss = nn.functional.nll_loss(model(images[rank::ranks]), labels[rank::ranks])
        loss.backward()
        optimizer.step()
        dist.all_reduce(loss)  # replaces loss by the sum over the ranks
        losses.append(loss.item() / ranks)
    return losses


def save(model, optimizer, step, path):
    weights, optimizer_state = get_state_dict(model, optimizer)
    state = {"model": weights, "optimizer": optimizer_state, "step": step}
    dcp.save(state, checkpoint_id=path)


def load(model, optimizer, path):
    weights, optimizer_state = get_state_dict(model, optimizer)
    state = {"model": weights, "optimizer": optimizer_state, "step": 0}
    dcp.load(state, checkpoint_id=path)
    set_state_dict(
        model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"]
    )
    return state["step"]


def write_down(losses, model, target):
    """Write what the lesson looks at: the losses, and what this rank holds of the network."""
    rank, weight = dist.get_rank(), model.output.weight
    shapes = f"whole {tuple(weight.shape)}, here {tuple(weight.to_local().shape)}"
    (target / f"rank-{rank}.txt").write_text(shapes)
    if rank == 0:
        torch.save(model.state_dict(), target / "rank-0.pth")
        (target / "losses.json").write_text(json.dumps(losses))


def run(task, seed, data, folder, target):
    dist.init_process_group("gloo")  # the ranks find each other
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))  # the ranks that share the work
    model, optimizer = build(seed, mesh)
    losses = []
    if task == "start":
        losses += train(model, optimizer, range(20), data)
        step = 20
    else:
        step = load(model, optimizer, folder / "step-20")
    save(model, optimizer, step, target / "step-20")
    losses += train(model, optimizer, range(step, 30), data)
    save(model, optimizer, 30, target / "step-30")
    write_down(losses, model, target)
    dist.destroy_process_group()


def main():
    folder, seed, task = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    target = folder if task == "start" else folder / f"on-{os.environ['WORLD_SIZE']}"
    run(task, seed, torch.load(folder / "data.pth"), folder, target)


if __name__ == "__main__":
    main()
