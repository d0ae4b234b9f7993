"""Pages to read in a browser: one a lesson, and index.html, the map of the series. They ask nothing of the network."""

import base64
import html
import os
import re
import shutil
from pathlib import Path
from urllib.parse import quote, unquote

from nbconvert import HTMLExporter
from nbconvert.filters import markdown2html
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_for_filename
from pygments.util import ClassNotFound
from traitlets.config import Config

SERIES = "Saving and loading PyTorch models"
ABOUT = (
    "A series of lessons on what is in a checkpoint, how to write it, read it, trust it and resume from it. "
    "Each lesson runs from top to bottom and proves what it says."
)


def write_pages(root, results):
    """Write build/html with a page for each result of run_series.py and the map; return the path of the map."""
    folder = root / "build" / "html"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    light, dark = (
        HtmlFormatter(style=style).get_style_defs(".highlight")
        for style in ("default", "github-dark")
    )
    style = (root / "tools" / "page.css").read_text(encoding="utf-8")
    style += f"\n{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n"
    (folder / "page.css").write_text(style, encoding="utf-8")

    # The basic template is the bare lesson: no scripts and styles from elsewhere.
    config = Config({"TagRemovePreprocessor": {"enabled": True, "remove_input_tags": {"setup"}}})
    exporter = HTMLExporter(config=config, template_name="basic")
    site = Site(root, folder, {result.name for result in results})
    lessons = [lesson(result.name, result.notebook) for result in results]
    for i, (result, about) in enumerate(zip(results, lessons)):
        name_figures(result.notebook)
        leave_out_notes(result.notebook)
        body = exporter.from_notebook_node(result.notebook)[0]
        before = lessons[i - 1] if i else None
        after = lessons[i + 1] if i + 1 < len(lessons) else None
        text = frame(about["title"], site.relink(body, root / "notebooks", folder), before, after)
        (folder / f"{about['name']}.html").write_text(text, encoding="utf-8")
    page = folder / "index.html"
    page.write_text(index(site, results, lessons), encoding="utf-8")
    return page


def lesson(name, notebook):
    """Return what the map says about a lesson: its name, number, title, promise, time and first figure."""
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    # Papermill puts a note above the title of a notebook that failed.
    first = next((text for text in texts if re.search(r"^# ", text, re.MULTILINE)), "")
    heading, _, rest = re.sub(r"\A.*?^# ", "", first, flags=re.DOTALL | re.MULTILINE).partition(
        "\n"
    )
    time = re.search(r"^\*\*Time:\*\*\s*(.*?)\\?$", rest, re.MULTILINE)
    paragraphs = [text for text in re.split(r"\n\s*\n", rest.strip()) if not text.startswith("**")]
    return {
        "name": name,
        "number": name.split("_")[0],
        "title": heading.strip() or name,
        "short": re.sub(r"^\d+\s*[·.:–-]?\s*", "", heading.strip()) or name,
        "promise": paragraphs[0] if paragraphs else "",
        "time": time.group(1).rstrip() if time else "",
        "figure": first_figure(notebook),
    }


def first_figure(notebook):
    """Return the bytes of the first PNG among the outputs, or None."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                return base64.b64decode(output.data["image/png"])
    return None


def leave_out_notes(notebook):
    """Take out the cells that hold a speaker's notes: they are for the decks."""
    shown = [
        cell
        for cell in notebook.cells
        if cell.metadata.get("slideshow", {}).get("slide_type") != "notes"
    ]
    notebook.cells = shown


def name_figures(notebook):
    """Give each figure a text for those who cannot see it: the heading that it stands under."""
    heading = "this lesson"
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            heading = (re.findall(r"^#+ (.*)", cell.source, re.MULTILINE) or [heading])[-1]
        elif cell.cell_type == "code":
            cell.metadata["alt"] = f"Figure: {heading}"


class Site:
    """Knows where a link of a notebook leads to among the pages, and brings along the files that lessons link to."""

    def __init__(self, root, folder, lessons):
        self.root, self.folder, self.lessons = root.resolve(), folder.resolve(), lessons
        self.copied = set()

    def relink(self, body, source, target):
        """Return the HTML with every link and picture that was relative to folder source relative to folder target."""

        def new(match):
            path, mark, fragment = html.unescape(match[3]).partition("#")
            if not path or re.match(r"[a-z][a-z0-9+.-]*:|//", path, re.IGNORECASE):
                return match[0]
            there = self.place((source / unquote(path)).resolve())
            link = (
                quote(Path(os.path.relpath(there, target.resolve())).as_posix()) + mark + fragment
            )
            return f"{match[1]}{match[2]}{html.escape(link)}{match[2]}"

        return re.sub(r"""(<(?:a|img)\b[^>]*?\s(?:href|src)=)(["'])(.*?)\2""", new, body)

    def place(self, path):
        """Return the page or file in build/html that stands for a file of the project; others stay where they are."""
        if (
            path.parent == self.root / "notebooks"
            and path.suffix == ".ipynb"
            and path.stem in self.lessons
        ):
            return self.folder / f"{path.stem}.html"
        if not path.is_file() or self.root not in path.parents:
            return path
        place = self.folder / "files" / path.relative_to(self.root)
        readable = path.suffix == ".md" or has_lexer(path)
        place = place.with_name(place.name + ".html") if readable else place
        if path not in self.copied:
            self.copied.add(path)
            place.parent.mkdir(parents=True, exist_ok=True)
            if readable:
                place.write_text(self.document(path, place.parent), encoding="utf-8")
            else:
                shutil.copyfile(path, place)
        return place

    def document(self, path, target):
        """Return a page with a Markdown file or a program."""
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".md":
            body = f'<div class="rendered_html">{self.relink(markdown2html(text), path.parent, target)}</div>'
        else:
            body = highlight(text, get_lexer_for_filename(path.name), HtmlFormatter())
        up = Path(os.path.relpath(self.folder, target)).as_posix() + "/"
        return frame(path.name, body, up=up)


def has_lexer(path):
    """Return whether a file is a text that can be shown in colours."""
    try:
        return bool(get_lexer_for_filename(path.name)) and path.stat().st_size < 500_000
    except ClassNotFound:
        return False


def frame(title, body, before=None, after=None, up=""):
    """Return a whole page: a bar to the map, the previous and the next lesson, the body, and the way on."""
    previous = link(before, f"← {before['number']}", "prev") if before else ""
    following = link(after, f"{after['number']} →", "next") if after else ""
    way_on = (
        link(after, f"Next: {after['short']} →", "next")
        if after
        else '<a href="index.html">Back to the map</a>'
    )
    bar = (
        f'<a href="{up}index.html">▦ Map</a><span>{html.escape(title)}</span>{previous}{following}'
    )
    return document(
        title,
        f"""<nav class="bar">{bar}</nav>
<main class="lesson">
{body}
</main>
{"" if up else f'<footer class="lesson">{way_on}</footer>'}""",
        up,
    )


def link(about, text, rel):
    """Return a link to a lesson's page."""
    title = html.escape(about["title"])
    return (
        f'<a rel="{rel}" href="{quote(about["name"])}.html" title="{title}">{html.escape(text)}</a>'
    )


def index(site, results, lessons):
    """Return the map: a card a lesson."""
    cards = "\n".join(card(site, result, about) for result, about in zip(results, lessons))
    passed, seconds = (
        sum(result.passed for result in results),
        sum(result.seconds for result in results),
    )
    numbers = [
        (len(results), "lessons"),
        (passed, "checks passed"),
        (f"{seconds:.0f} s", "to run them all"),
    ]
    sums = "".join(f"<li><b>{number}</b> {text}</li>" for number, text in numbers)
    return document(
        SERIES,
        f"""<main class="map">
<header><h1>{SERIES}</h1><p>{ABOUT}</p><ul class="sums">{sums}</ul></header>
<ol class="cards">
{cards}
</ol>
</main>""",
    )


def card(site, result, about):
    """Return a lesson's card; its first figure is written beside the page."""
    figure = ""
    if about["figure"]:
        (site.folder / f"{about['name']}.png").write_bytes(about["figure"])
        figure = f'<img src="{quote(about["name"])}.png" alt="" loading="lazy">'
    promise = site.relink(markdown2html(about["promise"]), site.root / "notebooks", site.folder)
    time = f'<p class="time">{inline(about["time"])}</p>' if about["time"] else ""
    if result.error:
        state = f'<p class="state failed">failed in {html.escape(result.where)}</p>'
    else:
        checks = "1 check" if result.passed == 1 else f"{result.passed} checks"
        state = f'<p class="state">{result.seconds:.1f} s · {checks} passed</p>'
    return f"""<li class="card"><div class="number">{html.escape(about["number"])}</div>{figure}
<h2><a href="{quote(about["name"])}.html">{inline(about["short"])}</a></h2>
<div class="promise">{promise}</div>{time}{state}</li>"""


def inline(text):
    """Return a line of Markdown as HTML without the paragraph around it."""
    return re.sub(r"</?p>", "", markdown2html(text)).strip()


def document(title, body, up=""):
    """Return the outermost HTML."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{html.escape(title)}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{up}page.css">
</head>
<body>
{body}
</body>
</html>
"""
