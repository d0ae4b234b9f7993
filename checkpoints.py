"""Checkpoints of any PyTorch model and its training run, in one file that needs only torch.

    state = {"model": model, "optimizer": optimizer, "scheduler": scheduler, "epoch": 3}
    checkpoints.save(state, path)              # the old file stays until the new one is whole
    saved = checkpoints.load(path)             # tensors and plain values, checked; nothing is run
    rest = checkpoints.restore(saved, state)   # puts every piece back, or none; {"epoch": 3}

A **piece** is whatever has `state_dict` and `load_state_dict`: a model, an optimizer, a scheduler,
a GradScaler, an AveragedModel, a stateful loader, a class of your own. A torch.Generator and a
NumPy Generator are pieces too. All else must be plain values. `diff` shows why a state_dict does
not fit a model.
"""

import atexit
import contextlib
import copy
import os
import pickletools
import random
import re
import stat
import sys
import threading
import zipfile
from collections import Counter, OrderedDict
from dataclasses import dataclass
from itertools import combinations
from math import isfinite
from reprlib import repr as short  # a value in a few characters, however large it is

import torch
from torch import nn

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

FORMAT = "_checkpoints"  # the key that save adds to the names in state
ABOUT = {"version": 1, "classes": {}, "shapes": {}, "random": {}}  # what stands there


class CheckpointError(RuntimeError):
    """A checkpoint cannot be saved, is damaged, is something else, or does not fit."""


@contextlib.contextmanager
def _explain(where):
    """Put a path before the reason of a CheckpointError in the block."""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f"{where}: {error}") from None
    except RecursionError:
        raise CheckpointError(f"{where}: its values are nested too deeply") from None


# ---------------------------------------------------------------- save


def save(state, path, *, background=False):
    """Write a state to one file. Until the new file is whole and read back, the old one stays.

    The file is a dict that a bare `torch.load` reads: the names in state, with the state_dict of
    each piece, and one key for the class of each piece and, with an optimizer, the random states of
    torch, the GPUs, Python and NumPy. It keeps the old file's mode and owner. A kill may leave
    `<path>.tmp`, which the next save overwrites.

    Args:
        state (dict): {name: piece or plain value}. Plain is what torch.load accepts by default:
            None, numbers, strings, bytes, tensors, and lists, tuples, sets and dicts of them.
        path (str or Path): its folder must exist. A symbolic link is followed.
        background (bool): True copies the tensors, writes in a thread and returns a Job. The next
            save and the end of the program wait for it. An error is raised by its `result()`, or
            else by the next save, which then saves nothing.

    Raises:
        CheckpointError: a value is not plain (its keys are named, as in metrics.loss), a parameter
            is not finite, path is no regular file, or another save to it goes on.
        OSError: writing failed. Whatever is raised, the old file is untouched.
    """
    _finish_jobs()
    path = os.path.realpath(path)
    with _explain(f"{path}: not saved"):
        _check_target(path)
        contents = _contents(state)
        contents = copy.deepcopy(contents) if background else contents
    if not background:
        return _write(contents, path)
    _jobs.append(job := Job(_write, contents, path))
    return job


class Job:
    """A function that runs in a thread of its own, such as a save in the background."""

    def __init__(self, function, *arguments):
        self.error, self.seen = None, False
        self.thread = threading.Thread(target=self._run, args=(function, *arguments))
        self.thread.start()  # it is no daemon: the end of the program waits for it

    def _run(self, function, *arguments):
        try:
            function(*arguments)
        except BaseException as error:
            self.error = error

    def result(self):
        """Wait for the end, for a save until the file is whole; raise what went wrong."""
        self.thread.join()
        self.seen = True
        if self.error is not None:
            raise self.error


_jobs = []  # background saves whose errors nobody has seen yet


@atexit.register
def _finish_jobs():
    for job in _jobs.copy():
        with contextlib.suppress(ValueError):  # another thread has just taken it out
            _jobs.remove(job)
        if not job.seen:
            job.result()


def _check_target(path):
    for name in (path, f"{path}.tmp"):
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISREG(os.lstat(name).st_mode):
                what = f"{os.path.basename(name)} is a folder, a pipe, a device or a link"
                raise CheckpointError(f"{what}: name a file")
    if os.path.exists(path) and not (os.stat(path).st_mode & 0o222 and os.access(path, os.W_OK)):
        raise PermissionError(13, "The file is write-protected", path)


def _contents(state):
    """The dict that goes into the file."""
    if not isinstance(state, dict):
        raise CheckpointError(f'state is a {_name(state)}: give a dict, such as {{"model": model}}')
    if FORMAT in state or not all(isinstance(name, str) for name in state):
        raise CheckpointError(f"the names in state must be strings, and not {FORMAT!r}")
    pieces = {name: piece for name, piece in state.items() if _is_piece(piece)}
    contents = _plain(dict(state) | {name: _state_of(piece) for name, piece in pieces.items()})
    for name, piece in pieces.items():
        _check_parameters(name, piece, contents[name])
    optimizers = {k: v for k, v in pieces.items() if isinstance(v, torch.optim.Optimizer)}
    contents[FORMAT] = ABOUT | {
        "classes": {name: _class_of(piece) for name, piece in pieces.items()},
        "shapes": {name: _shapes(optimizer) for name, optimizer in optimizers.items()},
        "random": _random_states() if optimizers else {},
    }
    return contents


def _write(contents, path):
    with _explain(f"{path}: not saved"), _new_file(path) as file:
        written = threading.Event()
        on_disk = Job(_sync, file, written)
        try:
            _torch_save(contents, file)
            file.flush()
            written.set()
            _read(file.name, "cpu", mmap=True)
            _check_archive(file.name, numbers=True)
        finally:
            written.set()
            on_disk.thread.join()
        on_disk.result()
    with contextlib.suppress(OSError):  # the name is on the disk when the folder is; not on Windows
        folder = os.open(os.path.dirname(path), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _sync(file, written):
    """Force a file to the disk: what is there while it is written, and all of it at the end."""
    while not written.wait(0.01):
        os.fsync(file.fileno())
    os.fsync(file.fileno())


def _torch_save(contents, file):
    """torch.save, which hides that the disk is full, or Ctrl-C, behind a RuntimeError."""
    outer = sys.exc_info()[1]  # save was called in an except block
    try:
        torch.save(contents, file)
    except RuntimeError as error:
        if error.__context__ in (None, outer):
            raise
        raise error.__context__ from None


@contextlib.contextmanager
def _new_file(path):
    """A file for one save alone. At the end of the block it becomes path; on an error it goes."""
    temporary = f"{path}.tmp"
    with open(temporary, "ab") as file:  # not "wb", which would empty the file of another save
        _lock(file)
        try:
            file.truncate(0)
            _keep_mode_and_owner(path, temporary)
            yield file
            if fcntl is None:  # Windows renames no open file; elsewhere the lock lasts until then
                file.close()
            _replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                if fcntl is None:  # nor does it remove one
                    file.close()
                os.remove(temporary)
            raise


def _replace(temporary, path):
    """Rename. To free a large old file takes the system a while: that goes on in a thread."""
    old = os.open(path, os.O_WRONLY) if fcntl and os.path.exists(path) else None
    try:
        os.replace(temporary, path)
    finally:
        if old is not None:
            Job(os.close, old)


def _lock(file):
    """Refuse a file that another save has open. The system takes the lock from a killed process."""
    alone = True
    try:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Before this lock, the other save may have renamed this file to path.
            alone = os.path.samestat(os.fstat(file.fileno()), os.stat(file.name))
    except (BlockingIOError, FileNotFoundError):
        alone = False
    except OSError:
        pass  # a network drive without locks
    if not alone:
        raise CheckpointError(
            "another process or thread saves to this path now: let only one do it"
        )


def _keep_mode_and_owner(path, temporary):
    with contextlib.suppress(FileNotFoundError):
        old, new = os.stat(path), os.stat(temporary)
        if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
            os.chown(temporary, old.st_uid, old.st_gid)
        os.chmod(temporary, stat.S_IMODE(old.st_mode))


# ---------------------------------------------------------------- load


def load(path, *, map_location="cpu", mmap=False):
    """Read a checkpoint, check all of it, and return it. Nothing that is in the file is run.

    Checked are the CRC-32 of each entry of the zip file, which `torch.load` does not look at, and
    the type of each value. That finds accidents. It does not tell who wrote the file, and a file
    can be made to fill the memory, or to take for ever.

    Args:
        path (str or Path): a file of `save`, or of torch.save with a dict of plain values.
        map_location (str or torch.device): where the tensors shall be.
        mmap (bool): True maps the file into memory: numbers are read when they are used, and not
            checked. Don't touch the file meanwhile: changed in place it changes the tensors,
            shortened it kills the process. `save` to its path is safe.

    Returns:
        dict: what was saved, with a state_dict for each piece, and the key that `restore` reads.

    Raises:
        CheckpointError: `<path>: <reason>`: it is damaged, holds more than plain values, or is of
            another kind, which is named with the line that opens it.
        OSError, MemoryError and the like: as the system reports them.
    """
    with _explain(path):
        return _read(os.fspath(path), map_location, mmap)


KINDS = {  # how a file of another kind begins: what it is, and what opens it
    rb"$": "empty: take another copy",
    rb"\x80\x02\x8a\nl\xfc\x9cF\xf9\x20j": "torch.save's format of before 1.6: torch.load(path)",
    rb"\x80": "a pickle that torch.save did not write, which could run code",
    rb".{8}\{": "safetensors: safetensors.torch.load_file(path)",
    rb"\x08[\x01-\x1f][\x12\x1a\x22\x28\x32\x3a\x42]": "ONNX: onnx.load(path)",
    rb"version https://git-lfs": "a pointer of Git LFS: git lfs pull",
    rb"\s*<": "a web page: download the file itself",
    rb"(?!PK\x03\x04)": "not a file of torch.save, or damaged at its beginning",
}


def _read(path, map_location, mmap):
    with _open_regular(path) as file, _open_regular(path) as again:
        head = file.read(32)
        for begins, kind in KINDS.items():
            if re.match(begins, head, re.DOTALL):
                raise CheckpointError(kind)
        _check_archive(file)
        file.seek(0)
        value = _unpickle(path if mmap else file, map_location, mmap, again)
        value = _check_value(value, meta=str(map_location) == "meta")
        if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
            return value
    return _read(path, map_location, mmap)  # the file was replaced meanwhile


def _open_regular(path):
    mode = os.stat(path).st_mode
    if os.path.exists(os.path.join(path, ".metadata")):
        raise CheckpointError("torch.distributed.checkpoint: dcp.load(state, checkpoint_id=path)")
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # open itself refuses a folder
        raise CheckpointError("a pipe or a device, no regular file")
    return open(path, "rb")


def _check_archive(file, numbers=False):
    """Check the CRC-32s of the numbers, or else the layout, the pickle and all other CRC-32s."""
    outer = sys.exc_info()[1]  # set if load was called in an except block
    try:
        with zipfile.ZipFile(file) as archive:
            if not numbers:
                _check_layout(archive.infolist(), os.fstat(file.fileno()).st_size)
            for name in archive.namelist():
                if ("/data/" in name) == numbers:
                    with archive.open(name) as entry:
                        while entry.read(1 << 20):  # at the end zipfile compares the CRC-32
                            pass
                if not numbers and name.endswith("/data.pkl"):
                    _check_names(archive.read(name))
    except (CheckpointError, OSError, MemoryError):  # what the system reports comes out as it is
        raise
    except Exception as error:
        cause = error.__context__
        if isinstance(cause, OSError) and cause is not outer:  # zipfile says "no zip file" for it
            raise cause from None
        raise CheckpointError(f"damaged, or cut short ({error})") from None


ARCHIVES = {  # what else comes as a zip file: an entry that only it has
    "constants.pkl": "TorchScript: torch.jit.load(path)",
    "archive_format": "torch.export: torch.export.load(path)",
}


def _check_layout(entries, size):
    names = [entry.filename.partition("/")[2] for entry in entries]
    for name in ARCHIVES.keys() & set(names):
        raise CheckpointError(ARCHIVES[name])
    if "data.pkl" not in names:
        raise CheckpointError("a zip file that torch.save did not write")
    if not any(entry.CRC for entry in entries):
        way_out = "which torch.serialization.set_crc32_options(True) turns on"
        raise CheckpointError(f"saved without checksums, {way_out}: torch.load(path)")
    # torch.save begins at byte 0, compresses nothing, marks no folders, and writes each name once.
    odd = [e for e in entries if e.compress_type != zipfile.ZIP_STORED or e.external_attr & 0x10]
    folders = {entry.filename.partition("/")[0] for entry in entries}
    repeated = len(set(names)) < len(names) or len(folders) > 1
    if odd or repeated or entries[0].header_offset or sum(e.file_size for e in entries) > size:
        raise CheckpointError("damaged, or not written by torch.save")


PLAIN_NAMES = (  # what tensors and plain values need; a Tensor would bring numbers of nobody
    r"torch\.(?!\w*Tensor$)\w+|torch\.(_utils|_tensor|storage|serialization)\.\w+"
    r"|collections\.(OrderedDict|Counter)|_codecs\.encode|builtins\.(set|complex|bytearray)"
)


def _check_names(pickle):
    """Refuse a pickle that names more than plain values need, also what this process allows."""
    codes = pickletools.genops(pickle)
    names = {name.replace(" ", ".") for code, name, _ in codes if code.name == "GLOBAL"}
    names = {name.replace("__builtin__.", "builtins.") for name in names}  # as in Python 2
    others = sorted(name for name in names if not re.fullmatch(PLAIN_NAMES, name))
    others = [name.removeprefix("__main__.") for name in others]
    if any(name.startswith("torch.nn.modules.") for name in others):
        line = f"with torch.serialization.safe_globals([{', '.join(others)}]): torch.load(path)"
        raise CheckpointError(f"a whole model, which brings code. If you know all of it: {line}")
    if others:
        names = ", ".join(others)[:300]
        raise CheckpointError(f"more than plain values, which could run code: {names}")


SYSTEM = "memory|unable to (mmap|open)|deserialize object on"  # RuntimeErrors that are the system's


def _unpickle(file, map_location, mmap, again):
    # The numbers' CRC-32 takes as long as reading them does, so both are done at the same time.
    checked = None if mmap else Job(_check_archive, again, True)
    try:
        try:
            return torch.load(file, map_location, weights_only=True, mmap=mmap)
        finally:
            if checked:
                checked.result()  # damage explains whatever torch.load said
    except (CheckpointError, OSError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        if isinstance(error, RuntimeError) and re.search(SYSTEM, str(error)):
            raise
        # torch's text advises weights_only=False, which runs what the file says.
        raise CheckpointError(
            f"torch.load finds more than plain values, or damage ({_name(error)})"
        ) from None


def _check_value(value, meta):
    if not isinstance(value, dict):
        raise CheckpointError(f"it holds a {_name(value)}, no dict: torch.load(path)")
    value = _plain(dict(dict.items(value)), meta=meta)
    if value and all(isinstance(each, torch.Tensor) for each in value.values()):
        raise CheckpointError("a bare state_dict: model.load_state_dict(torch.load(path))")
    about = value.get(FORMAT, ABOUT)
    parts = ("classes", "shapes", "random")
    whole = isinstance(about, dict) and all(isinstance(about.get(part), dict) for part in parts)
    if not whole or type(about.get("version")) is not int or about["version"] != 1:
        raise CheckpointError(f"its key {FORMAT} is malformed, or of a newer checkpoints.py")
    return value


# ---------------------------------------------------------------- restore


def restore(saved, state):
    """Put every piece back to where it was saved, or none. The random states come last.

    Make the pieces as in the interrupted run, schedulers included, and call this right before the
    loop. On the same machine and number of threads the run then goes on equal, to the bit, to one
    that was never interrupted. One exception: torchdata's StatefulDataLoader (0.11) draws random
    numbers while it resumes. Compared before anything changes: names; a model's keys, shapes,
    dtypes and ties; an optimizer's class, parameters and states; a scheduler's class; GPUs.

    Args:
        saved (dict): what `load` returned. It is not changed.
        state (dict): {name: piece}, with the names of `save`. What is no piece is ignored.

    Returns:
        dict: the plain values in saved.

    Raises:
        CheckpointError: a piece, which is named, is missing, left over, or does not fit. Whatever
            is raised, all pieces and random states are as they were.
    """
    about = ABOUT | saved.get(FORMAT, {})
    pieces = {name: piece for name, piece in state.items() if _is_piece(piece)}
    _check_pieces(saved, pieces, about)
    before = {name: copy.deepcopy(_state_of(piece)) for name, piece in pieces.items()}
    random_before, name = _random_states(), ""
    try:
        for name, piece in pieces.items():
            # A copy, since most pieces keep and change what they get. Models copy the numbers.
            own = _plain if isinstance(piece, nn.Module) else copy.deepcopy
            _put(piece, own(saved[name]))
        name = "random"
        _set_random_states(about["random"])
    except BaseException as error:
        for each, piece in pieces.items():
            with contextlib.suppress(Exception):
                _put(piece, before[each])
        _set_random_states(random_before)
        if not isinstance(error, Exception) or isinstance(error, MemoryError):
            raise
        raise CheckpointError(f"{name} cannot take its state ({_name(error)}: {error})") from None
    return {key: value for key, value in saved.items() if key not in (*pieces, FORMAT)}


def _check_pieces(saved, pieces, about):
    for name in [*pieces, *about["classes"]]:
        if name in pieces and name not in saved:
            raise CheckpointError(f"{name} is not in the file")
        if name in saved and name not in pieces:
            raise CheckpointError(
                f"{name} is in the file: pass its piece too, or del saved[{name!r}]"
            )
    name = "random"
    try:
        cards, here = len(about["random"].get("cuda", [])), torch.cuda.device_count()
        if cards not in (0, here):
            way_out = f"to go on with other random numbers, del saved[{FORMAT!r}]['random']['cuda']"
            raise CheckpointError(f"random states of {cards} GPUs, but {here} are here: {way_out}")
        for name, piece in pieces.items():
            _check_piece(name, piece, saved[name], about)
    except (CheckpointError, MemoryError):
        raise
    except Exception as error:
        raise CheckpointError(f"{name} is malformed ({_name(error)}: {error})") from None


def _check_piece(name, piece, saved, about):
    if isinstance(piece, nn.Module):
        return _check_model(name, piece, saved)
    known, here = about["classes"].get(name), _class_of(piece)  # None: save did not write the file
    if known not in (None, here):
        raise CheckpointError(f"{name} is a {known} in the file, and a {here} here")
    if isinstance(piece, torch.optim.Optimizer):
        _check_groups(name, piece, saved["param_groups"], about)
        _check_states(name, piece, saved["state"])
    if isinstance(piece, (torch.optim.lr_scheduler.LRScheduler, torch.amp.GradScaler)):
        other = saved.keys() ^ piece.state_dict().keys()
        if known:  # versions of PyTorch differ in fields that are not public
            other = {key for key in other if not key.startswith("_")}
        if other:
            raise CheckpointError(f"{name} is not of such a {here}: {sorted(other)}")


def _check_model(name, model, saved):
    if difference := diff(model, saved):
        raise CheckpointError(f"{name} does not fit\n{difference}")
    own = model.state_dict()
    if any(isinstance(value, torch.Tensor) and value.is_meta for value in own.values()):
        raise CheckpointError(f"{name} is on the meta device: model.to_empty(device='cpu')")
    _check_parameters(name, model, saved)
    ours, theirs = _ties(own), _ties(saved)
    for key in own:
        if ours[key] != key and not torch.equal(saved[key], saved[ours[key]]):
            raise CheckpointError(
                f"{name}.{key} is one tensor with {ours[key]} here, and not in the file"
            )
        if theirs[key] != key and ours[key] != ours[theirs[key]]:
            raise CheckpointError(
                f"{name}.{key} is one tensor with {theirs[key]} in the file, and not here"
            )


def _ties(state_dict):
    """{key: the first key with the same numbers in memory}; for most it is the key itself."""
    first, ties = {}, {}
    for key, value in state_dict.items():
        tensor = isinstance(value, torch.Tensor) and value.numel()
        same = (value.data_ptr(), value.shape, value.stride()) if tensor else key
        ties[key] = first.setdefault(same, key)
    return ties


def _check_groups(name, optimizer, others, about):
    groups, shapes = optimizer.state_dict()["param_groups"], _shapes(optimizer)
    if [group["params"] for group in groups] != [group["params"] for group in others]:
        raise CheckpointError(f"{name} has other parameters, or other groups, in the file")
    if about["shapes"].get(name, shapes) != shapes:
        raise CheckpointError(f"{name} has parameters of other shapes in the file")
    for pair in zip(groups, others):
        # PyTorch maps states to parameters by position. Only named_parameters() leaves names.
        if len({_bare_names(group) for group in pair if "param_names" in group}) == 2:
            raise CheckpointError(f"{name} has parameters of other names, or in another order")
        ours, theirs = (
            {k for k, v in group.items() if type(v) in (int, float, tuple)} for group in pair
        )
        if name not in about["classes"] and (ours ^ theirs) - {"initial_lr"}:
            raise CheckpointError(f"{name} is not of such a {_class_of(optimizer)}")


def _bare_names(group):
    """The names of parameters without what DataParallel and torch.compile put before them."""
    names = group["param_names"]
    return tuple(each.replace("_orig_mod.", "").removeprefix("module.") for each in names)


def _check_states(name, optimizer, states):
    shapes, fields = _shapes(optimizer), {}
    for index, values in states.items():
        shape = shapes[index]
        if "torch.optim" not in type(optimizer).__module__ or isinstance(
            optimizer, torch.optim.LBFGS
        ):
            continue  # these may keep whatever they like for a parameter
        # Adafactor keeps other fields for a matrix than for a vector, with shapes of their own.
        if fields.setdefault(len(shape) > 1, values.keys()) != values.keys():
            raise CheckpointError(f"{name} lacks a field for parameter {index}, or for the others")
        special = {"row_var": [*shape[:-1], 1], "col_var": [*shape[:-2], 1, *shape[-1:]]}
        for key, value in values.items():
            wanted = special.get(key, shape)
            if isinstance(value, torch.Tensor) and list(value.shape) not in ([], wanted):
                raise CheckpointError(f"{name}: {key} of parameter {index} has another shape")


# ---------------------------------------------------------------- pieces


def _is_piece(value):
    methods = [getattr(value, name, None) for name in ("state_dict", "load_state_dict")]
    piece = all(map(callable, methods)) and not isinstance(value, type)
    return piece or isinstance(value, torch.Generator) or _of_numpy(value)


def _of_numpy(value):
    return "numpy" in sys.modules and isinstance(value, sys.modules["numpy"].random.Generator)


def _state_of(piece):
    if isinstance(piece, torch.Generator):
        return piece.get_state()
    return _lists(piece.bit_generator.state) if _of_numpy(piece) else piece.state_dict()


def _put(piece, state):
    if isinstance(piece, torch.Generator):
        piece.set_state(state.cpu())  # map_location may have moved it
    elif _of_numpy(piece):
        piece.bit_generator.state = state
    else:
        piece.load_state_dict(state)
    for group in piece.param_groups if isinstance(piece, torch.optim.Optimizer) else ():
        for key, value in piece.defaults.items():  # PyTorch adds switches, and misses rates late
            if key not in group and not isinstance(value, (bool, type(None))):
                raise KeyError(key)


def _lists(state):
    """A state of NumPy with lists for its arrays. NumPy takes it back."""
    if isinstance(state, dict):
        return {key: _lists(value) for key, value in state.items()}
    return state.tolist() if hasattr(state, "tolist") else state


def _class_of(piece):
    """The name of its class, with those of its parts if it is a scheduler made of others."""
    parts = ", ".join(map(_class_of, getattr(piece, "_schedulers", ())))
    return type(piece).__qualname__ + (f"({parts})" if parts else "")


def _shapes(optimizer):
    return [list(each.shape) for group in optimizer.param_groups for each in group["params"]]


def _check_parameters(name, piece, state_dict):
    """Refuse a model's parameter that is not finite. Its buffers may hold inf, as masks do."""
    if isinstance(piece, nn.Module):
        for key, _ in piece.named_parameters(remove_duplicate=False):
            if key in state_dict:
                check_finite(f"{name}.{key}", state_dict[key])


def check_finite(where, tensor):
    """Raise CheckpointError if a tensor of numbers, of any dtype and shape, holds nan or inf."""
    numbers = torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
    if not numbers.is_floating_point() or not numbers.numel() or numbers.is_meta:
        return
    numbers = numbers.float() if numbers.itemsize == 1 else numbers  # float8 has no aminmax
    if not all(isfinite(bound) for bound in numbers.aminmax()):
        raise CheckpointError(f"{where} holds a number that is not finite, nan or inf")


def _random_states():
    states = {"torch": torch.get_rng_state(), "python": random.getstate()}
    if "numpy" in sys.modules:
        states["numpy"] = _lists(sys.modules["numpy"].random.get_state(legacy=False))
    if torch.cuda.is_initialized():
        states["cuda"] = torch.cuda.get_rng_state_all()
    if torch.backends.mps.is_available():
        states["mps"] = torch.mps.get_rng_state()
    return states


def _set_random_states(states):
    if states.get("cuda"):
        torch.cuda.set_rng_state_all([state.cpu() for state in states["cuda"]])
    if "mps" in states and torch.backends.mps.is_available():
        torch.mps.set_rng_state(states["mps"].cpu())
    if "numpy" in states:
        import numpy

        numpy.random.set_state(states["numpy"])
    if "python" in states:
        random.setstate(states["python"])
    if "torch" in states:
        torch.set_rng_state(states["torch"].cpu())


# ---------------------------------------------------------------- plain values

SIMPLE = {type(None), bool, int, float, complex, str, bytes, bytearray}
SIMPLE |= {torch.dtype, torch.device, torch.Size}


def _plain(value, where="", seen=None, meta=False):
    """The same value in containers of its own; an error names the keys of what is not plain."""
    kind, seen = type(value), {} if seen is None else seen
    if kind in SIMPLE and (kind is not bytes or value):  # torch.load refuses empty bytes
        return value
    if isinstance(value, torch.Tensor):
        return _plain_tensor(value, where, meta)
    if kind not in (dict, OrderedDict, Counter, list, tuple, set):
        raise CheckpointError(f"{where} is a {_name(value)}: {_way_out(value)}")
    if id(value) not in seen:
        seen[id(value)] = None, value  # the value too: nothing else gets its id meanwhile
        if issubclass(kind, dict):
            plain = _plain_dict(value, where, seen, meta)
        else:
            plain = kind(_plain(v, f"{where}[{i}]", seen, meta) for i, v in enumerate(value))
        seen[id(value)] = plain, value
    if seen[id(value)][0] is None:
        raise CheckpointError(f"{where} contains itself")
    return seen[id(value)][0]


def _plain_dict(value, where, seen, meta):
    kind, plain = type(value), type(value)()
    for key, each in kind.items(value):
        _plain(key, f"a key of {where or 'state'}", seen)
        name = f"[{short(key)}]" if not isinstance(key, str) else f".{key}" if where else key
        plain[key] = _plain(each, where + name, seen, meta)
    # The versions of a model's layers; without the mark of assign=True, which later loads obey.
    versions = vars(value).get("_metadata") if kind is OrderedDict else None
    if isinstance(versions, dict):
        plain._metadata = {
            layer: {k: v for k, v in each.items() if k != "assign_to_params_buffers"}
            for layer, each in versions.items()
            if type(each) is dict
        }
    return plain


def _plain_tensor(tensor, where, meta):
    if type(tensor).__name__.startswith("Uninitialized"):
        raise CheckpointError(f"{where} is not initialised: call the model on a batch first")
    if type(tensor) not in (torch.Tensor, nn.Parameter):
        way_out = "if it is a part of a tensor, save with torch.distributed.checkpoint"
        raise CheckpointError(f"{where} is a {_name(tensor)}, no plain tensor: {way_out}")
    if tensor.layout != torch.strided or tensor.is_nested:
        raise CheckpointError(f"{where} is a sparse or nested tensor: write to_dense()")
    if tensor.is_meta and not meta:
        raise CheckpointError(f"{where} is on the meta device, without numbers")
    return torch.Tensor.detach(tensor)


def _name(value):
    module, name = type(value).__module__, type(value).__qualname__
    return name if module == "builtins" else f"{module}.{name}"


def _way_out(value):
    if _is_piece(value):
        return "a piece must stand in state under a name of its own"
    if isinstance(value, bytes) and not value:
        return "empty, which torch.load refuses: write None"
    if hasattr(value, "__array__") and not isinstance(value, type):
        if value.ndim:
            numbers = value.dtype.kind in "biufc"
            return "write torch.from_numpy(…)" if numbers else "write ….tolist()"
        value = value.item()
    for kind in (bool, int, float, complex, str, bytes, dict, list, tuple, set):
        if isinstance(value, kind):
            return f"write {kind.__name__}(…)"
    return "write it as numbers, strings, tensors, and lists or dicts of them"


# ---------------------------------------------------------------- diff


@dataclass(repr=False)
class Diff:
    """Where a state_dict differs from a model's: False if nowhere, and a table when printed."""

    missing: list  # keys that only the model has
    unexpected: list  # keys that only the state_dict has
    shapes: dict  # {key: (the model's, the state_dict's)} where they differ
    dtypes: dict  # likewise; what is no tensor has its type for a dtype
    part: str  # what the keys of one side have on top, such as "module." or "_orig_mod."; or ""

    def __bool__(self):
        return bool(self.missing or self.unexpected or self.shapes or self.dtypes)

    def __repr__(self):
        rows = [("key", "model", "state_dict")]
        rows += [(key, "yes", "-") for key in self.missing]
        rows += [(str(key), "-", "yes") for key in self.unexpected]
        rows += [(k, *map(str, v)) for part in (self.shapes, self.dtypes) for k, v in part.items()]
        widths = [max(map(len, column)) for column in zip(*rows)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        lines += [f"likely on one side only: {self.part}"] if self.part else []
        return "\n".join(lines) if self else "no difference"


def diff(model, state_dict):
    """Compare the keys, shapes and dtypes of a state_dict with a model's. Nothing is loaded.

    Args:
        model (nn.Module). state_dict (dict): {key: tensor}.

    Returns:
        Diff. Where the keys of one side have a part on top, shapes are not compared: take it out,
        compare again. A dtype counts, though loading would convert it.
    """
    own = model.state_dict()
    missing = [key for key in own if key not in state_dict]
    unexpected = [key for key in state_dict if key not in own]
    shapes, dtypes = {}, {}
    for key in (key for key in own if key in state_dict):
        pair = own[key], state_dict[key]
        tensors = all(isinstance(value, torch.Tensor) for value in pair)
        kinds = tuple(value.dtype if tensors else type(value) for value in pair)
        if kinds[0] != kinds[1]:
            dtypes[key] = kinds
        if tensors and pair[0].shape != pair[1].shape:
            shapes[key] = tuple(tuple(value.shape) for value in pair)
    return Diff(missing, unexpected, shapes, dtypes, _likely_part(missing, unexpected))


def _likely_part(missing, unexpected):
    """What fits at least half of the missing keys, when it is taken out of one side; or ""."""
    found = Counter()
    for keys, others in ((missing, set(unexpected)), (unexpected, set(missing))):
        for parts in (key.split(".") for key in keys if isinstance(key, str)):
            for i, j in combinations(range(len(parts)), 2):
                if ".".join(parts[:i] + parts[j:]) in others:
                    found[".".join(parts[i:j]) + "."] += 1
    part, count = max(found.items(), key=lambda item: item[1], default=("", 0))
    return part if 2 * count >= len(missing) else ""
