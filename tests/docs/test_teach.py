"""docs/teach: run sheets add up, sections and exercises exist, hints are those of the checks, clocks go on."""

import re
from itertools import groupby

import pytest
from notebook_tools import (
    FILLER,
    NOTEBOOKS,
    ROOT,
    exercises,
    read,
    times,
)
from wrong_answers import WRONG_ANSWERS

FOLDER = ROOT / "docs" / "teach"
TEXT = (FOLDER / "index.md").read_text(encoding="utf-8")
PAGES = {path.stem: (FOLDER / f"{path.stem}.md").read_text(encoding="utf-8") for path in NOTEBOOKS}
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


def listed_hints(page):
    """{exercise: hints} of the tables in a lesson's page; a table stands below its exercise's heading."""
    found, name = {}, ""
    for line in page.splitlines():
        name = (re.findall(r"^#+ Exercise (\d+\.\d+)", line) or [name])[0]
        if re.fullmatch(r"\| .* \| .* \|", line) and "---" not in line:
            found.setdefault(name, []).append(rows(line)[0][1].strip("` "))
    return {name: hints[1:] for name, hints in found.items()}


def problems_of_hints(pages):
    """Where the tables of wrong answers and those that are tried differ, one string each."""
    listed = {name: hints for page in pages for name, hints in listed_hints(page).items()}
    found = [f"{name} has no table" for name in EXERCISES if name not in listed]
    for name in listed.keys() | WRONG_ANSWERS.keys():
        tried = [hint for hint, _ in WRONG_ANSWERS.get(name, [])]
        if listed.get(name) != tried:
            found.append(f"{name} lists {listed.get(name)}, and tried is {tried}")
    return found


def clock(page):
    """The clock lines of a page: (section or exercise, first minute, last minute), in order."""
    form = r"^#+ (.*?)(?:, not on a slide)?\n\n\*(\d+):(\d\d) to (\d+):(\d\d)\*$"
    return [
        (part, int(h1) * 60 + int(m1), int(h2) * 60 + int(m2))
        for part, h1, m1, h2, m2 in re.findall(form, page, re.MULTILINE)
    ]


def problems_of_clock(page, minutes):
    """What is wrong with the clock of a page; minutes is {section or exercise: minutes} of the lesson."""
    found, now = [], 0
    for part, start, end in clock(page):
        if start != now:
            found.append(f"{part} begins at {start}, and the part before ends at {now}")
        if end - start != minutes.get(part):
            found.append(f"{part} takes {end - start} minutes, planned are {minutes.get(part)}")
        now = end
    if now != sum(minutes.values()):
        found.append(f"the clock ends at {now}, the lesson takes {sum(minutes.values())} minutes")
    return found


def planned(number):
    """{section or exercise: minutes} of a lesson, out of the run sheets of the three days."""
    sheets = list(run_sheets(TEXT).values())[2:]
    return {row[2]: int(row[0]) for sheet, _ in sheets for row in sheet if row[1] == number}


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
    assert problems_of_hints(PAGES.values()) == []


@pytest.mark.parametrize("stem", PAGES)
def test_the_clock_of_a_page_goes_on_to_the_end_of_the_lesson(stem):
    assert problems_of_clock(PAGES[stem], planned(stem[:2])) == []


@pytest.mark.parametrize("name", ["index", *PAGES])
def test_links_lead_somewhere_and_no_word_is_filler(name):
    text = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    prose = re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)
    for target in re.findall(r"\]\((?!https:)([^)]+)\)", prose):
        assert (FOLDER / target).exists(), target
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
        ("Exercise 0.3", "Exercise 6.5", "0.3 has no table"),
    ],
)
def test_a_spoiled_hint_is_caught(old, new, problem):
    pages = [page.replace(old, new) for page in PAGES.values()]
    assert any(problem in each for each in problems_of_hints(pages))


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("to 0:08*", "to 0:09*", "takes 6 minutes, planned are 5"),
        ("*0:08 to", "*0:09 to", "begins at 9, and the part before ends at 8"),
        ("\n*0:00 to 0:03*\n", "\n", "begins at 3"),
        ("## Recap\n", "## The end\n", "planned are None"),
    ],
)
def test_a_spoiled_clock_is_caught(old, new, problem):
    page = PAGES[NOTEBOOKS[1].stem]
    assert old in page
    found = problems_of_clock(page.replace(old, new), planned("01"))
    assert any(problem in each for each in found), found
