"""What several processes do together. Lesson 09 starts this program with torchrun:

    torchrun --nproc-per-node 2 09_sharded_run.py FOLDER SEED replicated sharded timed killed
    torchrun --nproc-per-node 4 09_sharded_run.py FOLDER SEED resumed timed

The tasks are the functions at the end, done in the order given; each writes what it did below FOLDER. `killed` ends
badly, on purpose. In `resumed` the first 1, 2, 3 and 4 processes in turn go on from what `killed` left.
"""

import json
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
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Shard, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

STEPS = 20  # of a run; a checkpoint after each 10


# ---------------------------------------------------------------- model, data, training


def new_model(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(24, 10), nn.Tanh(), nn.Linear(10, 5), nn.Tanh(), nn.Linear(5, 1))


def new_run(model):
    """A model, its optimizer and its scheduler."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    return model, optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=STEPS)


def new_sharded_run(seed, mesh):
    """The same, each parameter cut into as many pieces as the mesh has ranks."""
    model = new_model(seed)
    fully_shard(model, mesh=mesh)
    return new_run(model)


def my_samples(seed, step, rank, ranks):
    """Of the 24 samples of a step those of one rank. The 24 depend on seed and step alone."""
    x = torch.randn(24, 24, generator=torch.Generator().manual_seed(1000 * seed + step))
    y = x.square().mean(dim=1, keepdim=True)
    return x[rank::ranks], y[rank::ranks]


def train(run, seed, steps, mesh):
    model, optimizer, scheduler = run
    for step in steps:
        x, y = my_samples(seed, step, mesh.get_local_rank(), mesh.size())
        optimizer.zero_grad()
        nn.functional.mse_loss(
            model(x), y
        ).backward()  # the mean of all ranks' gradients: they wait for each other
        optimizer.step()
        scheduler.step()


# ---------------------------------------------------------------- save, load


def state_of(run, step):
    """All that a run needs to go on. Of each tensor a rank has its own rows."""
    model, optimizer, scheduler = run
    weights, moments = get_state_dict(model, optimizer)
    state = {"model": weights, "optimizer": moments}
    return state | {"scheduler": scheduler.state_dict(), "step": step}


def save(state, folder, mesh, planner=None):
    """All ranks write into folder.tmp. When the last one is done, rank 0 gives the folder its name."""
    unfinished, group = folder.with_name(folder.name + ".tmp"), mesh.get_group()
    if dist.get_rank() == 0:
        shutil.rmtree(unfinished, ignore_errors=True)  # left by a killed run
    dist.barrier(group)
    dcp.save(state, checkpoint_id=unfinished, process_group=group, planner=planner)
    if dist.get_rank() == 0:
        os.rename(unfinished, folder)
    dist.barrier(group)


def load(run, folder, mesh):
    """Fill a new run from a folder, however many ranks wrote it; return the number of steps done."""
    model, optimizer, scheduler = run
    state = state_of(run, step=0)  # the right shapes, the wrong numbers
    dcp.load(state, checkpoint_id=folder, process_group=mesh.get_group())
    parts = {"model_state_dict": state["model"], "optim_state_dict": state["optimizer"]}
    set_state_dict(model, optimizer, **parts)
    scheduler.load_state_dict(state["scheduler"])
    return state["step"]


def latest_complete(folder):
    """The last of the folders step_000010, step_000020 …; None without one. An unfinished one has another name."""
    return max(Path(folder).glob("step_" + "[0-9]" * 6), default=None)


def export(run, path):
    """Collect all rows on rank 0, which writes them into one ordinary file."""
    whole = StateDictOptions(full_state_dict=True, cpu_offload=True)
    weights, moments = get_state_dict(*run[:2], options=whole)  # a collective: all ranks call it
    if dist.get_rank() == 0:
        torch.save({"model": weights, "optimizer": moments}, path)


def report(path, facts):
    """Write a list of what each rank has to tell, in the order of the ranks, as JSON."""
    everyone = [None] * dist.get_world_size()
    dist.all_gather_object(everyone, facts)
    if dist.get_rank() == 0:
        path.write_text(json.dumps(everyone))


class DiesHalfWay(dcp.DefaultSavePlanner):
    """A planner hands out what its rank writes, piece by piece. After half of the pieces this one kills the process."""

    def finish_plan(self, plan):
        self.left = len(plan.items) // 2
        return super().finish_plan(plan)

    def resolve_data(self, item):
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1
        return super().resolve_data(item)


# ---------------------------------------------------------------- look at what is there


def shards(shapes, ranks):
    """Deal out rows as fully_shard does, that is, as torch.chunk: rows / ranks, rounded up, until none are left.

    Turns {tensor: shape} into {tensor: (columns, [(rank, first row, rows), ...])}, without the ranks that have no rows.
    """
    found = {}
    for name, (rows, *columns) in shapes.items():
        chunks = torch.arange(rows).chunk(ranks)
        found[name] = (
            (*columns, 1)[0],
            [(rank, chunk[0].item(), len(chunk)) for rank, chunk in enumerate(chunks)],
        )
    return found


def rows_of(step, prefix="model.", suffix=""):
    """The same, read from the .metadata of a checkpoint's folder, for the tensors called prefix + name + suffix."""
    found, metadata = {}, dcp.FileSystemReader(step).read_metadata()
    for index, place in metadata.storage_data.items():
        name = index.fqn.removeprefix(prefix).removesuffix(suffix)
        if (
            index.offset and index.fqn == prefix + name + suffix
        ):  # a piece of a tensor that has rows
            chunks = metadata.state_dict_metadata[index.fqn].chunks
            chunk = next(chunk for chunk in chunks if chunk.offsets == index.offset)
            rank = int(place.relative_path.split("_")[2])  # of __1_0.distcp it is 1
            found.setdefault(name, ((*chunk.sizes, 1)[1], []))
            if chunk.sizes[0] > 0:
                found[name][1].append((rank, chunk.offsets[0], chunk.sizes[0]))
    return found


def tensors(path):
    """Weights, and the tensors of Adam, in a file of `export`."""
    state = torch.load(path)
    adam = {
        (key, part): tensor
        for key, each in state["optimizer"]["state"].items()
        for part, tensor in each.items()
    }
    return state["model"] | adam


def difference(one, other):
    """The largest difference between two dicts of tensors, 0.0 if equal; ValueError if keys or shapes differ."""
    kinds = [
        {key: (tensor.shape, tensor.dtype) for key, tensor in each.items()} for each in (one, other)
    ]
    if kinds[0] != kinds[1]:
        raise ValueError("other keys, shapes or dtypes")
    return max((one[key] - other[key]).abs().max().item() for key in one)


# ---------------------------------------------------------------- tasks


def replicated(folder, seed, mesh):
    """Each rank has the whole model. Rank 0 saves it, the others wait, then all load it."""
    model = DistributedDataParallel(new_model(seed))
    train(new_run(model), seed, range(1, STEPS + 1), mesh)
    if dist.get_rank() == 0:
        torch.save(model.module.state_dict(), folder / "replicated.pth")
    dist.barrier()  # nobody goes on before all are here
    again = new_model(seed + 1)
    again.load_state_dict(torch.load(folder / "replicated.pth"))
    equal = all(
        torch.equal(one, other) for one, other in zip(again.parameters(), model.parameters())
    )
    numbers = sum(parameter.numel() for parameter in model.parameters())
    report(
        folder / "replicated.json",
        {"keys": list(model.state_dict()), "numbers": numbers, "equal": equal},
    )


def sharded(folder, seed, mesh, planner=None):
    """Each rank has some rows of each tensor. A checkpoint after step 10, another one after step 20."""
    run = new_sharded_run(seed, mesh)
    report(
        folder / "sharded.json",
        {name: tuple(each.to_local().shape) for name, each in run[0].state_dict().items()},
    )
    train(run, seed, range(1, 11), mesh)
    save(state_of(run, 10), folder / "step_000010", mesh)
    train(run, seed, range(11, STEPS + 1), mesh)
    save(state_of(run, STEPS), folder / "step_000020", mesh, planner)
    export(run, folder / "end.pth")


def killed(folder, seed, mesh):
    """The same run in another folder. Rank 1 is killed while it saves step 20."""
    (folder / "killed").mkdir(exist_ok=True)
    sharded(folder / "killed", seed, mesh, DiesHalfWay() if dist.get_rank() == 1 else None)


def resumed(folder, seed, mesh):
    """Go on from the killed run's last complete checkpoint, on 1 rank, on 2, and so on up to all."""
    if dist.get_rank() == 0:
        for ranks in range(1, mesh.size() + 1):
            shutil.rmtree(folder / f"on_{ranks}", ignore_errors=True)  # of an earlier start
    dist.barrier()
    last = latest_complete(folder / "killed")
    for ranks in range(1, mesh.size() + 1):
        some = DeviceMesh(
            "cpu", range(ranks)
        )  # a collective: all ranks call it, also those that are not in it
        if dist.get_rank() < ranks:
            run = new_sharded_run(seed + 1, some)
            done = load(run, last, some)
            export(run, folder / f"loaded_by_{ranks}.pth")
            train(run, seed, range(done + 1, STEPS + 1), some)
            export(run, folder / f"end_on_{ranks}.pth")
            save(state_of(run, STEPS), folder / f"on_{ranks}" / "step_000020", some)
        dist.barrier()


def timed(folder, seed, mesh):
    """Save a tensor of 1, of 4 and of 16 MB. Each rank notes how long it took, and how many bytes are its own."""
    rows = []
    for size in (1, 4, 16):
        place = folder / f"timed_{mesh.size()}_{size}"
        state = {"numbers": distribute_tensor(torch.ones(250, 1000 * size), mesh, [Shard(0)])}
        dist.barrier()
        start = time.perf_counter()
        dcp.save(state, checkpoint_id=place)
        seconds = time.perf_counter() - start
        written = (place / f"__{dist.get_rank()}_0.distcp").stat().st_size
        rows.append({"MB": size, "seconds": seconds, "bytes": written})
    report(folder / f"timed_{mesh.size()}.json", rows)


TASKS = {task.__name__: task for task in (replicated, sharded, killed, resumed, timed)}


def main(arguments):
    if len(arguments) < 3 or not arguments[1].isdecimal() or not set(arguments[2:]) <= TASKS.keys():
        sys.exit(f"The arguments are FOLDER SEED TASK ..., a task is one of: {', '.join(TASKS)}.")
    dist.init_process_group("gloo")
    mesh = DeviceMesh("cpu", range(dist.get_world_size()))
    for task in arguments[2:]:
        TASKS[task](Path(arguments[0]), int(arguments[1]), mesh)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1:])
    # gloo's threads outlive destroy_process_group, and now and then abort a process that ends in the usual way.
    os._exit(0)
