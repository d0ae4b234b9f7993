"""The program that lesson 13 starts, notebooks/13_replace_entry.py."""

import subprocess
import sys
import zipfile

import helper

PROGRAM = helper.ROOT / "notebooks" / "13_replace_entry.py"


def test_it_replaces_the_one_entry_and_copies_the_others(tmp_path):
    content = {"a/model.json": b"steps", "a/sample_inputs/model.pt": b"old", "a/weights": b"123"}
    with zipfile.ZipFile(tmp_path / "old.zip", "w") as old:
        for name, data in content.items():
            old.writestr(name, data)
    before = (tmp_path / "old.zip").read_bytes()
    (tmp_path / "file").write_bytes(b"new content")
    command = [sys.executable, PROGRAM, "old.zip", "new.zip", "sample_inputs/model.pt", "file"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "replaced a/sample_inputs/model.pt\n" and not done.stderr
    with zipfile.ZipFile(tmp_path / "new.zip") as new:
        assert {name: new.read(name) for name in new.namelist()} == {
            **content,
            "a/sample_inputs/model.pt": b"new content",
        }
    assert (tmp_path / "old.zip").read_bytes() == before
