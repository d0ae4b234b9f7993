"""A sound file of another kind is named for what it is, with the line that opens it."""

import ast
import gzip
import importlib
import io
import pickle
import re
import warnings
import zipfile

import numpy as np
import pytest
import torch
from checkpoint_tools import assert_clear, no_warnings
from torch import nn
from torch.distributed import checkpoint as dcp

import checkpoints
from checkpoints import CheckpointError, load

OLD = {"_use_new_zipfile_serialization": False}


class Net(nn.Module):
    """A model of one's own."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Dropout(0.1), nn.Linear(4, 2))

    def forward(self, x):
        return self.body(x)


class Functional(Net):
    def __init__(self):
        super().__init__()
        self.first, self.second = torch.tanh, nn.functional.gelu

    def forward(self, x):
        return self.second(self.body(self.first(x)))


def make(kind=Net):
    torch.manual_seed(0)
    return kind().eval()


def quietly(function, *arguments, **more):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*arguments, **more)


def write_safetensors(path):
    from safetensors.torch import save_file

    save_file(make().state_dict(), path)


def write_onnx(path, **more):
    import onnx

    def describe(name):
        return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1])

    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "g", [describe("x")], [describe("y")])
    onnx.save(onnx.helper.make_model(graph, **more), path)


def write_script(path):
    quietly(lambda: torch.jit.save(torch.jit.script(make()), path))


def write_export(path):
    export = quietly(torch.export.export, make(), (torch.ones(2, 3),))
    quietly(torch.export.save, export, path.with_suffix(".pt2"))
    path.with_suffix(".pt2").rename(path)


def write_dcp(path):
    quietly(dcp.save, {"model": make().state_dict()}, checkpoint_id=path)


def write_without_checksums(path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"model": make().state_dict(), "epoch": 1}, path)
    finally:
        torch.serialization.set_crc32_options(True)


def load_dcp(space):
    state = {"model": make().state_dict()}
    for tensor in state["model"].values():
        tensor.zero_()
    return space | {"dcp": dcp, "state": state}


BEFORE = "torch.save's format of before 1.6"
WHOLE = "a whole model, which brings code. If you know all of it"
BARE = "a bare state_dict"
FILES = {
    "before 1.6, a state_dict": (lambda path: torch.save(make().state_dict(), path, **OLD), BEFORE),
    "before 1.6, a dict": (
        lambda path: torch.save({"model": make().state_dict(), "epoch": 1}, path, **OLD),
        BEFORE,
    ),
    "whole model": (lambda path: torch.save(make(), path), WHOLE),
    "whole model with functions": (lambda path: torch.save(make(Functional), path), WHOLE),
    "whole transformer": (
        lambda path: torch.save(make(lambda: nn.TransformerEncoderLayer(8, 2, 16)), path),
        WHOLE,
    ),
    "whole model in a dict": (lambda path: torch.save({"model": make(), "epoch": 1}, path), WHOLE),
    "bare state_dict": (lambda path: torch.save(make().state_dict(), path), BARE),
    "bare dict of parameters": (
        lambda path: torch.save(dict(make().named_parameters()), path),
        BARE,
    ),
    "list": (lambda path: torch.save([1, 2], path), "it holds a list, no dict"),
    "tensor": (lambda path: torch.save(torch.ones(2), path), "it holds a torch.Tensor, no dict"),
    "TorchScript": (write_script, "TorchScript"),
    "torch.export": (write_export, "torch.export"),
    "safetensors": (write_safetensors, "safetensors"),
    "ONNX": (write_onnx, "ONNX"),
    "ONNX with a producer": (lambda path: write_onnx(path, producer_name="pytorch"), "ONNX"),
    "ONNX of an old version": (
        lambda path: write_onnx(path, ir_version=3, model_version=1),
        "ONNX",
    ),
    "folder of dcp": (write_dcp, "torch.distributed.checkpoint"),
    "without checksums": (
        write_without_checksums,
        "saved without checksums, which torch.serialization.set_crc32_options(True) turns on",
    ),
}


def names_in(line):
    """The packages that a line names, imported as far as it needs."""
    space = {}
    for node in ast.walk(ast.parse(line + ("" if line.endswith(")") else "\n    pass"))):
        if isinstance(node, ast.Attribute):
            module = ast.unparse(node).split(".")
            while module and module[0] not in ("path", "model", "state", "dcp"):
                try:
                    importlib.import_module(".".join(module))
                except ModuleNotFoundError:
                    module.pop()
                else:
                    space[module[0]] = importlib.import_module(module[0])
                    break
    return space


def run(line, path):
    """Run the line of an error as a reader would, and return the value of its last call."""
    space = names_in(line) | {"path": path, "model": make()}
    space = load_dcp(space) if "dcp." in line else space
    start, call = line.rsplit(": ", 1) if line.startswith("with ") else ("", line)
    code = f"{start}:\n    result = {call}" if start else f"result = {call}"
    quietly(exec, code, space)
    return space["result"] if "dcp." not in line else space["state"]


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_kind_is_named_with_the_line_that_opens_it(name, mmap, path):
    write, kind = FILES[name]
    write(path)
    with no_warnings(), pytest.raises(CheckpointError) as caught:
        load(path, mmap=mmap)
    text = str(caught.value)
    assert_clear(caught.value, path)
    assert text.startswith(f"{path}: {kind}: ") and "damaged" not in text
    opened = run(text.removeprefix(f"{path}: {kind}: "), path)
    if name == "list":
        assert opened == [1, 2]
    elif name == "tensor":
        assert torch.equal(opened, torch.ones(2))
    elif "ONNX" in name:
        assert opened.graph.node[0].op_type == "Relu"
    elif kind == BARE:
        assert str(opened) == "<All keys matched successfully>"
    else:
        opened = opened.module() if name == "torch.export" else opened
        opened = opened["model"] if isinstance(opened, dict) and "model" in opened else opened
        weights = opened if isinstance(opened, dict) else opened.state_dict()
        wanted = (
            make(lambda: nn.TransformerEncoderLayer(8, 2, 16)) if "transformer" in name else make()
        )
        assert all(torch.equal(weights[key], value) for key, value in wanted.state_dict().items())


def test_a_model_whose_only_class_is_ones_own_is_refused_as_code(path):
    class_of_ours = type("Plain", (nn.Module,), {"__module__": __name__})
    globals()["Plain"] = class_of_ours
    torch.save(class_of_ours(), path)
    with pytest.raises(CheckpointError, match="Plain") as caught:
        load(path)
    assert_clear(caught.value, path)


def npz():
    file = io.BytesIO()
    np.savez(file, a=np.arange(3))
    return file.getvalue()


def zip_file():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("folder/a.txt", "a text")
    return file.getvalue()


def compressed():
    file = io.BytesIO()
    torch.save({"epoch": 1}, file)
    return gzip.compress(file.getvalue())


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 2048\n"
NO_SAVE = "not a file of torch.save, or damaged at its beginning"
A_PICKLE = "a pickle that torch.save did not write, which could run code"
A_ZIP = "a zip file that torch.save did not write"
CONTENTS = {
    "empty": (b"", "empty: take another copy"),
    "Git LFS": (LFS, "a pointer of Git LFS: git lfs pull"),
    "HTML": (b"<!DOCTYPE html><html></html>", "a web page: download the file itself"),
    "HTML after a blank line": (b"\n  <html></html>", "a web page: download the file itself"),
    "gzip": (compressed(), NO_SAVE),
    "text": (b"a text", NO_SAVE),
    "JSON": (b'{"epoch": 1}', NO_SAVE),
    "zeros": (bytes(1000), NO_SAVE),
    "one byte": (b"P", NO_SAVE),
    "NumPy": (b"\x93NUMPY\x01\x00", NO_SAVE),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(100), NO_SAVE),
    "pickle": (pickle.dumps({"epoch": 1}), A_PICKLE),
    "pickle of protocol 2": (pickle.dumps({"epoch": 1}, protocol=2), A_PICKLE),
    "zip": (zip_file(), A_ZIP),
    "npz": (npz(), A_ZIP),
}


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("name", CONTENTS)
def test_what_is_no_file_of_torch_is_named_for_what_it_is(name, mmap, path):
    content, text = CONTENTS[name]
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        load(path, mmap=mmap)
    assert str(caught.value) == f"{path}: {text}"
    assert_clear(caught.value, path)


def test_a_checkpoint_of_a_newer_format_is_refused(path):
    for about in ({"version": 2}, {}, [], None):
        torch.save({"epoch": 1, checkpoints.FORMAT: about}, path)
        with pytest.raises(
            CheckpointError, match=re.escape(f"its key {checkpoints.FORMAT} is malformed")
        ):
            load(path)


@pytest.mark.parametrize("missing", ["classes", "shapes", "random"])
def test_a_key_of_the_format_with_a_part_too_few_is_refused(missing, model, path):
    checkpoints.save({"model": model}, path)
    saved = torch.load(path)
    del saved[checkpoints.FORMAT][missing]
    torch.save(saved, path)
    with pytest.raises(CheckpointError, match=re.escape(checkpoints.FORMAT)):
        checkpoints.restore(load(path), {"model": model})


@pytest.mark.parametrize("part", ["classes", "shapes", "random"])
def test_a_key_of_the_format_with_a_part_of_another_type_is_refused(part, model, path):
    checkpoints.save({"model": model}, path)
    saved = torch.load(path)
    saved[checkpoints.FORMAT][part] = 5
    torch.save(saved, path)
    with pytest.raises(CheckpointError):
        checkpoints.restore(load(path), {"model": model})
