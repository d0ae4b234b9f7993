"""The program that lesson 04 starts: it kills in the middle of a save, and ends."""

import subprocess
import sys
from pathlib import Path

import pytest

from fc_model import CheckpointError, load_checkpoint

PROGRAM = Path(__file__).resolve().parents[2] / "notebooks" / "04_kill_while_saving.py"


def run(*arguments):
    return subprocess.run(
        [sys.executable, PROGRAM, *arguments],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=60,
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "killed.pth"


def test_torch_save_leaves_a_part_of_a_file(path):
    program = run("torch.save", path)
    assert (program.returncode, program.stdout, program.stderr) == (0, "", "")
    with pytest.raises(CheckpointError, match=r"killed.pth: damaged, or cut short"):
        load_checkpoint(path)


def test_save_checkpoint_leaves_the_old_file_and_a_part_of_the_new_one(path):
    program = run("save_checkpoint", path)
    assert (program.returncode, program.stdout, program.stderr) == (0, "", "")
    assert load_checkpoint(path).output.in_features == 1024
    assert [file.name for file in path.parent.iterdir() if file != path] in ([], ["killed.pth.tmp"])


def test_another_way_of_saving_is_refused(path):
    program = run("pickle.dump", path)
    assert (
        program.returncode == 1
        and "torch.save or save_checkpoint" in program.stderr
        and not path.exists()
    )
