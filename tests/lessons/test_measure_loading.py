"""The program that lesson 08 starts: what it prints, and that it notices what would spoil its numbers."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

PROGRAM = Path(__file__).resolve().parents[2] / "notebooks" / "08_measure_loading.py"
spec = importlib.util.spec_from_file_location("measure_loading", PROGRAM)
program = importlib.util.module_from_spec(spec)
spec.loader.exec_module(program)


def run(*arguments, **options):
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, encoding="utf-8", timeout=300, **options
    )


def test_it_prints_each_way_with_its_copies_of_the_model(tmp_path):
    (tmp_path / "thesis.txt").write_text("not the program's")
    result = run(PROGRAM, tmp_path, "2", "17", "34")
    assert (result.returncode, result.stderr) == (0, "")
    rows = json.loads(result.stdout)
    assert [row["mb"] for row in rows] == [17] * 3 + [34] * 9
    assert [row["way"] for row in rows] == program.WAYS[:3] + program.WAYS
    assert {row["size"] for row in rows} == {4 * 4 * 1024**2, 8 * 4 * 1024**2}
    copies, read_copies = [
        {row["way"]: row[name] for row in rows} for name in ("copies", "read_copies")
    ]
    assert [round(copies[way]) for way in program.WAYS] == [1, 2, 2, 2, 1, 0, 0, 1, 1]
    assert [round(read_copies[way]) for way in program.WAYS] == [1, 2, 2, 2, 1, 1, 1, 1, 1]
    assert all(row["read_seconds"] > row["seconds"] > 0 for row in rows)
    repeats = [1 if sys.platform != "linux" and row["mb"] == 17 else 2 for row in rows]
    for row, number in zip(rows, repeats):
        for name, values in row["measured"].items():
            assert len(values) == number and row[name] == min(values)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.fixture
def written(tmp_path):
    (tmp_path / "tiny").mkdir()
    for folder in (tmp_path, tmp_path / "tiny"):
        program.write(folder, 4, 8)
    return tmp_path


@pytest.mark.parametrize("way", program.WAYS)
def test_each_way_loads_what_was_written(written, way):
    model = program.load(way, written, 4, 8)
    assert program.read(model) == [(0, 0), (1, 1), (2, 2), (3, 3)]
    assert len(program.measure(way, written, 4, 8)) == 4


def test_other_weights_are_noticed(written):
    state_dict = torch.load(written / "state_dict.pt")
    state_dict["2.weight"][0, 0] = 7
    torch.save(state_dict, written / "state_dict.pt")
    with pytest.raises(RuntimeError, match="state_dict, mmap: these are not the weights"):
        program.measure("state_dict, mmap", written, 4, 8)


def test_memory_that_was_held_for_a_moment_counts():
    # In a new process: this one may have held more before.
    lines = ["import runpy, sys", "peak = runpy.run_path(sys.argv[1])['peak']", "before = peak()"]
    lines += ["held = b'x' * 100_000_000", "del held", "print((peak() - before) / 1e6)"]
    result = run("-c", "\n".join(lines), PROGRAM)
    assert 95 < float(result.stdout) < 110, result.stderr


def test_a_process_that_fails_ends_the_program_and_leaves_nothing(tmp_path):
    resource = pytest.importorskip("resource")
    too_small = (
        10_000_000,
        resource.getrlimit(resource.RLIMIT_FSIZE)[1],
    )  # no file may be larger, as on a full disk
    result = run(
        PROGRAM,
        tmp_path,
        "1",
        "17",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, too_small),
    )
    assert result.returncode == 1 and result.stdout == ""
    assert "The process of write(" in result.stderr and "ended early." in result.stderr
    assert not list(tmp_path.iterdir())
