"""Each notebook shows what one gets, holds with other parameters, and its exercises can be solved."""

import contextlib
import io
import re

import nbformat
import papermill
import pytest
from notebook_tools import (
    NOTEBOOKS,
    SCRATCH,
    code_cells,
    exercises,
    marks,
    printed,
    read,
    run_nbval,
    run_papermill,
    solve,
    tags,
    write,
)
from wrong_answers import RIGHT_ANSWERS, WRONG_ANSWERS

import helper

by_name = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def test_strict_nbval_on_every_notebook():
    # The outputs were stored by a machine with its usual threads and instructions. One thread, and only the
    # instructions that every CPU knows, is as far from that as one gets here: what is shown must not depend on it.
    passed, output = run_nbval(*NOTEBOOKS, OMP_NUM_THREADS="1", ATEN_CPU_CAPABILITY="default")
    assert passed, output


def own_seed(path):
    """The seed that wrote a notebook's stored outputs: to run it with that once more would prove nothing."""
    return int(re.search(r"^SEED = (\d+)", code_cells(read(path))[2].source, re.MULTILINE)[1])


# Other values of what else may vary, where a notebook has such parameters.
OTHERS = {
    "01_save_and_reload": {"STEPS": 400},
}


@by_name
def test_claims_hold_with_another_seed_and_other_parameters_and_only_solutions_earn_marks(path):
    """From another working directory. The browser's tests run each lesson with a third seed, 7.

    A learner's way through an exercise: the untouched stub, each known wrong answer, each right
    answer of another form, the solution.
    """
    seed = 11 if own_seed(path) == 2019 else 2019
    assert own_seed(path) not in (seed, 7)
    notebook = answer(solve(read(path)))
    notebook = run_papermill(notebook, path.stem, SEED=seed, **OTHERS.get(path.stem, {}))
    assert not any(marks(notebook, "tried").values()), "an untouched stub earned a mark"
    found = marks(notebook, "again")
    assert found and all(found.values()), found
    assert misjudged(notebook) == []


def answer(notebook):
    """Between the check of each stub and its solution: each known answer, and the check once more.

    The wrong ones come first. A check behind them is tagged wrong and says what hint it must give.
    """
    for check in [cell for cell in notebook.cells if "tried" in tags(cell)]:
        name, cells = name_of(check), []
        for hint, source in WRONG_ANSWERS[name]:
            again = nbformat.v4.new_code_cell(check.source, metadata={"tags": ["wrong"]})
            again.metadata["hint"] = hint
            cells += [nbformat.v4.new_code_cell(source), again]
        for source in RIGHT_ANSWERS.get(name, []):
            again = nbformat.v4.new_code_cell(check.source, metadata={"tags": ["right"]})
            cells += [nbformat.v4.new_code_cell(source), again]
        after = notebook.cells.index(check) + 1
        notebook.cells[after:after] = cells
    return notebook


def misjudged(notebook):
    """The checks that gave a wrong answer a mark or another hint, or a right one no mark."""
    found = []
    for cell in notebook.cells:
        if not tags(cell) & {"wrong", "right"}:
            continue
        said, hint, name = printed(cell).strip(), cell.metadata.get("hint", ""), name_of(cell)
        expected = f"⬜ Exercise {name}: not yet. {hint.removesuffix('…')}"
        if "right" in tags(cell):
            expected = f"✅ Exercise {name}"
        if said != expected and not (hint.endswith("…") and said.startswith(expected)):
            found.append(f"expected {expected!r}, printed {said!r}")
    return found


def name_of(check):
    """The name of the exercise that a cell checks."""
    (name,) = re.findall(r'helper\.exercise\("([\d.]+)"\)', check.source)
    return name


# The spoiled cases: each check above has to fail on a notebook spoiled on purpose.

METADATA = {
    "kernelspec": {"name": "python3", "display_name": "Python 3"},
    "language_info": {"name": "python"},
}
LINE = "Epoch: 1/2..  Training Loss: 1.703..  Test Accuracy: 0.659"


def small(*sources):
    return nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(text) for text in sources], metadata=METADATA
    )


def test_nbval_notices_another_output():
    stored = {
        LINE: True,
        LINE.replace(
            "1.703", "0.111"
        ): True,  # the digits of the log are sanitized, and nothing else
        LINE.replace("1/2", "2/2"): False,
        LINE.replace("0.659", "65.9"): False,
        LINE.partition("..  Test")[0]: False,
        LINE + "\n" + LINE: False,
        "something else": False,
    }
    notebook = small(*[f'print("{LINE}")'] * len(stored), "assert 1 + 1 == 3")
    for count, (cell, text) in enumerate(zip(notebook.cells, [*stored, ""]), start=1):
        cell.execution_count = count
        cell.outputs = [nbformat.v4.new_output("stream", text=text + "\n")]
    passed, output = run_nbval(write(notebook, SCRATCH / "nbval" / "spoiled.ipynb"))
    failed = [int(number) for number in re.findall(r"^FAILED .*::Cell (\d+)", output, re.MULTILINE)]
    assert not passed and failed == [
        i for i, right in enumerate([*stored.values(), False]) if not right
    ], output


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


def test_marks_tell_stub_right_solution_and_wrong_solution_apart():
    notebook = small(code_cells(read(NOTEBOOKS[0]))[0].source + "\nimport helper")
    for name, solution in {
        "9.1": "answer = None",
        "9.2": "answer = 42",
        "9.3": "answer = 41",
    }.items():
        check = f'with helper.exercise("{name}"):\n    assert answer == 42, "think"'
        stub = "answer = 42" if name == "9.3" else "answer = None"  # a stub that is solved already
        cells = [nbformat.v4.new_code_cell(stub), nbformat.v4.new_code_cell(check)]
        cells += [
            nbformat.v4.new_markdown_cell(f"<details>\n\n```python\n{solution}\n```\n\n</details>")
        ]
        for cell, tag in zip(cells, ["exercise", "check", "solution"]):
            cell.metadata["tags"] = [tag]
        notebook.cells += cells
    solved = run_papermill(solve(notebook), "marks")
    assert marks(solved, "tried") == {"9.1": False, "9.2": False, "9.3": True}
    assert marks(solved, "again") == {"9.1": False, "9.2": True, "9.3": False}


@pytest.mark.parametrize(
    ("hint", "wrong", "right", "complaint"),
    [
        ("think", 41, 42, None),
        ("think…", 41, 42, None),
        ("think twice", 41, 42, "not yet. think twice', printed"),
        ("think", 42, 42, "printed '✅ Exercise 9.1'"),
        ("think", 41, 43, "expected '✅ Exercise 9.1', printed '⬜ Exercise 9.1: not yet. think'"),
    ],
)
def test_a_check_that_misjudges_an_answer_is_caught(hint, wrong, right, complaint, monkeypatch):
    monkeypatch.setitem(WRONG_ANSWERS, "9.1", [(hint, f"result = {wrong}")])
    monkeypatch.setitem(RIGHT_ANSWERS, "9.1", ["result = 42", f"result = {right}"])
    check = 'with helper.exercise("9.1"):\n    assert result == 42, "think"'
    cell = nbformat.v4.new_code_cell(check, metadata={"tags": ["tried"]})
    notebook = answer(nbformat.v4.new_notebook(cells=[cell]))
    for given, again in zip(notebook.cells[1::2], notebook.cells[2::2], strict=True):
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            exec(given.source + "\n" + again.source, {"helper": helper})
        again.outputs = [nbformat.v4.new_output("stream", text=output.getvalue())]
    found = misjudged(notebook)
    assert (len(found) == 1 and complaint in found[0]) if complaint else found == []
    assert [tags(cell) for cell in notebook.cells[2::2]] == [{"wrong"}, {"right"}, {"right"}]


def test_the_right_answers_are_those_of_exercises():
    named = [name_of(check) for path in NOTEBOOKS for _, _, check, _ in exercises(read(path))]
    assert RIGHT_ANSWERS.keys() <= set(named)
