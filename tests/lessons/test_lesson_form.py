"""What a reader would miss in a lesson: the short version, printed answers, folded proofs, hints, a whole deck.

The rules for lessons that are written as they should be; NOT_REWRITTEN in notebook_tools.py lists the
others. Each rule is tried on a sound lesson that is spoiled on purpose.
"""

import ast
import copy
import re

import pytest
import slides
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from notebook_tools import (
    NOT_REWRITTEN,
    NOTEBOOKS,
    code_cells,
    read,
    tags,
    times,
)

# Code cells that teach nothing by themselves.
APART = {"setup", "parameters", "proof", "check", "exercise"}
HEADING = r"^#{2,3} .*"
QUESTION = r"\*\*[^*]*\?\*\*"
EXERCISE = r"^### Exercise (\d+\.\d+) · (\d+) minutes · (?:●○○|●●○|●●●)$"
COMPREHENSIONS = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


def complaints(number, notebook):
    """Everything that a reader of a lesson would miss, one string each."""
    rules = [promise, short_version, answers, asserts, proofs, folds, plainness, deck, drills, end]
    return [complaint for rule in rules for complaint in rule(number, notebook)]


def teaching(notebook):
    """The code cells that teach: without set-up, imports, parameters, proofs and exercises."""
    return [cell for cell in code_cells(notebook)[2:] if not tags(cell) & APART]


def headings(cell):
    """The headings of sections and exercises in a Markdown cell; none in code and in folded text."""
    if cell.cell_type != "markdown" or tags(cell) & {"hint", "solution"}:
        return []
    text = re.sub(r"^```.*?^```", "", cell.source, flags=re.MULTILINE | re.DOTALL)
    return re.findall(HEADING, text, re.MULTILINE)


def has_assert(cell):
    return any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(cell.source)))


def promise(number, notebook):
    title = notebook.cells[0].source
    points = re.findall(r"^- ", title.partition("**You will learn to**")[2], re.MULTILINE)
    if not 3 <= len(points) <= 4:
        yield f"{len(points)} points under 'You will learn to'"
    if "**Before this:**" not in title or "to teach" in title:
        yield "no line '**Time:** … minutes, and … for the exercises. **Before this:** …'"


def short_version(number, notebook):
    if not 1 <= number <= 15:
        return
    starts = [i for i, cell in enumerate(notebook.cells) if headings(cell)]
    first, second = starts[:2]
    if headings(notebook.cells[first])[0] != "## The short version":
        yield "the first section is not '## The short version'"
    if not any(cell.cell_type == "code" for cell in notebook.cells[first:second]):
        yield "the short version shows no code"


def answers(number, notebook):
    """A bold question is answered by what the next code cell prints or draws."""
    for i, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown" and not tags(cell) and re.search(QUESTION, cell.source):
            section = list(until_heading(notebook.cells[i + 1 :]))
            code = next((each for each in section if each.cell_type == "code"), None)
            if code is None or not code.outputs:
                question = re.search(QUESTION, cell.source)[0]
                yield f"the next code cell prints no answer to {question}"


def until_heading(cells):
    """The cells before the next heading."""
    for cell in cells:
        if headings(cell):
            return
        yield cell


def asserts(number, notebook):
    for cell in teaching(notebook):
        if has_assert(cell):
            yield f"an assert in a cell that teaches: {cell.source[:60]!r}"


def proofs(number, notebook):
    """A proof is folded, asserts, prints nothing, and closes its section."""
    for cell, following in zip(notebook.cells, [*notebook.cells[1:], None]):
        if "proof" not in tags(cell):
            continue
        if not cell.metadata.get("jupyter", {}).get("source_hidden"):
            yield "a proof is not folded"
        if not has_assert(cell) or cell.outputs:
            yield "a proof asserts nothing, or prints"
        if following is not None and not headings(following):
            yield "a proof does not close its section"


def folds(number, notebook):
    for cell in teaching(notebook):
        if cell.metadata.get("jupyter", {}).get("source_hidden") or "hide-input" in tags(cell):
            yield f"a cell that teaches is folded: {cell.source[:60]!r}"


def plainness(number, notebook):
    for cell in teaching(notebook):
        tree = ast.parse(cell.source)
        if re.search(r"^import re$|\bre\.\w+\(", cell.source, re.MULTILINE):
            yield f"a regular expression in sight: {cell.source[:60]!r}"
        if any(nested(node) for node in ast.walk(tree)):
            yield f"a comprehension in a comprehension: {cell.source[:60]!r}"
        if any(len(line) > 100 for line in cell.source.splitlines()):
            yield f"a line of code over 100 characters: {cell.source[:60]!r}"


def nested(node):
    """Whether a node of a syntax tree is a comprehension with another one inside."""
    inner = [each for each in ast.walk(node) if isinstance(each, COMPREHENSIONS)]
    return isinstance(node, COMPREHENSIONS) and len(inner) > 1


def deck(number, notebook):
    for section in slides.uncovered(notebook):
        yield f"the deck leaves out {section!r}"


def drills(number, notebook):
    """An exercise: its heading with minutes and difficulty, stub, check, hint, solution."""
    minutes = 0
    for i, cell in enumerate(notebook.cells):
        if "exercise" not in tags(cell):
            continue
        found = re.findall(EXERCISE, notebook.cells[i - 1].source, re.MULTILINE)
        if not found:
            yield f"no '### Exercise N.M · 5 minutes · ●○○' before {cell.source[:60]!r}"
        minutes += sum(int(each) for _, each in found)
        check, hint, solution = notebook.cells[i + 1 : i + 4]
        if (
            "check" not in tags(check)
            or "hint" not in tags(hint)
            or "solution" not in tags(solution)
        ):
            yield f"check, hint and solution do not follow the stub {cell.source[:60]!r}"
        elif not hint.source.startswith("<details>\n<summary>Hint"):
            yield "a hint is not folded"
    ((_, solving),) = times(notebook)
    if minutes != int(solving):
        yield f"the exercises take {minutes} minutes, and the first cell says {solving}"


def end(number, notebook):
    last = [heading for cell in notebook.cells for heading in headings(cell)][-1]
    if last != "## Recap":
        yield f"the lesson ends with {last!r}, not with '## Recap'"
    if 1 <= number <= 6 and "## Since the originals" not in sections(notebook):
        yield "no section '## Since the originals'"


def sections(notebook):
    return [heading for cell in notebook.cells for heading in headings(cell)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_lesson_has_what_a_reader_would_miss(path):
    found = complaints(int(path.stem[:2]), read(path))
    if path.stem in NOT_REWRITTEN:
        # A lesson that keeps all the rules must leave the list.
        assert found, f"{path.stem} keeps the rules: take it off NOT_REWRITTEN"
    else:
        assert found == []


def test_the_exceptions_name_lessons():
    assert set(NOT_REWRITTEN) <= {path.stem for path in NOTEBOOKS}


# ---------------------------------------------------------------- spoiled on purpose

TITLE = """# 04 · Checkpoints

A checkpoint stores a network and its sizes. In this lesson you write one.

**You will learn to**

- save;
- load;
- compare.

**Time:** 20 minutes, and 5 for the exercises. **Before this:** lesson 03."""


def text(source, kind="-", *tagged):
    return new_markdown_cell(source, metadata=about(kind, tagged))


def code(source, printed="", kind="-", *tagged):
    outputs = [new_output("stream", text=printed)] if printed else []
    return new_code_cell(source, outputs=outputs, metadata=about(kind, tagged))


def about(kind, tagged):
    folded = {"jupyter": {"source_hidden": True}} if {"setup", "proof"} & set(tagged) else {}
    return {"slideshow": {"slide_type": kind}, "tags": list(tagged), **folded}


def sound_lesson():
    """A small lesson that keeps all rules."""
    cells = [
        text(TITLE, "slide"),
        code("import sys", "", "skip", "setup"),
        code("import torch", "", "skip"),
        code("SEED = 1", "", "skip", "parameters"),
        text("## The short version\n\nSave it:", "slide"),
        code("save()"),
        text("## 1. The mode\n\nIt forgets the mode. **Which one does it have?**", "slide"),
        code("print(mode)", "train\n", "fragment"),
        code("assert mode == 'train'", "", "skip", "proof"),
        text("### Exercise 4.1 · 5 minutes · ●○○\n\nFix it.", "subslide"),
        code("mode = None", "", "-", "exercise"),
        code("check()", "not yet\n", "skip", "check"),
        text("<details>\n<summary>Hint</summary>\n\nLook.\n\n</details>", "skip", "hint"),
        text("<details>\n<summary>Solution</summary>\n\nx\n\n</details>", "skip", "solution"),
        text("## Since the originals\n\nMuch.", "skip"),
        text("## Recap\n\nSave it.\n\n**Next:** 05", "slide"),
    ]
    return new_notebook(cells=cells)


def test_a_sound_lesson_passes():
    assert complaints(4, sound_lesson()) == []


def replaced(index, old, new):
    """A spoiler that replaces a text in a cell."""

    def spoil(notebook):
        assert old in notebook.cells[index].source
        notebook.cells[index].source = notebook.cells[index].source.replace(old, new)

    return spoil


def without(index):
    """A spoiler that takes out a cell."""
    return lambda notebook: notebook.cells.pop(index)


def unfold(notebook):
    del notebook.cells[8].metadata["jupyter"]


def fold(notebook):
    notebook.cells[5].metadata["jupyter"] = {"source_hidden": True}


def no_answer(notebook):
    notebook.cells[7].outputs = []


def answer_behind_a_definition(notebook):
    notebook.cells.insert(7, code("def f():\n    pass"))


def printing_proof(notebook):
    notebook.cells[8].outputs = [new_output("stream", text="True")]


def proof_in_the_middle(notebook):
    notebook.cells.insert(9, text("And on."))


def off_the_deck(notebook):
    for cell in notebook.cells[6:11]:
        cell.metadata["slideshow"]["slide_type"] = "skip"


SPOILED = [
    (replaced(0, "- load;\n- compare.", "- load."), "2 points"),
    (replaced(0, "**Before this:**", "**Needs first:**"), "no line '**Time:**"),
    (replaced(4, "The short version", "Introduction"), "first section is not"),
    (without(5), "short version shows no code"),
    (no_answer, "prints no answer to **Which one does it have?**"),
    (answer_behind_a_definition, "prints no answer"),
    (replaced(5, "save()", "save()\nassert saved"), "an assert in a cell that teaches"),
    (unfold, "a proof is not folded"),
    (replaced(8, "assert mode == 'train'", "mode"), "asserts nothing"),
    (printing_proof, "asserts nothing, or prints"),
    (proof_in_the_middle, "does not close its section"),
    (fold, "a cell that teaches is folded"),
    (lambda notebook: notebook.cells[5].metadata["tags"].append("hide-input"), "teaches is folded"),
    (replaced(5, "save()", "re.sub(1, 2, 3)"), "a regular expression"),
    (replaced(5, "save()", "[[b for b in a] for a in c]"), "comprehension in a comprehension"),
    (replaced(5, "save()", "save(" + "a" * 100 + ")"), "over 100 characters"),
    (off_the_deck, "the deck leaves out '1. The mode'"),
    (replaced(9, " · ●○○", ""), "no '### Exercise N.M"),
    (replaced(9, "5 minutes", "6 minutes"), "exercises take 6 minutes"),
    (without(12), "check, hint and solution do not follow"),
    (replaced(12, "<details>\n", ""), "a hint is not folded"),
    (replaced(15, "## Recap", "## End"), "ends with '## End'"),
    (without(14), "no section '## Since the originals'"),
]


@pytest.mark.parametrize(("spoil", "complaint"), SPOILED)
def test_a_spoiled_lesson_is_caught(spoil, complaint):
    notebook = copy.deepcopy(sound_lesson())
    spoil(notebook)
    found = complaints(4, notebook)
    assert any(complaint in each for each in found), found
