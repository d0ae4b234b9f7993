"""The capstone's marks: the reference gets all, each wrong version loses what it deserves."""

import os
import subprocess
import sys
import time

import capstone
import pytest
from notebook_tools import ROOT, read, solve
from wrong_files import BARE, REFERENCE, WRONG

LOST_BY_TORCH_SAVE = """
    saved on a graphics card, a generator, a piece that the file lacks, a piece that only the file has,
    another size, one layer more, SGD's state for Adam, fewer parameters, another scheduler,
    Ctrl-C in the middle, a NumPy number, a Path, torch's numbers, Python's numbers, NumPy's numbers,
    a generator's numbers, two runs from one load, killed 10 times, the old file on a full disk,
    the power fails after a save, 100 flipped bits, the error names the file
"""


# `make torture` plays all; here are those that people write most.
full = pytest.mark.skipif(os.environ.get("TORTURE") != "full", reason="make torture plays it")


def lost(path, step=None):
    """The names of the cases that a file loses."""
    return [key[-1] for key, reason in capstone.played(path, step).items() if reason]


@pytest.fixture
def mine(tmp_path):
    return tmp_path / "mine.py"


def spoiled(replacements):
    text = REFERENCE.read_text(encoding="utf-8")
    for old, new in replacements:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def test_there_are_forty_cases_with_names_of_their_own():
    assert len(capstone.CASES) == 40 == len({key[-1] for key in capstone.CASES})


def test_the_reference_and_checkpoints_py_get_all_marks():
    tables = capstone.all_played({"ours": REFERENCE, "theirs": capstone.OTHERS["checkpoints.py"]})
    assert [capstone.score(reasons) for reasons in tables.values()] == ["40 of 40"] * 2
    assert len([line for line in REFERENCE.read_text().splitlines() if line.strip()]) < 100


def test_plain_torch_save_loses_what_the_lesson_says():
    assert lost(BARE) == [" ".join(each.split()) for each in LOST_BY_TORCH_SAVE.split(",")]


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=[full] if i >= 14 else []) for i, each in enumerate(WRONG)]
)
def test_a_wrong_version_loses_what_it_deserves(name, mine):
    replacements, deserved = WRONG[name]
    mine.write_text(spoiled(replacements), encoding="utf-8")
    reasons = capstone.played(mine)
    assert [key[-1] for key, reason in reasons.items() if reason] == deserved
    assert (capstone.ENDLESS in reasons.values()) == ("ever" in name)
    assert (capstone.DIED in reasons.values()) == ("dies" in name)


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (
            "import nothing_at_all",
            "ModuleNotFoundError: No module named 'nothing_at_all' (mine.py, line 1)",
        ),
        ("def save(:", "SyntaxError: invalid syntax (mine.py, line 1)"),
        ("save = load = 1", "mine.py has no function save"),
        ("raise SystemExit", "SystemExit: (mine.py, line 1)"),
        ("import os\nos._exit(0)", capstone.DIED),
        (
            "print('hello')\ndef save(*_): raise KeyError('a')\nload = resume = save",
            "KeyError: 'a' (mine.py, line 2)",
        ),
    ],
)
def test_a_file_that_does_not_work_says_why_at_once(program, reason, mine):
    mine.write_text(program, encoding="utf-8")
    reasons = capstone.played(mine, "it fits")
    assert set(reasons.values()) == {reason}


def test_when_the_time_is_over_the_rest_is_lost_and_nothing_goes_on(mine, monkeypatch):
    monkeypatch.setattr(capstone, "SECONDS", 2)
    mine.write_text("import time\ntime.sleep(60)\n", encoding="utf-8")
    began = time.monotonic()
    assert set(capstone.played(mine, "it fits").values()) == {capstone.NOT_REACHED}
    assert time.monotonic() - began < 10


def test_check_names_the_first_case_that_fails(mine):
    mine.write_text(spoiled(WRONG["strict=False"][0]), encoding="utf-8")
    with pytest.raises(
        AssertionError, match=r"^1 of 10 cases fail. Begin with another network / one layer"
    ):
        capstone.check(mine, "it fits")
    capstone.check(mine, "it comes back")


def test_the_sheet_counts_rows_and_ends_with_the_score(mine, monkeypatch):
    """Without playing: made-up reasons."""
    keys = [("it fits", "sizes", "a"), ("it fits", "sizes", "b"), ("it goes on", "numbers", "c")]
    table = {"mine.py": dict(zip(keys, ["", "no error", ""])), "other": dict.fromkeys(keys, "")}
    monkeypatch.setattr(capstone, "all_played", lambda paths, step: table)
    lines = capstone.sheet({}).splitlines()
    assert [line.split() for line in lines[:3]] == [
        ["mine.py", "other"],
        ["it", "fits"],
        ["sizes", "1", "of", "2", "2", "of", "2"],
    ]
    assert lines[-4:] == ["  sizes / b", "      no error", "", "score: 2 of 3"]
    monkeypatch.setattr(capstone, "MOST", 0)
    assert capstone.sheet({}).splitlines()[-3:] == ["  and 1 more reasons", "", "score: 2 of 3"]


def test_the_command_says_what_is_wrong_with_a_name_and_shows_the_sheet(mine, monkeypatch, capsys):
    monkeypatch.setattr(capstone, "OTHERS", {})
    for arguments, said in (
        ([], "Name your file: make"),
        (["no where.py"], "There is no file no where.py"),
    ):
        with pytest.raises(SystemExit, match=said):
            capstone.main(arguments)
    mine.write_text("def save(", encoding="utf-8")
    capstone.main([str(mine)])
    assert capsys.readouterr().out.endswith("\n\nscore: 0 of 40\n")


@full
def test_the_command_prints_the_sheet_beside_the_two_others(mine):
    mine.write_text("def save(", encoding="utf-8")
    command = [sys.executable, ROOT / "notebooks" / "capstone.py", mine]
    done = subprocess.run(command, capture_output=True, text=True, cwd=mine.parent)
    assert done.returncode == 0, done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "together 0 of 40 18 of 40 40 of 40" in lines and lines[-1] == "score: 0 of 40"


def test_the_stub_is_written_once_and_never_over_what_a_learner_wrote(tmp_path, monkeypatch):
    monkeypatch.delenv("LESSON_FILES", raising=False)
    monkeypatch.setattr(capstone, "ROOT", tmp_path)
    path = capstone.my_file()
    assert path == tmp_path / "my_checkpoints.py" and lost(path, "it fits")
    path.write_text("mine = 1")
    assert capstone.my_file().read_text() == "mine = 1"
    monkeypatch.setenv("LESSON_FILES", str(tmp_path))
    assert "NotImplementedError" in capstone.my_file().read_text()


def test_each_solution_of_the_lesson_leaves_to_the_next_step_what_the_lesson_says(mine):
    """The solution before a step, and how many of its ten cases pass with it: see the exercises."""
    notebook = solve(read(ROOT / "notebooks" / "17_capstone.ipynb"))
    written = [cell.source for cell in notebook.cells if "solved" in cell.metadata.get("tags", [])]
    scores = []
    for source, step in zip(written, ["it fits", "it goes on", "it survives"]):
        exec(source, {"mine": mine})
        scores.append(capstone.score(capstone.played(mine, step)))
    assert scores == ["0 of 10", "6 of 10", "5 of 10"]
