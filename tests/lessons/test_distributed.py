"""The program that lesson 09 starts with torchrun: started once with two processes, and called in this one."""

import importlib
import json
import re
import shutil
import sys
from pathlib import Path

import psutil
import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from notebook_tools import ROOT, read, tags
from torch.distributed.device_mesh import DeviceMesh

import helper

sys.path.append(str(ROOT / "notebooks"))
sharded_run = importlib.import_module("09_sharded_run")
SEED = 3
# Of PyTorch 2.10: its own writer asks for what it has deprecated.
OLD_WRITER = pytest.mark.filterwarnings(
    "ignore:TypedStorage is deprecated:UserWarning:torch.distributed.checkpoint.filesystem"
)
ALONE = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
SHAPES = {
    name: tuple(tensor.shape) for name, tensor in sharded_run.new_model(SEED).state_dict().items()
}


@pytest.fixture(scope="module")
def launch(tmp_path_factory):
    """The first launch of the lesson: its folder, and what torchrun said."""
    folder = tmp_path_factory.mktemp("sharded_run")
    tasks = ("replicated", "sharded", "timed", "killed")
    return folder, helper.torchrun(sharded_run.__file__, 2, folder, SEED, *tasks, check=False)


@pytest.fixture
def folder(launch):
    return launch[0]


@pytest.fixture
def mesh():
    """A world of one rank, in this process."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield DeviceMesh("cpu", [0])
    dist.destroy_process_group()


def whole(folder):
    return torch.load(folder / "end.pth")["model"]


def loaded(step):
    state = sharded_run.new_model(SEED + 1).state_dict()
    dcp.load({"model": state}, checkpoint_id=step)
    return state


def test_rank_1_is_killed_and_nobody_is_left_behind(launch):
    folder, torchrun = launch
    assert torchrun.returncode == 1 and "SIGKILL" in torchrun.stderr
    assert not [
        process for process in psutil.process_iter() if str(folder) in " ".join(arguments(process))
    ]
    unfinished = folder / "killed" / "step_000020.tmp"
    assert not (unfinished / ".metadata").exists()
    part, all_of_it = (
        path.stat().st_size
        for path in (unfinished / "__1_0.distcp", folder / "step_000020/__1_0.distcp")
    )
    assert 0.3 < part / all_of_it < 0.7
    assert sharded_run.latest_complete(folder / "killed").name == "step_000010"


def arguments(process):
    try:
        return process.cmdline()
    except psutil.Error:  # it has ended by now
        return []


def test_with_ddp_both_ranks_hold_everything_and_load_what_rank_0_saved(folder):
    facts = json.loads((folder / "replicated.json").read_text())
    saved = torch.load(folder / "replicated.pth")
    assert list(saved) == list(SHAPES)
    for rank in facts:
        assert rank == {"keys": [f"module.{name}" for name in saved], "numbers": 311, "equal": True}


@ALONE
def test_a_folder_of_two_ranks_is_what_they_held_and_loads_into_one(folder):
    held = json.loads((folder / "sharded.json").read_text())
    for name, (_, pieces) in sharded_run.rows_of(folder / "step_000020").items():
        assert [rows[name][0] for rows in held][: len(pieces)] == [rows for _, _, rows in pieces]
    assert sharded_run.difference(loaded(folder / "step_000020"), whole(folder)) == 0
    assert sharded_run.difference(loaded(folder / "step_000010"), whole(folder)) > 0
    # The same training as with DDP, kept in another way.
    assert sharded_run.difference(torch.load(folder / "replicated.pth"), whole(folder)) < 1e-4


@ALONE
def test_a_changed_byte_makes_the_comparison_fail(folder, tmp_path):
    step = shutil.copytree(folder / "step_000020", tmp_path / "step")
    content = bytearray((step / "__1_0.distcp").read_bytes())
    place = content.find(whole(folder)["0.weight"][5:].numpy().tobytes())
    assert place > 0
    content[place] ^= 1  # the last bit of one weight
    (step / "__1_0.distcp").write_bytes(content)
    assert 0 < sharded_run.difference(loaded(step), whole(folder)) < 1e-6


def test_times_and_bytes_are_noted_for_each_rank(folder):
    for rank in json.loads((folder / "timed_2.json").read_text()):
        assert [row["MB"] for row in rank] == [1, 4, 16]
        for row in rank:
            assert row["seconds"] > 0 and row["MB"] * 5e5 <= row["bytes"] < row["MB"] * 5e5 + 1e4


@OLD_WRITER
def test_one_rank_goes_on_from_what_two_have_saved(folder, mesh):
    earlier = folder / "on_1" / "step_000020" / "left by an earlier start"
    earlier.mkdir(parents=True)
    sharded_run.resumed(folder, SEED, mesh)
    assert not earlier.exists()
    expected = torch.load(folder / "end.pth")["optimizer"]["param_groups"]
    start, end = (
        sharded_run.tensors(folder / name) for name in ("loaded_by_1.pth", "end_on_1.pth")
    )
    assert sharded_run.difference(end, sharded_run.tensors(folder / "end.pth")) < 1e-4
    assert sharded_run.difference(start, end) > 1e-4
    assert {int(tensor) for key, tensor in end.items() if key[1] == "step"} == {20}
    assert torch.load(folder / "end_on_1.pth")["optimizer"]["param_groups"] == expected
    assert sharded_run.rows_of(folder / "on_1" / "step_000020") == sharded_run.shards(SHAPES, 1)


@OLD_WRITER
def test_save_deletes_what_was_left_and_never_overwrites_a_whole_folder(tmp_path, mesh):
    step = tmp_path / "step_000001"
    left = step.with_name("step_000001.tmp") / "__7_0.distcp"
    left.parent.mkdir()
    left.write_text("left by a run of eight ranks")
    sharded_run.save({"one": torch.ones(2)}, step, mesh)
    assert sorted(path.name for path in step.iterdir()) == [".metadata", "__0_0.distcp"]
    assert not left.parent.exists()
    with pytest.raises(OSError):
        sharded_run.save({"one": torch.zeros(2)}, step, mesh)
    state = {"one": torch.full((2,), 5.0)}
    dcp.load(state, checkpoint_id=step)
    assert state["one"].tolist() == [1, 1]


def test_rows_are_dealt_out_as_fully_shard_does():
    rows = {"a": (5, 8), "b": (1,), "c": (10, 2, 3)}
    assert sharded_run.shards(rows, 4) == {
        "a": (8, [(0, 0, 2), (1, 2, 2), (2, 4, 1)]),
        "b": (1, [(0, 0, 1)]),
        "c": (2, [(0, 0, 3), (1, 3, 3), (2, 6, 3), (3, 9, 1)]),
    }


def test_a_difference_is_one_of_numbers_only():
    one = {"a": torch.tensor([1.0, 2.0])}
    assert sharded_run.difference(one, {"a": torch.tensor([1.0, 2.5])}) == 0.5
    for other in ({}, {"b": one["a"]}, {"a": one["a"][:1]}, {"a": one["a"].double()}):
        with pytest.raises(ValueError, match="keys, shapes or dtypes"):
            sharded_run.difference(one, other)


def test_the_latest_folder_is_the_last_one_with_a_name(tmp_path):
    assert sharded_run.latest_complete(tmp_path) is None
    for name in ("step_000009", "step_000010", "step_000100.tmp", "step_99", "notes"):
        (tmp_path / name).mkdir()
    assert sharded_run.latest_complete(str(tmp_path)) == tmp_path / "step_000010"


@pytest.mark.parametrize(
    "given",
    [[], ["folder", "1"], ["folder", "one", "sharded"], ["folder", "1", "sharded", "shared"]],
)
def test_wrong_arguments_give_one_clear_error_before_anything_starts(given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        SystemExit,
        match=r"^The arguments are FOLDER SEED TASK .*: replicated, sharded, killed, resumed",
    ):
        sharded_run.main(given)
    assert not dist.is_initialized() and not list(tmp_path.iterdir())


def test_the_code_that_the_lesson_quotes_is_in_the_program():
    program = Path(sharded_run.__file__).read_text(encoding="utf-8")
    program = "\n".join(line.strip() for line in program.splitlines())
    cells = read(ROOT / "notebooks" / "09_distributed_checkpoints.ipynb").cells
    text = [
        each.source
        for each in cells
        if each.cell_type == "markdown" and "solution" not in tags(each)
    ]
    quoted = re.findall(r"```python\n(.*?)```", "\n".join(text), re.DOTALL)
    assert len(quoted) >= 5
    for block in quoted:
        lines = "\n".join(line.strip() for line in block.splitlines())
        assert lines in program, block
