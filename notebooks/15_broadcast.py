"""Rank 0 reads a file, and all ranks get their rows. Lesson 15 starts it:

torchrun --nproc-per-node 2 15_broadcast.py FOLDER
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

sys.path.append(str(Path(__file__).resolve().parent.parent))
import fc_model
import helper

dist.init_process_group("gloo")
rank = dist.get_rank()

with torch.device("meta"):  # shapes without numbers
    model = fc_model.Network(784, 10, [512, 256, 128])
mesh = init_device_mesh("cpu", (dist.get_world_size(),))
fully_shard(model, mesh=mesh)
model.to_empty(device="cpu")  # memory for the rows of this rank

weights = torch.load(helper.trained_network(), map_location="cpu") if rank == 0 else {}
options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
set_model_state_dict(model, weights, options=options)

held = sum(parameter.to_local().numel() for parameter in model.parameters())
sys.stdout.write(f"rank {rank} read {len(weights)} tensors, and holds {held:,} numbers\n")
dcp.save({"model": model.state_dict()}, checkpoint_id=sys.argv[1])
dist.destroy_process_group()
