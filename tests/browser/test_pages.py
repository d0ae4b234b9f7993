"""The pages that `make run` writes, as a browser shows them: links, pictures, widths, and nothing from the network."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

import pytest
from notebook_tools import NOTEBOOKS, ROOT

HTML = ROOT / "build" / "html"
PAGES = sorted(HTML.rglob("*.html"))
WIDTHS = (1280, 400)


def check(page, path):
    """Open a page of build/html and demand what must hold of it."""
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
    broken = [
        link
        for link in page.eval_on_selector_all("[href]", "all => all.map(one => one.href)")
        if dead(link)
    ]
    assert not broken, f"broken links: {broken}"
    assert not page.foreign, f"requests left the machine: {page.foreign}"
    assert not page.errors, f"errors in the console: {page.errors}"
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"the page is {wide} pixels wide in a window of {width}"


def dead(link):
    """Whether a link leads nowhere: its file, or the place in it that its fragment names, does not exist."""
    parts = urlsplit(link)
    if parts.scheme != "file":
        return parts.scheme not in {"https", "data"}
    path = Path(url2pathname(parts.path))
    if not parts.fragment:
        return not path.exists()
    # A browser looks for the fragment as it stands, then decoded; nbconvert's ids keep their %C2%B7.
    return not path.exists() or not {parts.fragment, unquote(parts.fragment)} & ids(path)


def ids(path):
    found = set()
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: found.add(dict(attributes).get("id"))
    parser.feed(path.read_text(encoding="utf-8"))
    return found


def test_there_is_a_page_for_each_lesson():
    missing = {f"{path.stem}.html" for path in NOTEBOOKS} | {"index.html"}
    missing -= {path.name for path in PAGES}
    assert not missing, f"no {sorted(missing)} in build/html: run `make run` first"


@pytest.mark.parametrize(
    "path", PAGES, ids=lambda path: path.relative_to(HTML).with_suffix("").as_posix()
)
def test_a_page_is_whole(new_page, pictures, path):
    page = new_page()
    check(page, path)
    name = "_".join(path.relative_to(HTML).with_suffix("").parts)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            page.screenshot(path=pictures(f"pages/{name}_{width}_{scheme}"))


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
}
SOUND = '<!DOCTYPE html><title>A page</title><h1 id="top">A page</h1>'
SOUND += '<a href="sound.html#top">up</a><a href="#top">up</a>'


@pytest.fixture
def sound(tmp_path):
    path = tmp_path / "sound.html"
    path.write_text(SOUND, encoding="utf-8")
    return path


def test_a_sound_page_passes(new_page, sound):
    check(new_page(), sound)


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_page_is_caught(new_page, sound, name):
    spoil, complaint = SPOILED[name]
    path = sound.with_name("spoiled.html")
    path.write_text(SOUND + spoil, encoding="utf-8")
    with pytest.raises(AssertionError, match=complaint):
        check(new_page(), path)
