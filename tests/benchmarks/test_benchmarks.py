"""The benchmark of checkpoints: one small run, its figure, and what it takes for a missed goal."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "checkpoint.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("benchmark_of_checkpoints", FILE)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path])
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rows(bench):
    return bench.measure(sizes=["2 MB"], rounds=1)


def good_rows(bench):
    """Rows that meet each goal exactly."""
    rows = {}
    for work, size, contestant, column, limit in bench.GOALS:
        row = rows.get((work, size, contestant), bench.Row(work, size, contestant, 0.1, 1, 1, 0.5))
        rows[work, size, contestant] = row._replace(**{column: limit})
    return rows


def test_a_small_run_has_a_row_for_each_contestant(bench, rows):
    load = ["posts' way", "checked", "mmap", "mmap, all used", "plain read"]
    assert [row.contestant for row in rows if row.work == "load"] == load
    assert [row.contestant for row in rows if row.work == "save"] == [
        "torch.save",
        "save_checkpoint",
        "plain write",
    ]
    assert [row.contestant for row in rows if row.work == "stall"] == ["background save", "copy"]
    for row in rows:
        usual, least = bench.REFERENCES[row.work]
        assert row.size == "2 MB" and 0 < row.seconds < 5
        assert (row.times_reference == 1) == (row.contestant == usual)
        assert (row.times_plain == 1) == (row.contestant == least)
        measured = row.work == "load" and sys.platform == "linux"
        assert 0 <= row.memory < 10 if measured else row.memory is None
    assert bench.judge(rows) == []  # nothing is judged at 2 MB
    assert all(f"{row.size:8}{row.contestant} " in bench.tables(rows) for row in rows)


@pytest.mark.parametrize("measured", [True, False])
def test_draw_writes_a_picture_also_without_memory(bench, rows, tmp_path, measured):
    path = tmp_path / "build" / "figure.png"
    bench.draw(rows if measured else [row._replace(memory=None) for row in rows], path)
    assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 10_000


def test_judge_finds_each_missed_goal(bench):
    good = good_rows(bench)
    assert [verdict for _, verdict in bench.judge(good.values())] == ["met"] * 14
    for *key, column, limit in bench.GOALS:
        spoiled = good | {tuple(key): good[tuple(key)]._replace(**{column: 1.01 * limit})}
        missed = [goal for goal, verdict in bench.judge(spoiled.values()) if verdict == "missed"]
        assert len(missed) == 1 and missed[0].startswith(f"{key[0]} {key[1]}, {key[2]}: ")
        assert ("memory" in missed[0]) == (column == "memory")


@pytest.mark.parametrize(("factor", "code"), [(1, 0), (1.01, 1)])
def test_the_exit_code_tells_of_a_missed_goal(
    bench, rows, tmp_path, monkeypatch, capsys, factor, code
):
    good = [
        row._replace(times_reference=row.times_reference * factor)
        for row in good_rows(bench).values()
    ]
    monkeypatch.setattr(bench, "measure", lambda: [*rows, *good])
    monkeypatch.setattr(bench, "draw", lambda rows, path: None)
    assert bench.main(tmp_path / "figure.png") == code
    assert ("missed" in capsys.readouterr().out) == bool(code)


def test_memory_that_no_one_tells_is_said_and_not_judged(bench, rows):
    untold = [row._replace(memory=None) for row in good_rows(bench).values()]
    assert [verdict for _, verdict in bench.judge(untold)].count("not measured") == 6
    assert bench.NO_MEMORY in bench.tables(untold)
    if sys.platform == "linux":
        assert bench.NO_MEMORY not in bench.tables(rows)


def test_a_full_disk_is_said_in_one_sentence(bench, monkeypatch):
    usage = shutil.disk_usage(".")._replace(free=10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(
        SystemExit, match=r"has 1\.0 GB free, 2\.4 are needed: set TMPDIR to another folder$"
    ):
        bench.main()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_the_peak_holds_what_was_freed_and_is_forgotten(bench):
    # In a process of its own, as in the benchmark: this one has freed memory at hand, which a new object may fill.
    program = f"""
import sys
sys.path.insert(0, {str(Path(bench.__file__).parent)!r})
import checkpoint as bench
bench.forget_peak()
before = bench.memory("VmRSS")
data = b"x" * 50_000_000
del data
assert 45e6 < bench.memory("VmHWM") - before < 60e6
bench.forget_peak()
assert bench.memory("VmHWM") - before < 10e6
"""
    subprocess.run([sys.executable, "-c", program], check=True)
