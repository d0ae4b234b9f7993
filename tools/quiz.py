"""The questions of all lessons on paper, a page for each lesson, and the key: build/quiz.html and build/quiz.pdf.

    python tools/quiz.py

The questions are those of the section "Check yourself" at the end of each lesson. A Chromium without a window prints
them, and the program fails with one sentence when a lesson's questions do not fit on their page.
"""

import re
import sys
from dataclasses import dataclass

from cheatsheet import LOOK, SMALLEST, count_pages, print_by
from lessons import ROOT, SERIES, about, paths, read
from nbconvert.filters import markdown2html
from slides import fonts

HEADING = "## Check yourself"
QUESTION = re.compile(
    r"^<details>\n<summary>(\d)\. (.*?)</summary>\n\n(.*?)"  # number, question, code
    r"((?:^- \*\*[A-Z]\*\* [^\n]*\n)+)\n"  # answers
    r"(<details>\n<summary>Answer</summary>\n\n\*\*([A-Z])\.\*\* (.*?)\n\n</details>\n\n)?"  # key, reason
    r"</details>$",
    re.MULTILINE | re.DOTALL,
)


@dataclass
class Question:
    """A question as its lesson has it: text in HTML, code and answers in Markdown; key is a letter."""

    number: str
    text: str
    code: str
    answers: list
    key: str
    reason: str


def questions(notebook):
    """Return the questions of a lesson; none where the section "Check yourself" is missing."""
    sources = [cell.source for cell in notebook.cells if cell.source.startswith(HEADING)]
    return [question(match) for source in sources for match in QUESTION.finditer(source)]


def question(match):
    number, text, code, listed, _, key, reason = match.groups()
    answers = re.findall(r"^- \*\*[A-Z]\*\* (.*)$", listed, re.MULTILINE)
    return Question(number, text, code.strip(), answers, key, reason)


def without_key(source):
    """Return the text of a section without the answers that fold open."""
    return QUESTION.sub(lambda match: match[0].replace(match[5] or "\0", ""), source)


def main():
    """Write the sheet and print it."""
    print_by(write_sheet)


def write_sheet(browser):
    """Write the HTML and the PDF with a browser of Playwright, and return the path of the PDF."""
    page_path, pdf_path = ROOT / "build" / "quiz.html", ROOT / "build" / "quiz.pdf"
    page_path.parent.mkdir(exist_ok=True)
    lessons = {path.stem: read(path) for path in paths()}
    page_path.write_text(sheet(lessons), encoding="utf-8")
    page = browser.new_page(viewport={"width": 1000, "height": 1000})
    page.emulate_media(media="print")
    page.goto(page_path.as_uri())
    page.evaluate("document.fonts.ready")
    if problems := page.evaluate(LOOK, SMALLEST):
        sys.exit(f"The questions do not fit on their pages: {', '.join(problems[:3])}.")
    page.pdf(path=pdf_path, prefer_css_page_size=True, print_background=True)
    page.close()
    if (pages := count_pages(pdf_path.read_bytes())) != len(lessons) + 2:
        sys.exit(
            f"A page for each of {len(lessons)} lessons and two for the key: the PDF has {pages}."
        )
    return pdf_path


def sheet(lessons):
    """Return all pages as HTML; lessons is {name: notebook}."""
    titles = {name: about(name, notebook)["title"] for name, notebook in lessons.items()}
    asked = {titles[name]: questions(notebook) for name, notebook in lessons.items()}
    style = fonts() + (ROOT / "tools" / "quiz.css").read_text(encoding="utf-8")
    pages = [page(title, each) for title, each in asked.items()]
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{SERIES}: check yourself</title>
<link rel="icon" href="data:,">
<style>
{style}</style>
</head>
<body>
<main>
{"".join(pages)}{key(asked)}
</main>
</body>
</html>
"""


def page(title, asked):
    """Return the page of a lesson."""
    body = "".join(f"<li><p>{each.text}</p>{rest(each)}</li>\n" for each in asked)
    return f'<section><h1>{title}</h1><p class="name">Name:</p><ol>\n{body}</ol></section>\n'


def rest(asked):
    """Return the code of a question and its answers."""
    lines = "".join(f"<li>{inline(answer)}</li>" for answer in asked.answers)
    return markdown2html(asked.code) + f'<ol class="answers">{lines}</ol>'


def key(asked):
    """Return the pages for the teacher: the letters, and why."""
    parts = []
    for title, each in asked.items():
        lines = "".join(f"<li><b>{one.key}</b> {inline(one.reason)}</li>" for one in each)
        parts.append(f"<article><h2>{title}</h2><ol>{lines}</ol></article>\n")
    body = "".join(parts)
    return f'<section class="key"><h1>The key, for teachers</h1>\n{body}</section>'


def inline(text):
    """Return a line of Markdown as HTML without a paragraph around it."""
    return re.sub(r"</?p>", "", markdown2html(text)).strip()


if __name__ == "__main__":
    main()
