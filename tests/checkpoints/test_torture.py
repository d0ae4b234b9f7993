"""The fault matrix, files: a file is refused, or what comes out of it is what went in.

This takes a sample of each fault. With TORTURE=full, as in `make torture`, it takes all of them.
"""

import gzip
import io
import json
import pickle
import random
import tarfile
import warnings
import zipfile
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
import torture_table
from checkpoint_tools import (
    assert_clear,
    judge,
    judge_plain,
    make_model,
    needs_posix,
    no_warnings,
    same,
    write_archive,
)
from test_foreign_files import CONTENTS, FILES
from torture_tools import (
    FULL,
    MAPPED,
    NETWORK,
    OURS,
    PLAIN,
    compare,
    faults,
    note,
    parts,
    sample,
)

import checkpoints
from checkpoints import CheckpointError
from fc_model import load_checkpoint, save_checkpoint


@pytest.fixture
def saved(path):
    """A checkpoint of about 4.5 KB, and the bytes of its file."""
    save_checkpoint(make_model(16, 14, 8, 4), path, epoch=3, loss=0.5)
    content = path.read_bytes()
    assert 4000 < len(content) < 5000
    return checkpoints.load(path), content


# ---------------------------------------------------------------- the judge


def test_the_judge_tells_the_same_from_wrong_and_refused(saved, path):
    expected, content = saved
    for how in (judge, judge_plain):
        assert how(path, expected) == "the same"
        for wrong in ({"seed": 1}, {"drop_p": 0.5}):
            save_checkpoint(make_model(16, 14, 8, 4, **wrong), path, epoch=3, loss=0.5)
            assert how(path, expected) == "wrong"
        for epoch, loss in [(4, 0.5), (3, 0.25), (3, None)]:
            save_checkpoint(make_model(16, 14, 8, 4), path, epoch=epoch, loss=loss)
            assert how(path, expected) == "wrong"
        path.write_bytes(content[:-1])
        assert how(path, expected) == "refused"
        path.write_bytes(content)


@pytest.mark.parametrize(
    "error", [RuntimeError("x"), CheckpointError("no path"), CheckpointError("weights_only=False")]
)
def test_the_judge_lets_no_other_error_pass(error, saved, path, monkeypatch):
    def fail(path, mmap):
        raise error

    monkeypatch.setattr(checkpoints, "load", fail)
    with pytest.raises((RuntimeError, AssertionError)):
        judge(path, saved[0])


def test_the_judge_lets_no_second_error_pass(saved, path, monkeypatch):
    def fail(path, mmap):
        raise CheckpointError(f"{path}: bad") from ValueError("the cause")

    monkeypatch.setattr(checkpoints, "load", fail)
    with pytest.raises(AssertionError):
        judge(path, saved[0])
    with pytest.raises(AssertionError, match="a warning"), no_warnings():
        warnings.warn("a warning", stacklevel=1)


# ---------------------------------------------------------------- damage

FUNCTIONS = [OURS, NETWORK, MAPPED]
SPOILED = {"a flipped bit": 4000, "a file cut short": 600, "a file of another kind": 15}


@needs_posix
@pytest.mark.parametrize("fault", SPOILED)
@pytest.mark.parametrize("functions", FUNCTIONS, ids=lambda each: each.name)
def test_a_spoiled_run_is_refused_or_the_same(functions, fault, tmp_path, record_property):
    if functions is MAPPED and fault == "a flipped bit":
        pytest.skip("numbers are not checked: see below")
    size = SPOILED[fault] if FULL else min(SPOILED[fault], 40)
    outcomes = faults.FAULTS[fault](functions, tmp_path, size, seed=1)
    note(record_property, f"{fault} in a run ({functions.name})", outcomes)
    assert outcomes.keys() <= {"refused", "the same"}, outcomes.cases
    assert outcomes["refused"] > size / 3


def test_bits_of_a_run_would_be_lost_with_a_plain_torch_load(tmp_path, record_property):
    outcomes = faults.flips(PLAIN, tmp_path, 1000 if FULL else 60, seed=1)
    compare(record_property, "a flipped bit in a run, plain torch.load", outcomes)
    assert outcomes["wrong"] > outcomes.total() / 5


def flipped(content, bit):
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@parts(24)
def test_a_flipped_bit_is_noticed_or_harmless(part, saved, path, record_property):
    expected, content = saved
    ours, plain = [], Counter()
    with no_warnings():
        for bit in sample(range(8 * len(content)), 500)[part]:
            path.write_bytes(flipped(content, bit))
            ours.append((bit, judge(path, expected)))
            plain[judge_plain(path, expected)] += 1
    ours = faults.Outcomes(ours)
    note(record_property, "a flipped bit", ours)
    compare(record_property, "a flipped bit, plain torch.load", plain)
    assert ours.keys() == {"refused", "the same"}, ours.cases
    assert plain["wrong"] > ours.total() / 4


def test_without_comparing_checksums_flipped_bits_would_load(
    saved, path, record_property, monkeypatch
):
    expected, content = saved
    monkeypatch.setattr(zipfile.ZipExtFile, "_update_crc", lambda self, data: None)
    outcomes = Counter()
    for bit in random.Random(7).sample(range(8 * len(content)), 200):
        path.write_bytes(flipped(content, bit))
        outcomes[judge(path, expected)] += 1
    compare(record_property, "a flipped bit, checksums not compared", outcomes)
    assert outcomes["wrong"] > 20


def shapes(tensors):
    return {key: (tensor.dtype, tensor.shape) for key, tensor in tensors.items()}


@parts(6)
def test_a_flipped_bit_in_a_mapped_file_changes_numbers_at_most(part, saved, path, record_property):
    expected, content = saved
    outcomes = Counter()
    with no_warnings():
        for bit in sample(range(0, 8 * len(content), 4), 200)[part]:
            path.unlink()  # the old one may still be mapped
            path.write_bytes(flipped(content, bit))
            try:
                checkpoint = checkpoints.load(path, mmap=True)
            except CheckpointError:
                outcomes["refused"] += 1
                continue
            load_checkpoint(path, mmap=True)(torch.zeros(2, 16))
            numbers, wanted = checkpoint["state_dict"], expected["state_dict"]
            outcomes["the same" if same(numbers, wanted) else "other numbers"] += 1
            assert shapes(numbers) == shapes(wanted)
            assert same(checkpoint | {"state_dict": 0}, expected | {"state_dict": 0})
    note(record_property, "a flipped bit, mmap=True, outside of numbers", outcomes)
    assert outcomes["refused"] and outcomes["the same"] and outcomes["other numbers"]


@parts(2)
def test_a_file_cut_short_is_refused(part, saved, path, record_property):
    expected, content = saved
    lengths = {0, 1, 2, 3, 4, 21, 22, 23, len(content) - 22, len(content) - 1}
    lengths |= set(sample(range(len(content)), 250))
    ours, mapped, errors = Counter(), Counter(), set()
    with no_warnings():
        for length in sorted(lengths)[part]:
            path.unlink()
            path.write_bytes(content[:length])
            ours[judge(path, expected)] += 1
            mapped[judge(path, expected, mmap=True)] += 1
            with suppress(CheckpointError):
                try:
                    torch.load(path)
                except Exception as error:
                    errors.add(type(error))
    note(record_property, "a file cut short", ours)
    note(record_property, "a file cut short, mmap=True", mapped)
    assert ours.keys() == mapped.keys() == {"refused"}
    # Every one of them is another kind of error for whoever calls torch.load.
    assert len(errors) > 1 and CheckpointError not in errors


def blobs(content, numbers):
    """Bytes of many kinds; for each, whether a whole file may be in them."""
    for number in numbers:
        choose = random.Random(number)
        noise, cut = choose.randbytes(choose.randrange(1, 3000)), choose.randrange(1, len(content))
        start = choose.randrange(len(content) - 1)
        kinds = [
            (noise, False),
            (b"PK\3\4" + noise, False),
            (content[:30] + noise, False),
            (content[:cut] + noise, True),
            (noise + content[cut:], True),
            (content[:start] + noise + content[start + len(noise) :], True),
            (content[:start] + content[start + 1 :], True),
            (content[:start] + bytes(len(content) - start), True),
            (content + noise, True),
            (noise + content, True),
        ]
        yield kinds[number % len(kinds)]


@parts(6)
def test_random_bytes_are_refused(part, saved, path, record_property):
    expected, content = saved
    outcomes, wrong = Counter(), []
    with no_warnings():
        for blob, may_load in blobs(content, sample(range(10_000), 500)[part]):
            path.write_bytes(blob)
            outcome = judge(path, expected)
            if outcome == "the same" and not may_load:
                outcome = "wrong"
            wrong += [blob[:50]] if outcome == "wrong" else []
            outcomes[outcome] += 1
    note(record_property, "random bytes", outcomes)
    assert not wrong


def write_tar(path):
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("data.pkl")
        info.size = 4
        archive.addfile(info, io.BytesIO(b"data"))


def write_npz(path):
    with open(path, "wb") as file:
        np.savez(file, weight=np.zeros((2, 3), dtype=np.float32))


def write_npy(path):
    with open(path, "wb") as file:
        np.save(file, np.zeros(3))


def write_safetensors(path):
    header = json.dumps({"weight": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))


def write_zip(path, entries, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


def write_torchscript(path):
    entries = {
        "data.pkl": b"\x80\x02N.",
        "constants.pkl": b"\x80\x02).",
        "version": b"3\n",
        "code/a.py": b"pass",
    }
    write_archive(path, entries)


SOMETHING_ELSE = {
    "nothing": lambda path: path.write_bytes(b""),
    "one byte": lambda path: path.write_bytes(b"\x80"),
    "a page of HTML": lambda path: path.write_text(
        "<!DOCTYPE html><html><body>404 Not Found</body></html>"
    ),
    "JSON": lambda path: path.write_text(json.dumps({"input_size": 784, "state_dict": {}})),
    "a picture": lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64)),
    "gzip": lambda path: path.write_bytes(gzip.compress(b"a text")),
    "tar": write_tar,
    "a pointer of Git LFS": lambda path: path.write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n"
    ),
    "a zip file": lambda path: write_zip(path, {"a.txt": "a text", "b/c.txt": "more"}),
    "a compressed zip file": lambda path: write_zip(
        path, {"a/data.pkl": b"N."}, zipfile.ZIP_DEFLATED
    ),
    "an empty zip file": lambda path: write_zip(path, {}),
    "npz": write_npz,
    "npy": write_npy,
    "safetensors": write_safetensors,
    "a pickle": lambda path: path.write_bytes(pickle.dumps({"input_size": 784})),
    "the old format of torch.save": lambda path: torch.save(
        {"epoch": 1}, path, _use_new_zipfile_serialization=False
    ),
    "TorchScript": write_torchscript,
    "a state_dict": lambda path: torch.save(make_model(6, 5, 3).state_dict(), path),
    "a whole module": lambda path: torch.save(make_model(6, 5, 3), path),
    "a tensor": lambda path: torch.save(torch.zeros(3), path),
    "None": lambda path: torch.save(None, path),
    "pickle protocol 4": lambda path: torch.save({"input_size": 784}, path, pickle_protocol=4),
    "a folder": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("name", SOMETHING_ELSE)
def test_a_file_that_is_something_else_is_refused(name, path, record_property):
    SOMETHING_ELSE[name](path)
    with warnings.catch_warnings():
        if name in (
            "TorchScript",
            "pickle protocol 4",
        ):  # torch.load has a word to say on these first
            warnings.simplefilter("ignore")
        for mmap in (False, True):
            try:
                outcome = judge(path, None, mmap=mmap)
            except OSError:
                outcome = "refused" if name == "a folder" else "wrong"
            assert outcome == "refused"
    note(record_property, "something else", {"refused": 1})


# ---------------------------------------------------------------- files of other kinds, damaged

SOUND = {name: write for name, (write, _) in FILES.items()}
SOUND |= {
    name: lambda path, data=data: path.write_bytes(data) for name, (data, _) in CONTENTS.items()
}


def opened(path, mmap):
    """What comes of a file that is no checkpoint: it must be refused, by an error that is clear."""
    try:
        checkpoints.load(path, mmap=mmap)
    except CheckpointError as error:
        assert_clear(error, path)
        return "refused"
    except OSError:
        return "refused"
    except Exception:
        return "raw error"
    return "wrong"


def spoiled_at(files, place, how):
    """One of the files, with a bit turned or cut short at some place."""
    file, offset = faults.place(files, place)
    data = bytearray(files[file])
    if how == "flip":
        data[offset] ^= 1 << place % 8
    return file, bytes(data if how == "flip" else data[:offset])


@needs_posix
@pytest.mark.parametrize("name", SOUND)
def test_a_damaged_file_of_another_kind_is_refused(name, path, record_property):
    SOUND[name](path)
    files = faults.files_of(path)
    choose, size = random.Random(name), sum(map(len, files.values()))
    count = 400 if FULL else 15
    cases = [
        (choose.randrange(size), how) for how in ("flip", "cut") for _ in range(size and count)
    ]

    def outcome(case):
        faults.spoil(files, *spoiled_at(files, *case))
        return opened(path, mmap=bool(case[0] % 2))

    outcomes = faults.one_by_one(outcome, cases)
    note(record_property, "a damaged file of another kind", outcomes)
    assert outcomes.keys() <= {"refused"}, outcomes.cases


def test_every_kind_that_is_named_is_among_them(path):
    kinds = {*checkpoints.KINDS.values(), *checkpoints.ARCHIVES.values()}
    named = {text for _, text in [*FILES.values(), *CONTENTS.values()]}
    assert all(any(kind.startswith(text) for text in named) for kind in kinds)


def test_the_unit_tests_that_are_rows_of_the_table_exist():
    code = "".join(each.read_text("utf-8") for each in Path(__file__).parent.glob("test_*.py"))
    assert [name for name in torture_table.ROWS if f"def {name}(" not in code] == []
