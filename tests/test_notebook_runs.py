"""Each notebook shows what one gets, holds with other parameters, and its exercises can be solved."""

import nbformat
import papermill
import pytest
from notebook_tools import NOTEBOOKS, SCRATCH, marks, read, run_nbval, run_papermill, solve, write

by_name = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)

SETTINGS = {
    "1-thread": {"OMP_NUM_THREADS": "1"},
    "2-threads": {"OMP_NUM_THREADS": "2"},
    "plain-cpu": {"OMP_NUM_THREADS": "1", "ATEN_CPU_CAPABILITY": "default"},
}


@pytest.mark.parametrize("setting", SETTINGS)
@by_name
def test_strict_nbval(path, setting):
    passed, output = run_nbval(path, **SETTINGS[setting])
    assert passed, output


@pytest.mark.parametrize("seed", [2, 7, 2019])
@by_name
def test_claims_hold_with_another_seed_and_working_directory(path, seed):
    notebook = run_papermill(read(path), f"{path.stem}-seed-{seed}", SEED=seed)
    assert not any(marks(notebook).values()), "an untouched stub earned a mark"


@by_name
def test_solutions_earn_every_mark(path):
    notebook = run_papermill(solve(read(path)), f"{path.stem}-solved")
    assert all(marks(notebook).values()), marks(notebook)


# The spoiled cases: each check above has to fail on a notebook spoiled on purpose.


def small(*sources):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    return nbformat.v4.new_notebook(
        cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    )


def with_output(text, source='print("Epoch: 1/2..  Training Loss: 1.703..  Test Accuracy: 0.659")'):
    notebook = small(source)
    notebook.cells[0].execution_count = 1
    notebook.cells[0].outputs = [nbformat.v4.new_output("stream", text=text)]
    return notebook


@pytest.mark.parametrize(
    ("text", "must_pass"),
    [
        ("Epoch: 1/2..  Training Loss: 1.703..  Test Accuracy: 0.659\n", True),
        ("Epoch: 1/2..  Training Loss: 0.111..  Test Accuracy: 0.222\n", True),  # other digits are sanitized
        ("Epoch: 2/2..  Training Loss: 1.703..  Test Accuracy: 0.659\n", False),
        ("Epoch: 1/2..  Training Loss: 1.703..  Test Accuracy: 65.9\n", False),
        ("Epoch: 1/2..  Training Loss: 1.703\n", False),
        ("something else\n", False),
    ],
)
def test_nbval_notices_another_output(text, must_pass, request):
    path = write(with_output(text), SCRATCH / "nbval" / f"{abs(hash(text))}.ipynb")
    passed, output = run_nbval(path)
    assert passed == must_pass, output


def test_nbval_notices_a_cell_that_raises():
    notebook = with_output("", source="assert 1 + 1 == 3")
    passed, output = run_nbval(write(notebook, SCRATCH / "nbval" / "raises.ipynb"))
    assert not passed and "AssertionError" in output


def test_papermill_notices_a_claim_that_fails_with_another_seed():
    notebook = small("SEED = 1", "assert SEED == 1")
    notebook.cells[0].metadata["tags"] = ["parameters"]
    run_papermill(notebook, "claim-holds", SEED=1)
    with pytest.raises(papermill.PapermillExecutionError):
        run_papermill(notebook, "claim-fails", SEED=2)


def test_papermill_notices_a_file_left_behind():
    with pytest.raises(AssertionError, match="left files"):
        run_papermill(small('open("litter.txt", "w").close()'), "litter")
    (SCRATCH / "litter" / "empty" / "litter.txt").unlink()


def exercise(stub, solution):
    setup = read(NOTEBOOKS[0]).cells[1].source
    notebook = small(setup + "\nimport helper", stub, 'with helper.exercise("9.1"):\n    assert answer == 42, "think"')
    notebook.cells.append(nbformat.v4.new_markdown_cell(f"<details>\n\n```python\n{solution}\n```\n\n</details>"))
    for cell, tag in zip(notebook.cells[1:], ["exercise", "check", "solution"]):
        cell.metadata["tags"] = [tag]
    return notebook


def test_marks_tell_stub_right_solution_and_wrong_solution_apart():
    untouched = exercise("answer = None", "answer = 42")
    assert marks(run_papermill(untouched, "stub")) == {"9.1": False}
    assert marks(run_papermill(solve(untouched), "right")) == {"9.1": True}
    assert marks(run_papermill(solve(exercise("answer = None", "answer = 41")), "wrong")) == {"9.1": False}
    assert marks(run_papermill(exercise("answer = 42", "answer = 42"), "given-away")) == {"9.1": True}
