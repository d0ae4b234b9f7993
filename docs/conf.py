"""Settings of the book. tools/book.py brings its pages together in build/book and calls Sphinx."""

import re

from lessons import SERIES

project = SERIES
language = "en"
extensions = ["myst_nb", "sphinx_copybutton"]
exclude_patterns = ["**.ipynb_checkpoints"]

# The outputs that the notebooks hold; a book executes nothing.
nb_execution_mode = "off"
nb_merge_streams = True
nb_render_markdown_format = "myst"
# Headings are targets by the names that GitHub gives them, too.
myst_heading_anchors = 3
# A block without a language is mostly a message, and no Python.
highlight_language = "none"

html_theme = "sphinx_book_theme"
html_title = SERIES
html_static_path = ["_static"]
templates_path = ["_templates"]
html_css_files = ["book.css"]
html_js_files = [("book.js", {"defer": "defer"})]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_show_sphinx = False
html_use_index = False
# Summaries in the search are fetched, which a browser refuses for files.
html_show_search_summary = False
html_context = {"default_mode": "auto"}
html_sidebars = {"**": ["home.html", "search-button-field.html", "sbt-sidebar-nav.html"]}
html_theme_options = {
    "use_download_button": False,
    "use_fullscreen_button": False,
    "show_toc_level": 2,
    "toc_title": "On this page",
    "search_bar_text": "Search",
    "secondary_sidebar_items": {"**": ["page-toc.html"], "index": []},
    "navbar_persistent": [],
    "footer_content_items": [],
}

# Code, and no outputs or messages.
copybutton_selector = (
    "div.cell_input pre, div[class*=highlight-]:not(.output, .highlight-none) > .highlight > pre"
)

FOLD = re.compile(
    r'<details class="admonition hide [\w-]+">\s*<summary[^>]*>\s*<p[^>]*>(.*?)</p>.*?</summary>',
    re.DOTALL,
)


def easy_to_hear(app, page, template, context, doctree):
    """Change what a screen reader would read aloud and nobody understands.

    myst-nb calls each fold "Toggle hidden content", and a table's empty corner would be a heading.
    """
    if "body" in context:
        body = FOLD.sub(r'<details class="fold"><summary>\1</summary>', context["body"])
        context["body"] = re.sub(r'<th class="head[^>]*><p></p></th>', "<td></td>", body)


def anchors(app, page, source):
    """Turn the anchors of docs/errors.md, written in HTML, into MyST's, to which links can lead."""
    if page == "docs/errors":  # beside the page, its sections are enough
        source[0] = f"---\ntocdepth: 2\n---\n\n{source[0]}"
    source[0] = re.sub(r'^<a id="([\w-]+)"></a>$', r"(\1)=", source[0], flags=re.MULTILINE)


def setup(app):
    """Let Sphinx call easy_to_hear for each page, and anchors for each source."""
    app.connect("html-page-context", easy_to_hear)
    app.connect("source-read", anchors)
