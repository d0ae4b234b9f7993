"""The decks: what tools/slides.py makes of the notebooks. How they look in a browser is tested in tests/browser."""

import html
import re

import nbformat
import outline
import pytest
import slides
from notebook_tools import NOTEBOOKS, ROOT, code_cells, read, tags

PALETTE = re.search(
    r"^BLUE, RED, GREEN, YELLOW, GREY = (.*)$", (ROOT / "helper.py").read_text(), re.MULTILINE
)[1]


def text_of(part):
    """What a reader sees of a piece of HTML."""
    lines = re.sub(r'</span>(?=<span [^>]*class="(?:fragment )?line)', "</span>\n", part)
    return html.unescape(re.sub(r"<[^>]*>", "", lines))


def page_of(path):
    return ROOT / "docs" / "teach" / f"{path.stem}.md"


def deck_of(path):
    return slides.lesson(path, page_of(path))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_deck_has_the_notebook_s_own_code_and_no_empty_slide(path):
    notebook, about = read(path), deck_of(path)
    assert 10 <= len(about["slides"]) <= 40
    assert all(slide["notes"] and slide["parts"] for slide in about["slides"])
    sources = {
        cell.source for cell in code_cells(notebook) if not tags(cell) & {"setup", "parameters"}
    }
    form = r'<pre [^>]*class="(?:fragment )?code.*?</pre>'
    parts = [part for slide in about["slides"] for part in slide["parts"]]
    shown = [code for part in parts for code in re.findall(form, part, re.DOTALL)]
    codes = [re.sub(r"^ $", "", text_of(part), flags=re.MULTILINE) for part in shown]
    assert len(codes) >= 5 and set(codes) <= sources


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_each_figure_of_a_deck_has_the_words_of_its_cell(path):
    words = {cell.metadata.get("alt") for cell in code_cells(read(path))}
    assert wordless(deck_of(path)["slides"], words) == []


def wordless(found, words):
    """The name of each slide with a figure that has none of these words."""
    figures = [
        (slide["name"], re.search(r'<img [^>]*alt="(.*?)"', part))
        for slide in found
        for part in slide["parts"]
        if part.startswith("<img")
    ]
    return [name for name, alt in figures if not alt or html.unescape(alt[1]) not in words]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_deck_is_one_file_that_asks_nothing_of_the_network(path):
    text = slides.deck(deck_of(path))
    page = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    shown = re.sub(r'<aside class="notes">.*?</aside>', "", page, flags=re.DOTALL)
    assert (
        text.count("</script>") == 3
        and "<script" not in page
        and " src=" not in page.replace(' src="data:', "")
    )
    assert set(re.findall(r"url\((\w+:)", page)) == {"data:"} and "@import" not in page
    assert re.findall(r"<link [^>]*>", page) == ['<link rel="icon" href="data:,">']
    stems = {path.stem for path in NOTEBOOKS}
    for link in re.findall(r'<a [^>]*href="([^"]*)"', page):
        known = link.startswith(("https://", "#/")) or link.removesuffix(".html") in stems
        assert known, link
    assert "&lt;details" not in page and "<details" not in shown


def test_the_palette_is_that_of_the_figures():
    for name in ("deck.css", "decks.css", "cheatsheet.css"):
        style = (ROOT / "tools" / name).read_text(encoding="utf-8")
        root = re.search(r":root \{(.*?)\}", style, re.DOTALL)[1]
        colours = [
            re.search(rf"--{name}: (#\w+);", root)[1]
            for name in ("blue", "red", "green", "yellow", "grey")
        ]
        assert colours == re.findall(r'"(#\w+)"', PALETTE)


def notebook_of(*cells):
    """A notebook of (slide type, source, tags, outputs): a source that begins with "code:" is code."""
    notebook = nbformat.v4.new_notebook()
    for kind, source, tagged, outputs in cells:
        if source.startswith("code:"):
            cell = nbformat.v4.new_code_cell(source.removeprefix("code:"), outputs=outputs)
        else:
            cell = nbformat.v4.new_markdown_cell(source)
        cell.metadata = nbformat.from_dict({"slideshow": {"slide_type": kind}, "tags": tagged})
        notebook.cells.append(cell)
    return notebook


FIGURE = nbformat.v4.new_output(
    "display_data", data={"image/png": "iVBO", "text/plain": "<Figure>"}
)
LONG = "code:" + "x = 1\n" * 5 + "plot(x)"


SMALL = [
    ("slide", "# 01 · Title\n\nPromise.\n\n**You will be able to**\n\n- see", [], []),
    ("skip", "code:setup()", ["setup"], []),
    ("slide", "## 1. One `x`\n\n```\n## no heading\n```", [], []),
    ("-", LONG, [], [FIGURE]),
    ("subslide", "### Exercise 1.1 · 5 minutes", [], []),
    ("-", "code:stub()", ["exercise"], []),
    ("subslide", "**Which?**", [], []),
    ("fragment", LONG, ["hide-input"], [FIGURE]),
    ("skip", "## 2. Two", [], []),
    ("skip", "code:two()", [], []),
    ("subslide", "More.\n\n### Exercise 1.2", [], []),
]
PAGE = """# Teaching 01 · Title

How to read it.

## Opening

Welcome.

## 1. One `x`

*0:00 to 0:05*

**Ask:** one?

### Exercise 1.0, not on a slide

## Exercise 1.1

Walk round.

### Wrong answers

| wrong answer | what the check says |
| --- | --- |
| none | `no` |

## 1. One `x` (2)

**Goes wrong:** nothing.

## 2. Two

Two.
"""


@pytest.fixture
def small(tmp_path):
    """The paths of a notebook with five slides, and of its page."""
    notebook, page = tmp_path / "01_small.ipynb", tmp_path / "01_small.md"
    nbformat.write(notebook_of(*SMALL), notebook)
    page.write_text(PAGE, encoding="utf-8")
    return notebook, page


def test_cells_become_slides(small):
    found = slides.lesson(*small)["slides"]
    assert [(slide["kind"], slide["name"], slide["below"]) for slide in found] == [
        ("title", "Opening", False),
        ("goals", "Opening", True),
        ("", "1. One `x`", False),
        ("figure", "1. One `x`", True),
        ("exercise", "Exercise 1.1", True),
        ("", "1. One `x` (2)", True),
        ("", "2. Two", True),
    ]
    title, goals, one, figure, _, which, _ = ["".join(slide["parts"]) for slide in found]
    assert "Promise." in title and "01" not in text_of(title)
    assert "see" in goals and "see" not in title
    assert "<img" not in one and "plot" in one
    assert figure.startswith("<img") and figure.count("<img") == 1
    assert '<img data-fragment-index="0" class="fragment' in which and "plot" not in which
    assert not any("setup" in part for slide in found for part in slide["parts"])


def test_the_speaker_view_gets_the_slide_s_name_and_its_notes(small):
    title, goals, one, figure, drill, which, _ = slides.lesson(*small)["slides"]
    assert (
        text_of(title["notes"]).split() == ["OpeningWelcome."] and goals["notes"] == title["notes"]
    )
    assert "<code>x</code>" in one["notes"] and "<strong>Ask:</strong>" in one["notes"]
    assert "<summary>Exercise 1.0, not on a slide</summary>" in one["notes"]
    assert figure["notes"] == one["notes"] and "Goes wrong" not in one["notes"]
    said, _, folded = drill["notes"].partition("<details><summary>Wrong answers</summary>")
    assert "Walk round." in said and "<table>" not in said and "<table>" in folded
    assert text_of(which["notes"]).startswith("1. One x (2)")


def test_the_menu_has_each_section_and_each_exercise_once(small):
    entries = re.findall(
        r'<li class="(\w+)"><a href="#/(\d/\d)">(.*?)</a>', slides.deck(slides.lesson(*small))
    )
    assert entries == [
        ("section", "0/0", "Opening"),
        ("section", "1/0", "1. One <code>x</code>"),
        ("drill", "1/2", "Exercise 1.1"),
        ("section", "1/4", "2. Two"),
        ("drill", "1/4", "Exercise 1.2"),
    ]


def test_a_section_that_no_slide_shows_is_named():
    assert slides.uncovered(notebook_of(*SMALL)) == ["2. Two (its code)"]
    assert slides.uncovered(notebook_of(*SMALL[:-1])) == ["2. Two"]
    rest = [("skip", "## Since the originals", [], []), ("skip", "code:old()", [], [])]
    assert slides.uncovered(notebook_of(*SMALL[:-3], *rest)) == []


# ---------------------------------------------------------------- slides and the page for teachers


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_each_slide_has_its_heading_and_each_heading_its_slide(path):
    page = page_of(path)
    assert outline.misfits(read(path), slides.notes_of(page), path.name, page.name) == []


def test_there_are_as_many_notes_as_when_the_notebooks_held_them():
    assert sum(len(slides.notes_of(page_of(path))) for path in NOTEBOOKS) >= 202


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            "## 2. Two\n\nTwo.",
            "",
            "01_small.md has no heading “2. Two”, a slide of 01_small.ipynb.",
        ),
        (
            "(2)",
            "(2)\n\nA.\n\n## 1. One `x` (3)",
            "a heading “1. One `x` (3)”, and 01_small.ipynb no",
        ),
        ("## Exercise 1.1", "## Exercise 1.2", "no heading “Exercise 1.1”"),
        ("## Opening", "## Two\n\nTwo.\n\n## Opening", "a heading “Two”, and"),
        ("## 2. Two", "## Opening", "no heading “2. Two”"),
        ("## 2. Two", "## 2. Two\n\nTwo.\n\n## 2. Two", "a heading “2. Two”, and"),
        ("Walk round.\n\n### Wrong", "### Wrong", None),
        ("Two.\n", "\n", "01_small.md says nothing at “2. Two”."),
    ],
)
def test_a_spoiled_page_ends_the_program_with_a_sentence(small, old, new, sentence):
    path, page = small
    assert old in PAGE
    page.write_text(PAGE.replace(old, new), encoding="utf-8")
    if sentence is None:
        assert slides.lesson(path, page)
        return
    with pytest.raises(SystemExit) as caught:
        slides.lesson(path, page)
    assert sentence in caught.value.code and "\n" not in caught.value.code


def test_headings_out_of_turn_and_a_page_that_is_not_there_end_it_too(small):
    path, page = small
    head, *rest = re.split(r"^(?=## )", PAGE, flags=re.MULTILINE)
    page.write_text("".join([head, rest[1], rest[0], *rest[2:]]), encoding="utf-8")
    with pytest.raises(SystemExit, match=r"has “1\. One `x`” where 01_small.ipynb has “Opening”"):
        slides.lesson(path, page)
    page.unlink()
    with pytest.raises(SystemExit, match=r"\AThere is no .*01_small.md, the notes for"):
        slides.lesson(path, page)


# ---------------------------------------------------------------- what a slide shows


def test_a_long_output_loses_its_middle():
    lines = [f"line {i}" for i in range(46)]
    assert slides.shorten("\n".join(lines) + "\n").split("\n") == [
        *lines[:7],
        "⋮ 35 more lines",
        *lines[-4:],
    ]
    assert slides.shorten("\n".join(lines[:14])) == "\n".join(lines[:14])


def test_a_fragment_comes_in_steps_and_takes_along_what_follows():
    printed = [nbformat.v4.new_output("stream", text="Steps: 100% |███| 9/9\n6\n")]
    cells = [
        ("slide", "# 0", [], []),
        ("slide", "Ask", [], []),
        ("fragment", "code:f()", [], [*printed, FIGURE]),
    ]
    *_, slide = slides.slides(
        notebook_of(*cells, ("-", "So.", [], []), ("fragment", "code:g()", [], []))
    )
    steps = [re.findall(r'\A<\w+ data-fragment-index="(\d)"', part) for part in slide["parts"]]
    assert steps == [[], ["0"], ["1"], ["2"], ["2"], ["3"]]
    assert text_of(slide["parts"][2]) == "6"


def test_the_asserts_at_the_end_of_a_fragment_come_with_its_output():
    printed = [nbformat.v4.new_output("stream", text="6\n")]
    source = "code:x = 6\nassert x\nprint(x)\nassert x == 6\nassert x > 5"
    *_, slide = slides.slides(
        notebook_of(
            ("slide", "# 0", [], []), ("slide", "Ask", [], []), ("fragment", source, [], printed)
        )
    )
    _, code, output = slide["parts"]
    steps = re.findall(r'data-fragment-index="(\d)" class="fragment (\w+)', code + output)
    assert steps == [("0", "code"), ("1", "line"), ("1", "line"), ("1", "output")]
    assert text_of(code) == source.removeprefix("code:")


def test_a_message_loses_the_codes_of_its_colours():
    printed = [nbformat.v4.new_output("stream", text="\x1b[1mDo this\x1b[0m only then.\n")]
    cells = [("slide", "# 0", [], []), ("slide", "Ask", [], []), ("-", "code:f()", [], printed)]
    *_, slide = slides.slides(notebook_of(*cells))
    assert text_of(slide["parts"][-1]) == "Do this only then."


def test_a_figure_without_its_code_stays_on_its_slide_whatever_is_printed_above_it():
    printed = [nbformat.v4.new_output("stream", text="code 0\n"), FIGURE]
    cells = [
        ("slide", "# 0", [], []),
        ("slide", "Ask", [], []),
        ("-", LONG, ["hide-input"], printed),
    ]
    *_, slide = slides.slides(notebook_of(*cells))
    assert slide["kind"] == "" and [part[1:4] for part in slide["parts"]] == ["div", "pre", "img"]


def test_a_figure_has_the_words_of_its_cell():
    cells = [("slide", "# 0", [], []), ("slide", "## 1", [], []), ("-", "code:f()", [], [FIGURE])]
    notebook = notebook_of(*cells)
    notebook.cells[-1].metadata["alt"] = 'A "quoted" one'
    *_, slide = slides.slides(notebook)
    assert 'alt="A &quot;quoted&quot; one"' in slide["parts"][-1]
    assert wordless([slide], {'A "quoted" one'}) == [] and wordless([slide], {"B"}) == ["1"]
    del notebook.cells[-1].metadata["alt"]
    assert wordless(slides.slides(notebook), {None}) == ["1"]


def test_the_map_leads_to_each_deck_and_to_its_form_for_paper():
    page = slides.index([deck_of(path) for path in NOTEBOOKS])
    for path in NOTEBOOKS:
        assert f'href="{path.stem}.html"' in page and f'href="{path.stem}.html?print-pdf"' in page
    assert "<kbd>M</kbd> menu of the sections" in page and "<script" not in page
