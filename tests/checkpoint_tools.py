"""What the tests of checkpoints share: small networks, an exact comparison, a judge of files,
programs and processes of their own, and archives by hand."""

import copy
import io
import os
import pickle
import re
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
import zipfile
import zlib
from collections import OrderedDict
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

import checkpoints
import fc_model

POSIX = os.name == "posix"
needs_posix = pytest.mark.skipif(not POSIX, reason="made with what only POSIX has")
needs_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="made and measured with what only Linux has"
)


def make_model(*sizes, seed=0, drop_p=0.25):
    """A network of these sizes, input first, output last; the seed alone decides its weights."""
    input_size, *hidden_layers, output_size = sizes
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return fc_model.Network(input_size, output_size, hidden_layers, drop_p=drop_p)


def bits(tensor):
    """The numbers of a tensor of any dtype, in rows, as bytes."""
    plain = tensor.detach().resolve_conj().contiguous().flatten()
    return plain.view(torch.uint8).numpy().tobytes()


def same(a, b):
    """Whether two values are equal in every type, order and bit."""
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        return (a.dtype, a.shape, a.device) == (b.dtype, b.shape, b.device) and bits(a) == bits(b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return repr(a) == repr(b)


def equal_weights(model, other):
    return same(dict(model.state_dict()), dict(other.state_dict()))


def is_that_network(model, checkpoint):
    """Whether a network is in eval mode and equal to a checkpoint in sizes, drop_p, weights."""
    return (
        model.hidden_layers[0].in_features == checkpoint["input_size"]
        and [layer.out_features for layer in model.hidden_layers] == checkpoint["hidden_layers"]
        and model.output.out_features == checkpoint["output_size"]
        and same(model.dropout.p, checkpoint.get("drop_p", 0.5))
        and same(dict(model.state_dict()), dict(checkpoint["state_dict"]))
        and not any(module.training for module in model.modules())
    )


def shown(error):
    """All that a reader sees of an exception: its text, and what is printed of its causes."""
    return "".join(traceback.format_exception(error))


def advises_to_run_code(text):
    return re.search(r"weights_only.{0,12}False", text, re.DOTALL) is not None


def assert_clear(error, path):
    """Demand that an error is about the path, shows no other error first, and advises no harm."""
    assert str(error).startswith(f"{path}: "), str(error)
    text = shown(error)
    assert not advises_to_run_code(text)
    assert "During handling" not in text and "direct cause" not in text


def judge(path, expected, mmap=False, network_alone=False):
    """Say what becomes of a file: it is "refused", or what is in it is "the same" or "wrong".

    Refused is a CheckpointError and nothing else. Any other exception gets out, and fails the test.
    The same is a checkpoint with equal fields and the network of it; with network_alone the network
    decides.
    """
    try:
        checkpoint = checkpoints.load(path, mmap=mmap)
        model = fc_model.load_checkpoint(path, mmap=mmap)
    except checkpoints.CheckpointError as error:
        assert_clear(error, path)
        return "refused"
    equal = network_alone or same(checkpoint, expected)
    return "the same" if equal and is_that_network(model, expected) else "wrong"


def judge_plain(path, expected):
    """The same of a plain torch.load and load_state_dict, without any check."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            checkpoint = torch.load(path)
        with torch.device("meta"):  # a damaged size could ask for terabytes
            sizes = [checkpoint[name] for name in ("input_size", "output_size", "hidden_layers")]
            model = fc_model.Network(*sizes, drop_p=checkpoint.get("drop_p", 0.5)).eval()
        model.load_state_dict(checkpoint["state_dict"], assign=True)
    except Exception:
        return "refused"
    return (
        "the same" if same(checkpoint, expected) and is_that_network(model, expected) else "wrong"
    )


@contextmanager
def no_warnings():
    """Demand that no warning is seen. As errors, they would be caught together with the damage."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    assert not caught, sorted({str(warning.message) for warning in caught})


@contextmanager
def folder_without_writing():
    """A folder that this process may read and not write. Root gives its rights away meanwhile."""
    with tempfile.TemporaryDirectory() as name:
        folder, root = Path(name), hasattr(os, "geteuid") and os.geteuid() == 0

        def close():
            folder.chmod(0o555)
            if root:
                os.seteuid(65534)

        try:
            yield folder, close
        finally:
            if root:
                os.seteuid(0)
            folder.chmod(0o755)


def position_of(tensor, path):
    """Where in a file the numbers of a tensor are."""
    return path.read_bytes().index(bits(tensor))


def flip(path, position, mask=1):
    """Change a byte of a file in place."""
    with open(path, "r+b") as file:
        file.seek(position)
        (byte,) = file.read(1)
        file.seek(position)
        file.write(bytes([byte ^ mask]))


def run_python(code, *arguments, path=None, **environment):
    """Run a program that can import this project, or with another path whatever is there."""
    program = [sys.executable, "-c", code, *map(str, arguments)]
    folder = path or Path(fc_model.__file__).parent
    values = os.environ | {"PYTHONPATH": str(folder)} | environment
    return subprocess.run(
        program, env=values, cwd=folder, capture_output=True, encoding="utf-8", timeout=120
    )


def state_of(run):
    """A copy of the state_dict of each piece of a run."""
    return copy.deepcopy({name: piece.state_dict() for name, piece in run.items()})


def refused(saved, run, match):
    """Demand that restore refuses, and that nothing is changed then."""
    before, kept = state_of(run), copy.deepcopy(saved)
    with pytest.raises(checkpoints.CheckpointError, match=match):
        checkpoints.restore(saved, run)
    assert same(state_of(run), before), "the run was changed"
    assert same(saved, kept), "what was loaded was changed"


def printed(program):
    """The lines that a program of run_python printed, without those of gloo in PyTorch 2.10."""
    assert program.returncode == 0, program.stderr
    return [line for line in program.stdout.splitlines() if not line.startswith("[Gloo]")]


def fork(function):
    """Start a process that calls a function. It ends with 0, or prints what was raised: 1."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # later Pythons warn of threads; none of ours is needed
        child = os.fork()
    if child:
        return child
    status = 1
    try:
        function()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def end_of(child, seconds=30):
    """Wait for a process and say how it ended. After so many seconds it is killed, which shows."""

    def kill(*_):
        os.kill(child, signal.SIGKILL)

    old = signal.signal(signal.SIGALRM, kill)
    signal.alarm(seconds)
    try:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)


class Call:
    """Is pickled as the call of a function: what a stranger may write into a file."""

    def __init__(self, function, *arguments, state=None):
        self.parts = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.parts


class Numbers:
    """A float32 tensor of count numbers in an entry data/<key>, which may be absent."""

    def __init__(self, key, count):
        self.key, self.count = key, count


class _Pickler(pickle.Pickler):
    def __init__(self, file):
        super().__init__(file, protocol=2)
        self.contents = {}

    def persistent_id(self, value):
        if type(value) is tuple and value[:1] == ("storage",):
            return value

    def reducer_override(self, value):
        if isinstance(value, Numbers):
            key, count, size, stride = value.key, value.count, (value.count,), (1,)
        elif isinstance(value, torch.Tensor):
            key, count, size, stride = (
                len(self.contents),
                value.numel(),
                tuple(value.shape),
                value.stride(),
            )
            self.contents[f"data/{key}"] = value.numpy().tobytes()
        else:
            return NotImplemented
        storage = ("storage", torch.FloatStorage, str(key), "cpu", count)
        return torch._utils._rebuild_tensor_v2, (storage, 0, size, stride, False, OrderedDict())


def entries_of(checkpoint):
    """What torch.save would write, as {name of the entry: bytes}; for Numbers no entry."""
    buffer = io.BytesIO()
    pickler = _Pickler(buffer)
    pickler.dump(checkpoint)
    return {
        "data.pkl": buffer.getvalue(),
        "byteorder": b"little",
        "version": b"3\n",
    } | pickler.contents


def write_archive(path, entries):
    """Write entries as torch.save does, uncompressed and in one folder."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(zipfile.ZipInfo(f"archive/{name}"), content)


def add_zeros_deflated(path, name, megabytes):
    """Add an entry of zeros to an archive. Compressed they take a thousandth."""
    with zipfile.ZipFile(path, "a") as archive:
        entry = zipfile.ZipInfo(f"archive/{name}")
        entry.compress_type = zipfile.ZIP_DEFLATED
        with archive.open(entry, "w") as file:
            for _ in range(megabytes):
                file.write(bytes(1 << 20))


def add_overlapping_zeros(path, keys, size):
    """Add an entry data/<key> of zeros for each key, all over the same bytes; return their sizes.

    Each entry begins with its own header and goes on through the headers of the later ones, so all
    names are right.
    """
    body, entries, lengths = bytes(size), [], {}
    for key in reversed(keys):
        entry = zipfile.ZipInfo(f"archive/data/{key}")
        entry.file_size = entry.compress_size = lengths[key] = len(body)
        entry.CRC = zlib.crc32(body)
        body = entry.FileHeader() + body
        entries.append((entry, len(body)))
    with zipfile.ZipFile(path, "a") as archive:
        for entry, length in entries:
            entry.header_offset = archive.start_dir + len(body) - length
            archive.filelist.append(entry)
        archive.fp.seek(archive.start_dir)
        archive.fp.write(body)
        archive.start_dir = archive.fp.tell()
        archive._didModify = True
    return lengths
