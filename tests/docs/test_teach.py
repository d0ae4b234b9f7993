"""docs/teach: run sheets and clocks add up, what they name exists, hints are the checks' own."""

import re
from functools import cache

import pytest
from notebook_tools import FILLER, NOTEBOOKS, ROOT, exercises, read, times
from wrong_answers import WRONG_ANSWERS

FOLDER = ROOT / "docs" / "teach"
TEXT = (FOLDER / "index.md").read_text(encoding="utf-8")
PAGES = {path.stem: (FOLDER / f"{path.stem}.md").read_text(encoding="utf-8") for path in NOTEBOOKS}
EXERCISES = [name for path in NOTEBOOKS for name, *_ in exercises(read(path))]
LENGTHS = {
    "90 minutes": 90,
    "Half a day": 210,
    "Two days: day one": 420,
    "Two days: day two": 420,
}
SEMESTER = "A semester's lab"
# Rows of a run sheet that belong to no lesson.
AROUND = {"Welcome", "Break", "Lunch", "Your own code", "Closing", "Feedback"}
# Sections of a lesson that nobody teaches: they have no clock.
UNTAUGHT = {"Since the originals", "Check yourself"}


def rows(text):
    """The rows of the tables in a text, as lists of cells; heads and lines are left out."""
    lines = re.findall(r"^\| .* \|$", text, re.MULTILINE)
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines if "---" not in line
    ]


def run_sheets(text):
    """{title: (rows of clock, lesson, section …, the sum that is named below the table)}"""
    text = text.partition("\n## Run sheets\n")[2].partition("\n## ")[0]
    sheets = {}
    for section in text.split("\n### ")[1:]:
        (total,) = re.findall(r"^(\d+) minutes\.$", section, re.MULTILINE)
        sheets[section.partition("\n")[0]] = (rows(section)[1:], int(total))
    return sheets


SHEETS = run_sheets(TEXT)


@cache
def parts(path):
    """The sections of a notebook by their titles, and its exercises by their numbers."""
    text = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    return re.findall(r"^###? (Exercise [\d.]+|.+)", text, re.MULTILINE)


@cache
def exercise_minutes(path):
    """{exercise: minutes} out of the headings of a notebook."""
    text = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    found = re.findall(r"^### (Exercise [\d.]+) · (\d+) minutes?\b", text, re.MULTILINE)
    return {name: int(minutes) for name, minutes in found}


def minutes_of(clock):
    """The minutes of a clock such as 1:05; None if it is none."""
    found = re.fullmatch(r"(\d+):([0-5]\d)", clock)
    return int(found[1]) * 60 + int(found[2]) if found else None


def lasting(sheet, total):
    """Each row of a run sheet with the minutes from its clock to the next one, or to the end."""
    starts = [minutes_of(row[0]) or 0 for row in sheet]
    return [
        (end - start, row)
        for row, start, end in zip(sheet, starts, [*starts[1:], total], strict=True)
    ]


def empty_cells(sheet, columns=6):
    """The rows in which a cell is empty or missing, one string each."""
    return [f"an empty cell: {row}" for row in sheet if len(row) != columns or "" in row]


def problems_of_sheet(sheet, total):
    """Everything that is wrong with a run sheet, one string each."""
    found = empty_cells(sheet)
    found += [f"{row[0]} is no clock" for row in sheet if minutes_of(row[0]) is None]
    if minutes_of(sheet[0][0]) != 0:
        found.append(f"the clock begins at {sheet[0][0]}")
    for minutes, (clock, lesson, names, *_) in lasting(sheet, total):
        if minutes <= 0:
            found.append(f"the clock does not rise after {clock}")
        paths = [path for path in NOTEBOOKS if path.stem[:2] == lesson]
        there = AROUND if lesson == "–" else parts(paths[0]) if paths else ()
        needs = exercise_minutes(paths[0]) if paths else {}
        for name in names.split("; "):
            if name not in there:
                found.append(f"lesson {lesson} has no section {name!r}")
            if name in needs and minutes < needs[name]:
                found.append(f"{name} takes {needs[name]} minutes, and the sheet gives {minutes}")
    if [row[2] for row in sheet[-2:]] != ["Closing", "Feedback"]:
        found.append("the sheet does not end with closing and feedback")
    if lasting(sheet, total)[-1][0] > 10:
        found.append("the feedback takes more than 10 minutes: the sum is wrong")
    return found


def problems_of_pace(sheet, total, clocks):
    """Whether a sheet gives 1.3 to 1.5 times the minutes that the clocks of the lessons name.

    Exercises don't count, and sections that the room runs without talk don't either.
    """
    given = own = 0
    for minutes, (_, lesson, names, doing, *_) in lasting(sheet, total):
        if lesson == "–" or names.startswith("Exercise ") or doing.startswith("let them run it"):
            continue
        plan = {part: end - start for part, start, end in clocks[lesson]}
        given, own = given + minutes, own + sum(plan[name] for name in names.split("; "))
    ratio = given / own
    return [] if 1.3 <= ratio <= 1.5 else [f"{given} minutes are {ratio:.2f} times the own {own}"]


def problems_of_semester(sheet, total):
    """What is wrong with the table of a semester, one string each."""
    found = empty_cells(sheet)
    if [row[0] for row in sheet] != [str(week + 1) for week in range(14)] or total != 14 * 90:
        found.append("these are not 14 weeks of 90 minutes")
    lessons = [lesson for row in sheet for lesson in row[1].split(", ")]
    if list(dict.fromkeys(lessons)) != [path.stem[:2] for path in NOTEBOOKS]:
        found.append(f"the lessons are {lessons}")
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


def clock(page):
    """The clock lines of a page: (section or exercise, first minute, last minute), in order."""
    heading = r"^#+ (Exercise [\d.]+|.*?)(?: · .*?)?(?:, not on a slide)?\n\n"
    times = r"\*(\d+):(\d\d) to (\d+):(\d\d)\*$"
    return [
        (part, int(h1) * 60 + int(m1), int(h2) * 60 + int(m2))
        for part, h1, m1, h2, m2 in re.findall(heading + times, page, re.MULTILINE)
    ]


def problems_of_clock(page, sections, solving, named):
    """What is wrong with the clock of a page.

    sections are the parts of the notebook, solving {exercise: minutes}, named (to teach, to solve).
    """
    found, now = [], 0
    for part, start, end in clock(page):
        if start != now:
            found.append(f"{part} begins at {start}, and the part before ends at {now}")
        if end <= start:
            found.append(f"{part} takes no time")
        if end - start != solving.get(part, end - start):
            found.append(f"{part} takes {end - start} minutes, its heading says {solving[part]}")
        now = end
    found += [
        f"{part} has no minutes in its heading"
        for part in sections
        if part.startswith("Exercise ") and part not in solving
    ]
    order = [part for part, *_ in clock(page)]
    if order != [part for part in sections if part not in UNTAUGHT]:
        found.append(f"the clock is that of {order}")
    solve = sum(end - start for part, start, end in clock(page) if part.startswith("Exercise "))
    if (now - solve, solve) != named:
        found.append(f"the clock sums up to {(now - solve, solve)}, the lesson names {named}")
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


def preparation(text):
    """The rows of the checklist, and the minutes that are named below it."""
    text = text.partition("\n## Prepare in one hour\n")[2].partition("\n## ")[0]
    return rows(text)[1:], int(re.findall(r"^(\d+) minutes\.$", text, re.MULTILINE)[0])


def problems_of_preparation(steps, total):
    """Whether the checklist fills one hour, one string each."""
    found = empty_cells(steps, columns=3)
    minutes = sum(int(row[0]) for row in steps if row[0].isdigit())
    return found if minutes == total == 60 else [*found, f"{minutes} minutes, named are {total}"]


@pytest.mark.parametrize("title", LENGTHS)
def test_a_run_sheet_is_full_rises_and_names_what_is_there(title):
    sheet, total = SHEETS[title]
    assert total == LENGTHS[title]
    assert problems_of_sheet(sheet, total) == []


@pytest.mark.parametrize("title", [title for title in LENGTHS if title.startswith("Two days")])
def test_two_days_have_the_pace_of_a_class(title):
    clocks = {name[:2]: clock(page) for name, page in PAGES.items()}
    assert problems_of_pace(*SHEETS[title], clocks) == []


def test_a_semester_has_each_lesson_in_its_weeks():
    assert problems_of_semester(*SHEETS[SEMESTER]) == []


def test_the_run_sheets_are_these():
    assert list(SHEETS) == [*LENGTHS, SEMESTER]


def test_the_page_begins_with_an_hour_of_preparation():
    assert re.findall(r"^## (.*)", TEXT, re.MULTILINE)[0] == "Prepare in one hour"
    assert problems_of_preparation(*preparation(TEXT)) == []


def test_the_hints_are_those_of_the_wrong_answers():
    assert problems_of_hints(PAGES.values()) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_page_has_the_title_the_times_and_the_clock_of_its_lesson(path):
    page, notebook = PAGES[path.stem], read(path)
    ((teach, solve),) = times(notebook)
    solving = exercise_minutes(path)
    assert problems_of_opening(page, notebook) == []
    assert problems_of_clock(page, parts(path), solving, (int(teach), int(solve))) == []


def test_the_index_lists_each_page():
    assert TEXT.startswith("# For teachers\n")
    for path in NOTEBOOKS:
        title = read(path).cells[0].source.partition("\n")[0].removeprefix("# ")
        assert f"- [{title}]({path.stem}.md)\n" in TEXT


@pytest.mark.parametrize("name", ["index", "hubs", *PAGES])
def test_links_lead_somewhere_and_no_word_is_filler(name):
    assert problems_of_words((FOLDER / f"{name}.md").read_text(encoding="utf-8")) == []


# ---------------------------------------------------------------- spoiled on purpose


def spoiled(title, row, column, word):
    """A run sheet and its sum, with another word in one cell."""
    sheet, total = SHEETS[title]
    sheet = [list(each) for each in sheet]
    assert sheet[row][column] != word
    sheet[row][column] = word
    return sheet, total


# Of the 90 minutes: the first row is a section of lesson 00, the last two are closing and feedback.
@pytest.mark.parametrize(
    ("row", "column", "word", "problem"),
    [
        (0, 0, "0:01", "the clock begins at 0:01"),
        (1, 0, "0:00", "the clock does not rise after 0:00"),
        (1, 0, "1:29", "the clock does not rise after 1:29"),
        (1, 0, "0:75", "0:75 is no clock"),
        (0, 1, "19", "lesson 19 has no section"),
        (0, 1, "–", "lesson – has no section"),
        (0, 2, "12. Elsewhere", "no section '12. Elsewhere'"),
        (0, 2, "1. Is your machine ready?; Exercise 0.9", "no section 'Exercise 0.9'"),
        (2, 2, "Exercise 0.2", "Exercise 0.2 takes 3 minutes, and the sheet gives 2"),
        *[(0, column, "", "an empty cell") for column in range(6)],
        (-1, 2, "Break", "does not end with closing and feedback"),
        (-2, 2, "Break", "does not end with closing and feedback"),
    ],
)
def test_a_spoiled_run_sheet_is_caught(row, column, word, problem):
    found = problems_of_sheet(*spoiled("90 minutes", row, column, word))
    assert any(problem in each for each in found), found


def test_a_row_that_lacks_a_cell_and_a_wrong_sum_are_caught():
    sheet, total = SHEETS["90 minutes"]
    found = problems_of_sheet([sheet[0][:5] + sheet[0][6:], *sheet[1:]], total)
    assert any("an empty cell" in each for each in found), found
    assert any("the sum is wrong" in each for each in problems_of_sheet(sheet, total + 20))
    assert any("does not rise" in each for each in problems_of_sheet(sheet, total - 20))


@pytest.mark.parametrize(
    ("row", "column", "word", "problem"),
    [
        (0, 0, "2", "not 14 weeks"),
        (3, 1, "06", "the lessons are"),
        (3, 5, "", "an empty cell"),
    ],
)
def test_a_spoiled_semester_is_caught(row, column, word, problem):
    found = problems_of_semester(*spoiled(SEMESTER, row, column, word))
    assert any(problem in each for each in found), found


def test_a_semester_of_another_length_is_caught():
    assert "these are not 14 weeks of 90 minutes" in problems_of_semester(SHEETS[SEMESTER][0], 90)


PACE = [
    ["0:00", "01", "1. Save; Recap", "ask", "answer", "keep"],
    ["0:14", "01", "2. Load", "let them run it", "run it", "keep"],
    ["0:17", "01", "Exercise 1.1", "walk", "solve", "keep"],
    ["0:30", "–", "Break", "–", "–", "keep"],
]


@pytest.mark.parametrize(("minutes", "caught"), [(10, False), (5, True), (13, True)])
def test_a_pace_that_is_too_fast_or_too_slow_is_caught(minutes, caught):
    clocks = {"01": [("1. Save", 0, minutes - 2), ("Recap", 20, 22)]}
    assert bool(problems_of_pace(PACE, 45, clocks)) == caught


def test_a_spoiled_preparation_is_caught():
    steps, total = preparation(TEXT)
    assert problems_of_preparation(steps[1:], total)
    assert problems_of_preparation(steps, total + 1)
    assert problems_of_preparation([[steps[0][0], "", ""], *steps[1:]], total)


def test_a_spoiled_hint_is_caught():
    name = EXERCISES[0]
    ((old, _), *_) = WRONG_ANSWERS[name]
    assert any(old in page for page in PAGES.values())
    found = problems_of_hints([page.replace(old, "no hint") for page in PAGES.values()])
    assert any(f"{name} lists" in each for each in found), found
    found = problems_of_hints([page.replace(name, "6.9") for page in PAGES.values()])
    assert f"{name} has no table" in found


PLAN = (
    ["1. Save", "Exercise 1.1", "Recap", "Since the originals", "Check yourself"],
    {"Exercise 1.1": 6},
    (6, 6),
)
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
    assert problems_of_clock(CLOCK, *PLAN) == []


def test_an_exercise_without_minutes_and_sums_of_another_lesson_are_caught():
    sections, solving, named = PLAN
    assert "Exercise 1.1 has no minutes in its heading" in problems_of_clock(
        CLOCK, sections, {}, named
    )
    assert problems_of_clock(CLOCK, sections, solving, (7, 5)) == [
        "the clock sums up to (6, 6), the lesson names (7, 5)"
    ]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("to 0:11*", "to 0:12*", "takes 7 minutes, its heading says 6"),
        ("*0:05 to", "*0:06 to", "begins at 6, and the part before ends at 5"),
        ("*0:05 to", "*0:04 to", "begins at 4, and the part before ends at 5"),
        ("\n*0:00 to 0:05*\n", "\n", "begins at 5"),
        ("\n*0:00 to 0:05*\n", "\nAsk.\n\n*0:00 to 0:05*\n", "right below its heading"),
        ("to 0:12*", "to 0:17*", "the clock sums up to (11, 6), the lesson names (6, 6)"),
        ("to 0:12*", "to 0:11*", "Recap takes no time"),
        ("## Recap\n", "## The end\n", "the clock is that of"),
        ("## Recap\n", "## Check yourself\n", "the clock is that of"),
    ],
)
def test_a_spoiled_clock_is_caught(old, new, problem):
    assert old in CLOCK
    found = problems_of_clock(CLOCK.replace(old, new), *PLAN)
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
