"""Checkpoints: save_checkpoint, read_checkpoint, load_checkpoint, resume and diff_state_dict."""

import copy
import os
import pickle
import random
import re
import stat
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from checkpoint_tools import (
    Call,
    advises_to_run_code,
    folder_without_writing,
    is_that_network,
    make_model,
    no_warnings,
    same,
    shown,
)
from torch import nn, optim
from torch.optim import lr_scheduler
from torchvision.models import resnet18

import fc_model
from fc_model import CheckpointError, diff_state_dict, load_checkpoint, read_checkpoint, resume, save_checkpoint

POSIX = os.name == "posix"
FIELDS = ["input_size", "output_size", "hidden_layers", "drop_p", "state_dict"]
RUN = ["optimizer_state_dict", "scheduler_state_dict", "generator_state", "epoch"]
RUN += ["torch_random_state", "python_random_state"]


def equal_weights(model, other):
    return same(dict(model.state_dict()), dict(other.state_dict()))


def four_keys(model):
    """The checkpoint of the documents that the series grew out of."""
    return {
        "input_size": model.hidden_layers[0].in_features,
        "output_size": model.output.out_features,
        "hidden_layers": [layer.out_features for layer in model.hidden_layers],
        "state_dict": model.state_dict(),
    }


def position_of(tensor, path):
    """Where in a file the numbers of a tensor are."""
    return path.read_bytes().index(tensor.detach().numpy().tobytes())


def flip(path, position, mask=1):
    """Change a byte of a file in place."""
    with open(path, "r+b") as file:
        file.seek(position)
        (byte,) = file.read(1)
        file.seek(position)
        file.write(bytes([byte ^ mask]))


def run_python(code, *arguments, **environment):
    program = [sys.executable, "-c", code, *map(str, arguments)]
    values = os.environ | {"PYTHONPATH": str(Path(fc_model.__file__).parent)} | environment
    return subprocess.run(program, env=values, capture_output=True, encoding="utf-8")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoint.pt"


@pytest.fixture
def model():
    return make_model(6, 5, 4, 3)


# ---------------------------------------------------------------- save and load


@pytest.mark.parametrize("kind", [str, Path])
@pytest.mark.parametrize("sizes", [(6, 5, 3), (784, 512, 256, 128, 10), (1, 1, 1)])
def test_a_network_comes_back_equal_in_eval_mode_with_its_sizes_and_drop_p(kind, sizes, path):
    model = make_model(*sizes, drop_p=0.1).train()
    with no_warnings():
        save_checkpoint(model, kind(path))
        loaded = load_checkpoint(kind(path))
    assert type(loaded) is fc_model.Network and is_that_network(loaded, read_checkpoint(path))
    assert equal_weights(loaded, model) and loaded.dropout.p == 0.1
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in loaded.parameters())
    assert model.training and os.listdir(path.parent) == [path.name]
    image = torch.randn(3, sizes[0])
    assert torch.equal(loaded(image), model.eval()(image))


@pytest.mark.parametrize("drop_p", [0, 1, 0.0, 0.1, 0.5, 1.0])
def test_drop_p_is_kept_as_it_was(drop_p, path):
    save_checkpoint(make_model(6, 5, 3, drop_p=drop_p), path)
    assert same(load_checkpoint(path).dropout.p, drop_p)


def test_a_relative_path_means_the_working_directory(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_checkpoint(model, "a.pt")
    assert os.listdir(tmp_path) == ["a.pt"] and equal_weights(load_checkpoint("a.pt"), model)


def test_a_symbolic_link_is_followed(model, path, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere" / "target.pt"
    try:
        path.symlink_to(target)
    except OSError:
        pytest.skip("this machine gives no symbolic links")
    for seed in (1, 2):  # first the link leads nowhere
        model = make_model(6, 5, 3, seed=seed)
        save_checkpoint(model, path)
        assert path.is_symlink() and not target.is_symlink() and os.listdir(target.parent) == ["target.pt"]
        assert equal_weights(load_checkpoint(path), model) and equal_weights(load_checkpoint(target), model)


def test_a_plain_torch_load_reads_the_documented_fields(model, path):
    save_checkpoint(model, path)
    checkpoint = torch.load(path)
    assert sorted(checkpoint) == sorted(FIELDS) and same(checkpoint, read_checkpoint(path))
    assert type(checkpoint) is type(checkpoint["state_dict"]) is dict
    assert (checkpoint["input_size"], checkpoint["hidden_layers"], checkpoint["output_size"]) == (6, [5, 4], 3)

    optimizer = optim.SGD(model.parameters(), lr=0.1)
    scheduler, generator = lr_scheduler.StepLR(optimizer, 2), torch.Generator().manual_seed(3)
    pieces = {"optimizer": optimizer, "scheduler": scheduler, "generator": generator}
    save_checkpoint(model, path, epoch=4, loss=0.25, **pieces)
    checkpoint = torch.load(path)
    assert sorted(checkpoint) == sorted([*FIELDS, *RUN, "loss", "cuda_random_states"])
    assert checkpoint["epoch"] == 4 and checkpoint["loss"] == 0.25
    assert same(checkpoint["generator_state"], generator.get_state())
    assert same(checkpoint["torch_random_state"], torch.get_rng_state())
    assert checkpoint["python_random_state"] == random.getstate()
    assert checkpoint["optimizer_state_dict"] == optimizer.state_dict()
    assert checkpoint["scheduler_state_dict"] == scheduler.state_dict()


def test_the_documented_fields_are_those_that_are_allowed():
    names = re.findall(
        r"[a-z]+_[a-z_]+|drop_p|\bepoch\b|\bloss\b", save_checkpoint.__doc__.partition("It is written")[0]
    )
    documented = set(names) - {"save_checkpoint"} | {"torch_random_state", "python_random_state", "cuda_random_states"}
    assert documented == set(fc_model._FIELDS)


@pytest.mark.parametrize("loss", [0.5, 3, -1.0, float("nan"), float("inf")])
def test_epoch_0_and_any_loss_are_kept(loss, model, path):
    save_checkpoint(model, path, epoch=0, loss=loss)
    checkpoint = read_checkpoint(path)
    assert same(checkpoint["epoch"], 0) and same(checkpoint["loss"], loss)


def test_a_dict_of_four_keys_loads_with_drop_p_a_half(path):
    model = make_model(784, 512, 256, 128, 10)
    torch.save(four_keys(model), path)
    loaded = load_checkpoint(path)
    assert equal_weights(loaded, model) and loaded.dropout.p == 0.5 and not loaded.training


def test_parameters_in_place_of_tensors_load_without_a_warning(model, path):
    torch.save(four_keys(model) | {"state_dict": dict(model.named_parameters())}, path)
    with no_warnings():
        loaded = load_checkpoint(path)
    assert equal_weights(loaded, model)


def test_global_random_states_stay_as_they_are(model, path):
    optimizer = optim.Adam(model.parameters())
    before = torch.get_rng_state(), random.getstate()
    save_checkpoint(model, path, optimizer=optimizer, epoch=0)
    read_checkpoint(path)
    load_checkpoint(path)
    load_checkpoint(path, mmap=True)
    assert same((torch.get_rng_state(), random.getstate()), before)


def test_the_network_does_not_depend_on_its_file(model, path):
    save_checkpoint(model, path)
    loaded = load_checkpoint(path)
    path.write_bytes(bytes(path.stat().st_size))
    assert equal_weights(loaded, model)
    path.unlink()
    assert equal_weights(loaded, model)


def test_the_weights_are_held_once(model, path, monkeypatch):
    save_checkpoint(model, path)
    checkpoint = read_checkpoint(path)
    monkeypatch.setattr(fc_model, "read_checkpoint", lambda path, mmap: checkpoint)
    loaded = load_checkpoint(path)
    for key, tensor in loaded.state_dict().items():
        assert tensor.data_ptr() == checkpoint["state_dict"][key].data_ptr()


def test_map_location_says_where_the_network_is(model, path):
    save_checkpoint(model, path)
    assert {parameter.device.type for parameter in load_checkpoint(path, map_location="meta").parameters()} == {"meta"}


def test_a_loaded_network_trains(model, path):
    save_checkpoint(model, path)
    loaded = load_checkpoint(path).train()
    F.nll_loss(loaded(torch.randn(8, 6)), torch.randint(3, (8,))).backward()
    optim.SGD(loaded.parameters(), lr=0.1).step()
    assert not equal_weights(loaded, model) and equal_weights(load_checkpoint(path), model)


def test_weights_in_another_order_of_memory_are_saved_and_left_as_they_are(path):
    model = make_model(6, 5, 3)
    model.output.weight.data = torch.randn(5, 3).t()
    assert not model.output.weight.is_contiguous()
    save_checkpoint(model, path)
    assert not model.output.weight.is_contiguous()
    loaded = load_checkpoint(path)
    assert loaded.output.weight.is_contiguous() and torch.equal(loaded.output.weight, model.output.weight)

    torch.save(four_keys(model), path)
    with pytest.raises(CheckpointError, match=r"state_dict\['output.weight'\] .*in a row"):
        load_checkpoint(path)


def test_frozen_weights_come_back_unfrozen(model, path):
    model.requires_grad_(False)
    save_checkpoint(model, path)
    assert all(parameter.requires_grad for parameter in load_checkpoint(path).parameters())


@pytest.mark.skipif(not POSIX, reason="there is no umask")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_umask_decides_who_may_read(umask, mode, model, path):
    old = os.umask(umask)
    try:
        save_checkpoint(model, path)
        save_checkpoint(model, path)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.skipif(not POSIX, reason="Windows opens no folders")
def test_the_file_is_on_the_disk_before_it_gets_its_name_and_the_folder_after(model, path, monkeypatch):
    calls, fsync, replace = [], os.fsync, os.replace

    def note_fsync(number):
        kind = "folder" if stat.S_ISDIR(os.fstat(number).st_mode) else "file"
        calls.append((f"fsync of the {kind}", os.fstat(number).st_size if kind == "file" else None))
        fsync(number)

    def note_replace(source, target):
        calls.append(("replace", None))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    save_checkpoint(model, path)
    size = path.stat().st_size
    assert calls == [("fsync of the file", size), ("replace", None), ("fsync of the folder", None)]


def test_a_tmp_of_an_earlier_kill_is_overwritten(model, path):
    litter = Path(f"{path}.tmp")
    litter.write_bytes(b"half a checkpoint")
    save_checkpoint(model, path)
    assert not litter.exists() and equal_weights(load_checkpoint(path), model)


@pytest.mark.skipif(not POSIX, reason="Windows does not replace a file that is open")
@pytest.mark.parametrize("mmap", [False, True])
def test_a_damaged_file_is_not_taken_when_a_good_one_replaces_it_meanwhile(mmap, model, path, monkeypatch):
    save_checkpoint(model, path)
    flip(path, position_of(model.output.weight, path))
    other = make_model(6, 5, 4, 3, seed=1)

    def open_and_replace(*arguments):
        monkeypatch.undo()
        file = open(*arguments)  # noqa: SIM115 - fc_model closes it
        save_checkpoint(other, path)
        return file

    monkeypatch.setattr(fc_model, "open", open_and_replace, raising=False)
    try:
        loaded = load_checkpoint(path, mmap=mmap)
    except CheckpointError as error:
        assert str(error) == f"{path}: replaced by another file while it was opened: try again"
        loaded = load_checkpoint(path, mmap=mmap)
    assert equal_weights(loaded, other)


# ---------------------------------------------------------------- mmap


def test_mmap_gives_the_same_network_and_training_leaves_the_file_alone(model, path):
    save_checkpoint(model, path)
    content = path.read_bytes()
    loaded = load_checkpoint(path, mmap=True)
    assert is_that_network(loaded, read_checkpoint(path))
    assert same(read_checkpoint(path, mmap=True), read_checkpoint(path))
    with torch.no_grad():
        for parameter in loaded.parameters():
            parameter.zero_()
    assert path.read_bytes() == content


@pytest.mark.skipif(not POSIX, reason="Windows does not replace a file that is mapped")
def test_a_mapped_network_stays_as_it_is_when_another_is_saved_to_its_path(model, path):
    save_checkpoint(model, path)
    mapped, new = load_checkpoint(path, mmap=True), make_model(6, 5, 4, 3, seed=1)
    save_checkpoint(new, path)
    assert equal_weights(mapped, model) and equal_weights(load_checkpoint(path), new)

    # It is mapped indeed: a change in place would have been seen.
    mapped = load_checkpoint(path, mmap=True)
    flip(path, position_of(new.output.weight, path))
    assert not equal_weights(mapped, new)


def test_mmap_does_not_check_numbers(model, path):
    save_checkpoint(model, path)
    flip(path, position_of(model.output.weight, path))
    with pytest.raises(CheckpointError, match="CRC"):
        load_checkpoint(path)
    loaded = load_checkpoint(path, mmap=True)
    assert not torch.equal(loaded.output.weight, model.output.weight)
    assert torch.equal(loaded.output.bias, model.output.bias)

    del loaded  # Windows does not overwrite a file that is mapped
    torch.save(four_keys(model) | {"state_dict": {k: v * torch.nan for k, v in model.state_dict().items()}}, path)
    with pytest.raises(CheckpointError, match="nan"):
        load_checkpoint(path)
    assert load_checkpoint(path, mmap=True).output.weight.isnan().all()


def test_mmap_checks_the_structure(model, path):
    save_checkpoint(model, path)
    content = path.read_bytes()
    for length in (0, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError):
            load_checkpoint(path, mmap=True)
    path.write_bytes(content)
    flip(path, content.index(b"input_size"))
    with pytest.raises(CheckpointError, match="CRC"):
        load_checkpoint(path, mmap=True)
    for wrong, named in ({"input_size": 7}, "state_dict"), ({"drop_p": "a half"}, "drop_p"):
        torch.save(four_keys(model) | wrong, path)
        with pytest.raises(CheckpointError, match=named):
            load_checkpoint(path, mmap=True)


@pytest.mark.parametrize("mmap", [False, True])
def test_tensors_without_numbers_are_refused(mmap, model, path):
    torch.save(four_keys(model) | {"state_dict": make_model(6, 5, 4, 3).to("meta").state_dict()}, path)
    with pytest.raises(CheckpointError, match=r"state_dict\['hidden_layers.0.weight'\]"):
        load_checkpoint(path, mmap=mmap)


# ---------------------------------------------------------------- errors


def test_a_wrapped_network_is_refused_with_the_way_out(model, path):
    wrapped = nn.DataParallel(model)
    with pytest.raises(TypeError, match=r"^model must be a Network, got DataParallel: try model\.module "):
        save_checkpoint(wrapped, path)
    assert os.listdir(path.parent) == []
    save_checkpoint(wrapped.module, path)
    assert equal_weights(load_checkpoint(path), model)
    with pytest.raises(TypeError, match="got OrderedDict"):
        save_checkpoint(model.state_dict(), path)


def spoil(model, how):
    with torch.no_grad():
        if how in ("nan", "inf", "-inf"):
            model.output.bias[1] = float(how)
        elif how == "double":
            model.double()
        elif how == "another layer":
            model.output = nn.Linear(7, 3)
        elif how == "no bias":
            model.output = nn.Linear(4, 3, bias=False)
        elif how == "one more part":
            model.more = nn.Linear(2, 2)


@pytest.mark.parametrize("how", ["nan", "inf", "-inf", "double", "another layer", "no bias", "one more part"])
def test_a_network_that_could_not_be_loaded_is_not_saved(how, model, path):
    old = copy.deepcopy(model)
    save_checkpoint(old, path)
    spoil(model, how)
    with pytest.raises(
        CheckpointError, match=rf"^{re.escape(os.path.realpath(path))}: not saved: .*state_dict"
    ) as caught:
        save_checkpoint(model, path)
    assert re.search(r"output\.|more\.", str(caught.value)), "it does not say which weight"
    assert os.listdir(path.parent) == [path.name] and equal_weights(load_checkpoint(path), old)


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("epoch", 1.0, "float"),
        ("epoch", "1", "str"),
        ("epoch", True, "bool"),
        ("loss", "0.5", "str"),
        ("loss", torch.tensor(0.5), "Tensor"),
        ("loss", [0.5], "list"),
        ("loss", False, "bool"),
    ],
)
def test_a_value_of_a_wrong_type_is_not_saved(name, value, kind, model, path):
    with pytest.raises(CheckpointError, match=f": not saved: {name} cannot be a {kind}$"):
        save_checkpoint(model, path, **{name: value})
    assert os.listdir(path.parent) == []


def test_a_value_that_torch_load_refuses_is_not_saved(model, path):
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    optimizer.param_groups[0]["note"] = Path("a")
    with pytest.raises(CheckpointError, match=r": not saved: torch.load would refuse .*Path") as caught:
        save_checkpoint(model, path, optimizer=optimizer)
    assert os.listdir(path.parent) == [] and not advises_to_run_code(shown(caught.value))


def test_the_errors_of_the_operating_system_stay(model, path, tmp_path):
    for function in (read_checkpoint, load_checkpoint):
        for mmap in (False, True):
            with pytest.raises(FileNotFoundError):
                function(path, mmap=mmap)
            with pytest.raises(IsADirectoryError if POSIX else PermissionError):
                function(tmp_path, mmap=mmap)
    with pytest.raises(FileNotFoundError):
        save_checkpoint(model, tmp_path / "nowhere" / "a.pt")
    with pytest.raises(IsADirectoryError if POSIX else PermissionError):
        save_checkpoint(model, tmp_path)
    assert os.listdir(tmp_path) == [] and not Path(f"{tmp_path}.tmp").exists()


@pytest.mark.skipif(not POSIX, reason="made with the modes of POSIX")
def test_without_permission_there_is_a_permission_error(model):
    with folder_without_writing() as (folder, close):
        save_checkpoint(model, folder / "secret.pt")
        save_checkpoint(model, folder / "public.pt")
        (folder / "secret.pt").chmod(0)
        close()
        with pytest.raises(PermissionError):
            load_checkpoint(folder / "secret.pt")
        with pytest.raises(PermissionError):
            save_checkpoint(model, folder / "public.pt")
        assert equal_weights(load_checkpoint(folder / "public.pt"), model)
        assert sorted(os.listdir(folder)) == ["public.pt", "secret.pt"]


def payload(path):
    """An object whose pickle says: make this file."""
    return {"epoch": Call(Path.touch, path.parent / "touched")}


def rewrite(path, change):
    """Write each entry of the archive anew, after a change to what the archive says of it."""
    with zipfile.ZipFile(path) as archive:
        entries = [(entry, archive.read(entry)) for entry in archive.infolist()]
    with zipfile.ZipFile(path, "w") as archive:
        for entry, content in entries:
            new = zipfile.ZipInfo(entry.filename)
            change(new)
            archive.writestr(new, content)


def mark_numbers_as_a_folder(entry):
    if entry.filename.endswith("/data/0"):  # torch.load then leaves its numbers to chance
        entry.external_attr = 0x10


UNREADABLE = {
    "damaged": lambda path: flip(path, path.read_bytes().index(b"drop_p")),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "compressed": lambda path: rewrite(path, lambda entry: setattr(entry, "compress_type", zipfile.ZIP_DEFLATED)),
    "marked as a folder": lambda path: rewrite(path, mark_numbers_as_a_folder),
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("a text"),
    "a list": lambda path: torch.save([1, 2], path),
    "a payload": lambda path: torch.save(payload(path), path),
    "a whole module": lambda path: torch.save(make_model(6, 5, 3), path),
    "a state_dict alone": lambda path: torch.save(make_model(6, 5, 3).state_dict(), path),
    "a field too few": lambda path: torch.save({"input_size": 6}, path),
}


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("name", UNREADABLE)
def test_an_error_is_one_sentence_with_the_path_and_never_advises_to_run_code(name, mmap, model, path):
    save_checkpoint(model, path)
    UNREADABLE[name](path)
    with no_warnings(), pytest.raises(CheckpointError) as caught:
        load_checkpoint(path, mmap=mmap)
    assert re.fullmatch(rf"{re.escape(str(path))}: \S.*\S", str(caught.value))
    text = shown(caught.value)
    assert not advises_to_run_code(text) and "During handling" not in text and "direct cause" not in text
    assert not (path.parent / "touched").exists()


def test_an_archive_that_is_only_written_anew_loads(model, path):
    save_checkpoint(model, path)
    rewrite(path, lambda entry: None)
    assert equal_weights(load_checkpoint(path), model)


def test_torch_itself_does_advise_to_run_code(path):
    torch.save(payload(path), path)
    with pytest.raises(pickle.UnpicklingError) as caught:
        torch.load(path)
    assert advises_to_run_code(shown(caught.value))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a state_dict alone", "input_size is missing; it looks like a state_dict alone, so use torch.load"),
        ("a field too few", "output_size is missing"),
        ("a list", "it holds a list, not a dict"),
        ("a payload", "not loaded, because it holds more than tensors and plain values, and that could run code"),
    ],
)
def test_the_reason_is_given(name, reason, model, path):
    save_checkpoint(model, path)
    UNREADABLE[name](path)
    with pytest.raises(CheckpointError, match=f"^{re.escape(f'{path}: {reason}')}$"):
        read_checkpoint(path)


LOAD_TWICE = """
import sys, fc_model
for mmap in (False, True):
    try:
        fc_model.load_checkpoint(sys.argv[1], mmap=mmap)
    except fc_model.CheckpointError as error:
        print(error)
"""


def test_an_environment_variable_does_not_make_it_run_code(path):
    touched = path.parent / "touched"
    torch.save(payload(path), path)
    forced = {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
    program = run_python(LOAD_TWICE, path, **forced)
    assert program.returncode == 0, program.stderr
    assert program.stdout.count("could run code") == 2 and not touched.exists()
    # The variable does work.
    program = run_python("import sys, torch; torch.load(sys.argv[1])", path, **forced)
    assert program.returncode == 0 and touched.exists(), program.stderr


# ---------------------------------------------------------------- resume


def one_step(model, optimizer, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images, labels = torch.randn(8, 6, generator=generator), torch.randint(3, (8,), generator=generator)
    optimizer.zero_grad()
    F.nll_loss(model.train()(images), labels).backward()
    optimizer.step()


def make_run(model, optimizer=optim.Adam, scheduler=True, generator=True, **arguments):
    """The pieces of a run over a model, by the names of save_checkpoint and resume."""
    optimizer = optimizer(model.parameters(), **{"lr": 0.1, **arguments})
    pieces = {"optimizer": optimizer}
    if scheduler:
        pieces["scheduler"] = lr_scheduler.StepLR(optimizer, 2)
    if generator:
        pieces["generator"] = torch.Generator().manual_seed(5)
    return pieces


def saved_run(path, **arguments):
    """The checkpoint of a run after a step."""
    model = make_model(6, 5, 4, 3)
    pieces = make_run(model, **arguments)
    one_step(model, pieces["optimizer"])
    save_checkpoint(model, path, epoch=2, **pieces)
    return read_checkpoint(path)


def state_of(pieces):
    """A copy of all that resume may change."""
    parts = {
        name: piece.get_state() if isinstance(piece, torch.Generator) else piece.state_dict()
        for name, piece in pieces.items()
    }
    parameters = [parameter.detach() for group in pieces["optimizer"].param_groups for parameter in group["params"]]
    return copy.deepcopy([parts, parameters, torch.get_rng_state(), random.getstate()])


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("arguments", [{}, {"scheduler": False}, {"generator": False}, {"optimizer": optim.SGD}])
def test_resume_puts_every_piece_back_and_returns_the_next_epoch(arguments, mmap, path):
    model = make_model(6, 5, 4, 3)
    pieces = make_run(model, **arguments)
    for seed in range(3):
        one_step(model, pieces["optimizer"], seed)
        if "scheduler" in pieces:
            pieces["scheduler"].step()
        if "generator" in pieces:
            torch.randperm(4, generator=pieces["generator"])
    saved = state_of(pieces)
    save_checkpoint(model, path, epoch=7, **pieces)

    torch.manual_seed(99)
    random.seed(99)
    loaded = load_checkpoint(path)
    fresh = make_run(loaded, **arguments)
    assert not same(state_of(fresh), saved)
    assert resume(read_checkpoint(path, mmap=mmap), **fresh) == 8
    assert same(state_of(fresh), saved)
    expected = torch.rand(3), random.random()
    torch.set_rng_state(saved[-2])
    random.setstate(saved[-1])
    assert same((torch.rand(3), random.random()), expected)


def test_the_checkpoint_is_not_changed_by_resume_nor_by_training(path):
    checkpoint = saved_run(path)
    pieces = make_run(model := load_checkpoint(path))
    resume(checkpoint, **pieces)
    for seed in range(3):
        one_step(model, pieces["optimizer"], seed)
        pieces["scheduler"].step()
        torch.randperm(4, generator=pieces["generator"])
    assert same(checkpoint, read_checkpoint(path))
    resume(checkpoint, **make_run(load_checkpoint(path)))


def refused(checkpoint, pieces, match):
    """Demand that resume refuses, and that nothing is changed then."""
    torch.manual_seed(77)
    random.seed(77)
    before, kept = state_of(pieces), copy.deepcopy(checkpoint)
    with pytest.raises(CheckpointError, match=match) as caught:
        resume(checkpoint, **pieces)
    assert same(state_of(pieces), before), "the run was changed"
    assert same(checkpoint, kept), "the checkpoint was changed"
    assert "During handling" not in shown(caught.value)


@pytest.mark.parametrize("name", RUN)
def test_a_missing_piece_is_named(name, path):
    checkpoint = saved_run(path)
    del checkpoint[name]
    refused(checkpoint, make_run(make_model(6, 5, 4, 3)), f"^{name} is not in the checkpoint")


@pytest.mark.parametrize(("piece", "name"), [("scheduler", "scheduler_state_dict"), ("generator", "generator_state")])
def test_a_piece_that_is_left_over_is_named(piece, name, path):
    checkpoint, pieces = saved_run(path), make_run(make_model(6, 5, 4, 3))
    del pieces[piece]
    refused(checkpoint, pieces, f"^{name} is in the checkpoint")
    del checkpoint[name]  # the way out that the message names
    assert resume(checkpoint, **pieces) == 3


def test_a_checkpoint_of_weights_alone_cannot_be_resumed(model, path):
    save_checkpoint(model, path)
    refused(
        read_checkpoint(path), {"optimizer": optim.SGD(model.parameters(), lr=0.1)}, "^optimizer_state_dict is not in"
    )


@pytest.mark.parametrize(
    ("saved", "ours"),
    [
        (optim.Adam, optim.SGD),
        (optim.SGD, optim.Adam),
        (optim.RMSprop, optim.Adam),
        (optim.Adagrad, optim.SGD),
        (optim.Adam, optim.RAdam),
        (optim.RAdam, optim.Adam),
        (optim.Adamax, optim.Adam),
        (optim.Adamax, optim.NAdam),
    ],
)
def test_another_class_of_optimizer_is_refused(saved, ours, path):
    checkpoint = saved_run(path, optimizer=saved)
    refused(
        checkpoint,
        make_run(load_checkpoint(path), optimizer=ours),
        f"^optimizer_state_dict is not of a {ours.__name__}",
    )


OPTIMIZERS = ["Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "ASGD", "LBFGS", "NAdam", "RAdam"]


@pytest.mark.parametrize("name", [*OPTIMIZERS, "RMSprop", "Rprop", "SGD"])
def test_the_optimizers_of_torch_go_on_where_they_were(name, path):
    model = make_model(6, 5, 4, 3, drop_p=0)
    optimizer = getattr(optim, name)(model.parameters(), lr=0.01)

    def step(model, optimizer, seed):
        generator = torch.Generator().manual_seed(seed)
        images, labels = torch.randn(8, 6, generator=generator), torch.randint(3, (8,), generator=generator)

        def closure():
            optimizer.zero_grad()
            loss = F.nll_loss(model(images), labels)
            loss.backward()
            return loss

        optimizer.step(closure)

    for seed in range(2):
        step(model, optimizer, seed)
    save_checkpoint(model, path, optimizer=optimizer, epoch=0)
    loaded = load_checkpoint(path)
    ours = getattr(optim, name)(loaded.parameters(), lr=0.01)
    resume(read_checkpoint(path), ours)
    for seed in range(2, 4):
        step(model, optimizer, seed)
        step(loaded, ours, seed)
    assert equal_weights(loaded, model)


def test_other_parameters_are_refused(path):
    checkpoint = saved_run(path, generator=False, scheduler=False)
    fewer = optim.Adam(make_model(6, 5, 3).parameters(), lr=0.1)
    refused(checkpoint, {"optimizer": fewer}, "^optimizer_state_dict is of an optimizer with other parameters")
    layers = make_model(6, 5, 4, 3)
    groups = [{"params": layers.hidden_layers.parameters()}, {"params": layers.output.parameters()}]
    refused(checkpoint, {"optimizer": optim.Adam(groups, lr=0.1)}, "^optimizer_state_dict is of .*other parameters")
    narrower = optim.Adam(make_model(6, 5, 2, 3).parameters(), lr=0.1)
    refused(
        checkpoint, {"optimizer": narrower}, "^optimizer_state_dict: exp_avg of parameter 2 does not have its shape"
    )


def test_parameters_in_another_order_are_refused_by_their_shapes(path):
    checkpoint = saved_run(path, generator=False, scheduler=False)
    backwards = optim.Adam(list(make_model(6, 5, 4, 3).parameters())[::-1], lr=0.1)
    refused(
        checkpoint, {"optimizer": backwards}, "^optimizer_state_dict: exp_avg of parameter 0 does not have its shape"
    )


def test_names_in_another_order_are_refused(path):
    model = make_model(5, 5, 5, 5)  # all shapes fit in any order of the layers
    optimizer = optim.Adam(model.named_parameters(), lr=0.1)
    save_checkpoint(model, path, optimizer=optimizer, epoch=0)
    checkpoint, names = read_checkpoint(path), list(model.named_parameters())
    other = optim.Adam(names[2:4] + names[:2] + names[4:], lr=0.1)
    refused(
        checkpoint,
        {"optimizer": other},
        "^optimizer_state_dict has the parameters under other names, or in another order",
    )
    assert resume(checkpoint, optim.Adam(load_checkpoint(path).named_parameters(), lr=0.1)) == 1
    # Where one side has no names there is nothing to compare.
    assert resume(checkpoint, optim.Adam(load_checkpoint(path).parameters(), lr=0.1)) == 1


SCHEDULERS = {
    "StepLR": lambda optimizer: lr_scheduler.StepLR(optimizer, 2),
    "MultiStepLR": lambda optimizer: lr_scheduler.MultiStepLR(optimizer, [2, 3]),
    "ExponentialLR": lambda optimizer: lr_scheduler.ExponentialLR(optimizer, 0.9),
    "CosineAnnealingLR": lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, 5),
    "OneCycleLR": lambda optimizer: lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=9),
    "ReduceLROnPlateau": lambda optimizer: lr_scheduler.ReduceLROnPlateau(optimizer, patience=0),
    "LambdaLR": lambda optimizer: lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.9**epoch),
    "SequentialLR": lambda optimizer: lr_scheduler.SequentialLR(
        optimizer, [lr_scheduler.ConstantLR(optimizer), lr_scheduler.ExponentialLR(optimizer, 0.9)], [2]
    ),
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_schedulers_of_torch_go_on_where_they_were_and_no_other_does(name, model, path):
    def start(kind, model):
        optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        return {"optimizer": optimizer, "scheduler": SCHEDULERS[kind](optimizer)}

    def step(pieces):
        pieces["optimizer"].step()
        pieces["scheduler"].step(*[1.0][: name == "ReduceLROnPlateau"])
        return pieces["optimizer"].param_groups[0]["lr"]

    pieces = start(name, model)
    for _ in range(3):
        step(pieces)
    save_checkpoint(model, path, epoch=0, **pieces)
    ours = start(name, load_checkpoint(path))
    resume(read_checkpoint(path), **ours)
    assert [step(ours) for _ in range(3)] == [step(pieces) for _ in range(3)]
    for other in SCHEDULERS.keys() - {name}:
        kind = type(SCHEDULERS[other](optim.SGD(model.parameters(), lr=0.1, momentum=0.9))).__name__
        refused(
            read_checkpoint(path),
            start(other, load_checkpoint(path)),
            f"^(scheduler_state_dict is not of a {kind}|optimizer_state_dict is not of a SGD: .*momentum)",
        )


MALFORMED = {
    "no groups": lambda state: state.pop("param_groups"),
    "no state": lambda state: state.pop("state"),
    "groups are no list": lambda state: state.update(param_groups=5),
    "a group is no dict": lambda state: state.update(param_groups=[5]),
    "a group without params": lambda state: state["param_groups"][0].pop("params"),
    "params is a tensor": lambda state: state["param_groups"][0].update(params=torch.arange(6)),
    "state is no dict": lambda state: state.update(state=[1, 2]),
    "state of a parameter is no dict": lambda state: state["state"].update({0: 5}),
    "state of a parameter too many": lambda state: state["state"].update({99: {"step": torch.tensor(1.0)}}),
    "no step": lambda state: state["state"][0].pop("step"),
    "state under a name": lambda state: state["state"].update({"weight": state["state"].pop(0)}),
}


@pytest.mark.parametrize("how", MALFORMED)
def test_a_malformed_state_of_the_optimizer_is_refused(how, path):
    checkpoint = saved_run(path)
    MALFORMED[how](checkpoint["optimizer_state_dict"])
    refused(
        checkpoint, make_run(load_checkpoint(path)), "^optimizer_state_dict is (malformed|of an optimizer with other)"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("generator_state", torch.zeros(3)),
        ("generator_state", torch.zeros(7, dtype=torch.uint8)),
        ("torch_random_state", torch.zeros(3)),
        ("torch_random_state", torch.zeros(7, dtype=torch.uint8)),
        ("python_random_state", (1, 2)),
        ("python_random_state", (3, (1, 2, 3), None)),
    ],
    ids=["generator, floats", "generator, short", "torch, floats", "torch, short", "Python, version", "Python, short"],
)
def test_a_malformed_random_state_is_refused_before_anything_is_changed(name, value, path):
    checkpoint = saved_run(path)
    checkpoint[name] = value
    refused(checkpoint, make_run(load_checkpoint(path)), f"^{name} ")


def test_the_random_states_of_cuda_are_saved_and_restored(model, path, monkeypatch):
    states, restored = [torch.arange(16, dtype=torch.uint8), torch.ones(16, dtype=torch.uint8)], []
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: states)
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", restored.extend)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    save_checkpoint(model, path, optimizer=optimizer, epoch=0)
    assert same(read_checkpoint(path)["cuda_random_states"], states)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resume(read_checkpoint(path), optimizer) == 1 and restored == []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resume(read_checkpoint(path), optimizer) == 1 and same(restored, states)


# ---------------------------------------------------------------- diff_state_dict


def test_no_difference_is_false_and_says_so(model):
    diff = diff_state_dict(model, make_model(6, 5, 4, 3, seed=1).state_dict())
    assert not diff and repr(diff) == str(diff) == "no difference"
    assert (diff.missing, diff.unexpected, diff.shapes, diff.dtypes, diff.prefix) == ([], [], {}, {}, "")


def test_missing_unexpected_shapes_and_dtypes_are_told_apart(model):
    before = copy.deepcopy(model.state_dict())
    state_dict = OrderedDict(model.state_dict())
    state_dict["more.bias"] = state_dict.pop("output.bias")
    state_dict["output.weight"] = torch.zeros(3, 9)
    state_dict["hidden_layers.0.bias"] = torch.zeros(5, dtype=torch.float64)
    state_dict["hidden_layers.1.bias"] = [0.0] * 4
    diff = diff_state_dict(model, state_dict)
    assert diff and (diff.missing, diff.unexpected) == (["output.bias"], ["more.bias"])
    assert diff.shapes == {"output.weight": ((3, 4), (3, 9))}
    assert diff.dtypes == {
        "hidden_layers.0.bias": (torch.float32, torch.float64),
        "hidden_layers.1.bias": (torch.Tensor, list),
    }
    assert diff.prefix == "" and same(dict(model.state_dict()), dict(before))
    assert repr(diff).splitlines() == [
        "key                   model                   state_dict",
        "output.bias           yes                     -",
        "more.bias             -                       yes",
        "output.weight         (3, 4)                  (3, 9)",
        "hidden_layers.0.bias  torch.float32           torch.float64",
        "hidden_layers.1.bias  <class 'torch.Tensor'>  <class 'list'>",
    ]


def test_a_dtype_and_a_shape_of_one_key_are_both_named(model):
    diff = diff_state_dict(model, model.state_dict() | {"output.bias": torch.zeros(9, dtype=torch.float16)})
    assert list(diff.shapes) == list(diff.dtypes) == ["output.bias"] and diff.missing == diff.unexpected == []


@pytest.mark.parametrize("part", ["missing", "unexpected", "shapes", "dtypes"])
def test_each_kind_of_difference_makes_it_true(part, model):
    state_dict = dict(model.state_dict())
    if part == "missing":
        del state_dict["output.bias"]
    else:
        value = {"shapes": torch.zeros(9), "dtypes": torch.zeros(3).double(), "unexpected": torch.zeros(1)}[part]
        state_dict["more" if part == "unexpected" else "output.bias"] = value
    diff = diff_state_dict(model, state_dict)
    assert bool(diff) is True and [
        name for name in ("missing", "unexpected", "shapes", "dtypes") if getattr(diff, name)
    ] == [part]


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_a_prefix_is_found_on_either_side(prefix, model):
    prefixed = {prefix + key: tensor for key, tensor in model.state_dict().items()}
    wrapper = model
    for name in reversed(prefix.removesuffix(".").split(".")):
        wrapper = nn.ModuleDict({name: wrapper})
    for diff in (diff_state_dict(model, prefixed), diff_state_dict(wrapper, model.state_dict())):
        assert diff.prefix == prefix and len(diff.missing) == len(diff.unexpected) == 6
        assert repr(diff).endswith(f"\nlikely prefix on one side: {prefix}")
    assert not diff_state_dict(wrapper, prefixed)


def test_where_most_keys_fit_there_is_no_prefix(model):
    state_dict = dict(model.state_dict())
    state_dict["ema.output.bias"] = state_dict.pop("output.bias")
    diff = diff_state_dict(model, state_dict)
    assert diff.prefix == "" and "prefix" not in repr(diff)
    assert diff_state_dict(model, {}).prefix == ""


def test_keys_that_are_no_names_are_unexpected(model):
    diff = diff_state_dict(model, {**model.state_dict(), 0: torch.zeros(1)})
    assert diff.unexpected == [0] and "\n0 " in repr(diff)
    diff = diff_state_dict(model, dict(enumerate(model.state_dict().values())))
    assert len(diff.missing) == len(diff.unexpected) == 6


def test_values_that_are_no_tensors_are_told_by_their_type():
    class Counted(nn.Module):
        def get_extra_state(self):
            return {"calls": 3}

        def set_extra_state(self, state):
            pass

    model = Counted()
    assert not diff_state_dict(model, model.state_dict())
    assert diff_state_dict(model, {"_extra_state": torch.zeros(1)}).dtypes == {"_extra_state": (dict, torch.Tensor)}


def test_any_module_can_be_compared():
    model = resnet18(weights=None, num_classes=10)
    assert not diff_state_dict(model, model.state_dict())
    with torch.device("meta"):
        other = resnet18(weights=None)
    diff = diff_state_dict(model, other.state_dict())
    assert diff.shapes == {"fc.weight": ((10, 512), (1000, 512)), "fc.bias": ((10,), (1000,))}
    assert diff.missing == diff.unexpected == [] and diff.dtypes == {}
    diff = diff_state_dict(model, nn.ModuleDict({"module": model}).state_dict())
    assert diff.prefix == "module." and len(diff.missing) == 122
