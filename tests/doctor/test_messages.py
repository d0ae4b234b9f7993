"""What the doctor answers to messages: as people paste them, of other subjects, and the page's own."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from notebook_tools import ROOT

import doctor

HERE = Path(__file__).parent
# Messages of public threads in their forms: whole tracebacks, wrapped, quoted, coloured, cut, from
# memory, in the words of older versions. Names, paths and frames are changed.
PASTED = json.loads((HERE / "pasted.json").read_text(encoding="utf-8"))
OTHERS = json.loads((HERE / "other_subjects.json").read_text(encoding="utf-8"))
# In words of PyTorch 0.3, which no version since has used.
MISSED = ["https://github.com/pytorch/pytorch/issues/2830"]
MODULE_ERROR = """Traceback (most recent call last):
  File "train.py", line 30, in <module>
    model.load_state_dict(torch.load("best.pth"))
  File "/opt/env/lib/python3.11/site-packages/torch/nn/modules/module.py", line 2600, in f
    raise RuntimeError("Error(s) in loading state_dict for {}")
RuntimeError: Error(s) in loading state_dict for Net:
\tsize mismatch for fc.weight: copying a param with shape torch.Size([10, 8]) from checkpoint, \
the shape in current model is torch.Size([2, 8])."""


@pytest.fixture(scope="module")
def entries():
    return doctor.read_page()


def anchors(text, entries):
    return [entry.anchor for entry in doctor.diagnose(text, entries)]


def test_what_people_paste_leads_to_its_entry(entries):
    assert len(PASTED) >= 40 and len({each["source"] for each in PASTED}) == len(PASTED)
    missed = [each for each in PASTED if anchors(each["text"], entries)[:1] != [each["anchor"]]]
    assert [each["source"] for each in missed] == MISSED
    assert {each["anchor"] for each in PASTED} <= {entry.anchor for entry in entries}


def test_messages_of_other_subjects_get_no_entry(entries):
    assert len(OTHERS) >= 20
    wrong = {each["text"]: found for each in OTHERS if (found := anchors(each["text"], entries))}
    assert wrong == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "error",
        "size",
        "RuntimeError",
        "state_dict",
        "KeyError: 'price'",
        "KeyError: 'model'",
        "AttributeError: 'DataFrame' object has no attribute 'append'",
        "ValueError: shapes (3,) and (4,) not aligned: 3 (dim 0) != 4 (dim 0)",
        "the model does not learn",
        "IndexError: list index out of range",
        "SyntaxError: invalid syntax",
        "the key of the state is of no use in the file of the module for the size",
    ],
)
def test_it_does_not_guess(text, entries):
    assert anchors(text, entries) == []


@pytest.mark.parametrize(
    "text",
    [
        MODULE_ERROR,
        "size mismatch for fc.weight: copying a param",
        "SIZE MISMATCH FOR fc.bias: COPYING A PARAM WITH SHAPE torch.size([10])",
        "\x1b[31mRuntimeError\x1b[0m: size mismatch for\n fc.weight: copying a par\nam with shape (3)",
        "[rank0]: size mismatch for fc.weight: copying a param\n[rank0]:  with shape torch.Size([2])",
        "> size mismatch for fc.weight: copying a param with shape torch.Size([10, 8]) from check-",
    ],
)
def test_a_message_may_be_wrapped_coloured_cut_or_shouted(text, entries):
    assert anchors(text, entries)[0].startswith("size-mismatch")


def test_a_shape_in_a_short_message_is_enough(entries):
    assert anchors("size mismatch for fc.weight", entries) == ["size-mismatch-last-layer"]
    assert anchors("size mismatch for layer1", entries)[0] == "size-mismatch"


def test_each_entry_is_found_by_its_own_words(entries):
    """With the words of its heading, in a traceback of PyTorch, an entry comes first.

    Where another error is inside, it comes after the entry of that one.
    """
    wrong = {}
    for entry in entries:
        for message in entry.messages:
            said = (
                f"  File 'torch/serialization.py', line 3, in load\n{message.replace('…', 'qqq')}"
            )
            found = anchors(said, entries)
            if found[:1] != [entry.anchor]:
                wrong[message] = found
    assert wrong == {}


def two_layers(message):
    """A message of two layers that do not fit: what is said of the last one is not all."""
    return f"{message}\n{message.splitlines()[-1].replace('fc.', 'layer.')}"


def test_the_doctor_s_answer_has_cause_fix_and_place(entries):
    text = doctor.answer(MODULE_ERROR)
    first = text.split("\n\n\n")[0]
    assert "only the last layer" in first and "load_state_dict(body" in first
    assert "docs/errors.md#size-mismatch-last-layer · lesson 03" in first
    assert first.startswith("size mismatch for fc.…: copying a param") and "\nOr: " not in text
    assert "\nOr: size mismatch for …: " in doctor.answer(two_layers(MODULE_ERROR))
    assert max(map(len, text.splitlines())) <= 200
    assert doctor.answer("no such message") == doctor.UNKNOWN


def test_a_long_text_does_not_keep_it_busy(entries):
    log = "INFO step 3 loss 0.5 model state_dict module weight\n" * 5_000 + MODULE_ERROR
    start = time.perf_counter()
    assert anchors(log, entries)[0] == "size-mismatch-last-layer"
    assert time.perf_counter() - start < 5


def test_the_page_is_read_without_torch():
    program = "import doctor, sys; doctor.answer('x'); print({'torch', 'numpy'} & set(sys.modules))"
    command = [sys.executable, "-c", program]
    said = subprocess.run(command, capture_output=True, encoding="utf-8", cwd=ROOT, check=True)
    assert said.stdout == "set()\n"


# ---------------------------------------------------------------- the command


def command(*words, text="", cwd=ROOT):
    """Run doctor.py; returns its exit code, what it printed, and the seconds of a processor that it took."""
    before = os.times()
    program = subprocess.run(
        [sys.executable, ROOT / "doctor.py", *words],
        input=text.encode(),
        capture_output=True,
        cwd=cwd,
    )
    after = os.times()
    assert program.stderr == b""
    seconds = sum(after[2:4]) - sum(before[2:4])
    return program.returncode, program.stdout.decode(), seconds


def test_a_message_comes_as_a_word_or_through_a_pipe(tmp_path):
    for words, text in ((["size mismatch for fc.weight"], ""), ([], MODULE_ERROR)):
        code, said, _ = command(*words, text=text, cwd=tmp_path)
        assert code == 0 and "docs/errors.md#size-mismatch-last-layer" in said
    assert command("no", "such", "message")[:2] == (2, doctor.UNKNOWN + "\n")
    assert command(text="")[:2] == (2, doctor.UNKNOWN + "\n")


def test_a_file_is_told_from_a_message(tmp_path):
    (tmp_path / "a.pth").write_bytes(b"")
    assert command("a.pth", cwd=tmp_path)[0] == 2
    code, said, _ = command("b.pth", cwd=tmp_path)
    assert code == 2 and "b.pth" in said and "errors.md" not in said


def test_a_file_with_a_traceback_is_read_as_a_message(tmp_path):
    (tmp_path / "log.txt").write_text(f"epoch 3\n{MODULE_ERROR}\n", encoding="utf-8")
    code, said, _ = command("log.txt", cwd=tmp_path)
    assert code == 0 and "docs/errors.md#size-mismatch-last-layer" in said
    (tmp_path / "log.txt").write_text("epoch 3\nloss 0.5\n", encoding="utf-8")
    assert command("log.txt", cwd=tmp_path)[0] == 2


def test_help_and_a_page_that_is_missing(tmp_path):
    code, said, _ = command("--help")
    assert code == 0 and "python doctor.py model.pth" in said
    shutil.copy(ROOT / "doctor.py", tmp_path)
    alone = [sys.executable, tmp_path / "doctor.py", "size mismatch for fc.weight"]
    program = subprocess.run(alone, capture_output=True, encoding="utf-8")
    assert program.returncode == 2 and program.stdout == doctor.NO_PAGE + "\n"
    shutil.copy(doctor.PAGE, tmp_path)
    program = subprocess.run(alone, capture_output=True, encoding="utf-8")
    assert program.returncode == 0 and "size-mismatch" in program.stdout


def test_it_answers_at_once():
    # Seconds of a processor, since a clock would run on while other programs work.
    assert min(command(text=MODULE_ERROR)[2] for _ in range(3)) < 0.5
