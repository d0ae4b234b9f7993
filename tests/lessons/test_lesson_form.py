"""What a reader would miss in a lesson: the short version, printed answers, folded proofs, hints.

Each rule is tried on a small sound lesson that is spoiled on purpose.
"""

import ast
import re

import pytest
import quiz
import slides
import test_notebook_rules
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from notebook_tools import NOTEBOOKS, code_cells, exercises, read, solve, tags, times

# Code cells that teach nothing by themselves.
APART = {"setup", "parameters", "proof", "exercise", "check"}
TIME = r"^\*\*Time:\*\* \d+ minutes, and \d+ for the exercises\. \*\*Before this:\*\* \S"
QUESTION = r"\*\*[^*]*\?\*\*"
EXERCISE = r"### Exercise (\d+\.\d+) · (\d+) minutes · (?:●○○|●●○|●●●)"
ORDER = ["exercise", "check", "hint", "solution"]
DRAWING = r"(figures|plt|fig|axes|ax)\b|\w+\.plot_|helper\.imshow"
COMPREHENSIONS = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
DEFINITIONS = ast.FunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom


def complaints(number, notebook):
    """Everything that a reader of a lesson would miss, one string each."""
    rules = [title, short_version, answers, asserts, proofs, hidden, plain_code, long_lines]
    rules += [deck, exercise_cells, exercise_texts, minutes, origins, end]
    return [complaint for rule in rules for complaint in rule(number, notebook)]


def teaching(notebook):
    """The code cells that teach: without set-up, parameters, proofs, stubs and checks."""
    return [cell for cell in code_cells(notebook) if not tags(cell) & APART]


def headings(source):
    """The headings of sections and exercises in a Markdown text; none inside of its code."""
    text = re.sub(r"^```.*?^```", "", source, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"^#{2,3} .*", text, re.MULTILINE)


def sections(notebook):
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    return [each for text in texts for each in headings(text) if each.startswith("## ")]


def until_heading(cells):
    """The cells before the next one with a heading."""
    for cell in cells:
        if cell.cell_type == "markdown" and headings(cell.source):
            return
        yield cell


def folded(cell):
    return cell.metadata.get("jupyter", {}).get("source_hidden", False)


def start(cell):
    """How a complaint names a cell."""
    return repr(cell.source[:60])


# ---------------------------------------------------------------- the opening


def title(number, notebook):
    text, _, rest = notebook.cells[0].source.partition("**You will learn to**")
    promise = re.sub(r"`[^`]*`", "x", text.partition("\n")[2])
    if not 1 <= len(re.findall(r"[.!?](?=\s)", promise)) <= 4:
        yield "no promise of two sentences or so above 'You will learn to'"
    points = re.findall(r"^- ", rest, re.MULTILINE)
    if not 3 <= len(points) <= 4:
        yield f"{len(points)} points under 'You will learn to'"
    if not re.search(TIME, rest, re.MULTILINE):
        yield "no line '**Time:** 25 minutes, and 20 for the exercises. **Before this:** …'"


def short_version(number, notebook):
    if not 1 <= number <= 16:
        return
    starts = [cell for cell in notebook.cells if "## The short version" in headings(cell.source)]
    if not starts or sections(notebook)[0] != "## The short version":
        yield "the first section is not '## The short version'"
        return
    section = until_heading(notebook.cells[notebook.cells.index(starts[0]) + 1 :])
    if not any(cell.cell_type == "code" and not tags(cell) & APART for cell in section):
        yield "the short version has no code"


# ---------------------------------------------------------------- questions, answers, proofs


def answers(number, notebook):
    """The next code cell after a bold question shows its answer; only definitions may come before.

    A question of an exercise is answered by the learner. On a slide, the answer waits for a key.
    """
    for i, cell in enumerate(notebook.cells):
        if cell.cell_type == "code" or tags(cell) & {"hint", "solution"}:
            continue
        section = list(until_heading(notebook.cells[i + 1 :]))
        code = [each for each in section if each.cell_type == "code" and not defines(each)]
        for question in re.finditer(QUESTION, cell.source):
            here = not headings(cell.source[question.end() :])
            if cell.source.startswith("### Exercise"):
                continue
            if not (here and code and shows(code[0])):
                yield f"the next code cell shows no answer to {question[0]}"
            elif at_once([cell, *section[: section.index(code[0]) + 1]]):
                yield f"a slide shows the answer beside {question[0]}"


def at_once(cells):
    """Whether a slide shows the first of these cells and the last one together."""
    first, *kinds = [cell.metadata.get("slideshow", {}).get("slide_type", "-") for cell in cells]
    return first != "skip" and kinds[-1] == "-" and not {"slide", "subslide", "fragment"} & {*kinds}


def defines(cell):
    """Whether a cell only defines functions and classes, or imports."""
    return all(isinstance(node, DEFINITIONS) for node in ast.parse(cell.source).body)


def shows(cell):
    return any(output.get("text", "").strip() or output.get("data") for output in cell.outputs)


def asserts(number, notebook):
    """Asserts are for proofs and checks; where an error is expected, the else may raise one."""
    for cell in code_cells(notebook):
        if not tags(cell) & {"setup", "proof", "check"} and proves(ast.parse(cell.source)):
            yield f"an assert in a cell that teaches: {start(cell)}"


def proves(tree):
    nodes = list(ast.walk(tree))
    caught = [each for node in nodes if isinstance(node, ast.Try) for each in node.orelse]
    raised = [node for node in nodes if isinstance(node, ast.Raise) and node not in caught]
    return any(isinstance(node, ast.Assert) for node in nodes) or any(
        "AssertionError" in ast.unparse(node) for node in raised
    )


def proofs(number, notebook):
    """A proof is folded, asserts, shows nothing, and comes last in its section."""
    for i, cell in enumerate(notebook.cells):
        if "proof" not in tags(cell):
            continue
        if not folded(cell):
            yield f"a proof is not folded: {start(cell)}"
        if not proves(ast.parse(cell.source)):
            yield f"a proof asserts nothing: {start(cell)}"
        if cell.outputs:
            yield f"a proof prints or draws: {start(cell)}"
        following = notebook.cells[i + 1].source if i + 1 < len(notebook.cells) else "## "
        if not re.match("#{2,3} ", following):
            yield f"a proof does not come last in its section: {start(cell)}"


# ---------------------------------------------------------------- what is in sight, and what is not


def hidden(number, notebook):
    """Folded are the set-up, the proofs, the checks, and what only draws."""
    for cell in code_cells(notebook):
        if "hide-input" in tags(cell):
            if not all(draws(node) for node in ast.parse(cell.source).body):
                yield f"a cell tagged hide-input does more than draw: {start(cell)}"
        elif folded(cell) and not tags(cell) & {"setup", "proof", "check"}:
            yield f"a cell that teaches is folded: {start(cell)}"
        if "check" in tags(cell) and not folded(cell):
            yield f"a check is in sight, and gives its answer away: {start(cell)}"


def draws(node):
    """Whether a statement calls what draws, names its result or a plain value, or repeats that."""
    if isinstance(node, ast.For):
        return all(draws(each) for each in node.body)
    call = getattr(node, "value", None)
    if isinstance(call, ast.Call) and isinstance(node, ast.Expr | ast.Assign):
        return bool(re.match(DRAWING, ast.unparse(call.func)))
    return isinstance(node, ast.Assign) and not any(
        isinstance(each, ast.Call) for each in ast.walk(node)
    )


def plain_code(number, notebook):
    for cell in teaching(notebook):
        nodes = list(ast.walk(ast.parse(cell.source)))
        names = {node.id for node in nodes if isinstance(node, ast.Name)}
        names |= {node.name for node in nodes if isinstance(node, ast.alias)}
        if "re" in names:
            yield f"a regular expression in sight: {start(cell)}"
        if any(nested(node) for node in nodes):
            yield f"a comprehension in a comprehension: {start(cell)}"


def nested(node):
    """Whether a node of a syntax tree is a comprehension with another one inside."""
    inner = [each for each in ast.walk(node) if isinstance(each, COMPREHENSIONS)]
    return isinstance(node, COMPREHENSIONS) and len(inner) > 1


def long_lines(number, notebook):
    """Code is cut at 100 characters; the set-up is the same in all lessons."""
    for cell in code_cells(notebook)[1:]:
        if any(len(line) > 100 for line in cell.source.splitlines()):
            yield f"a line of code over 100 characters: {start(cell)}"


def deck(number, notebook):
    for section in slides.uncovered(notebook):
        yield f"no slide shows {section!r}"


# ---------------------------------------------------------------- exercises, and the end


def exercise_cells(number, notebook):
    """An exercise is its heading and its stub, check, hint and solution, in this order."""
    for i, cell in enumerate(notebook.cells):
        if cell.cell_type == "code" or not cell.source.startswith("### Exercise"):
            continue
        following = zip(notebook.cells[i + 1 :], ORDER)
        if [tag for each, tag in following if tag in tags(each)] != ORDER:
            yield f"stub, check, hint and solution do not follow {start(cell)}"
        found = re.fullmatch(EXERCISE, cell.source.partition("\n")[0])
        if not found:
            yield f"no '### Exercise 4.1 · 5 minutes · ●○○': {start(cell)}"
        elif f'helper.exercise("{found[1]}")' not in notebook.cells[i + 2].source:
            yield f"the check is that of another exercise: {start(cell)}"


def exercise_texts(number, notebook):
    """Each stub has a heading of its own; hints and solutions are folded."""
    for before, cell in zip(notebook.cells, notebook.cells[1:]):
        if "exercise" in tags(cell) and not before.source.startswith("### Exercise"):
            yield f"no heading right before the stub {start(cell)}"
        for tag in tags(cell) & {"hint", "solution"}:
            fold = rf"<details>\n<summary>{tag}[^\n]*</summary>\n\n.*\n</details>\n*"
            if not re.fullmatch(fold, cell.source, re.DOTALL | re.IGNORECASE):
                yield f"a {tag} is not folded: {start(cell)}"


def minutes(number, notebook):
    planned = [solving for _, solving in times(notebook)]
    found = [re.match(EXERCISE, cell.source) for cell in notebook.cells]
    total = sum(int(each[2]) for each in found if each)
    if planned != [str(total)]:
        yield f"the exercises take {total} minutes, and the first cell says {planned}"


def origins(number, notebook):
    text = test_notebook_rules.text_of(notebook)
    if 1 <= number <= 6 and "Since the originals" not in text:
        yield "no box 'Since the originals'"


def end(number, notebook):
    if sections(notebook)[-2:] != ["## Recap", "## Check yourself"]:
        yield "the last sections are not '## Recap' and '## Check yourself'"
    asked = quiz.questions(notebook)
    if tags(notebook.cells[-1]) != {"quiz"} or [len(each.answers) for each in asked] != [4] * 4:
        yield "the last cell has not four questions with four answers each"
    if not all(each.key and each.reason for each in asked):
        yield "a question has no answer that folds open"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_lesson_has_what_a_reader_would_miss(path):
    assert complaints(int(path.stem[:2]), read(path)) == []


# ---------------------------------------------------------------- a sound lesson

TITLE = """# 04 · Checkpoints

A checkpoint stores the weights of a network and its sizes. In this lesson you write one.

**You will learn to**

- save it;
- load it;
- compare the two.

**Time:** 20 minutes, and 16 for the exercises. **Before this:** lesson 03."""
CATCH = """try:
    load()
except KeyError as error:
    print(error)
else:
    raise AssertionError("it loads")"""
ANSWER_1 = """<details>
<summary>Answer</summary>

**B.** A file has no mode.

</details>

"""
QUESTION_1 = (
    """<details>
<summary>1. Which <code>mode</code> comes back?</summary>

```python
print(load().training)
```

- **A** the one that was saved
- **B** training
- **C** evaluation
- **D** none

"""
    + ANSWER_1
    + "</details>"
)
QUIZ = "\n\n".join(
    ["## Check yourself\n\nFour questions."]
    + [QUESTION_1.replace("1. W", f"{number}. W") for number in (1, 2, 3, 4)]
)


def text(source, kind="-", tag=None):
    return new_markdown_cell(source, metadata=about(kind, tag))


def code(source, printed="", kind="-", tag=None):
    outputs = [new_output("stream", text=printed)] if printed else []
    return new_code_cell(source, outputs=outputs, metadata=about(kind, tag))


def about(kind, tag):
    found = {"slideshow": {"slide_type": kind}}
    if tag:
        found["tags"] = [tag]
    if tag in ("proof", "check"):
        found["jupyter"] = {"source_hidden": True}
    return found


def exercise(name, minutes, difficulty):
    """The five cells of an exercise."""
    printed = f"⬜ Exercise {name}: not yet. It is None."
    hint = "<details>\n<summary>Hint</summary>\n\nLook at it.\n\n</details>"
    solution = "<details>\n<summary>Solution</summary>\n\n```python\nmode = 1\n```\n\n</details>"
    return [
        text(f"### Exercise {name} · {minutes} minutes · {difficulty}\n\nFix it.", "subslide"),
        code("mode = None", tag="exercise"),
        code(f'with helper.exercise("{name}"):\n    assert mode', printed, "skip", "check"),
        text(hint, "skip", "hint"),
        text(solution, "skip", "solution"),
    ]


def figure():
    """A cell that draws, without its code."""
    cell = code("figures.plot_modes(modes)\nplt.show()", tag="hide-input")
    cell.outputs = [new_output("display_data", data={"image/png": "iVBO"})]
    cell.metadata["alt"] = "Two bars: the mode after loading, and the mode after eval."
    return cell


@pytest.fixture
def lesson():
    """A small lesson that keeps all rules."""
    setup = code_cells(read(NOTEBOOKS[0]))[0]
    cells = [
        text(TITLE, "slide"),
        new_code_cell(setup.source, metadata=setup.metadata),
        code("import torch", kind="skip"),
        code("SEED = 1", kind="skip", tag="parameters"),
        text("## The short version\n\nSave it:", "slide"),
        code("torch.save(model, path)"),
        *exercise("4.1", 5, "●○○"),
        text("## 1. The mode\n\nThe file forgets the mode. **Which one does it have?**", "slide"),
        code("def mode_of(model):\n    return model.training"),
        code("print(mode_of(model))", "True\n", "fragment"),
        text("It is in training mode. **And without the key?**"),
        code(CATCH, "'state_dict'\n", "fragment"),
        figure(),
        code("model.train()\nassert mode_of(model)", "", "skip", "proof"),
        *exercise("4.2", 5, "●●○"),
        *exercise("4.3", 6, "●●●"),
        text("> **Since the originals** nothing has changed.", "skip"),
        text("## Recap\n\nSave it.\n\n**Next:** lesson 05.", "slide"),
        text(QUIZ, "skip", "quiz"),
    ]
    notebook = new_notebook(cells=cells, metadata=test_notebook_rules.METADATA)
    for i, cell in enumerate(code_cells(notebook)):
        cell.execution_count = i + 1
    return notebook


def test_a_sound_lesson_passes_these_rules_and_those_for_all(lesson):
    assert complaints(4, lesson) == []
    path = NOTEBOOKS[0].with_name("04_checkpoints.ipynb")
    assert test_notebook_rules.complaints(path, lesson) == []


def test_the_tools_find_exercises_with_hints_and_the_times(lesson):
    assert [name for name, *_ in exercises(lesson)] == ["4.1", "4.2", "4.3"]
    assert times(lesson) == [("20", "16")]
    solved = [cell.source for cell in solve(lesson).cells if "solved" in tags(cell)]
    assert solved == ["mode = 1\n"] * 3


# ---------------------------------------------------------------- spoiled on purpose


def cell_with(notebook, part):
    """The first cell that holds a text."""
    return next(cell for cell in notebook.cells if part in cell.source)


def replaced(old, new):
    """A spoiler: another text in the first cell that holds it."""

    def spoil(notebook):
        cell = cell_with(notebook, old)
        cell.source = cell.source.replace(old, new)

    return spoil


def dropped(part):
    """A spoiler: the first cell that holds a text is gone."""
    return lambda notebook: notebook.cells.remove(cell_with(notebook, part))


def added(source, before):
    """A spoiler: one more cell, code or text, before the first that holds a text."""

    def spoil(notebook):
        new = text(source) if source.startswith("And") else code(source, "1\n")
        notebook.cells.insert(notebook.cells.index(cell_with(notebook, before)), new)

    return spoil


def muted(part):
    """A spoiler: a cell shows nothing."""
    return lambda notebook: cell_with(notebook, part).update(outputs=[])


def printing_proof(notebook):
    cell_with(notebook, "assert mode_of").outputs = [new_output("stream", text="True")]


def proof_in_sight(notebook):
    del cell_with(notebook, "assert mode_of").metadata["jupyter"]


def check_in_sight(notebook):
    del cell_with(notebook, "    assert mode").metadata["jupyter"]


def folded_recipe(notebook):
    cell_with(notebook, "torch.save").metadata["jupyter"] = {"source_hidden": True}


def folded_stub(notebook):
    cell_with(notebook, "mode = None").metadata["jupyter"] = {"source_hidden": True}


def answer_at_once(notebook):
    cell_with(notebook, ANSWER).metadata["slideshow"]["slide_type"] = "-"


def recipe_without_code(notebook):
    cell_with(notebook, "torch.save").metadata["tags"] = ["hide-input"]


def section_off_the_deck(notebook):
    first = notebook.cells.index(cell_with(notebook, "## 1. The mode"))
    for cell in notebook.cells[first:-1]:
        cell.metadata["slideshow"]["slide_type"] = "skip"


def answer_behind_a_silent_cell(notebook):
    place = notebook.cells.index(cell_with(notebook, ANSWER))
    notebook.cells.insert(place, code("mode = mode_of(model)"))


PROMISE = (
    "A checkpoint stores the weights of a network and its sizes. In this lesson you write one."
)
SAVED = "torch.save(model, path)"
ANSWER = "print(mode_of(model))"
SPOILED = [
    (replaced(PROMISE, ""), "no promise of two sentences"),
    (replaced(PROMISE, f"{PROMISE} " * 3), "no promise of two sentences"),
    (replaced("- load it;\n", ""), "2 points"),
    (replaced("- load it;\n", "- load it;\n" * 3), "5 points"),
    (replaced("You will learn to", "You will be able to"), "0 points"),
    (replaced("minutes, and 16", "minutes to teach, 16"), "no line '**Time:**"),
    (replaced("**Before this:**", "**Needs first:**"), "no line '**Time:**"),
    (replaced("## The short version", "## In short"), "the first section is not"),
    (added("And\n\n## Introduction", "## The short"), "the first section is not"),
    (dropped(SAVED), "short version has no code"),
    (muted(ANSWER), "shows no answer to **Which one does it have?**"),
    (answer_behind_a_silent_cell, "shows no answer to **Which one does it have?**"),
    (added("And\n\n## 2. The key", CATCH), "shows no answer to **And without the key?**"),
    (replaced("## The short", "**Which one?**\n\n## The short"), "no answer to **Which one?**"),
    (answer_at_once, "a slide shows the answer beside **Which one does it have?**"),
    (replaced(SAVED, SAVED + "\nassert path.exists()"), "an assert in a cell that teaches"),
    (replaced("mode = None", "mode = None\nassert not mode"), "an assert in a cell that teaches"),
    (replaced(SAVED, 'raise AssertionError("no")'), "an assert in a cell that teaches"),
    (proof_in_sight, "a proof is not folded"),
    (replaced("\nassert mode_of(model)", ""), "a proof asserts nothing"),
    (printing_proof, "a proof prints or draws"),
    (added("And on.", "### Exercise 4.2"), "a proof does not come last"),
    (folded_recipe, "a cell that teaches is folded"),
    (folded_stub, "a cell that teaches is folded"),
    (check_in_sight, "a check is in sight"),
    (recipe_without_code, "hide-input does more than draw"),
    (replaced("figures.plot_modes(modes)", "model = load(path)"), "hide-input does more than draw"),
    (replaced(SAVED, "import re"), "a regular expression"),
    (replaced(SAVED, 're.sub("a", "b", "c")'), "a regular expression"),
    (replaced(SAVED, "[[b for b in a] for a in c]"), "a comprehension in a comprehension"),
    (replaced(SAVED, f"save({'a' * 100})"), "over 100 characters"),
    (section_off_the_deck, "no slide shows"),
    (replaced(" · ●○○", ""), "no '### Exercise 4.1 · 5 minutes"),
    (replaced("●●●", "●●●●"), "no '### Exercise 4.1 · 5 minutes"),
    (replaced("### Exercise 4.2", "### Exercise 4.7"), "that of another exercise"),
    (dropped("<summary>Hint"), "stub, check, hint and solution do not follow"),
    (dropped("<summary>Solution"), "stub, check, hint and solution do not follow"),
    (added("And the stub:", "mode = None"), "no heading right before the stub"),
    (replaced("<details>\n<summary>Hint</summary>\n\n", ""), "a hint is not folded"),
    (replaced("Hint</summary>\n\n", "Hint</summary>\n"), "a hint is not folded"),
    (replaced("<summary>Solution", "<summary>Hint"), "a solution is not folded"),
    (replaced("4.1 · 5 minutes", "4.1 · 6 minutes"), "the exercises take 17 minutes"),
    (replaced("Since the originals", "Since then"), "no box 'Since the originals'"),
    (replaced("## Recap", "## 2. The end"), "the last sections are not '## Recap' and"),
    (dropped("## Check yourself"), "the last sections are not '## Recap' and"),
    (replaced("- **D** none\n", ""), "has not four questions with four answers"),
    (replaced("<summary>4. W", "<summary>W"), "has not four questions with four answers"),
    (replaced(ANSWER_1, ""), "a question has no answer that folds open"),
]


@pytest.mark.parametrize(("spoil", "complaint"), SPOILED, ids=[each for _, each in SPOILED])
def test_a_spoiled_lesson_is_caught(lesson, spoil, complaint):
    spoil(lesson)
    found = complaints(4, lesson)
    assert any(complaint in each for each in found), found
