"""The cheat sheet on paper: one page, nothing lost, and a sentence for whatever does not fit."""

import re
import shutil
import subprocess
import sys

import cheatsheet
import pytest
from conftest import ROOT, assert_accessible

TOOL = ROOT / "tools" / "cheatsheet.py"
TEXT = (ROOT / "docs" / "cheatsheet.md").read_text(encoding="utf-8")
MISFIT = "The cheat sheet does not fit on its page: "


@pytest.fixture
def refused(browser, tmp_path, monkeypatch):
    """A function that replaces a text in one of the tool's files and returns the sentence with which it ends."""
    root = tmp_path / "a {series} of lessons"
    names = ["docs/cheatsheet.md", "tools/cheatsheet.css", "build/cheatsheet.pdf"]
    for name in names:
        (root / name).parent.mkdir(parents=True)
    for name in names[:2]:
        shutil.copy(ROOT / name, root / name)
    monkeypatch.setattr(cheatsheet, "ROOT", root)

    def refuse(name, sound, spoiled):
        text = (root / name).read_text(encoding="utf-8")
        assert text.count(sound) == 1
        (root / name).write_text(text.replace(sound, spoiled), encoding="utf-8")
        (root / "build/cheatsheet.pdf").write_text("of an earlier run")
        with pytest.raises(SystemExit) as caught:
            cheatsheet.write_sheet(browser)
        assert not (root / "build/cheatsheet.pdf").exists()
        assert isinstance(caught.value.code, str) and "\n" not in caught.value.code
        return caught.value.code

    return refuse


def counted(pdf):
    """How many pages the root of a PDF's tree of pages notes; width and height of the first one, in points."""
    (tree,) = re.findall(rb"<<[^<>]*/Type\s*/Pages\b[^<>]*>>", pdf)
    box = re.search(rb"/MediaBox\s*\[\s*0\s+0\s+([\d.]+)\s+([\d.]+)", pdf)
    return int(re.search(rb"/Count\s+(\d+)", tree)[1]), round(float(box[1])), round(float(box[2]))


def test_the_sheet_is_one_page_of_a4():
    program = subprocess.run([sys.executable, TOOL], capture_output=True, encoding="utf-8")
    assert program.returncode == 0 and program.stdout == "build/cheatsheet.pdf\n", (
        program.stdout + program.stderr
    )
    pdf = (ROOT / "build" / "cheatsheet.pdf").read_bytes()
    assert counted(pdf) == (1, 842, 595)
    # Nothing comes from elsewhere, and nothing tells where the project lies.
    assert b"/URI" not in pdf
    assert not re.search(
        r"https?:|<script|<img|<a ",
        (ROOT / "build" / "cheatsheet.html").read_text(encoding="utf-8"),
    )


@pytest.fixture
def sheet(tmp_path):
    """A function that writes the sheet with a text replaced, and returns its path."""

    def write(sound="", spoiled=""):
        style = cheatsheet.fonts() + TOOL.with_suffix(".css").read_text(encoding="utf-8")
        page = cheatsheet.sheet(TEXT, style)
        assert sound in page
        (tmp_path / "sheet.html").write_text(page.replace(sound, spoiled), encoding="utf-8")
        return tmp_path / "sheet.html"

    return write


def test_axe_finds_no_barrier_on_the_sheet(new_page, sheet):
    page = new_page()
    page.goto(sheet().as_uri())
    assert_accessible(page)


@pytest.mark.parametrize(
    ("sound", "spoiled", "rule"),
    [
        ("#5b6470", "var(--grey)", "color-contrast"),
        ("</div>\n<section", "</div></main>\n<section", "region"),
        ("<th>cause", "<th>", "empty-table-header"),
        ('<html lang="en">', "<html>", "html-has-lang"),
    ],
)
def test_a_barrier_on_the_sheet_is_caught(new_page, sheet, sound, spoiled, rule):
    page = new_page()
    page.goto(sheet(sound, spoiled).as_uri())
    with pytest.raises(AssertionError, match=rule):
        assert_accessible(page)


def test_a_sheet_that_is_too_long_ends_with_a_sentence(refused):
    end = refused("docs/cheatsheet.md", "## Load", "A sentence.\n\n" * 30 + "## Load")
    assert re.fullmatch(MISFIT + r"“[^”]*” leaves its box(, “[^”]*” leaves its box)*\.", end), end


def test_a_second_page_ends_with_a_sentence(refused):
    end = refused("tools/cheatsheet.css", "h2 {", "#Ten-errors { break-before: page; }\nh2 {")
    assert end == MISFIT + "the PDF has 2 pages."


def test_each_misfit_is_named(browser, tmp_path):
    text = TEXT.replace("# when unsure", "# when you are unsure").replace(
        "half a download", "half a download; " * 5
    )
    style = (
        cheatsheet.fonts()
        + TOOL.with_suffix(".css").read_text(encoding="utf-8")
        + "th { font-size: 6.9pt; }"
    )
    (tmp_path / "sheet.html").write_text(cheatsheet.sheet(text, style), encoding="utf-8")
    problems, pdf = cheatsheet.print_page(browser, tmp_path / "sheet.html")
    assert pdf.startswith(b"%PDF")
    table = "“what you see cause way out Wei” leaves its box"
    assert {"“# when you are unsure” leaves its box", table, "“cause” is smaller than 7 pt"} <= set(
        problems
    )


def test_without_chromium_a_sentence_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        SystemExit, match=r"\ANo Chromium found[^\n]*\.\Z"
    ):  # a text: Python makes exit code 1 of it
        cheatsheet.main()


def test_the_page_holds_all_sections_in_order():
    page = cheatsheet.sheet(TEXT, "")
    headings = re.findall(r"<section id=\"[\w-]+\"><h2>(.*?)</h2>", page)
    assert headings == re.findall(r"^## (.*)", TEXT, re.MULTILINE) and page.count(
        "</section>"
    ) == len(headings)
    columns, main = page.index("</div>\n<section"), page.index("</main>")
    assert page.index("Safe loading") < columns < page.index("Ten errors") < main
