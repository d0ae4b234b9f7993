"""README.md: its commands are the Makefile's, and the table of source documents names sections that are there."""

import re

import pytest
from notebook_tools import NOTEBOOKS, ROOT, read

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
TARGETS = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
# The lessons that retell a document. 00 starts the series, and part two goes further.
RETOLD = [path.stem for path in NOTEBOOKS if "01" <= path.stem[:2] <= "06"]


def sections(stem):
    """The numbers of a lesson's sections, as text."""
    cells = read(ROOT / "notebooks" / f"{stem}.ipynb").cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return set(re.findall(r"^## (\d+)\. ", text, re.MULTILINE))


def problems_of_documents(text):
    """What is wrong with the table of source documents, one string each."""
    table = text.partition("## Which document became which lesson")[2].partition("\n## ")[0]
    rows = re.findall(
        r"\| \[\d\d\]\(notebooks/(\w+)\.ipynb\) \| ([\d, ]+) \|$", table, re.MULTILINE
    )
    found = [f"{stem} retells no document" for stem in RETOLD if stem not in dict(rows)]
    for stem, named in rows:
        missing = set(named.split(", ")) - sections(stem) if stem in RETOLD else {"that lesson"}
        found += [f"{stem} has no section {number}" for number in sorted(missing)]
    return found


def problems_of_commands(text):
    """The commands `make …` that the Makefile does not know."""
    named = re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE)
    return [name for name in named if name not in TARGETS]


def test_each_document_leads_to_its_lessons_and_sections():
    assert problems_of_documents(TEXT) == []


def test_the_commands_are_those_of_the_makefile():
    assert problems_of_commands(TEXT) == []
    assert set(TARGETS) >= {"run", "test", "book"}


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            "02_state_dict_anatomy.ipynb) | 3, 4",
            "02_state_dict_anatomy.ipynb) | 33, 4",
            "section 33",
        ),
        ("| [05](notebooks/05_named_parameters.ipynb) |", "| 05 |", "retells no document"),
        ("[03](notebooks/03_size_mismatch.ipynb)", "[13](notebooks/13_x.ipynb)", "section that"),
    ],
)
def test_a_spoiled_table_is_caught(old, new, problem):
    assert old in TEXT
    assert any(problem in each for each in problems_of_documents(TEXT.replace(old, new)))


def test_a_command_that_is_not_there_is_caught():
    assert problems_of_commands(TEXT + "\nRun `make coffee`.\n") == ["coffee"]
