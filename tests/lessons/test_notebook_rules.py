"""The form of every notebook, each rule with a notebook spoiled on purpose that it must catch."""

import ast
import copy
import re

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
# What another run or machine prints differently: an address, a folder of a machine, a duration.
UNSTABLE = r"0x[0-9a-f]{6,}|/tmp/|/var/folders|/home/|/root/|/Users/|[A-Z]:\\"
UNSTABLE += r"|\d\.?\d* ?(ms|µs|seconds|s)\b"


def complaints(path, notebook):
    """Everything that is wrong with a notebook's form, one string each."""
    rules = [frame, opening, set_up, stored, errors, figures, drills, slides, words]
    return [complaint for rule in rules for complaint in rule(path, notebook)]


def text_of(notebook):
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def frame(path, notebook):
    nbformat.validate(notebook)
    if not re.fullmatch(r"\d\d_[a-z0-9_]+\.ipynb", path.name):
        yield "the name is not NN_snake_case.ipynb"
    if notebook.metadata != METADATA:
        yield "notebook metadata are not the canonical ones"
    for cell in notebook.cells:
        if extra := set(cell.metadata) - {"tags", "slideshow", "jupyter", "alt", "scrolled"}:
            yield f"cell metadata {sorted(extra)} are stored"
        if "raises-exception" in tags(cell):
            yield "a cell is tagged raises-exception"


def opening(path, notebook):
    title = notebook.cells[0].source
    if not title.startswith(f"# {path.stem[:2]} · "):
        yield "the title does not start with the notebook's number"
    if not times(notebook):
        yield "no **Time:** line with minutes for reading and for the exercises"
    if not re.search(r"\*\*(Needs first|Before this):\*\*", title):
        yield "the first cell does not say what comes before this lesson"
    if "\n## Recap" not in "\n" + text_of(notebook):
        yield "no section '## Recap'"
    if "**Next:**" not in text_of(notebook).rpartition("\n## Recap")[2]:
        yield "the recap does not say what comes next"


def set_up(path, notebook):
    first, second, third = code_cells(notebook)[:3]
    if first.source != SETUP.source or first.metadata != SETUP.metadata:
        yield "the set-up cell is another one"
    if not re.match(r"import|from", second.source):
        yield "the second code cell does not import"
    if tags(third) != {"parameters"} or "SEED = " not in third.source:
        yield "the third code cell has no parameters"


def stored(path, notebook):
    code = code_cells(notebook)
    if [cell.execution_count for cell in code] != list(range(1, len(code) + 1)):
        yield "execution counts are not 1..N"
    for output in (output for cell in code for output in cell.outputs):
        if output.output_type == "error":
            yield "an error is stored"
        if output.get("name") == "stderr":
            yield "stderr is stored"
        shown = output.get("text", "") + output.get("data", {}).get("text/plain", "")
        if re.search(UNSTABLE, shown):
            yield f"an output differs from run to run: {shown[:80]!r}"
        if "<Axes" in shown:
            yield "a figure's cell does not end with plt.show()"


def errors(path, notebook):
    """Expected errors are caught so that their absence is noticed. A fallback expects none."""
    for cell in code_cells(notebook):
        for node in ast.walk(ast.parse(cell.source)):
            if not isinstance(node, ast.Try) or is_fallback(node):
                continue
            if not any(isinstance(n, ast.Raise) for n in node.orelse):
                yield "a try without else: raise AssertionError"


def is_fallback(node):
    """Whether a try returns one thing, and if that fails returns another, or raises."""
    ends = [handler.body[-1] for handler in node.handlers]
    return isinstance(node.body[-1], ast.Return) and all(
        isinstance(end, (ast.Return, ast.Raise)) for end in ends
    )


def figures(path, notebook):
    for cell in code_cells(notebook):
        count = sum("image/png" in output.get("data", {}) for output in cell.outputs)
        alt = cell.metadata.get("alt", "")
        if count > 1:
            yield f"a cell shows {count} figures"
        if bool(count) != bool(alt):
            yield f"{'no' if count else 'an'} alt text at {cell.source[:60]!r}"
        elif alt and not (40 <= len(alt) <= 400 and not re.match("figure|image", alt, re.I)):
            yield f"the alt text {alt[:60]!r} does not say what one sees, in 40 to 400 characters"


def drills(path, notebook):
    found, number = exercises(notebook), int(path.stem[:2])
    names = [name for name, *_ in found]
    if len(names) < 3 or names != [f"{number}.{i + 1}" for i in range(len(names))]:
        yield f"exercises are numbered {names}"
    for name, _, check, solution in found:
        if "</summary>\n\n" not in solution.source:
            yield f"solution {name}: no blank line after </summary>"
        if len(re.findall(r"```python", solution.source)) != 1:
            yield f"solution {name} is not one block of Python"
        if "not yet" not in printed(check):
            yield f"exercise {name} is stored solved"


def slides(path, notebook):
    """Which cells are on the deck; its notes are in docs/teach."""
    kinds = [slide_type(cell) for cell in notebook.cells]
    if unknown := set(kinds) - {"slide", "subslide", "fragment", "skip", "-"}:
        yield f"slide types {unknown}"
    if kinds[0] != "slide":
        yield "the title is not a slide"
    apart = {"setup", "parameters", "proof", "hint", "solution"}
    shown = [tags(cell) & apart for cell, kind in zip(notebook.cells, kinds) if kind != "skip"]
    if shown := set().union(*shown):
        yield f"on slides: {sorted(shown)}"


def words(path, notebook):
    prose = re.sub(r"```.*?```|`[^`]*`", "", text_of(notebook), flags=re.DOTALL)
    for target in re.findall(r"\]\((?!https://)([^)\s]+)\)", prose):
        file, _, anchor = target.partition("#")
        if not (path.parent / file).exists():
            yield f"the link {target} leads nowhere"
        elif anchor and anchor not in anchors(path.parent / file):
            yield f"the link {target} leads to no heading"
    if filler := re.findall(FILLER, prose, re.IGNORECASE):
        yield f"filler words: {filler}"


def anchors(path):
    """The anchors of a Markdown file, written out or made of headings. Those of a notebook depend on the viewer."""
    text = path.read_text(encoding="utf-8") if path.suffix == ".md" else ""
    headings = re.findall(r"^#+ (.*)", text, re.MULTILINE)
    made = {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}
    return made | set(re.findall(r'^<a id="([\w-]+)"></a>$', text, re.MULTILINE))


def alt_texts(notebooks):
    return [
        cell.metadata["alt"] for each in notebooks for cell in each.cells if "alt" in cell.metadata
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_rules_are_kept(path):
    notebook = read(path)
    assert complaints(path, notebook) == []
    assert not any(marks(notebook).values())


def test_each_figure_has_an_alt_text_of_its_own():
    texts = alt_texts(read(path) for path in NOTEBOOKS)
    assert [text for text in texts if texts.count(text) > 1] == []


def test_two_figures_with_one_alt_text_are_caught():
    texts = alt_texts([read(NOTEBOOKS[1])] * 2)
    assert texts and all(texts.count(text) == 2 for text in texts)


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


@spoils("Time:")
def no_time(notebook):
    notebook.cells[0].source = notebook.cells[0].source.replace("**Time:**", "")


@spoils("what comes before this lesson")
def no_needs(notebook):
    title = notebook.cells[0].source
    notebook.cells[0].source = re.sub(r"\*\*(Needs first|Before this):\*\*", "", title)


@spoils("## Recap")
def no_recap(notebook):
    for cell in notebook.cells:
        cell.source = cell.source.replace("## Recap", "## End")


@spoils("what comes next")
def nothing_next(notebook):
    for cell in notebook.cells:
        cell.source = cell.source.replace("**Next:**", "")


@spoils("set-up cell is another")
def another_setup(notebook):
    code_cells(notebook)[0].source += " "


@spoils("set-up cell is another")
def setup_in_sight(notebook):
    del code_cells(notebook)[0].metadata["jupyter"]


@spoils("does not import")
def imports_somewhere_else(notebook):
    code_cells(notebook)[1].source = "x = 1"


@spoils("has no parameters")
def parameters_without_a_tag(notebook):
    del code_cells(notebook)[2].metadata["tags"]


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


@spoils("try without else")
def an_error_that_may_vanish_behind_a_return(notebook):
    code_cells(notebook)[
        4
    ].source = "def f():\n    try:\n        return 1\n    except ValueError as error:\n        print(error)"


@spoils("exercises are numbered")
def exercise_out_of_order(notebook):
    for cell in code_cells(notebook):
        cell.source = cell.source.replace('helper.exercise("1.2")', 'helper.exercise("1.7")')


@spoils("exercises are numbered ['1.1', '1.2']")
def two_exercises(notebook):
    for *_, stub, check, solution in exercises(notebook)[2:]:
        for cell in (stub, check, solution):
            notebook.cells.remove(cell)


@spoils("no blank line after </summary>")
def solution_that_will_not_render(notebook):
    for cell in notebook.cells:
        cell.source = cell.source.replace("</summary>\n\n", "</summary>\n")


@spoils("is not one block of Python")
def solution_in_two_blocks(notebook):
    exercises(notebook)[0][3].source += "\n\n```python\nx = 1\n```"


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


@spoils("the title is not a slide")
def no_title_on_the_deck(notebook):
    notebook.cells[0].metadata["slideshow"]["slide_type"] = "skip"


@spoils("on slides: ['setup']")
def setup_on_a_slide(notebook):
    code_cells(notebook)[0].metadata["slideshow"]["slide_type"] = "-"


@spoils("on slides: ['solution']")
def a_solution_on_a_slide(notebook):
    exercises(notebook)[0][3].metadata["slideshow"]["slide_type"] = "fragment"


@spoils("slide types {'notes'}")
def notes_in_the_notebook(notebook):
    cell = nbformat.v4.new_markdown_cell("Ask.", metadata={"slideshow": {"slide_type": "notes"}})
    notebook.cells.insert(5, cell)


def with_figure(notebook):
    return next(cell for cell in code_cells(notebook) if cell.metadata.get("alt"))


@spoils("no alt text at")
def a_figure_without_words(notebook):
    del with_figure(notebook).metadata["alt"]


@spoils("an alt text at")
def words_without_a_figure(notebook):
    with_figure(notebook).outputs = []


@spoils("does not say what one sees")
def a_figure_named_a_figure(notebook):
    cell = with_figure(notebook)
    cell.metadata["alt"] = "Figure: " + cell.metadata["alt"]


@spoils("does not say what one sees")
def a_figure_with_a_label(notebook):
    with_figure(notebook).metadata["alt"] = "The fit."


@spoils("a cell shows 2 figures")
def two_figures_at_once(notebook):
    with_figure(notebook).outputs *= 2


@spoils("leads nowhere")
def a_dead_link(notebook):
    notebook.cells[-1].source += "\n[next](99_nowhere.ipynb)"


@spoils("leads to no heading")
def a_dead_anchor(notebook):
    notebook.cells[-1].source += "\n[terms](../docs/glossary.md#no-such-term)"


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


def test_a_name_that_is_not_like_the_others_is_caught():
    path = NOTEBOOKS[1]
    for name in ("1_save.ipynb", "01-save.ipynb", "01_Save.ipynb"):
        assert any("NN_snake_case" in each for each in frame(path.with_name(name), read(path)))


def test_a_link_to_a_heading_is_fine():
    notebook = read(NOTEBOOKS[1])
    notebook.cells[-1].source += "\n[how](../docs/teach/index.md#run-sheets)"
    assert list(words(NOTEBOOKS[1], notebook)) == []
