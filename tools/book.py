"""The book of the series: lessons, glossary, cheat sheet and the teachers' pages, to read in a browser.

    python tools/book.py

It takes the notebooks with the outputs that they hold and executes nothing. Sphinx reads build/book and writes
build/html. build/book is laid out like the project, so that links from file to file lead from page to page.
"""

import base64
import copy
import os
import re
import shutil
import sys
from pathlib import Path
from urllib.parse import unquote

import lessons
import nbformat
from pygments.lexers import get_lexer_for_filename
from pygments.util import ClassNotFound
from sphinx.cmd.build import build_main

PICTURES = {".png", ".jpg", ".jpeg", ".gif", ".svg"}
# Pages whose first heading is the name of the series get one that tells them from the others.
HEADINGS = {"README.md": "README", "docs/cheatsheet.md": "Cheat sheet"}
# What is folded, by the tag of its cell: myst-nb's own tag, and the words on which one clicks.
FOLDED = {
    "setup": ("hide-cell", "Set-up"),
    "proof": ("hide-cell", "The proof"),
    "check": ("hide-input", "The check"),
    "hide-input": ("hide-input", "The code"),
}
CODE = re.compile(r"(^ *(`{3,}|~{3,})[^\n]*\n.*?^ *\2[`~]* *$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)


def main():
    """Write the book from the notebooks as they are stored, and print where it begins."""
    notebooks = {path.stem: lessons.read(path) for path in lessons.paths()}
    print(write_book(lessons.ROOT, notebooks).relative_to(lessons.ROOT).as_posix())


def write_book(root, notebooks, states=None):
    """Write build/html from notebooks, a dict by name, and return the path of its first page.

    states holds for the front page, by name, what came of a run.
    """
    book = Book(root, notebooks)
    book.assemble(states or {})
    pages = root / "build" / "html"
    shutil.rmtree(pages, ignore_errors=True)
    options = ["-q", "-W", "--keep-going", "-c", root / "docs", "-d", root / "build" / "doctrees"]
    shutil.rmtree(root / "build" / "doctrees", ignore_errors=True)
    if build_main([str(each) for each in (*options, book.source, pages)]):
        sys.exit("The book has faults; the lines above name them.")
    for name, notebook in notebooks.items():
        nbformat.write(notebook, pages / "notebooks" / f"{name}.ipynb")
    return pages / "index.html"


class Book:
    """Brings together what Sphinx reads: docs/, the lessons, and each file that one of the pages links to."""

    def __init__(self, root, notebooks):
        self.root, self.notebooks = root.resolve(), notebooks
        self.source = self.root / "build" / "book"
        self.abouts = [lessons.about(name, notebook) for name, notebook in notebooks.items()]
        self.linked = []

    def assemble(self, states):
        """Write the source folder anew."""
        shutil.rmtree(self.source, ignore_errors=True)
        index = self.root / "docs" / "index.md"
        frame = self.relink(index.read_text(encoding="utf-8"), index)
        self.write("index.md", self.front(frame, states))
        documents = sorted((self.root / "docs").rglob("*.md"))
        for path in documents:
            if path != index:
                self.add_document(path)
        for name, notebook in self.notebooks.items():
            self.add_lesson(name, notebook)
        # Files that are linked link to others.
        done = set(documents)
        while new := set(self.linked) - done:
            for path in sorted(new):
                self.add_document(path, orphan=True)
            done |= new

    def write(self, name, text):
        """Write a file of the source folder."""
        path = self.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    # ---------------------------------------------------------------- files and links

    def place(self, path):
        """Return the place in the source folder of what stands for a file of the project."""
        name = path.relative_to(self.root)
        if name.as_posix() == "docs/index.md":
            return Path("index.md")
        is_page = name.suffix in PICTURES | {".md", ".ipynb"}
        return name if is_page else name.with_name(name.name + ".md")

    def relink(self, text, path):
        """Return a file's Markdown with each link to a file of the project changed into one to its page."""
        folder = self.place(path).parent

        def new(match):
            target, mark, fragment = match[2].partition("#")
            there = (path.parent / unquote(target)).resolve()
            if not target or ":" in target or not there.is_file() or self.root not in there.parents:
                return match[0]
            if there.suffix != ".ipynb":
                self.linked.append(there)
            link = Path(os.path.relpath(self.place(there), folder)).as_posix()
            return f"{match[1]}{link}{mark}{fragment}"

        return outside_code(lambda part: re.sub(r"(\]\()([^)\s]+)", new, part), text)

    def add_document(self, path, orphan=False):
        """Write the page of a Markdown file or of a program; a picture is copied."""
        place = self.place(path)
        if path.suffix in PICTURES:
            (self.source / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, self.source / place)
            return
        text = path.read_text(encoding="utf-8")
        text = self.relink(text, path) if path.suffix == ".md" else program(path.name, text)
        if heading := HEADINGS.get(place.as_posix()):
            text = re.sub(r"^# .*", f"# {heading}", text, count=1, flags=re.MULTILINE)
        self.write(place, f"---\norphan: true\n---\n\n{text}" if orphan else text)

    # ---------------------------------------------------------------- lessons

    def add_lesson(self, name, notebook):
        """Write a lesson as myst-nb reads it: what is folded, alternative texts, links, the notebook itself."""
        path = self.root / "notebooks" / f"{name}.ipynb"
        lesson = copy.deepcopy(notebook)
        title_first(lesson, name)
        # What a kernel notes when it has run.
        lesson.metadata.setdefault(
            "language_info", {"name": "python", "pygments_lexer": "ipython3"}
        )
        for cell in lesson.cells:
            set_options(cell)
            if cell.cell_type == "markdown":
                cell.source = self.relink(cell.source, path)
        self.write(path.relative_to(self.root), nbformat.writes(lesson))

    # ---------------------------------------------------------------- the front page

    def front(self, text, states):
        """Return the front page: docs/index.md with cards and the sidebar's parts for its comments."""

        def lessons_of(match):
            chosen = [each for each in self.abouts if match[2] <= each["number"] <= match[3]]
            names = [f"notebooks/{each['name']}" for each in chosen]
            return match[1] + self.cards(chosen, states) + sidebar(match[1], names)

        def pages_of(match):
            return match[0].rpartition("<!--")[0] + sidebar(
                match[1], self.pages(match[1], match[2])
            )

        section = r"^(## (?:(?!^## ).)*?)^<!-- "
        flags = re.MULTILINE | re.DOTALL
        text = re.sub(section + r"lessons (\d+)-(\d+) -->$", lessons_of, text, flags=flags)
        return re.sub(section + r"pages (\S+) -->$", pages_of, text, flags=flags)

    def pages(self, section, pattern):
        """Return the sidebar's entries for pages of docs/: those that a section links to, then the rest."""
        listed = re.findall(r"^- \[(.*?)\]\((.*?)\.md\)", section, re.MULTILINE)
        found = sorted((self.root / "docs").glob(pattern))
        names = [path.relative_to(self.root).with_suffix("").as_posix() for path in found]
        rest = sorted(set(names) - {name for _, name in listed} - {"docs/index"})
        return [f"{title} <{name}>" for title, name in listed] + rest

    def cards(self, abouts, states):
        """Return the cards of lessons, a list in Markdown."""
        cards = [self.card(each, states.get(each["name"], "")) for each in abouts]
        return fenced("container", "cards", "".join(cards)) if cards else ""

    def card(self, about, state):
        """Return one card: picture, title, promise, time, and what came of a run."""
        promise = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", about["promise"]).replace("\n", " ")
        title = f"**[{about['title']}](notebooks/{about['name']}.ipynb)**"
        picture = self.picture(about["name"])
        lines = [picture, title, promise, about["time"], state]
        return "- " + "\n\n  ".join(line for line in lines if line) + "\n"

    def picture(self, name):
        """Write a lesson's first figure as a file, and return the Markdown that shows it."""
        for cell in self.notebooks[name].cells:
            for output in cell.get("outputs", []):
                if "image/png" in output.get("data", {}):
                    path = self.source / "_cards" / f"{name}.png"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(base64.b64decode(output.data["image/png"]))
                    return f"![{escape(cell.metadata.get('alt', ''))}](_cards/{name}.png)"
        return ""


def outside_code(change, text):
    """Return Markdown with a change made to what is not code."""
    parts = CODE.split(text)
    # Two groups: each code is followed by its fence.
    parts = [change(part) if k % 3 == 0 else part for k, part in enumerate(parts) if k % 3 != 2]
    return "".join(parts)


def title_first(notebook, name):
    """Let a lesson begin with its title: papermill puts a note above it when a cell failed."""
    if not notebook.cells:
        notebook.cells = [nbformat.v4.new_markdown_cell(f"# {name}\n\nThis lesson did not run.")]
    first = notebook.cells[0]
    if "papermill-error-cell-tag" in first.metadata.get("tags", []):
        notebook.cells[:2] = [notebook.cells[1], first]
    link = f'<a class="notebook" href="{name}.ipynb" download>This lesson as a notebook</a>'
    notebook.cells.insert(1, nbformat.v4.new_markdown_cell(link))


def set_options(cell):
    """Tell myst-nb what a cell's tags and its alternative text ask for."""
    tags = cell.metadata.get("tags", [])
    options = {}
    for tag in tags:
        if tag in FOLDED:
            fold, words = FOLDED[tag]
            cell.metadata["tags"] = [*tags, fold]
            options |= {"code_prompt_show": words, "code_prompt_hide": words}
    if alt := cell.metadata.get("alt"):
        options["image"] = {"alt": alt}
    cell.metadata["mystnb"] = options


def program(name, text):
    """Return a page with a program's code in colours."""
    try:
        language = get_lexer_for_filename(name).aliases[0]
    except ClassNotFound:
        language = "none"
    return f"# {name}\n\n" + fenced("code-block", language, text)


def sidebar(section, names):
    """Return a part of the sidebar, named by the heading of its section."""
    caption = section.partition("\n")[0].removeprefix("## ")
    entries = "\n".join([":hidden:", f":caption: {caption}", "", *names])
    return "\n" + fenced("toctree", "", entries) if names else ""


def fenced(directive, argument, text):
    """Return a directive of MyST; its fence is longer than any in its text."""
    fence = "`" * (max(map(len, re.findall(r"`{3,}", text)), default=2) + 1)
    return f"{fence}{{{directive}}} {argument}\n{text.rstrip()}\n{fence}\n"


def escape(text):
    """Return a text for the brackets of a picture in Markdown."""
    return re.sub(r"([\\\[\]`*_<])", r"\\\1", text)


if __name__ == "__main__":
    main()
