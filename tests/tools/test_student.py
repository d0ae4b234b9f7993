"""The copy for a class: what is in it, what is not, and that its own tests find its faults."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError
from notebook_tools import NOTEBOOKS, ROOT
from test_frame import load

import helper

student = load("student")


@pytest.fixture(scope="module")
def folder():
    # Inside the project: its notebooks must still find the fc_model.py of the copy.
    (ROOT / "build" / "tests").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "build" / "tests") as name:
        student.write_copy(Path(name) / "student")
        yield Path(name) / "student"


def stored(notebook):
    """The text of a notebook (dict) as it is stored."""
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def test_the_copy_holds_what_a_class_needs_and_nothing_else(folder):
    own = {"README.md", "Makefile", "pytest.ini", "tests/test_copy.py"}
    data = {"data/README.md", "data/LICENSE", "data/trained_network.pth"}
    data |= {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "data").glob("FashionMNIST/raw/*.gz")
    }
    lessons = {
        f"notebooks/{path.name}" for path in (ROOT / "notebooks").iterdir() if path.is_file()
    }
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == own | data | lessons | set(student.FILES)
    for name in found - own - {name for name in lessons if name.endswith(".ipynb")}:
        assert (folder / name).read_bytes() == (ROOT / name).read_bytes()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_rest_of_a_notebook_is_as_it_was(path, folder):
    before, text = (
        path.read_text(encoding="utf-8"),
        (folder / "notebooks" / path.name).read_text(encoding="utf-8"),
    )
    original, copy = json.loads(before), json.loads(text)
    assert (stored(original), stored(copy)) == (before, text)
    kept = [
        cell for cell in original["cells"] if "solution" not in cell["metadata"].get("tags", [])
    ]
    assert len(kept) < len(original["cells"])
    for cell in kept:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
        if "quiz" in cell["metadata"].get("tags", []):
            cell["source"] = without_answers(cell["source"])
    assert copy == {**original, "cells": kept}


def without_answers(lines):
    """The lines of a section of questions without the folds of their answers."""
    fold = r"<details>\n<summary>Answer</summary>\n\n.*?\n\n</details>\n\n"
    text, count = re.subn(fold, "", "".join(lines), flags=re.DOTALL)
    assert count == 4
    return text.splitlines(keepends=True)


def test_hints_stay_and_solutions_go():
    metadata = [{}, {"tags": ["hint"]}, {"tags": ["solution"]}]
    cells = [{"cell_type": "markdown", "metadata": each, "source": []} for each in metadata]
    assert student.without_answers({"cells": cells})["cells"] == cells[:2]


def test_it_is_written_anew(folder):
    litter = folder / "notebooks" / "litter.txt"
    litter.touch()
    student.write_copy(folder)
    assert not litter.exists() and (folder / "notebooks" / NOTEBOOKS[0].name).exists()


def test_the_copy_passes_its_own_tests(folder, tmp_path):
    # One notebook is enough here: the others run as part of the series.
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-k",
        "not from_top_to_bottom or 00_start_here",
    ]
    command += ["-p", "no:cacheprovider", "-p", "no:xdist"]
    environment = {
        **os.environ,
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    environment.pop("PYTEST_ADDOPTS", None)
    environment["LESSON_FILES"] = str(tmp_path)
    result = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, encoding="utf-8"
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_its_makefile_names_what_is_there(folder):
    if not shutil.which("make"):
        pytest.skip("no make on this machine")
    program = subprocess.run(
        ["make", "-n", "lab", "test"], cwd=folder, capture_output=True, text=True
    )
    assert program.returncode == 0 and "-r requirements.txt -c constraints.txt" in program.stdout


# ---------------------------------------------------------------- spoiled on purpose


def answer_in_the_text(notebook):
    notebook["cells"][0]["source"].append("\n<details>\n\nx\n\n</details>")


def cell_of_a_solution(notebook):
    notebook["cells"][-1]["metadata"]["tags"] = ["solution"]


def answer_in_a_hint(notebook):
    cell = notebook["cells"][-1]
    cell["metadata"]["tags"] = ["hint"]
    cell["source"].append("\n<details>\n<summary>Solution</summary>\n\nx\n\n</details>")


def output(notebook):
    cell = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["x"]}]


def execution_count(notebook):
    next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")["execution_count"] = 1


def broken_link(notebook):
    notebook["cells"][-1]["source"].append("\n[the tests](../tests/tools/test_frame.py)")


def check_gone(notebook):
    notebook["cells"] = [
        cell for cell in notebook["cells"] if "check" not in cell["metadata"].get("tags", [])
    ]


def exercise_gone(notebook):
    notebook["cells"] = [
        cell for cell in notebook["cells"] if not {"exercise", "check"} & tags(cell)
    ]


def a_cell_that_fails(notebook):
    cell = {"cell_type": "code", "execution_count": None, "id": "x", "metadata": {}, "outputs": []}
    notebook["cells"].insert(0, {**cell, "source": ["assert 1 + 1 == 3"]})


def tags(cell):
    return set(cell["metadata"].get("tags", []))


SPOILED = {
    answer_in_the_text: "test_no_solution_is_left",
    cell_of_a_solution: "test_no_solution_is_left",
    answer_in_a_hint: "test_no_solution_is_left",
    output: "test_no_output_is_left",
    execution_count: "test_no_output_is_left",
    broken_link: "test_links_lead_to_files_of_the_copy",
    check_gone: "test_each_exercise_has_a_stub_and_a_check",
    exercise_gone: "test_each_exercise_has_a_stub_and_a_check",
    a_cell_that_fails: "test_it_runs_from_top_to_bottom_and_no_exercise_is_solved",
}


@pytest.mark.parametrize(
    ("spoil", "test"), SPOILED.items(), ids=lambda value: getattr(value, "__name__", "")
)
def test_a_spoiled_copy_fails_its_own_tests(spoil, test, folder, tmp_path):
    notebook = json.loads((folder / "notebooks" / NOTEBOOKS[0].name).read_text(encoding="utf-8"))
    spoil(notebook)
    path = tmp_path / NOTEBOOKS[0].name
    path.write_bytes(stored(notebook).encode())
    # In this process: to start one for each takes seconds.
    with pytest.raises((AssertionError, CellExecutionError)):
        getattr(load("test_copy", folder / "tests"), test)(path)


def test_a_solved_copy_fails_its_own_tests(folder, tmp_path):
    check = 'print("✅ Exercise 0.1")'
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(check, metadata={"tags": ["check"]})]
    )
    stub = nbformat.v4.new_code_cell("", metadata={"tags": ["exercise"]})
    notebook.cells[0].source += '\n# helper.exercise("0.1")'
    notebook.cells.insert(0, stub)
    path = tmp_path / NOTEBOOKS[0].name
    nbformat.write(notebook, path)
    with pytest.raises(AssertionError, match="✅"):
        load(
            "test_copy", folder / "tests"
        ).test_it_runs_from_top_to_bottom_and_no_exercise_is_solved(path)


def test_damaged_data_fail_its_own_tests(folder, tmp_path, monkeypatch):
    shutil.copytree(folder / "data", tmp_path / "data")
    monkeypatch.setattr(helper, "DATA", tmp_path / "data")
    test = load("test_copy", folder / "tests").test_the_data_are_whole
    test()
    path = next((tmp_path / "data").rglob("t10k-labels*"))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RuntimeError, match="is damaged"):
        test()
