"""What the notebook tests share: finding, reading, spoiling and running the notebooks."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from unittest import mock

import nbformat
import papermill

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
# Inside the project: a notebook looks for fc_model.py from its folder upwards.
SCRATCH = ROOT / "build" / "tests"
FILE = "# my_checkpoints.py\n"  # how a solution begins that goes into a file
FILLER = r"\b(simply|just|note that|obviously|of course|basically|powerful|seamless\w*)\b"


def read(path):
    return nbformat.read(path, as_version=4)


def write(notebook, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


def tags(cell):
    return set(cell.metadata.get("tags", []))


def slide_type(cell):
    return cell.metadata.get("slideshow", {}).get("slide_type")


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(cell):
    """All that a cell printed to stdout, as one string."""
    return "".join(output.text for output in cell.outputs if output.get("name") == "stdout")


def exercises(notebook):
    """(name, stub, check, solution) cells of each exercise, told by their tags and their order.

    A hint may stand between the check and the solution.
    """
    cells, found = [cell for cell in notebook.cells if "hint" not in tags(cell)], []
    for i, cell in enumerate(cells):
        if "exercise" in tags(cell):
            stub, check, solution = cells[i : i + 3]
            assert "check" in tags(check) and "solution" in tags(solution), (
                f"after the stub {stub.source[:60]!r}"
            )
            (name,) = re.findall(r'helper\.exercise\("([\d.]+)"\)', check.source)
            found.append((name, stub, check, solution))
    return found


def into_file(text):
    """The cell that writes a learner's file, as if it had been edited beside the notebook."""
    return f"_ = mine.write_text({text!r})"


def solve(notebook):
    """Behind each check put the solution, as a reader would, and the check once more.

    The solutions of the capstone go into a file: each replaces functions of the ones before it.
    """
    file = ""
    for _, stub, check, solution in exercises(notebook):
        (source,) = re.findall(r"```python\n(.*?)```", solution.source, re.DOTALL)
        if source.startswith(FILE):
            file += source
            source = into_file(file)
        solved = nbformat.v4.new_code_cell(source, metadata={"tags": ["solved"]})
        again = nbformat.v4.new_code_cell(check.source, metadata={"tags": ["again"]})
        after = notebook.cells.index(check) + 1
        notebook.cells[after:after] = [solved, again]
        stub.metadata["tags"], check.metadata["tags"] = ["stub"], ["tried"]
    return notebook


def marks(notebook, tag="check"):
    """{exercise: True for its mark, False for "not yet"}; after `solve`: "tried" and "again"."""
    result = {}
    for cell in notebook.cells:
        if tag in tags(cell):
            (name,) = re.findall(r'helper\.exercise\("([\d.]+)"\)', cell.source)
            text = printed(cell)
            done, open_ = (
                text.startswith(f"✅ Exercise {name}"),
                text.startswith(f"⬜ Exercise {name}: not yet"),
            )
            assert done != open_, f"exercise {name} printed {text!r}"
            result[name] = done
    return result


def run_nbval(*paths, **environment):
    """Strict nbval on notebooks, in a process of its own. Returns (passed, its output)."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--nbval",
        "--nbval-sanitize-with",
        ROOT / "tests/lessons/nbval.cfg",
        *paths,
    ]
    command += [
        "-o",
        "addopts=",
        "-o",
        "filterwarnings=",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-q",
    ]
    result = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "LESSON_FILES": str(SCRATCH / "nbval-files"), **environment},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return result.returncode == 0, result.stdout


def run_papermill(notebook, name, **parameters):
    """Run a notebook from a folder that must stay empty; return what papermill wrote."""
    folder = SCRATCH / name
    source, target, empty = folder / "in.ipynb", folder / "out.ipynb", folder / "empty"
    empty.mkdir(parents=True, exist_ok=True)
    write(notebook, source)
    # A folder of its own for what the lesson writes: two runs of it may go on at a time.
    with mock.patch.dict(os.environ, LESSON_FILES=str(folder / "files")):
        papermill.execute_notebook(
            source,
            target,
            parameters,
            kernel_name="python3",
            cwd=empty,
            progress_bar=False,
            # The file is written once, at the end: writing it after each cell takes seconds.
            request_save_on_cell_execute=False,
            autosave_cell_every=0,
        )
    shutil.rmtree(folder / "files", ignore_errors=True)
    assert not list(empty.iterdir()), (
        f"the notebook left files in its working directory: {list(empty.iterdir())}"
    )
    return read(target)


def times(notebook):
    """The minutes that a lesson names, for reading and for exercises: [(text, text)]."""
    form = r"\*\*Time:\*\* (\d+) minutes(?: to teach)?,(?: and)? (\d+) for the exercises"
    return re.findall(form, notebook.cells[0].source)
