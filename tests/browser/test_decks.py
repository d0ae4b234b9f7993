"""Each deck in Chromium, as `make slides` writes it: walked through with the space bar in two sizes of window, led by
its menu of sections, looked at by axe, printed, and shown to a speaker.
"""

import re

import pytest
import slides
from conftest import ROOT, assert_accessible, take_picture

NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
DECKS = ROOT / "build" / "slides"
SIZES = [(1280, 720), (1024, 768)]

# What leaves its place on the slide that is shown, hidden fragments too, since they keep their place.
LOST = """() => {
  const slide = Reveal.getCurrentSlide(), page = slide.querySelector(".page").getBoundingClientRect()
  const paper = document.querySelector(".reveal .slides").getBoundingClientRect(), found = []
  const button = document.querySelector("nav button").getBoundingClientRect()
  for (const element of slide.querySelectorAll("header *, .series, .page, .page *")) {
    const box = element.getBoundingClientRect(), frame = element.closest(".page") ? page : paper
    const name = `${element.tagName} ${element.textContent.trim().slice(0, 60)}`
    if (!box.width && !box.height) continue
    if (box.left < frame.left - 1 || box.right > frame.right + 1) found.push(`too wide: ${name}`)
    if (box.top < frame.top - 1 || box.bottom > frame.bottom + 1) found.push(`too high: ${name}`)
    const covered = box.bottom > button.top + 1 && box.left < button.right
    if (covered && element.className != "page") found.push(`under the button: ${name}`)
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
NAME = "() => Reveal.getCurrentSlide().dataset.name"
# Follows each entry of the menu: its name, then the name of the slide, and the headings on it.
VISIT = """() => [...document.querySelectorAll("dialog a")].map(link => {
  link.click()
  const slide = Reveal.getCurrentSlide()
  const headings = [...slide.querySelectorAll("h3")].map(each => each.textContent.split(" · ")[0].trim())
  return [link.textContent, slide.dataset.name, headings]
})"""
# Of code in the same colour, the first piece is enough for axe to look at.
ONE_OF_A_COLOUR = """() => {
  const seen = new Set()
  for (const span of document.querySelectorAll("pre .line span[class]"))
    if (seen.has(span.className)) span.replaceWith(span.textContent); else seen.add(span.className)
}"""
FOCUS = "() => document.activeElement.textContent.trim()"


def open_deck(page, path):
    page.goto(path.as_uri())
    page.wait_for_function("window.Reveal && Reveal.isReady()")
    page.evaluate("document.fonts.ready")


def walk(page, seen=None):
    """Go through an open deck with the space bar and look at every step; returns the number of slides."""
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


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_deck(path, new_page, pictures):
    """In a wide window, with a picture of each slide, then in a narrow one."""
    page = new_page(*SIZES[0])
    folder = pictures("decks/slides/x").parent
    for old in folder.glob(f"{path.stem[:2]}_*.png"):
        old.unlink()

    def seen(number):
        take_picture(page, folder / f"{path.stem[:2]}_{number:02}.png")

    open_deck(page, DECKS / f"{path.stem}.html")
    count = walk(page, seen)
    page.set_viewport_size(dict(zip(("width", "height"), SIZES[1])))
    page.evaluate("Reveal.slide(0, 0, -1)")
    assert walk(page) == count >= 10


def open_for_paper(page, path):
    page.goto(path.as_uri() + "?print-pdf")
    page.wait_for_function(
        "window.Reveal && Reveal.isReady() && document.querySelector('.pdf-page')"
    )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_deck_prints_one_page_a_slide_and_axe_finds_nothing_on_any(path, new_page):
    page = new_page()
    open_for_paper(page, DECKS / f"{path.stem}.html")
    pages = page.evaluate("document.querySelectorAll('.pdf-page').length")
    assert page.locator("nav").is_hidden() and page.locator(".fragment:visible").count()
    pdf = page.pdf(prefer_css_page_size=True, print_background=True)
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) == pages >= 10
    page.evaluate(ONE_OF_A_COLOUR)
    assert_accessible(page)
    assert page.foreign == [] and page.errors == []


# ---------------------------------------------------------------- the menu of sections


def check_menu(page, path):
    """Go to a section with keys alone, close the menu, and demand that deck and focus follow."""
    open_deck(page, path)
    menu, step = page.locator("dialog"), page.evaluate(STEP)
    page.keyboard.press("m")
    assert menu.is_visible(), "M opens no menu"
    assert page.evaluate(FOCUS) == "Opening", "the focus is not on the section that is shown"
    for key in ("ArrowRight", "PageDown", "b", "ArrowDown", "ArrowDown", "ArrowUp"):
        page.keyboard.press(key)
    assert page.evaluate(STEP) == step, "the deck moves behind its menu"
    chosen = page.evaluate(FOCUS)
    page.keyboard.press("Enter")
    assert menu.is_hidden() and page.evaluate(NAME) == chosen != "Opening", (
        "Enter does not lead there"
    )
    check_closing(page, menu)


def check_closing(page, menu):
    """Demand that Escape closes the menu, and that keys are the deck's again after it."""
    page.keyboard.press("m")
    current = page.locator("dialog [aria-current=true]").all_inner_texts()
    assert current == [page.evaluate(NAME)], "the section that is shown is not marked"
    page.keyboard.press("Escape")
    assert menu.is_hidden(), "Escape does not close the menu"
    assert not page.evaluate("Reveal.isOverview()"), "Escape goes on to the deck"
    step = page.evaluate(STEP)
    page.keyboard.press("Space")
    assert page.evaluate(STEP) != step, "Space does not lead on behind the menu"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_each_entry_of_the_menu_leads_to_its_slide(path, new_page, pictures):
    page = new_page()
    open_deck(page, DECKS / f"{path.stem}.html")
    assert_accessible(page)
    visited = page.evaluate(VISIT)
    names = [name for name, *_ in visited]
    assert names[0] == "Opening" and names[-1] == "Recap" and len(names) == len(set(names)) > 5
    wrong = [name for name, slide, text in visited if name not in (slide.replace("`", ""), *text)]
    assert wrong == []
    page.keyboard.press("m")
    page.screenshot(path=pictures(f"decks/menu_{path.stem[:2]}"))
    assert_accessible(page)
    box = page.locator("dialog").bounding_box()
    assert box["y"] >= 0 and box["y"] + box["height"] <= 720


def test_the_menu_by_keys_alone(new_page):
    check_menu(new_page(), DECKS / f"{NOTEBOOKS[1].stem}.html")


def test_the_button_of_the_menu(new_page):
    page = new_page()
    open_deck(page, DECKS / f"{NOTEBOOKS[1].stem}.html")
    button, menu = page.get_by_role("button", name="Sections"), page.get_by_role("dialog")
    page.keyboard.press("Tab")
    assert page.evaluate(FOCUS) == "Sections"
    for key in ("Space", "Enter"):
        page.keyboard.press(key)
        assert menu.is_visible()
        page.keyboard.press("Escape")
        assert menu.is_hidden() and page.evaluate(FOCUS) == "Sections"
    # By the mouse; then the space bar is the deck's.
    button.click()
    page.mouse.click(1200, 20)
    check_closing(page, page.locator("dialog"))


def test_the_speaker_view_shows_the_notes_and_follows(new_page, pictures):
    page = new_page()
    open_deck(page, DECKS / f"{NOTEBOOKS[1].stem}.html")
    with page.expect_popup() as popup:
        page.keyboard.press("s")
    speaker = popup.value
    notes = speaker.locator(".speaker-controls-notes .value")
    for name, text in slides.notes_of(ROOT / "docs" / "teach" / f"{NOTEBOOKS[1].stem}.md")[:2]:
        notes.get_by_text(name, exact=True).wait_for()
        words = re.findall(r"\w+", f"{name} {text}")[:12]
        assert re.findall(r"\w+", notes.inner_text())[:12] == words
        page.keyboard.press("Space")
        page.keyboard.press("Space")
    speaker.screenshot(path=pictures("decks/speaker"))
    # The menu opens on the small slide, too, and leads the large one.
    speaker.keyboard.press("m")
    frame = speaker.frame_locator("iframe").first
    frame.get_by_role("link", name="Exercise 1.3").click()
    notes.get_by_text("Exercise 1.3", exact=True).wait_for()
    page.wait_for_function("Reveal.getCurrentSlide().dataset.name == 'Exercise 1.3'")
    assert page.foreign == []


def test_the_map_of_the_decks(new_page, pictures):
    page = new_page(1280, 800)
    page.goto((DECKS / "index.html").as_uri())
    links = page.eval_on_selector_all("a", "links => links.map(link => link.getAttribute('href'))")
    assert len(links) == 2 * len(NOTEBOOKS)
    assert all((DECKS / link.partition("?")[0]).is_file() for link in links)
    page.screenshot(path=pictures("decks/index"), full_page=True)
    assert_accessible(page)
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
    "under the button": lambda text: text.replace("12px; bottom: 3px", "12px; bottom: 400px"),
    "example.org": lambda text: text + '<img src="https://example.org/x.png">',
    "does not lead on from slide 1": lambda text: text.replace(
        "controls: false", "controls: false, keyboard: false"
    ),
}


def spoiled(path, folder, spoil):
    """The path of a copy of a deck that is spoiled."""
    source = path.read_text(encoding="utf-8")
    assert spoil(source) != source
    (folder / "deck.html").write_text(spoil(source), encoding="utf-8")
    return folder / "deck.html"


@pytest.mark.parametrize("complaint", SPOILERS)
def test_a_spoiled_deck_is_caught(complaint, new_page, tmp_path):
    deck = spoiled(DECKS / f"{NOTEBOOKS[1].stem}.html", tmp_path, SPOILERS[complaint])
    page = new_page()
    open_deck(page, deck)
    with pytest.raises(AssertionError, match=complaint):
        walk(page)


@pytest.mark.parametrize(
    ("complaint", "sound", "spoil"),
    [
        ("M opens no menu", "keyCode: 77", "keyCode: 78"),
        ("the focus is not on the section", "current.focus()", "links.at(-1).focus()"),
        ("the deck moves behind", "keyboardCondition: () => !menu.open, ", ""),
        ("Enter does not lead there", 'href="#/1/0"', 'href="#/2/0"'),
        ("the section that is shown is not marked", "link.ariaCurrent = ", ""),
        ("Escape does not close", "menu.showModal()", "menu.show()"),
        ("Space does not lead on", '"close", () => {', '"close", () => { button.focus();'),
    ],
)
def test_a_spoiled_menu_is_caught(complaint, sound, spoil, new_page, tmp_path):
    path = DECKS / f"{NOTEBOOKS[1].stem}.html"
    deck = spoiled(path, tmp_path, lambda text: text.replace(sound, spoil))
    with pytest.raises(AssertionError, match=complaint):
        check_menu(new_page(), deck)


# Rule of axe: (spoiler, where it is looked for).
BARRIERS = {
    "color-contrast": (on_slides('<p style="color: #aaa">pale</p>'), open_for_paper),
    "empty-table-header": (
        on_slides("<table><tr><th></th><td>1</td></tr></table>"),
        open_for_paper,
    ),
    "image-alt": (lambda text: re.sub(r' alt="[^"]*"', "", text), open_for_paper),
    "scrollable-region-focusable": (
        on_slides('<pre style="width: 90px; overflow: auto; white-space: pre">a long line</pre>'),
        open_for_paper,
    ),
    "html-has-lang": (lambda text: text.replace('<html lang="en">', "<html>"), open_deck),
    "landmark-one-main": (lambda text: re.sub("(</?)main>", r"\1div>", text), open_deck),
    "button-name": (lambda text: text.replace("<i></i>Sections", "<i></i>"), open_deck),
    "region": (lambda text: text.replace("</main>", "</main><p>Outside.</p>"), open_deck),
}


@pytest.mark.parametrize("rule", BARRIERS)
def test_a_barrier_is_caught(rule, new_page, tmp_path):
    spoil, open_it = BARRIERS[rule]
    page = new_page()
    open_it(page, spoiled(DECKS / f"{NOTEBOOKS[1].stem}.html", tmp_path, spoil))
    with pytest.raises(AssertionError, match=rule):
        assert_accessible(page, runOnly=[rule])
