"""What holds in a fresh copy of the series for a class. In the copy's folder: python -m pytest

Running the notebooks takes most of the time.
Without it: python -m pytest -k "not from_top_to_bottom"
"""

import functools
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((FOLDER / "notebooks").glob("*.ipynb"))
by_name = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    return nbformat.read(path, as_version=4)


def has_tag(cell, tag):
    return tag in cell.metadata.get("tags", [])


def exercise_names(notebook):
    """The names of the exercises, each a stub and the check behind it."""
    names = []
    for cell, following in zip(notebook.cells, [*notebook.cells[1:], None]):
        if has_tag(cell, "exercise"):
            assert following and has_tag(following, "check"), (
                f"no check behind the stub {cell.source[:60]!r}"
            )
            names += re.findall(r'helper\.exercise\("([\d.]+)"\)', following.source)
    return names


def test_the_notebooks_are_there():
    assert NOTEBOOKS and NOTEBOOKS[0].name == "00_start_here.ipynb"


@by_name
def test_no_solution_is_left(path):
    for cell in read(path).cells:
        assert not has_tag(cell, "solution") and "Solution" not in cell.source
        assert "<details" not in cell.source or has_tag(cell, "hint") or has_tag(cell, "quiz")
        assert "<summary>Answer" not in cell.source


@by_name
def test_no_output_is_left(path):
    for cell in read(path).cells:
        assert not cell.get("outputs") and not cell.get("execution_count"), cell.source


@by_name
def test_each_exercise_has_a_stub_and_a_check(path):
    notebook = read(path)
    names = exercise_names(notebook)
    assert names == [f"{int(path.name[:2])}.{i + 1}" for i in range(len(names))] and len(names) >= 2
    assert len(names) == sum("### Exercise" in cell.source for cell in notebook.cells)
    assert len(names) == sum(has_tag(cell, "check") for cell in notebook.cells)


@by_name
def test_links_lead_to_files_of_the_copy(path):
    text = "\n\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    text = re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        name, _, place = target.partition("#")
        assert target.startswith("https://") or (path.parent / name).is_file(), target
        assert not name.endswith("errors.md") or not place or place in places(), target


@functools.cache
def places():
    """The anchors of docs/errors.md, and those that its headings make."""
    page = (FOLDER / "docs" / "errors.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.*)", page, flags=re.MULTILINE)
    slugs = [re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings]
    return {*re.findall(r'^<a id="([\w-]+)">', page, flags=re.MULTILINE), *slugs}


def test_the_modules_are_those_of_the_copy():
    import checkpoints
    import fc_model
    import helper

    for module in (checkpoints, fc_model, helper):
        assert Path(module.__file__).parent == FOLDER


def test_the_data_are_whole():
    import helper

    assert [helper.data_file(name).name for name in helper.CHECKSUMS] == list(helper.CHECKSUMS)


@by_name
def test_it_runs_from_top_to_bottom_and_no_exercise_is_solved(path):
    notebook = read(path)
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        coalesce_streams=True,
        # Its warnings, on encryption and the like, are not yours.
        extra_arguments=["--IPKernelApp.log_level=CRITICAL"],
    )
    client.execute()
    printed = [cell.outputs[0].text for cell in notebook.cells if has_tag(cell, "check")]
    for name, text in zip(exercise_names(notebook), printed, strict=True):
        assert text.startswith(f"⬜ Exercise {name}: not yet"), text
