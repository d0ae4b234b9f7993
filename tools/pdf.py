"""The book as one PDF, with bookmarks and links from page to page: build/book.pdf.

    python tools/pdf.py

It makes the book anew, puts its pages one after the other into build/book.html, and has a Chromium without a window
print that.
"""

import re
import sys
from operator import itemgetter
from posixpath import dirname, join, normpath
from urllib.parse import unquote, urlsplit

from book import main as write_book
from bs4 import BeautifulSoup
from cheatsheet import FLAGS, NO_BROWSER, find_browser
from lessons import ROOT, SERIES
from playwright.sync_api import sync_playwright

HTML = ROOT / "build" / "html"
STYLE = ROOT / "docs" / "_static" / "print.css"
# In pixels, as print.css has it: 210 mm without the margins. Chromium makes everything smaller when one thing is wider.
WIDTH = 665
WIDE = """width => [...document.querySelectorAll("main *")]
  .filter(each => each.getBoundingClientRect().right > width + 1)
  .map(each => "“" + each.textContent.trim().slice(0, 60) + "”")"""


def main():
    """Make the book and print it."""
    program = find_browser()
    if program is None:
        sys.exit(NO_BROWSER)
    write_book()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        print(write_pdf(browser, HTML).relative_to(ROOT).as_posix())


def write_pdf(browser, folder):
    """Print the book in a folder with a browser of Playwright, and return the path of the PDF, beside it."""
    text, pdf = folder.with_name("book.html"), folder.with_name("book.pdf")
    text.write_text(one_page(folder), encoding="utf-8")
    page = browser.new_page(viewport={"width": WIDTH, "height": 1000})
    page.emulate_media(media="print", color_scheme="light")
    page.goto(text.as_uri())
    page.evaluate("document.fonts.ready")
    if wide := page.evaluate(WIDE, WIDTH):
        sys.exit(f"The book is too wide for its paper: {wide[-1]}.")
    options = {"prefer_css_page_size": True, "print_background": True}
    page.pdf(path=pdf, outline=True, tagged=True, **options)
    page.close()
    return pdf


def one_page(folder):
    """Return the book as one HTML page: each of its pages in the order of the sidebar, then what they link to."""
    front = read(folder / "index.html")
    parts = contents(front)
    names = ["index.html", *(name for pages in parts.values() for name in pages)]
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*.html")}
    known = {name for name in found if not name.startswith(("_static/", "search"))}
    parts["Files of the project"] = sorted(known - set(names))
    parts = {part: [name for name in pages if name in known] for part, pages in parts.items()}
    bodies = [body(folder, "index.html", known)]
    for part, pages in filter(itemgetter(1), parts.items()):
        bodies.append(f'<h1 class="part">{part}</h1>')
        bodies += [body(folder, name, known) for name in pages]
    return document(front, folder.name, "\n".join(bodies))


def read(path):
    """Return a page as a tree."""
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def contents(front):
    """Return the names of the pages in the sidebar, by part."""
    return {
        title.get_text(strip=True): [
            normpath(link["href"]) for link in title.find_next("ul").find_all("a", href=True)
        ]
        for title in front.select("nav.bd-links p.caption")
    }


def body(folder, name, known):
    """Return what stands on a page of the book, for its place in the one page."""
    article = read(folder / name).select_one("article.bd-article")
    for extra in article.select("a.headerlink, a.notebook, script, button"):
        extra.decompose()
    for fold in article.select("details"):
        fold["open"] = ""
    for cell in article.select("td, th"):
        if any(len(word) > 20 for word in cell.get_text().split()):
            cell["class"] = "long"
    for tag in article.find_all(id=True):
        tag["id"] = f"{name}--{tag['id']}"
    for tag in article.find_all(["a", "img"]):
        relink(tag, folder.name, name, known)
    step_down(article, name)
    article["id"], article["class"] = name, "bd-article sheet"
    return str(article)


def relink(tag, folder, name, known):
    """Let a link lead to its place in the one page, and a picture be found; a link to another file becomes text."""
    if tag.get("src"):
        tag["src"] = f"{folder}/{normpath(join(dirname(name), tag['src']))}"
    parts = urlsplit(tag.get("href", ""))
    if tag.name != "a" or parts.scheme:
        return
    there = normpath(join(dirname(name), unquote(parts.path))) if parts.path else name
    if there in known:
        tag["href"] = f"#{there}--{parts.fragment}" if parts.fragment else f"#{there}"
    elif tag.get("href"):
        del tag["href"]


def step_down(article, name):
    """Put a page's headings one level below the parts of the book; those of the front page are no bookmarks."""
    for tag in article.find_all(re.compile("^h[1-5]$")):
        level = int(tag.name[1])
        tag["class"] = [*tag.get("class", []), f"level-{level}"]
        if name != "index.html":
            tag.name = f"h{level + 1}"
        elif level > 1:
            tag.name = "p"


def document(front, folder, text):
    """Return the outermost HTML, with the styles of the book and those for paper."""
    sheets = [link["href"] for link in front.select("link[rel=stylesheet]")]
    links = "\n".join(f'<link rel="stylesheet" href="{folder}/{each}">' for each in sheets)
    return f"""<!DOCTYPE html>
<html lang="en" data-theme="light">
<head>
<meta charset="utf-8">
<title>{SERIES}</title>
<link rel="icon" href="data:,">
{links}
<style>
{STYLE.read_text(encoding="utf-8")}</style>
</head>
<body>
<main class="bd-main">
{text}
</main>
</body>
</html>
"""


if __name__ == "__main__":
    main()
