"""docs/teach: run sheets and clocks add up, what they name exists, hints are the checks' own."""

import re
from itertools import groupby

import pytest
from notebook_tools import FILLER, NOTEBOOKS, ROOT, exercises, read, times
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
    """The sections of a notebook by their titles, and its exercises by their numbers."""
    text = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    return re.findall(r"^###? (Exercise [\d.]+|.+)", text, re.MULTILINE)


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
    """{exercise: hints} of the tables in a page; each stands below the heading of its exercise."""
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


def days(text):
    """The rows of the five days that belong to a lesson."""
    sheets = list(run_sheets(text).values())[2:]
    return [row for sheet, _ in sheets for row in sheet if row[1]]


def planned(number):
    """{section or exercise: minutes} of a lesson, out of the run sheets of the five days."""
    return {part: int(minutes) for minutes, lesson, part, *_ in days(TEXT) if lesson == number}


def problems_of_days(text):
    """Where the five days differ from the lessons in order, times or parts, one string each."""
    found = []
    order = [number for number, _ in groupby(days(text), key=lambda row: row[1])]
    if order != [path.stem[:2] for path in NOTEBOOKS]:
        found.append(f"the lessons come in the order {order}")
    for path in NOTEBOOKS:
        rows = [row for row in days(text) if row[1] == path.stem[:2]]
        solve = sum(int(row[0]) for row in rows if row[2].startswith("Exercise "))
        teach = sum(int(row[0]) for row in rows) - solve
        if times(read(path)) != [(str(teach), str(solve))]:
            found.append(f"{path.stem}: {teach} minutes to teach and {solve} for the exercises")
        missing = set(parts(path)) - {row[2] for row in rows} - {"Since the originals"}
        found += [f"{path.stem}: {part!r} is missing" for part in missing]
    return found


def clock(page):
    """The clock lines of a page: (section or exercise, first minute, last minute), in order."""
    heading = r"^#+ (Exercise [\d.]+|.*?)(?: · .*?)?(?:, not on a slide)?\n\n"
    times = r"\*(\d+):(\d\d) to (\d+):(\d\d)\*$"
    return [
        (part, int(h1) * 60 + int(m1), int(h2) * 60 + int(m2))
        for part, h1, m1, h2, m2 in re.findall(heading + times, page, re.MULTILINE)
    ]


def problems_of_clock(page, minutes):
    """What is wrong with the clock of a page; minutes is {section or exercise: minutes}."""
    found, now = [], 0
    for part, start, end in clock(page):
        if start != now:
            found.append(f"{part} begins at {start}, and the part before ends at {now}")
        if end - start != minutes.get(part):
            found.append(f"{part} takes {end - start} minutes, planned are {minutes.get(part)}")
        now = end
    if now != sum(minutes.values()):
        found.append(f"the clock ends at {now}, the lesson takes {sum(minutes.values())} minutes")
    if len(re.findall(r"\d:\d\d to ", page)) != len(clock(page)):
        found.append("a clock does not stand right below its heading")
    return found


def problems_of_opening(page, notebook):
    """Where the title and the times of a page are not those of the lesson, one string each."""
    title = notebook.cells[0].source.partition("\n")[0].removeprefix("# ")
    found = (
        [] if page.startswith(f"# Teaching {title}\n") else [f"the title is not that of {title}"]
    )
    named = re.findall(r"(\d+) minutes to teach and (\d+) for\s+the\s+exercises", page)
    if named != times(notebook):
        found.append(f"the page names {named}, the lesson {times(notebook)}")
    return found


def problems_of_words(text):
    """Links that lead nowhere, and filler words, one string each."""
    prose = re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)
    targets = re.findall(r"\]\((?!https:)([^)#]+)", prose)
    found = [f"{each} leads nowhere" for each in targets if not (FOLDER / each).exists()]
    return found + [f"filler: {each}" for each in re.findall(FILLER, prose, re.IGNORECASE)]


@pytest.mark.parametrize("title", run_sheets(TEXT))
def test_a_run_sheet_adds_up_and_names_what_is_there(title):
    assert problems_of_sheet(*run_sheets(TEXT)[title]) == []


def test_the_run_sheets_are_of_the_lengths_that_they_say():
    totals = [total for _, total in run_sheets(TEXT).values()]
    assert totals == [90, 210, 263, 245, 269, 191, 233]


def test_the_three_days_give_each_lesson_the_times_that_it_names():
    assert problems_of_days(TEXT) == []


def test_the_hints_are_those_of_the_wrong_answers():
    assert problems_of_hints(PAGES.values()) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_page_has_the_title_the_times_and_the_clock_of_its_lesson(path):
    page = PAGES[path.stem]
    assert problems_of_opening(page, read(path)) == []
    assert problems_of_clock(page, planned(path.stem[:2])) == []


def test_the_index_lists_each_page():
    assert TEXT.startswith("# For teachers\n")
    for path in NOTEBOOKS:
        title = read(path).cells[0].source.partition("\n")[0].removeprefix("# ")
        assert f"- [{title}]({path.stem}.md)\n" in TEXT


@pytest.mark.parametrize("name", ["index", *PAGES])
def test_links_lead_somewhere_and_no_word_is_filler(name):
    assert problems_of_words((FOLDER / f"{name}.md").read_text(encoding="utf-8")) == []


# ---------------------------------------------------------------- spoiled on purpose


@pytest.mark.parametrize(
    ("column", "word", "problem"),
    [
        (0, "17", "the minutes add up to"),
        (1, "19", "lesson 19 has no part"),
        (2, "12. Elsewhere", "no part '12. Elsewhere'"),
        (2, "Exercise 1.9", "no part 'Exercise 1.9'"),
    ],
)
def test_a_spoiled_run_sheet_is_caught(column, word, problem):
    sheet, total = run_sheets(TEXT)["90 minutes"]
    sheet[0][column] = word
    found = problems_of_sheet(sheet, total)
    assert any(problem in each for each in found), found


def test_a_spoiled_hint_is_caught():
    name = EXERCISES[0]
    ((old, _), *_) = WRONG_ANSWERS[name]
    assert any(old in page for page in PAGES.values())
    found = problems_of_hints([page.replace(old, "no hint") for page in PAGES.values()])
    assert any(f"{name} lists" in each for each in found), found
    found = problems_of_hints([page.replace(name, "6.9") for page in PAGES.values()])
    assert f"{name} has no table" in found


def replaced_row(column, word):
    """The run sheets with another word in the first row of lesson 01 on day one."""
    before, head, after = TEXT.partition("### Five days: day one")
    row = next(row for row in rows(after) if row[1] == "01")
    old = "| " + " | ".join(row) + " |"
    assert old in after
    row[column] = word
    return before + head + after.replace(old, "| " + " | ".join(row) + " |", 1)


@pytest.mark.parametrize(
    ("column", "word", "problem"),
    [
        (0, "17", "01_save_and_reload: "),
        (1, "06", "come in the order ['00', '06', '01'"),
        (2, "Exercise 1.1", "and "),
        (2, "7. Elsewhere", " is missing"),
    ],
)
def test_spoiled_days_are_caught(column, word, problem):
    found = problems_of_days(replaced_row(column, word))
    assert any(problem in each for each in found), found


PLAN = {"1. Save": 5, "Exercise 1.1": 6, "Recap": 1}
CLOCK = """# Teaching 01 · Save

## 1. Save

*0:00 to 0:05*

Ask.

## Exercise 1.1

*0:05 to 0:11*

## Recap

*0:11 to 0:12*
"""


def test_a_sound_clock_passes():
    assert problems_of_clock(CLOCK, PLAN) == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("to 0:11*", "to 0:12*", "takes 7 minutes, planned are 6"),
        ("*0:05 to", "*0:06 to", "begins at 6, and the part before ends at 5"),
        ("*0:05 to", "*0:04 to", "begins at 4, and the part before ends at 5"),
        ("\n*0:00 to 0:05*\n", "\n", "begins at 5"),
        ("\n*0:00 to 0:05*\n", "\nAsk.\n\n*0:00 to 0:05*\n", "right below its heading"),
        ("to 0:12*", "to 0:17*", "the clock ends at 17, the lesson takes 12 minutes"),
        ("## Recap\n", "## The end\n", "planned are None"),
    ],
)
def test_a_spoiled_clock_is_caught(old, new, problem):
    assert old in CLOCK
    found = problems_of_clock(CLOCK.replace(old, new), PLAN)
    assert any(problem in each for each in found), found


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("# Teaching 01", "# Teaching 02", "the title is not that of 01"),
        ("minutes to teach", "minutes in all", "the page names []"),
    ],
)
def test_a_spoiled_opening_is_caught(old, new, problem):
    page = PAGES[NOTEBOOKS[1].stem]
    assert old in page
    found = problems_of_opening(page.replace(old, new), read(NOTEBOOKS[1]))
    assert any(problem in each for each in found), found


def test_dead_links_and_filler_are_caught():
    text = "[here](nowhere.md), [there](nowhere.md#top), [a page](index.md#run-sheets): simply go"
    assert problems_of_words(text) == ["nowhere.md leads nowhere"] * 2 + ["filler: simply"]
