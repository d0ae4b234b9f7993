"""Rank 1 leaves out a call that rank 0 makes. Lesson 15 starts it:

torchrun --nproc-per-node 2 15_waiting.py FOLDER
"""

import sys
import textwrap
import time
import traceback
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp


def only_rank_0_saves(group):
    rank = dist.get_rank()
    time.sleep(rank / 2)  # rank 1 comes later
    try:
        if rank == 0:  # the fault
            state = {"weight": torch.ones(1000)}
            dcp.save(state, checkpoint_id=path, process_group=group)  # <- rank 0 is here
        dist.barrier(group)  # <- rank 1 is here
    except RuntimeError as error:
        report(f"rank-{rank}", error)


def report(name, error):
    """Write a line of this program and its error to a file, without PyTorch's own file at the error's start."""
    stopped = traceback.extract_tb(error.__traceback__)[0].line  # where the traceback begins
    said = f"{type(error).__name__}: {str(error).rpartition('] ')[2]}"
    file = path / f"{dist.get_debug_level().name}-{name}.txt"
    file.write_text(f"{stopped}\n{textwrap.fill(said, 95)}", encoding="utf-8")


dist.init_process_group("gloo")
path = Path(sys.argv[1])
path.mkdir(exist_ok=True)
only_rank_0_saves(dist.new_group(timeout=timedelta(seconds=2)))

dist.barrier()
dist.set_debug_level(dist.DebugLevel.DETAIL)  # as TORCH_DISTRIBUTED_DEBUG=DETAIL does
only_rank_0_saves(dist.new_group(timeout=timedelta(seconds=2)))

dist.destroy_process_group()
