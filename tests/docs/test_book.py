"""The book: a small series made into one, the links of the real one, and the glossary."""

import os
import re
import shutil
import subprocess
import sys
from itertools import pairwise

import book
import lessons
import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = lessons.ROOT
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


# ---------------------------------------------------------------- a small series


def code(source, *tags, text="", data=None, **metadata):
    """Return a code cell with its stored output."""
    outputs = [new_output("stream", name="stdout", text=text)] if text else []
    outputs += [new_output("display_data", data)] if data else []
    metadata |= {"tags": [*tags]}
    return new_code_cell(source, execution_count=1, outputs=outputs, metadata=metadata)


FIRST = [
    new_markdown_cell(
        "# 00 · Lesson a\n\nThe *promise* of [b](01_b.ipynb).\n\n**Time:** 5 minutes.\\\n**More:** x."
    ),
    code("import sys  # of the set-up", "setup"),
    new_markdown_cell(
        "## A part\n\n[b](01_b.ipynb#one-more) [tool](tool.py) [read](../README.md) [here](#a-part) "
        "[out](https://pytorch.org/docs) `[none](nowhere.py)`\n\n```\n[none](nowhere.py)\n```\n\n"
        "| | empty corner |\n| --- | --- |\n| a | b |"
    ),
    code("assert True  # it holds", "proof", text="proved\n"),
    code("draw()", "hide-input", text="drawn\n", data={"image/png": PIXEL}, alt="A [small] dot."),
    code("check()  # of the answer", "check", text="not yet\n"),
    code("table()", data={"text/markdown": "| x |\n|---|\n| [b](01_b.ipynb) |"}),
    new_markdown_cell(
        "<details>\n<summary>Solution</summary>\n\n```python\nanswer = 42\n```\n\n</details>",
        metadata={"tags": ["solution"]},
    ),
]
SECOND = [new_markdown_cell("# 01 · Lesson b\n\nMore of it.\n\n## One more\n\n[a](00_a.ipynb)")]
FRONT = """# The series

## Part one

<!-- lessons 00-00 -->

## Part two

<!-- lessons 01-99 -->

## Look up

- [The words](glossary.md): what they mean.

<!-- pages *.md -->

## For teachers

<!-- pages teach/*.md -->
"""
FILES = {
    "docs/index.md": FRONT,
    "docs/glossary.md": "# Glossary\n\n## A word\n\n[a](../notebooks/00_a.ipynb#a-part)\n",
    "docs/rivals.md": "# Rivals\n",
    "docs/teach/00_a.md": "# Teaching a\n\n[a](../../notebooks/00_a.ipynb)\n",
    "notebooks/tool.py": '"""A tool."""\n\nFENCE = "```"\n',
    "README.md": "# About\n\n[tool](notebooks/tool.py) [licence](LICENSE) ![a dot](docs/dot.png)\n",
    "LICENSE": "As you like.\n",
}


def project(root, first=FIRST):
    """Write a small series with the real tools and settings."""
    skip = shutil.ignore_patterns("__pycache__", "*.md", "*.png")
    for name in ("tools", "docs"):
        shutil.copytree(ROOT / name, root / name, ignore=skip)
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    shutil.copy(ROOT / "docs" / "series.png", root / "docs" / "dot.png")
    for name, cells in {"00_a": first, "01_b": SECOND}.items():
        nbformat.write(new_notebook(cells=cells), root / "notebooks" / f"{name}.ipynb")
    return root


def make(root):
    """Run the program, as `make book` does."""
    return subprocess.run(
        [sys.executable, "tools/book.py"],
        cwd=root,
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The pages of the small series, as trees, by name."""
    root = project(tmp_path_factory.mktemp("book") / "a {series} of lessons")
    program = make(root)
    assert (program.returncode, program.stderr) == (0, ""), program.stderr
    assert program.stdout == "build/html/index.html\n"
    html = root / "build" / "html"
    files = [path for path in html.rglob("*.html") if "_static" not in path.parts]
    return {
        path.relative_to(html).as_posix(): BeautifulSoup(path.read_text("utf-8"), "html.parser")
        for path in files
    } | {"folder": html}


# One test, so that only one of the test processes makes the book.
def test_a_small_series_becomes_a_book(pages):
    folder = pages.pop("folder")
    names = [
        "docs/glossary",
        "docs/rivals",
        "docs/teach/00_a",
        "index",
        "search",
        "LICENSE",
        "README",
    ]
    names += ["notebooks/00_a", "notebooks/01_b", "notebooks/tool.py"]
    assert set(pages) == {f"{name}.html" for name in names}
    for name, page in pages.items():
        assert dead_links(folder / name, page) == [] and foreign(page) == [], name
    lesson = pages["notebooks/00_a.html"]
    the_front_page_shows(pages["index.html"])
    the_lesson_shows(lesson)
    stored = folder.parents[1] / "notebooks" / "00_a.ipynb"
    assert (folder / "notebooks" / "00_a.ipynb").read_text() == stored.read_text()
    assert pages["notebooks/tool.py.html"].select(".highlight-python .s2")
    assert pages["README.html"].select_one("article img")["alt"] == "a dot"
    assert "As you like." in pages["LICENSE.html"].select_one("article").text


def the_front_page_shows(page):
    """Demand the cards and the sidebar in its parts."""
    (first, second) = page.select(".cards li")
    assert first.select_one("a").text == "00 · Lesson a" and "The promise of b." in first.text
    assert "5 minutes." in first.text and first.select_one("img")["alt"] == "A [small] dot."
    assert second.select_one("a")["href"] == "notebooks/01_b.html" and not second.select("img")
    parts = {
        title.text: [link.text for link in title.find_next("ul").select("a")]
        for title in page.select("nav.bd-links p.caption")
    }
    assert parts == {
        "Part one": ["00 · Lesson a"],
        "Part two": ["01 · Lesson b"],
        "Look up": ["The words", "Rivals"],
        "For teachers": ["Teaching a"],
    }


def the_lesson_shows(page):
    """Demand what is folded, what is in sight, the text of the figure and where the links lead."""
    folds = {fold.summary.text: fold.text for fold in page.select("article details")}
    assert list(folds) == ["Set-up", "The proof", "The code", "The check", "Solution"]
    assert "of the set-up" in folds["Set-up"] and "answer = 42" in folds["Solution"]
    assert "it holds" in folds["The proof"] and "proved" in folds["The proof"]
    assert "draw()" in folds["The code"] and "drawn" not in folds["The code"]
    assert "of the answer" in folds["The check"] and "not yet" not in folds["The check"]
    assert "not yet" in page.text and "drawn" in page.text and not page.select("details[open]")
    assert [image["alt"] for image in page.select("article img")] == ["A [small] dot."]
    links = {link.text: link["href"] for link in page.select("article section section p a")}
    assert links["tool"] == "tool.py.html" and links["read"] == "../README.html"
    assert page.text.count("[none](nowhere.py)") == 2
    assert page.select("table td a[href='01_b.html']") and not page.select("th:empty")
    assert page.select_one("a.right-next")["href"] == "01_b.html"
    assert page.select_one("a.notebook")["href"] == "00_a.ipynb"


def dead_links(path, page):
    """Return the links and pictures of a page that lead to no file, or to no place on their page."""
    found = []
    for tag in page.select("a[href], img[src], link[href], script[src]"):
        target = tag.get("href") or tag["src"]
        name, _, fragment = target.partition("?")[0].partition("#")
        there = path.parent / name if name else path
        if ":" not in target and (not there.is_file() or not has_place(there, fragment)):
            found.append(target)
    return found


def has_place(path, fragment):
    """Return whether a page has the place that a link names."""
    return not fragment or f'id="{fragment}"' in path.read_text("utf-8")


def foreign(page):
    """Return what a page would fetch from elsewhere; a link is not fetched."""
    tags = page.select("[src], link[href]")
    return [tag for tag in tags if re.match(r"(https?:)?//", tag.get("src") or tag.get("href", ""))]


SPOILED = {
    '<a href="nowhere.html">x</a>': "nowhere.html",
    '<a href="page.html#nowhere">x</a>': "page.html#nowhere",
    '<img src="nowhere.png">': "nowhere.png",
    '<script src="https://example.org/x.js"></script>': "https://example.org/x.js",
    '<link rel="stylesheet" href="//example.org/x.css">': "//example.org/x.css",
}


@pytest.mark.parametrize("text", SPOILED)
def test_a_spoiled_page_is_caught(text, tmp_path):
    (tmp_path / "page.html").write_text('<p id="here"></p><a href="page.html#here">x</a>' + text)
    page = BeautifulSoup((tmp_path / "page.html").read_text(), "html.parser")
    found = dead_links(tmp_path / "page.html", page)
    found += [tag.get("src") or tag["href"] for tag in foreign(page)]
    assert SPOILED[text] in found and "page.html#here" not in found


def test_a_dead_link_ends_with_a_sentence(tmp_path):
    spoiled = [*FIRST, new_markdown_cell("[gone](nowhere.ipynb)")]
    program = make(project(tmp_path / "series", spoiled))
    assert program.returncode == 1 and "'nowhere.ipynb'" in program.stderr
    assert program.stderr.endswith("The book has faults; the lines above name them.\n")
    assert "Traceback" not in program.stderr


# ---------------------------------------------------------------- the pieces


def test_links_in_code_stay_as_they_are():
    text = "a `b` a\n\n````\na\n```\na\n````\na\n  ~~~x\na\n  ~~~\na"
    changed = book.outside_code(lambda part: part.replace("a", "A"), text)
    assert changed == "A `b` A\n\n````\na\n```\na\n````\nA\n  ~~~x\na\n  ~~~\nA"


def test_a_lesson_that_failed_has_its_title_on_top():
    note = new_markdown_cell("An error.", metadata={"tags": ["papermill-error-cell-tag"]})
    failed, empty = new_notebook(cells=[note, *SECOND]), new_notebook()
    book.title_first(failed, "01_b")
    book.title_first(empty, "02_c")
    assert [cell.source.split("\n")[0] for cell in failed.cells[::2]] == [
        "# 01 · Lesson b",
        note.source,
    ]
    assert empty.cells[0].source.startswith("# 02_c")


def test_a_fence_is_longer_than_what_it_holds():
    assert book.fenced("x", "y", "a ```` b") == "`````{x} y\na ```` b\n`````\n"


# ---------------------------------------------------------------- the real book


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """What Sphinx would read of the real series."""
    notebooks = {path.stem: lessons.read(path) for path in lessons.paths()}
    real = book.Book(ROOT, notebooks)
    real.source = tmp_path_factory.mktemp("source")
    real.assemble({})
    return real.source


def markdown(path):
    """Return the Markdown of a file of the source folder, without code."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = nbformat.reads(text, 4).cells
        text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return book.outside_code(lambda part: part, re.sub(book.CODE, "", text))


def lost(path):
    """Return the links and pictures of a file that find nothing in the source folder."""
    targets = re.findall(r"\]\((?!https?:|#)([^)\s]+)\)", markdown(path))
    return [each for each in targets if not (path.parent / each.partition("#")[0]).is_file()]


def test_every_link_of_the_book_finds_its_page(source):
    files = [path for path in source.rglob("*") if path.suffix in {".md", ".ipynb"}]
    assert len(files) > 20
    assert {path.name: lost(path) for path in files if lost(path)} == {}
    (source / "spoiled.md").write_text("[a](index.md#x) [b](gone.md) `[c](gone.md)`")
    assert lost(source / "spoiled.md") == ["gone.md"]
    (source / "spoiled.md").unlink()


def test_the_front_page_knows_every_lesson_and_every_page(source):
    text = (source / "index.md").read_text(encoding="utf-8")
    assert "<!--" not in text
    for path in lessons.paths():
        about = lessons.about(path.stem, lessons.read(path))
        assert text.count(f"**[{about['title']}](notebooks/{path.name})**") == 1
        assert about["time"] in text and f"\nnotebooks/{path.stem}\n" in text
    for path in (ROOT / "docs").rglob("*.md"):
        name = path.relative_to(ROOT).with_suffix("").as_posix()
        assert name == "docs/index" or re.search(
            rf"^(.* <)?{re.escape(name)}>?$", text, re.MULTILINE
        )


# ---------------------------------------------------------------- the glossary


def faults(text, teaching):
    """Return what is wrong with a glossary; teaching holds the words of each lesson, by its file."""
    entries = re.findall(r"^## (.*)\n\n((?:(?!## ).*\n?)*)", text, re.MULTILINE)
    terms = [title.replace("`", "").casefold() for title, _ in entries]
    found = [f"{b} stands behind {a}" for a, b in pairwise(terms) if b <= a]
    for term, (_, meaning) in zip(terms, entries):
        names = re.findall(r"\[Lesson (\d\d)\]\(\.\./notebooks/((\d\d)_\w+\.ipynb)\)", meaning)
        if len(names) != 1 or names[0][0] != names[0][2] or names[0][1] not in teaching:
            found.append(f"{term} leads to no lesson")
        elif not re.search(rf"\b{re.escape(term)}", teaching[names[0][1]]):
            found.append(f"{term} does not occur in its lesson")
        if not 8 <= len(re.sub(r"\[.*", "", meaning).split()) <= 60:
            found.append(f"{term} is explained too shortly or at too great length")
    return found


TEXT = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def teaching():
    """The words of each lesson, by its file."""
    return {
        path.name: "\n".join(cell.source for cell in lessons.read(path).cells).casefold()
        for path in lessons.paths()
    }


def test_the_glossary_is_in_order_and_leads_to_lessons(teaching):
    assert len(re.findall("^## ", TEXT, re.MULTILINE)) >= 35
    assert faults(TEXT, teaching) == []


@pytest.mark.parametrize(
    ("sound", "spoiled", "fault"),
    [
        ("## Batch\n", "## Zebra\n", "zebra does not occur in its lesson"),
        ("## Batch\n", "## Worker\n", "`bfloat16` stands behind worker".replace("`", "")),
        ("notebooks/03_", "notebooks/33_", "leads to no lesson"),
        ("[Lesson 01]", "[Lesson 02]", "eval mode leads to no lesson"),
        ("To make one batch out of", "Out of " + "many " * 60, "collate is explained"),
    ],
)
def test_a_spoiled_glossary_is_caught(sound, spoiled, fault, teaching):
    assert sound in TEXT
    assert any(fault in each for each in faults(TEXT.replace(sound, spoiled), teaching))
