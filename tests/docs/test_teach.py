"""docs/instructors.md: its minutes add up, its sections and exercises exist, and its hints are those of the checks."""

import re
from itertools import groupby

import nbformat
import pytest
from notebook_tools import (
    FILLER,
    NOTEBOOKS,
    ROOT,
    exercises,
    printed,
    read,
    run_papermill,
    tags,
    times,
)
from wrong_answers import WRONG_ANSWERS

TEXT = (ROOT / "docs" / "instructors.md").read_text(encoding="utf-8")
EXERCISES = [name for path in NOTEBOOKS for name, *_ in exercises(read(path))]


def rows(text):
    """The rows of the tables in a text, as lists of cells; heads and lines are left out."""
    lines = re.findall(r"^\| .* \|$", text, re.MULTILINE)
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines if "---" not in line
    ]


def run_sheets(text):
    """{title: (rows of minutes, lesson, part …, the sum that is named below the table)}"""
    text = text.partition("## Run sheets")[2].partition("\n## ")[0]
    sheets = {}
    for section in text.split("\n### ")[1:]:
        (total,) = re.findall(r"^(\d+) minutes\.$", section, re.MULTILINE)
        sheets[section.partition("\n")[0]] = (rows(section)[1:], int(total))
    return sheets


def parts(path):
    """The sections of a notebook by their titles, and its exercises."""
    text = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    return re.findall(r"^###? (.+)", text, re.MULTILINE)


def problems_of_sheet(sheet, total):
    """Everything that is wrong with a run sheet, one string each."""
    minutes = sum(int(row[0]) for row in sheet)
    found = [] if minutes == total else [f"the minutes add up to {minutes}, not {total}"]
    for _, lesson, part, *_ in sheet:
        paths = [path for path in NOTEBOOKS if path.name.startswith(lesson)] if lesson else []
        if lesson and not (len(paths) == 1 and part in parts(paths[0])):
            found.append(f"lesson {lesson} has no part {part!r}")
    return found


def problems_of_hints(text):
    """Where the tables of exercises and the wrong answers that are tried differ, one string each."""
    listed = {}
    for row in rows(text.partition("\n## The exercises")[2].partition("\n## ")[0]):
        if re.fullmatch(r"\d+\.\d+", row[0]):
            listed.setdefault(row[0], []).append(row[3].strip("` "))
    found = [f"{name} has no row" for name in EXERCISES if name not in listed]
    for name in listed.keys() | WRONG_ANSWERS.keys():
        tried = [hint for hint, _ in WRONG_ANSWERS.get(name, [])]
        if listed.get(name) != tried:
            found.append(f"{name} lists {listed.get(name)}, and tried is {tried}")
    return found


@pytest.mark.parametrize("title", run_sheets(TEXT))
def test_a_run_sheet_adds_up_and_names_what_is_there(title):
    assert problems_of_sheet(*run_sheets(TEXT)[title]) == []


def test_the_run_sheets_are_of_the_lengths_that_they_say():
    totals = [total for _, total in run_sheets(TEXT).values()]
    assert totals == [90, 210, 300, 300, 160, 180]


def test_the_three_days_give_each_lesson_the_times_that_it_names():
    sheets = run_sheets(TEXT)
    days = [row for title in list(sheets)[2:] for row in sheets[title][0] if row[1]]
    for (lesson, group), path in zip(groupby(days, key=lambda row: row[1]), NOTEBOOKS, strict=True):
        group = list(group)
        solve = sum(int(row[0]) for row in group if row[2].startswith("Exercise "))
        teach = sum(int(row[0]) for row in group) - solve
        assert path.name.startswith(lesson) and times(read(path)) == [(str(teach), str(solve))]
        missing = set(parts(path)) - {row[2] for row in group}
        assert missing == {"Since the originals"}


def test_the_hints_are_those_of_the_wrong_answers():
    assert problems_of_hints(TEXT) == []


# The hints of the others hold too. To try them as well takes minutes: NOTEBOOKS without [:2].
@pytest.mark.parametrize("path", NOTEBOOKS[:2], ids=lambda path: path.stem)
def test_the_checks_give_these_hints(path):
    notebook, expected = read(path), []
    for name, _stub, check, _solution in exercises(notebook):
        after = notebook.cells.index(check) + 1
        for _, source in reversed(WRONG_ANSWERS[name]):
            again = nbformat.v4.new_code_cell(check.source, metadata={"tags": ["again"]})
            notebook.cells[after:after] = [nbformat.v4.new_code_cell(source), again]
        expected += [f"⬜ Exercise {name}: not yet. {hint}" for hint, _ in WRONG_ANSWERS[name]]
    notebook = run_papermill(notebook, f"{path.stem}-wrong")
    found = [printed(cell).removesuffix("\n") for cell in notebook.cells if "again" in tags(cell)]
    assert found == expected


def test_links_lead_somewhere_and_no_word_is_filler():
    prose = re.sub(r"```.*?```|`[^`]*`", "", TEXT, flags=re.DOTALL)
    for target in re.findall(r"\]\((?!https:)([^)]+)\)", prose):
        assert (ROOT / "docs" / target).exists(), target
    assert re.findall(FILLER, prose, re.IGNORECASE) == []


# ---------------------------------------------------------------- spoiled on purpose


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("| 5 | 00 | 1. Is your", "| 6 | 00 | 1. Is your", "add up to 91"),
        ("2. Two ways to save", "2. Three ways to save", "no part '2. Three ways"),
        ("Exercise 1.4", "Exercise 1.9", "no part 'Exercise 1.9'"),
        ("| 01 | Recap", "| 19 | Recap", "lesson 19 has no part"),
    ],
)
def test_a_spoiled_run_sheet_is_caught(old, new, problem):
    found = problems_of_sheet(*run_sheets(TEXT.replace(old, new, 1))["90 minutes"])
    assert any(problem in each for each in found), found


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("B: somebody else loads it", "B: somebody", "0.2 lists"),
        ("\n| 6.4 |", "\n| 6.5 |", "6.4 has no row"),
    ],
)
def test_a_spoiled_hint_is_caught(old, new, problem):
    assert old in TEXT
    found = problems_of_hints(TEXT.replace(old, new))
    assert any(problem in each for each in found), found
