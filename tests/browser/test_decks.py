"""Each deck in Chromium, as `make slides` writes it: walked through with the space bar, in two sizes of window."""

import re

import pytest
from conftest import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
DECKS = ROOT / "build" / "slides"
SIZES = [(1280, 720), (1024, 768)]

# What leaves its place on the slide that is shown, hidden fragments too, since they keep their place.
LOST = """() => {
  const slide = Reveal.getCurrentSlide(), page = slide.querySelector(".page").getBoundingClientRect()
  const paper = document.querySelector(".reveal .slides").getBoundingClientRect(), found = []
  for (const element of slide.querySelectorAll("header *, .series, .page, .page *")) {
    const box = element.getBoundingClientRect(), frame = element.closest(".page") ? page : paper
    const name = `${element.tagName} ${element.textContent.trim().slice(0, 60)}`
    if (!box.width && !box.height) continue
    if (box.left < frame.left - 1 || box.right > frame.right + 1) found.push(`too wide: ${name}`)
    if (box.top < frame.top - 1 || box.bottom > frame.bottom + 1) found.push(`too high: ${name}`)
    const clips = getComputedStyle(element).overflow != "visible"
    if (clips && element.scrollWidth > element.clientWidth + 1) found.push(`clipped: ${name}`)
    if (clips && element.scrollHeight > element.clientHeight + 1) found.push(`clipped: ${name}`)
    if (element.tagName == "IMG" && !(element.complete && element.naturalWidth)) found.push(`no picture: ${name}`)
    if (element.tagName == "IMG" && box.height < 0.3 * paper.height) found.push("a small figure")
  }
  return [...new Set(found)]
}"""
# Which step of the deck is shown.
STEP = "() => JSON.stringify(Reveal.getState())"


def open_deck(page, path):
    page.goto(path.as_uri())
    page.wait_for_function("window.Reveal && Reveal.isReady()")
    page.evaluate("document.fonts.ready")


def walk(page, path, seen=None):
    """Go through a deck with the space bar and look at every step; returns the number of slides."""
    open_deck(page, path)
    visited, complaints = set(), []
    while True:
        place = page.evaluate("() => Reveal.getSlidePastCount()")
        if place not in visited:
            visited.add(place)
            complaints += [f"slide {place + 1}: {text}" for text in page.evaluate(LOST)]
        last = page.evaluate("() => Reveal.isLastSlide() && !Reveal.availableFragments().next")
        if seen and (last or page.evaluate("() => !Reveal.availableFragments().next")):
            seen(place + 1)
        if last:
            break
        step = page.evaluate(STEP)
        page.keyboard.press("Space")
        assert page.evaluate(STEP) != step, f"Space does not lead on from slide {place + 1}"
    assert complaints == []
    assert page.evaluate("Reveal.getTotalSlides()") == len(visited)
    assert page.foreign == [] and page.errors == []
    return len(visited)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_deck(path, size, new_page, pictures):
    page = new_page(*size)
    folder = pictures(f"decks/{size[0]}/x").parent
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f"{path.stem[:2]}_*.png"):
        old.unlink()

    def seen(number):
        page.screenshot(path=folder / f"{path.stem[:2]}_{number:02}.png")

    assert 10 <= walk(page, DECKS / f"{path.stem}.html", seen if size == SIZES[0] else None) <= 20


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_deck_prints_one_page_a_slide(path, new_page):
    page = new_page()
    page.goto((DECKS / f"{path.stem}.html").as_uri() + "?print-pdf")
    page.wait_for_function(
        "window.Reveal && Reveal.isReady() && document.querySelector('.pdf-page')"
    )
    pdf = page.pdf(prefer_css_page_size=True, print_background=True)
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) == page.evaluate(
        "document.querySelectorAll('.pdf-page').length"
    )
    assert 10 <= page.evaluate("document.querySelectorAll('.pdf-page').length") <= 20
    assert page.foreign == [] and page.errors == []


def test_the_speaker_view_shows_the_notes_and_follows(new_page):
    page = new_page()
    open_deck(page, DECKS / f"{NOTEBOOKS[1].stem}.html")
    with page.expect_popup() as popup:
        page.keyboard.press("s")
    speaker = popup.value
    notes = speaker.locator(".speaker-controls-notes .value")
    notes.get_by_text("For the room.").wait_for()
    page.keyboard.press("Space")
    page.keyboard.press("Space")
    notes.get_by_text("Ask:").wait_for()
    assert page.foreign == []


def test_the_map_of_the_decks(new_page, pictures):
    page = new_page(1280, 800)
    page.goto((DECKS / "index.html").as_uri())
    links = page.eval_on_selector_all("a", "links => links.map(link => link.getAttribute('href'))")
    assert len(links) == 2 * len(NOTEBOOKS)
    assert all((DECKS / link.partition("?")[0]).is_file() for link in links)
    page.screenshot(path=pictures("decks/index"), full_page=True)
    assert page.foreign == [] and page.errors == []


# ---------------------------------------------------------------- spoiled on purpose


def on_slides(addition):
    """A spoiler: an addition at the top of four slides."""
    return lambda text: text.replace('<div class="page">', f'<div class="page">{addition}', 4)


SPOILERS = {
    "too high": on_slides("<pre>" + "x = 1\n" * 40 + "</pre>"),
    "too wide": on_slides('<p style="width: 1300px">wide</p>'),
    "clipped": on_slides(
        '<pre style="width: 300px; overflow: hidden; white-space: pre">' + "x" * 90 + "</pre>"
    ),
    "no picture": lambda text: text.replace(
        'src="data:image/png;base64,', 'src="data:image/png;base64,AAAA', 1
    ),
    "a small figure": lambda text: text.replace(
        "</style>", ".reveal .page > img { max-height: 90px }</style>", 1
    ),
    "example.org": lambda text: text + '<img src="https://example.org/x.png">',
    "does not lead on from slide 1": lambda text: text.replace(
        "controls: false", "controls: false, keyboard: false"
    ),
}


@pytest.mark.parametrize("complaint", SPOILERS)
def test_a_spoiled_deck_is_caught(complaint, new_page, tmp_path):
    source = DECKS / f"{NOTEBOOKS[1].stem}.html"
    spoiled = SPOILERS[complaint](source.read_text(encoding="utf-8"))
    assert spoiled != source.read_text(encoding="utf-8")
    (tmp_path / "deck.html").write_text(spoiled, encoding="utf-8")
    with pytest.raises(AssertionError, match=complaint):
        walk(new_page(), tmp_path / "deck.html")
