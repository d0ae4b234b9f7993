"""The fault matrix of checkpoints: whatever happens to a file, it is refused, or what comes out is what went in.

This takes a sample of each fault. With TORTURE=full, as in `make torture`, it takes all of them.
"""

import errno
import gzip
import io
import itertools
import json
import math
import os
import pickle
import random
import shutil
import subprocess
import sys
import tarfile
import warnings
import zipfile
from collections import Counter, OrderedDict
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from checkpoint_tools import (
    Call,
    Numbers,
    add_overlapping_zeros,
    add_zeros_deflated,
    entries_of,
    folder_without_writing,
    is_that_network,
    judge,
    judge_plain,
    make_model,
    needs_linux,
    no_warnings,
    same,
    write_archive,
)
from torch import optim
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, TensorDataset

import fc_model
from fc_model import CheckpointError, load_checkpoint, read_checkpoint, resume, save_checkpoint

FULL = os.environ.get("TORTURE") == "full"
CHILD = Path(__file__).with_name("torture_child.py")


def parts(count):
    """Cut the full run in parts, so that two processes share them. A sample is one part."""
    count = count if FULL else 1
    return pytest.mark.parametrize("part", [slice(i, None, count) for i in range(count)], ids=range(1, count + 1))


def sample(cases, size):
    """All cases, or some of them, always the same."""
    cases = list(cases)
    return cases if FULL or len(cases) <= size else random.Random(2019).sample(cases, size)


@pytest.fixture
def count(record_property):
    """Note what became of a fault, for the table of `make torture`."""

    def note(fault, outcomes):
        record_property("fault", [fault, dict(outcomes)])
        return outcomes

    return note


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoint.pt"


@pytest.fixture
def saved(path):
    """A checkpoint of about 4.5 KB, and the bytes of its file."""
    save_checkpoint(make_model(16, 14, 8, 4), path, epoch=3, loss=0.5)
    content = path.read_bytes()
    assert 4000 < len(content) < 5000
    return read_checkpoint(path), content


def run_child(*arguments, under=()):
    program = [*under, sys.executable, CHILD, *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(CHILD.parent.parent)}
    child = subprocess.run([*map(str, program)], env=environment, capture_output=True, encoding="utf-8")
    assert child.returncode == 0, child.stderr
    return json.loads(child.stdout)


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

    monkeypatch.setattr(fc_model, "read_checkpoint", fail)
    with pytest.raises((RuntimeError, AssertionError)):
        judge(path, saved[0])


def test_the_judge_lets_no_second_error_pass(saved, path, monkeypatch):
    def fail(path, mmap):
        raise CheckpointError(f"{path}: bad") from ValueError("the cause")

    monkeypatch.setattr(fc_model, "read_checkpoint", fail)
    with pytest.raises(AssertionError, match="another error first"):
        judge(path, saved[0])
    with pytest.raises(AssertionError, match="a warning"), no_warnings():
        warnings.warn("a warning", stacklevel=1)


# ---------------------------------------------------------------- damage


def flipped(content, bit):
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@parts(24)
def test_a_flipped_bit_is_noticed_or_harmless(part, saved, path, count):
    expected, content = saved
    ours, plain = Counter(), Counter()
    with no_warnings():
        for bit in sample(range(8 * len(content)), 800)[part]:
            path.write_bytes(flipped(content, bit))
            outcome = judge(path, expected)
            assert outcome != "wrong", f"bit {bit % 8} of byte {bit // 8}"
            ours[outcome] += 1
            plain[judge_plain(path, expected)] += 1
    count("a flipped bit", ours)
    count("a flipped bit, plain torch.load", plain)
    assert plain["wrong"] > ours.total() / 4


def test_without_the_check_of_the_archive_flipped_bits_would_load(saved, path, count, monkeypatch):
    expected, content = saved
    monkeypatch.setattr(fc_model, "_check_archive", lambda file, contents: None)
    outcomes = Counter()
    for bit in random.Random(7).sample(range(8 * len(content)), 200):
        path.write_bytes(flipped(content, bit))
        outcomes[judge(path, expected)] += 1
    count("a flipped bit, without _check_archive", outcomes)
    assert outcomes["wrong"] > 20


@parts(6)
def test_a_flipped_bit_in_a_mapped_file_changes_numbers_at_most(part, saved, path, count):
    expected, content = saved
    outcomes = Counter()
    with no_warnings():
        for bit in sample(range(0, 8 * len(content), 4), 200)[part]:
            path.unlink()  # the old one may still be mapped
            path.write_bytes(flipped(content, bit))
            try:
                checkpoint = read_checkpoint(path, mmap=True)
            except CheckpointError:
                outcomes["refused"] += 1
                continue
            load_checkpoint(path, mmap=True)(torch.zeros(2, 16))
            numbers = checkpoint["state_dict"]
            outcomes["the same" if same(numbers, expected["state_dict"]) else "wrong"] += 1
            assert {key: tensor.shape for key, tensor in numbers.items()} == {
                key: tensor.shape for key, tensor in expected["state_dict"].items()
            }
            assert same(checkpoint | {"state_dict": None}, expected | {"state_dict": None})
    count("a flipped bit, mmap=True, where numbers are not checked", outcomes)
    assert outcomes["refused"] and outcomes["the same"] and outcomes["wrong"]


@parts(2)
def test_a_file_cut_short_is_refused(part, saved, path, count):
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
    count("a file cut short", ours)
    count("a file cut short, mmap=True", mapped)
    assert ours.keys() == mapped.keys() == {"refused"}
    # Every one of them is another kind of error for whoever calls torch.load.
    assert len(errors) > 1 and CheckpointError not in errors


def blobs(content, numbers):
    """Bytes of many kinds; for each whether so much of a real file is in them that nothing may be missing."""
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
def test_random_bytes_are_refused(part, saved, path, count):
    expected, content = saved
    outcomes = Counter()
    with no_warnings():
        for blob, may_load in blobs(content, sample(range(10_000), 500)[part]):
            path.write_bytes(blob)
            outcome = judge(path, expected)
            assert outcome == "refused" or (outcome == "the same" and may_load)
            outcomes[outcome] += 1
    count("random bytes", outcomes)


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
    entries = {"data.pkl": b"\x80\x02N.", "constants.pkl": b"\x80\x02).", "version": b"3\n", "code/a.py": b"pass"}
    write_archive(path, entries)


SOMETHING_ELSE = {
    "nothing": lambda path: path.write_bytes(b""),
    "one byte": lambda path: path.write_bytes(b"\x80"),
    "a page of HTML": lambda path: path.write_text("<!DOCTYPE html><html><body>404 Not Found</body></html>"),
    "JSON": lambda path: path.write_text(json.dumps({"input_size": 784, "state_dict": {}})),
    "a picture": lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64)),
    "gzip": lambda path: path.write_bytes(gzip.compress(b"a text")),
    "tar": write_tar,
    "a pointer of Git LFS": lambda path: path.write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n"
    ),
    "a zip file": lambda path: write_zip(path, {"a.txt": "a text", "b/c.txt": "more"}),
    "a compressed zip file": lambda path: write_zip(path, {"a/data.pkl": b"N."}, zipfile.ZIP_DEFLATED),
    "an empty zip file": lambda path: write_zip(path, {}),
    "npz": write_npz,
    "npy": write_npy,
    "safetensors": write_safetensors,
    "a pickle": lambda path: path.write_bytes(pickle.dumps({"input_size": 784})),
    "the old format of torch.save": lambda path: torch.save({"epoch": 1}, path, _use_new_zipfile_serialization=False),
    "TorchScript": write_torchscript,
    "a state_dict": lambda path: torch.save(make_model(6, 5, 3).state_dict(), path),
    "a whole module": lambda path: torch.save(make_model(6, 5, 3), path),
    "a tensor": lambda path: torch.save(torch.zeros(3), path),
    "None": lambda path: torch.save(None, path),
    "pickle protocol 4": lambda path: torch.save({"input_size": 784}, path, pickle_protocol=4),
    "a folder": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("name", SOMETHING_ELSE)
def test_a_file_that_is_something_else_is_refused(name, path, count):
    SOMETHING_ELSE[name](path)
    with warnings.catch_warnings():
        if name in ("TorchScript", "pickle protocol 4"):  # torch.load has a word to say on these first
            warnings.simplefilter("ignore")
        for mmap in (False, True):
            try:
                outcome = judge(path, None, mmap=mmap)
            except OSError:
                outcome = "refused" if name == "a folder" else "wrong"
            assert outcome == "refused"
    count("something else", {"refused": 1})


# ---------------------------------------------------------------- files from strangers


def network(**fields):
    """A checkpoint as a dict, in which anything can be changed."""
    model = make_model(6, 5, 3)
    state_dict = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    sizes = {"input_size": 6, "output_size": 3, "hidden_layers": [5], "drop_p": 0.25}
    return sizes | {"state_dict": state_dict} | fields


def weights(**values):
    """The same with other values in place of the last weight or bias."""
    checkpoint = network()
    for name, value in values.items():
        checkpoint["state_dict"][f"output.{name}"] = value
    return checkpoint


def save(checkpoint):
    return lambda path: torch.save(checkpoint(path) if callable(checkpoint) else checkpoint, path)


def weight():
    return network()["state_dict"]["output.weight"]


def ordered(**attributes):
    """The weights in an OrderedDict that a file gives attributes, which then stand before its methods."""
    return network(state_dict=Call(OrderedDict, list(network()["state_dict"].items()), state=attributes))


def attributed(numbers, **attributes):
    """A tensor whose attributes stand before its methods."""
    for name, value in attributes.items():
        setattr(numbers, name, value)
    return weights(weight=numbers)


def nested(depth):
    """A list of lists of lists …, in each ten times the same: 10 ** depth numbers, if anybody counts them."""
    value = [1]
    for _ in range(depth):
        value = [value] * 10
    return value


def endless():
    value = []
    value.append(value)
    return value


def flag(path):
    return path.with_name("touched")


BIG = (400 if FULL else 150) << 20  # bytes that a small file unfolds to


def write_deflated(path):
    """Zeros, a thousandth of their size in the file."""
    count = BIG // 4
    optimizer = {"state": {0: {"momentum_buffer": Numbers("big", count)}}, "param_groups": []}
    write_archive(path, entries_of(network(optimizer_state_dict=optimizer)))
    add_zeros_deflated(path, "data/big", BIG >> 20)


def write_overlapping(path):
    """Many tensors of a megabyte each, in a file of one megabyte."""
    size = 1 << 20
    keys = range(10_000, 10_000 + BIG // size)
    counts = {key: (size + 48 * (keys[-1] - key)) // 4 for key in keys}  # 48: the bytes of a header
    state = {key: {"momentum_buffer": Numbers(key, counts[key])} for key in keys}
    write_archive(path, entries_of(network(optimizer_state_dict={"state": state, "param_groups": []})))
    lengths = add_overlapping_zeros(path, keys, size)
    assert lengths == {key: 4 * count for key, count in counts.items()}


def write_pretending(path):
    """A tensor that says it has more numbers than its entry."""
    entries = entries_of(network(generator_state=Numbers("short", BIG)))
    write_archive(path, entries | {"data/short": bytes(16)})


def write_two_in_one(path):
    """A file of the old format with a good zip file behind it: zipfile looks at the end, torch.load at the start."""
    other = {"state_dict": dict(make_model(6, 5, 3, seed=1).state_dict())}
    torch.save(network(**other), path, _use_new_zipfile_serialization=False)
    zipped = io.BytesIO()
    torch.save(network(), zipped)
    path.write_bytes(path.read_bytes() + zipped.getvalue())


# What runs code when it is unpickled by pickle: each makes a file.
PAYLOADS = {
    "os.system in the dict": lambda path: network(epoch=Call(os.system, f'echo > "{flag(path)}"')),
    "os.system in the state_dict": lambda path: weights(weight=Call(os.system, f'echo > "{flag(path)}"')),
    "os.system alone": lambda path: Call(os.system, f'echo > "{flag(path)}"'),
    "eval": lambda path: network(loss=Call(eval, f"open({str(flag(path))!r}, 'w').close()")),
    "exec in a key": lambda path: network() | {Call(exec, f"open({str(flag(path))!r}, 'w').close()"): 1},
    "Path.touch": lambda path: network(optimizer_state_dict={"state": Call(Path.touch, flag(path))}),
}
HOSTILE = {
    **{name: save(checkpoint) for name, checkpoint in PAYLOADS.items()},
    "a deflated bomb": write_deflated,
    "overlapping entries": write_overlapping,
    "more numbers than bytes": write_pretending,
    "two files in one": write_two_in_one,
    "stride 0": save(lambda path: weights(weight=torch.zeros(1).expand(10**5, 10**5))),
    "stride 0 of the right shape": save(lambda path: weights(weight=torch.zeros(1).expand(3, 5))),
    "stride 0 elsewhere": save(lambda path: network(generator_state=torch.zeros(1).expand(10**10))),
    "a sparse tensor": save(lambda path: weights(weight=weight().to_sparse())),
    "a large sparse tensor": save(
        lambda path: weights(weight=torch.sparse_coo_tensor([[0], [0]], [1.0], (10**9, 10**9)))
    ),
    "a nested tensor": save(
        lambda path: weights(
            weight=Call(
                torch._utils._rebuild_nested_tensor,
                weight().flatten(),
                torch.tensor([[3, 5]]),
                torch.tensor([[5, 1]]),
                torch.tensor([0]),
            )
        )
    ),
    "a meta tensor": save(lambda path: weights(weight=weight().to("meta"))),
    "a large meta tensor": save(lambda path: weights(weight=torch.empty(10**5, 10**6, device="meta"))),
    "a storage without numbers": save(lambda path: network(loss=Call(torch.UntypedStorage, 10**10))),
    "a hidden layer of 10^9": save(lambda path: network(hidden_layers=[10**9])),
    "ten hidden layers of 10^9": save(lambda path: network(hidden_layers=[10**9] * 10)),
    "an input of 10^9": save(lambda path: network(input_size=10**9)),
    "an input of 10^30": save(lambda path: network(input_size=10**30)),
    "an output of -10^600": save(lambda path: network(output_size=-(10**600))),
    "10^6 hidden layers": save(lambda path: network(hidden_layers=[5] * 10**6)),
    "True for 1": save(lambda path: network(input_size=True)),
    "True for a hidden layer of 1": save(lambda path: network(hidden_layers=[True])),
    "a billion laughs for hidden_layers": save(lambda path: network(hidden_layers=nested(30))),
    "a billion laughs for a hidden layer": save(lambda path: network(hidden_layers=[nested(30)])),
    "a billion laughs for drop_p": save(lambda path: network(drop_p=nested(30))),
    "a list that holds itself": save(lambda path: network(hidden_layers=endless())),
    "items is 5": save(lambda path: ordered(items=5)),
    "items is a type": save(lambda path: ordered(items=Counter)),
    "keys, values and get are 5": save(lambda path: ordered(keys=5, values=5, get=5, copy=5, __class__=5)),
    "a false _metadata": save(lambda path: ordered(_metadata={"": {"version": "?", "assign_to_params_buffers": 5}})),
    "_metadata is 5": save(lambda path: ordered(_metadata=5)),
    "get of the checkpoint is 5": save(lambda path: Call(OrderedDict, list(network().items()), state={"get": 5})),
    "nan where aminmax is a type": save(lambda path: attributed(weight() * math.nan, aminmax=Counter)),
    "detach is a type": save(lambda path: attributed(weight(), detach=Counter)),
    "is_contiguous is a type": save(lambda path: attributed(weight(), is_contiguous=Counter)),
    "a Parameter": save(lambda path: weights(weight=torch.nn.Parameter(weight()))),
    "a frozen Parameter": save(lambda path: weights(weight=torch.nn.Parameter(weight(), requires_grad=False))),
    "a Parameter with hooks": save(
        lambda path: weights(weight=Call(torch._utils._rebuild_parameter, weight(), True, OrderedDict({1: "hook"})))
    ),
}
# These may load, and must then be the right network.
HARMLESS = {"items is 5", "items is a type", "keys, values and get are 5", "a false _metadata", "_metadata is 5"}
HARMLESS |= {"get of the checkpoint is 5", "detach is a type", "is_contiguous is a type", "stride 0 elsewhere"}
HARMLESS |= {"a Parameter", "a frozen Parameter", "a Parameter with hooks"}
NUMBERS = {"nan where aminmax is a type"}  # mmap=True does not check them
MUST_LOAD = {"a Parameter", "a frozen Parameter", "a Parameter with hooks", "a false _metadata"}


@pytest.mark.parametrize(
    ("name", "mmap"),
    [(name, mmap) for name in HOSTILE for mmap in (False, True) if not (mmap and name in NUMBERS)],
)
def test_a_hostile_file_does_nothing(name, mmap, path, count):
    good = path.with_name("good.pt")
    torch.save(network(), good)
    with warnings.catch_warnings():
        if "sparse" in name:  # torch.load has a word to say on these first
            warnings.simplefilter("ignore")
        HOSTILE[name](path)
        outcome = judge(path, network(), mmap=mmap, network_alone=True)
    assert outcome == "refused" or (outcome == "the same" and name in HARMLESS)
    assert outcome == "the same" or name not in MUST_LOAD
    if outcome == "the same":
        model = load_checkpoint(path, mmap=mmap).train()
        model(torch.randn(2, 6)).sum().backward()
        assert all(parameter.requires_grad for parameter in model.parameters())
    assert sorted(os.listdir(path.parent)) == ["checkpoint.pt", "good.pt"], "the payload ran"
    assert judge(good, network()) == "the same", "the next file suffered"
    count("a hostile file", {outcome: 1})


@pytest.mark.parametrize("name", PAYLOADS)
def test_the_payloads_are_live(name, path):
    torch.save(PAYLOADS[name](path), path)
    with suppress(TypeError):  # of a None in the wrong place
        torch.load(path, weights_only=False)
    assert flag(path).exists()


@needs_linux
def test_hostile_files_take_little_memory_and_time(tmp_path, count):
    torch.save(network(), tmp_path / "0 good.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, write in HOSTILE.items():
            write(tmp_path / name)
    results = run_child("load", tmp_path)
    assert len(results) == 3 * len(HOSTILE)
    plain = {name: result for name, result in results.items() if name.endswith("torch.load")}
    ours = {name: result for name, result in results.items() if name not in plain}
    too_much = {name: result for name, result in ours.items() if result[1] > 50 or result[2] > 5}
    assert not too_much, "outcome, megabytes, seconds"
    # It can be measured: a plain torch.load swallows the bombs.
    for name in ("a deflated bomb", "overlapping entries"):
        assert (tmp_path / name).stat().st_size < 2e6
        outcome, megabytes, _ = plain[f"{name} torch.load"]
        assert outcome == "loaded" and megabytes > 0.7 * BIG / 1e6


# ---------------------------------------------------------------- a wrong schema


def renamed(checkpoint, name, other):
    return {other if key == name else key: value for key, value in checkpoint.items()}


def state(**changes):
    """A checkpoint whose state_dict has other keys: what is None is taken away."""
    checkpoint = network()
    for key, value in changes.items():
        checkpoint["state_dict"][key.replace("__", ".")] = value
    checkpoint["state_dict"] = {key: value for key, value in checkpoint["state_dict"].items() if value is not None}
    return checkpoint


def first_number(value):
    numbers = weight()
    numbers[0, 0] = value
    return numbers


def wrong_schemas():
    """(what is wrong, the checkpoint, what the error must name)."""
    for name in ("input_size", "output_size", "hidden_layers", "state_dict"):
        yield f"no {name}", {key: value for key, value in network().items() if key != name}, name
        yield f"{name} has another name", renamed(network(), name, f"model_{name}"), name
        for value in (None, True, "6", 6.0, (5,), {6}, b"6", torch.tensor(6), 1j):
            yield f"{name} is {value!r}", network(**{name: value}), name
    yield "drop_p has another name", renamed(network(), "drop_p", "dropout"), "dropout"
    yield "one field more", network(comment="the best"), "comment"
    yield "a field without a name", network() | {5: 5}, "5 is no field"
    for value in (None, True, "0.5", [0.5], torch.tensor(0.5)):
        yield f"drop_p is {value!r}", network(drop_p=value), "drop_p"
    for value in (1.5, -0.1, math.nan, math.inf):
        yield f"drop_p is {value!r}", network(drop_p=value), "drop_p"
    for name in ("input_size", "output_size"):
        for value in (0, -6):
            yield f"{name} is {value}", network(**{name: value}), name
    for value in ([], [0], [-5], [5.0], ["5"], [None], [[5]], [True], [torch.tensor(5)]):
        yield f"hidden_layers is {value!r}", network(hidden_layers=value), "hidden_layers"
    for value in ([5, 5], [4], [5] * 9):
        yield f"hidden_layers is {value!r}", network(hidden_layers=value), "hidden_layers"
    yield "input_size is 7", network(input_size=7), r"state_dict (.*\n)+hidden_layers.0.weight"
    yield "output_size is 4", network(output_size=4), r"state_dict (.*\n)+output.weight"
    wrong = {"epoch": (1.0, "1", True, None), "loss": ("0.5", None, torch.tensor(0.5), True)}
    wrong |= {"optimizer_state_dict": ([], None), "scheduler_state_dict": ((), 5), "generator_state": (b"5", [5])}
    wrong |= {"torch_random_state": ((5,), None), "python_random_state": ([3], None), "cuda_random_states": ((), {})}
    for name, values in wrong.items():
        for value in values:
            yield f"{name} is {value!r}", network(**{name: value}), name
    for dtype in (torch.float64, torch.float16, torch.bfloat16, torch.int32, torch.uint8, torch.bool, torch.complex64):
        yield f"a weight of {dtype}", weights(weight=weight().to(dtype)), rf"output.weight .*{dtype}"
    for value in (math.nan, math.inf, -math.inf):
        yield f"{value} in a weight", weights(weight=first_number(value)), "output.weight"
        yield f"{value} in a bias", weights(bias=torch.tensor([1.0, 2.0, value])), "output.bias"
    for value in (weight().t(), weight().flatten(), weight()[None], weight()[:2], torch.tensor(1.0)):
        yield f"a weight of {tuple(value.shape)}", weights(weight=value.clone()), "output.weight"
    for value in ([1.0, 2.0, 3.0], 1.0, "a", {}):
        yield f"a bias is {value!r}", weights(bias=value), "output.bias"
    yield "a key too few", state(output__bias=None), "output.bias"
    yield "a key too many", state(more__bias=torch.zeros(3)), "more.bias"
    yield (
        "a key that is no name",
        state() | {"state_dict": {**network()["state_dict"], 5: weight()}},
        r"state_dict.*\b5\b",
    )
    yield "another name", state(output__bias=None, out__bias=torch.zeros(3)), "out.bias"
    prefixed = {f"module.{key}": value for key, value in network()["state_dict"].items()}
    yield "a prefix", network(state_dict=prefixed), "likely prefix on one side: module[.]"


SCHEMAS = {name: (checkpoint, named) for name, checkpoint, named in wrong_schemas()}


def test_the_schema_that_is_changed_here_is_right(path):
    torch.save(network(), path)
    assert judge(path, network()) == "the same"
    assert len(SCHEMAS) > 100


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_wrong_schema_is_refused_by_name(name, path, count):
    checkpoint, named = SCHEMAS[name]
    torch.save(checkpoint, path)
    with no_warnings():
        assert judge(path, network()) == "refused"
        with pytest.raises(CheckpointError, match=named) as caught:
            load_checkpoint(path)
        assert "damaged" not in str(caught.value)
        numbers = " in a " in name
        if not numbers:
            assert judge(path, network(), mmap=True) == "refused"
    count("a wrong schema", {"refused": 1})


# ---------------------------------------------------------------- killed, and failing, while saving


@needs_linux
@pytest.mark.parametrize("seed", range(4 if FULL else 1))
def test_a_kill_while_saving_leaves_the_old_file_or_the_new(seed, tmp_path, count):
    kills = 50 if FULL else 15
    ours, plain = run_child("kill", tmp_path, kills, seed)
    for fault, outcomes in {"SIGKILL while saving": ours, "SIGKILL while saving in place": plain}.items():
        count(fault, {name: outcomes[name] for name in ("the same", "wrong")})
    assert ours["the same"] == kills and ours["wrong"] == 0
    assert ours["left a .tmp"], "no kill came in the middle of a save"
    assert plain["wrong"] > kills / 4


def fail_with(error):
    def fail(*arguments, **named):
        raise error

    return fail


def write_half(error):
    """Stand in for torch.save: write half of the file, then fail."""
    whole = torch.save

    def save(checkpoint, file):
        buffer = io.BytesIO()
        whole(checkpoint, buffer)
        file.write(buffer.getvalue()[: len(buffer.getvalue()) // 2])
        file.flush()
        raise error

    return save


FAILURES = {
    "np.float64 for lr": (CheckpointError, lambda run, patch: run.param_groups[0].update(lr=np.float64(0.1))),
    "a lambda": (Exception, lambda run, patch: run.param_groups[0].update(note=lambda: 0)),
    "a file": (Exception, lambda run, patch: run.param_groups[0].update(note=sys.stdout)),
    "the disk is full half-way": (
        OSError,
        lambda run, patch: patch.setattr(torch, "save", write_half(OSError(errno.ENOSPC, "No space left on device"))),
    ),
    "Ctrl-C half-way": (
        KeyboardInterrupt,
        lambda run, patch: patch.setattr(torch, "save", write_half(KeyboardInterrupt())),
    ),
    "no memory half-way": (MemoryError, lambda run, patch: patch.setattr(torch, "save", write_half(MemoryError()))),
    "the disk fails": (OSError, lambda run, patch: patch.setattr(os, "fsync", fail_with(OSError(errno.EIO, "")))),
    "Ctrl-C before the renaming": (
        KeyboardInterrupt,
        lambda run, patch: patch.setattr(os, "fsync", fail_with(KeyboardInterrupt())),
    ),
    "the renaming fails": (
        PermissionError,
        lambda run, patch: patch.setattr(os, "replace", fail_with(PermissionError("in use"))),
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_save_that_fails_leaves_the_old_file_and_nothing_else(name, saved, path, count, monkeypatch):
    expected, content = saved
    model = make_model(16, 14, 8, 4, seed=1)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    error, spoil = FAILURES[name]
    spoil(optimizer, monkeypatch)
    with pytest.raises(error):
        save_checkpoint(model, path, optimizer=optimizer, epoch=4)
    monkeypatch.undo()
    assert path.read_bytes() == content and os.listdir(path.parent) == [path.name]
    assert judge(path, expected) == "the same"
    count("a save that fails", {"the same": 1})


def test_a_save_in_place_that_fails_would_have_destroyed_the_old_file(saved, path, count):
    expected, _ = saved
    with pytest.raises((AttributeError, pickle.PicklingError)):
        torch.save({"state_dict": make_model(16, 14, 8, 4).state_dict(), "note": lambda: 0}, path)
    assert judge(path, expected) == "refused"
    count("a save in place that fails", {"wrong": 1})


@pytest.mark.skipif(os.name != "posix", reason="made with the modes of POSIX")
def test_a_save_to_a_folder_without_permission_leaves_the_old_file(count):
    model = make_model(6, 5, 3)
    with folder_without_writing() as (folder, close):
        save_checkpoint(model, folder / "model.pt")
        close()
        with pytest.raises(PermissionError):
            save_checkpoint(make_model(6, 5, 3, seed=1), folder / "model.pt")
        assert os.listdir(folder) == ["model.pt"]
        assert is_that_network(load_checkpoint(folder / "model.pt"), network())
    count("a save that fails", {"the same": 1})


@needs_linux
@pytest.mark.parametrize("limit", sample([1 << 20, 100_000, 2_200_000], 1))
def test_a_save_over_the_limit_of_file_sizes_leaves_the_old_file(limit, tmp_path, count):
    error, files, outcome = run_child("fill", tmp_path, limit)
    assert error in ("OSError", "RuntimeError") and files == ["model.pt"] and outcome == "the same"
    count("a save that fails", {"the same": 1})


@needs_linux
def test_a_save_to_a_full_disk_leaves_the_old_file(tmp_path, count):
    # A disk of 1 MB, in a name space of its own: it is gone with the process.
    apart = ["unshare", "-m" if os.geteuid() == 0 else "-rm"]
    mount = [*apart, "sh", "-c", 'mount -t tmpfs -o size=1m tmpfs "$0" && exec "$@"', tmp_path]
    if not shutil.which("unshare") or subprocess.run([*mount, "true"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a small disk")
    error, files, outcome = run_child("fill", tmp_path, under=mount)
    assert error in ("OSError", "RuntimeError") and files == ["model.pt"] and outcome == "the same"
    assert os.listdir(tmp_path) == [], "it was not the small disk"
    count("a save that fails", {"the same": 1})


# ---------------------------------------------------------------- resume

LOADERS = ["shuffled by the global state", "with a generator of its own"]
OPTIMIZERS = {
    "SGD": lambda parameters: optim.SGD(parameters, lr=0.05, momentum=0.9),
    "Adam": lambda parameters: optim.Adam(parameters, lr=0.01),
    "RMSprop": lambda parameters: optim.RMSprop(parameters, lr=0.01, momentum=0.5),
}
SCHEDULERS = {
    "StepLR": lambda optimizer: lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.5),
    "CosineAnnealingLR": lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, T_max=5),
    # No loss is that much better, so every second epoch lowers the rate.
    "ReduceLROnPlateau": lambda optimizer: lr_scheduler.ReduceLROnPlateau(
        optimizer, patience=1, factor=0.5, threshold=100, threshold_mode="abs"
    ),
}
PIECES = ["optimizer_state_dict", "scheduler_state_dict", "torch_random_state", "python_random_state"]


class Run:
    """A training run that uses all that can be lost: dropout, shuffling, a scheduler, Python's random numbers."""

    def __init__(self, model, loader, optimizer, scheduler):
        generator = torch.Generator().manual_seed(1)
        images, labels = torch.randn(40, 6, generator=generator), torch.randint(3, (40,), generator=generator)
        self.generator = torch.Generator().manual_seed(2) if loader == LOADERS[1] else None
        dataset = TensorDataset(images, labels)
        self.loader = DataLoader(dataset, batch_size=8, shuffle=True, generator=self.generator)
        self.model = model.train()
        self.optimizer = OPTIMIZERS[optimizer](model.parameters())
        self.scheduler = SCHEDULERS[scheduler](self.optimizer)
        self.pieces = {"optimizer": self.optimizer, "scheduler": self.scheduler, "generator": self.generator}

    def train(self, epochs):
        losses = []
        for _ in epochs:
            for images, labels in self.loader:
                noisy = images * (1 + 0.1 * random.random())
                loss = F.nll_loss(self.model(noisy), labels)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                losses.append(loss.item())
            self.scheduler.step(*[losses[-1]][: isinstance(self.scheduler, lr_scheduler.ReduceLROnPlateau)])
        return losses


def disturb():
    torch.manual_seed(4711)
    random.seed(4711)


@pytest.mark.parametrize(
    ("loader", "optimizer", "scheduler"), sample(itertools.product(LOADERS, OPTIMIZERS, SCHEDULERS), 6)
)
def test_a_resumed_run_is_equal_to_one_that_was_never_interrupted(loader, optimizer, scheduler, path, count):
    kinds = (loader, optimizer, scheduler)
    disturb()
    run = Run(make_model(6, 16, 8, 3), *kinds)
    run.train(range(2))
    save_checkpoint(run.model, path, epoch=1, **run.pieces)
    expected = run.train(range(2, 5))

    def resumed(without=None):
        """Whether losses and weights are equal, when a piece is as at the start of a run."""
        disturb()
        torch.rand(5)
        random.random()
        checkpoint, fresh = read_checkpoint(path), Run(load_checkpoint(path), *kinds)
        if without:
            start = {"generator_state": fresh.generator and fresh.generator.get_state()}
            start |= {"torch_random_state": torch.get_rng_state(), "python_random_state": random.getstate()}
            start |= {"scheduler_state_dict": fresh.scheduler.state_dict()}
            start |= {"optimizer_state_dict": fresh.optimizer.state_dict()}
            checkpoint[without] = start[without]
        epoch = resume(checkpoint, **fresh.pieces)
        losses = fresh.train(range(epoch, 5))
        return losses == expected, same(dict(fresh.model.state_dict()), dict(run.model.state_dict()))

    assert resumed() == (True, True)
    count("an interrupted run", {"the same": 1})
    for without in [*PIECES, *["generator_state"][: loader == LOADERS[1]]]:
        assert resumed(without) == (False, False), f"{without} makes no difference"
        count("an interrupted run, one piece not restored", {"wrong": 1})
