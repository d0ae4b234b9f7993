"""docs/errors.md: the form of its entries, and every snippet, run on the installed version of PyTorch."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from notebook_tools import NOTEBOOKS, ROOT
from snippets import FENCED, parts

import doctor

PAGE = doctor.PAGE.read_text(encoding="utf-8")
PROGRAM = Path(__file__).with_name("snippets.py")


@pytest.fixture(scope="module")
def entries():
    return doctor.read_page()


def run(page):
    """What the snippets of a page (Path) say: {anchor: [texts]}."""
    command = [sys.executable, PROGRAM, page]
    program = subprocess.run(
        command, capture_output=True, encoding="utf-8", cwd=ROOT, env=environment()
    )
    assert program.returncode == 0, program.stderr
    return json.loads(program.stdout.splitlines()[-1])


def environment():
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def as_raised(message):
    """A regular expression for a message of the page: … stands for anything, a blank for any blanks."""
    words = [r"\s+".join(map(re.escape, re.split(r"\s+", part))) for part in message.split("…")]
    return re.compile(".*?".join(words), re.DOTALL)


def complaints(entries, texts):
    """What is wrong with an entry's snippets, given what they said: a list of str."""
    return [line for entry in entries for line in _complaints(entry, *texts[entry.anchor])]


def _complaints(entry, first, second):
    messages = list(map(as_raised, entry.messages)) or [re.compile("AssertionError")]
    if not any(message.search(first) for message in messages):
        yield f"{entry.anchor}: the first snippet says {first[:300]!r}"
    raised = re.match(r"[\w.]+\.\w+: ", second) and not re.match(r"\w*Warning: ", second)
    if raised or any(message.search(second) for message in messages):
        yield f"{entry.anchor}: the last snippet says {second[:300]!r}"


def test_every_snippet_says_what_its_entry_says(entries):
    assert complaints(entries, run(doctor.PAGE)) == []


def test_there_are_enough_entries_and_each_has_its_form(entries):
    loud = [entry for entry in entries if entry.messages]
    assert len(loud) >= 150 and len(entries) - len(loud) >= 23
    assert len({entry.anchor for entry in entries}) == len(entries)
    assert len(entries) == PAGE.count("\n### ")
    _, snippets = parts(PAGE)
    for entry in entries:
        assert len(snippets[entry.anchor]) == (2 if entry.messages else 3), entry.anchor
        assert entry.cause and entry.fix and entry.lesson, entry.anchor
    code = [line for snippet in FENCED.findall(PAGE) for line in snippet.splitlines()]
    assert max(map(len, code)) <= 100


def test_a_message_stands_in_one_entry(entries):
    messages = [doctor._squeezed(message) for entry in entries for message in entry.messages]
    assert [each for each in set(messages) if messages.count(each) > 1] == []


def test_what_is_raised_by_hand_says_so(entries):
    """A stand-in begins with a comment that names what is missing here."""
    _, snippets = parts(PAGE)
    loud = [entry.anchor for entry in entries if entry.messages]
    by_hand = [each for each in loud if re.search(r"^raise ", snippets[each][0], re.M)]
    assert [each for each in by_hand if "# Stand-in: " not in snippets[each][0]] == []


def test_the_contents_name_every_section_and_lessons_are_files(entries):
    sections = re.findall(r"^## (.*)", PAGE, re.M)
    assert re.findall(r"^- \[(.*)\]\(#", PAGE, re.M) == sections
    links = set(re.findall(r"\]\(\.\./notebooks/([\w.]+)\)", PAGE))
    assert links <= {path.name for path in NOTEBOOKS}


# ---------------------------------------------------------------- spoiled on purpose

HEAD = "# Errors\n\n```python\nimport warnings\n```\n\n## All\n"
ENTRY = """
<a id="{anchor}"></a>
### {heading}

```python
{first}
```

Why.
{check}
```python
{last}
```

[01 · Save](../notebooks/01_save_and_reload.ipynb)
"""
CHECK = "\n```python\nassert found == 1, 'found'\n```\n"
WARN = "warnings.warn('too very old')"
# {anchor: (heading, first snippet, last snippet, check, what is complained of)}
SPOILED = {
    "sound": ("`division … zero`", "1 / 0", "1 / 1", "", None),
    "nothing": ("`division … zero`", "1 / 1", "1 / 1", "", "the first snippet says ''"),
    "other-words": ("`division … nought`", "1 / 0", "1", "", "the first snippet says .*by zero"),
    "not-mended": ("`division … zero`", "1 / 0", "[][0]", "", "the last snippet says .*range"),
    "still-warns": ("`too … old`", WARN, WARN, "", "the last snippet says .*very old"),
    "silent": ("One is two", "found = 2", "found = 1", CHECK, None),
    "no-fault": ("One is two", "found = 1", "found = 1", CHECK, "the first snippet says ''"),
    "not-found": ("One is two", "found = 2", "found = 2", CHECK, "the last snippet says .*found"),
}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What is complained of in a page of spoiled entries: {anchor: [lines]}."""
    page = tmp_path_factory.mktemp("page") / "errors.md"
    names = ("heading", "first", "last", "check")
    entries = [ENTRY.format(anchor=key, **dict(zip(names, each))) for key, each in SPOILED.items()]
    page.write_text(HEAD + "".join(entries), encoding="utf-8")
    texts = run(page)
    return {entry.anchor: complaints([entry], texts) for entry in doctor.read_page(page)}


@pytest.mark.parametrize("anchor", SPOILED)
def test_a_spoiled_entry_is_caught(found, anchor):
    complaint = SPOILED[anchor][-1]
    assert (
        found[anchor] == [] if complaint is None else re.search(complaint, "".join(found[anchor]))
    )
