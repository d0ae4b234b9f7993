"""Each lesson in a real JupyterLab, as a learner works with it: run it all, look at it, solve an exercise."""

import re

import nbformat
import pytest
from conftest import take_picture
from notebook_tools import (
    FILE,
    NOTEBOOKS,
    ROOT,
    code_cells,
    exercises,
    into_file,
    printed,
    read,
    tags,
    write,
)
from playwright.sync_api import expect

NOTEBOOK = "window.jupyterapp?.shell.currentWidget?.context"
CURRENT = ".jp-NotebookPanel:not(.lm-mod-hidden)"


@pytest.fixture
def opened(lab):
    """opened(name) opens a lesson by a double click in the file browser; behind the test its kernel is shut down."""

    def open_notebook(name):
        lab.foreign.clear(), lab.errors.clear()
        lab.get_by_title("Refresh the file browser.").click()
        lab.get_by_role("listitem", name=name).dblclick()
        lab.wait_for_function(f"{NOTEBOOK}?.path == 'notebooks/{name}' && {NOTEBOOK}.isReady")
        wait_idle(lab, "cells => true")
        return lab

    yield open_notebook
    # Closed without the question whether to save.
    lab.evaluate(
        f"{NOTEBOOK}?.sessionContext.shutdown().then(() => window.jupyterapp.shell.currentWidget.dispose())"
    )


def state(page):
    """The notebook as JupyterLab holds it; the page leaves parts of it out."""
    return nbformat.from_dict(page.evaluate(f"{NOTEBOOK}.model.toJSON()"))


def cell_on(page, index):
    return page.locator(f"{CURRENT} .jp-Notebook .jp-Cell").nth(index)


def output_on(page, index):
    return cell_on(page, index).locator(".jp-OutputArea-output")


def choose(page, menu, entry):
    """Click an entry of the menu bar."""
    page.locator("#jp-MainMenu").get_by_role("menuitem", name=menu, exact=True).click()
    page.locator(".lm-Menu").get_by_role("menuitem", name=entry, exact=True).click()


def wait_idle(page, condition):
    """Wait until the kernel does nothing and a function of the notebook's cells is true."""
    idle = f"{NOTEBOOK}.sessionContext.session?.kernel?.status == 'idle'"
    # In milliseconds: asking at every frame, the default, would keep the browser busy.
    page.wait_for_function(
        f"{idle} && ({condition})([...{NOTEBOOK}.model.cells])", polling=200, timeout=300_000
    )


def run_all(page):
    """Clear what is stored, run everything, and wait until every cell has run or one has failed."""
    choose(page, "Edit", "Clear Outputs of All Cells")
    assert not any(cell.outputs or cell.execution_count for cell in code_cells(state(page)))
    choose(page, "Run", "Run All Cells")
    wait_idle(
        page,
        """cells => {
            const code = cells.filter(cell => cell.type == "code");
            const failed = ({outputs}) => [...Array(outputs.length).keys()].some(i => outputs.get(i).type == "error");
            return code.some(failed) || code.every(cell => cell.executionCount);
        }""",
    )


def check(page, stored):
    """What must hold of a notebook that ran in JupyterLab, beside the same notebook as it is stored."""
    notebook = state(page)
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    errors = [
        f"{output.ename}: {output.evalue}" for output in outputs if output.output_type == "error"
    ]
    assert not errors, f"a cell failed: {errors}"
    stderr = [output.text for output in outputs if output.get("name") == "stderr"]
    assert not stderr, f"something on stderr: {stderr}"
    assert not page.locator(".jp-Dialog").count(), "a dialog is open"

    sizes = widths(page)
    assert len(sizes) == figures(notebook) == figures(stored), (
        f"{len(sizes)} figures of {figures(stored)}"
    )
    assert all(sizes), f"a figure is not loaded, the widths are {sizes}"

    for name, _, exercise, _ in exercises(notebook):
        mark = f"⬜ Exercise {name}: not yet"
        assert printed(exercise).startswith(mark), f"exercise {name} printed {printed(exercise)!r}"
        shown = output_on(page, notebook.cells.index(exercise)).get_by_text(mark)
        shown.scroll_into_view_if_needed()
        expect(shown).to_be_visible()
        check_fold(page.locator(f"{CURRENT} details", has_text=f"Solution {name}"), name)
    assert not page.foreign, f"requests left the machine: {page.foreign}"


def check_fold(details, name):
    """A solution is folded, opens on a click, and folds up again."""
    code = details.locator("pre")
    assert not code.is_visible(), f"solution {name} is not folded"
    details.locator("summary").click()
    expect(code).to_be_visible()
    details.locator("summary").click()
    expect(code).to_be_hidden()


def widths(page):
    """The width of each figure once it is loaded, 0 if it cannot be."""
    return page.evaluate(
        """async selector => {
            const images = [...document.querySelectorAll(selector)];
            await Promise.allSettled(images.map(image => image.decode()));
            return images.map(image => image.complete && image.naturalWidth);
        }""",
        f"{CURRENT} .jp-OutputArea-output img",
    )


def figures(notebook):
    return sum(
        "image/png" in output.get("data", {})
        for cell in code_cells(notebook)
        for output in cell.outputs
    )


def solve(page, name):
    """Do exercise `name` as a learner would: type over the stub, run it and then its check with Shift+Enter."""
    notebook = state(page)
    ((stub, exercise, solution),) = [
        cells for number, *cells in exercises(notebook) if number == name
    ]
    (answer,) = re.findall(r"```python\n(.*?)\n```", solution.source, re.DOTALL)
    if answer.startswith(FILE):
        answer = into_file(answer)
    first, second = notebook.cells.index(stub), notebook.cells.index(exercise)
    cell_on(page, first).locator(".cm-content").click()
    page.keyboard.press("ControlOrMeta+a")
    # In one piece, as if pasted: key by key the editor would indent and complete what is typed.
    page.keyboard.insert_text(answer)
    assert state(page).cells[first].source == answer
    page.keyboard.press("Shift+Enter")
    page.keyboard.press("Shift+Enter")
    wait_idle(page, f"cells => cells[{second}].executionCount > {exercise.execution_count}")
    mark = f"✅ Exercise {name}"
    result = printed(state(page).cells[second])
    assert result == f"{mark}\n", f"exercise {name} printed {result!r}"
    expect(output_on(page, second).get_by_text(mark)).to_be_visible()


def take_pictures(page, path, name):
    """The whole notebook in a few tall windows, in place of the pictures of an earlier run."""
    for old in path("lab/old").parent.glob(f"{name}_*.png"):
        old.unlink()
    size = page.viewport_size
    page.set_viewport_size({**size, "height": 4500})
    panel = page.locator(f"{CURRENT} .jp-WindowedPanel-outer")
    page.wait_for_function("panel => panel.clientHeight > 4000", arg=panel.element_handle())
    # Behind its last cell a notebook can be scrolled on, by nearly a window.
    end, window = panel.evaluate(
        "panel => [panel.querySelector('.jp-Cell:last-child').offsetTop + 200, panel.clientHeight]"
    )
    for k, top in enumerate(range(0, end, window - 50)):
        panel.evaluate("(panel, top) => panel.scrollTop = top", top)
        take_picture(page, path(f"lab/{name}_{k:02}"))
    page.set_viewport_size(size)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_lesson_runs_and_an_exercise_can_be_solved(opened, pictures, path):
    page, stored = opened(path.name), read(path)
    run_all(page)
    check(page, stored)
    take_pictures(page, pictures, path.stem[:2])
    # One is enough here: the tests of the notebooks run the solution of every exercise.
    (name, *_), *_ = exercises(stored)
    solve(page, name)
    assert not page.foreign, f"requests left the machine: {page.foreign}"


def test_the_first_minute(start_lab, new_page, pictures):
    """What `make lab` opens, with JupyterLab's own settings: lesson 00, ready to run."""
    (arguments,) = re.findall(
        r"^\t.*-m jupyterlab (.*)", (ROOT / "Makefile").read_text(), re.MULTILINE
    )
    with start_lab("first", *arguments.split()) as url:
        page = new_page(1440, 900)
        page.goto(url)
        expect(page.get_by_role("heading", name="00 · Start here")).to_be_visible()
        expect(page.locator(f"{CURRENT} .jp-KernelName")).to_have_text("Python 3 (ipykernel)")
        expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible()
        expect(page.get_by_role("listitem", name="01_save_and_reload.ipynb")).to_be_visible()
        assert not page.locator(".jp-Dialog").count(), "a dialog is open"
        page.screenshot(path=pictures("lab_first_minute"))
        # The project, not the folder of notebooks, is what Jupyter serves: links out of that folder work.
        page.locator(CURRENT).get_by_role("link", name="README").click()
        page.get_by_role("tab", name="README.md").wait_for()
        page.get_by_role("tab", name="00_start_here.ipynb").click()
        # The set-up cell is folded, and runs like any other; the imports come next.
        choose(page, "Edit", "Clear Outputs of All Cells")
        (setup,) = [i for i, cell in enumerate(read(NOTEBOOKS[0]).cells) if "setup" in tags(cell)]
        cell_on(page, setup).click()
        page.keyboard.press("Shift+Enter")
        page.keyboard.press("Shift+Enter")
        expect(cell_on(page, setup + 1).locator(".jp-InputPrompt")).to_have_text("[2]:")
        assert not page.foreign, f"requests left the machine: {page.foreign}"


def test_the_picture_of_the_series(lab, new_page, pictures):
    """build/browser/series.png, for the README: a figure, and an exercise with its mark."""
    page = new_page(1600, 1000, device_scale_factor=1.25)
    page.goto(
        lab.lab_url.replace(
            "/lab", "/lab/workspaces/picture/tree/notebooks/01_save_and_reload.ipynb"
        )
    )
    page.wait_for_function(f"{NOTEBOOK}?.isReady")
    wait_idle(page, "cells => true")
    # The names of the lessons need a wider list.
    edge = page.locator(
        "#jp-main-split-panel > .lm-SplitPanel-handle:not(.lm-mod-hidden)"
    ).first.bounding_box()
    page.mouse.move(edge["x"] + 1, 450)
    page.mouse.down()
    page.mouse.move(edge["x"] + 111, 450)
    page.mouse.up()
    widths(page)  # so that all are loaded, and nothing moves any more
    figure = page.locator(f"{CURRENT} .jp-OutputArea-output img").nth(3)
    figure.evaluate("figure => figure.scrollIntoView({block: 'start'})")
    expect(
        page.locator(".jp-OutputArea-output", has_text="⬜ Exercise 1.3: not yet")
    ).to_be_in_viewport()
    page.screenshot(path=pictures("series"))


# ---------------------------------------------------------------- spoiled on purpose

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
FIGURE = f"""from base64 import b64decode
from IPython.display import Image
Image(b64decode("{PIXEL}"))"""
STUB = "answer = None"
CHECK = """# helper.exercise("9.1")
print("✅ Exercise 9.1" if answer == [42] else "⬜ Exercise 9.1: not yet. Count again.")"""
SOLUTION = """<details>
<summary>Solution 9.1</summary>

```python
answer = [
    42
]
```

</details>"""


def small_notebook():
    """What `check` and `solve` look at, in the fewest cells: a figure and an exercise."""
    new = nbformat.v4
    figure = new.new_code_cell(
        FIGURE, outputs=[new.new_output("display_data", {"image/png": PIXEL})]
    )
    cells = [
        figure,
        new.new_code_cell(STUB),
        new.new_code_cell(CHECK),
        new.new_markdown_cell(SOLUTION),
    ]
    for cell, tag in zip(cells[1:], ["exercise", "check", "solution"]):
        cell.metadata["tags"] = [tag]
    return new.new_notebook(cells=cells, metadata=read(NOTEBOOKS[0]).metadata)


# {what is wrong: (what is replaced in the cells, by what, the complaint)}
SPOILED = {
    "a cell raises": (FIGURE, "1 / 0", "a cell failed: .*ZeroDivisionError"),
    "stderr": (
        STUB,
        f"{STUB}\nimport sys\nprint('oh', file=sys.stderr)",
        "something on stderr: .*oh",
    ),
    "no figure": (FIGURE, "pass", "0 figures of 1"),
    "a broken figure": (
        FIGURE,
        'display({"image/png": "bm9uZQ=="}, raw=True)',
        "a figure is not loaded",
    ),
    "a silent check": (CHECK, CHECK.replace("print", "str"), "exercise 9.1 printed ''"),
    "a solved stub": (STUB, "answer = [42]", "exercise 9.1 printed '✅"),
    "an open solution": ("<details>", "<details open>", "solution 9.1 is not folded"),
    "a picture from elsewhere": (
        "</details>",
        "</details>\n\n![](https://example.org/a.png)",
        "left the machine",
    ),
}


@pytest.fixture
def put(series):
    """put(old, new) writes the small notebook, spoiled or not, and returns its name; behind the test it is deleted."""
    path = series / "notebooks" / "small.ipynb"

    def write_small(old="", new=""):
        notebook = small_notebook()
        for cell in notebook.cells:
            cell.source = cell.source.replace(old, new)
        return write(notebook, path).name

    yield write_small
    path.unlink()


def test_a_small_notebook_passes(put, opened):
    page = opened(put())
    run_all(page)
    check(page, small_notebook())
    solve(page, "9.1")


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_notebook_is_caught(put, opened, name):
    old, new, complaint = SPOILED[name]
    page = opened(put(old, new))
    run_all(page)
    with pytest.raises(AssertionError, match=complaint):
        check(page, small_notebook())


def test_a_wrong_solution_is_caught(put, opened):
    page = opened(put("42\n", "43\n"))
    run_all(page)
    with pytest.raises(AssertionError, match=r"exercise 9.1 printed '⬜ .* Count again"):
        solve(page, "9.1")
