"""The file that a save leaves: its mode, its owner, its place on the disk, and no litter."""

import errno
import os
import random
import stat
from pathlib import Path

import pytest
import torch
from checkpoint_tools import (
    equal_weights,
    folder_without_writing,
    make_model,
    needs_posix,
    no_warnings,
    same,
)
from torch import optim
from torch.optim import lr_scheduler

import checkpoints
from checkpoints import load, restore, save


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def umask():
    old = os.umask(0o022)
    yield os.umask
    os.umask(old)


def test_the_file_is_a_dict_of_the_names_in_state_and_one_more(model, path):
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    scheduler, generator = lr_scheduler.StepLR(optimizer, 2), torch.Generator().manual_seed(3)
    pieces = {
        "model": model,
        "optimizer": optimizer,
        "scheduler": scheduler,
        "generator": generator,
    }
    with no_warnings():
        assert save(pieces | {"epoch": 4, "loss": 0.25}, path) is None
        file = torch.load(path)
    assert list(file) == [*pieces, "epoch", "loss", checkpoints.FORMAT] and type(file) is dict
    assert (file["epoch"], file["loss"]) == (4, 0.25)
    assert same(file["generator"], generator.get_state())
    assert file["optimizer"] == optimizer.state_dict()
    assert file["scheduler"] == scheduler.state_dict()
    assert same(file["model"], model.state_dict())
    about = file[checkpoints.FORMAT]
    assert about["version"] == 1 and sorted(about) == ["classes", "random", "shapes", "version"]
    assert about["classes"]["scheduler"] == "StepLR" and list(about["classes"]) == list(pieces)
    assert same(about["random"]["torch"], torch.get_rng_state())
    assert about["random"]["python"] == random.getstate()
    assert same(load(path), file) and os.listdir(path.parent) == [path.name]


def test_saving_leaves_state_and_the_random_states_as_they_are(model, path):
    optimizer = optim.Adam(model.parameters())
    state = {"model": model, "optimizer": optimizer, "epoch": 3}
    before = torch.get_rng_state(), random.getstate()
    save(state, path)
    load(path)
    load(path, mmap=True)
    assert same((torch.get_rng_state(), random.getstate()), before)
    assert list(state) == ["model", "optimizer", "epoch"] and model.training


@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_is_a_string_or_a_path(kind, model, path):
    save({"model": model}, kind(path))
    assert same(dict(load(kind(path))["model"]), dict(model.state_dict()))


def test_a_relative_path_means_the_working_directory(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save({"epoch": 1}, "a.pt")
    assert os.listdir(tmp_path) == ["a.pt"] and load("a.pt")["epoch"] == 1


def test_a_save_in_the_background_keeps_the_place_when_the_working_directory_changes(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    job = save({"epoch": 1}, "a.pt", background=True)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    job.result()
    assert load(tmp_path / "a.pt")["epoch"] == 1


def test_a_symbolic_link_is_followed(path, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere" / "target.pt"
    try:
        path.symlink_to(target)
    except OSError:
        pytest.skip("this machine gives no symbolic links")
    for epoch in (1, 2):  # first the link leads nowhere
        save({"epoch": epoch}, path)
        assert path.is_symlink() and not target.is_symlink()
        assert os.listdir(target.parent) == ["target.pt"]
        assert load(path)["epoch"] == load(target)["epoch"] == epoch


@needs_posix
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_umask_decides_who_may_read_a_new_file(mask, mode, path, umask):
    umask(mask)
    for epoch in (1, 2):
        save({"epoch": epoch}, path)
        assert mode_of(path) == mode


@needs_posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o700])
def test_the_mode_of_the_old_file_is_kept(mode, path, umask):
    save({"epoch": 1}, path)
    assert mode_of(path) != mode
    path.chmod(mode)
    save({"epoch": 2}, path)
    save({"epoch": 3}, path, background=True).result()
    assert mode_of(path) == mode and load(path)["epoch"] == 3


@needs_posix
def test_nobody_may_read_the_new_file_meanwhile_who_may_not_read_the_old_one(
    path, monkeypatch, umask
):
    save({"epoch": 1}, path)
    path.chmod(0o600)
    modes, write = [], torch.save

    def note(value, file):
        write(value, file)
        modes.append(mode_of(Path(file.name)))

    monkeypatch.setattr(torch, "save", note)
    save({"epoch": 2}, path)
    assert modes == [0o600]


@needs_posix
@pytest.mark.skipif(os.name == "posix" and os.geteuid() != 0, reason="only root gives files away")
def test_the_owner_of_the_old_file_is_kept(path):
    save({"epoch": 1}, path)
    os.chown(path, 65534, 65533)
    path.chmod(0o640)
    save({"epoch": 2}, path)
    file = path.stat()
    assert (file.st_uid, file.st_gid, mode_of(path)) == (65534, 65533, 0o640)
    assert load(path)["epoch"] == 2


@needs_posix
def test_the_file_is_on_the_disk_before_it_gets_its_name_and_the_folder_after(path, monkeypatch):
    calls, fsync, replace = [], os.fsync, os.replace

    def note_fsync(number):
        kind = "folder" if stat.S_ISDIR(os.fstat(number).st_mode) else "file"
        size = os.fstat(number).st_size if kind == "file" else None
        fsync(number)
        calls.append((f"fsync of the {kind}", size))

    def note_replace(source, target):
        calls.append(("replace", None))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    save({"epoch": 1}, path)
    size = path.stat().st_size
    *early, last, renamed, folder = calls
    assert {name for name, _ in early} <= {"fsync of the file"}  # while it is written
    assert last == ("fsync of the file", size)
    assert (renamed, folder) == (("replace", None), ("fsync of the folder", None))


@needs_posix
@pytest.mark.parametrize("step", ["save", "fsync", "replace"])
@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()]
)
def test_a_failure_in_the_middle_leaves_the_old_file_and_no_litter(step, error, path, monkeypatch):
    save({"epoch": 1}, path)
    old = path.read_bytes()

    def fail(*arguments):
        raise error

    monkeypatch.setattr(torch if step == "save" else os, step, fail)
    with pytest.raises(type(error)) as caught:
        save({"epoch": 2}, path)
    assert caught.value is error
    monkeypatch.undo()
    assert path.read_bytes() == old and os.listdir(path.parent) == [path.name]
    save({"epoch": 2}, path)
    assert load(path)["epoch"] == 2


def test_a_tmp_of_an_earlier_kill_is_overwritten(model, path):
    litter = Path(f"{path}.tmp")
    for content in (b"half a checkpoint", bytes(1 << 20)):
        litter.write_bytes(content)
        save({"model": model}, path)
        assert not litter.exists() and path.stat().st_size < 1 << 20
        other = make_model(6, 5, 4, 3, seed=1)
        restore(load(path), {"model": other})
        assert equal_weights(other, model)


def test_the_errors_of_the_operating_system_stay(tmp_path):
    with pytest.raises(FileNotFoundError):
        save({"epoch": 1}, tmp_path / "nowhere" / "a.pt")
    assert os.listdir(tmp_path) == []
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError if os.name == "posix" else FileNotFoundError):
        save({"epoch": 1}, tmp_path / "file" / "a.pt")
    assert os.listdir(tmp_path) == ["file"]


@needs_posix
def test_without_permission_there_is_a_permission_error():
    with folder_without_writing() as (folder, close):
        save({"epoch": 1}, folder / "secret.pt")
        save({"epoch": 2}, folder / "public.pt")
        (folder / "secret.pt").chmod(0)
        close()
        with pytest.raises(PermissionError):
            load(folder / "secret.pt")
        with pytest.raises(PermissionError):
            save({"epoch": 3}, folder / "public.pt")
        assert load(folder / "public.pt")["epoch"] == 2
        assert sorted(os.listdir(folder)) == ["public.pt", "secret.pt"]
