"""A training run on several ranks that continues from its newest checkpoint. Lesson 15 starts it:

torchrun --nproc-per-node 2 15_training.py FOLDER SEED STEPS             # saves every 10 steps
torchrun --nproc-per-node 2 15_training.py FOLDER SEED STEPS killed      # rank 1 dies in the last save
torchrun --nproc-per-node 2 15_training.py FOLDER SEED STEPS background  # saves while it trains
"""

import os
import shutil
import signal
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.checkpoint.stateful import Stateful
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

sys.path.append(str(Path(__file__).resolve().parent.parent))
import fc_model
import helper


class AppState(Stateful):
    def __init__(self, model, optimizer):
        self.model, self.optimizer, self.step = model, optimizer, 0

    def state_dict(self):
        weights, averages = get_state_dict(self.model, self.optimizer)
        return {"model": weights, "optimizer": averages, "step": self.step}

    def load_state_dict(self, state):
        parts = {"model_state_dict": state["model"], "optim_state_dict": state["optimizer"]}
        set_state_dict(self.model, self.optimizer, **parts)
        self.step = state["step"]


def save_step(app, folder):
    dcp.save({"app": app}, checkpoint_id=folder / "unfinished")  # every rank calls it
    finish(folder, app.step)


def finish(folder, step):
    new, named, old = folder / "unfinished", folder / f"step-{step:06}", folder / "replaced"
    if dist.get_rank() == 0:
        if named.exists():  # this step was saved before
            shutil.rmtree(old, ignore_errors=True)
            os.rename(named, old)
        os.rename(new, named)
        shutil.rmtree(old, ignore_errors=True)
    dist.barrier()  # wait for rank 0


def load_newest(app, folder):
    steps = sorted(folder.glob("step-*"))
    if steps:
        dcp.load({"app": app}, checkpoint_id=steps[-1])


def start_saving(app, folder, group):
    unfinished = folder / "unfinished"
    future = dcp.async_save({"app": app}, checkpoint_id=unfinished, process_group=group)
    return future, app.step


def end_saving(pending, folder):
    future, step = pending
    future.result()  # waits for the thread, and raises its error
    finish(folder, step)


def train(app, folder, steps, mode=""):
    rank, ranks = dist.get_rank(), dist.get_world_size()
    images, labels = helper.fashion_mnist(train=True)
    group, pending = dist.new_group(backend="gloo"), None  # for saves in the background
    while app.step < steps:
        batch = slice(64 * app.step + rank, 64 * (app.step + 1), ranks)  # of 64 images, a share
        app.optimizer.zero_grad()
        loss = nn.functional.nll_loss(app.model(images[batch].flatten(1) / 255), labels[batch])
        loss.backward()
        app.optimizer.step()
        app.step += 1
        if app.step % 10 == 0:
            if mode == "killed" and app.step == steps and rank == 1:
                die_while_saving(folder)
            if mode == "background":
                if pending:
                    end_saving(pending, folder)
                pending = start_saving(app, folder, group)
            else:
                save_step(app, folder)
                if rank == 0:
                    print("saved step", app.step, flush=True)
    if pending:
        end_saving(pending, folder)


def die_while_saving(folder):
    """Let this process die before it writes its first tensor, when rank 0 has written its whole file."""
    steps = sorted(folder.glob("step-*"))
    whole = (steps[-1] / "__0_0.distcp").stat().st_size if steps else 1  # each step has as much

    def resolve_data(planner, item):  # DCP calls it for each tensor
        file = folder / "unfinished" / "__0_0.distcp"
        while not (file.exists() and file.stat().st_size >= whole):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGKILL)

    dcp.DefaultSavePlanner.resolve_data = resolve_data


def main(folder, seed, steps, mode=""):
    dist.init_process_group("gloo")
    torch.manual_seed(int(seed))
    model = fc_model.Network(784, 10, [512, 256, 128])
    fully_shard(model, mesh=init_device_mesh("cpu", (dist.get_world_size(),)))
    app = AppState(model, torch.optim.Adam(model.parameters(), lr=0.001))
    load_newest(app, Path(folder))
    if dist.get_rank() == 0:
        print("starts at step", app.step, flush=True)
    train(app, Path(folder), int(steps), mode)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
