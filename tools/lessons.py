"""What pages, decks and the map say about a lesson, read from its notebook."""

import re
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
SERIES = "Saving and loading PyTorch models"


def paths():
    """Return the paths of the lessons' notebooks, in their order."""
    return sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))


def read(path):
    """Return a notebook."""
    return nbformat.read(path, as_version=4)


def about(name, notebook):
    """Return a dict with a lesson's name, number, title, short (title without number), promise and time."""
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    # Papermill puts a note above the title of a notebook that failed.
    first = next((text for text in texts if re.search(r"^# ", text, re.MULTILINE)), "")
    rest = re.sub(r"\A.*?^# ", "", first, flags=re.DOTALL | re.MULTILINE)
    heading, _, rest = rest.partition("\n")
    time = re.search(r"^\*\*Time:\*\*\s*(.*?)\s*(?:\*\*Before|\\?$)", rest, re.MULTILINE)
    paragraphs = [text for text in re.split(r"\n\s*\n", rest.strip()) if not text.startswith("**")]
    return {
        "name": name,
        "number": name.split("_")[0],
        "title": heading.strip() or name,
        "short": re.sub(r"^\d+\s*[·.:–-]?\s*", "", heading.strip()) or name,
        "promise": paragraphs[0] if paragraphs else "",
        "time": time.group(1).rstrip() if time else "",
    }
