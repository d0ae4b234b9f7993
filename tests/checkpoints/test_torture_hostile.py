"""The fault matrix, strangers: no file runs code, takes memory, or passes with a wrong schema."""

import io
import json
import math
import os
import subprocess
import sys
import warnings
from collections import Counter, OrderedDict
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from checkpoint_tools import (
    Call,
    Numbers,
    add_overlapping_zeros,
    add_zeros_deflated,
    entries_of,
    judge,
    make_model,
    needs_linux,
    needs_posix,
    no_warnings,
    write_archive,
)
from torture_tools import FULL, MAPPED, NETWORK, OURS, faults, note, sample

import checkpoints
from checkpoints import CheckpointError
from fc_model import load_checkpoint

CHILD = Path(__file__).with_name("torture_child.py")


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
    """The weights in an OrderedDict with attributes, which stand before its methods."""
    return network(
        state_dict=Call(OrderedDict, list(network()["state_dict"].items()), state=attributes)
    )


def attributed(numbers, **attributes):
    """A tensor whose attributes stand before its methods."""
    for name, value in attributes.items():
        setattr(numbers, name, value)
    return weights(weight=numbers)


def unwritten():
    """A tensor with a storage that was only asked for: its numbers are those in memory."""
    storage = Call(torch.FloatStorage, 100)
    rebuild = torch._utils._rebuild_tensor_v2
    return Call(rebuild, storage, 0, (100,), (1,), False, OrderedDict())


def nested(depth):
    """A list of lists of lists …, in each ten times the same: 10 ** depth numbers in all."""
    value = [1]
    for _ in range(depth):
        value = [value] * 10
    return value


def endless():
    value = []
    value.append(value)
    return value


def endless_dict():
    value = {}
    value[""] = value
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
    write_archive(
        path, entries_of(network(optimizer_state_dict={"state": state, "param_groups": []}))
    )
    lengths = add_overlapping_zeros(path, keys, size)
    assert lengths == {key: 4 * count for key, count in counts.items()}


def write_deep(path):
    """A list in a list in a list …: pickle itself would not write it."""
    depth = 10**5
    pickled = b"\x80\x02}X\x04\x00\x00\x00loss" + b"]" * depth + b"a" * (depth - 1) + b"s."
    write_archive(path, entries_of(network()) | {"data.pkl": pickled})


def write_pretending(path):
    """A tensor that says it has more numbers than its entry."""
    entries = entries_of(network(generator_state=Numbers("short", BIG)))
    write_archive(path, entries | {"data/short": bytes(16)})


def write_two_in_one(path):
    """The old format, then a good zip file: zipfile looks at the end, torch.load at the start."""
    other = {"state_dict": dict(make_model(6, 5, 3, seed=1).state_dict())}
    torch.save(network(**other), path, _use_new_zipfile_serialization=False)
    zipped = io.BytesIO()
    torch.save(network(), zipped)
    path.write_bytes(path.read_bytes() + zipped.getvalue())


# What runs code when it is unpickled by pickle: each makes a file.
PAYLOADS = {
    "os.system in the dict": lambda path: network(epoch=Call(os.system, f'echo > "{flag(path)}"')),
    "os.system in the state_dict": lambda path: weights(
        weight=Call(os.system, f'echo > "{flag(path)}"')
    ),
    "os.system alone": lambda path: Call(os.system, f'echo > "{flag(path)}"'),
    "eval": lambda path: network(loss=Call(eval, f"open({str(flag(path))!r}, 'w').close()")),
    "exec in a key": lambda path: (
        network() | {Call(exec, f"open({str(flag(path))!r}, 'w').close()"): 1}
    ),
    "Path.touch": lambda path: network(
        optimizer_state_dict={"state": Call(Path.touch, flag(path))}
    ),
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
    "a large meta tensor": save(
        lambda path: weights(weight=torch.empty(10**5, 10**6, device="meta"))
    ),
    "a storage without numbers": save(
        lambda path: network(loss=Call(torch.UntypedStorage, 10**10))
    ),
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
    "keys, values and get are 5": save(
        lambda path: ordered(keys=5, values=5, get=5, copy=5, __class__=5)
    ),
    "a tensor that is not in the file": save(
        lambda path: network(loss=Call(torch.FloatTensor, 100))
    ),
    "a Tensor that is not in the file": save(lambda path: network(loss=Call(torch.Tensor, 100))),
    "numbers that are not in the file": save(lambda path: network(loss=unwritten())),
    "_metadata of fives": save(lambda path: ordered(_metadata={"": 5})),
    "_metadata that holds itself": save(lambda path: ordered(_metadata=endless_dict())),
    "_metadata with a billion laughs": save(
        lambda path: ordered(_metadata={"": {"version": nested(30)}})
    ),
    "lists 10^5 deep": write_deep,
    "a key of 10^5000": save(lambda path: network(loss={10**5000: 1})),
    "a key of 10^5000 in the checkpoint": save(lambda path: network() | {10**5000: 1}),
    "a key of 10^5000 in the state_dict": save(
        lambda path: network(state_dict=network()["state_dict"] | {10**5000: weight()})
    ),
    "an input of 10^5000": save(lambda path: network(input_size=10**5000)),
    "an input of -10^5000": save(lambda path: network(input_size=-(10**5000))),
    "a drop_p of 10^5000": save(lambda path: network(drop_p=10**5000)),
    "a version that is a tensor": save(
        lambda path: network(**{checkpoints.FORMAT: {"version": torch.zeros(3)}})
    ),
    "a version of 10^5000": save(
        lambda path: network(**{checkpoints.FORMAT: {"version": 10**5000}})
    ),
    "a false _metadata": save(
        lambda path: ordered(_metadata={"": {"version": "?", "assign_to_params_buffers": 5}})
    ),
    "_metadata is 5": save(lambda path: ordered(_metadata=5)),
    "get of the checkpoint is 5": save(
        lambda path: Call(OrderedDict, list(network().items()), state={"get": 5})
    ),
    "nan where aminmax is a type": save(
        lambda path: attributed(weight() * math.nan, aminmax=Counter)
    ),
    "detach is a type": save(lambda path: attributed(weight(), detach=Counter)),
    "is_contiguous is a type": save(lambda path: attributed(weight(), is_contiguous=Counter)),
    "a Parameter": save(lambda path: weights(weight=torch.nn.Parameter(weight()))),
    "a frozen Parameter": save(
        lambda path: weights(weight=torch.nn.Parameter(weight(), requires_grad=False))
    ),
    "a Parameter with hooks": save(
        lambda path: weights(
            weight=Call(torch._utils._rebuild_parameter, weight(), True, OrderedDict({1: "hook"}))
        )
    ),
}
# These may load, and must then be the right network.
HARMLESS = {
    "items is 5",
    "items is a type",
    "keys, values and get are 5",
    "a false _metadata",
    "_metadata is 5",
}
HARMLESS |= {
    "get of the checkpoint is 5",
    "detach is a type",
    "is_contiguous is a type",
    "stride 0 elsewhere",
}
HARMLESS |= {"_metadata of fives", "_metadata that holds itself", "_metadata with a billion laughs"}
HARMLESS |= {"a Parameter", "a frozen Parameter", "a Parameter with hooks"}
NUMBERS = {"nan where aminmax is a type"}  # mmap=True does not check them
MUST_LOAD = {"a Parameter", "a frozen Parameter", "a Parameter with hooks", "a false _metadata"}


@pytest.mark.parametrize(
    ("name", "mmap"),
    [(name, mmap) for name in HOSTILE for mmap in (False, True) if not (mmap and name in NUMBERS)],
)
def test_a_hostile_file_does_nothing(name, mmap, path, record_property):
    good = path.with_name("good.pt")
    torch.save(network(), good)
    with warnings.catch_warnings():
        if "sparse" in name:  # torch.load has a word to say on these first
            warnings.simplefilter("ignore")
        HOSTILE[name](path)
        outcome = judge(path, network(), mmap=mmap, network_alone=True)
    if sorted(os.listdir(path.parent)) != ["checkpoint.pt", "good.pt"]:
        outcome = "executed"
    elif outcome == "the same" and name not in HARMLESS:
        outcome = "wrong"
    note(record_property, "a hostile file", {outcome: 1})
    assert outcome in ("refused", "the same")
    assert outcome == "the same" or name not in MUST_LOAD
    if outcome == "the same":
        model = load_checkpoint(path, mmap=mmap).train()
        model(torch.randn(2, 6)).sum().backward()
        assert all(parameter.requires_grad for parameter in model.parameters())
    assert judge(good, network()) == "the same", "the next file suffered"


@pytest.mark.parametrize("name", PAYLOADS)
def test_the_payloads_are_live(name, path):
    torch.save(PAYLOADS[name](path), path)
    with suppress(TypeError):  # of a None in the wrong place
        torch.load(path, weights_only=False)
    assert flag(path).exists()


def run_child(folder):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    folders = [CHILD.parent.parent, CHILD.parent.parent.parent]
    environment["PYTHONPATH"] = os.pathsep.join(map(str, folders))
    child = subprocess.run(
        [sys.executable, CHILD, folder], env=environment, capture_output=True, encoding="utf-8"
    )
    assert child.returncode == 0, child.stderr
    return json.loads(child.stdout)


@needs_linux
def test_hostile_files_take_little_memory_and_time(tmp_path):
    torch.save(network(), tmp_path / "0 good.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, write in HOSTILE.items():
            write(tmp_path / name)
    results = run_child(tmp_path)
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


@needs_posix
@pytest.mark.parametrize("functions", [OURS, NETWORK, MAPPED], ids=lambda each: each.name)
def test_a_hostile_file_in_place_of_a_run_does_nothing(functions, tmp_path, record_property):
    outcomes = faults.hostile_files(functions, tmp_path, 9, seed=1)
    note(record_property, f"a hostile file in place of a run ({functions.name})", outcomes)
    assert outcomes == {"refused": 9}, outcomes.cases


# ---------------------------------------------------------------- a wrong schema


def renamed(checkpoint, name, other):
    return {other if key == name else key: value for key, value in checkpoint.items()}


def state(**changes):
    """A checkpoint whose state_dict has other keys: what is None is taken away."""
    checkpoint = network()
    for key, value in changes.items():
        checkpoint["state_dict"][key.replace("__", ".")] = value
    checkpoint["state_dict"] = {
        key: value for key, value in checkpoint["state_dict"].items() if value is not None
    }
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
    for dtype in (
        torch.float64,
        torch.float16,
        torch.bfloat16,
        torch.int32,
        torch.uint8,
        torch.bool,
        torch.complex64,
    ):
        yield (
            f"a weight of {dtype}",
            weights(weight=weight().to(dtype)),
            rf"output.weight .*{dtype}",
        )
    for value in (math.nan, math.inf, -math.inf):
        yield f"{value} in a weight", weights(weight=first_number(value)), "output.weight"
        yield f"{value} in a bias", weights(bias=torch.tensor([1.0, 2.0, value])), "output.bias"
    for value in (
        weight().t(),
        weight().flatten(),
        weight()[None],
        weight()[:2],
        torch.tensor(1.0),
    ):
        yield f"a weight of {tuple(value.shape)}", weights(weight=value.clone()), "output.weight"
    for value in ([1.0, 2.0, 3.0], 1.0, "a", {}):
        yield f"a bias is {value!r}", weights(bias=value), "output.bias"
    yield "a key too few", state(output__bias=None), "output.bias"
    yield "a key too many", state(more__bias=torch.zeros(3)), "more.bias"
    yield (
        "a key that is no name",
        state() | {"state_dict": {**network()["state_dict"], 5: weight()}},
        r"state_dict (.*\n)+5 ",
    )
    yield "another name", state(output__bias=None, out__bias=torch.zeros(3)), "out.bias"
    prefixed = {f"module.{key}": value for key, value in network()["state_dict"].items()}
    yield "a prefix", network(state_dict=prefixed), "likely on one side only: module[.]"


SCHEMAS = {name: (checkpoint, named) for name, checkpoint, named in wrong_schemas()}


def test_the_schema_that_is_changed_here_is_right(path):
    torch.save(network(), path)
    assert judge(path, network()) == "the same"
    assert len(SCHEMAS) > 90


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_wrong_schema_is_refused_by_name(name, path, record_property):
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
    note(record_property, "a wrong schema", {"refused": 1})


OWN_FIELDS = {
    "a comment": network(comment="the best"),
    "a field without a name": network() | {5: 5},
    "an epoch in words": network(epoch="one", loss=None),
    "states of other names": network(
        optimizer_state_dict=[], generator_state=b"5", scaler={"scale": 2.0}
    ),
    "no drop_p": {key: value for key, value in network().items() if key != "drop_p"},
}


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("name", OWN_FIELDS)
def test_fields_of_ones_own_are_kept(name, mmap, path, record_property):
    torch.save(OWN_FIELDS[name], path)
    with no_warnings():
        assert judge(path, OWN_FIELDS[name], mmap=mmap) == "the same"
    note(record_property, "fields of one's own", {"the same": 1})


# ---------------------------------------------------------------- a run that somebody changed

GONE = object()
OTHERS = [GONE, None, True, -1, 1.5, "x", b"x", [], [5], (), {}, {"x": 1}]
OTHERS += [torch.tensor(1.0), torch.zeros(3, 3), torch.zeros(5, dtype=torch.uint8)]


def places(value, depth=5):
    """The keys that lead to each value in a run, of long lists only the first ones."""
    keys = list(value) if isinstance(value, dict) else range(min(len(value), 3))
    for key in keys:
        yield (key,)
        if depth > 1 and isinstance(value[key], dict | list | tuple):
            yield from ((key, *more) for more in places(value[key], depth - 1))


def changed(value, place, other):
    """A copy with another value in one place, or without it."""
    key, *more = place
    new = changed(value[key], more, other) if more else other
    if isinstance(value, dict):
        pairs = [(k, new if k == key else v) for k, v in value.items()]
        return type(value)(pair for pair in pairs if pair[1] is not GONE)
    items = [new if i == key else each for i, each in enumerate(value)]
    return type(value)(each for each in items if each is not GONE)


def as_torch_takes(contents):
    """What is in fresh pieces after torch's own functions took some contents, if they did."""
    run = faults.new_run(0)
    with suppress(Exception):
        for name in ("model", "optimizer", "scheduler"):
            run[name].load_state_dict(contents[name])
    return contents | faults.contents({name: run[name] for name in ("optimizer", "scheduler")})


def come_to(path, whole, place, number):
    """What comes of a run with another value in one place."""
    spoiled = changed(whole, place, OTHERS[number])
    torch.save(spoiled, path)
    expected = {name: value for name, value in spoiled.items() if name != checkpoints.FORMAT}
    return faults.verdict(OURS, path, expected, as_torch_takes(expected))


def test_a_run_that_somebody_changed_is_refused_or_put_back_as_it_says(tmp_path, record_property):
    path, _ = faults.save_one(OURS, tmp_path, 1)
    whole = torch.load(path)
    cases = [(place, number) for place in places(whole) for number in range(len(OTHERS))]
    values = ("epoch", "classes")  # without one of them it is a sound file
    cases = [case for case in cases if case[0][0] not in values or case[1]]
    outcomes = faults.one_by_one(lambda case: come_to(path, whole, *case), sample(cases, 120))
    note(record_property, "a run that somebody changed", outcomes)
    assert outcomes.keys() <= {"refused", "the same"}, outcomes.cases
    assert outcomes["refused"] > 50
