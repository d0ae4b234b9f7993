"""The form of every notebook, each rule with a notebook that is spoiled on purpose and must be caught."""

import ast
import copy
import re
import statistics

import nbformat
import pytest
from notebook_tools import (
    FILLER,
    NOTEBOOKS,
    code_cells,
    exercises,
    marks,
    printed,
    read,
    slide_type,
    tags,
    times,
)

METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "pygments_lexer": "ipython3",
    },
}
SETUP = code_cells(read(NOTEBOOKS[0]))[0]
# A memory address, a temporary or home folder, a duration: what another run or machine would print differently.
UNSTABLE = r"0x[0-9a-f]{6,}|/tmp/|/var/folders|/home/|/root/|/Users/|[A-Z]:\\|\d\.?\d* ?(ms|µs|seconds|s)\b"


def complaints(path, notebook):
    """Everything that is wrong with a notebook's form, one string each."""
    found = []

    def demand(condition, complaint):
        if not condition:
            found.append(complaint)

    code, number = code_cells(notebook), path.stem[:2]
    taught = [cell for cell in code if not tags(cell) & {"setup", "parameters"}]
    notes = [cell for cell in notebook.cells if slide_type(cell) == "notes"]
    # A speaker's notes are folded away, and no part of what a learner reads.
    markdown = [
        cell.source for cell in notebook.cells if cell.cell_type == "markdown" and cell not in notes
    ]
    text = "\n\n".join(markdown)

    demand(
        re.fullmatch(r"\d\d_[a-z0-9_]+\.ipynb", path.name), "the name is not NN_snake_case.ipynb"
    )
    nbformat.validate(notebook)
    demand(notebook.metadata == METADATA, "notebook metadata are not the canonical ones")
    for cell in notebook.cells:
        extra = set(cell.metadata) - {"tags", "slideshow", "jupyter"}
        demand(not extra, f"cell metadata {sorted(extra)} are stored")
    demand(
        "raises-exception" not in {tag for cell in code for tag in tags(cell)},
        "a cell is tagged raises-exception",
    )

    # Title, promise, goals, needs.
    title = markdown[0]
    demand(
        title.startswith(f"# {number} · "), "the title does not start with the notebook's number"
    )
    goals = re.findall(r"^- ", title.partition("**You will be able to**")[2], re.MULTILINE)
    demand(3 <= len(goals) <= 5, f"{len(goals)} goals under 'You will be able to'")
    demand(times(notebook), "no **Time:** line with minutes to teach and for the exercises")
    # On a line of its own: the index shows the line with the times as text, where a link would lead nowhere.
    demand(re.search(r"^\*\*Needs first:\*\*", title, re.MULTILINE), "no **Needs first:** line")
    for heading in ("## Since the originals", "## Recap"):
        demand(re.search(f"^{heading}$", text, re.MULTILINE), f"no section '{heading}'")
    demand("**Next:**" in markdown[-1], "the last cell does not say what comes next")

    # Set-up, imports, parameters.
    demand(
        code[0].source == SETUP.source and code[0].metadata == SETUP.metadata,
        "the set-up cell is another one",
    )
    demand(re.match(r"import|from", code[1].source), "the second code cell does not import")
    demand(
        tags(code[2]) == {"parameters"} and "SEED = " in code[2].source,
        "the third code cell has no parameters",
    )

    # Shape.
    lines = sorted(
        len([line for line in cell.source.splitlines() if line.strip()]) for cell in taught
    )
    demand(15 <= len(taught) <= 45, f"{len(taught)} code cells")
    demand(
        statistics.median(lines) <= 4, f"a median of {statistics.median(lines)} lines a code cell"
    )
    demand(
        lines[int(0.9 * len(lines))] <= 10,
        f"nine in ten code cells have up to {lines[int(0.9 * len(lines))]} lines",
    )
    demand(lines[-1] <= 20, f"a code cell of {lines[-1]} lines")
    words = len(text.split()) / len(taught)
    demand(38 <= words <= 75, f"{words:.0f} words a code cell")
    proofs = sum(asserts(cell) for cell in taught if "check" not in tags(cell))
    demand(proofs >= len(taught) / 10, f"{proofs} of {len(taught)} code cells prove something")

    # What is stored.
    counts = [cell.execution_count for cell in code]
    demand(counts == list(range(1, len(code) + 1)), "execution counts are not 1..N")
    for output in (output for cell in code for output in cell.outputs):
        demand(output.output_type != "error", "an error is stored")
        demand(output.get("name") != "stderr", "stderr is stored")
        shown = output.get("text", "") + output.get("data", {}).get("text/plain", "")
        demand(not re.search(UNSTABLE, shown), f"an output differs from run to run: {shown[:80]!r}")
        demand("<Axes" not in shown, "a figure's cell does not end with plt.show()")

    # Expected errors are caught so that their absence is noticed.
    for cell in code:
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Try):
                demand(
                    any(isinstance(n, ast.Raise) for n in node.orelse),
                    "a try without else: raise AssertionError",
                )

    # Exercises.
    found_exercises = exercises(notebook)
    names = [name for name, *_ in found_exercises]
    demand(
        names == [f"{int(number)}.{i + 1}" for i in range(len(names))],
        f"exercises are numbered {names}",
    )
    demand(len(names) >= 3, f"{len(names)} exercises")
    for name, _, check, solution in found_exercises:
        demand(
            "</summary>\n\n" in solution.source, f"solution {name}: no blank line after </summary>"
        )
        demand(
            len(re.findall(r"```python", solution.source)) == 1,
            f"solution {name} is not one block of Python",
        )
        demand("not yet" in printed(check), f"exercise {name} is stored solved")

    # The deck: which cells are on it, and that a speaker is told what to ask at each slide.
    kinds = [slide_type(cell) for cell in notebook.cells]
    unknown = set(kinds) - {"slide", "subslide", "fragment", "skip", "notes", "-"}
    demand(not unknown, f"slide types {unknown}")
    demand(kinds[0] == "slide", "the title is not a slide")
    hidden = {"setup", "parameters", "solution"}
    shown = {
        tag
        for cell, kind in zip(notebook.cells, kinds)
        if kind != "skip"
        for tag in tags(cell) & hidden
    }
    demand(not shown, f"on slides: {sorted(shown)}")
    starts = [kind for kind in kinds if kind in ("slide", "subslide", "notes")]
    demand(10 <= len(starts) - len(notes) <= 20, f"{len(starts) - len(notes)} slides")
    told = (
        all((kind == "notes") == bool(i % 2) for i, kind in enumerate(starts))
        and len(starts) % 2 == 0
    )
    demand(told, "not one cell of notes for each slide")
    for cell in notes:
        folded = re.fullmatch(
            r"<details>\n<summary>Speaker notes</summary>\n\n.*\n\n</details>",
            cell.source,
            re.DOTALL,
        )
        demand(folded, "notes are not folded away under 'Speaker notes'")
        demand(len(cell.source.split()) <= 70, f"notes of {len(cell.source.split())} words")

    # Links and language.
    text += "".join(cell.source for cell in notes)
    prose = re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        file, _, anchor = target.partition("#")
        if not target.startswith("https://"):
            demand((path.parent / file).exists(), f"the link {target} leads nowhere")
            demand(not anchor, f"the link {target} has an anchor, which nobody checks")
    filler = re.findall(FILLER, prose, re.IGNORECASE)
    demand(not filler, f"filler words: {filler}")
    return found


def asserts(cell):
    return any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(cell.source)))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_rules_are_kept(path):
    notebook = read(path)
    assert complaints(path, notebook) == []
    assert not any(marks(notebook).values())


def test_there_are_notebooks_with_unique_numbers():
    numbers = [path.stem[:2] for path in NOTEBOOKS]
    assert len(numbers) == len(set(numbers)) >= 3


def test_the_map_lists_each_notebook_with_its_title_and_times():
    cells = [
        cell.source for cell in read(NOTEBOOKS[0]).cells if "| teach | exercises |" in cell.source
    ]
    rows = "\n".join(cells).splitlines()
    for path in NOTEBOOKS:
        notebook = read(path)
        title = notebook.cells[0].source.splitlines()[0].removeprefix("# ")
        entry = title if path == NOTEBOOKS[0] else f"[{title}]({path.name})"
        (row,) = [line for line in rows if line.startswith(f"| {entry} |")]
        ((teach, solve),) = times(notebook)
        assert row.endswith(f"| {teach}\N{NO-BREAK SPACE}min | {solve}\N{NO-BREAK SPACE}min |")


# ---------------------------------------------------------------- spoiled on purpose

SPOILERS = {}


def spoils(complaint):
    def register(function):
        SPOILERS[function.__name__] = (function, complaint)
        return function

    return register


@spoils("metadata are not the canonical")
def kernel_of_another_name(notebook):
    notebook.metadata["kernelspec"]["name"] = "venv"


@spoils("cell metadata")
def stored_timing(notebook):
    notebook.cells[3].metadata["execution"] = {"shell.execute_reply": "2026-01-01T00:00:00"}


@spoils("raises-exception")
def tolerated_exception(notebook):
    code_cells(notebook)[5].metadata["tags"] = ["raises-exception"]


@spoils("title does not start")
def another_number(notebook):
    notebook.cells[0].source = notebook.cells[0].source.replace("# 01", "# 07")


@spoils("goals under")
def no_goals(notebook):
    notebook.cells[0].source = notebook.cells[0].source.replace("**You will be able to**", "")


@spoils("Time:")
def no_time(notebook):
    notebook.cells[0].source = notebook.cells[0].source.replace("**Time:**", "")


@spoils("Needs first")
def no_needs(notebook):
    notebook.cells[0].source = notebook.cells[0].source.replace("**Needs first:**", "")


@spoils("Needs first")
def needs_behind_the_times(notebook):
    notebook.cells[0].source = notebook.cells[0].source.replace(
        "\n**Needs first:**", " **Needs first:**"
    )


@spoils("## Recap")
def no_recap(notebook):
    for cell in notebook.cells:
        cell.source = cell.source.replace("## Recap", "## End")


@spoils("what comes next")
def nothing_next(notebook):
    for cell in notebook.cells[-2:]:  # the last one may be notes
        cell.source = cell.source.replace("**Next:**", "")


@spoils("set-up cell is another")
def another_setup(notebook):
    code_cells(notebook)[0].source += " "


@spoils("set-up cell is another")
def setup_in_sight(notebook):
    del code_cells(notebook)[0].metadata["jupyter"]


@spoils("has no parameters")
def parameters_without_a_tag(notebook):
    del code_cells(notebook)[2].metadata["tags"]


@spoils("lines a code cell")
def long_cells(notebook):
    for cell in code_cells(notebook)[10:]:
        cell.source += "\nx = 1" * 6


@spoils("a code cell of 2")
def one_very_long_cell(notebook):
    code_cells(notebook)[5].source += "\nx = 1" * 20


@spoils("words a code cell")
def no_text(notebook):
    for cell in notebook.cells[4:-1]:
        if cell.cell_type == "markdown" and "solution" not in tags(cell):
            cell.source = "\n".join(
                line for line in cell.source.splitlines() if line.startswith("#")
            )


@spoils("prove something")
def no_proofs(notebook):
    for cell in code_cells(notebook):
        if "check" not in tags(cell):
            cell.source = cell.source.replace("assert ", "bool ")
            cell.source = (
                "\n".join(line for line in cell.source.splitlines() if "bool " not in line)
                or "pass"
            )


@spoils("code cells")
def too_few_cells(notebook):
    keep = code_cells(notebook)[:10]
    notebook.cells = [
        cell for cell in notebook.cells if cell.cell_type == "markdown" or cell in keep
    ]
    notebook.cells = [cell for cell in notebook.cells if "exercise" not in tags(cell)]


@spoils("execution counts")
def a_cell_not_run(notebook):
    code_cells(notebook)[4].execution_count = None


@spoils("an error is stored")
def a_stored_error(notebook):
    code_cells(notebook)[4].outputs = [
        nbformat.v4.new_output("error", ename="E", evalue="", traceback=[])
    ]


@spoils("stderr is stored")
def a_stored_warning(notebook):
    code_cells(notebook)[4].outputs = [
        nbformat.v4.new_output("stream", name="stderr", text="careful")
    ]


@spoils("differs from run to run")
def a_stored_address(notebook):
    code_cells(notebook)[4].outputs = [
        nbformat.v4.new_output("stream", text="<object at 0x7f3a2b1c>")
    ]


@spoils("differs from run to run")
def a_stored_temporary_path(notebook):
    code_cells(notebook)[4].outputs = [
        nbformat.v4.new_output("stream", text="saved to /tmp/tmpabc/net1.pt")
    ]


@spoils("differs from run to run")
def a_stored_timing(notebook):
    code_cells(notebook)[4].outputs = [nbformat.v4.new_output("stream", text="took 1.73 s")]


@spoils("plt.show()")
def axes_as_output(notebook):
    code_cells(notebook)[4].outputs = [
        nbformat.v4.new_output(
            "execute_result", data={"text/plain": "<Axes: title={'center': 'net1'}>"}
        )
    ]


@spoils("try without else")
def an_error_that_may_vanish(notebook):
    code_cells(notebook)[4].source = "try:\n    pass\nexcept ValueError:\n    pass"


@spoils("exercises are numbered")
def exercise_out_of_order(notebook):
    for cell in code_cells(notebook):
        cell.source = cell.source.replace('helper.exercise("1.2")', 'helper.exercise("1.7")')


@spoils("no blank line after </summary>")
def solution_that_will_not_render(notebook):
    for cell in notebook.cells:
        cell.source = cell.source.replace("</summary>\n\n", "</summary>\n")


@spoils("is stored solved")
def a_solved_exercise(notebook):
    (_, _, check, _), *_ = exercises(notebook)
    check.outputs = [nbformat.v4.new_output("stream", text="✅ Exercise 1.1")]


@spoils("slide types")
def a_slide_of_another_type(notebook):
    notebook.cells[5].metadata["slideshow"] = {"slide_type": "slid"}


@spoils("slide types")
def a_cell_nobody_decided_on(notebook):
    del notebook.cells[5].metadata["slideshow"]


@spoils("on slides: ['setup']")
def setup_on_a_slide(notebook):
    code_cells(notebook)[0].metadata["slideshow"]["slide_type"] = "-"


@spoils("on slides: ['solution']")
def a_solution_on_a_slide(notebook):
    exercises(notebook)[0][3].metadata["slideshow"]["slide_type"] = "fragment"


@spoils("slides")
def too_many_slides(notebook):
    for cell in notebook.cells:
        if slide_type(cell) == "-":
            cell.metadata["slideshow"]["slide_type"] = "subslide"


@spoils("notes for each slide")
def a_slide_without_notes(notebook):
    notebook.cells.remove(next(cell for cell in notebook.cells if slide_type(cell) == "notes"))


@spoils("not folded away")
def notes_in_sight(notebook):
    cell = next(cell for cell in notebook.cells if slide_type(cell) == "notes")
    cell.source = cell.source.replace("<details>", "").replace("</details>", "")


@spoils("notes of")
def notes_to_read_aloud(notebook):
    next(cell for cell in notebook.cells if slide_type(cell) == "notes").source += " and on" * 40


@spoils("leads nowhere")
def a_dead_link(notebook):
    notebook.cells[-1].source += "\n[next](99_nowhere.ipynb)"


@spoils("filler words")
def filler(notebook):
    notebook.cells[-1].source += "\nYou simply load it."


@pytest.mark.parametrize("name", SPOILERS)
def test_a_spoiled_notebook_is_caught(name):
    spoil, complaint = SPOILERS[name]
    path = NOTEBOOKS[1]
    notebook = copy.deepcopy(read(path))
    spoil(notebook)
    assert any(complaint in text for text in complaints(path, notebook)), complaints(path, notebook)
