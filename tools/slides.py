"""Decks to present: one reveal.js deck a lesson, made from the cells of its notebook as they are stored, and a map.

    python tools/slides.py

Each deck is one HTML file in build/slides that asks nothing of the network. Which cell starts a slide, and which one
is left out, stands in the cells' slideshow metadata, as nbconvert knows it. What the speaker view shows of each slide
stands below its name in docs/teach.
"""

import base64
import html
import re
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from lessons import SERIES, about, paths, read
from nbconvert.filters import markdown2html, strip_ansi
from outline import (
    EXERCISE,
    STARTS,
    headings,
    misfits,
    notes_of,
    slide_names,
    slide_type,
    uncovered,
)
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

__all__ = ["deck", "index", "notes_of", "slide_names", "slides", "uncovered"]

TOOLS = Path(__file__).resolve().parent
ROOT = TOOLS.parent
TEACH = ROOT / "docs" / "teach"
# A printed text of more lines loses those in its middle: a slide shows the first seven and the last four.
LONGEST_OUTPUT = 14
# How a line of code begins that is one of the asserts at a cell's end.
PROOF = '<span class="line proof"'
# Below code of more lines a figure would be small: it gets the next slide for itself.
LONGEST_CODE = 5
# What the first cell says above the goals.
GOALS = r"\*\*(You will (?:be able|learn) to)\*\*"
KEYS = {
    "Space": "on",
    "Shift Space": "back",
    "M": "menu of the sections",
    "S": "speaker view: notes, clock, next slide",
    "Esc": "all slides",
    "F": "full screen",
    "B": "black",
}


def main():
    """Write the decks and their map; return the exit code."""
    sys.stdout.reconfigure(errors="replace")
    sys.stderr.reconfigure(errors="replace")
    lessons = [lesson(path, TEACH / f"{path.stem}.md") for path in paths()]
    if not lessons:
        sys.exit("No notebooks in the folder notebooks.")
    folder = ROOT / "build" / "slides"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for each in lessons:
        (folder / f"{each['name']}.html").write_text(deck(each), encoding="utf-8")
        print(f"{each['name']}: {len(each['slides'])} slides")
    page = folder / "index.html"
    page.write_text(index(lessons), encoding="utf-8")
    print(page.relative_to(ROOT).as_posix())
    return 0


def lesson(path, page):
    """Return what a deck needs to know of a lesson; if a slide has no notes, the program ends with a sentence."""
    shown = page.relative_to(ROOT).as_posix() if ROOT in page.parents else page.name
    if not page.exists():
        sys.exit(f"There is no {shown}, the notes for the slides of {path.name}.")
    notebook, notes = read(path), notes_of(page)
    for sentence in misfits(notebook, notes, path.name, shown):
        sys.exit(sentence)
    return {**about(path.stem, notebook), "slides": slides(notebook, dict(notes))}


def slides(notebook, notes=None):
    """Return the slides of a notebook, with notes from a dict {name of the slide: Markdown}.

    A slide is a dict: its name, its section, its exercises, its parts as HTML, its notes, whether it goes below.
    """
    names, notes = iter(slide_names(notebook)), notes or {}
    found, section = Slides(), ""
    for cell in notebook.cells:
        section = [section, *headings(cell)][-1]
        kind = slide_type(cell)
        if kind in STARTS:
            name = next(names)
            found.slide = {
                "name": name,
                "section": section,
                "notes": spoken(name, notes.get(name, "")),
            }
        if cell is notebook.cells[0]:
            found.open(cell)
            continue
        if kind in STARTS:
            found.start(kind == "subslide")
        if kind != "skip":
            found.add(cell, kind == "fragment")
    return list(found)


class Slides(list):
    """Slides that grow cell by cell. What a fragment shows comes in steps, counted anew on each slide."""

    slide = {}  # noqa: RUF012
    step = 0

    def start(self, below, kind=""):
        """Begin a slide, or one more piece of it."""
        self.append({**self.slide, "parts": [], "exercises": [], "below": below, "kind": kind})
        self.step = 0

    def open(self, cell):
        """Make the first cell two slides, title and goals."""
        title, goals, rest = [*re.split(GOALS, cell.source), "", ""][:3]
        self.start(False, "title")
        self[-1]["parts"] = [prose(re.sub(r"^# \d+ · ", "# ", title))]  # the number stands above it
        self.start(True, "goals")
        self[-1]["parts"] = [prose(f"## {goals}{rest}")]

    def add(self, cell, fragment):
        """Put on the slide what a cell shows; a figure that would stand below long code gets a slide, too."""
        exercises = re.findall(EXERCISE, cell.source, re.MULTILINE)
        self[-1]["exercises"] += exercises if cell.cell_type == "markdown" else []
        if re.match(EXERCISE, cell.source):
            self[-1]["kind"] = "exercise"
        shown, figures = parts(cell)
        if fragment:
            shown, figures = self.steps(shown, figures)
        elif self.step:  # it comes with the fragment that it follows
            shown = [at_step(part, self.step - 1) for part in shown]
        self[-1]["parts"] += shown
        hidden = "hide-input" in cell.metadata.get("tags", [])
        if figures and not hidden and len(cell.source.splitlines()) > LONGEST_CODE:
            step = self.step
            self.start(True, "figure")
            self.step = step
        self[-1]["parts"] += figures

    def steps(self, shown, figures):
        """Return what a fragment shows so that its code, what it prints and its figure come one after the other."""
        shown = [at_step(part, self.step + i) for i, part in enumerate(shown)]
        # The asserts at its end come with what it prints: they tell the answer, too.
        proved = bool(shown) and PROOF in shown[0]
        if proved:
            line = f'<span data-fragment-index="{self.step + 1}" class="fragment line"'
            shown[0] = shown[0].replace(PROOF, line)
        self.step += max(len(shown), 2 * proved)
        figures = [at_step(figure, self.step) for figure in figures]
        self.step += len(figures)
        return shown, figures


def spoken(name, notes):
    """Return notes for the speaker view: the slide's name, what to say, and folded what is below a `### `."""
    said, *folded = re.split(r"^### ", notes, flags=re.MULTILINE)
    found = [f"<p><strong>{label(name)}</strong></p>{linked(markdown2html(said))}"]
    for part in folded:
        title, _, rest = part.partition("\n")
        body = linked(markdown2html(rest))
        found.append(f"<details><summary>{label(title)}</summary>{body}</details>")
    return "".join(found)


def at_step(part, step):
    """Return a piece of a slide that appears at a step of its own."""
    return part.replace('class="', f'data-fragment-index="{step}" class="fragment ', 1)


def parts(cell):
    """Return what a cell shows as HTML: its text, or its code and what it printed; and its figures.

    A cell tagged hide-input shows its figure without the code that draws it.
    """
    if cell.cell_type == "markdown":
        return [prose(cell.source)], []
    hidden = "hide-input" in cell.metadata.get("tags", [])
    shown, figures = [] if hidden else [code(cell)], []
    for output in cell.outputs:
        data = output.get("data", {})
        if "image/png" in data:
            figures.append(figure(data["image/png"], cell.metadata.get("alt")))
        elif text := shorten(output.get("text") or data.get("text/plain", "")):
            kind = "output alone" if hidden else "output"
            shown.append(f'<pre class="{kind}">{lines(html.escape(text, quote=False))}</pre>')
    return shown, figures


def code(cell):
    """Return the code of a cell; the asserts at its end are marked."""
    text = lines(highlight(cell.source, PythonLexer(), HtmlFormatter(nowrap=True)).rstrip("\n"))
    if proofs := re.search(r"(?<=\n)(assert .*\n?)+\Z", cell.source):
        *before, after = text.rsplit('<span class="line"', len(proofs[0].splitlines()))
        text = PROOF.join([*before, after])
    kinds = " ".join(["code", *sorted(cell.metadata.get("tags", []))])
    return f'<pre class="{kinds}">{text}</pre>'


def figure(data, alt):
    """Return a figure with its words; without words it has none, which axe and a test notice."""
    words = f' alt="{html.escape(alt)}"' if alt else ""
    return f'<img class="figure" src="data:image/png;base64,{data.strip()}"{words}>'


def lines(text):
    """Return a text, as HTML, a piece a line: what is too long goes on below, indented."""
    found = []
    for line in text.split("\n"):
        plain = re.sub(r"<[^>]*>", "", line)
        indent = len(plain) - len(plain.lstrip(" ")) + 4
        blank = "" if plain else " blank"
        found.append(f'<span class="line{blank}" style="--indent: {indent}">{line or " "}</span>')
    return "".join(found)


def shorten(text):
    """Return a printed text without colours and a training's bar; a long one without its middle."""
    lines = [
        line
        for line in strip_ansi(text).rstrip("\n").split("\n")
        if not line.startswith("Steps: 100% |")
    ]
    if len(lines) > LONGEST_OUTPUT:
        lines[7:-4] = [f"⋮ {len(lines) - 11} more lines"]
    return "\n".join(lines)


def prose(source):
    """Return Markdown as HTML. A head of a table without words is no heading to a screen reader."""
    text = re.sub(r"<th\b[^>]*>\s*</th>", "<td></td>", linked(markdown2html(source)))
    return f'<div class="prose">{text}</div>'


def linked(text):
    """Return HTML in which a link to a lesson leads to its deck; one to another file of the project is a text."""
    text = re.sub(r'<a class="anchor-link".*?</a>', "", text)
    text = re.sub(r'<a href="(\w+)\.ipynb"', r'<a href="\1.html"', text)
    return re.sub(r'<a href="(?!https?:|\w+\.html)[^"]*"[^>]*>(.*?)</a>', r"\1", text)


def deck(lesson):
    """Return a whole deck as one HTML file."""
    columns = "\n".join(
        f"<section>{''.join(section(lesson, slide) for slide in column)}</section>"
        for column in stacked(lesson["slides"])
    )
    files = [library() / "dist/reveal.js", library() / "plugin/notes/notes.js", TOOLS / "deck.js"]
    style = (library() / "dist" / "reveal.css").read_text(encoding="utf-8")
    style += fonts() + (TOOLS / "deck.css").read_text(encoding="utf-8")
    return document(
        lesson["title"],
        style + HtmlFormatter(style="default").get_style_defs(".code"),
        f"""{menu(lesson["slides"])}
<main><div class="reveal"><div class="slides">
{columns}
</div></div></main>
{"".join(map(script, files))}""",
    )


def stacked(slides):
    """Return the slides as lists: each begins with one that stands beside the last, and goes on with those below."""
    columns = []
    for slide in slides:
        if slide["below"]:
            columns[-1].append(slide)
        else:
            columns.append([slide])
    return columns


def section(lesson, slide):
    """Return one slide."""
    body, name = "".join(slide["parts"]), html.escape(slide["name"])
    notes = f'<aside class="notes">{slide["notes"]}</aside>' if slide["notes"] else ""
    if slide["kind"] == "title":
        number = f'<div class="number">{html.escape(lesson["number"])}</div>'
        return f"""<section class="title" data-name="{name}" data-background-color="#17324f">
<div class="page">{number}{body}</div><p class="series">{SERIES}</p>{notes}</section>"""
    where = "" if "<h2" in body else f"<b>{label(slide['section'])}</b>"
    return f"""<section class="{slide["kind"]}" data-name="{name}">
<header><span>{html.escape(lesson["title"])}</span>{where}</header>
<div class="page">{body}</div>{notes}</section>"""


def menu(slides):
    """Return the button and the list that lead to each section and each exercise of a deck."""
    entries = {}
    for h, column in enumerate(stacked(slides)):
        for v, slide in enumerate(column):
            names = [(slide["section"] or "Opening", "section")] * (slide["kind"] != "exercise")
            for entry in [*names, *((name, "drill") for name in slide["exercises"])]:
                entries.setdefault(entry, f"#/{h}/{v}")
    rows = "\n".join(
        f'<li class="{kind}"><a href="{place}">{label(name)}</a></li>'
        for (name, kind), place in entries.items()
    )
    return f"""<nav aria-label="Sections">
<button type="button" aria-haspopup="dialog" aria-keyshortcuts="M"><i></i>Sections</button>
<dialog aria-labelledby="menu"><div><h2 id="menu">Sections</h2>
<ul>
{rows}
</ul></div></dialog>
</nav>"""


def index(lessons):
    """Return the map of the decks: each as its first slide, small, and the keys."""
    rows = "".join(f"<li><kbd>{key}</kbd> {text}</li>" for key, text in KEYS.items())
    style = fonts() + (TOOLS / "decks.css").read_text(encoding="utf-8")
    return document(
        f"{SERIES}: the decks",
        style,
        f"""<header>
<h1>{SERIES}</h1>
<p>The lessons as slides. They need no network.</p>
<ul>{rows}</ul>
</header>
<main><ol>
{chr(10).join(map(card, lessons))}
</ol></main>""",
    )


def card(lesson):
    """Return a deck's place on the map."""
    link, number = quote(lesson["name"]) + ".html", html.escape(lesson["number"])
    return f"""<li>
<a class="deck" href="{link}"><b>{number}</b> <span>{inline(lesson["short"])}</span></a>
<p>{len(lesson["slides"])} slides · {inline(lesson["time"])}<br>
<a href="{link}?print-pdf">For paper or PDF</a>: open, then print</p></li>"""


def inline(text):
    """Return a line of Markdown as HTML without the paragraph around it."""
    return re.sub(r"</?p>", "", markdown2html(text)).strip()


def label(name):
    """Return the name of a section or a slide as HTML; as Markdown its number would begin a list."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(name, quote=False))


def document(title, style, body):
    """Return a whole page; its style travels inside."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""


def library():
    """Return the folder of reveal.js, which the package sphinx-revealjs carries."""
    return Path(find_spec("sphinx_revealjs").origin).parent / "_static" / "revealjs"


def script(path):
    """Return a script as an element that can stand inside a page."""
    text = path.read_text(encoding="utf-8").replace("</script", r"<\/script")
    return f"<script>{text}</script>\n"


def fonts():
    """Return the fonts as CSS. They travel inside, so that a slide is as wide on every machine."""
    sans = library() / "dist" / "theme" / "fonts" / "source-sans-pro"
    mono = (
        Path(find_spec("matplotlib").origin).parent
        / "mpl-data"
        / "fonts"
        / "ttf"
        / "DejaVuSansMono.ttf"
    )
    files = [
        ("Deck Sans", 400, "normal", sans / "source-sans-pro-regular.woff"),
        ("Deck Sans", 400, "italic", sans / "source-sans-pro-italic.woff"),
        ("Deck Sans", 600, "normal", sans / "source-sans-pro-semibold.woff"),
        ("Deck Mono", 400, "normal", mono),
    ]
    return "".join(
        f'@font-face{{font-family:"{family}";font-weight:{weight};font-style:{style};'
        f"src:url(data:font/{path.suffix[1:]};base64,{base64.b64encode(path.read_bytes()).decode()})}}\n"
        for family, weight, style, path in files
    )


if __name__ == "__main__":
    sys.exit(main())
