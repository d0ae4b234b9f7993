"""Decks to present: one reveal.js deck a lesson, made from the cells of its notebook as they are stored, and a map.

    python tools/slides.py

Each deck is one HTML file in build/slides that asks nothing of the network. Which cell starts a slide, which one is
left out, and which one holds the speaker's notes stands in the cells' slideshow metadata, as nbconvert knows it.
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
from nbconvert.filters import markdown2html
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

ROOT = Path(__file__).resolve().parent.parent
STYLE = ROOT / "tools" / "deck.css"
# A printed text of more lines loses those in its middle: a slide shows the first seven and the last four.
LONGEST_OUTPUT = 14
# How a cell of notes begins: a reader of the notebook sees one line.
FOLD = "<details>\n<summary>Speaker notes</summary>\n\n"
# How a line of code begins that is one of the asserts at a cell's end.
PROOF = '<span class="line proof"'
# Below code of more lines a figure would be small: it gets the next slide for itself.
LONGEST_CODE = 5


def main():
    """Write the decks and their map; return the exit code."""
    sys.stdout.reconfigure(errors="replace")
    folder = ROOT / "build" / "slides"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    decks = []
    for path in paths():
        notebook = read(path)
        lesson = about(path.stem, notebook)
        lesson["slides"] = slides(notebook)
        (folder / f"{path.stem}.html").write_text(deck(lesson), encoding="utf-8")
        print(f"{path.stem}: {len(lesson['slides'])} slides")
        decks.append(lesson)
    if not decks:
        sys.exit("No notebooks in the folder notebooks.")
    page = folder / "index.html"
    page.write_text(index(decks), encoding="utf-8")
    print(page.relative_to(ROOT).as_posix())
    return 0


def slides(notebook):
    """Return the slides of a notebook, a dict each: its section, its parts as HTML, its notes, whether it goes below.

    The first cell becomes two slides, title and goals. A figure that would stand below long code gets a slide, too.
    A cell tagged hide-input shows its figure without the code that draws it.
    """
    found, section, step = [], "", 0  # step: how many fragments the slide has
    first = 0  # where the slides of the latest cell that starts one begin

    def start(below, kind=""):
        found.append({"section": section, "parts": [], "notes": "", "below": below, "kind": kind})

    for cell in notebook.cells:
        kind = cell.metadata.get("slideshow", {}).get("slide_type", "-")
        headings = (
            re.findall(r"^## (.*)", cell.source, re.MULTILINE)
            if cell.cell_type == "markdown"
            else []
        )
        section = headings[-1] if headings else section
        if kind == "notes":
            for slide in found[first:]:
                slide["notes"] += markdown2html(
                    cell.source.removeprefix(FOLD).removesuffix("</details>")
                )
        elif cell is notebook.cells[0]:
            title, _, rest = cell.source.partition("**You will be able to**")
            start(False, "title")
            found[0]["parts"] += [
                prose(re.sub(r"^# \d+ · ", "# ", title))
            ]  # the number stands above it
            start(True, "goals")
            found[1]["parts"] += [prose("## You will be able to" + rest)]
        elif kind != "skip":
            if kind in ("slide", "subslide"):
                first = len(found)
                start(kind == "subslide")
                step = 0
            if cell.source.startswith("### Exercise"):
                found[-1]["kind"] = "exercise"
            shown, figures = parts(cell)
            if (
                kind == "fragment"
            ):  # its code, what it prints and its figure come one after the other
                shown = [fragment(part, step + i) for i, part in enumerate(shown)]
                # The asserts at its end come with what it prints: they tell the answer, too.
                proved = bool(shown) and PROOF in shown[0]
                if proved:
                    shown[0] = shown[0].replace(
                        PROOF, f'<span data-fragment-index="{step + 1}" class="fragment line"'
                    )
                step += max(len(shown), 2 * proved)
                figures = [fragment(figure, step) for figure in figures]
                step += len(figures)
            elif step:  # it comes with the fragment that it follows
                shown = [fragment(part, step - 1) for part in shown]
            found[-1]["parts"] += shown
            hidden = "hide-input" in cell.metadata.get("tags", [])
            if figures and not hidden and len(cell.source.splitlines()) > LONGEST_CODE:
                start(True, "figure")
            found[-1]["parts"] += figures
    return found


def fragment(part, step):
    """Return a piece of a slide that appears at a step of its own."""
    return part.replace('class="', f'data-fragment-index="{step}" class="fragment ', 1)


def parts(cell):
    """Return what a cell shows as HTML: its text, or its code and what it printed; and its figures."""
    if cell.cell_type == "markdown":
        return [prose(cell.source)], []
    tags = set(cell.metadata.get("tags", []))
    hidden = "hide-input" in tags
    code = lines(highlight(cell.source, PythonLexer(), HtmlFormatter(nowrap=True)).rstrip("\n"))
    proofs = re.search(r"(?<=\n)(assert .*\n?)+\Z", cell.source)
    if proofs:
        *before, after = code.rsplit('<span class="line"', len(proofs[0].splitlines()))
        code = PROOF.join([*before, after])
    shown = [] if hidden else [f'<pre class="{" ".join(["code", *sorted(tags)])}">{code}</pre>']
    figures = []
    for output in cell.outputs:
        data = output.get("data", {})
        if "image/png" in data:
            source, alt = (
                f"data:image/png;base64,{data['image/png'].strip()}",
                html.escape(cell.metadata.get("alt", "")),
            )
            figures.append(f'<img class="figure" src="{source}" alt="{alt}">')
        elif text := shorten(output.get("text") or data.get("text/plain", "")):
            shown.append(
                f'<pre class="output{" alone" * hidden}">{lines(html.escape(text, quote=False))}</pre>'
            )
    return shown, figures


def lines(text):
    """Return code or a printed text, as HTML, a piece a line: what is too long goes on below, indented."""
    found = []
    for line in text.split("\n"):
        plain = re.sub(r"<[^>]*>", "", line)
        indent = len(plain) - len(plain.lstrip(" ")) + 4
        blank = "" if plain else " blank"
        found.append(f'<span class="line{blank}" style="--indent: {indent}">{line or " "}</span>')
    return "".join(found)


def shorten(text):
    """Return a printed text without the bar of a training, and without its middle, if it is long."""
    lines = [line for line in text.rstrip("\n").split("\n") if not line.startswith("Steps: 100% |")]
    if len(lines) > LONGEST_OUTPUT:
        lines[7:-4] = [f"⋮ {len(lines) - 11} more lines"]
    return "\n".join(lines)


def prose(source):
    """Return Markdown as HTML; a link to a lesson leads to its deck, one to another file of the project is a text."""
    text = re.sub(r'<a class="anchor-link".*?</a>', "", markdown2html(source))
    text = re.sub(r'<a href="(\w+)\.ipynb"', r'<a href="\1.html"', text)
    text = re.sub(r'<a href="(?!https?:|\w+\.html)[^"]*"[^>]*>(.*?)</a>', r"\1", text)
    return f'<div class="prose">{text}</div>'


def deck(lesson):
    """Return a whole deck as one HTML file."""
    sections, column = [], []
    for slide in lesson["slides"]:
        if not slide["below"] and column:
            sections.append(f"<section>{''.join(column)}</section>")
            column = []
        column.append(section(lesson, slide))
    sections.append(f"<section>{''.join(column)}</section>")
    reveal, notes = (script(name) for name in ("dist/reveal.js", "plugin/notes/notes.js"))
    colours = HtmlFormatter(style="default").get_style_defs(".code")
    style = (library() / "dist" / "reveal.css").read_text(encoding="utf-8")
    style += fonts() + STYLE.read_text(encoding="utf-8") + colours
    return document(
        lesson["title"],
        style,
        f"""<div class="reveal"><div class="slides">
{chr(10).join(sections)}
</div></div>
<script>{reveal}</script>
<script>{notes}</script>
<script>
Reveal.initialize({{
  width: 1280, height: 720, margin: 0, center: false, transition: "none", backgroundTransition: "none",
  hash: true, slideNumber: "c/t",
  controls: false, pdfMaxPagesPerSlide: 1, pdfSeparateFragments: false, plugins: [RevealNotes],
}});
</script>""",
    )


def section(lesson, slide):
    """Return one slide."""
    body = "".join(slide["parts"])
    notes = f'<aside class="notes">{slide["notes"]}</aside>' if slide["notes"] else ""
    if slide["kind"] == "title":
        number = f'<div class="number">{html.escape(lesson["number"])}</div>'
        return (
            f'<section class="title" data-background-color="#17324f"><div class="page">{number}{body}</div>'
            f'<p class="series">{SERIES}</p>{notes}</section>'
        )
    where = "" if "<h2" in body else f"<b>{html.escape(re.sub('`', '', slide['section']))}</b>"
    header = f"<header><span>{html.escape(lesson['title'])}</span>{where}</header>"
    return (
        f'<section class="{slide["kind"]}">{header}<div class="page">{body}</div>{notes}</section>'
    )


def index(decks):
    """Return the map of the decks: each as its first slide, small, and the keys."""
    cards = "\n".join(
        f"""<li>
<a class="deck" href="{quote(deck["name"])}.html"><b>{deck["number"]}</b><span>{inline(deck["short"])}</span></a>
<p>{len(deck["slides"])} slides · {inline(deck["time"])}<br>
<a href="{quote(deck["name"])}.html?print-pdf">For paper or PDF</a>: open, then print</p></li>"""
        for deck in decks
    )
    keys = [
        ("Space", "on"),
        ("Shift Space", "back"),
        ("S", "speaker view: notes, clock, next slide"),
        ("Esc", "all slides"),
        ("F", "full screen"),
        ("B", "black"),
    ]
    rows = "".join(f"<li><kbd>{key}</kbd> {text}</li>" for key, text in keys)
    style = fonts() + (ROOT / "tools" / "decks.css").read_text(encoding="utf-8")
    return document(
        f"{SERIES}: the decks",
        style,
        f"""<header>
<h1>{SERIES}</h1>
<p>The lessons as slides. They need no network.</p>
<ul>{rows}</ul>
</header>
<ol>
{cards}
</ol>""",
    )


def inline(text):
    """Return a line of Markdown as HTML without the paragraph around it."""
    return re.sub(r"</?p>", "", markdown2html(text)).strip()


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


def script(name):
    """Return a script of reveal.js that can stand inside a page."""
    return (library() / name).read_text(encoding="utf-8").replace("</script", r"<\/script")


def fonts():
    """Return the fonts of the decks as CSS. They travel inside, so that a slide is as wide on every machine."""
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
