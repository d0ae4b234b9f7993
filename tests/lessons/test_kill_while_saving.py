"""The programs of lesson 08: the run continues and stops as it says, and the judge of the kills knows a broken file."""

import importlib.util
import signal
import subprocess
import sys

import pytest
import torch
from notebook_tools import ROOT

RUN = ROOT / "notebooks" / "08_training_run.py"


def program(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "notebooks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no SIGTERM")
def test_the_run_saves_at_SIGTERM_and_continues_at_the_next_step(tmp_path):
    path = tmp_path / "run.pth"
    with subprocess.Popen(
        [sys.executable, RUN, path], stdout=subprocess.PIPE, text=True
    ) as process:
        steps = []
        for line in process.stdout:
            steps.append(int(line))
            if len(steps) == 13:
                process.send_signal(signal.SIGTERM)
    assert process.returncode == 0 and steps == list(range(1, len(steps) + 1))
    assert torch.load(path)["step"] == len(steps) < 100
    assert not (tmp_path / "run.pth.tmp").exists()
    done = subprocess.run([sys.executable, RUN, path], capture_output=True, text=True, check=True)
    assert [int(line) for line in done.stdout.split()] == list(range(len(steps) + 1, 101))
    assert torch.load(path)["step"] == 100


def test_a_part_of_a_file_is_broken_and_a_save_is_whole(tmp_path):
    kills = program("08_kill_while_saving")
    path = tmp_path / "weights.pth"
    kills.save_atomic(torch.zeros(1000), path)
    assert kills.state_of(path) == "whole" and list(tmp_path.iterdir()) == [path]
    path.write_bytes(path.read_bytes()[:2000])
    assert kills.state_of(path) == "broken"
    path.write_bytes(b"")
    assert kills.state_of(path) == "broken"
