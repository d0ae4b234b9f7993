"""The slides of a lesson by their names: what a teacher's page says at each of them, and what no slide shows."""

import re
from collections import Counter

STARTS = {"slide", "subslide"}
EXERCISE = r"^### (Exercise \d+\.\d+)"
# For reading: a deck may leave it out.
UNTAUGHT = {None, "Since the originals", "Check yourself"}
DRILL = {"exercise", "check", "hint", "solution"}
# Code that teaches nothing by itself.
SILENT = DRILL | {"setup", "parameters", "proof", "hide-input"}


def slide_type(cell):
    """Return what the slideshow metadata say of a cell; a cell without them goes on with its slide."""
    return cell.metadata.get("slideshow", {}).get("slide_type", "-")


def sections(text):
    """Return a pair for each `## ` of a Markdown text, heading and what follows; none for those in blocks of code."""
    guarded = re.sub(
        r"^```.*?^```", lambda block: block[0].replace("#", "\0"), text, flags=re.DOTALL | re.M
    )
    pieces = [
        piece.replace("\0", "#").strip() for piece in re.split(r"^## (.*)$", guarded, flags=re.M)
    ]
    return list(zip(pieces[1::2], pieces[2::2]))


def headings(cell):
    """Return the headings of the sections that begin in a cell."""
    if cell.cell_type != "markdown":
        return []
    return [heading for heading, _ in sections(cell.source)]


def slide_names(notebook):
    """Return the name of each slide, as the teacher's page has it: exercise or section; "(2)" for its second slide."""
    names, counts, section = [], Counter(), "Opening"
    for cell in notebook.cells:
        section = [section, *headings(cell)][-1]
        if slide_type(cell) not in STARTS:
            continue
        if exercise := re.match(EXERCISE, cell.source):
            names.append(exercise[1])
            continue
        counts[section] += 1
        names.append(section if counts[section] == 1 else f"{section} ({counts[section]})")
    return names


def notes_of(path):
    """Return what a teacher's page says: (name of a slide, its notes in Markdown), in the order of the page."""
    return sections(path.read_text(encoding="utf-8"))


def misfits(notebook, notes, lesson, page):
    """Return a sentence for each slide without a heading and each heading without a slide.

    A heading that comes out of turn, or with nothing below it, is one, too.
    """
    names, found = slide_names(notebook), [heading for heading, _ in notes]
    without, idle = Counter(names) - Counter(found), Counter(found) - Counter(names)
    complaints = [f"{page} has no heading “{name}”, a slide of {lesson}." for name in without]
    complaints += [f"{page} has a heading “{name}”, and {lesson} no such slide." for name in idle]
    turns = zip(found, names) if not complaints else []
    wrong = [
        f"{page} has “{one}” where {lesson} has “{other}”." for one, other in turns if one != other
    ]
    empty = [f"{page} says nothing at “{name}”." for name, text in notes if not text]
    return complaints + wrong[:1] + empty


def uncovered(notebook):
    """Return the headings of the sections that no slide shows.

    A section with code that teaches, of which no slide shows any, comes with "(its code)" behind its heading.
    """
    there, shown, section = {}, {}, None
    for cell in notebook.cells:
        for heading in headings(cell) or [section]:
            section = heading
            for seen in [there, shown] if slide_type(cell) != "skip" else [there]:
                seen.setdefault(section, set()).update(substance(cell))
    taught = [heading for heading in there if heading not in UNTAUGHT]
    lost = {heading: there[heading] - shown.get(heading, set()) for heading in taught}
    suffixes = {"text": "", "code": " (its code)"}
    return [heading + suffixes[max(lost[heading])] for heading in taught if lost[heading]]


def substance(cell):
    """Return what a cell gives its section: text, or text and code; an exercise gives it nothing."""
    tags = set(cell.metadata.get("tags", []))
    if tags & DRILL or re.match(EXERCISE, cell.source):
        return set()
    return {"text", "code"} if cell.cell_type == "code" and not tags & SILENT else {"text"}
