"""What cannot be saved is refused by its name, with a way out, and the old file stays as it was."""

import collections
import dataclasses
import datetime
import enum
import functools
import os
import re
import stat
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoint_tools import advises_to_run_code, needs_posix, printed, run_python, same, shown
from torch import nn, optim

import checkpoints
from checkpoints import CheckpointError, load, restore, save

ANY = "write it as numbers, strings, tensors, and lists or dicts of them"
OWN_NAME = "a piece must stand in state under a name of its own"
PART = "no plain tensor: if it is a part of a tensor, save with torch.distributed.checkpoint"


@pytest.fixture
def refused(path):
    """Demand that a state is refused with a text, and that old file and folder are untouched."""
    save({"epoch": 1}, path)
    old, folder = path.read_bytes(), os.listdir(path.parent)

    def check(state, text, error=CheckpointError, **arguments):
        with pytest.raises(error) as caught:
            save(state, path, **arguments)
        assert path.read_bytes() == old and os.listdir(path.parent) == folder
        if error is CheckpointError:
            assert str(caught.value) == f"{path}: not saved: {text}"
        assert not advises_to_run_code(shown(caught.value))
        assert "During handling" not in shown(caught.value)

    return check


@dataclasses.dataclass
class Settings:
    rate: float = 0.1


class Color(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    LOW = 1


class Names(dict):
    pass


class Text(str):
    pass


Point = collections.namedtuple("Point", "x y")
UNPLAIN = {
    "numpy.float64": (lambda: np.float64(0.5), "write float(…)"),
    "numpy.float32": (lambda: np.float32(0.5), "write float(…)"),
    "numpy.int64": (lambda: np.int64(3), "write int(…)"),
    "numpy.bool": (lambda: np.bool_(True), "write bool(…)"),
    "numpy.str_": (lambda: np.str_("a"), "write str(…)"),
    "numpy.bytes_": (lambda: np.bytes_(b"a"), "write bytes(…)"),
    "numpy.complex128": (lambda: np.complex128(1j), "write complex(…)"),
    "numpy.ndarray": (lambda: np.arange(3.0), "write torch.from_numpy(…)"),
    "torch.torch_version.TorchVersion": (lambda: torch.__version__, "write str(…)"),
    "test_refusals.Text": (lambda: Text("a"), "write str(…)"),
    "test_refusals.Names": (lambda: Names(a=1), "write dict(…)"),
    "test_refusals.Point": (lambda: Point(1, 2), "write tuple(…)"),
    "test_refusals.Level": (lambda: Level.LOW, "write int(…)"),
    "collections.defaultdict": (lambda: collections.defaultdict(int, a=1), "write dict(…)"),
    "test_refusals.Color": (lambda: Color.RED, ANY),
    "test_refusals.Settings": (Settings, ANY),
    "functools.partial": (lambda: functools.partial(print), ANY),
    "collections.deque": (lambda: collections.deque([1]), ANY),
    "frozenset": (lambda: frozenset([1]), ANY),
    "pathlib.PosixPath": (lambda: Path("a"), ANY),
    "datetime.datetime": (lambda: datetime.datetime(2019, 5, 1), ANY),
    "range": (lambda: range(3), ANY),
    "slice": (lambda: slice(3), ANY),
    "type": (lambda: nn.ReLU, ANY),
    "function": (lambda: shown, ANY),
}
if os.name != "posix":
    UNPLAIN["pathlib.WindowsPath"] = UNPLAIN.pop("pathlib.PosixPath")


@pytest.mark.parametrize("kind", UNPLAIN)
def test_a_value_that_is_not_plain_is_named_by_its_keys_with_a_way_out(kind, refused, path):
    make, way_out = UNPLAIN[kind]
    refused({"metrics": {"loss": make()}}, f"metrics.loss is a {kind}: {way_out}")
    refused({"loss": make()}, f"loss is a {kind}: {way_out}")
    refused({"history": [1, (2, make())]}, f"history[1][1] is a {kind}: {way_out}")
    refused({"by": {3: {"a b": make()}}}, f"by[3].a b is a {kind}: {way_out}")
    refused({"a": nn.Linear(1, 1), "loss": make()}, f"loss is a {kind}: {way_out}", background=True)
    with pytest.raises(
        Exception, match=r"[Uu]nsupported|weights_only"
    ):  # torch.load would refuse it
        torch.save({"loss": make()}, path)
        torch.load(path)


@pytest.mark.parametrize("kind", [kind for kind in UNPLAIN if UNPLAIN[kind][1] != ANY])
def test_the_way_out_works(kind, path):
    make, way_out = UNPLAIN[kind]
    call = way_out.removeprefix("write ").removesuffix("(…)")
    value = eval(call, {"torch": torch})(make())
    save({"loss": value}, path)
    assert same(load(path)["loss"], value) and np.array_equal(np.asarray(value), np.asarray(make()))


@pytest.mark.parametrize("value", [np.array(2.5), np.array(3), np.array("a")])
def test_the_way_out_of_an_array_without_dimensions_works(value, path):
    with pytest.raises(CheckpointError, match=r"loss is a numpy.ndarray: write ") as caught:
        save({"loss": value}, path)
    kind = re.search(r"write (\w+)\(", str(caught.value))[1]
    save({"loss": {"int": int, "float": float, "str": str}[kind](value)}, path)
    assert load(path)["loss"] == value.item()


def test_the_way_out_of_an_array_of_strings_works(path):
    with pytest.raises(CheckpointError, match=r"names is a numpy.ndarray: ") as caught:
        save({"names": np.array(["a", "b"])}, path)
    assert "from_numpy" not in str(caught.value), "torch.from_numpy takes no strings"


def test_a_global_state_of_numpy_among_values_is_refused(refused):
    refused(
        {"random": np.random.get_state()}, "random[1] is a numpy.ndarray: write torch.from_numpy(…)"
    )


@pytest.mark.parametrize("where", ["a list", "a dict", "a tuple in a dict"])
def test_a_piece_inside_something_is_refused(where, refused):
    model = nn.Linear(2, 2)
    pieces = {
        "torch.nn.modules.linear.Linear": model,
        "torch.optim.sgd.SGD": optim.SGD(model.parameters(), lr=0.1),
        "torch.nn.modules.loss.NLLLoss": nn.NLLLoss(),
        "torch._C.Generator": torch.Generator(),
        "numpy.random._generator.Generator": np.random.default_rng(0),
    }
    for kind, piece in pieces.items():
        state, name = {
            "a list": ({"all": [1, piece]}, "all[1]"),
            "a dict": ({"all": {"it": piece}}, "all.it"),
            "a tuple in a dict": ({"all": {"it": (piece,)}}, "all.it[0]"),
        }[where]
        refused(state, f"{name} is a {kind}: {OWN_NAME}")


def test_a_key_that_is_not_plain_is_refused(refused):
    refused({"a": {np.int64(3): 1}}, "a key of a is a numpy.int64: write int(…)")
    refused({"a": {"b": {Color.RED: 1}}}, f"a key of a.b is a test_refusals.Color: {ANY}")
    refused(
        {"a": {(1, Path("x")): 1}},
        f"a key of a[1] is a {type(Path()).__module__}.{type(Path()).__name__}: {ANY}",
    )


def test_a_set_with_something_else_in_it_is_refused(refused):
    refused({"a": {np.int64(3)}}, "a[0] is a numpy.int64: write int(…)")


def test_what_holds_itself_is_refused(refused):
    values = [1]
    values.append({"again": values})
    refused({"values": values}, "values[1].again contains itself")


def test_what_is_nested_too_deeply_is_refused_by_name(path):
    value = []
    for _ in range(3000):
        value = [value]
    with pytest.raises(CheckpointError, match=r"not saved: .*nested too deeply"):
        save({"value": value}, path)


def test_a_piece_whose_state_is_not_plain_is_named_down_to_the_value(refused):
    model = nn.Linear(2, 2)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    optimizer.param_groups[0]["note"] = Path("a")
    kind = f"{type(Path()).__module__}.{type(Path()).__name__}"
    refused({"optimizer": optimizer}, f"optimizer.param_groups[0].note is a {kind}: {ANY}")

    class Extra(nn.Module):
        def get_extra_state(self):
            return {"calls": np.int64(3)}

    inner = nn.Sequential(Extra())
    refused({"model": inner}, "model.0._extra_state.calls is a numpy.int64: write int(…)")

    class Own:
        def state_dict(self):
            return {"steps": [collections.deque()]}

        def load_state_dict(self, state):
            pass

    refused({"own": Own()}, f"own.steps[0] is a collections.deque: {ANY}")


# ---------------------------------------------------------------- names


def test_the_names_in_state_are_strings(refused):
    text = f"the names in state must be strings, and not {checkpoints.FORMAT!r}"
    for name in (1, None, ("a",), b"a", checkpoints.FORMAT):
        refused({"epoch": 1, name: 2}, text)


def test_state_is_a_dict(refused):
    kinds = {
        "torch.nn.modules.linear.Linear": nn.Linear(2, 2),
        "list": [1],
        "str": "a",
        "NoneType": None,
    }
    for kind, state in kinds.items():
        refused(state, f'state is a {kind}: give a dict, such as {{"model": model}}')


# ---------------------------------------------------------------- tensors


class Mine(torch.Tensor):
    pass


TENSORS = {
    "a subclass": (lambda: torch.ones(2).as_subclass(Mine), f"is a test_refusals.Mine, {PART}"),
    "sparse": (lambda: torch.eye(2).to_sparse(), "is a sparse or nested tensor: write to_dense()"),
    "meta": (lambda: torch.ones(2, device="meta"), "is on the meta device, without numbers"),
    "not initialised": (
        lambda: nn.LazyLinear(2).weight,
        "is not initialised: call the model on a batch first",
    ),
}


@pytest.mark.parametrize("name", TENSORS)
def test_a_tensor_that_is_no_plain_one_is_refused(name, refused):
    make, text = TENSORS[name]
    refused({"values": {"a": [make()]}}, f"values.a[0] {text}")


def test_a_model_that_is_not_initialised_is_refused_with_the_way_out(refused, path):
    model = nn.Sequential(nn.LazyLinear(3))
    refused({"model": model}, "model.0.weight is not initialised: call the model on a batch first")
    model(torch.ones(2, 2))
    save({"model": model}, path)
    refused_again = nn.Sequential(nn.LazyLinear(3))
    with pytest.raises(CheckpointError, match=r"(?i)model.*initiali.*(forward|on a batch)"):
        restore(load(path), {"model": refused_again})


def test_a_model_on_the_meta_device_is_refused(refused):
    with torch.device("meta"):
        model = nn.Linear(2, 2)
    refused({"model": model}, "model.weight is on the meta device, without numbers")


DTYPES = ["float32", "float64", "bfloat16", "float16", "complex64", "complex128", "float8_e5m2"]


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_parameter_that_is_not_finite_is_refused(dtype, number, refused, path):
    model = nn.Sequential(nn.Linear(2, 2), nn.Module())
    numbers = torch.tensor([[1.0, float(number)], [1.0, 1.0]]).to(getattr(torch, dtype))
    model[1].values = nn.Parameter(torch.ones_like(numbers), requires_grad=False)
    save({"model": model}, path)
    other = path.with_name("other.pt")
    path.replace(other)
    save({"epoch": 1}, path)
    model[1].values.data = numbers
    text = "model.1.values holds a number that is not finite, nan or inf"
    folder = sorted(os.listdir(path.parent))
    with pytest.raises(CheckpointError) as caught:
        save({"model": model}, path)
    assert str(caught.value) == f"{path}: not saved: {text}"
    assert load(path)["epoch"] == 1 and sorted(os.listdir(path.parent)) == folder


def test_an_imaginary_part_that_is_not_finite_is_refused(refused):
    model = nn.Module()
    model.values = nn.Parameter(torch.tensor([1 + 1j, complex(0, float("nan"))]))
    refused({"model": model}, "model.values holds a number that is not finite, nan or inf")


def test_only_parameters_must_be_finite(path):
    model = nn.BatchNorm1d(2)
    model.running_mean.fill_(float("nan"))
    save({"model": model, "loss": float("nan"), "values": torch.tensor(float("inf"))}, path)
    restore(load(path), {"model": model})


def test_a_file_with_a_number_that_is_not_finite_is_refused_by_restore(path):
    model, other = nn.Linear(2, 2), nn.Linear(2, 2)
    before = {key: value.clone() for key, value in other.state_dict().items()}
    state_dict = model.state_dict()
    state_dict["bias"] = torch.tensor([1.0, float("inf")])
    torch.save({"model": state_dict, "epoch": 1}, path)
    with pytest.raises(CheckpointError, match=r"^model.bias holds a number that is not finite"):
        restore(load(path), {"model": other})
    assert same(dict(other.state_dict()), before)


DISTRIBUTED = """
import os, sys, warnings
import torch, torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Shard, distribute_tensor
import checkpoints, fc_model

path = sys.argv[1]
dist.init_process_group("gloo", init_method=f"file://{path}.group", rank=0, world_size=1)
mesh = init_device_mesh("cpu", (1,))
tensor = distribute_tensor(torch.ones(4, 2), mesh, [Shard(0)])
sharded, network = fully_shard(torch.nn.Linear(2, 2), mesh=mesh), fc_model.Network(2, 2, [3])
optimizer = torch.optim.SGD(sharded.parameters(), lr=0.1, momentum=0.9)
(optimizer.param_groups[0]["params"][0].sum()).backward()
optimizer.step()
saves = [lambda: checkpoints.save({"values": [tensor]}, path)]
saves += [lambda: checkpoints.save({"model": sharded}, path)]
saves += [lambda: checkpoints.save({"optimizer": optimizer}, path)]
saves += [lambda: fc_model.save_checkpoint(fully_shard(network, mesh=mesh), path)]
for save in saves:
    try:
        save()
    except checkpoints.CheckpointError as error:
        print(error)
dist.destroy_process_group()
"""


def test_the_part_of_a_tensor_that_one_process_holds_is_refused(path):
    save({"epoch": 1}, path)
    old = path.read_bytes()
    lines = printed(run_python(DISTRIBUTED, path))
    part = f"is a torch.distributed.tensor.DTensor, {PART}"
    assert lines[0] == f"{path}: not saved: values[0] {part}"
    assert lines[1] == f"{path}: not saved: model.weight {part}"
    assert lines[2] == f"{path}: not saved: optimizer.state[0].momentum_buffer {part}"
    assert "FSDPNetwork" in lines[3] and len(lines) == 4
    assert path.read_bytes() == old and not Path(f"{path}.tmp").exists()


# ---------------------------------------------------------------- what is read back


def test_numpy_values_are_refused_although_this_process_allows_them(refused):
    allowed = [np._core.multiarray.scalar, np.dtype, type(np.dtype("float64"))]
    with torch.serialization.safe_globals(allowed):
        refused({"loss": np.float64(1)}, "loss is a numpy.float64: write float(…)")


@pytest.fixture
def without_checksums():
    old = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    yield
    torch.serialization.set_crc32_options(old)


def test_a_file_without_checksums_is_not_written(model, path, without_checksums):
    torch.serialization.set_crc32_options(True)
    save({"model": model}, path)
    old = path.read_bytes()
    torch.serialization.set_crc32_options(False)
    with pytest.raises(CheckpointError, match=f"^{re.escape(str(path))}: not saved: "):
        save({"model": model}, path)
    assert path.read_bytes() == old and os.listdir(path.parent) == [path.name]


def test_a_file_without_checksums_is_refused_with_the_way_out(model, path, without_checksums):
    with pytest.raises(CheckpointError, match=r"set_crc32_options\(True\)"):
        save({"model": model}, path)


def test_what_is_written_wrong_is_not_kept(model, path, monkeypatch):
    """A disk that loses a byte: it is noticed before the old file goes."""
    save({"model": model, "epoch": 1}, path)
    old, write = path.read_bytes(), torch.save

    def write_wrong(value, file):
        write(value, file)
        file.flush()
        with open(file.name, "r+b") as again:
            again.seek(len(old) // 2)
            again.write(b"\x55")

    monkeypatch.setattr(torch, "save", write_wrong)
    with pytest.raises(CheckpointError, match="not saved: damaged"):
        save({"model": model, "epoch": 1}, path)
    assert path.read_bytes() == old and os.listdir(path.parent) == [path.name]


# ---------------------------------------------------------------- no regular file

NO_FILE = "a folder, a pipe, a device or a link: name a file"


def make_device(path):
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    except OSError:
        pytest.skip("this process may make no device")


MAKERS = {
    "pipe": os.mkfifo if os.name == "posix" else None,
    "device": make_device,
    "folder": os.mkdir,
}


@needs_posix
@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize("name", MAKERS)
def test_what_is_no_regular_file_is_refused_and_left_alone(name, link, path, tmp_path):
    target = tmp_path / "target" if link else path
    MAKERS[name](target)
    if link:
        path.symlink_to(target)
    before, mode = sorted(os.listdir(tmp_path)), target.stat().st_mode
    for arguments in ({}, {"background": True}):
        with pytest.raises(CheckpointError) as caught:
            save({"epoch": 1}, path, **arguments)
        assert str(caught.value) == f"{target}: not saved: {target.name} is {NO_FILE}"
    assert target.stat().st_mode == mode and sorted(os.listdir(tmp_path)) == before
    if name != "folder":
        with pytest.raises(CheckpointError, match="a pipe or a device, no regular file"):
            load(path)


@needs_posix
@pytest.mark.parametrize("name", MAKERS)
def test_what_is_no_regular_file_stays_also_under_the_temporary_name(name, path):
    temporary = Path(f"{path}.tmp")
    save({"epoch": 1}, path)
    MAKERS[name](temporary)
    with pytest.raises(CheckpointError, match=NO_FILE):
        save({"epoch": 2}, path)
    assert not stat.S_ISREG(temporary.stat().st_mode) and load(path)["epoch"] == 1


@needs_posix
def test_a_write_protected_file_is_refused_also_for_root(refused, path):
    path.chmod(0o444)
    refused({"epoch": 2}, None, error=PermissionError)
    refused({"epoch": 2}, None, error=PermissionError, background=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    path.chmod(0o644)
    save({"epoch": 2}, path)
    assert load(path)["epoch"] == 2
