"""The cheat sheet as one page for the wall: build/cheatsheet.html and build/cheatsheet.pdf, A4 landscape.

    python tools/cheatsheet.py

The text is docs/cheatsheet.md, the look tools/cheatsheet.css. A Chromium without a window prints it, and the program
fails with one sentence when anything does not fit on the page.
"""

import re
import shutil
import sys
from pathlib import Path

from nbconvert.filters import markdown2html
from playwright.sync_api import sync_playwright
from slides import fonts

ROOT = Path(__file__).resolve().parent.parent
BROWSERS = ["chromium", "chromium-browser", "google-chrome"]
NO_BROWSER = "No Chromium found: on Debian `sudo apt install chromium fonts-noto-color-emoji`, elsewhere Google Chrome."
# The network is off: the page needs none.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
SMALLEST = 7  # points, for text that is read on paper
# What does not fit, in words: a box that leaves the one round it, text that leaves its box to the side, small text.
# Half a pixel is rounding. Upwards and downwards text may leave its line: that is how fonts are made.
LOOK = """smallest => {
  const problems = [];
  const words = node => "“" + node.textContent.trim().replace(/\\s+/g, " ").slice(0, 30) + "”";
  for (const box of document.querySelectorAll("body *")) {
    const inner = box.getBoundingClientRect(), outer = box.parentElement.getBoundingClientRect();
    if (getComputedStyle(box).display === "inline" || !box.textContent.trim()) continue;
    if (inner.left < outer.left - 0.5 || inner.right > outer.right + 0.5 ||
        inner.top < outer.top - 0.5 || inner.bottom > outer.bottom + 0.5)
      problems.push(words(box) + " leaves its box");
  }
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode, range = document.createRange();
    let box = text.parentElement;
    if (!text.data.trim()) continue;
    if (parseFloat(getComputedStyle(box).fontSize) * 0.75 < smallest - 0.01)
      problems.push(words(text) + ` is smaller than ${smallest} pt`);
    while (getComputedStyle(box).display === "inline") box = box.parentElement;
    range.selectNodeContents(text);
    const inner = range.getBoundingClientRect(), outer = box.getBoundingClientRect();
    if (inner.left < outer.left - 0.5 || inner.right > outer.right + 0.5)
      problems.push(words(text) + " leaves its box");
  }
  return problems;
}"""


def main():
    """Write the page, look whether all fits, print it; whatever cannot be done ends the program with a sentence."""
    print_by(write_sheet)


def print_by(write):
    """Print the path that write returns for a browser of Playwright; without Chromium a sentence says so."""
    # A stream that is no terminal may know few characters, on Windows above all.
    sys.stderr.reconfigure(errors="replace")
    program = find_browser()
    if program is None:
        sys.exit(NO_BROWSER)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        print(write(browser).relative_to(ROOT).as_posix())


def find_browser():
    """Return the path of the system's Chromium, None if there is none; Playwright's own would be a download."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def write_sheet(browser):
    """Write the HTML and the PDF with a browser of Playwright, and return the path of the PDF."""
    page_path, pdf_path = ROOT / "build" / "cheatsheet.html", ROOT / "build" / "cheatsheet.pdf"
    page_path.parent.mkdir(exist_ok=True)
    pdf_path.unlink(missing_ok=True)
    text = (ROOT / "docs" / "cheatsheet.md").read_text(encoding="utf-8")
    style = fonts() + (ROOT / "tools" / "cheatsheet.css").read_text(encoding="utf-8")
    page_path.write_text(sheet(text, style), encoding="utf-8")
    problems, pdf = print_page(browser, page_path)
    if problems:
        sys.exit(f"The cheat sheet does not fit on its page: {', '.join(problems[:3])}.")
    if (pages := count_pages(pdf)) != 1:
        sys.exit(f"The cheat sheet does not fit on its page: the PDF has {pages} pages.")
    pdf_path.write_bytes(pdf)
    return pdf_path


def sheet(text, style):
    """Return the whole page: the head, three columns of sections, and the last section over the full width."""
    title = re.search(r"^# (.*)", text, re.MULTILINE)[1]
    # nbconvert puts a link to itself behind each heading. Other links become bold text: a PDF would note where the
    # project lies on this machine.
    page = re.sub(r'<a class="anchor-link".*?</a>', "", markdown2html(text))
    page = re.sub(r"<a [^>]*>(.*?)</a>", r"<b>\1</b>", page)
    head, *sections = re.split(r"^(?=<h2)", page, flags=re.MULTILINE)
    # A section is named like its heading, for the style.
    *columns, last = [
        re.sub(r'\A<h2 id="(.*?)">', r'<section id="\1"><h2>', part) + "</section>"
        for part in sections
    ]
    body = "\n".join(columns)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>
{style}</style>
</head>
<body>
<header>{head}</header>
<main>
<div class="columns">
{body}
</div>
{last}
</main>
</body>
</html>
"""


def print_page(browser, path):
    """Return what does not fit, in words, and the bytes of the PDF."""
    page = browser.new_page()
    page.emulate_media(media="print")
    page.goto(path.as_uri())
    page.evaluate("document.fonts.ready")
    problems = page.evaluate(LOOK, SMALLEST)
    pdf = page.pdf(prefer_css_page_size=True, print_background=True)
    page.close()
    return problems, pdf


def count_pages(pdf):
    """Return how many page objects the bytes of a PDF by Chromium hold."""
    return len(re.findall(rb"/Type\s*/Page\b", pdf))


if __name__ == "__main__":
    main()
