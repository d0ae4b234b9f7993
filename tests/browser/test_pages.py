"""The book as a browser shows it from its files: links, pictures, widths, what a screen reader meets, the search, the
switch for the dark, the folds, the buttons that copy, and the book on paper.
"""

import functools
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

import lessons
import pdf
import pypdf
import pytest
from conftest import assert_accessible
from notebook_tools import NOTEBOOKS, ROOT
from playwright.sync_api import expect

HTML = ROOT / "build" / "html"
PAGES = sorted(path for path in HTML.rglob("*.html") if "_static" not in path.parts)
LESSONS = [HTML / "notebooks" / f"{path.stem}.html" for path in NOTEBOOKS]
WIDTHS = (1280, 400)
# One page of each kind, for people to look at.
LOOKED_AT = ["index", "notebooks_02_state_dict_anatomy", "docs_glossary", "docs_rivals", "search"]
LOOKED_AT += ["checkpoints.py", "docs_teach_index"]

# Text in the same colour on the same ground is looked at once, of a table the first rows, and of each section of the
# errors, whose entries have one form, the first entries. Nothing moves.
PREPARE = """() => {
  const seen = new Set();
  for (const row of document.querySelectorAll("tbody tr:nth-child(n + 6)")) row.remove();
  const errors = "#errors-and-what-they-mean section section:nth-of-type(n + 6)";
  for (const entry of document.querySelectorAll(errors)) entry.remove();
  for (const text of document.querySelectorAll(".highlight span[class], code.literal")) {
    const around = text.closest(".output, .cell_input, td, th, li, p, summary, h2, h3");
    const kind = [text.className, around?.tagName, around?.className].join();
    if (seen.has(kind)) text.replaceWith(text.textContent); else seen.add(kind);
  }
  for (const fold of document.querySelectorAll("details")) fold.open = true;
  const still = document.createElement("style");
  still.textContent = "* { transition: none !important; animation: none !important }";
  document.head.append(still);
}"""
# What scrolls is noted in the next frame.
SETTLED = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
# The sidebars slide.
STILL = "() => Promise.allSettled(document.getAnimations().map(each => each.finished))"


def check(page, path):
    """Open a page of the book and demand what must hold of it."""
    page.goto(path.as_uri())
    # decode() ends when a picture is loaded, or cannot be; a lazy one is loaded at once.
    broken = page.evaluate(
        """async () => {
            const images = [...document.images];
            images.forEach(image => image.loading = "eager");
            await Promise.allSettled(images.map(image => image.decode()));
            return images.filter(image => !image.naturalWidth).map(image => image.getAttribute("src").slice(0, 80));
        }"""
    )
    assert not broken, f"broken pictures: {broken}"
    links = page.eval_on_selector_all("[href]", "all => [...new Set(all.map(one => one.href))]")
    broken = [link for link in links if dead(link)]
    assert not broken, f"broken links: {broken}"
    assert not page.foreign, f"requests left the machine: {page.foreign}"
    assert not page.errors, f"errors in the console: {page.errors}"
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        page.evaluate(STILL)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"the page is {wide} pixels wide in a window of {width}"


def dead(link):
    """Whether a link leads nowhere: its file, or the place in it that its fragment names, does not exist."""
    parts = urlsplit(link)
    if parts.scheme != "file":
        return parts.scheme not in {"https", "data"}
    path = Path(url2pathname(parts.path))
    if not parts.fragment:
        return not path.is_file()
    return not path.is_file() or not {parts.fragment, unquote(parts.fragment)} & ids(path)


@functools.cache
def ids(path):
    found = set()
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: found.add(dict(attributes).get("id"))
    parser.feed(path.read_text(encoding="utf-8"))
    return found


def check_for_all(page):
    """Demand that axe finds nothing on the open page, with all folds open: light, dark, and on a phone.

    The dark has other colours and no other structure, and on a phone other things scroll.
    """
    page.set_viewport_size({"width": 1280, "height": 800})
    page.evaluate(PREPARE)
    page.evaluate(SETTLED)
    assert_accessible(page)
    page.emulate_media(color_scheme="dark")
    assert_accessible(page, runOnly=["color-contrast"])
    page.set_viewport_size({"width": 400, "height": 800})
    page.evaluate(SETTLED)
    assert_accessible(page, runOnly=["scrollable-region-focusable"])


def check_words(page):
    """Demand that each figure of the open lesson has words of its own for those who cannot see it."""
    words = page.eval_on_selector_all("article img", "all => all.map(one => one.alt)")
    mute = [each for each in words if not re.search(r"\w{3,} .*\w", each)]
    assert not mute, f"{len(mute)} figures without words: {mute}"
    twice = {each for each in words if words.count(each) > 1}
    assert not twice, f"the same words for several figures: {twice}"


def test_there_is_a_page_for_each_lesson():
    missing = {path.name for path in [*LESSONS, HTML / "index.html"] if path not in PAGES}
    assert not missing, f"no {sorted(missing)} in build/html: run `make book` first"


@pytest.mark.parametrize(
    "path", PAGES, ids=lambda path: path.relative_to(HTML).with_suffix("").as_posix()
)
def test_a_page_is_whole(new_page, pictures, path):
    page = new_page()
    check(page, path)
    if path in LESSONS:
        check_words(page)
    name = "_".join(path.relative_to(HTML).with_suffix("").parts)
    if name in LOOKED_AT:
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            for width in WIDTHS:
                page.set_viewport_size({"width": width, "height": 900})
                page.screenshot(path=pictures(f"pages/{name}_{width}_{scheme}"))
    check_for_all(page)


# ---------------------------------------------------------------- what a reader does


def phrases():
    """The longest heading of each of ten lessons, which its page must be found by."""
    found = {}
    for path in NOTEBOOKS[:10]:
        text = "\n".join(
            cell.source for cell in lessons.read(path).cells if cell.cell_type == "markdown"
        )
        headings = re.findall(r"^## (?:\d+\. )?(.*)", text, re.MULTILINE)
        found[path.stem] = max(headings, key=len).replace("`", "")
    return found


def search(page, phrase):
    """Type a phrase into the search of the front page, and return the pages that are found, the best first."""
    page.goto((HTML / "index.html").as_uri())
    page.keyboard.press("Control+k")
    page.get_by_role("searchbox", name="Search").and_(page.locator(":focus")).fill(phrase)
    page.keyboard.press("Enter")
    end = re.compile("Search finished|did not match")
    expect(page.locator("#search-results .search-summary")).to_have_text(end)
    names = page.eval_on_selector_all("ul.search li a", "all => all.map(one => one.pathname)")
    return [Path(name).stem for name in names]


def test_the_search_finds_lessons_without_a_server(new_page):
    page = new_page()
    missed = {
        name: phrase for name, phrase in phrases().items() if name not in search(page, phrase)[:5]
    }
    assert not missed
    assert not page.errors and not page.foreign
    assert search(page, "zyzzyva") == []


def test_the_switch_for_the_dark_holds_on_the_next_page(new_page):
    page = new_page(color_scheme="light")
    ground = "getComputedStyle(document.body).backgroundColor"
    page.goto((HTML / "index.html").as_uri())
    light = page.evaluate(ground)
    page.get_by_role("button", name="Color mode").click()
    page.get_by_role("button", name="Dark").click()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate(ground) != light
    page.goto(LESSONS[1].as_uri())
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_code_is_copied_and_outputs_have_no_button(new_page):
    page = new_page(permissions=["clipboard-read", "clipboard-write"])
    page.goto(LESSONS[1].as_uri())
    shown = page.locator("div.cell:not(.tag_setup) .cell_input .highlight:visible")
    assert shown.count() == shown.locator("button.copybtn").count() > 10
    assert page.locator(".cell_output button.copybtn").count() == 0
    first = shown.first
    first.hover()
    first.locator("button.copybtn").click()
    page.keyboard.press("Control+k")
    field = page.locator("input[type=search]:focus")
    page.keyboard.press("Control+v")
    words = first.locator("pre").inner_text().split()
    assert field.input_value().split()[:5] == words[:5]


def test_what_is_folded_opens(new_page):
    page = new_page()
    page.goto(LESSONS[1].as_uri())
    for name, inside in {"Set-up": ".cell_input", "Solution 1.1": ".highlight"}.items():
        fold = page.locator("article details").filter(has=page.get_by_text(name, exact=True))
        expect(fold.locator(inside).first).to_be_hidden()
        fold.locator("summary").press("Enter")
        expect(fold.locator(inside).first).to_be_visible()
        fold.locator("summary").click()
        expect(fold.locator(inside).first).to_be_hidden()


def test_the_lessons_are_a_tap_away_on_a_phone(new_page):
    page = new_page(400, 800)
    page.goto(LESSONS[1].as_uri())
    link = page.get_by_role("link", name="02 ·").first
    expect(link).not_to_be_in_viewport()
    page.locator("button.primary-toggle:visible").click()
    expect(link).to_be_in_viewport()
    link.click()
    page.wait_for_url("**/02_*.html")


# ---------------------------------------------------------------- on paper


@pytest.fixture
def short(tmp_path):
    """The front page and two lessons of the book, in a folder."""
    folder = tmp_path / "html"
    (folder / "notebooks").mkdir(parents=True)
    for path in (HTML / "index.html", *LESSONS[:2]):
        shutil.copy(path, folder / path.relative_to(HTML))
    for name in ("_static", "_images"):
        (folder / name).symlink_to(HTML / name)
    return folder


def check_paper(path):
    """Demand bookmarks and links of a printed book, and that what is folded can be read."""
    reader = pypdf.PdfReader(path)
    titles = [lessons.about(each.stem, lessons.read(each))["title"] for each in NOTEBOOKS[:2]]
    parts = [each for each in reader.outline if isinstance(each, list)]
    marks = [each for each in parts[0] if not isinstance(each, list)]
    assert [squeezed(mark.title) for mark in marks] == [squeezed(each) for each in titles], (
        "bookmarks"
    )
    # In points, from the bottom of a page that is 842 high.
    assert all(mark.top > 780 for mark in marks), "a lesson does not begin on a page of its own"
    notes = [note.get_object() for page in reader.pages for note in page.get("/Annots", [])]
    foreign = [note["/A"]["/URI"] for note in notes if "/URI" in note.get("/A", {})]
    assert all(link.startswith("https://") for link in foreign), "links to files of this machine"
    assert len(notes) - len(foreign) > 2, "no links inside of the book"
    words = squeezed("".join(page.extract_text() for page in reader.pages))
    assert "ROOT=next(" in words, "a fold is closed"


def squeezed(text):
    """A text without its blanks, of which a PDF loses some."""
    return re.sub(r"\s", "", text)


def test_the_book_on_paper(browser, short):
    check_paper(pdf.write_pdf(browser, short))


@pytest.mark.parametrize(
    ("sound", "spoiled", "complaint"),
    [
        ('fold["open"] = ""', "pass", "a fold is closed"),
        ("tag.name = f", "tag.title = f", "bookmarks"),
        ("break-before: page;", "", "a page of its own"),
        ('tag["href"] = f"#{there}--', 'tag["title"] = f"#{there}--', "files of this machine"),
    ],
)
def test_a_spoiled_print_is_caught(
    browser, short, tmp_path, monkeypatch, sound, spoiled, complaint
):
    style, program = pdf.STYLE.read_text("utf-8"), Path(pdf.__file__).read_text("utf-8")
    assert sound in style + program
    (tmp_path / "print.css").write_text(style.replace(sound, spoiled), encoding="utf-8")
    names = {"__name__": "spoiled"}
    exec(program.replace(sound, spoiled), names)
    names["STYLE"] = tmp_path / "print.css"
    with pytest.raises((AssertionError, ValueError), match=complaint):
        check_paper(names["write_pdf"](browser, short))


def test_what_is_too_wide_for_paper_is_named(browser, short):
    path = short / "notebooks" / LESSONS[0].name
    text = path.read_text(encoding="utf-8")
    wide = '</h1><p style="width: 900px">a wide one</p>'
    path.write_text(text.replace("</h1>", wide, 2), encoding="utf-8")
    with pytest.raises(SystemExit, match=r"^The book is too wide for its paper: “a wide one”\.$"):
        pdf.write_pdf(browser, short)


# ---------------------------------------------------------------- spoiled on purpose

SPOILED = {
    "a broken link": ('<a href="nowhere.html">on</a>', "broken links: .*nowhere.html"),
    "a broken fragment": (
        '<a href="sound.html#nowhere">on</a>',
        "broken links: .*sound.html#nowhere",
    ),
    "a broken fragment of the page itself": (
        '<a href="#nowhere">up</a>',
        "broken links: .*#nowhere",
    ),
    "a broken picture": ('<img src="nowhere.png">', "broken pictures: .*nowhere.png"),
    "a picture that is none": (
        '<img src="data:image/png;base64,bm9uZQ==">',
        "broken pictures: .*data:image/png",
    ),
    "a picture from elsewhere": (
        '<img src="https://example.org/a.png">',
        "broken pictures: .*example.org",
    ),
    "a style from elsewhere": (
        '<style>@import "https://example.org/a.css"</style>',
        "left the machine: .*example.org",
    ),
    "a script with an error": (
        "<script>nothing()</script>",
        "errors in the console: .*nothing is not defined",
    ),
    "too wide for a phone": (
        '<p style="width: 500px">wide</p>',
        "508 pixels wide in a window of 400",
    ),
    "too wide for a screen": (
        '<p style="width: 1500px">wide</p>',
        "1508 pixels wide in a window of 1280",
    ),
    "a table with an empty heading": (
        "<table><tr><th></th><th>a</th></tr><tr><td>1</td><td>2</td></tr></table>",
        "axe finds barriers:\\s*empty-table-header",
    ),
    "what scrolls on a phone and no key reaches": (
        '<pre tabindex="-1" style="overflow: auto">' + "wide " * 20 + "</pre>",
        "axe finds barriers:\\s*scrollable-region-focusable",
    ),
    "a field without a name": ("<input>", "axe finds barriers:\\s*label"),
    "pale text": ('<p style="color: #aaa">pale</p>', "axe finds barriers:\\s*color-contrast"),
    "text that is dark in the dark": (
        "<style>@media (prefers-color-scheme: dark) { p { background: #111 } }</style><p>dark</p>",
        "axe finds barriers:\\s*color-contrast",
    ),
    "pale text in a fold": (
        '<details><summary>more</summary><p style="color: #aaa">pale</p></details>',
        "axe finds barriers:\\s*color-contrast",
    ),
    "a figure without words": ("<article>{0}</article>", "1 figures without words"),
    "a figure with its name for words": (
        '<article><img alt="_images/0123abc.png" {0}</article>',
        "1 figures without words",
    ),
    "two figures with the same words": (
        '<article><img alt="A red line." {0}<img alt="A red line." {0}</article>',
        "the same words for several figures: {'A red line.'}",
    ),
}
DOT = 'src="data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA=">'
SOUND = '<!DOCTYPE html><html lang="en"><title>A page</title><main><h1 id="top">A page</h1>'
SOUND += '<a href="sound.html#top">up</a> <a href="#top">up</a>'


@pytest.fixture
def sound(tmp_path):
    path = tmp_path / "sound.html"
    path.write_text(SOUND, encoding="utf-8")
    return path


def test_a_sound_page_passes(new_page, sound):
    page = new_page()
    check(page, sound)
    check_words(page)
    check_for_all(page)


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_page_is_caught(new_page, sound, name):
    spoil, complaint = SPOILED[name]
    path = sound.with_name("spoiled.html")
    spoil = spoil.replace("<article>{0}", "<article><img {0}").replace("{0}", DOT)
    path.write_text(SOUND + spoil, encoding="utf-8")
    page = new_page()
    with pytest.raises(AssertionError, match=complaint):
        check(page, path)
        check_words(page)
        check_for_all(page)
