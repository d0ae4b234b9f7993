"""The decks: what tools/slides.py makes of the notebooks. How they look in a browser is tested in tests/browser."""

import html
import re

import nbformat
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


def deck_of(path):
    about = slides.about(path.stem, read(path))
    about["slides"] = slides.slides(read(path))
    return about


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_deck_has_10_to_20_slides_with_notes_and_the_notebook_s_own_code(path):
    notebook, about = read(path), deck_of(path)
    assert 10 <= len(about["slides"]) <= 20
    assert all(slide["notes"] and slide["parts"] for slide in about["slides"])
    sources = {
        cell.source for cell in code_cells(notebook) if not tags(cell) & {"setup", "parameters"}
    }
    shown = [
        part
        for slide in about["slides"]
        for part in re.findall(
            r'<pre [^>]*class="(?:fragment )?code.*?</pre>', "".join(slide["parts"]), re.DOTALL
        )
    ]
    codes = [re.sub(r"^ $", "", text_of(part), flags=re.MULTILINE) for part in shown]
    assert len(codes) >= 5 and set(codes) <= sources


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_deck_is_one_file_that_asks_nothing_of_the_network(path):
    text = slides.deck(deck_of(path))
    page = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert (
        text.count("</script>") == 3
        and "<script" not in page
        and " src=" not in page.replace(' src="data:', "")
    )
    assert set(re.findall(r"url\((\w+:)", page)) == {"data:"} and "@import" not in page
    assert re.findall(r"<link [^>]*>", page) == ['<link rel="icon" href="data:,">']
    stems = {path.stem for path in NOTEBOOKS}
    for link in re.findall(r'<a [^>]*href="([^"]*)"', page):
        assert link.startswith("https://") or link.removesuffix(".html") in stems, link
    assert "&lt;details" not in page and "<details" not in page


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


def test_cells_become_slides():
    found = slides.slides(
        notebook_of(
            ("slide", "# 01 · Title\n\nPromise.\n\n**You will be able to**\n\n- see", [], []),
            ("notes", "Welcome.", [], []),
            ("skip", "code:setup()", ["setup"], []),
            ("slide", "## 1. One", [], []),
            ("-", LONG, [], [FIGURE]),
            ("notes", "<details>\n<summary>Speaker notes</summary>\n\nAsk.\n\n</details>", [], []),
            ("subslide", "**Which?**", [], []),
            ("fragment", LONG, ["hide-input"], [FIGURE]),
            ("skip", "### 1.1", [], []),
            ("subslide", "### Exercise 1.1", [], []),
            ("-", "code:stub()", ["exercise"], []),
        )
    )
    assert [(slide["kind"], slide["section"], slide["below"]) for slide in found] == [
        ("title", "", False),
        ("goals", "", True),
        ("", "1. One", False),
        ("figure", "1. One", True),
        ("", "1. One", True),
        ("exercise", "1. One", True),
    ]
    assert [text_of(slide["notes"]).strip() for slide in found] == [
        "Welcome.",
        "Welcome.",
        "Ask.",
        "Ask.",
        "",
        "",
    ]
    title, goals, one, figure, which, _ = ["".join(slide["parts"]) for slide in found]
    assert (
        "Promise." in title and "01" not in text_of(title) and "see" in goals and "see" not in title
    )
    assert (
        "<img" not in one
        and "plot" in one
        and figure.startswith("<img")
        and figure.count("<img") == 1
    )
    assert '<img data-fragment-index="0" class="fragment' in which and "plot" not in which
    assert not any("setup" in part for slide in found for part in slide["parts"])


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


def test_the_map_leads_to_each_deck_and_to_its_form_for_paper():
    page = slides.index([deck_of(path) for path in NOTEBOOKS])
    for path in NOTEBOOKS:
        assert f'href="{path.stem}.html"' in page and f'href="{path.stem}.html?print-pdf"' in page
    assert "page.css" not in page and "<script" not in page
