"""The questions at the end of each lesson: every key is computed by the code of lesson_NN.py.

A function there runs the code of its question, and returns {answer: whether it is true}, with the
answers as the lesson has them, in any order. KEYS lists the functions in the order of the questions.
"""

import importlib.util
from collections import Counter
from pathlib import Path

import nbformat
import pytest
import quiz
from notebook_tools import NOTEBOOKS, read

QUESTIONS = [(path.stem, number) for path in NOTEBOOKS for number in range(4)]


def keys_of(name):
    path = Path(__file__).with_name(f"lesson_{name[:2]}.py")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.KEYS


def problems(asked, found):
    """Where a question, and what its code says of each answer, do not agree."""
    if sorted(found) != sorted(asked.answers):
        return [f"the code judges other answers: {list(found)}"]
    if any(type(truth) is not bool for truth in found.values()):
        return ["the code does not say True or False"]
    true = "".join(letter for letter, answer in zip("ABCD", asked.answers) if found[answer])
    return [] if true == asked.key else [f"true is {true or 'none'}, and the key says {asked.key}"]


@pytest.mark.parametrize(("name", "number"), QUESTIONS)
def test_the_key_is_what_the_code_finds(name, number):
    path = next(path for path in NOTEBOOKS if path.stem == name)
    assert problems(quiz.questions(read(path))[number], keys_of(name)[number]()) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_each_question_has_code_and_the_keys_are_spread(path):
    asked = quiz.questions(read(path))
    assert len(asked) == 4 == len(keys_of(path.stem))
    assert max(Counter(each.key for each in asked).values()) <= 3
    assert len({answer for each in asked for answer in each.answers}) >= 12


def test_all_letters_are_right_about_equally_often():
    counts = Counter(each.key for path in NOTEBOOKS for each in quiz.questions(read(path)))
    assert set(counts) == set("ABCD") and min(counts.values()) >= len(NOTEBOOKS) * 4 / 8


ASKED = quiz.Question("1", "Which?", "", ["one", "two", "three", "four"], "B", "It is two.")


@pytest.mark.parametrize(
    ("found", "complaint"),
    [
        ({"one": False, "two": True, "three": False, "four": False}, None),
        (
            {"one": True, "two": False, "three": False, "four": False},
            "true is A, and the key says B",
        ),
        (
            {"one": True, "two": True, "three": False, "four": False},
            "true is AB, and the key says B",
        ),
        ({"one": False, "two": False, "three": False, "four": False}, "true is none"),
        ({"two": True, "one": False, "three": False, "four": False}, None),
        ({"one": False, "two": True, "three": False, "5": False}, "the code judges other answers"),
        ({"one": False, "two": True, "three": False}, "the code judges other answers"),
        ({"one": 0, "two": 1, "three": 0, "four": 0}, "the code does not say True or False"),
    ],
)
def test_a_wrong_key_is_caught(found, complaint):
    said = problems(ASKED, found)
    assert (len(said) == 1 and complaint in said[0]) if complaint else said == []


# ---------------------------------------------------------------- the sheet

SECTION = """## Check yourself

Four questions.

<details>
<summary>1. What does <code>len(keys)</code> say?</summary>

```python
keys = [1, 2]
```

- **A** `1`
- **B** 2

<details>
<summary>Answer</summary>

**B.** It has `two`.

</details>

</details>

<details>
<summary>2. And now?</summary>

- **A** no
- **B** yes

<details>
<summary>Answer</summary>

**A.** No.

</details>

</details>"""


def lesson_with(source):
    title = "# 01 · Save\n\nA promise.\n\n**Time:** 1 minute"
    cells = [nbformat.v4.new_markdown_cell(each) for each in (title, source)]
    return nbformat.v4.new_notebook(cells=cells)


def test_the_questions_of_a_lesson_are_read():
    first, second = quiz.questions(lesson_with(SECTION))
    assert first == quiz.Question(
        number="1",
        text="What does <code>len(keys)</code> say?",
        code="```python\nkeys = [1, 2]\n```",
        answers=["`1`", "2"],
        key="B",
        reason="It has `two`.",
    )
    assert (second.text, second.code, second.key) == ("And now?", "", "A")
    assert quiz.questions(lesson_with("## Recap")) == []


def test_without_its_key_a_section_has_the_same_questions_and_no_answer():
    left = quiz.without_key(SECTION)
    assert "Answer" not in left and "It has" not in left
    assert left.count("<details>") == left.count("</details>") == 2
    without = quiz.questions(lesson_with(left))
    assert [(each.text, each.answers) for each in without] == [
        (each.text, each.answers) for each in quiz.questions(lesson_with(SECTION))
    ]
    assert [each.key for each in without] == [None, None]


def test_the_sheet_has_a_page_for_each_lesson_and_the_key_apart():
    text = quiz.sheet({"01_save": lesson_with(SECTION)})
    pages, key = text.split('<section class="key">')
    assert "What does <code>len(keys)</code> say?" in pages and "It has" not in pages
    assert "<li><code>1</code></li><li>2</li>" in pages and "highlight" in pages
    assert "<b>B</b> It has <code>two</code>." in key
