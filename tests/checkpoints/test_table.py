"""What people do to a checkpoint of a network, a test for each, and what then should happen."""

import copy
import os
import re
import stat

import numpy as np
import pytest
import torch
from checkpoint_tools import (
    equal_weights,
    make_model,
    needs_linux,
    needs_posix,
    printed,
    run_python,
    same,
)
from torch import nn, optim
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, TensorDataset

import checkpoints
from checkpoints import CheckpointError, restore
from fc_model import Network, load_checkpoint, save_checkpoint, train

OLD_FORMAT = {"_use_new_zipfile_serialization": False}


def run_of(model, optimizer=optim.Adam, scheduler=lambda it: lr_scheduler.StepLR(it, 2)):
    optimizer = optimizer(model.parameters(), lr=0.1)
    return {"state_dict": model, "optimizer": optimizer, "scheduler": scheduler(optimizer)}


def saved_run(path, **arguments):
    model = make_model(6, 5, 4, 3)
    run = run_of(model, **arguments)
    model(torch.ones(2, 6)).sum().backward()
    run["optimizer"].step()
    save_checkpoint(model, path, **{name: run[name] for name in ("optimizer", "scheduler")})
    return run, checkpoints.load(path)


def refused(saved, run, match):
    before = copy.deepcopy([piece.state_dict() for piece in run.values()])
    with pytest.raises(CheckpointError, match=match):
        restore(saved, run)
    assert same([piece.state_dict() for piece in run.values()], before)


@needs_posix
@pytest.mark.parametrize("kind", ["fifo", "device"])
def test_path_is_a_fifo_or_a_device(kind, model, path):
    try:
        os.mkfifo(path) if kind == "fifo" else os.mknod(
            path, stat.S_IFCHR | 0o600, os.makedev(1, 3)
        )
    except OSError:
        pytest.skip("this process may make no device")
    before = path.stat()
    with pytest.raises(CheckpointError, match="a pipe, a device or a link"):
        save_checkpoint(model, path)
    assert (path.stat().st_ino, path.stat().st_mode) == (before.st_ino, before.st_mode)
    assert os.listdir(path.parent) == [path.name]


@needs_posix
def test_file_of_mode_0600_or_write_protected(model, path):
    save_checkpoint(model, path)
    path.chmod(0o600)
    save_checkpoint(make_model(6, 5, 4, 3, seed=1), path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o400)
    with pytest.raises(PermissionError):
        save_checkpoint(model, path)
    assert equal_weights(load_checkpoint(path), make_model(6, 5, 4, 3, seed=1))


SHARDED = """
import sys
import torch, torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
import fc_model

path = sys.argv[1]
dist.init_process_group("gloo", init_method=f"file://{path}.group", rank=0, world_size=1)
model = fc_model.Network(6, 3, [5])
fc_model.save_checkpoint(model, path)
fully_shard(model, mesh=init_device_mesh("cpu", (1,)))
try:
    fc_model.save_checkpoint(model, path)
except fc_model.CheckpointError as error:
    print("refused:", error)
print("whole:", fc_model.load_checkpoint(path).output.weight.shape)
dist.destroy_process_group()
"""


def test_fully_shard_of_a_network(path):
    program = run_python(SHARDED, path)
    first, second = printed(program)
    assert first.startswith("refused: ") and second == "whole: torch.Size([3, 5])"


def test_set_crc32_options_or_numpy_types_on_the_safe_list(model, path):
    save_checkpoint(model, path)
    torch.serialization.set_crc32_options(False)
    try:
        with pytest.raises(CheckpointError, match="not saved"):
            save_checkpoint(make_model(6, 5, 4, 3, seed=1), path)
    finally:
        torch.serialization.set_crc32_options(True)
    allowed = [np._core.multiarray.scalar, np.dtype, type(np.dtype("float64"))]
    text = r"loss is a numpy.float64: write float"
    with torch.serialization.safe_globals(allowed), pytest.raises(CheckpointError, match=text):
        save_checkpoint(model, path, loss=np.float64(1))
    assert equal_weights(load_checkpoint(path), model)


def test_a_file_in_the_format_before_1_6(model, path):
    torch.save(model.state_dict(), path, **OLD_FORMAT)
    for function in (load_checkpoint, checkpoints.load):
        with pytest.raises(CheckpointError) as caught:
            function(path)
        assert re.fullmatch(
            r".*: torch.save's format .*before .*1.6: torch.load\(path\)", str(caught.value)
        )
    model.load_state_dict(torch.load(path))


@needs_linux
@pytest.mark.parametrize("error", [MemoryError(), OSError(5, "Input/output error")])
def test_memory_is_short_or_the_network_drive_fails(error, model, path, monkeypatch):
    def fail(*arguments, **more):
        raise error

    save_checkpoint(model, path)
    monkeypatch.setattr(torch, "load", fail)
    with pytest.raises(type(error)) as caught:
        load_checkpoint(path)
    assert caught.value is error
    monkeypatch.setattr(checkpoints, "open", fail, raising=False)
    with pytest.raises(type(error)) as caught:
        load_checkpoint(path)
    assert caught.value is error


def test_more_states_of_cards_in_the_file_than_cards_or_a_missing_field(path):
    run, saved = saved_run(path)
    cards = [torch.zeros(16, dtype=torch.uint8)] * 9
    saved[checkpoints.FORMAT]["random"]["cuda"] = cards
    refused(saved, run, "random states of 9 GPUs")
    del saved[checkpoints.FORMAT]["random"]["cuda"]
    for name in ("state_dict", "optimizer", "scheduler"):
        fewer = {key: value for key, value in saved.items() if key != name}
        refused(fewer, run, f"^{name} is not in the file")
    torch.save({key: value for key, value in saved.items() if key != "input_size"}, path)
    with pytest.raises(CheckpointError, match="input_size"):
        load_checkpoint(path)


def test_a_subclass_with_another_forward_or_alpha_dropout(path):
    class Squared(Network):
        def forward(self, x):
            return super().forward(x) ** 2

    with_alpha = make_model(6, 5, 3)
    with_alpha.dropout = nn.AlphaDropout(0.5)
    for model in (Squared(6, 3, [5]), with_alpha):
        with pytest.raises(CheckpointError):
            save_checkpoint(model, path)
        checkpoints.save({"model": model}, path)  # which knows any model
        path.unlink()
    assert os.listdir(path.parent) == []


PARTS = {
    "an adapter": lambda model: setattr(model.hidden_layers[0], "adapter", nn.Linear(6, 2)),
    "a Sequential head": lambda model: setattr(model, "output", nn.Sequential(nn.Linear(4, 3))),
    "an Identity": lambda model: setattr(model, "output", nn.Identity()),
    "Identity for a layer": lambda model: model.hidden_layers.append(nn.Identity()),
    "Identity for dropout": lambda model: setattr(model, "dropout", nn.Identity()),
    "int8": lambda model: setattr(
        model.output,
        "weight",
        nn.Parameter(torch.ones(3, 4, dtype=torch.int8), requires_grad=False),
    ),
    "a lazy layer": lambda model: setattr(model, "output", nn.LazyLinear(3)),
    "no layers": lambda model: setattr(model, "hidden_layers", nn.ModuleList()),
    "a part less": lambda model: delattr(model, "output"),
    "dropout less": lambda model: delattr(model, "dropout"),
    "None for a layer": lambda model: setattr(model, "output", None),
}


@pytest.mark.parametrize("name", PARTS)
def test_an_adapter_a_sequential_head_identity_int8_lazy_layers(name, path):
    model = make_model(6, 5, 4, 3)
    save_checkpoint(model, path)
    changed = make_model(6, 5, 4, 3, seed=1)
    PARTS[name](changed)
    with pytest.raises(CheckpointError):
        save_checkpoint(changed, path)
    assert equal_weights(load_checkpoint(path), model) and os.listdir(path.parent) == [path.name]


def sequential(last):
    def make(optimizer):
        parts = [lr_scheduler.ConstantLR(optimizer), last(optimizer)]
        return lr_scheduler.SequentialLR(optimizer, parts, [2])

    return make


def decay(optimizer):
    return lr_scheduler.ExponentialLR(optimizer, 0.9)


OTHERS = {
    "Adam's into AdamW": ({"optimizer": optim.Adam}, {"optimizer": optim.AdamW}),
    "LambdaLR's into MultiplicativeLR": (
        {"scheduler": lambda it: lr_scheduler.LambdaLR(it, lambda epoch: 0.9)},
        {"scheduler": lambda it: lr_scheduler.MultiplicativeLR(it, lambda epoch: 0.9)},
    ),
    "SequentialLR with other parts": (
        {"scheduler": sequential(decay)},
        {"scheduler": sequential(lr_scheduler.LinearLR)},
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_adams_state_into_adamw_lambdalr_into_multiplicativelr_sequentiallr_with_other_parts(
    name, path
):
    theirs, ours = OTHERS[name]
    run, saved = saved_run(path, **theirs)
    refused(saved, run_of(make_model(6, 5, 4, 3), **ours), " in the file, and a .* here")
    restore(saved, run)


@pytest.mark.parametrize("kind", [optim.Adagrad, optim.Rprop, optim.ASGD, optim.Adafactor])
def test_adagrad_rprop_asgd_adafactor_over_other_shapes(kind, path):
    run, saved = saved_run(path, optimizer=kind)
    other = run_of(make_model(6, 4, 5, 3), optimizer=kind)
    refused(
        saved,
        other | {"state_dict": run["state_dict"]},
        "^optimizer has parameters of other shapes in the file",
    )


def test_groups_of_an_optimizer_as_another_pytorch_wrote_them(path):
    run, saved = saved_run(path)
    group = saved["optimizer"]["param_groups"][0]
    for key in ("foreach", "fused", "capturable", "differentiable", "decoupled_weight_decay"):
        del group[key]
    group["newer"] = None
    other = run_of(make_model(6, 5, 4, 3, seed=1))
    restore(saved, other)
    for each in (run, other):
        each["optimizer"].zero_grad()
        each["state_dict"](torch.ones(2, 6)).sum().backward() if each["state_dict"].eval() else None
        each["optimizer"].step()
    assert equal_weights(other["state_dict"], run["state_dict"])


def test_own_fields_are_kept_and_given_back(model, path):
    average = optim.swa_utils.AveragedModel(model)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    save_checkpoint(model, path, classes=["a", "b", "c"], scaler=scaler, average=average)
    other = make_model(6, 5, 4, 3, seed=1)
    pieces = {
        "scaler": torch.amp.GradScaler("cpu"),
        "average": optim.swa_utils.AveragedModel(other),
    }
    rest = restore(checkpoints.load(path), pieces | {"state_dict": other})
    assert rest["classes"] == ["a", "b", "c"] and equal_weights(other, model)
    assert equal_weights(pieces["average"], average)
    assert pieces["scaler"].state_dict() == scaler.state_dict()


def test_train_with_an_empty_loader(model):
    images, labels = torch.ones(4, 6), torch.zeros(4, dtype=torch.int64)
    full = DataLoader(TensorDataset(images, labels), 2)
    empty = DataLoader(TensorDataset(images[:0], labels[:0]), 2)
    dropped = DataLoader(TensorDataset(images, labels), 8, drop_last=True)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    before = copy.deepcopy(model.state_dict())
    for loader in (empty, dropped, []):
        with pytest.raises(ValueError, match="trainloader is empty"):
            train(model, loader, full, nn.NLLLoss(), optimizer, epochs=1)
    assert same(model.state_dict(), before)
