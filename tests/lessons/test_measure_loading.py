"""The program that lesson 11 starts: each way loads the file, and a peak that is over counts."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import fc_model

PROGRAM = Path(__file__).resolve().parents[2] / "notebooks" / "11_measure_loading.py"
program = importlib.import_module("11_measure_loading")
WAYS = ["usual", "assigned", "mapped"]


@pytest.fixture
def written(tmp_path, monkeypatch):
    """The file of a small network, which the program then builds in place of its large one."""
    monkeypatch.setattr(program, "build", lambda: fc_model.Network(8, 3, [4]))
    torch.save(program.build().state_dict(), tmp_path / "small.pth")
    return tmp_path / "small.pth"


@pytest.mark.parametrize("way", WAYS)
def test_each_way_loads_the_weights_of_the_file(way, written):
    network, saved = getattr(program, way)(written), torch.load(written)
    assert list(network.state_dict()) == list(saved)
    assert all(torch.equal(network.state_dict()[key], saved[key]) for key in saved)


@pytest.mark.parametrize("way", WAYS)
def test_a_measurement_has_three_stages_and_leaves_the_file_as_it_was(way, written):
    before = written.read_bytes()
    result = program.measure(way, written)
    assert written.read_bytes() == before
    moments = [result[stage]["seconds"] for stage in ("loaded", "read", "changed")]
    assert moments == sorted(moments) and result["curve"]
    assert result["loaded"]["peak"] <= result["read"]["peak"]


def test_memory_that_was_held_for_a_moment_counts():
    # In a new process: this one may have held more before.
    lines = ["import runpy, sys", "peak = runpy.run_path(sys.argv[1])['peak']", "before = peak()"]
    lines += ["held = b'x' * 100_000_000", "del held", "print((peak() - before) / 1e6)"]
    command = [sys.executable, "-c", "\n".join(lines), PROGRAM]
    result = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=300)
    assert 95 < float(result.stdout) < 110, result.stderr


@pytest.mark.parametrize(("way", "named"), [("usual", "none.pth"), ("copied", "copied")])
def test_a_missing_file_and_another_way_end_the_program(way, named, tmp_path):
    # Its thread that watches the memory must not keep it alive.
    command = [sys.executable, PROGRAM, way, tmp_path / "none.pth"]
    result = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60)
    assert (result.returncode, result.stdout) == (1, "") and named in result.stderr
