"""Write build/student: a copy of the series for a class, without solutions and outputs.

    python tools/student.py

The folder is written anew each time. Tests of its own come with it: python -m pytest tests, inside it.
"""

import json
import shutil

from lessons import ROOT
from quiz import without_key

FILES = [
    "benchmarks/faults.py",
    "checkpoints.py",
    "doctor.py",
    "fc_model.py",
    "helper.py",
    "requirements.txt",
    "constraints.txt",
    "LICENSE",
    "docs/errors.md",
    "docs/glossary.md",
    "docs/rivals.md",
]


def main():
    """Write the copy and say where it is."""
    folder = ROOT / "build" / "student"
    write_copy(folder)
    count = len(list((folder / "notebooks").glob("*.ipynb")))
    print(f"{count} notebooks for a class: {folder.relative_to(ROOT).as_posix()}")


def write_copy(folder):
    """Write the student copy to a folder; what was there before goes."""
    if folder.exists():
        shutil.rmtree(folder)
    # README, Makefile, tests and pytest.ini of the copy.
    shutil.copytree(
        ROOT / "tools" / "student_files", folder, ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in FILES:
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    # torchvision may have unpacked the .gz files beside them.
    shutil.copytree(ROOT / "data", folder / "data", ignore=shutil.ignore_patterns("*-ubyte"))
    (folder / "notebooks").mkdir()
    for script in (ROOT / "notebooks").glob("*.py"):
        shutil.copy(script, folder / "notebooks")
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        notebook = without_answers(json.loads(path.read_text(encoding="utf-8")))
        # The form in which nbformat writes, so that all that stays, stays byte for byte.
        text = json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
        (folder / "notebooks" / path.name).write_bytes(text.encode())


def without_answers(notebook):
    """Return a notebook (dict) without solutions, answers to the questions, outputs and execution counts."""
    cells = [
        cell for cell in notebook["cells"] if "solution" not in cell["metadata"].get("tags", [])
    ]
    cells = [
        cell | {"source": without_key("".join(cell["source"])).splitlines(keepends=True)}
        if "quiz" in cell["metadata"].get("tags", [])
        else cell
        for cell in cells
    ]
    blank = {"outputs": [], "execution_count": None}
    return {
        **notebook,
        "cells": [cell | blank if cell["cell_type"] == "code" else cell for cell in cells],
    }


if __name__ == "__main__":
    main()
