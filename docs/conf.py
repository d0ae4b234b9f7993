"""Settings of the book. tools/book.py brings its pages together in build/book and calls Sphinx."""

from lessons import SERIES

project = SERIES
language = "en"
extensions = ["myst_nb", "sphinx_copybutton"]
exclude_patterns = ["**.ipynb_checkpoints"]

# The outputs that the notebooks hold; a book executes nothing.
nb_execution_mode = "off"
nb_merge_streams = True
# Headings are targets by the names that GitHub gives them, too.
myst_heading_anchors = 3
# A block without a language is mostly a message, and no Python.
highlight_language = "none"

html_theme = "sphinx_book_theme"
html_title = SERIES
html_static_path = ["_static"]
html_css_files = ["book.css"]
html_js_files = ["book.js"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_show_sphinx = False
# Summaries in the search are fetched, which a browser refuses for files.
html_show_search_summary = False
html_use_index = False
html_theme_options = {
    "home_page_in_toc": True,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "show_toc_level": 2,
    "toc_title": "On this page",
    "search_bar_text": "Search",
    "footer_content_items": [],
}

# Code, and no outputs or messages.
copybutton_selector = (
    "div.cell_input pre, div[class*='highlight-']:not(.output, .highlight-none) > .highlight > pre"
)
