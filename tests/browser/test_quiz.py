"""The questions on paper: a page for each lesson, two for the key, and a sentence for what does not fit."""

import re
import subprocess
import sys

import lessons
import pytest
import quiz
from cheatsheet import count_pages
from conftest import ROOT, assert_accessible

TOOL = ROOT / "tools" / "quiz.py"
A4 = (b"594", b"841")  # points, without what is behind the dot
COUNT = len(lessons.paths())


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A project in which the tool writes, with the style as it is."""
    for name in ("tools", "build"):
        (tmp_path / name).mkdir()
    style = TOOL.with_suffix(".css").read_text(encoding="utf-8")
    (tmp_path / "tools" / "quiz.css").write_text(style, encoding="utf-8")
    monkeypatch.setattr(quiz, "ROOT", tmp_path)
    return tmp_path


def test_the_command_prints_a_page_for_each_lesson_and_two_for_the_key():
    program = subprocess.run([sys.executable, TOOL], capture_output=True, encoding="utf-8")
    assert (program.returncode, program.stdout) == (0, "build/quiz.pdf\n"), program.stderr
    pdf = (ROOT / "build" / "quiz.pdf").read_bytes()
    assert count_pages(pdf) == COUNT + 2
    assert set(re.findall(rb"/MediaBox\s*\[\s*0\s+0\s+(\d+)[.\d]*\s+(\d+)", pdf)) == {A4}


def test_axe_finds_no_barrier_on_the_sheet(new_page, browser, root):
    page = new_page()
    page.goto(quiz.write_sheet(browser).with_suffix(".html").as_uri())
    assert page.locator("section").count() == COUNT + 1
    assert_accessible(page)
    assert page.foreign == []


@pytest.mark.parametrize(
    ("sound", "spoiled", "complaint"),
    [
        ("margin: 0 0 4.5mm 6mm", "margin: 0 0 45mm 6mm", "A page for each of"),
        ("width: 180mm", "width: 60mm", "The questions do not fit on their pages: “"),
        ("font: 9.6pt", "font: 6pt", "is smaller than 7 pt"),
    ],
)
def test_what_does_not_fit_ends_with_a_sentence(sound, spoiled, complaint, browser, root):
    style = root / "tools" / "quiz.css"
    text = style.read_text(encoding="utf-8")
    assert sound in text
    style.write_text(text.replace(sound, spoiled), encoding="utf-8")
    with pytest.raises(SystemExit) as caught:
        quiz.write_sheet(browser)
    assert complaint in caught.value.code and "\n" not in caught.value.code
