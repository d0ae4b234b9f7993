"""Loading: nothing is run, damage is found, the system's errors come out as they are."""

import errno
import io
import os
import pickle
import random
import re
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from checkpoint_tools import (
    Call,
    advises_to_run_code,
    assert_clear,
    equal_weights,
    flip,
    make_model,
    needs_linux,
    needs_posix,
    no_warnings,
    position_of,
    run_python,
    same,
    shown,
)
from torch import nn, optim

import checkpoints
import fc_model
from checkpoints import CheckpointError, load, restore, save


@pytest.fixture
def saved(model, path):
    """A checkpoint of a network, and the bytes of its file."""
    save({"model": model, "epoch": 3}, path)
    return path.read_bytes()


# ---------------------------------------------------------------- nothing is run


def payload(path):
    """A dict whose pickle says: make this file."""
    return {"epoch": Call(Path.touch, path.parent / "touched")}


FORCE = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"


@pytest.mark.parametrize("function", [load, fc_model.load_checkpoint])
@pytest.mark.parametrize("mmap", [False, True])
def test_an_environment_variable_does_not_make_it_run_code(mmap, function, path, monkeypatch):
    monkeypatch.setenv(FORCE, "1")
    touched = path.parent / "touched"
    torch.save(payload(path), path)
    with pytest.raises(CheckpointError, match="could run code") as caught:
        function(path, mmap=mmap)
    assert_clear(caught.value, path)
    assert not touched.exists()
    with pytest.warns(UserWarning, match=FORCE):
        torch.load(path)
    assert touched.exists(), "the variable does nothing"


@pytest.mark.parametrize("mmap", [False, True])
def test_a_safe_list_of_this_process_does_not_make_it_run_code(mmap, path):
    touched = path.parent / "touched"
    calls = [
        Call(os.system, f"touch '{touched}'"),
        Call(eval, f"open({str(touched)!r}, 'w').close()"),
    ]
    with torch.serialization.safe_globals([eval, os.system]):
        for call in calls:
            torch.save({"epoch": call}, path)
            with pytest.raises(CheckpointError, match=r"could run code: .*(eval|system)") as caught:
                load(path, mmap=mmap)
            assert_clear(caught.value, path)
            assert not touched.exists()
        torch.load(path)
        assert touched.exists(), "the list does nothing"


def test_torch_itself_does_advise_to_run_code(path):
    torch.save(payload(path), path)
    with pytest.raises(pickle.UnpicklingError) as caught:
        torch.load(path)
    assert advises_to_run_code(shown(caught.value))


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize(
    "function",
    [
        torch.get_device_module,
        torch.set_default_device,
        torch.load,
        torch.nn.Parameter,
        torch.compile,
    ],
)
def test_a_function_of_torch_is_refused_without_torchs_advice(function, mmap, path):
    for value in (function, Call(function, "a")):
        torch.save({"epoch": 1, "function": value}, path)
        with pytest.raises(CheckpointError) as caught:
            load(path, mmap=mmap)
        assert_clear(caught.value, path)


# ---------------------------------------------------------------- damage


def rewrite(path, change):
    """Write each entry of the archive anew, after a change to what the archive says of it."""
    with zipfile.ZipFile(path) as archive:
        entries = [(entry, archive.read(entry)) for entry in archive.infolist()]
    with zipfile.ZipFile(path, "w") as archive:
        for entry, content in entries:
            new = zipfile.ZipInfo(entry.filename)
            change(new)
            archive.writestr(new, content)


def compress(entry):
    entry.compress_type = zipfile.ZIP_DEFLATED


def mark_numbers_as_a_folder(entry):
    if entry.filename.endswith("/data/0"):  # torch.load then leaves its numbers to chance
        entry.external_attr = 0x10


def nested(depth=4000):
    """The entries of a file with a list in a list, and so on."""
    return b"\x80\x02" + b"]" * depth + b"a" * (depth - 1) + b"."


def write_nested(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "archive/data.pkl", b"\x80\x02}X\x01\x00\x00\x00a" + nested()[2:-1] + b"s."
        )
        archive.writestr("archive/version", "3\n")


UNREADABLE = {
    "a byte of the structure": lambda path: flip(path, path.read_bytes().index(b"epoch")),
    "cut short by a byte": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "cut to a half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "more at the beginning": lambda path: path.write_bytes(b"more" + path.read_bytes()),
    "another file before it": lambda path: path.write_bytes(path.read_bytes() * 2),
    "compressed": lambda path: rewrite(path, compress),
    "marked as a folder": lambda path: rewrite(path, mark_numbers_as_a_folder),
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("a text"),
    "a list": lambda path: torch.save([1, 2], path),
    "a payload": lambda path: torch.save(payload(path), path),
    "a whole module": lambda path: torch.save(make_model(6, 5, 3), path),
    "a state_dict alone": lambda path: torch.save(make_model(6, 5, 3).state_dict(), path),
    "nested too deeply": write_nested,
}


@pytest.mark.parametrize("function", [load, fc_model.load_checkpoint])
@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("name", UNREADABLE)
def test_an_error_is_one_sentence_with_the_path_and_never_advises_to_run_code(
    name, mmap, function, saved, path
):
    UNREADABLE[name](path)
    with no_warnings(), pytest.raises(CheckpointError) as caught:
        function(path, mmap=mmap)
    assert re.fullmatch(rf"{re.escape(str(path))}: \S.*\S", str(caught.value))
    assert_clear(caught.value, path)
    assert not (path.parent / "touched").exists()


@pytest.mark.parametrize(
    "name", ["a byte of the structure", "cut short by a byte", "cut to a half"]
)
def test_damage_is_called_damage(name, saved, path):
    UNREADABLE[name](path)
    with pytest.raises(CheckpointError, match="damaged, or cut short"):
        load(path)


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("length", [0, 1, 4, 100, 0.5, -22, -1])
def test_a_file_that_was_cut_is_refused(length, mmap, saved, path):
    path.write_bytes(saved[: int(len(saved) * length) if isinstance(length, float) else length])
    with pytest.raises(CheckpointError, match=r"damaged|empty") as caught:
        load(path, mmap=mmap)
    assert_clear(caught.value, path)


def test_an_archive_that_is_only_written_anew_loads(saved, path):
    before = load(path)
    rewrite(path, lambda entry: None)
    assert same(load(path), before)


def test_any_flipped_bit_is_found_or_changes_nothing(saved, path):
    before, outcomes = load(path), set()
    for position in random.Random(0).sample(range(len(saved)), 100):
        path.write_bytes(saved)
        flip(path, position, 1 << position % 8)
        try:
            outcomes.add("the same" if same(load(path), before) else "wrong")
        except CheckpointError as error:
            assert_clear(error, path)
            outcomes.add("refused")
    assert "refused" in outcomes and "wrong" not in outcomes


def test_numbers_that_are_not_there_are_refused(path):
    """A tensor of a million numbers in a file of a few bytes: each of them is the same one."""
    torch.save({"a": torch.ones(1).expand(1000, 1000), "epoch": 1}, path)
    value = load(path)
    assert value["a"].shape == (1000, 1000) and value["a"].untyped_storage().nbytes() == 4
    with pytest.raises(CheckpointError):
        fc_model.load_checkpoint(path)


# ---------------------------------------------------------------- errors of the system


class Failing(io.FileIO):
    """A file whose reads fail after so many of them, as a network drive's do."""

    left = 0

    def _count(self):
        Failing.left -= 1
        if Failing.left < 0:
            raise OSError(errno.EIO, "Input/output error")

    def read(self, *arguments):
        self._count()
        return super().read(*arguments)

    def readinto(self, *arguments):
        self._count()
        return super().readinto(*arguments)


def test_whichever_read_fails_the_error_of_the_system_comes_out(saved, path, monkeypatch):
    monkeypatch.setattr(checkpoints, "open", Failing, raising=False)
    outcomes = set()
    for count in [*range(60), 10**6]:
        Failing.left = count
        try:
            load(path)
        except OSError as error:
            assert error.errno == errno.EIO
            outcomes.add("the system's error")
        except CheckpointError as error:
            outcomes.add(str(error))
        else:
            outcomes.add("loaded")
    assert outcomes == {"the system's error", "loaded"}


ERRORS = {
    "memory": MemoryError(),
    "memory of torch": RuntimeError(
        "[enforce fail at alloc_cpu.cpp:118] . DefaultCPUAllocator: can't allocate memory: "
        "you tried to allocate 9 bytes."
    ),
    "memory of a card": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "no room to map": RuntimeError(
        "unable to mmap 104857600 bytes from file: Cannot allocate memory (12)"
    ),
    "no card": RuntimeError(
        "Attempting to deserialize object on a CUDA device but torch.cuda.is_available() is False."
    ),
    "drive": OSError(errno.EIO, "Input/output error"),
    "permission": PermissionError(errno.EACCES, "Permission denied"),
    "interrupt": KeyboardInterrupt(),
}


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("name", ERRORS)
def test_what_the_system_reports_comes_out_as_it_is(name, mmap, saved, path, monkeypatch):
    def fail(*arguments, **more):
        raise ERRORS[name]

    monkeypatch.setattr(torch, "load", fail)
    with pytest.raises(type(ERRORS[name])) as caught:
        load(path, mmap=mmap)
    assert caught.value is ERRORS[name]


def test_what_torch_says_of_a_file_does_not_come_out_as_it_is(saved, path, monkeypatch):
    def fail(*arguments, **more):
        raise pickle.UnpicklingError(
            "Re-running with `weights_only` set to `False` will likely succeed"
        )

    monkeypatch.setattr(torch, "load", fail)
    with pytest.raises(CheckpointError, match=r"torch.load finds more than plain values") as caught:
        load(path)
    assert_clear(caught.value, path)


def test_a_missing_file_and_a_folder_are_the_systems_errors(path, tmp_path):
    for function in (load, fc_model.load_checkpoint):
        for mmap in (False, True):
            with pytest.raises(FileNotFoundError):
                function(path, mmap=mmap)
            with pytest.raises(IsADirectoryError if os.name == "posix" else PermissionError):
                function(tmp_path, mmap=mmap)


def test_a_device_that_is_not_there_is_torchs_error(saved, path):
    if torch.cuda.is_available():
        pytest.skip("there is a card")
    with pytest.raises(RuntimeError, match="CUDA device") as caught:
        load(path, map_location="cuda")
    assert not isinstance(caught.value, CheckpointError)


LOAD_WITH_LITTLE = """
import os, resource, sys
import torch, checkpoints

with open("/proc/self/statm") as file:
    pages = int(file.read().split()[0])
limit = pages * os.sysconf("SC_PAGE_SIZE") + (48 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    checkpoints.load(sys.argv[1], mmap=sys.argv[2] == "True")
except checkpoints.CheckpointError as error:
    raise SystemExit(f"called damage: {error}") from None
except (MemoryError, RuntimeError, OSError):
    raise SystemExit(0) from None
raise SystemExit("it was loaded")
"""


@needs_linux
@pytest.mark.parametrize("mmap", [False, True])
def test_too_little_memory_is_never_called_damage(mmap, path):
    # In a new process: one that worked before may keep enough freed memory for the whole file.
    torch.save({"numbers": torch.ones(24 << 20, dtype=torch.float32), "epoch": 1}, path)
    ended = run_python(LOAD_WITH_LITTLE, path, mmap)
    assert ended.returncode == 0, ended.stderr


# ---------------------------------------------------------------- what is around


@pytest.fixture(params=["meta", "float64", "float16"])
def surroundings(request):
    """Another default device, or another default dtype."""
    before = torch.get_default_dtype()
    if request.param == "meta":
        torch.set_default_device("meta")
    else:
        torch.set_default_dtype(getattr(torch, request.param))
    yield
    torch.set_default_device(None)
    torch.set_default_dtype(before)


def run_of(model):
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    scheduler = optim.lr_scheduler.StepLR(optimizer, 2)
    generator = torch.Generator().manual_seed(3)
    return {"model": model, "optimizer": optimizer, "scheduler": scheduler, "generator": generator}


def step(run):
    run["model"](torch.ones(2, 6, device="cpu", dtype=torch.float32)).sum().backward()
    run["optimizer"].step()


@pytest.mark.parametrize("mmap", [False, True])
def test_the_default_device_and_dtype_do_not_matter(mmap, path, surroundings, request):
    default, dtype = torch.get_default_device(), torch.get_default_dtype()
    torch.set_default_device(None)
    torch.set_default_dtype(torch.float32)
    run, other = run_of(make_model(6, 5, 3)), run_of(make_model(6, 5, 3, seed=1))
    step(run)
    save(run | {"values": torch.ones(2)}, path.with_name("first.pt"))
    plain = load(path.with_name("first.pt"))

    torch.set_default_dtype(dtype)
    torch.set_default_device(default)
    save(run | {"values": plain["values"]}, path)
    saved = load(path, mmap=mmap)
    rest = restore(saved, other)
    torch.set_default_device(None)
    torch.set_default_dtype(torch.float32)
    assert same(saved, plain) and same(rest, {"values": torch.ones(2)})
    assert all(
        same(other[name].state_dict(), run[name].state_dict())
        for name in ("optimizer", "scheduler")
    )
    assert equal_weights(other["model"], run["model"])
    assert same(other["generator"].get_state(), run["generator"].get_state())


@pytest.mark.parametrize("mmap", [False, True])
def test_a_network_does_not_depend_on_the_default_device_and_dtype(
    mmap, path, surroundings, request
):
    default, dtype = torch.get_default_device(), torch.get_default_dtype()
    torch.set_default_device(None)
    torch.set_default_dtype(torch.float32)
    model = make_model(6, 5, 3)
    torch.set_default_dtype(dtype)
    torch.set_default_device(default)
    fc_model.save_checkpoint(model, path)
    loaded = fc_model.load_checkpoint(path, mmap=mmap)
    assert {each.device.type for each in loaded.parameters()} == {"cpu"}
    assert equal_weights(loaded, model)


@pytest.mark.parametrize("mmap", [False, True])
def test_map_location_says_where_the_tensors_are(mmap, saved, path):
    for place in ("cpu", torch.device("cpu")):
        assert {
            value.device.type
            for value in load(path, map_location=place, mmap=mmap)["model"].values()
        } == {"cpu"}
    kinds = {
        value.device.type for value in load(path, map_location="meta", mmap=mmap)["model"].values()
    }
    assert kinds == {"meta"}


def test_the_checkpoint_does_not_depend_on_its_file(saved, model, path):
    value = load(path)
    path.write_bytes(bytes(len(saved)))
    path.unlink()
    assert same(dict(value["model"]), dict(model.state_dict()))


def test_random_states_stay_as_they_are(saved, path):
    before = torch.get_rng_state(), random.getstate()
    load(path)
    load(path, mmap=True)
    assert same((torch.get_rng_state(), random.getstate()), before)


def test_parameters_in_place_of_tensors_load_without_a_warning(model, path):
    torch.save({"model": dict(model.named_parameters()), "epoch": 1}, path)
    other = make_model(6, 5, 4, 3, seed=1)
    with no_warnings():
        assert restore(load(path), {"model": other}) == {"epoch": 1}
    assert equal_weights(other, model)


@needs_posix
@pytest.mark.parametrize("mmap", [False, True])
def test_a_damaged_file_is_not_taken_when_a_good_one_replaces_it_meanwhile(
    mmap, model, path, monkeypatch
):
    save({"model": model}, path)
    flip(path, position_of(model.output.weight, path))
    other = make_model(6, 5, 4, 3, seed=1)

    def open_and_replace(*arguments):
        monkeypatch.undo()
        file = open(*arguments)  # noqa: SIM115 - checkpoints closes it
        save({"model": other}, path)
        return file

    monkeypatch.setattr(checkpoints, "open", open_and_replace, raising=False)
    try:
        loaded = load(path, mmap=mmap)
    except CheckpointError as error:
        assert "damaged" in str(error)  # the first file is, and it was asked for
        loaded = load(path, mmap=mmap)
    assert same(dict(loaded["model"]), dict(other.state_dict()))


@needs_posix
@pytest.mark.parametrize("mmap", [False, True])
def test_a_file_that_is_replaced_while_it_is_opened_comes_whole(mmap, model, path, monkeypatch):
    other = make_model(6, 5, 4, 3, seed=1)
    save({"model": other, "epoch": 2}, path.with_name("other.pt"))
    for opened in (1, 2):
        save({"model": model, "epoch": 1}, path)
        counts = []

        def open_and_replace(*arguments, opened=opened, counts=counts):
            file = open(*arguments)  # noqa: SIM115 - checkpoints closes it
            counts.append(1)
            if len(counts) == opened:
                path.with_name("copy.pt").write_bytes(path.with_name("other.pt").read_bytes())
                path.with_name("copy.pt").replace(path)
            return file

        monkeypatch.setattr(checkpoints, "open", open_and_replace, raising=False)
        loaded = load(path, mmap=mmap)
        monkeypatch.undo()
        model_there = {1: model, 2: other}[loaded["epoch"]]
        assert len(counts) >= opened and same(dict(loaded["model"]), dict(model_there.state_dict()))


# ---------------------------------------------------------------- mmap


def test_mmap_gives_the_same_and_training_leaves_the_file_alone(saved, model, path):
    mapped = load(path, mmap=True)
    assert same(mapped, load(path))
    other = make_model(6, 5, 4, 3, seed=1)
    restore(mapped, {"model": other})
    with torch.no_grad():
        for parameter in [*other.parameters(), *mapped["model"].values()]:
            parameter.zero_()
    assert path.read_bytes() == saved


@needs_posix
def test_a_mapped_checkpoint_stays_as_it_is_when_another_is_saved_to_its_path(saved, model, path):
    mapped, new = load(path, mmap=True), make_model(6, 5, 4, 3, seed=1)
    save({"model": new}, path)
    assert same(dict(mapped["model"]), dict(model.state_dict()))
    assert same(dict(load(path)["model"]), dict(new.state_dict()))

    # It is mapped indeed: a change in place would have been seen.
    mapped = load(path, mmap=True)
    flip(path, position_of(new.output.weight, path))
    assert not same(dict(mapped["model"]), dict(new.state_dict()))


def test_mmap_does_not_check_numbers(saved, model, path):
    flip(path, position_of(model.output.weight, path))
    with pytest.raises(CheckpointError, match="CRC"):
        load(path)
    mapped = load(path, mmap=True)["model"]
    assert not torch.equal(mapped["output.weight"], model.output.weight)
    assert torch.equal(mapped["output.bias"], model.output.bias)


def test_mmap_checks_the_structure(saved, path):
    flip(path, saved.index(b"epoch"))
    with pytest.raises(CheckpointError, match="CRC"):
        load(path, mmap=True)


def test_a_dict_of_ones_own_is_loaded(path):
    contents = {
        "epoch": 1,
        "state_dict": OrderedDict(nn.Linear(2, 2).state_dict()),
        "names": ("a", {1, 2}),
    }
    torch.save(contents, path)
    assert same(load(path), contents) and same(load(path, mmap=True), contents)
